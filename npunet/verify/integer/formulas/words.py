"""A place of a text in the words of the generated C."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

LONGEST = 72  # characters of an expression that is shown with what stands around it


def told(node: ast.expr, parents: Sequence[ast.AST]) -> str:
    """An expression in quotes, with as much around it as is short: C's arrows, no read()."""
    shown = as_c(node)
    for parent in reversed(parents):
        if isinstance(parent, ast.For):
            return f"`for {ast.unparse(parent.target)} in {as_c(parent.iter)}`"
        if not isinstance(parent, ast.expr):
            break
        around = as_c(parent)
        if len(around) > LONGEST:
            break
        shown = around
    return f"`{shown}`"


def as_c(node: ast.expr) -> str:
    """An expression with the C's names."""
    text = ast.unparse(node)
    text = re.sub(r"\b([sp])\.(\w)", r"\1->\2", text)
    text = re.sub(r"\.read\((.*?), inside\)", r"[\1]", text)
    return text.replace("once_more(range", "twice(range")

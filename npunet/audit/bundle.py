"""The page's JavaScript: modules in web/ joined into one script, each after those that it imports."""

from __future__ import annotations

import re
from importlib.resources import files

IMPORT = re.compile(r'^import\s*\{[^}]*\}\s*from\s*"\./([\w-]+\.js)";\n', re.MULTILINE)
EXPORT = re.compile(r"^export (?=(?:async )?function|const|class)", re.MULTILINE)


def script(entry: str = "main.js") -> str:
    """The module `entry` with everything that it imports, as one module without imports."""
    return "\n".join(f"// ---- {name} ----\n\n{EXPORT.sub('', IMPORT.sub('', read(name)))}" for name in ordered(entry))


def ordered(entry: str, seen: tuple[str, ...] = ()) -> list[str]:
    """A module after all that it needs. Raises ValueError where modules import each other in a circle."""
    if entry in seen:
        raise ValueError(f"the page's modules import each other: {' -> '.join((*seen, entry))}")
    order: list[str] = []
    for name in IMPORT.findall(read(entry)):
        order += [each for each in ordered(name, (*seen, entry)) if each not in order]
    return [*order, entry]


def read(name: str) -> str:
    """One of the files in web/."""
    return files("npunet.audit").joinpath("web", name).read_text(encoding="utf-8")

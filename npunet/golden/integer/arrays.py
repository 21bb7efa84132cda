"""Integer arrays as C writes them."""

from __future__ import annotations

import numpy as np

C_TYPES = {"int8": "int8_t", "int16": "int16_t", "int32": "int32_t", "int64": "int64_t"}
LINE = 112  # letters of a line


def c_array(name: str, array: np.ndarray, told: str = "") -> str:
    """`static const int8_t name[n] = {...};` with a comment before it."""
    words = [literal(value) for value in array.ravel().tolist()]
    lines, line = [], ""
    for word in words:
        if len(line) + len(word) > LINE:
            lines.append(line.rstrip())
            line = ""
        line += f"{word}, "
    lines.append(line.rstrip(", "))
    shape = "x".join(map(str, array.shape))
    body = "\n    ".join(lines)
    declared = f"static const {C_TYPES[array.dtype.name]} {name}[{array.size}]"
    return f"/* {told} {shape} */\n{declared} = {{\n    {body}}};\n"


def literal(value: int) -> str:
    """An integer constant; the most negative ones have no literal in C."""
    if value == -(2**31) or value == -(2**63):
        return f"(-{constant(-(value + 1))} - 1)"
    return constant(value)


def constant(value: int) -> str:
    """A constant of a type that holds it."""
    return str(value) if abs(value) < 2**31 else f"INT64_C({value})"

"""The C texts in the folder templates: whole files, and kernels by name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from npunet.golden.cgen import fill

WIDTHS = ({"BITS": 32, "REQUANTIZE": "requantize"}, {"BITS": 64, "REQUANTIZE": "requantize_64"})  # of a sum


@cache
def template(name: str) -> str:
    """A file of npunet/golden/integer/templates."""
    return files("npunet.golden.integer").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def sections() -> dict[str, tuple[tuple[str, ...], str]]:
    """Kernels by name: what each needs, and its text; one that sums stands here for either width of its sum."""
    parts = re.split(r"^/\*@ ([\w@]+)(?: : ([\w@ ]+))? \*/\n", template("kernels.c"), flags=re.MULTILINE)[1:]
    made = {}
    for name, needs, text in zip(*[iter(parts)] * 3, strict=True):
        for of_width in WIDTHS if "@" in name else ({},):
            named, needed, filled = (fill(words or "", of_width) for words in (name, needs, text))
            made[named] = tuple(needed.split()), filled
    return made


def kernels(names: Iterable[str], rounding: str) -> str:
    """The named kernels and what they need, each after those that it calls; rounding : "D" or "S"."""
    wanted: dict[str, None] = {}

    def want(name: str) -> None:
        name = f"requantize_{rounding}" if name == "requantize" else name
        for need in sections()[name][0]:
            want(need)
        wanted[name] = None

    for name in names:
        want(name)
    return "".join(sections()[name][1] for name in wanted)

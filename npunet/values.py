"""Values of arguments, one at a time: each function checks one, settles its form, or says what it must be.

Each takes what the value is called in a message, `where`, and the value, and raises ValueError.
"""

from __future__ import annotations

import math
import operator
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

IntOrPair = int | tuple[int, int]
LARGEST = 2**31 - 1  # of any number here: what an index of 32 bits reaches
Parsed = TypeVar("Parsed")


class UnknownParameter(ValueError, TypeError):
    """A keyword or JSON key that is not in the argument tables."""


def refuse_unknown(owner: str, given: Sequence[str], known: Sequence[str]) -> None:
    """Raise UnknownParameter for the first of `given` that is not in `known`, naming its nearest neighbour."""
    for key in given:
        if key not in known:
            from difflib import get_close_matches  # which only an error needs

            if not known:
                raise UnknownParameter(f"{owner} has no parameters, and {key!r} is given")
            near = get_close_matches(str(key), known, n=1, cutoff=0.0)
            raise UnknownParameter(
                f"{owner} has no parameter {key!r}; the nearest is {near[0]!r} (all: {', '.join(known)})"
            )


def pair(value: IntOrPair, spread: Callable[[int], tuple[int, int]] = lambda n: (n, n)) -> tuple[int, int]:
    """Settle an int-or-pair; `spread` says what an int means."""
    return value if isinstance(value, tuple) else spread(value)


def integer(where: str, value: Any) -> int:
    whole = isinstance(value, float) and value.is_integer()
    if isinstance(value, bool) or not (whole or hasattr(value, "__index__")):
        raise ValueError(f"{where}={value!r:.80} must be an integer")
    try:
        return int(value) if whole else operator.index(value)
    except TypeError:                                                        # an array of several
        raise ValueError(f"{where}={value!r:.80} must be an integer") from None


def count(where: str, value: Any) -> int:
    number = integer(where, value)
    if number < 1:
        raise ValueError(f"{where}={number} must be at least 1")
    if number > LARGEST:
        raise ValueError(f"{where} must be at most {LARGEST:,}, and is larger")
    return number


def ordinal(where: str, value: Any) -> int:
    number = integer(where, value)
    if number < 0:
        raise ValueError(f"{where}={number} must not be negative (None or 0 means depth)")
    return number


def natural(where: str, value: Any) -> int:
    """A whole number from 0 on, such as a seed of NumPy's generators. Raises ValueError."""
    number = integer(where, value)
    if number < 0:
        raise ValueError(f"{where}={number} must not be negative")
    return number


def int_or_pair(where: str, value: Any) -> IntOrPair:
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        if len(value) != 2:
            raise ValueError(f"{where}={value!r} must be an int or a pair (height, width), not {len(value)} values")
        return count(where, value[0]), count(where, value[1])
    return count(where, value)


def rate(where: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1:
        raise ValueError(f"{where}={value!r} must lie in [0, 1); None leaves the layer out")
    return float(value)


def number(where: str, value: Any, least: float = -math.inf, most: float = math.inf, *, above: bool = False) -> float:
    """A finite number within bounds. Raises ValueError.  above : `least` itself is too little"""
    real = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if not real or not least <= value <= most or (above and value == least):
        bounds = f" {'above' if above else 'from'} {least:g}" if least > -math.inf else ""
        bounds += f" to {most:g}" if most < math.inf else " on" if bounds.startswith(" from") else ""
        kind = "a finite number" if isinstance(value, float) and not math.isfinite(value) else "a number"
        raise ValueError(f"{where}={value!r:.80} must be {kind}{bounds}")
    return float(value)


def listed(where: str, value: Any) -> list[Any]:
    """A list. Raises ValueError."""
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{where}={value!r:.80} must be a list")
    return list(value)


def mapping(where: str, value: Any) -> dict[str, Any]:
    """An object of named values. Raises ValueError."""
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}={value!r:.80} must be an object of names and values")
    return dict(value)


def words(where: str, value: Any) -> tuple[str, ...]:
    """Several names. Raises ValueError, also for a single one, which would be taken for its letters."""
    if isinstance(value, (str, bytes)) or not hasattr(type(value), "__iter__"):
        raise ValueError(f"{where}={value!r:.80} must be a sequence of names")
    found = tuple(value)
    if not all(isinstance(each, str) for each in found):
        raise ValueError(f"{where}={value!r:.80} must be a sequence of names")
    return found


def flag(where: str, value: Any) -> bool:
    if isinstance(value, int) and value in (0, 1):
        return bool(value)
    raise ValueError(f"{where}={value!r:.80} must be true or false")


def text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{where}={value!r:.80} must be a string")
    return value


def one_of(choices: Sequence[Any]) -> Callable[[str, Any], Any]:
    def parse(where: str, value: Any) -> Any:
        if value not in choices:
            raise ValueError(f"{where}={value!r:.80} must be one of {', '.join(map(repr, choices))}")
        return value

    return parse


def optional(parse: Callable[[str, Any], Parsed]) -> Callable[[str, Any], Parsed | None]:
    return lambda where, value: None if value is None else parse(where, value)

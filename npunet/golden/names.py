"""Names that a user gives and that do not exist: the nearest that do, instead of all."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from difflib import get_close_matches

NEAREST = 3
FEW = 8  # names that are listed whole


def unknown(what: str, wrong: Collection[str], known: Iterable[str]) -> str:
    """"there is no layer nope; the nearest are ..." in one line; all names where they are few."""
    names = list(known)
    if len(names) <= FEW:
        return f"there is no {what} {', '.join(sorted(wrong))}; there are {', '.join(names) or 'none'}"
    near = dict.fromkeys(name for each in sorted(wrong)
                         for name in get_close_matches(each, names, n=NEAREST, cutoff=0.0))
    listed = ", ".join(list(near)[: 2 * NEAREST])
    return (f"there is no {what} {', '.join(sorted(wrong)[:NEAREST])}; the nearest of {len(names)} are {listed} "
            f"(all stand in manifest.json and README.txt)")

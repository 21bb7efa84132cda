"""How a table is written: what stands between cells, the decimal sign, which columns hold numbers.

Nothing of this stands in the file. What makes numbers of the rows in one way only is taken; where two ways fit, an
option is asked for.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

BLANK = frozenset(("", "nan", "-nan", "na", "n/a", "#n/a", "null", "none", "-", "--", "?", "nan(ind)", "-nan(ind)",
                   "1.#qnan", "-1.#ind"))
SEPARATORS = ("\t", ";", "|", ",", " ")  # " " stands for any white space
DECIMALS = (".", ",")
CLOCK = re.compile(r"\[?(?:(?P<date>\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4})[T ]\s*)?"
                   r"(?P<clock>\d{1,4}:\d{1,2}(?::\d{1,2})?(?:[.,]\d+)?)"
                   r"\s*(?P<half>[ap]m)?(?:Z|[-+]\d\d:?\d\d)?(?: (?P<after>\d{1,2}/\d{1,2}/\d{4}))?\]?", re.IGNORECASE)
DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}")
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+")
PADDED = re.compile(r"[-+]?0\d+|-0")  # no writer of whole numbers fills them up with zeros
SAMPLE = 100  # rows that are looked at
MOST_HEADERS = 2  # rows of names and units above the numbers
RARE = 0.1  # share of rows, or of cells in a column, that may be otherwise: those are named later


@dataclass(frozen=True)
class Dialect:
    """How a table is written.

    separator : between cells, " " for any white space, "" for rows of one cell
    decimal   : "." or ","
    width     : cells of a row
    kinds     : "number", "time" or "text" of each column
    """

    separator: str
    decimal: str
    width: int
    kinds: tuple[str, ...]

    @property
    def rank(self) -> tuple[int, int]:
        """How well it makes numbers of the rows: few columns of text, then many of numbers."""
        return -self.kinds.count("text"), self.kinds.count("number")

    def is_header(self, row: Sequence[str], line: int) -> bool:
        """Whether a row stands above the numbers. Raises ValueError for one that is half a header.

        Columns may have numbers for names: 0, 1, ... or 1, 2, ....
        """
        columns = zip(row, self.kinds, strict=False)
        cells = [cell for cell, kind in columns if kind != "text" and cell.lower() not in BLANK]
        known = [cell for cell in cells if is_time(cell) or number(cell, self.decimal) is not None]
        if len(known) == len(cells) and len(row) >= self.width:
            return False
        if not known or any(known == [str(at) for at in range(first, first + len(known))] for first in (0, 1)):
            return True
        if len(row) != self.width:
            raise ValueError(f"line {line} has {len(row)} cells, and others have {self.width}; mend it, pass over it "
                             "by skip_rows=, or say by separator= what stands between cells")
        raise ValueError(f"line {line}, {', '.join(row):.60}, is half numbers; pass over it by skip_rows=, or say by "
                         "separator= and decimal= how numbers are written")


def find_dialect(lines: Sequence[str], separator: str | None, decimal: str | None) -> Dialect:
    """The way in which lines make rows of numbers. Raises ValueError where two ways fit, or none."""
    if separator is not None and (len(separator) != 1 or separator in '"\r\n'):
        raise ValueError(f"separator={separator!r} must be one character, ' ' for any white space")
    if decimal not in (None, *DECIMALS):
        raise ValueError(f"decimal={decimal!r} must be '.' or ','")
    late = lines[min(len(lines) // 2, MOST_HEADERS + 1) :]
    sample = late[:: max(1, len(late) // SAMPLE)]
    together = " " + "\n".join(sample)
    quoted = '"' in together                                                 # then a comma can be both
    if separator is not None and separator == decimal and not quoted:
        raise ValueError(f"separator= and decimal= are both {separator!r}")
    marks = (separator,) if separator else [mark for mark in SEPARATORS if mark in together]
    fits = [found for mark in marks for rows in [split(sample, mark)] for sign in ((decimal,) if decimal else DECIMALS)
            if (sign != mark or quoted) and (found := _fit(rows, mark, sign))]
    if not fits:
        raise ValueError(f"its rows, such as {sample[-1].strip():.60}, have different numbers of cells; say by "
                         "separator= what stands between them")
    best = max(fits, key=lambda fit: fit.rank)
    if not best.rank[1]:
        raise ValueError(f"it holds no column of numbers; a row is {sample[-1].strip():.60}; say by separator= and "
                         "decimal= how they are written")
    one = next((fit for fit in fits if (fit.separator, fit.decimal, fit.kinds) == (" ", ",", ("number",))), None)
    if decimal is None and best.decimal == ",":
        _refuse_thousands(sample, best.separator)
    if decimal is None and separator is None and (best.separator, best.decimal) == (",", ".") and (
            _is_decimal_comma(lines, best, one) and one):
        _refuse_thousands(sample, "")
        best = one
    return best if best.width > 1 or separator else Dialect("", best.decimal, 1, best.kinds)


def split(lines: Iterable[str], separator: str) -> list[list[str]]:
    """The cells of each line, without quotes and outer space; "" separates nothing."""
    made = []
    for line in lines:                                                       # each by itself: no quote runs on
        if separator in ("", " "):
            row = line.split() if separator else [line]
        elif '"' in line:
            row = next(csv.reader([line], delimiter=separator, skipinitialspace=separator != "\t"), [])
        else:
            row = line.split(separator)
        row = list(map(str.strip, row))
        made.append(list(map(_unquoted, row)) if '"' in line or "'" in line else row)
    return made


def number(cell: str, decimal: str) -> float | None:
    """The number in a cell, NaN for a blank one; None for a cell that holds none."""
    if cell.lower() in BLANK:
        return math.nan
    if decimal == ",":
        if "." in cell:
            return None
        cell = cell.replace(",", ".")
    if not cell[-1:].isdigit() and cell[-1:] != ".":
        return None                                                          # also "inf", which no sample is
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def numbers(cells: Sequence[str], decimal: str) -> tuple[np.ndarray, int | None]:
    """The numbers of a column (L,) float64, NaN for blank cells, and the place of the first cell that holds none."""
    if decimal == "." and "_" not in "".join(cells):
        try:
            quick = np.array(list(map(float, cells)), float)
            if np.isfinite(quick).all():
                return quick, None
        except ValueError:
            pass
    slow = [number(cell, decimal) for cell in cells]
    wrong = slow.index(None) if None in slow else None
    return np.array([math.nan if value is None else value for value in slow], float), wrong


def is_time(cell: str) -> bool:
    """Whether a cell is a time of day, a date or both."""
    return bool(CLOCK.fullmatch(cell) or DATE.fullmatch(cell))


def _fit(rows: list[list[str]], separator: str, decimal: str) -> Dialect | None:
    """How rows read; None where they have different widths."""
    widths = [len(row) for row in rows]
    width = max(set(widths), key=widths.count)
    rows = [row for row in rows if len(row) == width]
    if len(rows) < (1 - RARE) * len(widths):
        return None
    kinds = []
    for column in zip(*rows, strict=True):
        others = [cell for cell in column if number(cell, decimal) is None]
        texts = len(others) - sum(map(is_time, others))
        kinds.append("text" if texts > RARE * len(column) else "time" if texts < len(others) else "number")
    return Dialect(separator, decimal, width, tuple(kinds))


def _is_decimal_comma(lines: Sequence[str], two: Dialect, one: Dialect | None) -> bool:
    """Whether rows such as 0,1525 that fit two columns and one are one: the header has one name, or there are zeros in
    front, which only follow a decimal sign. Raises ValueError where neither tells."""
    if any("." in cell and number(cell, ".") is not None for cell in split(lines[-1:], ",")[0]):
        return False
    rows = split(lines[1:] or lines, ",")
    cells = [cell for row in rows for cell in row if cell.lstrip("+-").isdigit()]
    padded = any(PADDED.fullmatch(cell) for cell in cells)
    whole = all(cell == "" or number(cell, ".") is None or cell.lstrip("+-").isdigit() for row in rows for cell in row)
    if not whole or not (padded or one):
        return False
    top = split(lines[:1], ",")[0]
    names = len(top) if two.is_header(top, 1) else 0
    negative = any(row[-1].startswith("-") for row in rows)
    if one and names < 2 and not negative and (padded or names):
        return True
    if not padded and (names > 1 or negative):
        return False
    raise ValueError(f"its rows, such as {lines[-1].strip():.40}, may have commas between whole numbers or within "
                     "decimal fractions; say decimal=',' for fractions, separator=',' for whole numbers")


def _refuse_thousands(sample: Sequence[str], separator: str) -> None:
    with_comma = [cell for row in split(sample, separator) for cell in row if "," in cell]
    if with_comma and all(THOUSANDS.fullmatch(cell) for cell in with_comma):
        raise ValueError(f"{with_comma[0]} may be a decimal fraction or thousands; say decimal=',' for the first, and "
                         "write the second without separators")


def _unquoted(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] and cell[0] in "'\"":
        return cell[1:-1].strip()
    return cell

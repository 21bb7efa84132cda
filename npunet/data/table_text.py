"""From the text of a table to its cells: encoding, separator, decimal sign, header rows, comments.

Nothing of this is written in a table. What fits only one reading is taken; where two fit, an option is asked for.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from npunet import memory

COMMENTS = ("#", "%")
BLANK = frozenset(("", "nan", "na", "n/a", "null", "none", "-", "--", "?"))
SEPARATORS = ("\t", ";", "|", ",", " ")  # " " stands for any white space
DECIMALS = (".", ",")
CLOCK = re.compile(r"\[?(?:(?P<date>\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4})[T ]\s*)?"
                   r"(?P<clock>\d{1,4}:\d{1,2}(?::\d{1,2})?(?:[.,]\d+)?)"
                   r"\s*(?P<half>[ap]m)?(?:Z|[-+]\d\d:?\d\d)?(?: (?P<after>\d{1,2}/\d{1,2}/\d{4}))?\]?", re.IGNORECASE)
DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}")
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(?:,\d{3})+")
PADDED = re.compile(r"[-+]?0\d+|-0")  # no writer of whole numbers fills them up with zeros
SAMPLE = 300  # rows that are looked at to find out how a table is written
MOST_HEADERS = 2


@dataclass(frozen=True)
class Table:
    """The cells of a table, as text.

    names, units : of each column, "" where the file gives none
    columns      : the cells of each column, all of one length; "" in a blank row
    lines        : the line of the file, from 1, that each row stands on
    decimal      : "." or ","
    """

    names: list[str]
    units: list[str]
    columns: list[list[str]]
    lines: list[int]
    decimal: str


def read_text(path: Path, encoding: str | None) -> str:
    """The text of a file: UTF-8, or UTF-16 by its byte order mark or its zeros; else Latin-1. Raises ValueError."""
    memory.require(30 * path.stat().st_size, "reading the table", "take a shorter one")
    content = path.read_bytes()
    if encoding is None:
        if content.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
            encoding = "utf-32"
        elif content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            encoding = "utf-16"
        elif content[1:2] == b"\0" != content[:1]:
            encoding = "utf-16-le"
        elif content[:1] == b"\0" != content[1:2]:
            encoding = "utf-16-be"
    try:
        text = content.decode(encoding or "utf-8-sig")
    except LookupError:
        raise ValueError(f"encoding={encoding!r} is not known; such are utf-8, utf-16 and latin-1") from None
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise ValueError(f"it is not {encoding} ({error.reason} at byte {error.start}); say by encoding= what it "
                             "is") from None
        text = content.decode("latin-1")
    if "\0" in text:
        raise ValueError("it holds zero bytes, so it is no text; say by encoding= if it is")
    return text


def read_cells(text: str, *, separator: str | None = None, decimal: str | None = None, skip_rows: int = 0,
               blank_rows: str | None = None) -> Table:
    """Split a table into its cells; the options are those of tables.read_table. Raises ValueError."""
    lines = re.split(r"\r*\n|\r", text)
    first = lines[0].strip().strip('"') if lines else ""
    if first.lower().startswith("sep=") and len(first) <= 5:                 # Excel's word for itself
        separator, lines[0] = separator or first[4:] or "\t", ""
    kept = [(number, line) for number, line in enumerate(lines, 1)
            if number > skip_rows and not line.lstrip().startswith(COMMENTS)]
    filled = [entry for entry in kept if entry[1].strip()]
    if not filled:
        raise ValueError("it holds no rows")
    separator, decimal = _dialect([line for _, line in filled], separator, decimal)
    rows = dict(zip((number for number, _ in filled), split((line for _, line in filled), separator), strict=True))
    numbers = list(rows)
    start = next((at for at, number in enumerate(numbers) if _is_data(rows[number], decimal)), None)
    if start is None:
        raise ValueError(f"it holds no row of numbers; its last is {filled[-1][1].strip():.60}; say by separator= and "
                         "decimal= how they are written")
    if start > MOST_HEADERS:
        raise ValueError(f"lines {numbers[0]} to {numbers[start - 1]} are no numbers, and a table has at most a row of "
                         "names and one of units above them; pass over the rest by skip_rows=")
    headers, data = [rows[number] for number in numbers[:start]], numbers[start:]
    if not headers and len(data) > 1 and _counts(rows[data[0]]) and not _counts(rows[data[-1]]):
        headers, data = [["" if cell in BLANK else f"column {cell}" for cell in rows[data[0]]]], data[1:]
    if not headers:
        comment = next((line.lstrip()[1:] for line in reversed(lines[: data[0] - 1])
                        if line.lstrip().startswith(COMMENTS)), None)        # as numpy.savetxt writes its header
        named = next(iter(split([comment], separator))) if comment else []
        headers = [named] if len(named) == len(rows[data[0]]) and not _is_data(named, decimal) else []
    blank = {number for number, line in kept if not line.strip() and data[0] < number < data[-1]}
    if len(blank) > len(data) / 3 and blank_rows is None:
        raise ValueError(f"{len(blank)} blank lines stand among {len(data)} rows; say by blank_rows= whether they are "
                         "'gap' (a row of missing values) or 'skip'")
    order = sorted({*data, *(blank if blank_rows != "skip" else ())})
    width = max(len(rows[number]) for number in data)
    return _columns(headers, [rows.get(number, [""] * width) for number in order], order, decimal)


def split(lines: Iterable[str], separator: str) -> list[list[str]]:
    """The cells of each line, without quotes and outer space; "" separates nothing."""
    if separator in ("", " "):
        return [[_unquoted(cell) for cell in (line.split() if separator else [line.strip()])] for line in lines]
    made = []
    for line in lines:                                                       # each by itself: no quote runs on
        row = next(csv.reader([line], delimiter=separator, skipinitialspace=separator != "\t"), [])
        made.append([_unquoted(cell.strip()) for cell in row])
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


def is_time(cell: str) -> bool:
    """Whether a cell is a time of day, a date or both."""
    return bool(CLOCK.fullmatch(cell) or DATE.fullmatch(cell))


def _dialect(lines: Sequence[str], separator: str | None, decimal: str | None) -> tuple[str, str]:
    """Separator and decimal sign that make numbers of all rows. Raises ValueError where two readings fit."""
    if separator is not None and (len(separator) != 1 or separator in '"\r\n'):
        raise ValueError(f"separator={separator!r} must be one character, ' ' for any white space")
    if decimal not in (None, *DECIMALS):
        raise ValueError(f"decimal={decimal!r} must be '.' or ','")
    if separator is not None and separator == decimal:
        raise ValueError(f"separator= and decimal= are both {separator!r}")
    late = lines[min(len(lines) // 2, MOST_HEADERS + 1) :]
    sample = late[:: max(1, len(late) // SAMPLE)]
    fits = {}
    for mark in (separator,) if separator else SEPARATORS:
        cells = split(sample, mark)
        for sign in (decimal,) if decimal else DECIMALS:
            if sign != mark and (found := _fit(cells, sign)):
                fits[mark, sign] = found
    if not fits:
        raise ValueError(f"its rows, such as {sample[-1].strip():.60}, have different numbers of cells; say by "
                         "separator= what stands between them")
    best = max(fits, key=lambda fit: fits[fit])
    if best[1] == "," and decimal is None:
        _refuse_thousands(sample, best[0])
    if best == (",", ".") and decimal is None and separator is None and _is_decimal_comma(lines[0], sample, fits):
        best = (" ", ",")
    alone = all(len(row) == 1 for row in split(sample, best[0]))
    return "" if alone and separator is None else best[0], best[1]


def _fit(rows: list[list[str]], decimal: str) -> tuple[int, int] | None:
    """How well cells are read: -(columns of text), columns of numbers; None where the rows have different widths."""
    width = max(map(len, rows))
    if any(len(row) != width for row in rows):
        return None
    kinds = ["text" if any(number(row[at], decimal) is None and not is_time(row[at]) for row in rows) else
             "time" if any(is_time(row[at]) and number(row[at], decimal) is None for row in rows) else "number"
             for at in range(width)]
    return -kinds.count("text"), kinds.count("number")


def _is_decimal_comma(first: str, sample: Sequence[str], fits: dict[tuple[str, str], tuple[int, int]]) -> bool:
    """Whether rows such as 0,1525 that fit two columns and one are one: the header has one name, or there are zeros in
    front, which only follow a decimal sign. Raises ValueError where neither tells."""
    cells = [cell for row in split(sample, ",") for cell in row]
    padded = [cell for cell in cells if PADDED.fullmatch(cell)]
    whole = all(cell == "" or cell.lstrip("+-").isdigit() for cell in cells)
    one_fits, header = (" ", ",") in fits, [] if _is_data(split([first], ",")[0], ".") else split([first], ",")[0]
    if not whole or not (padded or one_fits):
        return False
    negative = any(row[-1].startswith("-") for row in split(sample, ","))
    if one_fits and len(header) < 2 and not negative and (padded or header):
        return True
    if not padded and (len(header) > 1 or negative):
        return False
    raise ValueError(f"its rows, such as {sample[-1].strip():.40}, may have commas between whole numbers or within "
                     "decimal fractions; say decimal=',' for fractions, separator=',' for whole numbers")


def _refuse_thousands(sample: Sequence[str], separator: str) -> None:
    with_comma = [cell for row in split(sample, separator) for cell in row if "," in cell]
    if with_comma and all(THOUSANDS.fullmatch(cell) for cell in with_comma):
        raise ValueError(f"{with_comma[0]} may be a decimal fraction or thousands; say decimal=',' for the first, and "
                         "write the second without separators")


def _is_data(row: Sequence[str], decimal: str) -> bool:
    """Whether a row can be data: some cell is a number or a time, and one at most is other text."""
    kinds = [is_time(cell) or number(cell, decimal) is not None for cell in row if cell.lower() not in BLANK]
    return any(kinds) and (all(kinds) or sum(kinds) > len(kinds) / 2)


def _counts(row: Sequence[str]) -> bool:
    """Whether a row is 0, 1, 2, ..., perhaps after a blank: what pandas writes over columns without names."""
    cells = row[1:] if row and row[0] == "" else row
    return len(row) > 1 and list(cells) == [str(at) for at in range(len(cells))]


def _columns(headers: list[list[str]], rows: list[list[str]], lines: list[int], decimal: str) -> Table:
    width = max(map(len, rows))
    if wrong := [at for at, row in enumerate(rows) if len(row) != width]:
        raise ValueError(f"line {lines[wrong[0]]} has {len(rows[wrong[0]])} cells, and others have {width}; mend it, "
                         "or say by separator= what stands between cells")
    columns = [list(column) for column in zip(*rows, strict=True)]
    names, units = _names_and_units(headers)
    while len(columns) > 1 and not any([*columns[-1], *names[len(columns) - 1 :], *units[len(columns) - 1 :]]):
        columns.pop()                                                        # a separator stands at the end of all rows
    if not any(names[len(columns) :]):
        names = names[: len(columns)]
    if names and len(names) == len(columns) - 1:
        names = ["", *names]                                                 # as R writes: row numbers have no name
    if names and len(names) != len(columns):
        raise ValueError(f"its header has {len(names)} cells, and its rows have {len(columns)}; say by separator= what "
                         "stands between cells, or pass over the header by skip_rows=")
    units = [*units[: len(columns)], *[""] * (len(columns) - len(units))]
    return Table(names, units, columns, lines, decimal)


def _names_and_units(headers: list[list[str]]) -> tuple[list[str], list[str]]:
    if not headers:
        return [], []
    if len(headers) == 2 and any(re.search(r"\d", cell) for cell in headers[1]):
        raise ValueError(f"its second row, {', '.join(headers[1])!r:.60}, is neither numbers nor units; pass over the "
                         "rows above the names by skip_rows=")
    return list(headers[0]), list(headers[1]) if len(headers) == 2 else []


def _unquoted(cell: str) -> str:
    if len(cell) > 1 and cell[0] == cell[-1] and cell[0] in "'\"":
        return cell[1:-1].strip()
    return cell

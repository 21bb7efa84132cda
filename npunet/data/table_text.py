"""From the text of a table to its cells: encoding, comments, blank rows, the rows of names and units."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from npunet import memory
from npunet.data.table_dialect import BLANK, MOST_HEADERS, Dialect, find_dialect, numbers, split
from npunet.data.table_time import rises

COMMENTS = ("#", "%", "//")


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
        text = content.decode("utf-8-sig" if encoding is None else encoding)
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


def read_cells(text: str, *, separator: str | None = None, decimal: str | None = None, skip_rows: int | None = None,
               blank_rows: str | None = None) -> Table:
    """Split a table into its cells; the options are those of tables.read_table. Raises ValueError."""
    lines = re.split(r"\r*\n|\r", text)
    first = lines[0].strip().strip('"')
    if first.lower().startswith("sep=") and len(first) <= 5:                 # Excel's word for itself
        separator, lines[0] = separator or first[4:] or "\t", ""
    kept = [(line, content) for line, content in enumerate(lines, 1)
            if line > (skip_rows or 0) and not _is_comment(content)]
    filled = [(line, content) for line, content in kept if content.strip()]
    if not filled:
        raise ValueError("it holds no rows")
    dialect = find_dialect([content for _, content in filled], separator, decimal)
    rows = dict(zip((line for line, _ in filled), split((content for _, content in filled), dialect.separator),
                    strict=True))
    headers, data = _headers(rows, dialect, skip_rows is None)
    if not headers:
        headers = _header_in_comment(lines[: data[0] - 1], dialect)
    blank = {line for line, content in kept if not content.strip() and data[0] < line < data[-1]}
    if len(blank) > len(data) / 3 and blank_rows is None:
        raise ValueError(f"{len(blank)} blank lines stand among {len(data)} rows; say by blank_rows= whether they are "
                         "'gap' (a row of missing values) or 'skip'")
    order = sorted({*data, *(blank if blank_rows != "skip" else ())})
    return _columns(headers, [rows.get(line, [""] * dialect.width) for line in order], order, dialect)


def _headers(rows: dict[int, list[str]], dialect: Dialect, counted: bool) -> tuple[list[list[str]], list[int]]:
    """The rows above the numbers, and the lines of those that hold them.

    counted : whether columns may be called 0, 1, ..., as pandas writes names of columns that have none
    """
    lines = list(rows)
    start = next((at for at, line in enumerate(lines) if not dialect.is_header(rows[line], line)), len(lines))
    if start > MOST_HEADERS:
        raise ValueError(f"lines {lines[0]} to {lines[start - 1]} are no numbers, and a table has at most a row of "
                         "names and one of units above them; pass over the rest by skip_rows=")
    if start == len(lines):
        raise ValueError("it holds no row of numbers")
    if start == 0 and counted and len(lines) > 1 and _counts(rows[lines[0]], [rows[line] for line in lines[1:]]):
        start = 1
        rows[lines[0]] = ["" if cell in BLANK else f"column {cell}" for cell in rows[lines[0]]]
    return [rows[line] for line in lines[:start]], lines[start:]


def _is_comment(line: str) -> bool:
    start = line.lstrip()
    return start.startswith(COMMENTS) and not start.lower().startswith("#n/a")   # Excel's missing value


def _header_in_comment(lines: Sequence[str], dialect: Dialect) -> list[list[str]]:
    """The names that stand in the last comment above the numbers, as numpy.savetxt writes them."""
    comment = next((line.lstrip()[1:] for line in reversed(lines) if _is_comment(line)), "")
    named = split([comment], dialect.separator)[0] if comment.strip() else []
    return [named] if len(named) == dialect.width and dialect.is_header(named, len(lines)) else []


def _counts(row: Sequence[str], rest: Sequence[Sequence[str]]) -> bool:
    """Whether a row is 0, 1, 2, ... or 1, 2, ..., perhaps after a blank, and those below do not count on or again.

    Raises ValueError where a single 0 stands above fractions, which may be either.
    """
    cells = row[1:] if row and row[0] == "" else row
    if list(row) == ["0"] and not any(re.fullmatch(r"[-+]?\d+", cell) for other in rest for cell in other):
        raise ValueError("its first line, 0, may be a sample, or the name that pandas gives a column; say by "
                         "skip_rows=0 or skip_rows=1 which it is")
    return len(row) > 1 and any(list(cells) == [str(at) for at in range(first, first + len(cells))] and
                                rest[0][:1] != [str(first + len(cells))] and list(rest[-1]) != list(row)
                                for first in (0, 1))


def _columns(headers: list[list[str]], rows: list[list[str]], lines: list[int], dialect: Dialect) -> Table:
    if wrong := [at for at, row in enumerate(rows) if len(row) != dialect.width]:
        raise ValueError(f"line {lines[wrong[0]]} has {len(rows[wrong[0]])} cells, and others have {dialect.width}; "
                         "mend it, or say by separator= what stands between cells")
    columns = [list(column) for column in zip(*rows, strict=True)]
    names, units = _names_and_units(headers)
    while len(columns) > 1 and not any([*columns[-1], *names[len(columns) - 1 :], *units[len(columns) - 1 :]]):
        columns.pop()                                                        # a separator stands at the end of all rows
    if not any(names[len(columns) :]):
        names = names[: len(columns)]
    if names and len(names) == len(columns) - 1 and _is_row_names(columns[0], dialect):
        names = ["", *names]                                                 # as R writes: row numbers have no name
    if names and len(names) != len(columns):
        raise ValueError(f"its header has {len(names)} cells, and its rows have {len(columns)}; say by separator= what "
                         "stands between cells, or pass over the header by skip_rows=")
    units = [*units[: len(columns)], *[""] * (len(columns) - len(units))]
    return Table(names, units, columns, lines, dialect.decimal)


def _is_row_names(cells: Sequence[str], dialect: Dialect) -> bool:
    return dialect.kinds[0] != "number" or rises(numbers(cells, dialect.decimal)[0])


def _names_and_units(headers: list[list[str]]) -> tuple[list[str], list[str]]:
    if not headers:
        return [], []
    if len(headers) == 2 and any(re.search(r"\d", cell) for cell in headers[1]):
        raise ValueError(f"its second row, {', '.join(headers[1])!r:.60}, is neither numbers nor units; pass over the "
                         "rows above the names by skip_rows=")
    return list(headers[0]), [cell.strip("()[] ") for cell in headers[1]] if len(headers) == 2 else []

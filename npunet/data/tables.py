"""Signals in tables: .csv, .tsv and .txt files whose rows are moments and whose columns are leads."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from npunet.data.axes import refuse_transposed
from npunet.data.flat import warn_of_flat
from npunet.data.table_dialect import is_time, numbers
from npunet.data.table_text import Table, read_cells, read_text
from npunet.data.table_time import (
    SECONDS,
    SURE,
    is_index_name,
    is_running,
    is_time_name,
    rate_of,
    rises,
)
from npunet.data.wfdb_header import MILLIVOLTS
from npunet.reading import reading

SUFFIXES = (".csv", ".tsv", ".txt")
NO_VOLTAGE = frozenset(("mmhg", "cmh2o", "bpm", "%", "hz", "°c", "c", "l/min", "adu", "a.u.", "au", "counts", "count",
                        "digits", "nu", "ohm", "ma", "ua", "µa", "a", "pa", "kpa", "g", "m/s2", "m/s^2", "rpm"))
IN_BRACKETS = re.compile(r"(?P<name>.*?)[\s_,/]*[\[({<]\s*(?P<unit>[^\[\](){}<>]*?)\s*[\])}>]")
ODD_VOLTS = re.compile(r"[\[(]\s*(?P<unit>\S{1,3}[vV])\s*[\])]$")  # a micro sign in another encoding
VOLTAGE = "[mnuµμ]v|(?:milli|micro|nano)?volts?"
AFTER = re.compile(rf"(?P<name>.*?\S)(?:[\s_/,.:;=-]|\bin\b)+(?P<unit>{VOLTAGE})", re.IGNORECASE)
ANY_VOLTAGE = re.compile(rf"(?i:(?<![a-z])(?:{VOLTAGE})(?![a-z]))"
                         r"|[A-Za-z][uµμ]V(?![A-Za-z])|(?<=/)\s*V$|(?<=\bin)\s+V$")
NO_LEAD = re.compile(r"(?:labels?|ann(?:otations?)?|class(?:es)?|targets?|beats?|rhythm|r?[ _-]?peaks?|events?|markers?"
                     r"|triggers?|hr|heart[ _-]?rate|bpm|rr|spo2|resp(?:iration)?|temp(?:erature)?|quality|sqi|fs"
                     r"|(?:sampling|sample)?[ _-]?(?:rate|frequency)|(?:patient|subject|record)?[ _-]?id|patient"
                     r"|subject|age|sex)", re.IGNORECASE)


def read_table(path: str | os.PathLike[str], *, leads: Sequence[str] | None = None,
               time: str | int | bool | None = None, time_unit: str | None = None, unit: str | None = None,
               separator: str | None = None, decimal: str | None = None, skip_rows: int | None = None,
               blank_rows: str | None = None, blank_cells: str = "gap",
               encoding: str | None = None) -> tuple[np.ndarray, float | None, tuple[str, ...]]:
    """Read a table of signals.

    leads      : names of the columns to read, in this order; by default all but times and running numbers
    time       : name or number (from 0) of the column of times, False where there is none; by default the one that is
                 called time, holds time stamps, or rises steadily in front of columns without names
    time_unit  : "s", "ms", "us", ...: of times that do not say it
    unit       : "mV", "uV", "V": of columns that do not say it (default mV); "Lead II (uV)" and a row of units do
    separator  : between cells, " " for any white space; by default what makes numbers of all rows
    decimal    : "." or ","
    skip_rows  : lines at the top that are passed over; 0 says that a first line of 0, 1, ... is no row of names
    blank_rows : "gap" where a blank line is a row of missing values, "skip" where it is nothing; by default a gap
    blank_cells : what becomes of missing values: "gap" for NaN where they stand, "warn" for that and a warning that
                 counts them and says where, "refuse" for an error that says it
    encoding   : of the text; by default UTF-8, UTF-16 as its byte order mark says, or Latin-1

    Lines that begin with # or % are comments; a line sep=; gives the separator; a row of names and one of units may
    stand above the numbers. A blank cell (also nan, NA, -) is a missing value where it stands, NaN.

    Returns signal (leads, L) float64 in mV, samples per second or None where the table does not give them, and names.
    Raises FileNotFoundError; ValueError that names the option where two readings fit, and for columns that are no
    voltages, times that are not evenly spaced, and a table whose leads lie in rows.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    if skip_rows is not None and (isinstance(skip_rows, bool) or
                                  not isinstance(skip_rows, (int, np.integer)) or skip_rows < 0):
        raise ValueError(f"skip_rows={skip_rows!r} must be a whole number, 0 or more")
    for name, value, known in (("blank_rows", blank_rows, (None, "gap", "skip")),
                               ("blank_cells", blank_cells, ("gap", "warn", "refuse"))):
        if value not in known:
            raise ValueError(f"{name}={value!r} must be one of {', '.join(map(str, known))}")
    with reading(path, "cannot be read as a table", "see the options of npunet.data.read_table"):
        table = read_cells(read_text(path, encoding), separator=separator, decimal=decimal, skip_rows=skip_rows,
                           blank_rows=blank_rows)
        if len(table.columns[0]) == 1 and len(table.columns) > 1:
            raise ValueError(f"it has one row of {len(table.columns)} cells; a row is a moment and a column a lead: "
                             "transpose it")
        refuse_transposed(len(table.columns), len(table.columns[0]), "columns", "rows")
        named = [name or f"column {at}" for at, name in enumerate(table.names or [""] * len(table.columns), 1)]
        times, passed = _find_times(table, named, time)
        passed |= {at for at, cells in enumerate(table.columns) if not any(cells) and not (table.names and
                                                                                           table.names[at])}
        if times is not None and table.names and not any(cells[0] for cells in table.columns):
            table = replace(table, columns=[cells[1:] for cells in table.columns], lines=table.lines[1:])
        chosen = _choose(named, passed, leads)
        fs = None if times is None else rate_of(_full_name(table, named, times), table.columns[times], table.decimal,
                                                time_unit)
        lead_names, rows = zip(*(_lead(table, named, at, unit, leads is None) for at in chosen), strict=True)
        signal = np.stack(rows)
        missing = "" if blank_cells == "gap" else _missing(signal, lead_names, table.lines)
        if missing and blank_cells == "refuse":
            raise ValueError(f"{missing}; blank_cells='gap' takes them for gaps")
    if missing:
        warnings.warn(f"{path}: {missing}; they are gaps (blank_cells='refuse' refuses them)", UserWarning,
                      stacklevel=2)
    warn_of_flat(os.fspath(path), signal, lead_names, "column")
    return signal, fs, lead_names


def _missing(signal: np.ndarray, names: Sequence[str], lines: Sequence[int]) -> str:
    """How many values each column lacks, and where it begins, in words; "" where none is missing."""
    told = []
    for name, row in zip(names, signal, strict=True):
        at = np.flatnonzero(np.isnan(row))
        if 0 < len(at) < len(row):                                           # of all, warn_of_flat speaks
            told.append(f"column {name!r} lacks {len(at):,} of {len(row):,} values, the first in line {lines[at[0]]}")
    return ", ".join(told[:4]) + (f" and {len(told) - 4} more columns" if len(told) > 4 else "")


def _find_times(table: Table, named: list[str], time: str | int | bool | None) -> tuple[int | None, set[int]]:
    """Number of the column of times, or None; and the columns that are no leads."""
    if time is not None and not isinstance(time, bool):
        at = _column(named, time)
        return at, {at} | _indices(table, [at]) | _times(table)
    if time is False:
        return None, _times(table) | _indices(table, [])
    stamps = [at for at, cells in enumerate(table.columns) if _is_stamps(cells)]
    clocks = [at for at in stamps if any(":" in cell for cell in table.columns[at])]
    called = [at for at in range(len(table.names)) if at not in stamps and _is_time(table, at)]
    found = clocks + called
    if len(found) > 1:
        raise ValueError(f"it has several columns of times, {', '.join(named[at] for at in found)}; say by time= which "
                         "counts")
    passed = set(stamps) | set(found) | _indices(table, found)
    if not found and len(table.columns) - len(passed) > 1:
        found = _unnamed_times(table, named, passed)
    return (found[0] if found else None), passed | set(found)


def _times(table: Table) -> set[int]:
    """All columns of times, by their cells or by their names."""
    return {at for at, cells in enumerate(table.columns) if _is_stamps(cells) or (table.names and _is_time(table, at))}


def _is_time(table: Table, at: int) -> bool:
    """Whether a column that has a name is called as times are, or has their unit."""
    return is_time_name(table.names[at]) or _time_unit(table, at) is not None


def _time_unit(table: Table, at: int) -> str | None:
    """The unit of time of a column with a name, from the row of units or in brackets: "Elapsed (s)"."""
    found = IN_BRACKETS.fullmatch(table.names[at])
    return next((unit for unit in (table.units[at], found["unit"] if found else "") if unit.lower() in SECONDS), None)


def _indices(table: Table, times: Sequence[int]) -> set[int]:
    """Columns that are only running numbers: called so or not at all, and counting up by 1."""
    return {at for at in range(len(table.columns)) if at not in times and len(table.columns) > 1 and
            (is_index_name(table.names[at]) if table.names else at == 0) and
            is_running(numbers(table.columns[at], table.decimal)[0])}


def _unnamed_times(table: Table, named: list[str], passed: set[int]) -> list[int]:
    """The first of the other columns, where it rises as times do. Raises ValueError where its name says otherwise."""
    for at in range(len(table.columns)):
        if at in passed:
            continue
        if not rises(numbers(table.columns[at][:SURE], table.decimal)[0]):
            continue                                                         # seen without reading all of it
        if not rises(numbers(table.columns[at], table.decimal)[0]):
            continue
        if not table.names or not table.names[at]:
            return [at] if not passed or at == min(set(range(len(named))) - passed) else []
        raise ValueError(f"its column {named[at]!r} rises steadily, as times do; say by time={named[at]!r} that it is "
                         "the time, or by time=False that it is a lead")
    return []


def _is_stamps(cells: Sequence[str]) -> bool:
    return any(is_time(cell) for cell in cells[:100]) or any(is_time(cell) for cell in cells[100::97])


def _choose(named: list[str], passed: set[int], leads: Sequence[str] | None) -> list[int]:
    if isinstance(leads, str):
        raise ValueError(f"leads={leads!r} must be a list of names, such as [{leads!r}]")
    chosen = ([at for at in range(len(named)) if at not in passed] if leads is None else
              [_column(named, lead) for lead in leads])
    if leads is not None and not chosen:
        raise ValueError(f"leads={leads!r} names no column; it has {', '.join(named)}")
    if not chosen:
        raise ValueError(f"it has no column of a lead: {', '.join(named)} are times or running numbers; say by "
                         "time=False or leads= that one is a lead")
    return chosen


def _column(named: list[str], name: str | int) -> int:
    """Number of a column of this name, with or without its unit; exact spelling goes first."""
    if isinstance(name, (int, np.integer)):
        if not 0 <= name < len(named):
            raise ValueError(f"it has no column {name}; it has {len(named)}, counted from 0")
        return int(name)
    bare = [_name_and_unit(each)[0] for each in named]
    for known in (named, bare, [each.lower() for each in named], [each.lower() for each in bare]):
        wanted = name if known is named or known is bare else name.lower()
        found = [at for at, each in enumerate(known) if each == wanted]
        if len(found) > 1:
            raise ValueError(f"it has {len(found)} columns called {name!r}; give them names of their own")
        if found:
            return found[0]
    raise ValueError(f"it has no column {name!r}; it has {', '.join(named)}")


def _lead(table: Table, named: list[str], at: int, unit: str | None, unasked: bool) -> tuple[str, np.ndarray]:
    """Name and millivolts (L,) of a column. `unasked`: nobody has said that it is a lead."""
    name, said = _name_and_unit(named[at])
    row = table.units[at] if table.units else ""
    if row and row.lower() in SECONDS and not said:
        said = row
    said = said or row or None
    if said is None and unit is None and (odd := ODD_VOLTS.search(named[at])):
        raise ValueError(f"its column {name!r} is in {odd['unit']}, a voltage that npunet does not know; say by unit= "
                         "which it is")
    if said is None and unit is None and (odd := ANY_VOLTAGE.search(named[at])):
        raise ValueError(f"its column {name!r} may be in {odd[0].strip()} or not; say by unit= which unit it has")
    if unit is not None and unit.lower() not in MILLIVOLTS:
        raise ValueError(f"unit={unit!r} must be mV, uV, nV or V")
    if said is not None and said.lower() not in MILLIVOLTS:
        raise ValueError(f"its column {name!r} is in {said}, which is no voltage; choose others by leads=, or take the "
                         "row of units away")
    if said is not None and unit is not None and MILLIVOLTS[said.lower()] != MILLIVOLTS[unit.lower()]:
        raise ValueError(f"unit={unit!r} contradicts its column {name!r}, which says {said}")
    cells = table.columns[at]
    values, wrong = numbers(cells, table.decimal)
    if wrong is not None:
        raise ValueError(f"line {table.lines[wrong]} has {cells[wrong]!r:.40} in column {name!r}, which is no number; "
                         "choose other columns by leads=, or say by decimal= and separator= how numbers are written")
    if unasked and NO_LEAD.fullmatch(name):
        raise ValueError(f"its column {name!r} is no lead by its name; choose the leads by leads=")
    made = values * MILLIVOLTS[(said or unit or "mV").lower()]
    if np.isinf(made).any():
        raise ValueError(f"line {table.lines[int(np.argmax(np.isinf(made)))]} has a number too large in column "
                         f"{name!r}")
    return name, made


def _name_and_unit(name: str) -> tuple[str, str | None]:
    """"Lead II (uV)" as its name and unit; brackets that hold no unit stay in the name."""
    if len(name) > 1 and name.lower() in MILLIVOLTS:
        return name, name
    found = IN_BRACKETS.fullmatch(name)
    if found and (found["unit"].lower() in MILLIVOLTS or found["unit"].lower() in NO_VOLTAGE):
        return found["name"] or name, found["unit"]
    found = AFTER.fullmatch(name)
    return (found["name"], found["unit"]) if found else (name, None)


def _full_name(table: Table, named: list[str], at: int) -> str:
    """The name of a column of times with its unit from the row of units, if it has one."""
    unit = _time_unit(table, at) if table.names else None
    return named[at] if unit is None else f"time ({unit})"

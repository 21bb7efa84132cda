"""The sampling rate that a column of times gives: seconds, time stamps, dates, or a running number that gives none."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from npunet.data.table_dialect import BLANK, CLOCK, is_time, numbers

SECONDS = {"s": 1.0, "sec": 1.0, "secs": 1.0, "second": 1.0, "seconds": 1.0, "min": 60.0, "minutes": 60.0,
           "h": 3600.0, "hours": 3600.0, "d": 86400.0, "days": 86400.0,
           "ms": 1e-3, "msec": 1e-3, "msecs": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
           "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "microseconds": 1e-6, "ns": 1e-9, "nanoseconds": 1e-9}
UNIT = "|".join(sorted(SECONDS, key=len, reverse=True))
TIME_NAME = re.compile(r"(?:elapsed|sample)?[ _]*(?:time|times|timestamps?|time stamps?"
                       r"|datetime|date|t|zeit|zeitstempel)"
                       rf"(?:[ _/]*[\[(]?(?P<unit>{UNIT})[\])]?)?|(?P<alone>seconds?|secs?|msecs?|milliseconds?|ms)",
                       re.IGNORECASE)
INDEX_NAME = re.compile(r"(?:index|idx|samples?|samples?[ _]*(?:#|no\.?|number|index|nr\.?)|#|no\.?|nr\.?|rows?"
                        r"|unnamed: \d+|)", re.IGNORECASE)
EPOCHS = ((1e18, 1e-9), (1e15, 1e-6), (1e12, 1e-3), (1e9, 1.0))  # size of a time since 1970, and its unit in seconds
SURE = 20  # rows over which no lead of an ECG rises steadily
DAY = 86400.0
LONGEST_STEP, SHORTEST_STEP = 0.1, 1e-5  # s between samples
SURELY_SECONDS = 0.02  # what is longer may be milliseconds of a fast recording


def is_time_name(name: str) -> bool:
    """Whether a column is called as times are."""
    return bool(TIME_NAME.fullmatch(name.strip()))


def is_index_name(name: str) -> bool:
    """Whether a column is called as running numbers are, or not at all."""
    return bool(INDEX_NAME.fullmatch(name.strip()))


def unit_of(name: str) -> str | None:
    """The unit of time that a column's name gives."""
    found = TIME_NAME.fullmatch(name.strip())
    return (found["unit"] or found["alone"]) if found else None


def is_running(values: np.ndarray) -> bool:
    """Whether values count up by 1, gaps passed over."""
    at = np.flatnonzero(~np.isnan(values))
    return len(at) > 2 and bool((np.diff(values[at]) == np.diff(at)).all())


def rises(values: np.ndarray) -> bool:
    """Whether values rise as no lead does: at every row of many, or by equal steps."""
    at = np.flatnonzero(~np.isnan(values))
    steps = np.diff(values[at]) / np.diff(at)
    if len(at) < 3 or not (steps > 0).all():
        return False
    return len(at) >= SURE or bool(np.ptp(steps) < 1e-6 * steps.mean())


def rate_of(name: str, cells: Sequence[str], decimal: str, unit: str | None) -> float:
    """Samples per second of a column of times, one a row; blank cells are passed over.

    unit : "s", "ms", ... of numbers; None where the name gives it or the numbers leave no choice

    Raises ValueError for times that are too coarse, not evenly spaced, of an unknown unit or no times.
    """
    stamped = any(is_time(cell) for cell in cells[:100])
    at = np.array([row for row, cell in enumerate(cells) if cell.lower() not in BLANK])
    if len(at) < 2:
        raise ValueError(f"the time column {name!r} holds fewer than two times; leave it out by time=False")
    kept = [cells[row] for row in at]
    times, digits = _stamps(name, kept) if stamped else _numbers(name, kept, decimal)
    scale = 1.0 if stamped else _scale(name, times, at, unit)
    steps = np.diff(times) / np.diff(at)
    step = float((times[-1] - times[0]) / (at[-1] - at[0]))
    grain = 10.0 ** -digits
    if not (steps > 0).all():
        wrong = int(np.argmax(steps <= 0))
        raise ValueError(f"the time column {name!r} does not rise from {kept[wrong]} to {kept[wrong + 1]}; if its "
                         "times are only too coarse, leave it out by time=False and give the rate (--fs)")
    rounding = 4e-16 * float(np.abs(times).max())                            # of a time that counts from 1970
    exact = min(1.2e-7 * float(times[-1] - times[0]), 0.25 * step) + rounding
    slack = grain + exact
    off = np.abs(np.diff(times) - step * np.diff(at))
    line = np.polyfit(at - at[0], times - times[0], 1)
    drift = np.abs(times - times[0] - np.polyval(line, at - at[0]))
    if off.max() > slack * 1.0001 or drift.max() > slack * 1.0001:
        wrong = int(np.argmax(off)) if off.max() > slack else int(np.argmax(drift))
        raise ValueError(f"the time column {name!r} is not evenly spaced: {kept[wrong]} is followed by "
                         f"{kept[min(wrong + 1, len(kept) - 1)]}, where a step is {step:g}; fill the gap with blank "
                         "rows, or leave the column out by time=False and give the rate (--fs)")
    even = bool(off.max() <= exact)
    doubt = 2 * rounding / float(times[-1] - times[0]) if even else 4 * grain / len(at) ** 1.5 / step
    fs = _settled(1 / (scale * (step if even else float(line[0]))), doubt, name)
    if not 1 / LONGEST_STEP <= fs <= 1 / SHORTEST_STEP:
        raise ValueError(f"the time column {name!r} gives {fs:g} samples a second; say its unit by time_unit=, such as "
                         "'ms', or leave it out by time=False")
    return fs


def _settled(fs: float, doubt: float, name: str) -> float:
    """The rate within a relative `doubt`: a whole number where there is one."""
    doubt = max(doubt, 1e-7)
    low, high = math.ceil(fs * (1 - doubt)), math.floor(fs * (1 + doubt))
    if low == high:
        return float(low)
    if low > high and doubt < 2e-3:
        return float(f"{fs:.8g}")
    raise ValueError(f"the times of column {name!r} are too coarse to tell the rate, about {fs:g} Hz; leave it out by "
                     "time=False and give the rate (--fs)")


def _scale(name: str, times: np.ndarray, at: np.ndarray, unit: str | None) -> float:
    """Seconds in the unit of a column of numbers."""
    told = unit_of(name)
    if unit is not None:
        if unit.lower() not in SECONDS:
            raise ValueError(f"time_unit={unit!r} must be one of s, ms, us, ns, min, h, d")
        if told is not None and SECONDS[told.lower()] != SECONDS[unit.lower()]:
            raise ValueError(f"time_unit={unit!r} contradicts the time column {name!r}")
        return SECONDS[unit.lower()]
    if told is not None:
        return SECONDS[told.lower()]
    step = float((times[-1] - times[0]) / (at[-1] - at[0]))
    for size, seconds in EPOCHS:
        if size <= times[0] < 10 * size:
            return seconds
    if 0 < step <= SURELY_SECONDS:
        return 1.0
    raise ValueError(f"the time column {name!r} counts by {step:g}, of a unit that it does not say; say it by "
                     "time_unit='s', 'ms', ..., or leave the column out by time=False")


def _numbers(name: str, cells: Sequence[str], decimal: str) -> tuple[np.ndarray, int]:
    """Times as numbers, and how many digits they have after the decimal sign: 1.25E-02 has four."""
    found, wrong = numbers(cells, decimal)
    if wrong is not None:
        raise ValueError(f"the time column {name!r} holds {cells[wrong]!r:.40}, which is no time; leave it out by "
                         "time=False")
    parts = [cell.lower().partition("e") for cell in cells]
    digits = [len(mantissa.replace(",", ".").partition(".")[2]) - int(power or 0) for mantissa, _, power in parts]
    scientific = [count for count, (_, e, _) in zip(digits, parts, strict=True) if e]
    return found, min(scientific) if scientific else max(digits)


def _stamps(name: str, cells: Sequence[str]) -> tuple[np.ndarray, int]:
    """Times of day in seconds, running on over midnight, and the digits of their seconds."""
    seconds, digits, dates = [], 0, set()
    for cell in cells:
        found = CLOCK.fullmatch(cell)
        if found is None:
            raise ValueError(f"the time column {name!r} holds {cell!r:.40}, which is no time of day; leave it out by "
                             "time=False")
        clock, _, fraction = found["clock"].replace(",", ".").partition(".")
        parts = [int(part) for part in clock.split(":")]
        if len(parts) == 2 and not fraction:
            raise ValueError(f"{cell!r} in the time column {name!r} may be hours or minutes; leave it out by "
                             "time=False and give the rate (--fs)")
        parts = [0, *parts] if len(parts) == 2 else parts
        if found["half"]:
            parts[0] = parts[0] % 12 + (12 if found["half"].lower() == "pm" else 0)
        seconds.append(3600 * parts[0] + 60 * parts[1] + parts[2] + float(f"0.{fraction}"))
        digits = max(digits, len(fraction))
        dates.add(found["date"] or found["after"])
    times = np.array(seconds, float)
    midnights = np.concatenate([[0], np.cumsum(np.diff(times) < -DAY / 2)])
    if len(dates) > 1 + midnights[-1]:
        raise ValueError(f"the time column {name!r} has {len(dates)} dates, and its clock passes midnight "
                         f"{midnights[-1]} times; leave it out by time=False and give the rate (--fs)")
    return times + DAY * midnights, digits

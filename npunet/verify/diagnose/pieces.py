"""A function of one variable that points show: lines, levels and smooth curves, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.polynomial import Chebyshev

FEW_ULP = 3 * 2.0**-24  # of the parts of a value
ON_A_LINE = 5  # points from which on a line is one
ON_A_LEVEL = 3  # points from which on a level is one
DEGREE = 6  # of a smooth piece
ON_A_CURVE = 3 * (DEGREE + 1)  # points from which on such a piece is no chance
SMOOTH = 4e-6  # by which a smooth piece may be missed: how well the polynomial does, and float32
COVERED = 0.98  # share of the points that pieces hold, so that the rest is only the ends of pieces
MOST = 4096  # points that pieces are sought on
SHOWN = 5


@dataclass(frozen=True, eq=False)
class Piece:
    """A function between two numbers.

    low, high    : of x
    slope, shift : of a line; None for a curve
    curve        : in either case
    """

    low: float
    high: float
    slope: float | None
    shift: float
    curve: Callable[[np.ndarray], np.ndarray]


def pieces(x: np.ndarray, y: np.ndarray, room: np.ndarray | float = 0.0) -> list[Piece] | None:
    """The pieces that points lie on; None where they show no function, or one too rough to be told from noise.

    x, y : (P,) float64, finite
    room : how far y may be off besides its own rounding, (P,) or one number
    """
    order = np.argsort(x, kind="stable")
    x, y, rooms = x[order], y[order], np.asarray(np.broadcast_to(room, x.shape)[order])
    again = x[1:] == x[:-1]
    if (np.abs(np.diff(y))[again] > (rooms[1:] + rooms[:-1])[again]).any():
        return None
    first = np.concatenate([[True], ~again]) if len(x) else np.zeros(0, bool)
    x, y, rooms = x[first], y[first], rooms[first]
    if len(x) > MOST:
        taken = np.linspace(0, len(x) - 1, MOST).round().astype(int)
        x, y, rooms = x[taken], y[taken], rooms[taken]
    found: list[Piece] = []
    start, between = 0, []
    while start < len(x):
        end, piece = _longest(x, y, rooms, start)
        if piece is None:
            between.append(start)
            if len(between) > (1 - COVERED) * len(x):
                return None
            start += 1
            continue
        found.append(piece)
        start = end
    return found if found and all(_passing(found, x[k], y[k]) for k in between) else None


def _passing(found: list[Piece], x: float, y: float) -> bool:
    """Whether a point between two pieces lies between their ends, and is not one that belongs to no function."""
    before = [piece for piece in found if piece.high < x]
    behind = [piece for piece in found if piece.low > x]
    if not before or not behind:
        return False
    ends = [float(piece.curve(np.array([at]))[0]) for piece, at in
            ((before[-1], before[-1].high), (behind[0], behind[0].low))]
    return min(ends) <= y <= max(ends)


def values(found: list[Piece], x: np.ndarray) -> np.ndarray:
    """What pieces give; NaN between them."""
    y = np.full(x.shape, np.nan)
    for piece in found:
        at = (x >= piece.low) & (x <= piece.high)
        y[at] = piece.curve(x[at])
    return y


def _longest(x: np.ndarray, y: np.ndarray, room: np.ndarray, start: int) -> tuple[int, Piece | None]:
    """The longest piece from a point on, and where it ends."""
    level = start + int(np.argmax(np.concatenate([y[start:] != y[start], [True]])))
    line, fit = _grown(x, y, room, start, ON_A_LINE, _line)
    if level - start >= ON_A_LEVEL and level >= line:
        value = float(y[start])
        return level, Piece(float(x[start]), float(x[level - 1]), 0.0, value, lambda at: np.full(at.shape, value))
    if fit is not None:
        return line, fit
    end, fit = _grown(x, y, room, start, ON_A_CURVE, _smooth)
    return end, fit


def _grown(
    x: np.ndarray, y: np.ndarray, room: np.ndarray, start: int, least: int,
    fit: Callable[[np.ndarray, np.ndarray, np.ndarray], Piece | None],
) -> tuple[int, Piece | None]:
    """A fit of the least number of points, then of twice as many as long as it holds, then of as many as there are."""
    size, best = least, None
    step = size
    while step:
        grown = min(size if best is None else size + step, len(x) - start)
        span = slice(start, start + grown)
        found = fit(x[span], y[span], room[span]) if grown >= least else None
        if found is not None and (best is None or grown > size):
            step = step * 2 if best is not None else step
            size, best = grown, found
        elif best is None:
            return start, None
        else:
            step //= 2
    return start + size, best


def _line(x: np.ndarray, y: np.ndarray, room: np.ndarray) -> Piece | None:
    middle, off = x.mean(), x - x.mean()
    slope = float((off * (y - y.mean())).sum() / max(float((off * off).sum()), 1e-300))
    shift = float(y.mean() - slope * middle)
    ratio = float((x * y).sum() / max(float((x * x).sum()), 1e-300))
    for a, b in ((_short(ratio), 0.0), (ratio, 0.0), (_short(slope), _short(shift)), (slope, shift)):
        if (np.abs(a * x + b - y) <= room + FEW_ULP * (np.abs(a * x) + abs(b) + np.abs(y))).all():
            return Piece(float(x[0]), float(x[-1]), a, b, _straight(a, b))
    return None


def _straight(slope: float, shift: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda at: slope * at + shift


def _smooth(x: np.ndarray, y: np.ndarray, room: np.ndarray) -> Piece | None:
    if x[-1] <= x[0]:
        return None
    curve = Chebyshev.fit(x, y, DEGREE)
    if (np.abs(curve(x) - y) > room + SMOOTH * np.abs(y).max()).any():
        return None
    return Piece(float(x[0]), float(x[-1]), None, 0.0, curve)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def told(found: list[Piece], name: str = "x") -> str:
    """The pieces in words: "0 below -3; x + 3 from -3 to 3; 6 above 3"."""
    joined = list(_joined(found))
    listed = []
    for number, (piece, low, high) in enumerate(joined[:SHOWN]):
        where = f"up to {high:.4g}" if number == 0 else f"from {low:.4g} on" if number == len(joined) - 1 else (
            f"from {low:.4g} to {high:.4g}")
        listed.append(f"{_formula(piece, name)}{'' if len(joined) == 1 else ' ' + where}")
    more = len(joined) - len(listed)
    return "; ".join(listed) + (f"; and {more} pieces more" if more else "")


def _joined(found: list[Piece]) -> Iterator[tuple[Piece, float, float]]:
    """(piece, low, high) with smooth ones beside each other taken as one."""
    held: list[tuple[Piece, float, float]] = []
    for piece in found:
        if held and held[-1][0].slope is None and piece.slope is None:
            held[-1] = (held[-1][0], held[-1][1], piece.high)
        else:
            held.append((piece, piece.low, piece.high))
    yield from held


def _formula(piece: Piece, name: str) -> str:
    if piece.slope is None:
        return "a curve"
    if piece.slope == 0:
        return f"{piece.shift:.6g}"
    factor = "" if piece.slope == 1 else f"{piece.slope:.6g} "
    return f"{factor}{name}" + (f" {'+' if piece.shift > 0 else '-'} {abs(piece.shift):.6g}" if piece.shift else "")

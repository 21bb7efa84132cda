"""Patterns of upsampling: interpolations up to rounding, and rows and columns taken by another rule."""

from __future__ import annotations

import numpy as np

from npunet.verify.compare import same
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern


@pattern("upsample_nearest2d")
def upsampling_interpolated(s: Sight) -> Guesses:
    """Linear and cubic interpolation with every convention for where the samples lie."""
    x = s.inputs[0].astype(np.float64)
    scale = np.abs(x).max(initial=0) * 2.0**-20 + 1e-30
    for kind in ("linear", "cubic"):
        for words, how in (("half-pixel centres", "half"), ("the first corners aligned", "first"),
                           ("both corners aligned", "both")):
            y = x
            for axis, factor in zip((1, 2), s.recipe.attrs["factor"], strict=True):
                y = _along(y, axis, factor, kind, how)
            name = "bilinear" if kind == "linear" else "bicubic"
            yield Guess(f"upsampling {name} instead of nearest ({words})", y, np.full(y.shape, scale))


def _along(x: np.ndarray, axis: int, factor: int, kind: str, how: str) -> np.ndarray:
    size = x.shape[axis]
    out = np.arange(size * factor)
    at = {"half": (out + 0.5) / factor - 0.5, "first": out / factor,
          "both": out * (size - 1) / max(1, size * factor - 1)}[how]
    low = np.floor(at).astype(int)
    part = at - low
    if kind == "linear":
        weights = {0: 1 - part, 1: part}
    else:  # Keys 1981 with a = -0.5
        t = part
        weights = {-1: -0.5 * t + t**2 - 0.5 * t**3, 0: 1 - 2.5 * t**2 + 1.5 * t**3,
                   1: 0.5 * t + 2 * t**2 - 1.5 * t**3, 2: -0.5 * t**2 + 0.5 * t**3}
    shape = [1, 1, 1, 1]
    shape[axis] = -1
    return sum(np.take(x, np.clip(low + k, 0, size - 1), axis) * w.reshape(shape) for k, w in weights.items())


@pattern("upsample_nearest2d")
def upsampling_rule(s: Sight) -> Guesses:
    """Every row and column of the output is one of the input, but by another rule."""
    x, (fy, fx) = s.inputs[0], s.recipe.attrs["factor"]
    _, H, W, _ = x.shape
    OH, OW, _ = s.recipe.shape
    i, j = np.arange(OH), np.arange(OW)
    for words, rows, columns in (
        ("rounded up", -(-i // fy), -(-j // fx)),
        ("rounded to the nearest", np.floor(i / fy + 0.5), np.floor(j / fx + 0.5)),
        ("rounded to the nearest, ties to even", np.rint(i / fy), np.rint(j / fx)),
        ("with corners aligned", np.rint(i * (H - 1) / max(1, OH - 1)), np.rint(j * (W - 1) / max(1, OW - 1))),
        ("with corners aligned, cut", np.floor(i * (H - 1) / max(1, OH - 1)), np.floor(j * (W - 1) / max(1, OW - 1))),
        ("in reverse order", (OH - 1 - i) // fy, (OW - 1 - j) // fx),
    ):
        y = _picked(x, rows.astype(int), columns.astype(int))
        yield Guess(f"upsampling takes positions {words}", y)
    N, C = len(x), x.shape[3]
    shuffled = np.repeat(x.reshape(N, -1), fy * fx, 1).reshape(s.right.shape)
    yield Guess("every element repeated in memory instead of every pixel", shuffled)
    held = np.repeat(x.reshape(N, -1, C), fy * fx, 1).reshape(s.right.shape)
    yield Guess("every pixel repeated in memory, rows not repeated", held)
    planar = x.reshape(N, C, H, W)[:, :, i // fy][:, :, :, j // fx].reshape(s.right.shape)
    yield Guess("upsampling of data as if the channels came first", planar)
    yield from _seen(s, x)


def _picked(x: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return x[:, np.clip(rows, 0, x.shape[1] - 1)][:, :, np.clip(columns, 0, x.shape[2] - 1)]


def _seen(s: Sight, x: np.ndarray) -> Guesses:
    """The rows and columns that the output shows, by its first row and column."""
    fy, fx = s.recipe.attrs["factor"]
    OH, OW, _ = s.recipe.shape
    columns = [next((k for k in range(x.shape[2]) if same(x[:, 0, k], s.got[:, 0, j]).all()), -1) for j in range(OW)]
    rows = [next((k for k in range(x.shape[1]) if same(x[:, k, 0], s.got[:, i, 0]).all()), -1) for i in range(OH)]
    if min(columns) < 0 or min(rows) < 0:
        return
    other = [(name, seen, factor) for name, seen, factor in (("rows", rows, fy), ("columns", columns, fx))
             if seen != [at // factor for at in range(len(seen))]]
    told = " and ".join(f"{name} {', '.join(map(str, seen[:9]))}{', ...' if len(seen) > 9 else ''}"
                        for name, seen, _ in other)
    y = _picked(x, np.array(rows), np.array(columns))
    yield Guess(f"upsampling takes other positions: {told} of the input", y)


@pattern("upsample_nearest2d", rank=2)
def upsampling_weighted(s: Sight) -> Guesses:
    """Every phase of the output is a weighted sum of the element that it copies and of its neighbours."""
    x, got = s.inputs[0].astype(np.float64), s.got.astype(np.float64)
    fy, fx = s.recipe.attrs["factor"]
    _, H, W, _ = x.shape
    if not (np.isfinite(x).all() and np.isfinite(got).all()):
        return
    steps = [(dy, dx) for dy in ((-1, 0, 1) if H > 1 else (0,)) for dx in (-1, 0, 1)]
    near = np.stack([_picked(x, np.arange(H) + dy, np.arange(W) + dx) for dy, dx in steps])
    y, room, told = s.right.astype(np.float64), np.zeros(got.shape), []
    for i in range(fy):
        for j in range(fx):
            wanted = got[:, i::fy, j::fx]
            columns = near.reshape(len(steps), -1).T
            if len(columns) < 3 * len(steps):
                return
            factors, _, rank, _ = np.linalg.lstsq(columns, wanted.ravel(), rcond=1e-9)
            if rank < len(steps):
                return
            factors = np.array([float(f"{value:.4g}") if abs(value) > 1e-5 else 0.0 for value in factors])
            y[:, i::fy, j::fx] = (columns @ factors).reshape(wanted.shape)
            room[:, i::fy, j::fx] = (4e-6 * (np.abs(columns) @ np.abs(factors))).reshape(wanted.shape)
            parts = [f"{value:g} of [{dy:+d}, {dx:+d}]"
                     for value, (dy, dx) in zip(factors, steps, strict=True) if value]
            told.append(f"[{i}, {j}] is {' + '.join(parts) or 'zero'}")
    yield Guess(f"upsampling makes weighted sums: of every {fy} x {fx} copies {'; '.join(told[:4])}", y, room)

"""Hypotheses about pooling and upsampling."""

from __future__ import annotations

import numpy as np

from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.registry import Variants, hypothesis

F = np.float32
Pair = tuple[int, int]


def pooled(
    r: Recipe, *, window: Pair | None = None, stride: Pair | None = None, before: Pair | None = None,
    fill: float = -np.inf, how: str = "max", among: str = "all",
) -> Recipe:
    """The pooling with something changed; before : (top, left) pads."""
    window, stride = window or r.attrs["window"], stride or r.attrs["stride"]
    (top, _), (left, _) = r.attrs["pads"]
    top, left = before or (top, left)

    def compute(changed: Recipe) -> np.ndarray:
        x = changed.inputs[0]
        _, H, W, _ = x.shape
        OH, OW, _ = changed.shape
        rows = np.arange(OH)[:, None] * stride[0] + np.arange(window[0]) - top  # (OH, KH)
        across = np.arange(OW)[:, None] * stride[1] + np.arange(window[1]) - left  # (OW, KW)
        in_rows, in_columns = (rows >= 0) & (rows < H), (across >= 0) & (across < W)
        y = None
        count = np.zeros((OH, OW, 1), F)
        for ky in range(window[0]):
            for kx in range(window[1]):
                tap = x[:, np.clip(rows[:, ky], 0, H - 1)][:, :, np.clip(across[:, kx], 0, W - 1)]
                inside = (in_rows[:, ky, None] & in_columns[None, :, kx])[..., None]
                tap = np.where(inside, tap, F(fill))
                count += inside
                if how == "mean":
                    y = tap if y is None else y + tap
                elif how == "min":
                    y = tap if y is None else np.where((tap < y) | np.isnan(tap), tap, y)
                elif how == "magnitude":
                    y = tap if y is None else np.where(inside & (np.abs(tap) > np.abs(y)) | np.isinf(y), tap, y)
                elif among == "numbers":  # a NaN never wins
                    y = np.where(tap > (F(-np.inf) if y is None else y), tap, F(-np.inf) if y is None else y)
                else:
                    y = tap if y is None else np.where((tap > y) | np.isnan(tap), tap, y)
        assert y is not None  # a window has an element
        return y / (F(window[0] * window[1]) if among == "window" else count) if how == "mean" else y

    return r.but(
        compute=compute,
        reads=(
            how,
            among,
            fill,
            *(
                windows_inside(size, count, step, length, first)
                for size, count, step, length, first in zip(
                    r.inputs[0].shape[1:3], r.shape[:2], stride, window, (top, left), strict=True
                )
            ),
        ),
    )


def windows_inside(size: int, count: int, step: int, length: int, first: int) -> tuple[tuple[int, ...], ...]:
    """For every window along an axis the elements of it that lie inside; -1 stands for those outside."""
    return tuple(
        tuple(sorted({at if 0 <= at < size else -1 for at in range(k * step - first, k * step - first + length)}))
        for k in range(count)
    )


@hypothesis("max_pool2d")
def pool_pads_zero(r: Recipe) -> Variants:
    if any(sum(pair) for pair in r.attrs["pads"]):
        yield "padded with 0 instead of minus infinity", pooled(r, fill=0.0)
    for words, start in (
        ("0", 0.0), ("the smallest positive float (FLT_MIN)", np.finfo(F).tiny), ("-FLT_MAX", np.finfo(F).min),
    ):
        yield f"the running maximum starts at {words}", r.but(
            compute=lambda c, start=start: np.maximum(unfinished(pooled(c)), F(start)))


def unfinished(r: Recipe) -> np.ndarray:
    """What a recipe gives before what happens to every element of the output: that is done once, by who runs it."""
    return recipes.run(r.but(after=()))


@hypothesis("max_pool2d")
def pool_shifted(r: Recipe) -> Variants:
    ((top, bottom), (left, right)) = r.attrs["pads"]
    if (top, left) != (bottom, right):
        yield "window shifted: padding on the other side", pooled(r, before=(bottom, right))
    for by in (-1, 1):
        if r.inputs[0].shape[1] > 1:
            yield f"window shifted by one row ({by:+d})", pooled(r, before=(top + by, left))
        yield f"window shifted by one column ({by:+d})", pooled(r, before=(top, left + by))
    if top != left:
        yield "vertical and horizontal padding swapped", pooled(r, before=(left, top))


@hypothesis("max_pool2d")
def pool_window(r: Recipe) -> Variants:
    KH, KW = r.attrs["window"]
    for words, window in (
        ("window one column narrower", (KH, KW - 1)),
        ("window one column wider", (KH, KW + 1)),
        ("window one row lower", (KH - 1, KW)),
        ("window one row higher", (KH + 1, KW)),
        ("window transposed", (KW, KH)),
        ("window as large as the stride", r.attrs["stride"]),
        ("no window: only the first element", (1, 1)),
    ):
        if min(window) > 0 and tuple(window) != (KH, KW):
            yield words, pooled(r, window=window)


@hypothesis("max_pool2d")
def pool_stride(r: Recipe) -> Variants:
    sy, sx = r.attrs["stride"]
    if (sy, sx) != (1, 1):
        yield "stride ignored: the first windows at full rate", pooled(r, stride=(1, 1))
    if sy > 1 and sx > 1:
        yield "horizontal stride ignored", pooled(r, stride=(sy, 1))
        yield "vertical stride ignored", pooled(r, stride=(1, sx))
    if sy != sx:
        yield "vertical and horizontal stride swapped", pooled(r, stride=(sx, sy))
    if tuple(r.attrs["window"]) != (sy, sx):
        yield "stride as large as the window", pooled(r, stride=r.attrs["window"])


@hypothesis("max_pool2d")
def pool_average(r: Recipe) -> Variants:
    yield "average over the elements inside instead of the maximum", pooled(r, fill=0.0, how="mean")
    yield "average over the whole window instead of the maximum", pooled(r, fill=0.0, how="mean", among="window")
    yield "minimum instead of the maximum", pooled(r, fill=np.inf, how="min")


@hypothesis("max_pool2d")
def pool_magnitude(r: Recipe) -> Variants:
    yield "the element of the largest magnitude instead of the largest", pooled(r, how="magnitude")


@hypothesis("max_pool2d")
def pool_nan(r: Recipe) -> Variants:
    yield "a NaN in the window is passed over", pooled(r, among="numbers")


def picked(r: Recipe, rows: np.ndarray, across: np.ndarray) -> Recipe:
    """An upsampling that takes these rows and columns of its input."""

    def compute(changed: Recipe) -> np.ndarray:
        x = changed.inputs[0]
        return x[:, np.clip(rows, 0, x.shape[1] - 1)][:, :, np.clip(across, 0, x.shape[2] - 1)]

    _, H, W, _ = r.inputs[0].shape
    return r.but(compute=compute, reads=(np.clip(rows, 0, H - 1).tolist(), np.clip(across, 0, W - 1).tolist()))


@hypothesis("upsample_nearest2d")
def upsample_off(r: Recipe) -> Variants:
    (fy, fx), (OH, OW, _) = r.attrs["factor"], r.shape
    i, j = np.arange(OH), np.arange(OW)
    yield "upsampling one column early", picked(r, i // fy, (j + 1) // fx)
    yield "upsampling one column late", picked(r, i // fy, (j - 1) // fx)
    if OH > 1:
        yield "upsampling one row early", picked(r, (i + 1) // fy, j // fx)
        yield "upsampling one row late", picked(r, (i - 1) // fy, j // fx)
    yield (
        "upsampling with corners aligned",
        picked(
            r,
            np.rint(i * (OH // fy - 1) / max(1, OH - 1)).astype(int),
            np.rint(j * (OW // fx - 1) / max(1, OW - 1)).astype(int),
        ),
    )


@hypothesis("upsample_nearest2d")
def upsample_tiled(r: Recipe) -> Variants:
    _, H, W, _ = r.inputs[0].shape
    i, j = np.arange(r.shape[0]), np.arange(r.shape[1])
    fy, _ = r.attrs["factor"]
    yield "the whole input repeated (tile) instead of every element", picked(r, i % H, j % W)
    yield "columns repeated as a whole, rows element by element", picked(r, i // fy, j % W)
    yield "no upsampling: the input stands at the start", picked(r, i, j)


@hypothesis("upsample_nearest2d")
def upsample_factors_swapped(r: Recipe) -> Variants:
    (fy, fx), (OH, OW, _) = r.attrs["factor"], r.shape
    if fy != fx:
        yield "vertical and horizontal factor swapped", picked(r, np.arange(OH) // fx, np.arange(OW) // fy)


@hypothesis("upsample_nearest2d")
def upsample_bilinear(r: Recipe) -> Variants:
    def compute(changed: Recipe, half: float) -> np.ndarray:
        y = changed.inputs[0].astype(F)
        for axis, factor in ((1, changed.attrs["factor"][0]), (2, changed.attrs["factor"][1])):
            size = y.shape[axis]
            at = np.clip((np.arange(size * factor) + half) / factor - half, 0, size - 1)
            low = np.floor(at).astype(int)
            high = np.minimum(low + 1, size - 1)
            shape = [1, 1, 1, 1]
            shape[axis] = -1
            weight = (at - low).astype(F).reshape(shape)
            first, second = np.take(y, low, axis), np.take(y, high, axis)
            y = first + (second - first) * weight
        return y

    if r.attrs["factor"] != (1, 1):
        yield "bilinear instead of nearest (half-pixel centres)", r.but(compute=lambda c: compute(c, 0.5))
        yield "bilinear instead of nearest", r.but(compute=lambda c: compute(c, 0.0))


@hypothesis("upsample_nearest2d")
def upsample_zeros(r: Recipe) -> Variants:
    def compute(changed: Recipe) -> np.ndarray:
        x, (fy, fx) = changed.inputs[0], changed.attrs["factor"]
        y = np.zeros((len(x), *changed.shape), F)
        y[:, ::fy, ::fx] = x
        return y

    if r.attrs["factor"] != (1, 1):
        yield "zeros between the elements instead of copies", r.but(compute=compute)

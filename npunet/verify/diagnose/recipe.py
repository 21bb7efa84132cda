"""A layer as a recipe that hypotheses change: what it reads, how it walks over the image, how it sums and rounds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

import numpy as np

from npunet.golden.layer_run import split_bias
from npunet.graph import Node
from npunet.ops.table import CONVOLUTIONS, OPERATORS
from npunet.verify.diagnose.roundings import added
from npunet.verify.diagnose.sums import Order, fold, fold_depthwise

Elementwise = Callable[[np.ndarray], np.ndarray]
UNIT = {"stride": (1, 1), "pads": ((0, 0), (0, 0)), "dilation": (1, 1)}
ROUNDING = 2.0**-24 * 1.01  # of one float32 operation; the rest makes u into gamma


@dataclass(frozen=True, eq=False)
class Recipe:
    """One way to compute a layer.

    inputs  : (N, H, W, C) each
    kernels : its weights without a convolution's bias
    first_order : of the depthwise half of a separable layer, where it is another than `order`
    border  : what a convolution reads outside of the image: "zero", "edge" (the nearest inside), "mirror", "wrap"
              (the other end), one of these with " columns" (rows are zero) or " rows", "row" (of another row, what lies
              there row-major), "memory" (without a check of rows) or "sample" (on the left the end of the one before)
    when    : where the bias comes in: "last", or "first" (the sum starts with it)
    compute : instead of the operator's own way; gets the recipe
    between : what happens to every element between the halves of a separable layer
    middle  : what happens to every sum before its bias
    after   : what happens to every element of the output
    reads   : where `compute` moves data only: something that is equal when it moves the same
    folds   : the same layer's weights as folded by another rule: words -> (kernel, bias)
    kin     : weights of other layers that would fit, the same way
    """

    op: str
    inputs: tuple[np.ndarray, ...]
    kernels: tuple[np.ndarray, ...]
    bias: np.ndarray | None
    attrs: Mapping[str, Any]
    shape: tuple[int, int, int]
    order: Order
    first_order: Order | None = None
    border: str = "zero"
    when: str = "last"
    compute: Callable[[Recipe], np.ndarray] | None = None
    between: tuple[Elementwise, ...] = ()
    middle: tuple[Elementwise, ...] = ()
    after: tuple[Elementwise, ...] = ()
    reads: Any = None
    folds: Mapping[str, tuple[np.ndarray, np.ndarray | None]] = field(default_factory=dict)
    kin: Mapping[str, tuple[np.ndarray, np.ndarray | None]] = field(default_factory=dict)

    def but(self, **changes: Any) -> Recipe:
        """The recipe with something changed."""
        return replace(self, **changes)

    def having(self, **attrs: Any) -> Recipe:
        """The recipe with other attributes."""
        return replace(self, attrs={**self.attrs, **attrs})

    @property
    def summed(self) -> bool:
        """Whether it is a convolution in the convolutions' own way, computable at some positions only."""
        return self.op in CONVOLUTIONS and self.compute is None


def recipe_of(
    node: Node,
    inputs: Sequence[np.ndarray],
    weights: Mapping[str, np.ndarray],
    arithmetic: str,
    folds: Mapping[str, Any] | None = None,
    kin: Mapping[str, Any] | None = None,
) -> Recipe:
    """The layer as the bundle declares it."""
    names, bias = split_bias(node, weights)
    return Recipe(
        node.op,
        tuple(inputs),
        tuple(weights[name] for name in names),
        bias,
        dict(node.attrs),
        node.shape,
        Order(fused=arithmetic == "seq_fma"),
        folds=folds or {},
        kin=kin or {},
    )


def run(recipe: Recipe, places: np.ndarray | None = None) -> np.ndarray:
    """The output (N, OH, OW, F), or of a summed recipe its rows (P, F) at flat positions."""
    with np.errstate(all="ignore"):
        if recipe.summed:
            y = _summed(recipe, places)
        elif recipe.compute is not None:
            y = recipe.compute(recipe)
        else:
            y = plain(recipe)
        for step in recipe.after:
            y = step(y)
        return y


def plain(recipe: Recipe) -> np.ndarray:
    """The operator as it is defined."""
    op = OPERATORS[recipe.op]
    order = {"arithmetic": "seq_fma" if recipe.order.fused else "seq"} if op.sums else {}
    return op.forward(*recipe.inputs, *recipe.kernels, **recipe.attrs, **order)


def rough(recipe: Recipe, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A summed recipe in float64 at flat positions, and how far a float32 sum in any order may be from that.

    The allowance is gamma(n) sum |x||w| with n one more than the roundings of a term (Higham 2002, section 3.1).
    """
    with np.errstate(all="ignore"):
        x, w = _operands(recipe, places, np.float64)
        terms = x.shape[1]  # (P, K), or (P, T, C) summed over T
        y, size = _products(x, w), _products(np.abs(x), np.abs(w))
        if recipe.op == "separable_conv2d":
            for step in recipe.between:
                y = step(y.astype(np.float32)).astype(np.float64)
            w = recipe.kernels[1].reshape(recipe.kernels[1].shape[2:]).astype(np.float64)
            y, size, terms = y @ w, size @ np.abs(w), terms + len(w)
        for step in recipe.middle:
            y = step(y.astype(np.float32)).astype(np.float64)
        if recipe.bias is not None:
            y, size = y + recipe.bias, size + np.abs(recipe.bias)
        for step in recipe.after:
            y = step(y.astype(np.float32)).astype(np.float64)
        return y, (terms + 2) * ROUNDING * size + 1e-44


def positions(recipe: Recipe) -> int:
    """How many positions the output has."""
    return len(recipe.inputs[0]) * prod(recipe.shape[:2])


def columns(recipe: Recipe, places: np.ndarray) -> np.ndarray:
    """What every tap reads, (P, KH, KW, C)."""
    x, (KH, KW) = recipe.inputs[0], recipe.kernels[0].shape[:2]
    N, H, W, C = x.shape
    (sy, sx), (dy, dx), ((top, _), (left, _)) = (recipe.attrs[key] for key in ("stride", "dilation", "pads"))
    OH, OW = recipe.shape[:2]
    n, i, j = np.unravel_index(places, (N, OH, OW))
    rows = (i * sy - top)[:, None] + np.arange(KH) * dy  # (P, KH)
    across = (j * sx - left)[:, None] + np.arange(KW) * dx  # (P, KW)
    rows, across = rows[:, :, None], across[:, None, :]
    kind, _, only = recipe.border.partition(" ")
    if kind in MOVED:
        rows = rows if only == "columns" else MOVED[kind](rows, H)
        across = across if only == "rows" else MOVED[kind](across, W)
    if recipe.border in ("row", "memory"):
        flat = rows * W + across
        inside = (flat >= 0) & (flat < H * W) & ((recipe.border == "memory") | (rows >= 0) & (rows < H))
        taken = x.reshape(N, H * W, C)[n[:, None, None], np.clip(flat, 0, H * W - 1)]
    elif recipe.border == "sample":
        before = (n[:, None, None] > 0) & (across < 0) & (across >= -W)
        inside = (rows >= 0) & (rows < H) & (across < W) & ((across >= 0) | before)
        sample = n[:, None, None] - (across < 0)
        column = np.where(across < 0, across % W, np.minimum(across, W - 1))
        taken = x[np.maximum(sample, 0), np.clip(rows, 0, H - 1), column]
    else:
        inside = (rows >= 0) & (rows < H) & (across >= 0) & (across < W)
        taken = x[n[:, None, None], np.clip(rows, 0, H - 1), np.clip(across, 0, W - 1)]
    return np.where(inside[..., None], taken, x.dtype.type(0))


def _mirrored(at: np.ndarray, size: int) -> np.ndarray:
    """Positions reflected at both ends, which themselves stand once."""
    period = max(1, 2 * size - 2)
    return np.minimum(at % period, -at % period)


def _symmetric(at: np.ndarray, size: int) -> np.ndarray:
    """Positions reflected at both ends, which themselves stand twice."""
    return np.minimum(at % (2 * size), (-1 - at) % (2 * size))


MOVED: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "mirror": _mirrored,
    "symmetric": _symmetric,
    "wrap": np.remainder,
    "edge": lambda at, size: np.clip(at, 0, size - 1),
}


def _operands(recipe: Recipe, places: np.ndarray, dtype: type) -> tuple[np.ndarray, np.ndarray]:
    """(P, K) and (K, F); depthwise (P, T, C) and (T, C, M)."""
    x: np.ndarray = columns(recipe, places).astype(dtype)
    w: np.ndarray = recipe.kernels[0].astype(dtype)
    P, KH, KW, C = x.shape
    if recipe.op == "conv2d":
        return x.reshape(P, KH * KW * C), w.reshape(KH * KW * C, -1)
    return x.reshape(P, KH * KW, C), w.reshape(KH * KW, C, -1)


def _products(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    if w.ndim == 2:
        return x @ w
    return np.einsum("ptc,tcm->pcm", x, w).reshape(len(x), -1)


def _summed(recipe: Recipe, places: np.ndarray | None) -> np.ndarray:
    if places is None:
        everywhere = np.arange(positions(recipe))
        taps = prod(recipe.kernels[0].shape[:3])
        step = max(1, (1 << 22) // max(1, taps))
        parts = [_rows(recipe, everywhere[start : start + step]) for start in range(0, len(everywhere), step)]
        return np.concatenate(parts).reshape(len(recipe.inputs[0]), *recipe.shape)
    return _rows(recipe, places)


def _rows(recipe: Recipe, places: np.ndarray) -> np.ndarray:
    x, w = _operands(recipe, places, np.float32)
    shape = recipe.kernels[0].shape[:3]
    first = recipe.bias if recipe.when == "first" else None
    if recipe.op == "conv2d":
        y = fold(x, w, recipe.order, shape, first)
    elif recipe.op == "depthwise_conv2d":
        y = fold_depthwise(x, w, recipe.order, shape, first)
    else:
        between = fold_depthwise(x, w, recipe.first_order or recipe.order, shape, None)
        for step in recipe.between:
            between = np.ascontiguousarray(step(between), np.float32)
        pointwise = recipe.kernels[1]
        y = fold(between, pointwise.reshape(pointwise.shape[2:]), recipe.order, pointwise.shape[:3], first)
    for step in recipe.middle:
        y = step(y)
    if recipe.bias is None or recipe.when == "first":
        return y
    if recipe.order.bias_too:
        return added(y.astype(np.float64), recipe.bias.astype(np.float64), recipe.order.rounding)
    return y + recipe.bias

"""Proofs that a faulty kernel is none: it reads the same numbers and rounds them the same way, whatever they are.

Every argument here is about all inputs, not about those that a bundle holds. One liberty is taken and said: two results
that differ only in the sign of a zero after a product has underflowed count as equal, because the bundles keep away
from it (a port that pads with zeros differs from one that skips there, and both are right).
"""

from __future__ import annotations

import numpy as np

from npunet.golden.execute import CONVOLUTIONS
from npunet.verify.diagnose.pooling import picked, pooled
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.sums import walk
from npunet.verify.diagnose.wholes import WHOLES, Scene

NEVER_NEGATIVE = ("relu", "relu6", "softmax")
MOVING = ("layout_swapped", "output_shifted", "output_mirrored", "output_part_unwritten")


def proof(name: str, words: str, right: Recipe, wrong: Recipe) -> str | None:
    """Why a wrong recipe of a layer cannot be told from the right one, or None."""
    if right.op in CONVOLUTIONS and wrong.summed and not any(wrong.inputs[0] is not x for x in right.inputs):
        return _of_sums(name, right, wrong)
    if (
        _same_weights(right, wrong)
        and wrong.compute is None
        and wrong.attrs == right.attrs
        and not wrong.after
        and all(a is b for a, b in zip(right.inputs, wrong.inputs, strict=True))
    ):
        return "the weights are the same numbers" if wrong.op == right.op else None
    if right.op == "max_pool2d" and wrong.reads is not None and not wrong.after:
        reference = pooled(right).reads
        if wrong.reads == reference:
            return "every window covers the same elements"
        if (
            wrong.reads[:2] == reference[:2]
            and wrong.reads[2] == reference[2]
            and _insides(wrong) == _insides(pooled(right))
        ):
            return "every window covers the same elements of the image"
        if (
            all(len(set(window) - {-1}) == 1 for axis in wrong.reads[3:] for window in axis)
            and wrong.reads[3:] == reference[3:]
            and wrong.reads[0] in ("min", "max", "mean")
            and wrong.reads[2] != 0
        ):
            return "every window holds one element"
    if right.op == "upsample_nearest2d" and wrong.reads is not None:
        (fy, fx), (OH, OW, _) = right.attrs["factor"], right.shape
        if wrong.reads == picked(right, np.arange(OH) // fy, np.arange(OW) // fx).reads:
            return "every output takes the same element"
    if name == "sign_turned" and words == "absolute value taken" and right.op in NEVER_NEGATIVE:
        return f"{right.op} is never negative"
    if name == "clamped" and right.op == "softmax":
        return "a softmax lies between 0 and 1"
    if right.op in ("upsample_nearest2d", "max_pool2d", "concat") and name == "output_narrow":
        return None
    return None


def proof_of_whole(name: str, words: str, shape: tuple[int, ...]) -> str | None:
    """Why an output that was moved about is the same, or None: distinct numbers are moved to themselves."""
    if name not in MOVING:
        return None
    distinct = np.arange(1, int(np.prod(shape)) + 1, dtype=np.float64).reshape(shape)
    moved = dict(WHOLES[name](Scene(distinct, [], {}))).get(words)
    return "every element is moved to itself" if moved is not None and np.array_equal(moved, distinct) else None


def _insides(recipe: Recipe) -> list:
    return [[[at for at in window if at >= 0] for window in axis] for axis in recipe.reads[3:]]


def _same_weights(right: Recipe, wrong: Recipe) -> bool:
    pairs = [*zip(right.kernels, wrong.kernels, strict=True)]
    if (right.bias is None) != (wrong.bias is None):
        return False
    if right.bias is not None:
        pairs.append((right.bias, wrong.bias))
    return all(np.array_equal(a, b) for a, b in pairs)


def _taps(recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Rows (OH, KH) and columns (OW, KW) that are read; -1 outside."""
    (KH, KW), (H, W) = recipe.kernels[0].shape[:2], recipe.inputs[0].shape[1:3]
    (sy, sx), (dy, dx), ((top, _), (left, _)) = (recipe.attrs[key] for key in ("stride", "dilation", "pads"))
    rows = np.arange(recipe.shape[0])[:, None] * sy + np.arange(KH) * dy - top
    columns = np.arange(recipe.shape[1])[:, None] * sx + np.arange(KW) * dx - left
    return np.where((rows >= 0) & (rows < H), rows, -1), np.where((columns >= 0) & (columns < W), columns, -1)


def _of_sums(name: str, right: Recipe, wrong: Recipe) -> str | None:
    """Convolutions: the same reads, the same weights where anything is read, sums that cannot differ."""
    zero = right.bias is not None and not right.bias.any()
    if name == "bias_doubled" and zero:
        return "the bias is zero"
    if wrong.after:
        return None
    reads, others = _taps(right), _taps(wrong)
    if not all(np.array_equal(a, b) for a, b in zip(reads, others, strict=True)):
        return None
    if wrong.border != right.border and any((axis < 0).any() for axis in reads):
        return None
    live = (reads[0] >= 0).any(0)[:, None] & (reads[1] >= 0).any(0)[None]  # taps that ever lie inside
    if not np.array_equal(right.kernels[0][live], wrong.kernels[0][live]) or not all(
        np.array_equal(a, b) for a, b in zip(right.kernels[1:], wrong.kernels[1:], strict=True)
    ):
        return None
    if right.bias is not None and not np.array_equal(right.bias, wrong.bias):
        return None
    if wrong.order == right.order and wrong.when == right.when:
        return "it reads the same numbers and weighs them the same"
    if right.op == "separable_conv2d" or wrong.order.rounding or wrong.order.flush:
        return None
    return _of_orders(right, wrong, live, zero)


def _of_orders(right: Recipe, wrong: Recipe, live: np.ndarray, zero: bool) -> str | None:
    """Two ways to sum the same terms."""
    channels = right.kernels[0].shape[2] if right.op == "conv2d" else 1
    shape = (*right.kernels[0].shape[:2], channels)
    alive = np.broadcast_to(live[:, :, None], shape).ravel()
    terms = int(alive.sum())
    fused = right.order.fused or wrong.order.fused
    if wrong.when != right.when:
        if zero:
            return "the bias is zero"
        if terms == 1 and not fused and wrong.order == right.order:
            return "one product and one bias: an addition may be turned round"
        return None
    if terms == 1:
        return "one product a sum: there is nothing to order"
    if terms == 2 and not fused and not wrong.order.wide:
        return "two products a sum: an addition may be turned round"
    listed, other = ([k for k in walk(order.walk, shape) if alive[k]] for order in (right.order, wrong.order))
    if wrong.order.wide or wrong.order.fused != right.order.fused or listed != other:
        return None
    if wrong.order.grouping == right.order.grouping:
        return "the terms come in the same order"
    if wrong.order.grouping == "tap" and int(live.sum()) == 1:
        return "one tap: its partial sum is the sum"
    if wrong.order.grouping.startswith("lanes"):
        numbers = {k % channels if right.op == "conv2d" else k for k in listed}
        if len({number % int(wrong.order.grouping[5:]) for number in numbers}) == 1:
            return "all terms fall into one of the partial sums"
    return None

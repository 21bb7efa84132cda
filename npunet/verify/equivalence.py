"""Proofs that a faulty kernel is none: it reads the same numbers and rounds them the same way, whatever they are.

Every argument here is about all inputs, not about those that a bundle holds; and `equivalent` is about all weights too:
it asks for the proof with weights that have nothing in common with the network's, none of them 0, no two the same. What
only the network's own weights hide (a bias of 0 that is not added) is no equivalence: `hidden` gives the reason, and a
bundle says that it cannot see that fault.

One liberty is taken and said: two results that differ only in the sign of a zero after a product has underflowed count
as equal, because the bundles keep away from it (a port that pads with zeros differs from one that skips there, and both
are right).
"""

from __future__ import annotations

import numpy as np

from npunet.golden.draws import Draws
from npunet.ops.norm import batch_norm_scale_shift
from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose.attempts import variants
from npunet.verify.diagnose.pooling import picked, pooled
from npunet.verify.diagnose.recipe import Recipe, plain
from npunet.verify.diagnose.roundings import ONCE_MORE
from npunet.verify.diagnose.sums import walk
from npunet.verify.diagnose.wholes import WHOLES, Scene

DRAWS = 3  # of weights: two values that are rounded to the same number by chance are not so three times
NEVER_NEGATIVE = ("relu", "relu6", "softmax")
MOVING = ("layout_swapped", "output_shifted", "output_mirrored", "output_part_unwritten")


class AnyWeights:
    """The wrong recipes of a layer with weights drawn anew: what holds for several draws of them holds for all."""

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.made: list[tuple[Recipe, dict[tuple[str, str], Recipe]]] = []

    def draw(self, number: int) -> tuple[Recipe, dict[tuple[str, str], Recipe]]:
        """The right recipe under the given draw, and the wrong ones by hypothesis and words."""
        while len(self.made) <= number:
            draws = Draws(len(self.made), "any weights")
            right = self.recipe.but(
                kernels=tuple(_unlike(value.shape, draws) for value in self.recipe.kernels),
                bias=None if self.recipe.bias is None else _unlike(self.recipe.bias.shape, draws),
            )
            self.made.append((right, {(name, words): wrong for name, words, wrong in variants(right)}))
        return self.made[number]

    def equivalent(self, name: str, words: str) -> str | None:
        """Why a wrong recipe cannot be told from the right one whatever the weights and the inputs, or None."""
        reason = None
        for number in range(DRAWS if self.recipe.kernels else 1):
            right, wrongs = self.draw(number)
            wrong = wrongs.get((name, words))
            reason = None if wrong is None else _proof(name, words, right, wrong, False)
            if reason is None:
                return None
        return reason


def _unlike(shape: tuple[int, ...], draws: Draws) -> np.ndarray:
    """Values between 0.5 and 1.5 (a variance must not be negative), no two the same."""
    return (1 + draws.uniform(shape) / 2).astype(np.float32)


def hidden(name: str, words: str, right: Recipe, wrong: Recipe) -> str | None:
    """Why no input can tell a wrong recipe from the right one, given the network's own weights, or None."""
    return _proof(name, words, right, wrong, True)


def _proof(name: str, words: str, right: Recipe, wrong: Recipe, own: bool) -> str | None:
    """own : arguments from the size of these very weights count too."""
    if right.op in CONVOLUTIONS and wrong.summed and not any(wrong.inputs[0] is not x for x in right.inputs):
        return _of_sums(name, right, wrong, own)
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
            and wrong.reads[0] in ("min", "max", "mean", "magnitude")
            and (wrong.reads[2] != 0 or not any(-1 in window for axis in wrong.reads[3:] for window in axis))
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
    if name == "subnormals_flushed" and right.op == "softmax":
        if not wrong.after:
            return "next to any score a subnormal one is 0: both exponentials are 1"
        return "one of two probabilities is never subnormal" if right.shape[2] <= 2 else None
    if name == "softmax_sum" and "summed" in words and right.shape[2] <= 2:
        return "two exponentials: their sum is rounded once in any order"
    if right.op == "layer_norm":
        return _of_layer_norm(words, right, own)
    if right.op == "batch_norm_inference":
        return _of_batch_norm(name, words, right, own)
    if right.op in ("upsample_nearest2d", "max_pool2d", "concat") and name == "output_narrow":
        return None
    return None


def _of_batch_norm(name: str, words: str, right: Recipe, own: bool) -> str | None:
    """A norm that was never trained adds nothing; one with a shift of ordinary size hides what is subnormal."""
    scale, shift = batch_norm_scale_shift(*right.kernels, eps=right.attrs["eps"])
    _, beta, mean, _ = right.kernels
    plainly = words.endswith(("a fused multiply-add", "(x - mean) * scale + beta", "shift added before the scale"))
    if plainly and not beta.any() and not mean.any():
        return "mean and beta are zero: nothing is added"
    one_scale, one_shift = len(np.unique(scale)) == 1, len(np.unique(shift)) == 1
    if (one_scale or "scale" not in words) and (one_shift or "shift" not in words) and (
        words.endswith("of the first channel for all") or "moved by one channel" in words
    ):
        return "all channels have the same"
    ordinary = bool((np.abs(shift) >= 2.0**-80).all() and (np.abs(scale) <= 2.0**20).all())
    if own and name == "subnormals_flushed" and ordinary:
        return "a shift of this size leaves nothing of a subnormal, and ends in 0 or far from one"
    return None


def _of_layer_norm(words: str, right: Recipe, own: bool) -> str | None:
    """No normalised value exceeds the root of how many there are; a signal has one row."""
    _, H, W, C = right.inputs[0].shape
    gamma, beta = (np.abs(value) for value in right.kernels)
    if own and "-128 ... 127" in words and (gamma * np.sqrt(H * W) * (1 + 2.0**-10) + beta).max() < 127:
        return "a layer norm of so few values stays below 127"
    if (H == 1 and words.endswith("over the columns")) or (W == 1 and words.endswith("over the rows")):
        return "there is one row or column: it normalises the same values"
    if C == 1 and words.endswith("rows, columns and channels"):
        return "there is one channel: it normalises the same values"
    return None


def proof_of_whole(name: str, words: str, right: Recipe, shape: tuple[int, ...]) -> str | None:
    """Why an output that was moved about is the same, or None: distinct numbers are moved to themselves."""
    if name not in MOVING:
        return None
    distinct = np.arange(1, int(np.prod(shape)) + 1, dtype=np.float64).reshape(shape)
    if right.op == "upsample_nearest2d":  # what comes out of it is never distinct
        read = np.arange(1, right.inputs[0].size + 1, dtype=np.float64).reshape(right.inputs[0].shape)
        distinct = plain(right.but(inputs=(read,)))
    moved = dict(WHOLES[name](Scene(distinct, [], {}))).get(words)
    return "every element is moved to itself" if moved is not None and np.array_equal(moved, distinct) else None


def _insides(recipe: Recipe) -> list:
    return [[[at for at in window if at >= 0] for window in axis] for axis in recipe.reads[3:]]


def _same_weights(right: Recipe, wrong: Recipe) -> bool:
    pairs = [*zip(right.kernels, wrong.kernels, strict=True)]
    if (right.bias is None) != (wrong.bias is None):
        return False
    if right.bias is not None and wrong.bias is not None:
        pairs.append((right.bias, wrong.bias))
    return all(np.array_equal(a, b) for a, b in pairs)


def _taps(recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Rows (OH, KH) and columns (OW, KW) that are read; -1 outside."""
    (KH, KW), (H, W) = recipe.kernels[0].shape[:2], recipe.inputs[0].shape[1:3]
    (sy, sx), (dy, dx), ((top, _), (left, _)) = (recipe.attrs[key] for key in ("stride", "dilation", "pads"))
    rows = np.arange(recipe.shape[0])[:, None] * sy + np.arange(KH) * dy - top
    columns = np.arange(recipe.shape[1])[:, None] * sx + np.arange(KW) * dx - left
    return np.where((rows >= 0) & (rows < H), rows, -1), np.where((columns >= 0) & (columns < W), columns, -1)


def _of_sums(name: str, right: Recipe, wrong: Recipe, own: bool) -> str | None:
    """Convolutions: the same reads, the same weights where anything is read, sums that cannot differ."""
    zero = right.bias is not None and not right.bias.any()
    if name == "bias_doubled" and zero:
        return "the bias is zero"
    if own and name == "subnormals_flushed" and wrong.after and _far_from_zero(right.bias):
        return "a sum and a bias of this size end in 0 or far from the subnormals"
    if wrong.after or wrong.middle:
        return None
    reads, others = _taps(right), _taps(wrong)
    if not all(np.array_equal(a, b) for a, b in zip(reads, others, strict=True)):
        return None
    if wrong.border != right.border and any((axis < 0).any() for axis in reads):
        return None
    rows, columns = (np.asarray((axis >= 0).any(0)) for axis in reads)
    live = rows[:, None] & columns[None]  # taps that ever lie inside
    if not np.array_equal(right.kernels[0][live], wrong.kernels[0][live]) or not all(
        np.array_equal(a, b) for a, b in zip(right.kernels[1:], wrong.kernels[1:], strict=True)
    ):
        return None
    if right.bias is not None and (wrong.bias is None or not np.array_equal(right.bias, wrong.bias)):
        return None
    if wrong.order == right.order and wrong.when == right.when:
        return "it reads the same numbers and weighs them the same"
    if wrong.order.flush or (wrong.order.rounding and wrong.order.rounding not in ONCE_MORE):
        return None
    if right.op == "separable_conv2d":
        if wrong.when != right.when:
            return None
        halves = [
            _of_orders(_half(right, k, op), _half(wrong, k, op), alive, False, own)
            for k, (op, alive) in enumerate([("depthwise_conv2d", live), ("conv2d", np.ones((1, 1), bool))])
        ]
        return "neither half has anything to order" if all(halves) else None
    return _of_orders(right, wrong, live, zero, own)


def _half(recipe: Recipe, number: int, op: str) -> Recipe:
    """One of the two convolutions of a separable one."""
    return recipe.but(op=op, kernels=(recipe.kernels[number],), bias=None)


def _far_from_zero(bias: np.ndarray | None) -> bool:
    """Whether acc + bias is 0 or normal whatever acc is.

    With |bias| >= 2^-102: either |acc| < |bias| / 2, and what is left is more than 2^-103; or both are multiples of
    2^-126, and so is their sum.
    """
    return bias is not None and bool((np.abs(bias) >= 2.0**-102).all())


def _powers_of_two(right: Recipe, live: np.ndarray) -> str | None:
    """Figueroa 1995, "When is double rounding innocuous?": the sum of two floats is, through a double."""
    weights = np.abs(right.kernels[0][live])
    powers = np.frexp(weights[weights > 0])[0] == 0.5
    return "all weights are powers of two: products are floats, whose sum may round twice" if powers.all() else None


def _of_orders(right: Recipe, wrong: Recipe, live: np.ndarray, zero: bool, own: bool) -> str | None:
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
    if wrong.order.rounding:
        return _powers_of_two(right, live) if own and wrong.order.fused == right.order.fused else None
    if terms == 2 and not fused and not wrong.order.wide:
        return "two products a sum: an addition may be turned round"
    listed, other = ([k for k in walk(order.walk, shape) if alive[k]] for order in (right.order, wrong.order))
    if wrong.order.wide or wrong.order.fused != right.order.fused or listed != other:
        return None
    if wrong.order.grouping == right.order.grouping:
        return "the terms come in the same order"
    if wrong.order.grouping == "tap" and int(live.sum()) == 1:
        return "one tap: its partial sum is the sum"
    if wrong.order.grouping == "tap" and channels == 1 and not fused:
        return "a tap has one product: it is its own partial sum"
    if wrong.order.grouping.startswith("lanes"):
        lanes = [(k % channels if right.op == "conv2d" else k) % int(wrong.order.grouping[5:]) for k in listed]
        if len(set(lanes)) == 1:
            return "all terms fall into one of the partial sums"
        if lanes == [0, 1, 2] and not fused:
            return "three products, each a partial sum: they are added in the same order"
    return None

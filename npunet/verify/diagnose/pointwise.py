"""Hypotheses about activations, additions and concatenations."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from npunet.ops.activation import SELU_ALPHA, SELU_SCALE
from npunet.ops.exponential import exp32, expm1_32
from npunet.ops.table import ACTIVATIONS, OPERATORS
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.registry import Variants, hypothesis

F = np.float32


def declared(op: str) -> Callable[[np.ndarray], np.ndarray]:
    """An activation as bundles declare it, with the exponential of float32."""
    found = OPERATORS[op]
    return partial(found.forward, arithmetic="seq") if found.sums else found.forward


def computing(r: Recipe, function: Callable[..., np.ndarray]) -> Recipe:
    """The recipe with a function of its inputs in place of its operator."""
    return r.but(compute=lambda changed: function(*changed.inputs))


@hypothesis(*ACTIVATIONS)
def activation_missing(r: Recipe) -> Variants:
    yield "activation left out", computing(r, lambda x: x)


@hypothesis(*ACTIVATIONS)
def activation_swapped(r: Recipe) -> Variants:
    for op in ACTIVATIONS:
        if op != r.op:
            yield f"{op} instead of {r.op}", r.but(op=op)
    yield f"sigmoid instead of {r.op}", computing(r, lambda x: F(1) / (F(1) + np.exp(-x)))
    yield f"tanh instead of {r.op}", computing(r, np.tanh)


@hypothesis("relu6")
def clamp_above(r: Recipe) -> Variants:
    yield "clamp above missing (relu instead of relu6)", r.but(op="relu")
    for limit in (1.0, 5.0, 7.0, 8.0, 127.0, 255.0):
        yield (
            f"clamp above at {limit:g} instead of 6",
            computing(r, lambda x, limit=limit: np.clip(x, F(0), F(limit)) + F(0)),
        )
    yield (
        "clamp above at the float32 below 6",
        computing(r, lambda x: np.clip(x, F(0), np.nextafter(F(6), F(0))) + F(0)),
    )


@hypothesis("relu6", "relu")
def clamp_below(r: Recipe) -> Variants:
    high = F(6) if r.op == "relu6" else F(np.inf)
    yield "clamp below missing", computing(r, lambda x: np.minimum(x, high))
    for limit in (-1.0, -6.0):
        yield f"clamp below at {limit:g} instead of 0", computing(r, lambda x, limit=limit: np.clip(x, F(limit), high))


@hypothesis("relu6", "relu")
def relu_of_specials(r: Recipe) -> Variants:
    high = F(6) if r.op == "relu6" else F(np.inf)
    yield "a negative zero stays negative", computing(r, lambda x: np.where(x < 0, F(0), np.minimum(x, high)))
    yield "NaN becomes 0", computing(r, lambda x: np.where(x > 0, np.minimum(x, high), F(0)))
    if r.op == "relu6":
        yield "NaN becomes 6", computing(r, lambda x: np.where(x <= 0, F(0), np.where(x < 6, x, F(6))))


@hypothesis("leaky_relu")
def leaky_slope(r: Recipe) -> Variants:
    for slope in (0.01, 0.1, 0.125, 0.25, 0.3, 0.5, -0.2):
        yield f"slope {slope:g} instead of 0.2", computing(r, lambda x, slope=slope: np.where(x > 0, x, F(slope) * x))
    yield "slope in float64", computing(r, lambda x: np.where(x > 0, x, (0.2 * x.astype(np.float64)).astype(F)))
    yield "slope on the positive side", computing(r, lambda x: np.where(x > 0, F(0.2) * x, x))
    yield "divided by 5 instead of multiplied by 0.2", computing(r, lambda x: np.where(x > 0, x, x / F(5)))


@hypothesis("elu", "selu")
def exponential_other(r: Recipe) -> Variants:
    scale, both = (F(1), F(1)) if r.op == "elu" else (F(SELU_SCALE), F(SELU_SCALE * SELU_ALPHA))
    wide = np.float64

    def bent(below: Callable[[np.ndarray], np.ndarray]) -> Recipe:
        return computing(r, lambda x: np.where(x > 0, scale * x, both * below(x)).astype(F))

    yield "the C library's expm1 instead of the declared one", bent(lambda x: np.expm1(x.astype(wide)).astype(F))
    yield "the C library's exp minus 1", bent(lambda x: np.exp(x.astype(wide)).astype(F) - F(1))
    yield "exp(x) - 1 by the declared exp, which cancels near 0", bent(lambda x: exp32(x) - F(1))
    if r.op == "selu":
        yield "scale left out", computing(r, lambda x: np.where(x > 0, x, F(SELU_ALPHA) * expm1_32(x)))
        yield "alpha left out", computing(r, lambda x: scale * np.where(x > 0, x, expm1_32(x)))
        yield (
            "alpha and scale multiplied one after the other",
            computing(r, lambda x: scale * np.where(x > 0, x, F(SELU_ALPHA) * expm1_32(x))),
        )
    else:
        yield "alpha 0.1 instead of 1", computing(r, lambda x: np.where(x > 0, x, F(0.1) * expm1_32(x)))


@hypothesis("add")
def addend_missing(r: Recipe) -> Variants:
    yield "the second input is not added (residual missing)", computing(r, lambda a, b: a)
    yield "the first input is not added", computing(r, lambda a, b: b)


@hypothesis("add")
def addend_wrong(r: Recipe) -> Variants:
    yield "the second input is added twice", computing(r, lambda a, b: a + b + b)
    yield "the first input is added twice", computing(r, lambda a, b: a + b + a)
    yield "the first input is added to itself", computing(r, lambda a, b: a + a)
    yield "the second input is added to itself", computing(r, lambda a, b: b + b)
    yield "the second input is subtracted", computing(r, lambda a, b: a - b)
    yield "the first input is subtracted", computing(r, lambda a, b: b - a)
    yield "multiplied instead of added", computing(r, lambda a, b: a * b)
    yield "averaged instead of added", computing(r, lambda a, b: (a + b) * F(0.5))
    yield "the larger one taken instead of the sum", computing(r, np.maximum)


@hypothesis("add")
def added_then_activated(r: Recipe) -> Variants:
    for op in ("relu", "relu6"):
        yield f"{op} after the addition", r.but(after=(*r.after, declared(op)))


@hypothesis("add")
def addend_shifted(r: Recipe) -> Variants:
    for axis, name in ((1, "row"), (2, "column"), (3, "channel")):
        for by in (-1, 1):
            if r.inputs[0].shape[axis] > 1:
                yield (
                    f"the second input shifted by one {name} ({by:+d})",
                    computing(r, lambda a, b, axis=axis, by=by: a + np.roll(b, by, axis)),
                )


@hypothesis("concat")
def concat_order(r: Recipe) -> Variants:
    if len(r.inputs) > 1:
        yield "inputs of the concatenation swapped", computing(r, lambda *x: np.concatenate(x[::-1], 3))


@hypothesis("concat")
def concat_interleaved(r: Recipe) -> Variants:
    if len(r.inputs) == 2 and r.inputs[0].shape == r.inputs[1].shape and r.shape[2] > 2:
        yield (
            "channels of the two inputs interleaved",
            computing(r, lambda a, b: np.stack([a, b], 4).reshape(*a.shape[:3], -1)),
        )


@hypothesis("concat")
def concat_axis(r: Recipe) -> Variants:
    def joined(a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return np.concatenate([a, b], axis).reshape(*a.shape[:3], -1)

    for axis, words in ((1, "rows"), (2, "columns")):
        if (
            len(r.inputs) == 2
            and all(x.shape[:3] == r.inputs[0].shape[:3] for x in r.inputs)
            and (r.inputs[0].shape[3] == r.inputs[1].shape[3] and (axis == 2 or r.inputs[0].shape[1] > 1))
        ):
            yield f"inputs joined along the {words}", computing(r, lambda a, b, axis=axis: joined(a, b, axis))
    if len(r.inputs) == 2:
        yield (
            "inputs one after the other (planar) instead of channel by channel",
            computing(
                r,
                lambda a, b: np.concatenate([a.reshape(len(a), -1), b.reshape(len(b), -1)], 1).reshape(
                    *a.shape[:3], -1
                ),
            ),
        )


@hypothesis("concat")
def concat_part_missing(r: Recipe) -> Variants:
    for number, words in enumerate(("first", "second")):
        if len(r.inputs) == 2:
            yield (
                f"the {words} input of the concatenation is zero",
                computing(
                    r,
                    lambda *x, number=number: np.concatenate(
                        [np.zeros_like(v) if k == number else v for k, v in enumerate(x)], 3
                    ),
                ),
            )
    if len(r.inputs) == 2:
        for number, words in enumerate(("first", "second")):
            wanted = r.inputs[1 - number].shape[3]
            if r.inputs[number].shape[3] >= wanted:
                yield (
                    f"the {words} input stands in both places",
                    computing(
                        r,
                        lambda *x, number=number, wanted=wanted: np.concatenate(
                            [x[number][..., : v.shape[3]] for v in x], 3
                        ),
                    ),
                )

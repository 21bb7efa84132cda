"""Rare hypotheses about what a convolution holds on its way: between a separable layer's halves, before its bias."""

from __future__ import annotations

from functools import partial

import numpy as np

from npunet.ops.table import ACTIVATIONS, CONVOLUTIONS
from npunet.verify.diagnose.pointwise import declared
from npunet.verify.diagnose.rare_weighting import POINTS, formats
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.registry import Variants, rare


@rare("separable_conv2d")
def between_halves(r: Recipe) -> Variants:
    """Something happens to what the depthwise half gives before the 1x1 half reads it."""
    for op in ACTIVATIONS:
        yield f"{op} between the depthwise and the 1x1 half", r.but(between=(*r.between, declared(op)))
    for words, function in formats():
        if not any(other in words for other in ("printed", "input channel", "filter", "pruned")):
            yield f"what is between the depthwise and the 1x1 half {words}", r.but(between=(*r.between, function))
    if r.bias is not None and r.bias.size == r.kernels[1].shape[2]:
        yield "the bias added between the depthwise and the 1x1 half too", r.but(
            between=(*r.between, partial(np.add, r.bias)))


@rare(*CONVOLUTIONS)
def sum_format(r: Recipe) -> Variants:
    """The whole sum in a narrow format before the bias is added."""
    if r.bias is not None:
        for words, function in formats():
            if not any(other in words for other in ("printed", "input channel", "filter", "pruned", "lowest")):
                yield f"the sum before the bias {words}", r.but(
                    middle=(*r.middle, lambda y, function=function: np.asarray(function(y), np.float32)))
        for bits in (8, 16):
            for point in POINTS:
                yield (f"the sum before the bias in {bits} bits with {point} fractional ones, saturated",
                       r.but(middle=(*r.middle, partial(saturated, bits=bits, point=point))))


def saturated(x: np.ndarray, bits: int, point: int) -> np.ndarray:
    """Signed integers of so many bits, some of them fractional, and back."""
    top, scale = 2.0 ** (bits - 1), 2.0**point
    return (np.clip(np.rint(x.astype(np.float64) * scale), -top, top - 1) / scale).astype(np.float32)

"""What follows a convolution's sum, in another order or in a register that is too narrow."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npunet.integer.fixed_point import doubling_high_multiply, rounding_shift
from npunet.integer.ops.conv import unclamped
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS, Variant, hypothesis

NARROWEST = 6  # bits of a product that saturates


class _Steps:
    """Product and right shift of a layer, one by one: doubly rounded (D), or at once (S), as the network has it."""

    def __init__(self, e: Evidence) -> None:
        self.once = e.network.rounding == "S"
        m, s = (e.node.arrays[key].astype(np.int64) for key in ("multiplier", "shift"))
        self.left, self.right, self.m = np.maximum(s, 0), np.maximum(-s, 0), m
        self.unit = 31 if self.once else 0  # bits below the product's whole numbers

    def product(self, acc: np.ndarray) -> np.ndarray:
        """acc * m / 2^31, in units of 2^-unit."""
        whole = acc << self.left
        return whole * self.m if self.once else doubling_high_multiply(whole, self.m)

    def shifted(self, product: np.ndarray) -> np.ndarray:
        """What the right shift leaves of it."""
        if not self.once:
            return rounding_shift(product, self.right)
        return (product + (np.int64(1) << (30 + self.right))) >> (31 + self.right)


@hypothesis("product before its shift", *CONVOLUTIONS, rare=True)
def between(e: Evidence) -> Iterator[Variant]:
    """Something between the product and the right shift: the zero point, the bias, a limit."""
    if e.wide:
        return
    acc, b, offset, steps = e.accumulator, e.node.arrays["bias"], e.node.attrs["output_offset"], _Steps(e)
    product = steps.product(acc)
    if offset and steps.right.any():
        yield ("adds the output's zero point before the right shift, not after it, so that hardly anything is left of "
               "it"), e.clamp(steps.shifted(product + (offset << steps.unit)))
    if b.any() and steps.right.any():
        early = steps.product(acc - b) + (b.astype(np.int64) << steps.unit)
        yield "adds the bias after the multiplication, before the right shift", e.clamp(
            steps.shifted(early) + offset)
    most = int(np.abs(product).max()) >> steps.unit
    for bits in range(NARROWEST, most.bit_length() + 1):
        high = ((1 << bits) - 1) << steps.unit
        low = -high - (1 << steps.unit)
        cuts = {f"above {high >> steps.unit} alone": np.minimum(product, high),
                f"below {low >> steps.unit} alone": np.maximum(product, low),
                f"below {low >> steps.unit} and above {high >> steps.unit}": np.clip(product, low, high)}
        for words, cut in cuts.items():
            yield (f"saturates too early, between the multiplication and the right shift: its product is cut off "
                   f"{words}"), e.clamp(steps.shifted(cut) + offset)


@hypothesis("bias after the requantisation", *CONVOLUTIONS, rare=True)
def bias_after(e: Evidence) -> Iterator[Variant]:
    """The bias is added to the requantised sum: shifted, at a scale that is not the output's."""
    b, arrays = e.node.arrays["bias"].astype(np.int64), e.node.arrays
    if not b.any():
        return

    def requantised(acc: np.ndarray) -> np.ndarray:
        return unclamped(acc, arrays["bias"], arrays["multiplier"], arrays["shift"], 0, e.network.rounding)

    whole = requantised(e.accumulator - b) + e.node.attrs["output_offset"]
    late = "adds the bias after the requantisation"
    yield f"{late}, requantised by itself", e.clamp(whole + requantised(b))
    right = np.maximum(-arrays["shift"].astype(np.int64), 0)
    yield f"{late}, at a wrong scale: shifted as its channel's sums are, not multiplied", e.clamp(whole + (b >> right))
    for bits in range(1, int(np.abs(b).max()).bit_length() + 1):
        for words, part in (("", b >> bits), (", rounded", (b + (1 << (bits - 1))) >> bits)):
            yield f"{late}, at a wrong scale: shifted right by {bits}{words}", e.clamp(whole + part)


@hypothesis("floating point", *CONVOLUTIONS, rare=True)
def floating_point(e: Evidence) -> Iterator[Variant]:
    """The sum times a float32 factor, that of the multiplier or of the real scales, in every rounding of C."""
    m, s = (e.node.arrays[key].astype(np.float64) for key in ("multiplier", "shift"))
    factors = {"the factor of its multiplier": (m * 2.0 ** (s - 31)).astype(np.float32)}
    scales = e.node.scales.get("weights")
    if scales is not None and scales.shape == m.shape:
        x, y = (np.float32(e.network.tensors[name].scale) for name in (e.node.inputs[0], e.node.name))
        factors["the factor of its scales"] = x * scales.astype(np.float32) / y
    for words, factor in factors.items():
        real = e.accumulator.astype(np.float32) * factor
        for how, whole in {"ties away from zero (lroundf)": np.trunc(real + np.copysign(np.float32(0.5), real)),
                           "ties to even (rintf)": np.rint(real), "cut towards zero (a cast)": np.trunc(real),
                           "floored (floorf)": np.floor(real)}.items():
            yield (f"requantises in floating point: its sum and {words} as float32, {how}",
                   e.clamp(whole.astype(np.int64) + e.node.attrs["output_offset"]))

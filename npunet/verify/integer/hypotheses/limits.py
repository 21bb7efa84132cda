"""Accumulators that are too narrow, clamps that are missing or in the wrong place."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npunet.golden.integer.stages import before_clamp, has_pre
from npunet.integer.ops.conv import unclamped
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS, Variant, hypothesis


@hypothesis("accumulator too narrow", *CONVOLUTIONS, of_values=True)
def narrow(e: Evidence) -> Iterator[Variant]:
    """16, 24 or (for 16x8) 32 bits, wrapping or saturating at the end of the sum."""
    acc, arrays = e.accumulator, e.node.arrays
    for bits in (16, 24, 32) if e.wide else (16, 24):
        half = 1 << (bits - 1)
        if e.reach < half:
            return
        for words, cut in (("wraps", ((acc + half) & (2 * half - 1)) - half),
                           ("saturates", np.clip(acc, -half, half - 1))):
            whole = unclamped(cut, arrays["bias"], arrays["multiplier"], arrays["shift"],
                              e.node.attrs["output_offset"], e.network.rounding)
            yield f"has an accumulator of {bits} bits that {words}", e.clamp(whole)


@hypothesis("saturation missing", of_values=True)
def wraps(e: Evidence) -> Iterator[Variant]:
    """Values that do not fit are cut to the type's bits."""
    if not has_pre(e.node):
        return
    low, high = e.network.tensors[e.node.name].limits
    whole = before_clamp(e.node, e.inputs, e.network)
    yield ("does not saturate: what leaves the type's range wraps around",
           ((whole - low) & (high - low)) + low)


@hypothesis("clamp", of_values=True)
def clamp(e: Evidence) -> Iterator[Variant]:
    """The activation's clamp is missing, or its limits are others."""
    if not has_pre(e.node):
        return
    low, high = e.network.tensors[e.node.name].limits
    act_min, act_max = e.node.attrs["act_min"], e.node.attrs["act_max"]
    offset = e.node.attrs.get("output_offset", 0)
    whole = before_clamp(e.node, e.inputs, e.network)
    if (act_min, act_max) != (low, high):
        yield "leaves out the activation's clamp", np.clip(whole, low, high)
    if act_min > low and act_max < high:
        yield "leaves out the upper limit of the activation's clamp", np.clip(whole, act_min, high)
        yield "leaves out the lower limit of the activation's clamp", np.clip(whole, low, act_max)
    if e.node.op in CONVOLUTIONS and act_min > low and e.node.arrays["bias"].any():
        arrays = e.node.arrays
        early = np.maximum(e.accumulator - arrays["bias"], 0) + arrays["bias"]
        yield "applies its ReLU before it adds the bias", e.clamp(unclamped(
            early, arrays["bias"], arrays["multiplier"], arrays["shift"], offset, e.network.rounding))
    scaled = whole - offset
    if offset:
        yield ("clamps before it adds the output's zero point",
               np.clip(np.clip(scaled, act_min, act_max) + offset, low, high))
        yield "clamps at 0 instead of the output's zero point", np.clip(whole, 0, act_max)
    if act_min < offset:
        yield "applies a ReLU that this layer does not have", np.clip(np.maximum(scaled, 0) + offset, low, high)
    if act_max > 6:
        yield "clamps at 6 itself instead of what stands for 6", np.clip(whole, act_min, 6)


@hypothesis("sign", rare=True)
def sign(e: Evidence) -> Iterator[Variant]:
    """The result with the other sign, around its zero point or before it is added."""
    if has_pre(e.node):
        offset = e.node.attrs.get("output_offset", 0)
        scaled = before_clamp(e.node, e.inputs, e.network) - offset
        yield "has the wrong sign", e.clamp(offset - scaled)
        yield "takes the magnitude of its result", e.clamp(offset + np.abs(scaled))

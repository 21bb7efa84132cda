"""Softmax and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from npunet.integer.fixed_point import doubling_high_multiply, requantize, rounding_shift
from npunet.integer.ops.softmax import SUM_BITS, bit_length, exp_on_negative, one_over_one_plus
from npunet.integer.ops.softmax16 import softmax16_tables
from npunet.integer.ops.table import table as look_up
from npunet.integer.quantization.scales import round_half_away
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.registry import Variant, hypothesis


@hypothesis("softmax", "softmax", "softmax16", of_values=True)
def softmax(e: Evidence) -> Iterator[Variant]:
    """In real numbers, without the output's zero point, over another axis."""
    x, y = e.network.tensors[e.node.inputs[0]], e.network.tensors[e.node.name]
    low, high = y.limits
    real = x.scale * (e.inputs[0].astype(np.float64) - x.zero_point)
    for axis, words in ((-1, "computes in real numbers and rounds"), (2, "runs over the positions, not the classes")):
        powers = np.exp(real - real.max(axis, keepdims=True))
        share = powers / powers.sum(axis, keepdims=True)
        yield words, np.clip(round_half_away(share / y.scale).astype(np.int64) + y.zero_point, low, high)
    base = np.exp2(real - real.max(-1, keepdims=True))
    share = base / base.sum(-1, keepdims=True)
    yield "takes powers of 2, not of e", np.clip(
        round_half_away(share / y.scale).astype(np.int64) + y.zero_point, low, high)
    if y.zero_point:
        yield "leaves out the output's zero point", np.clip(e.right - y.zero_point, low, high)
        yield "leaves out the output's zero point, and wraps", (e.right - y.zero_point - low) % 256 + low
    yield "hands on the logits: no softmax", e.inputs[0].astype(np.int64)


@hypothesis("axis of a softmax", "softmax", "softmax16", rare=True)
def axis_of_softmax(e: Evidence) -> Iterator[Variant]:
    """The same arithmetic over another axis, or over everything."""
    for axis, words in ((1, "the rows"), (2, "the columns")):
        if e.inputs[0].shape[axis] > 1:
            turned = replace(e, inputs=(np.moveaxis(e.inputs[0], axis, 3),))
            yield f"runs over {words}, not the classes", np.moveaxis(turned.run(), 3, axis)
    N, H, W, C = e.inputs[0].shape
    whole = replace(e, inputs=(e.inputs[0].reshape(N, 1, 1, H * W * C),))
    yield "runs over all of a sample, not over the classes of a position", whole.run().reshape(N, H, W, C)
    high, low = e.network.tensors[e.node.name].limits[::-1]
    y = np.full(e.right.shape, low)
    np.put_along_axis(y, e.inputs[0].argmax(-1)[..., None], high, -1)
    yield "gives the largest class alone all", y


@hypothesis("softmax of 16 bits", "softmax16", of_values=True)
def steps_of_softmax16(e: Evidence) -> Iterator[Variant]:
    """One step of its fixed-point form left out."""
    yield "does not interpolate between the entries of its tables", _softmax16(e, nearest)
    yield "truncates its last product (floor)", _softmax16(e, look_up, half=0)
    if e.inputs[0].shape[-1] > 1:
        yield "leaves the last class out of its sum", _softmax16(e, look_up, summed=slice(-1))
        yield "leaves the first class out of its sum", _softmax16(e, look_up, summed=slice(1, None))


@hypothesis("softmax of 8 bits", "softmax")
def steps_of_softmax8(e: Evidence) -> Iterator[Variant]:
    """One step of its fixed-point form in another way."""
    if e.inputs[0].shape[-1] > 1:
        yield "leaves the last class out of its sum", _softmax8(e, summed=slice(-1))
        yield "leaves the first class out of its sum", _softmax8(e, summed=slice(1, None))
        yield "takes its logits on twice their scale", _softmax8(e, more=1)
        yield "takes its logits on half their scale", _softmax8(e, more=-1)


@hypothesis("precision of softmax", "softmax", rare=True)
def precision_of_softmax8(e: Evidence) -> Iterator[Variant]:
    """Steps that hardly show in eight bits."""
    for steps, words in ((0, "no Newton step"), (1, "one Newton step"), (2, "two Newton steps"),
                         (4, "four Newton steps")):
        yield f"takes {words} for its reciprocal, not three", _softmax8(e, newton=steps)
    high = e.network.tensors[e.node.inputs[0]].limits[1]
    yield f"takes {high} for the largest logit, whatever it is", _softmax8(e, largest=high)
    yield "truncates its last product (floor)", _softmax8(e, floors=True)


def _softmax8(e: Evidence, newton: int = 3, summed: slice = slice(None), more: int = 0, largest: int | None = None,
              floors: bool = False) -> np.ndarray:
    """softmax (integer.ops.softmax) with one step changed."""
    a, x = e.node.attrs, e.inputs[0].astype(np.int64)
    d = x - (x.max(-1, keepdims=True) if largest is None else largest)
    near = d >= a["diff_min"]
    powers = exp_on_negative(doubling_high_multiply(
        np.where(near, d, 0) << max(0, a["left_shift"] + more), a["multiplier"]))
    total = np.where(near, rounding_shift(powers, SUM_BITS), 0)[..., summed].sum(-1, keepdims=True)
    headroom = 32 - bit_length(total)  # of no bits where nothing is summed, as the C has it
    product = doubling_high_multiply(one_over_one_plus((total << headroom) - 2**31, newton), powers)
    shift = SUM_BITS - headroom + 31 - 8
    y = (product >> shift if floors else rounding_shift(product, shift)) - 128
    return np.where(near, np.clip(y, -128, 127), -128)


def _softmax16(e: Evidence, read: Callable[..., np.ndarray], half: int = 1,
               summed: slice = slice(None)) -> np.ndarray:
    """softmax16 (integer.ops.softmax16) with another reading of its tables, or without its last rounding."""
    a, arrays, x = e.node.attrs, e.node.arrays, e.inputs[0].astype(np.int64)
    scaled = requantize(x - x.max(-1, keepdims=True), a["multiplier"], a["shift"], e.network.rounding)
    powers = read(np.clip(scaled + 32767, -32768, 32767), table=arrays["exp_table"])
    total = np.maximum(powers[..., summed].sum(-1, keepdims=True), 1)
    zeros = 32 - bit_length(total)
    leading = ((total << (zeros - 1)) + 2**13) >> 14
    r = read(np.clip(leading - 2**15 - 2**16, -32768, 32767), table=arrays["reciprocal_table"])
    right = 31 - zeros
    return np.clip((powers * r + (np.int64(half) << (right - 1))) >> right, 0, 32767)


def nearest(x: np.ndarray, *, table: np.ndarray) -> np.ndarray:
    """A table of 16 bits without its straight lines."""
    return table.astype(np.int64)[256 + (x >> 7)]


@hypothesis("softmax table", "softmax16", of_values=True)
def table_of_softmax(e: Evidence) -> Iterator[Variant]:
    """Tables from another arithmetic."""
    for lut in ("f32", "f64"):
        if lut != e.node.attrs.get("lut"):
            yield f"has the tables made in {lut}, not {e.node.attrs.get('lut')}", e.run(arrays=softmax16_tables(lut))


@hypothesis("table", "table", of_values=True)
def table(e: Evidence) -> Iterator[Variant]:
    """An index that is off."""
    entries = e.node.arrays["table"]
    x = e.inputs[0].astype(np.int64)
    if entries.dtype == np.int8:
        yield "takes its table's entry at x, not x + 128", entries[x & 255].astype(np.int64)
    else:
        yield "does not interpolate between its table's entries", nearest(x, table=entries)
    yield "takes the entry before", e.run(arrays={"table": np.roll(entries, 1)})
    yield "takes the entry after", e.run(arrays={"table": np.roll(entries, -1)})


@hypothesis("leaky ReLU's slope", "leaky_relu", of_values=True)
def slope(e: Evidence) -> Iterator[Variant]:
    """One factor for both signs."""
    a = e.node.attrs
    for key, other in (("negative", "positive"), ("positive", "negative")):
        yield f"takes the {other} factor for {key} values as well", e.run(
            attrs={f"{key}_{part}": a[f"{other}_{part}"] for part in ("multiplier", "shift")})
    yield "is a ReLU: nothing below zero", e.run(attrs={"negative_multiplier": 0})


@hypothesis("leaky ReLU's slope by shifts", "leaky_relu", rare=True)
def slope_by_shifts(e: Evidence) -> Iterator[Variant]:
    """A power of two for the slope, before or after the requantisation; a result or an input that is halved."""
    a, x = e.node.attrs, e.inputs[0].astype(np.int64) + e.node.attrs["input_offset"]
    offset = a["output_offset"]
    positive, negative = (requantize(x, a[f"{sign}_multiplier"], a[f"{sign}_shift"], e.network.rounding)
                          for sign in ("positive", "negative"))
    for bits in range(1, 8):
        roundings = {"floored": lambda v, n=bits: v >> n,
                     "towards zero": lambda v, n=bits: np.sign(v) * (np.abs(v) >> n),
                     "rounded": lambda v, n=bits: (v + (1 << (n - 1))) >> n}
        for words, of in roundings.items():
            after = e.clamp(np.where(x >= 0, positive, of(positive)) + offset)
            yield f"takes a slope of 1/{1 << bits}, {words}, after the positive factor", after
            before = requantize(of(x), a["positive_multiplier"], a["positive_shift"], e.network.rounding)
            yield f"takes a slope of 1/{1 << bits}, {words}, before the positive factor", e.clamp(
                np.where(x >= 0, positive, before) + offset)
    yield "has its two factors exchanged", e.clamp(np.where(x >= 0, negative, positive) + offset)
    yield "takes the larger of both results", e.clamp(np.maximum(positive, negative) + offset)
    yield "takes its negative values as they are", e.clamp(np.where(x >= 0, positive + offset, e.inputs[0]))
    yield "adds its output's zero point to positive values alone", e.clamp(
        np.where(x >= 0, positive + offset, negative))
    yield "adds its output's zero point to negative values alone", e.clamp(
        np.where(x >= 0, positive, negative + offset))

"""Softmax and tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from npunet.integer.fixed_point import requantize
from npunet.integer.ops.softmax import bit_length
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


@hypothesis("softmax of 16 bits", "softmax16", of_values=True)
def steps_of_softmax16(e: Evidence) -> Iterator[Variant]:
    """One step of its fixed-point form left out."""
    yield "does not interpolate between the entries of its tables", _softmax16(e, nearest)
    yield "truncates its last product (floor)", _softmax16(e, look_up, half=0)


def _softmax16(e: Evidence, read: Callable[..., np.ndarray], half: int = 1) -> np.ndarray:
    """softmax16 (integer.ops.softmax16) with another reading of its tables, or without its last rounding."""
    a, arrays, x = e.node.attrs, e.node.arrays, e.inputs[0].astype(np.int64)
    scaled = requantize(x - x.max(-1, keepdims=True), a["multiplier"], a["shift"], e.network.rounding)
    powers = read(np.clip(scaled + 32767, -32768, 32767), table=arrays["exp_table"])
    total = powers.sum(-1, keepdims=True)
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

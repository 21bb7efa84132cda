"""Softmax and tables."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npunet.integer.ops.softmax16 import softmax16_tables
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
        yield "does not interpolate between its table's entries", entries[256 + (x >> 7)].astype(np.int64)
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

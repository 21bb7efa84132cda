"""Accumulators and products that are cut at every step, which is another thing than at the end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npunet.integer.ops.conv import unclamped
from npunet.ops.windows import windows
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS, Variant, hypothesis

MOST_STEPS = 400  # of an accumulator that is followed step by step
MOST_VALUES = 2**25


@hypothesis("accumulator cut at every step", *CONVOLUTIONS, rare=True)
def step_by_step(e: Evidence) -> Iterator[Variant]:
    """16 bits or so that saturate after each product, or tap."""
    bias = e.node.arrays["bias"].astype(np.int64)
    for bits in (16, 15, 17, 18, 20, 24, 32) if _is_followed(e) else ():
        half = 1 << (bits - 1)
        if np.abs(e.accumulator).max() + e.reach < half:
            break
        for each, start in (("product", bias), ("tap", bias), ("product", 0 * bias)):
            acc = np.broadcast_to(start, e.right.shape)
            for parts in _taps(e):
                for part in parts if each == "product" else [np.sum(list(parts), 0)]:
                    acc = np.clip(acc + part, -half, half - 1)
            if start is not bias:
                acc = acc + bias
            late = "" if start is bias else ", and adds its bias afterwards"
            yield f"saturates its accumulator at {bits} bits after every {each}{late}", _finished(e, acc)


@hypothesis("product of 16 bits", *CONVOLUTIONS, rare=True)
def narrow_products(e: Evidence) -> Iterator[Variant]:
    """Every product is cut before it is added."""
    cuts = {f"{how} in {bits} bits": (how, bits) for bits in (8, 12, 15, 16) for how in ("saturates", "wraps")}
    cuts |= {f"loses its lower {bits} bits": ("floors", bits) for bits in (1, 2, 4, 7, 8)}
    cuts |= {f"is cut towards zero to a multiple of {1 << bits}": ("cut", bits) for bits in (1, 2, 4, 7, 8)}
    for words, (how, bits) in cuts.items() if _is_followed(e) else ():
        acc = np.zeros(e.right.shape, np.int64) + e.node.arrays["bias"]
        for parts in _taps(e):
            for part in parts:
                acc = acc + _cut(part, how, bits)
        yield f"has products each of which {words}", _finished(e, acc)


def _is_followed(e: Evidence) -> bool:
    """Whether a sum has few enough products, and the output few enough sums."""
    KH, KW, C, _ = e.node.arrays["weights"].shape
    count = KH * KW * (1 if e.node.op == "depthwise_conv2d" else C)
    return count <= MOST_STEPS and count * e.right.size <= MOST_VALUES


def _taps(e: Evidence) -> Iterator[Iterator[np.ndarray]]:
    """The products of every tap, (N, OH, OW, F) each, in the order of the sum."""
    a, w = e.node.attrs, e.node.arrays["weights"].astype(np.int64)
    KH, KW, C, _ = w.shape
    x = windows(e.inputs[0].astype(np.int64) + a["input_offset"], (KH, KW), a["stride"], a["pads"], a["dilation"])
    for ky, kx in x:
        tap, weights = x[ky, kx], w[ky, kx]
        if e.node.op == "depthwise_conv2d":
            yield iter([(tap[..., None] * weights).reshape(e.right.shape)])
        else:
            yield (tap[..., c, None] * weights[c] for c in range(C))


def _finished(e: Evidence, acc: np.ndarray) -> np.ndarray:
    arrays = e.node.arrays
    return e.clamp(unclamped(acc, arrays["bias"], arrays["multiplier"], arrays["shift"], e.node.attrs["output_offset"],
                             e.network.rounding))


def _cut(x: np.ndarray, how: str, bits: int) -> np.ndarray:
    """One product."""
    half = 1 << (bits - 1)
    if how == "saturates":
        return np.clip(x, -half, half - 1)
    if how == "floors":
        return x >> bits << bits
    if how == "cut":
        return np.sign(x) * (np.abs(x) >> bits << bits)
    return ((x + half) & (2 * half - 1)) - half

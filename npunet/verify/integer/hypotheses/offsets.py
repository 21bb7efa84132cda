"""Zero points, padding and bias."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from npunet.integer.bounds import input_limits
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS, REQUANTISED, Variant, hypothesis

OFFSETS = {"input_offset": "the input's zero point", "input1_offset": "the first input's zero point",
           "input2_offset": "the second input's zero point", "output_offset": "the output's zero point"}


@hypothesis("zero point", of_values=True)
def zero_point(e: Evidence) -> Iterator[Variant]:
    """Missing, doubled, with the other sign, off by one."""
    for key, words in OFFSETS.items():
        value = e.node.attrs.get(key, 0)
        if value:
            yield f"leaves out {words}", e.run(attrs={key: 0})
            yield f"takes {words} twice", e.run(attrs={key: 2 * value})
            yield f"takes {words} with the wrong sign", e.run(attrs={key: -value})


@hypothesis("type of the input", *REQUANTISED, "layer_norm")
def input_type(e: Evidence) -> Iterator[Variant]:
    """The same bits as another type."""
    tensors = [e.network.tensors[name] for name in e.node.inputs]
    low, high = tensors[0].limits
    span = high - low + 1
    if min(input_limits(e.network, name)[0] for name in e.node.inputs) < 0:
        unsigned = tuple(x.astype(np.int64) & (span - 1) for x in e.inputs)
        yield "reads its input as unsigned", replace(e, inputs=unsigned).run()
    if span > 256:
        bytes_ = tuple(((x.astype(np.int64) + 128) & 255) - 128 for x in e.inputs)
        yield "reads the lower 8 bits of its input", replace(e, inputs=bytes_).run()
        yield "reads the upper 8 bits of its input", replace(e, inputs=tuple(x.astype(np.int64) >> 8 for x in
                                                                             e.inputs)).run()


@hypothesis("pad value", *CONVOLUTIONS)
def pad_value(e: Evidence) -> Iterator[Variant]:
    """What stands outside of the image."""
    x = e.inputs[0]
    low = e.network.tensors[e.node.inputs[0]].limits[0]
    pads = e.node.attrs["pads"]
    if not np.any(pads):
        return
    for value, words in ((0, "0 instead of the input's zero point"), (low, f"{low} instead of the zero point")):
        if value != e.zero_point:
            padded = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=value)
            moved = replace(e, inputs=(padded,))
            yield f"pads with {words}", moved.run(attrs={"pads": ((0, 0), (0, 0))})
    edged = replace(e, inputs=(np.pad(x, [(0, 0), *pads, (0, 0)], mode="edge"),))
    yield "pads with the border's own values", edged.run(attrs={"pads": ((0, 0), (0, 0))})


@hypothesis("bias", *CONVOLUTIONS, of_values=True)
def bias(e: Evidence) -> Iterator[Variant]:
    """Missing, twice, of another channel, cut, in another scale."""
    b = e.node.arrays["bias"]
    if not b.any():
        return
    yield "leaves out the bias", e.run(arrays={"bias": np.zeros_like(b)})
    yield "adds the bias twice", e.run(arrays={"bias": 2 * b})
    yield "subtracts the bias", e.run(arrays={"bias": -b})
    if len(b) < 2:
        return
    for words, other in (("the next channel", np.roll(b, -1)), ("the previous channel", np.roll(b, 1)),
                         ("channel 0 in every channel", np.full_like(b, b[0]))):
        if not np.array_equal(other, b):
            yield f"takes the bias of {words}", e.run(arrays={"bias": other})
    for bits in (8, 16, 32)[: 3 if e.wide else 2]:
        if not np.array_equal(_wrapped(b, bits), b):
            yield f"cuts the bias to {bits} bits", e.run(arrays={"bias": _wrapped(b, bits)})


@hypothesis("bias scale", *CONVOLUTIONS, of_values=True)
def bias_scale(e: Evidence) -> Iterator[Variant]:
    """A bias in another scale than input's * weight's."""
    b, scales = e.node.arrays["bias"], e.node.scales.get("weights")
    if b.any():
        open_ends = {"act_min": -(2**62), "act_max": 2**62}
        without = e.run(attrs=open_ends, arrays={"bias": np.zeros_like(b)})
        yield "adds the bias after the requantisation, without scaling it", e.clamp(without + b)
    if scales is None or scales.shape != b.shape or not b.any():
        return
    x, y = (e.network.tensors[name].scale for name in (e.node.inputs[0], e.node.name))
    real = b * (x * scales.astype(np.float64))
    units: dict[str, float | np.ndarray] = {
        "of the output": y, "of the input": x, "of the weights": scales.astype(np.float64),
        "of the input times channel 0's weights": x * float(scales[0])}
    for words, unit in units.items():
        other = np.rint(real / unit)
        if np.abs(other).max() < 2**31:
            yield f"has its bias in the scale {words}", e.run(arrays={"bias": other.astype(b.dtype)})
    after = np.rint(real / y).astype(np.int64) + e.run(
        attrs={"act_min": -(2**62), "act_max": 2**62}, arrays={"bias": np.zeros_like(b)})
    yield "adds the bias after the requantisation, in the output's scale", e.clamp(after)


def _wrapped(values: np.ndarray, bits: int) -> np.ndarray:
    """The lower bits, as two's complement."""
    half = np.int64(1) << (bits - 1)
    return (((values.astype(np.int64) + half) & (2 * half - 1)) - half).astype(values.dtype)

"""Zero points, padding and bias."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal

import numpy as np

from npunet.integer.bounds import input_limits
from npunet.integer.ops.conv import unclamped
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.factors import BLOCKS
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
    given, result = (e.network.tensors[name].zero_point for name in (e.node.inputs[0], e.node.name))
    if "input_offset" in e.node.attrs and given != result:
        yield "takes the output's zero point for the input's", e.run(attrs={"input_offset": -result})
        if "output_offset" in e.node.attrs:
            yield "takes the input's zero point for the output's", e.run(attrs={"output_offset": given})
    offset = e.node.attrs.get("output_offset", 0)
    if offset and e.node.op in CONVOLUTIONS:
        early = e.run(attrs={"output_offset": 0}, arrays={"bias": e.node.arrays["bias"] + offset})
        yield "adds the output's zero point before the requantisation", early


@hypothesis("type of the input", *REQUANTISED, "layer_norm")
def input_type(e: Evidence) -> Iterator[Variant]:
    """The same bits as another type."""
    tensors = [e.network.tensors[name] for name in e.node.inputs]
    low, high = tensors[0].limits
    span = high - low + 1
    if min(input_limits(e.network, name)[0] for name in e.node.inputs) < 0:
        unsigned = tuple(x.astype(np.int64) & (span - 1) for x in e.inputs)
        yield "reads its input as unsigned", replace(e, inputs=unsigned).run()
        yield "takes the magnitude of its input", replace(
            e, inputs=tuple(np.abs(x.astype(np.int64)) for x in e.inputs)).run()
    if span > 256:
        bytes_ = tuple(((x.astype(np.int64) + 128) & 255) - 128 for x in e.inputs)
        yield "reads the lower 8 bits of its input", replace(e, inputs=bytes_).run()
        yield "reads the upper 8 bits of its input", replace(e, inputs=tuple(x.astype(np.int64) >> 8 for x in
                                                                             e.inputs)).run()
        swapped = tuple(x.astype("<i2").byteswap().astype(np.int64) for x in e.inputs)
        yield "reads the bytes of its input in the other order", replace(e, inputs=swapped).run()


@hypothesis("input less its zero point", *CONVOLUTIONS, rare=True)
def centred(e: Evidence) -> Iterator[Variant]:
    """The difference, which has a bit more than the type, kept in the type: off by 1 where the zero point is 1 off."""
    tensor, offset = e.network.tensors[e.node.inputs[0]], e.node.attrs["input_offset"]
    (low, high), (least, most) = tensor.limits, input_limits(e.network, tensor.name)
    if least + offset >= low and most + offset <= high:
        return
    x = e.inputs[0].astype(np.int64) + offset
    for words, kept in (("wraps", ((x - low) & (high - low)) + low), ("saturates", np.clip(x, low, high))):
        bits = (high - low).bit_length()
        yield f"takes its input less the zero point in {bits} bits, where it {words}", replace(
            e, inputs=(kept - offset,)).run()


@hypothesis("bytes of the output")
def output_bytes(e: Evidence) -> Iterator[Variant]:
    """Words of 16 bits in the other byte order, or of which 8 bits are kept."""
    if e.network.tensors[e.node.name].limits[1] < 2**15 - 1:
        return
    yield "writes the bytes of its output in the other order", e.right.astype("<i2").byteswap().astype(np.int64)
    yield "keeps the upper 8 bits of its output, and 0 below", e.right & ~0xFF
    yield "saturates its output at 8 bits", np.clip(e.right, -128, 127)


@hypothesis("pad value", *CONVOLUTIONS, linear=True)
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
    modes: dict[str, Literal["edge", "wrap", "reflect"]] = {"pads with the border's own values": "edge"}
    if any(any(pad) and extent > 1 for pad, extent in zip(pads, x.shape[1:3], strict=True)):
        modes |= {"pads with what stands at the other end (circular)": "wrap",
                  "pads with the image mirrored at its border": "reflect"}
    for words, mode in modes.items():
        padded = np.pad(x, [(0, 0), *pads, (0, 0)], mode=mode)
        yield words, replace(e, inputs=(padded,)).run(attrs={"pads": ((0, 0), (0, 0))})


@hypothesis("another number", *CONVOLUTIONS, rare=True)
def another_number(e: Evidence) -> Iterator[Variant]:
    """A pad value or a zero point that is no other tensor's: which one, the sums that the port shows tell."""
    if "acc" not in e.shown:
        return
    acc, zero_point = e.accumulator, e.zero_point
    more = e.shown["acc"] - acc
    summed, pads = e.summed(e.shown["acc"]), e.node.attrs["pads"]
    inside = summed.run(attrs={"input_offset": e.node.attrs["input_offset"] + 1}) - acc
    padded = np.pad(e.inputs[0].astype(np.int64), [(0, 0), *pads, (0, 0)], constant_values=zero_point + 1)
    outside = replace(summed, inputs=(padded,)).run(attrs={"pads": ((0, 0), (0, 0))}) - acc
    steps = {"takes {} for the input's zero point": (inside, -1), "pads with {}": (outside, 1),
             "takes {} for the input's zero point, outside of the image as well": (inside + outside, -1)}
    for words, (step, sign) in steps.items():
        at = np.flatnonzero(step)
        wrong = np.flatnonzero(more)
        if not at.size or (wrong.size and not step.ravel()[wrong].all()):
            continue
        k = int(more.ravel()[wrong[0]] // step.ravel()[wrong[0]]) if wrong.size else 0
        if k and np.array_equal(more, k * step):
            arrays = e.node.arrays
            whole = unclamped(acc + k * step, arrays["bias"], arrays["multiplier"], arrays["shift"],
                              e.node.attrs["output_offset"], e.network.rounding)
            yield f"{words.format(zero_point + sign * k)}, not {zero_point}", e.clamp(whole)


@hypothesis("columns outside", *CONVOLUTIONS, linear=True)
def columns_outside(e: Evidence) -> Iterator[Variant]:
    """Nothing stops a window at the left or right of the image: in memory the row beside follows."""
    x = e.inputs[0].astype(np.int64)
    N, H, W, C = x.shape
    (top, bottom), (left, right) = e.node.attrs["pads"]
    if H == 1:
        return
    row, column = np.arange(H)[:, None], np.arange(-left, W + right)[None]
    at = row * W + column  # (H, left + W + right) positions in memory
    read = x.reshape(N, H * W, C)[:, np.clip(at, 0, H * W - 1)]
    ends = {"left of the image": ((column < 0) & (at >= 0), left), "right of the image": ((column >= W) & (at < H * W),
            right), "one column right of the image": ((column == W) & (at < H * W), right if right > 1 else 0)}
    if left and right:
        ends["left and right of the image"] = ((ends["left of the image"][0] | ends["right of the image"][0]), 1)
    for words, (beyond, there) in ends.items():
        if there:
            inside = (column >= 0) & (column < W)
            padded = np.where((inside | beyond)[None, :, :, None], read, e.zero_point)
            moved = replace(e, inputs=(padded,)).run(attrs={"pads": ((top, bottom), (0, 0))})
            yield f"reads on into the row beside, {words}", moved


@hypothesis("zeros skipped", *CONVOLUTIONS)
def zeros_skipped(e: Evidence) -> Iterator[Variant]:
    """A stored 0 stands for the number 0 only where the zero point is 0."""
    low, high = input_limits(e.network, e.node.inputs[0])
    if e.zero_point and low <= 0 <= high:
        skipped = np.where(e.inputs[0] == 0, e.zero_point, e.inputs[0])
        yield "skips inputs that are stored as 0, as if they meant 0", replace(e, inputs=(skipped,)).run()


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
    for block in BLOCKS:
        if len(b) > block and not np.array_equal(b[np.arange(len(b)) % block], b):
            yield f"takes the bias of channel f modulo {block}", e.run(arrays={"bias": b[np.arange(len(b)) % block]})
    swapped = b.astype("<i8" if e.wide else "<i4").byteswap().astype(np.int64)
    if not e.wide and not np.array_equal(swapped, b):
        yield "reads the bytes of its bias in the other order", e.run(arrays={"bias": swapped.astype(b.dtype)})
    for bits in (8, 16, 32)[: 3 if e.wide else 2]:
        half = 1 << (bits - 1)
        if not np.array_equal(_wrapped(b, bits), b):
            yield f"cuts the bias to {bits} bits", e.run(arrays={"bias": _wrapped(b, bits)})
            yield f"saturates the bias at {bits} bits", e.run(arrays={"bias": np.clip(b, -half, half - 1)})
        if e.wide and not np.array_equal(b & (2 * half - 1), b):
            yield f"reads the bias as {bits} bits without a sign", e.run(arrays={"bias": b & (2 * half - 1)})


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

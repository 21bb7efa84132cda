"""Windows in the wrong place, weights and tensors in another layout, data of somebody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from npunet.geometry import Pads, Pair
from npunet.golden.integer.reach import patterns
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS, Variant, hypothesis

LAYOUTS = {"NCHW": (0, 3, 1, 2), "NWHC": (0, 2, 1, 3), "NCWH": (0, 3, 2, 1)}


def moves(shape: tuple[int, ...], axes: tuple[int, ...]) -> bool:
    """Whether another order of the axes puts any value elsewhere: axes of size 1 do not count."""
    left = [axis for axis in axes if shape[axis] > 1]
    return left != sorted(left)


@hypothesis("layout of the output", linear=True)
def output_layout(e: Evidence) -> Iterator[Variant]:
    """The right values in another order."""
    for name, axes in LAYOUTS.items():
        if moves(e.right.shape, axes):
            moved = np.ascontiguousarray(e.right.transpose(axes))
            yield f"writes its output as {name}, not NHWC", moved.reshape(e.right.shape)


@hypothesis("layout of the input", linear=True)
def input_layout(e: Evidence) -> Iterator[Variant]:
    """NHWC bytes read as another layout."""
    for name, axes in LAYOUTS.items():
        if not any(moves(x.shape, axes) for x in e.inputs):
            continue
        back = np.argsort(axes)
        read = tuple(x.reshape(np.array(x.shape)[list(axes)]).transpose(back) for x in e.inputs)
        yield f"reads its input as {name}, not NHWC", replace(e, inputs=read).run()


@hypothesis("layout of the weights", *CONVOLUTIONS, linear=True)
def weight_layout(e: Evidence) -> Iterator[Variant]:
    """KH KW C F bytes read as another layout, or mirrored."""
    w = e.node.arrays["weights"]
    orders = {"F KH KW C (OHWI)": (3, 0, 1, 2), "F C KH KW (OIHW)": (3, 2, 0, 1), "KH KW F C": (0, 1, 3, 2),
              "KW KH C F": (1, 0, 2, 3), "C KH KW F": (2, 0, 1, 3)}
    for name, axes in orders.items():
        back = np.argsort(axes)
        stored = w.reshape(np.array(w.shape)[list(axes)]).transpose(back)
        if not np.array_equal(stored, w):
            yield f"reads its weights, KH KW C F, as {name}", e.run(arrays={"weights": np.ascontiguousarray(stored)})
    if not np.array_equal(w[::-1, ::-1], w):
        yield "mirrors its kernel (convolution for correlation)", e.run(arrays={"weights": w[::-1, ::-1]})
    for axis, words in ((0, "rows"), (1, "columns")):
        if min(w.shape[:2]) > 1 and not np.array_equal(np.flip(w, axis), w):
            yield f"mirrors the {words} of its kernel", e.run(arrays={"weights": np.flip(w, axis)})
    if w.min() < 0:
        yield "takes its weights as unsigned", e.run(arrays={"weights": w.astype(np.int16) & 255})
    live = np.any(patterns(e.node, e.network), 0)[:, :, None, None]
    for words, other in (("one more each", w.astype(np.int16) + 1), ("one less each", w.astype(np.int16) - 1),
                         ("without their lowest bit", w & ~1), ("without their lower four bits", w & ~15),
                         ("without their sign", np.abs(w.astype(np.int16)))):
        if ((other != w) & live).any():
            yield f"takes its weights {words}", e.run(arrays={"weights": other})


@hypothesis("pads on the wrong side", linear=True)
def pads(e: Evidence) -> Iterator[Variant]:
    """Before and after exchanged, or everything on one side."""
    if "pads" not in e.node.attrs:
        return
    (top, bottom), (left, right) = e.node.attrs["pads"]
    options = {
        "exchanges the pads before and after": ((bottom, top), (right, left)),
        "pads only after the image": ((0, top + bottom), (0, left + right)),
        "pads only before the image": ((top + bottom, 0), (left + right, 0)),
    }
    for words, other in options.items():
        if other != e.node.attrs["pads"]:
            yield words, e.run(attrs={"pads": other})
    kernel = e.node.arrays["weights"].shape[:2] if "weights" in e.node.arrays else e.node.attrs["window"]
    dilation = e.node.attrs.get("dilation", (1, 1))
    even = tuple((k - 1) * d // 2 for k, d in zip(kernel, dilation, strict=True))
    moves_by = {"pads by half the kernel on either side, as stride 1 would": (even[0] - top, even[1] - left)}
    for axis, words in enumerate(("row", "column")):
        for by, way in ((1, "early"), (-1, "late")):
            moves_by[f"reads every window one {words} {way}"] = (by, 0) if axis == 0 else (0, by)
    for words, (down, across) in moves_by.items():
        if (down or across) and windows_differ(e, down, across):
            yield words, windows_moved(e, down, across)


def windows_differ(e: Evidence, down: int, across: int) -> bool:
    """Whether windows that are moved by so much can read other values: an axis of one value needs a border beside."""
    H, W = e.inputs[0].shape[1:3]
    kernel = e.node.arrays["weights"].shape[:2] if "weights" in e.node.arrays else e.node.attrs["window"]
    return bool((down and (H > 1 or kernel[0] > 1)) or (across and (W > 1 or kernel[1] > 1)))


def windows_moved(e: Evidence, down: int, across: int, stride: Pair | None = None) -> np.ndarray:
    """The layer's output with every window so many rows and columns earlier, perhaps by another stride."""
    a, (H, W) = e.node.attrs, e.inputs[0].shape[1:3]
    kernel = e.node.arrays["weights"].shape[:2] if "weights" in e.node.arrays else a["window"]
    dilation = a.get("dilation", (1, 1))
    pads, cut = [], [slice(None)] * 4
    for axis, (by, extent, k, d, s, (before, _)) in enumerate(zip(
            (down, across), (H, W), kernel, dilation, stride or a["stride"], a["pads"], strict=True), 1):
        first, length = before + by, (e.right.shape[axis] - 1) * s + (k - 1) * d + 1
        after = length - first - extent
        cut[axis] = slice(max(0, -first), extent + min(0, after))
        pads.append((max(0, first), max(0, after)))
    return replace(e, inputs=(e.inputs[0][tuple(cut)],)).run(
        attrs={"pads": tuple(pads), "stride": stride or a["stride"]})


@hypothesis("dilation ignored", *CONVOLUTIONS, linear=True)
def dilation(e: Evidence) -> Iterator[Variant]:
    """Taps side by side, around the same middle."""
    a, (KH, KW) = e.node.attrs, e.node.arrays["weights"].shape[:2]
    if a["dilation"] == (1, 1):
        return
    for words, pads in (("", a["pads"]), (" and pads accordingly", _smaller(a, (KH, KW)))):
        yield f"ignores the dilation{words}", dilated_by(e, pads, (1, 1))
    dy, dx = a["dilation"]
    others = {"takes a dilation that is one larger": (dy + (KH > 1), dx + (KW > 1)),
              "takes a dilation that is one smaller": (max(1, dy - 1), max(1, dx - 1)),
              "takes the dilation of rows for columns, and the other way round": (dx, dy)}
    for words, other in others.items():
        if other not in ((dy, dx), (1, 1)):
            yield words, dilated_by(e, a["pads"], other)


def dilated_by(e: Evidence, pads: Pads, dilation: Pair) -> np.ndarray:
    """The layer's output with another dilation at the same positions, pads before as given."""
    kernel = [(k - 1) * d + 1 for k, d in zip(e.node.arrays["weights"].shape[:2], dilation, strict=True)]
    read = side_by_side(e, (pads[0][0], pads[1][0]), (kernel[0], kernel[1]))
    return read.run(attrs={"dilation": dilation, "pads": ((0, 0), (0, 0))})


def side_by_side(e: Evidence, before: Pair, kernel: Pair) -> Evidence:
    """The evidence with its input padded, or cut, to what windows of the same number, of another extent, read."""
    x, axes = e.inputs[0], zip(before, kernel, e.node.attrs["stride"], e.right.shape[1:3], strict=True)
    for axis, (first, k, stride, count) in enumerate(axes, 1):
        length = (count - 1) * stride + k
        width = [(0, 0)] * 4
        width[axis] = (first, max(0, length - first - x.shape[axis]))
        x = np.pad(x, width, constant_values=e.zero_point).take(range(length), axis)
    return replace(e, inputs=(x,))


def _smaller(a: Mapping[str, Any], kernel: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    """The pads without the part that the dilation needs."""
    made = []
    for (before, after), k, d in zip(a["pads"], kernel, a["dilation"], strict=True):
        total = max(before + after - (k - 1) * (d - 1), 0)
        made.append((total // 2, total - total // 2))
    return made[0], made[1]


@hypothesis("channels of a depthwise", "depthwise_conv2d", linear=True)
def depthwise_order(e: Evidence) -> Iterator[Variant]:
    """Output channel m * C + c instead of c * M + m, one input channel for all."""
    C, M = e.node.arrays["weights"].shape[2:]
    if C > 1:
        first = np.broadcast_to(e.inputs[0][..., :1], e.inputs[0].shape)
        yield "reads channel 0 of its input in every channel", replace(e, inputs=(first,)).run()
    if C > 1 and M > 1:
        order = np.arange(C * M).reshape(C, M).T.ravel()
        yield "orders its channels m * C + c, not c * M + m", e.right[..., order]


@hypothesis("order of a concat", "concat", linear=True)
def concat_order(e: Evidence) -> Iterator[Variant]:
    """The inputs the other way round, or interleaved."""
    xs = [x.astype(np.int64) for x in e.inputs]
    yield "concatenates its inputs in reverse order", np.concatenate(xs[::-1], -1)
    if e.right.shape[1] * e.right.shape[2] > 1:
        whole = np.concatenate([x.reshape(len(x), -1) for x in xs], 1)
        yield "writes its inputs one behind the other in memory, not side by side", whole.reshape(e.right.shape)
        yield "copies the first position of its inputs into every position", np.broadcast_to(
            e.right[:, :1, :1], e.right.shape)
    zero_point = e.network.tensors[e.node.name].zero_point
    for number in range(len(xs)):
        for value in dict.fromkeys((0, zero_point)):
            less = [np.full_like(x, value) if k == number else x for k, x in enumerate(xs)]
            yield f"does not copy its input {number}: {value} stands there", np.concatenate(less, -1)
    if len({x.shape for x in xs}) == 1:
        yield "interleaves the channels of its inputs", np.stack(xs, -1).reshape(e.right.shape)
        for number, x in enumerate(xs):
            yield f"copies input {number} into every part", np.concatenate([x] * len(xs), -1)


@hypothesis("stride", "max_pool2d", "avg_pool2d", *CONVOLUTIONS, linear=True)
def stride(e: Evidence) -> Iterator[Variant]:
    """Windows side by side."""
    OH, OW = e.right.shape[1:3]
    sy, sx = e.node.attrs["stride"]
    if sy != sx and OH * OW > 1:
        read = windows_moved(e, 0, 0, (sx, sy))
        yield "takes the stride of rows for columns, and the other way round", read
        if sy > 1 < OH:
            yield "takes the stride of columns for rows too", windows_moved(e, 0, 0, (sx, sx))
        if sx > 1 < OW:
            yield "takes the stride of rows for columns too", windows_moved(e, 0, 0, (sy, sy))
    if any(step > 1 < extent for step, extent in zip(e.node.attrs["stride"], (OH, OW), strict=True)):
        yield "ignores the stride", e.run(attrs={"stride": (1, 1)})[:, :OH, :OW]


@hypothesis("upsampling", "upsample_nearest2d", linear=True)
def upsampling(e: Evidence) -> Iterator[Variant]:
    """The image repeated instead of its pixels, zeros between pixels, pixels one late or chosen by rounding."""
    (x,), (fy, fx) = e.inputs, e.node.attrs["factor"]
    H, W = x.shape[1:3]
    if H > 1 or W > 1:
        yield "takes every position one late", _picked(e, -1, -1)
    if not (fy > 1 < H or fx > 1 < W):
        return
    yield "takes the nearest by rounding halves up", _picked(e, fy // 2, fx // 2)
    yield "repeats the whole image instead of each position", np.tile(x, (1, fy, fx, 1)).astype(np.int64)
    if fy != fx and H * W > 1:
        rows, columns = np.arange(e.right.shape[1]) // fx, np.arange(e.right.shape[2]) // fy
        at = np.minimum(rows[:, None] * W + columns, H * W - 1)
        yield "exchanges its factors of rows and columns", x.reshape(len(x), H * W, -1)[:, at].astype(np.int64)
        around = x[:, rows % H][:, :, columns % W].astype(np.int64)
        yield "exchanges its factors of rows and columns, and begins anew at the end", around
    for value in dict.fromkeys((0, e.zero_point)):
        spread = np.full(e.right.shape, value, np.int64)
        spread[:, ::fy, ::fx] = x
        yield f"sets {value} between the positions instead of repeating them", spread


@hypothesis("interpolation", "upsample_nearest2d", rare=True)
def interpolated(e: Evidence) -> Iterator[Variant]:
    """Linear between the positions, on three grids."""
    x, factors = e.inputs[0].astype(np.float64), e.node.attrs["factor"]
    grids = {"from each position on": lambda out, k, size: out / k,
             "around the middle of each position": lambda out, k, size: (out + 0.5) / k - 0.5,
             "with the corners aligned": lambda out, k, size: out * ((size - 1) / max(1, k * size - 1))}
    roundings: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "halves upward": lambda v: np.floor(v + 0.5), "floored": np.floor, "towards zero": np.trunc,
        "halves to even": np.rint, "halves away from zero": lambda v: np.sign(v) * np.floor(np.abs(v) + 0.5)}
    for grid, of in grids.items():
        y = x
        for axis, k in ((1, factors[0]), (2, factors[1])):
            size = x.shape[axis]
            at = np.clip(of(np.arange(k * size), k, size), 0, size - 1)
            low = np.floor(at).astype(int)
            part = (at - low).reshape([-1 if other == axis else 1 for other in range(4)])
            y = y.take(low, axis) * (1 - part) + y.take(np.minimum(low + 1, size - 1), axis) * part
        for words, rounded in roundings.items():
            yield f"interpolates linearly {grid}, rounded {words}", rounded(y).astype(np.int64)


def _picked(e: Evidence, down: int, across: int) -> np.ndarray:
    """out[i, j] = x[(i + down) / fy, (j + across) / fx], at the border what is nearest."""
    x, factors = e.inputs[0], e.node.attrs["factor"]
    rows, columns = (np.clip((np.arange(extent) + by) // k, 0, size - 1) for extent, by, k, size in
                     zip(e.right.shape[1:3], (down, across), factors, x.shape[1:3], strict=True))
    return x[:, rows][:, :, columns].astype(np.int64)


@hypothesis("another tensor")
def another(e: Evidence) -> Iterator[Variant]:
    """The layer was not run, or is a sample behind."""
    for number, x in enumerate(e.inputs):
        if x.shape == e.got.shape and e.node.attrs.get("factor") != (1, 1):
            yield f"is its input {number}, unchanged", x.astype(np.int64)
    y = e.network.tensors[e.node.name]
    yield "is 0 everywhere: not written", np.zeros_like(e.right)
    yield "is the zero point everywhere", np.full_like(e.right, y.zero_point)
    if len(e.right) > 1:
        yield "repeats the first sample", np.repeat(e.right[:1], len(e.right), 0)
        yield "has the samples in reverse order", e.right[::-1]
    if y.limits[0] == -128:
        yield "is unsigned, 128 more", e.right + 128
        yield "is unsigned: its sign bit is flipped and read as signed", ((e.right + 256) & 255) - 128

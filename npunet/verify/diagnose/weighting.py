"""Hypotheses about a convolution's weights and bias, and the order of its sums."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.registry import Variants, hypothesis
from npunet.verify.diagnose.sums import cut_to_bfloat16, to_bfloat16, to_float16


def weighted(r: Recipe, kernel: np.ndarray) -> Recipe:
    """The recipe with another first kernel of the same shape."""
    return r.but(kernels=(np.ascontiguousarray(kernel.reshape(r.kernels[0].shape)), *r.kernels[1:]))


@hypothesis(*CONVOLUTIONS)
def kernel_flipped(r: Recipe) -> Variants:
    w = r.kernels[0]
    KH, KW = w.shape[:2]
    if KH * KW > 1:
        yield "kernel flipped (true convolution instead of cross-correlation)", weighted(r, w[::-1, ::-1])
    if KH > 1 and KW > 1:
        yield "kernel flipped vertically", weighted(r, w[::-1])
        yield "kernel flipped horizontally", weighted(r, w[:, ::-1])


@hypothesis(*CONVOLUTIONS)
def kernel_transposed(r: Recipe) -> Variants:
    w = r.kernels[0]
    if w.shape[0] > 1 and w.shape[1] > 1:
        yield "kernel's rows and columns swapped", weighted(r, w.transpose(1, 0, 2, 3))


@hypothesis("conv2d", "separable_conv2d")
def kernel_layout(r: Recipe) -> Variants:
    number = len(r.kernels) - 1
    w = r.kernels[number]
    for name, axes in (
        ("OHWI", (3, 0, 1, 2)),
        ("OIHW", (3, 2, 0, 1)),
        ("IHWO", (2, 0, 1, 3)),
        ("HWOI", (0, 1, 3, 2)),
        ("HOWI", (0, 3, 1, 2)),
    ):
        shape = [w.shape[axis] for axis in axes]
        if [extent for extent in shape if extent > 1] == [extent for extent in w.shape if extent > 1] and not any(
            np.diff([axis for axis in axes if w.shape[axis] > 1]) < 0
        ):
            continue  # the same order in memory
        read = w.reshape(shape).transpose(np.argsort(axes))
        stored = w.transpose(axes).reshape(w.shape)
        for words, kernel in (
            (f"weights stored as HWIO read as {name}", read),
            (f"weights stored as {name} read as HWIO", stored),
        ):
            kernels = (*r.kernels[:number], np.ascontiguousarray(kernel))
            yield words, r.but(kernels=kernels)


@hypothesis("depthwise_conv2d", "separable_conv2d")
def depthwise_layout(r: Recipe) -> Variants:
    w = r.kernels[0]
    KH, KW, C, M = w.shape
    if KH * KW > 1 and C * M > 1:
        yield "depthwise weights stored as HWC read as CHW", weighted(r, w.reshape(C * M, KH, KW).transpose(1, 2, 0))
        yield "depthwise weights stored as CHW read as HWC", weighted(r, w.reshape(KH, KW, C * M).transpose(2, 0, 1))


@hypothesis(*CONVOLUTIONS)
def kernel_channels_reversed(r: Recipe) -> Variants:
    w = r.kernels[0]
    if w.shape[2] > 1:
        yield "weights of the input channels in reverse order", weighted(r, w[:, :, ::-1])
    if w.shape[3] > 1:
        yield "filters in reverse order", weighted(r, w[..., ::-1])


@hypothesis(*CONVOLUTIONS)
def kernel_channels_shifted(r: Recipe) -> Variants:
    w = r.kernels[0]
    for axis, words in ((2, "weights of the input channels"), (3, "filters")):
        if w.shape[axis] > 2:
            for by in (-1, 1):
                yield f"{words} shifted by one ({by:+d})", weighted(r, np.roll(w, by, axis))


@hypothesis(*CONVOLUTIONS)
def weights_quantised(r: Recipe) -> Variants:
    for bits in (8, 16):
        for words, axes in (("for every filter", (0, 1, 2)), ("for all filters", None)):
            kernels = tuple(quantised(w, bits, (0, 1) if depth else axes) for w, depth in _depthwise(r, axes))
            yield f"weights quantised to {bits} bits with one scale {words}", r.but(kernels=kernels)


def _depthwise(r: Recipe, axes: tuple[int, ...] | None) -> list[tuple[np.ndarray, bool]]:
    """Kernels, each with whether a filter of it is one channel's."""
    return [(w, axes is not None and number == 0 and r.op != "conv2d") for number, w in enumerate(r.kernels)]


def quantised(w: np.ndarray, bits: int, axes: tuple[int, ...] | None) -> np.ndarray:
    """Symmetric integers of so many bits and back; axes : those that share a scale."""
    most = np.abs(w).max(axes, keepdims=True)
    scale = np.where(most > 0, most, 1).astype(np.float32) / np.float32((1 << (bits - 1)) - 1)
    return (np.rint(w / scale) * scale).astype(np.float32)


@hypothesis(*CONVOLUTIONS)
def weights_printed(r: Recipe) -> Variants:
    for form, words in ((".6g", "six digits"), (".6f", "six digits after the point"), (".4f", "four after the point")):
        yield f"weights written in decimal with {words}", r.but(kernels=tuple(printed(w, form) for w in r.kernels))


def printed(w: np.ndarray, form: str) -> np.ndarray:
    """Numbers as text and back."""
    return np.array([float(format(value, form)) for value in w.ravel().tolist()], np.float32).reshape(w.shape)


@hypothesis(*CONVOLUTIONS)
def weights_of_another_layer(r: Recipe) -> Variants:
    for words, (kernel, bias) in r.kin.items():
        yield words, r.but(kernels=(*r.kernels[:-1], kernel), bias=bias)
        if bias is not None and r.bias is not None and not np.array_equal(bias, r.bias):
            yield f"{words}, but for the bias", r.but(kernels=(*r.kernels[:-1], kernel))


@hypothesis(*CONVOLUTIONS)
def filter_missing(r: Recipe) -> Variants:
    w = r.kernels[-1]
    if w.shape[3] > 1:
        for where, at in (("first", 0), ("last", -1)):
            cut = w.copy()
            cut[..., at] = 0
            yield f"the {where} filter is left out (its output is the bias)", r.but(kernels=(*r.kernels[:-1], cut))
    yield "all weights are zero (not loaded)", r.but(kernels=tuple(map(np.zeros_like, r.kernels)))


@hypothesis(*CONVOLUTIONS)
def sum_cut(r: Recipe) -> Variants:
    for bits in (8, 16):
        scale = np.float32(2.0**bits)
        for words, rounding in (("cut", np.trunc), ("rounded", np.rint)):
            yield (
                f"the sum before the bias {words} to {bits} fractional bits",
                r.but(middle=(lambda y, scale=scale, rounding=rounding: rounding(y * scale) / scale,)),
            )


@hypothesis(*CONVOLUTIONS)
def tap_missing(r: Recipe) -> Variants:
    w = r.kernels[0]
    for words, at in (("first", (0, 0)), ("last", (-1, -1))):
        if w.shape[0] * w.shape[1] > 1:
            cut = w.copy()
            cut[at] = 0
            yield f"the {words} tap is left out", weighted(r, cut)


@hypothesis(*CONVOLUTIONS)
def channel_missing(r: Recipe) -> Variants:
    w = r.kernels[0]
    if w.shape[2] > 1 and r.op != "depthwise_conv2d":
        cut = w.copy()
        cut[:, :, -1] = 0
        yield "the last input channel is left out", weighted(r, cut)
        whole = w.shape[2] // 4 * 4
        if 0 < whole < w.shape[2] - 1:
            cut = w.copy()
            cut[:, :, whole:] = 0
            yield (
                f"input channels {whole} to {w.shape[2] - 1} are left out (no tail after blocks of four)",
                weighted(r, cut),
            )


@hypothesis(*CONVOLUTIONS)
def bias_missing(r: Recipe) -> Variants:
    if r.bias is not None:
        yield "bias left out", r.but(bias=np.zeros_like(r.bias))


@hypothesis(*CONVOLUTIONS)
def bias_doubled(r: Recipe) -> Variants:
    if r.bias is not None:
        yield "bias added twice", r.but(after=(*r.after, lambda y: y + r.bias[: y.shape[-1]]))
        yield "bias subtracted", r.but(bias=-r.bias)


@hypothesis(*CONVOLUTIONS)
def bias_first(r: Recipe) -> Variants:
    if r.bias is not None and r.when == "last":
        yield "the sum starts with the bias instead of adding it last", r.but(when="first")


@hypothesis(*CONVOLUTIONS)
def bias_misplaced(r: Recipe) -> Variants:
    if r.bias is not None and r.bias.size > 1:
        yield "bias shifted by one channel", r.but(bias=np.roll(r.bias, 1))
        yield "bias shifted by one channel (-1)", r.but(bias=np.roll(r.bias, -1))
        yield "bias of the first channel added to all", r.but(bias=np.full_like(r.bias, r.bias[0]))


@hypothesis(*CONVOLUTIONS)
def bias_narrow(r: Recipe) -> Variants:
    if r.bias is not None:
        for name, narrow in (("float16", to_float16), ("bfloat16", to_bfloat16), ("bfloat16 (cut)", cut_to_bfloat16)):
            yield f"bias in {name}", r.but(bias=narrow(r.bias))
        yield "bias written in decimal with six digits after the point", r.but(bias=printed(r.bias, ".6f"))


@hypothesis(*CONVOLUTIONS)
def other_fold(r: Recipe) -> Variants:
    for words, (kernel, bias) in r.folds.items():
        yield words, r.but(kernels=(*r.kernels[:-1], kernel), bias=bias)


@hypothesis(*CONVOLUTIONS)
def multiply_add(r: Recipe) -> Variants:
    if r.order.fused:
        yield (
            "multiply and add rounded separately, declared is fused (seq_fma)",
            r.but(order=replace(r.order, fused=False)),
        )
    else:
        yield "fused multiply-add, declared is separate rounding (seq)", r.but(order=replace(r.order, fused=True))
    for kept, words in (("double", "double"), ("extended", "the 64 bits of an x87")):
        yield (
            f"fused multiply-add rounds twice: product and sum in {words}, that to float32"
            + ("" if r.order.fused else ", declared is separate rounding (seq)"),
            r.but(order=replace(r.order, fused=True, rounding=kept)),
        )


@hypothesis(*CONVOLUTIONS)
def order_of_walk(r: Recipe) -> Variants:
    for walk, words in (
        ("channels", "channel by channel (c, ky, kx)"),
        ("columns", "column by column (kx, ky, c)"),
        ("back", "from the last term to the first"),
    ):
        yield f"summed {words}", r.but(order=replace(r.order, walk=walk))


@hypothesis(*CONVOLUTIONS)
def order_of_groups(r: Recipe) -> Variants:
    for grouping, words in (
        ("tap", "a partial sum for every tap"),
        ("lanes4", "four partial sums side by side"),
        ("lanes8", "eight partial sums side by side"),
        ("pairs", "pairwise"),
    ):
        yield (
            f"summed with {words}" if grouping != "pairs" else "summed pairwise",
            r.but(order=replace(r.order, grouping=grouping)),
        )


@hypothesis(*CONVOLUTIONS)
def sum_precision(r: Recipe) -> Variants:
    yield "summed in float64, rounded once", r.but(order=replace(r.order, wide=True))
    yield "running total kept in float16", r.but(order=replace(r.order, rounding="float16"))
    yield "running total kept in bfloat16", r.but(order=replace(r.order, rounding="bfloat16"))
    yield "every step rounded towards zero", r.but(order=replace(r.order, rounding="zero"))


@hypothesis(*CONVOLUTIONS)
def flush_to_zero(r: Recipe) -> Variants:
    yield "subnormals flushed to zero", r.but(order=replace(r.order, flush=True))

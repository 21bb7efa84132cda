"""Hypotheses about where a convolution reads: padding, stride, dilation."""

from __future__ import annotations

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.registry import Variants, hypothesis


def padded(r: Recipe, top: int, left: int) -> Recipe:
    """The same walk with other pads before; what comes after follows from the output's size."""
    return r.having(pads=((top, 0), (left, 0)))


@hypothesis(*CONVOLUTIONS)
def pads_swapped(r: Recipe) -> Variants:
    (top, bottom), (left, right) = r.attrs["pads"]
    if (top, left) != (bottom, right):
        yield "padding on the other side (before and after swapped)", padded(r, bottom, right)
    if top != left:
        yield "vertical and horizontal padding swapped", padded(r, left, top)


@hypothesis(*CONVOLUTIONS)
def pads_zero(r: Recipe) -> Variants:
    (top, _), (left, _) = r.attrs["pads"]
    if top or left:
        yield "no padding before: the window starts at the first element", padded(r, 0, 0)
    (top, bottom), (left, right) = r.attrs["pads"]
    if top + bottom or left + right:
        yield "all padding before, none after", padded(r, top + bottom, left + right)


@hypothesis(*CONVOLUTIONS)
def pads_shifted(r: Recipe) -> Variants:
    (top, _), (left, _) = r.attrs["pads"]
    for by in (-1, 1):
        if r.kernels[0].shape[0] > 1 or r.inputs[0].shape[1] > 1:
            yield (
                f"shifted by one row ({by:+d}): padding above is {top + by} instead of {top}",
                padded(r, top + by, left),
            )
        yield (
            f"shifted by one column ({by:+d}): padding on the left is {left + by} instead of {left}",
            padded(r, top, left + by),
        )


@hypothesis(*CONVOLUTIONS)
def pads_without_dilation(r: Recipe) -> Variants:
    (KH, KW), (dy, dx) = r.kernels[0].shape[:2], r.attrs["dilation"]
    if (dy, dx) != (1, 1):
        yield "padding computed without the dilation", padded(r, (KH - 1) // 2, (KW - 1) // 2)


@hypothesis(*CONVOLUTIONS)
def border_not_zero(r: Recipe) -> Variants:
    if any(sum(pair) for pair in r.attrs["pads"]):
        yield "the border repeats the edge instead of zeros", r.but(border="edge")
        yield "the border mirrors the image instead of zeros", r.but(border="mirror")
        yield "the border wraps around to the other end", r.but(border="wrap")
        if r.inputs[0].shape[1] > 1:
            ways = (("edge", "repeats the edge"), ("mirror", "mirrors the image"), ("wrap", "wraps around"))
            for border, does in ways:
                yield f"the border {does} on the left and right instead of zeros", r.but(border=f"{border} columns")
            yield "no check of columns: outside of a row the neighbouring row is read", r.but(border="row")
            yield "no check of rows and columns: whatever lies in memory is read", r.but(border="memory")


@hypothesis(*CONVOLUTIONS)
def dilation_ignored(r: Recipe) -> Variants:
    dy, dx = r.attrs["dilation"]
    KH, KW = r.kernels[0].shape[:2]
    if (dy, dx) == (1, 1):
        return
    yield "dilation ignored", r.having(dilation=(1, 1))
    yield "dilation ignored, also in the padding", padded(r, (KH - 1) // 2, (KW - 1) // 2).having(dilation=(1, 1))
    if dy != dx:
        yield "vertical and horizontal dilation swapped", r.having(dilation=(dx, dy))


@hypothesis(*CONVOLUTIONS)
def dilation_other(r: Recipe) -> Variants:
    dy, dx = r.attrs["dilation"]
    KH, KW = r.kernels[0].shape[:2]
    wide = (dy * 2 if KH > 1 else dy, dx * 2 if KW > 1 else dx)
    for words, other in (
        ("twice as wide", wide),
        ("the horizontal one in both directions", (dx, dx)),
        ("the vertical one in both directions", (dy, dy)),
    ):
        if other != (dy, dx):
            yield f"dilation: {words}, {other} instead of {(dy, dx)}", r.having(dilation=other)


@hypothesis(*CONVOLUTIONS)
def stride_ignored(r: Recipe) -> Variants:
    sy, sx = r.attrs["stride"]
    if (sy, sx) != (1, 1):
        yield "stride ignored: the first outputs at full rate", r.having(stride=(1, 1))
        if sy != sx:
            yield "vertical and horizontal stride swapped", r.having(stride=(sx, sy))


@hypothesis(*CONVOLUTIONS)
def stride_other(r: Recipe) -> Variants:
    sy, sx = r.attrs["stride"]
    for words, stride in (("vertical", (sy + 1, sx)), ("horizontal", (sy, sx + 1))):
        if r.inputs[0].shape[1] > 1 or words == "horizontal":
            yield f"{words} stride one too large", r.having(stride=stride)


@hypothesis(*CONVOLUTIONS)
def input_transposed(r: Recipe) -> Variants:
    x = r.inputs[0]
    if x.shape[1] > 1 and x.shape[2] > 1:
        turned = x.transpose(0, 2, 1, 3)
        yield "rows and columns of the input swapped", r.but(inputs=(turned.reshape(x.shape),))


@hypothesis(*CONVOLUTIONS)
def input_channels_first(r: Recipe) -> Variants:
    x = r.inputs[0]
    if x.shape[3] > 1:
        yield (
            "NHWC data read as NCHW",
            r.but(inputs=(x.reshape(x.shape[0], x.shape[3], *x.shape[1:3]).transpose(0, 2, 3, 1),)),
        )
        yield "NCHW data read as NHWC", r.but(inputs=(x.transpose(0, 3, 1, 2).reshape(x.shape),))


@hypothesis(*CONVOLUTIONS)
def input_channels_reversed(r: Recipe) -> Variants:
    if r.inputs[0].shape[3] > 1:
        yield "channels of the input in reverse order", r.but(inputs=(r.inputs[0][..., ::-1],))


@hypothesis(*CONVOLUTIONS)
def input_channels_shifted(r: Recipe) -> Variants:
    if r.inputs[0].shape[3] > 2:
        for by in (-1, 1):
            yield f"channels of the input shifted by one ({by:+d})", r.but(inputs=(np.roll(r.inputs[0], by, 3),))

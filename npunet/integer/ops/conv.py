"""Integer convolutions: dense and depthwise."""

from __future__ import annotations

import numpy as np

from npunet.geometry import Pads, Pair
from npunet.integer.fixed_point import requantize, requantize_64
from npunet.ops.windows import windows


def conv2d(x: np.ndarray, *, weights: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray,
           stride: Pair, pads: Pads, dilation: Pair, input_offset: int, output_offset: int, act_min: int,
           act_max: int, rounding: str) -> np.ndarray:
    """Convolve with weights per channel, and requantise.

    acc = bias[f] + sum over ky, kx, c of (x[n, i*sy + ky*dy - top, j*sx + kx*dx - left, c] + input_offset) * w
    y   = clamp(requantize(acc, multiplier[f], shift[f]) + output_offset, act_min, act_max)

    x : (N, H, W, C)                int64, values of int8 or int16
    weights : (KH, KW, C, F)        int8, symmetric: their zero point is 0
    bias : (F,)                     int32 for int8, int64 for 16x8; scale = input's * weight's
    multiplier, shift : (F,)        int32, of input's scale * weight's / output's
    input_offset, output_offset     minus the input's zero point, the output's zero point
    rounding : profile; an int64 bias takes requantize_64 under every profile

    Returns y : (N, OH, OW, F) int64. Taps outside the image add nothing, for the image's zero is its zero point.
    |acc| < 2^31 (2^47 for 16x8), which bounds.check_accumulators makes sure of.
    Source: Jacob et al. 2018, arXiv:1712.05877; TensorFlow Lite, `reference_integer_ops::ConvPerChannel`.
    """
    acc = conv2d_accumulate(x, weights=weights, bias=bias, stride=stride, pads=pads, dilation=dilation,
                            input_offset=input_offset)
    return finish(acc, bias, multiplier, shift, output_offset, act_min, act_max, rounding)


def conv2d_accumulate(x: np.ndarray, *, weights: np.ndarray, bias: np.ndarray, stride: Pair, pads: Pads,
                      dilation: Pair, input_offset: int) -> np.ndarray:
    """The accumulator of conv2d, bias included: (N, OH, OW, F) int64."""
    taps = windows(x + input_offset, (weights.shape[0], weights.shape[1]), stride, pads, dilation)
    acc = np.zeros((*taps.shape_out, weights.shape[3]), np.int64)
    for ky, kx in taps:
        acc += integer_matmul(taps[ky, kx], weights[ky, kx])
    return acc + bias


def depthwise_conv2d(x: np.ndarray, *, weights: np.ndarray, bias: np.ndarray, multiplier: np.ndarray,
                     shift: np.ndarray, stride: Pair, pads: Pads, dilation: Pair, input_offset: int,
                     output_offset: int, act_min: int, act_max: int, rounding: str) -> np.ndarray:
    """Convolve every channel with its own M filters, and requantise; output channel c*M + m.

    acc = bias[c*M + m] + sum over ky, kx of (x[..., c] + input_offset) * w[ky, kx, c, m]; the rest as conv2d

    x : (N, H, W, C) int64;  weights : (KH, KW, C, M) int8;  bias, multiplier, shift : (C*M,)

    Returns y : (N, OH, OW, C*M) int64.
    Source: TensorFlow Lite, `reference_integer_ops::DepthwiseConvPerChannel`.
    """
    acc = depthwise_accumulate(x, weights=weights, bias=bias, stride=stride, pads=pads, dilation=dilation,
                               input_offset=input_offset)
    return finish(acc, bias, multiplier, shift, output_offset, act_min, act_max, rounding)


def depthwise_accumulate(x: np.ndarray, *, weights: np.ndarray, bias: np.ndarray, stride: Pair, pads: Pads,
                         dilation: Pair, input_offset: int) -> np.ndarray:
    """The accumulator of depthwise_conv2d, bias included: (N, OH, OW, C*M) int64."""
    KH, KW, C, M = weights.shape
    taps = windows(x + input_offset, (KH, KW), stride, pads, dilation)
    acc = np.zeros((*taps.shape_out, C, M), np.int64)
    for ky, kx in taps:
        acc += taps[ky, kx][..., None] * weights[ky, kx].astype(np.int64)
    return acc.reshape(*taps.shape_out, C * M) + bias


def finish(acc: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, output_offset: int,
           act_min: int, act_max: int, rounding: str) -> np.ndarray:
    """From accumulator to output: requantise, add the output's zero point, clamp."""
    return np.clip(unclamped(acc, bias, multiplier, shift, output_offset, rounding), act_min, act_max)


def unclamped(acc: np.ndarray, bias: np.ndarray, multiplier: np.ndarray, shift: np.ndarray, output_offset: int,
              rounding: str) -> np.ndarray:
    """The output before its clamp, int64."""
    if bias.dtype == np.int64:
        return requantize_64(acc, multiplier, shift) + output_offset
    return requantize(acc, multiplier, shift, rounding) + output_offset


def integer_matmul(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """x @ w of integers, exactly: (..., C) times (C, F), int64.

    In float64, whose products and sums are exact below 2^53, because NumPy multiplies integer matrices slowly: a
    product of 17 and 8 bits summed over fewer than 2^28 channels stays below.
    """
    return (x.astype(np.float64) @ w.astype(np.float64)).astype(np.int64)

"""The integers of each operator, from the scales and zero points of its tensors.

One function an operator; quantising a float network and reading a .tflite both build their nodes here, so that equal
scales give equal integers. Factors are products and quotients of the stored float32 scales in float64, in the order in
which TensorFlow Lite takes them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from npunet.geometry import Pads, Pair
from npunet.integer.fixed_point import quantize_multiplier, quantize_multipliers
from npunet.integer.network import Node, Tensor
from npunet.integer.ops import softmax, softmax16

ADD_LEFT_SHIFT = {"int8": 20, "int16": 15}
Clamp = str | None


def clamp_limits(clamp: Clamp, y: Tensor) -> dict[str, int]:
    """act_min and act_max of an operator that ends in nothing, "relu" or "relu6".

    relu: act_min = max(qmin, z);  relu6 also act_max = min(qmax, z + round_half_away(fl(6 / s))) in float32
    Source: TensorFlow Lite, `CalculateActivationRangeQuantized`.
    """
    low, high = y.limits
    if clamp is None:
        return {"act_min": low, "act_max": high}
    if clamp == "relu6":
        six = float(np.float32(6) / np.float32(y.scale))
        high = min(high, y.zero_point + math.floor(six + 0.5))
    return {"act_min": max(low, y.zero_point), "act_max": high}


def convolution(op: str, x: Tensor, y: Tensor, weights: np.ndarray, bias: np.ndarray, weight_scales: np.ndarray, *,
                stride: Pair, pads: Pads, dilation: Pair, padding: str, clamp: Clamp = None,
                layers: tuple[str, ...] = ()) -> Node:
    """A node "conv2d" or "depthwise_conv2d".

    weights       : (KH, KW, C, F), or (KH, KW, C, M) of a depthwise kernel; int8
    bias          : (F,) or (C*M,); int32, or int64 for 16-bit activations
    weight_scales : like bias, float32
    padding       : "same" or "valid", which the pads were made from
    """
    scales = np.asarray(weight_scales, np.float32)
    factors = float(x.scale) * scales.astype(np.float64) / float(y.scale)
    multiplier, shift = quantize_multipliers(factors)
    attrs = {"stride": stride, "pads": pads, "dilation": dilation, "padding": padding,
             "input_offset": -x.zero_point, "output_offset": y.zero_point, **clamp_limits(clamp, y)}
    arrays = {"weights": weights, "bias": bias, "multiplier": multiplier, "shift": shift}
    bias_scales = (float(x.scale) * scales.astype(np.float64)).astype(np.float32)
    return Node(y.name, op, (x.name,), attrs, arrays, {"weights": scales, "bias": bias_scales}, layers)


def pooling(op: str, x: Tensor, y: Tensor, *, window: Pair, stride: Pair, pads: Pads, padding: str,
            clamp: Clamp = None, layers: tuple[str, ...] = ()) -> Node:
    """A node "max_pool2d" or "avg_pool2d". Raises ValueError where input and output have different scales."""
    same_scale(op, y, x)
    attrs = {"window": window, "stride": stride, "pads": pads, "padding": padding, **clamp_limits(clamp, y)}
    return Node(y.name, op, (x.name,), attrs, layers=layers)


def addition(a: Tensor, b: Tensor, y: Tensor, *, clamp: Clamp = None, layers: tuple[str, ...] = ()) -> Node:
    """A node "add"."""
    twice = 2 * max(float(a.scale), float(b.scale))
    left_shift = ADD_LEFT_SHIFT[y.dtype]
    attrs: dict[str, Any] = {"left_shift": left_shift}
    for number, x in ((1, a), (2, b)):
        multiplier, shift = quantize_multiplier(float(x.scale) / twice)
        attrs |= {f"input{number}_offset": -x.zero_point, f"input{number}_multiplier": multiplier,
                  f"input{number}_shift": shift}
    multiplier, shift = quantize_multiplier(twice / (2.0**left_shift * float(y.scale)))
    attrs |= {"output_offset": y.zero_point, "output_multiplier": multiplier, "output_shift": shift,
              **clamp_limits(clamp, y)}
    return Node(y.name, "add", (a.name, b.name), attrs, layers=layers)


def concatenation(xs: tuple[Tensor, ...], y: Tensor, layers: tuple[str, ...] = ()) -> Node:
    """A node "concat". Raises ValueError where an input has another scale than the output."""
    for x in xs:
        same_scale("concat", y, x)
    return Node(y.name, "concat", tuple(x.name for x in xs), layers=layers)


def upsampling(x: Tensor, y: Tensor, factor: Pair, layers: tuple[str, ...] = ()) -> Node:
    """A node "upsample_nearest2d". Raises ValueError where input and output have different scales."""
    same_scale("upsample_nearest2d", y, x)
    return Node(y.name, "upsample_nearest2d", (x.name,), {"factor": factor}, layers=layers)


def rescaling(x: Tensor, y: Tensor, layers: tuple[str, ...] = ()) -> Node:
    """A node "rescale", from one scale to another."""
    multiplier, shift = quantize_multiplier(float(x.scale) / float(y.scale))
    attrs = {"input_offset": -x.zero_point, "output_offset": y.zero_point, "multiplier": multiplier, "shift": shift,
             **clamp_limits(None, y)}
    return Node(y.name, "rescale", (x.name,), attrs, layers=layers)


def softmaxing(x: Tensor, y: Tensor, *, lut: str = "f32", layers: tuple[str, ...] = ()) -> Node:
    """A node "softmax" (8 bits) or "softmax16". Raises ValueError where the output has not softmax' own scale."""
    wanted = softmax_output(y.dtype)
    if (y.scale, y.zero_point) != wanted:
        raise ValueError(f"{y.name}: the output of a softmax has scale {wanted[0]:g} and zero point {wanted[1]}, not "
                         f"{y.scale:g} and {y.zero_point}")
    if y.dtype == "int8":
        return Node(y.name, "softmax", (x.name,), softmax.softmax_parameters(x.scale), layers=layers)
    return Node(y.name, "softmax16", (x.name,), {**softmax16.softmax16_parameters(x.scale), "lut": lut},
                softmax16.softmax16_tables(lut), layers=layers)


def softmax_output(dtype: str) -> tuple[float, int]:
    """Scale and zero point of a softmax' output."""
    return (softmax.OUTPUT_SCALE, softmax.OUTPUT_ZERO_POINT) if dtype == "int8" else (softmax16.OUTPUT_SCALE, 0)


def leaky_relu(x: Tensor, y: Tensor, slope: float, layers: tuple[str, ...] = (), *,
               as_litert: bool = False) -> Node:
    """A node "leaky_relu"; slope is a float32 value, at least 0.

    as_litert : factors s_in / s_out and s_in * slope / s_out step by step in float32, as LiteRT's kernels have them,
                not in float64, as TFLite-Micro; 16-bit results then differ by 1 in about 1 of 8,000 values

    Source: `LeakyReluPrepare` of either.
    """
    real = np.float32 if as_litert else np.float64
    source, result, steep = real(x.scale), real(y.scale), real(np.float32(slope))
    positive = quantize_multiplier(float(source / result))
    negative = quantize_multiplier(float(source * steep / result))
    attrs = {"input_offset": -x.zero_point, "output_offset": y.zero_point,
             "positive_multiplier": positive[0], "positive_shift": positive[1],
             "negative_multiplier": negative[0], "negative_shift": negative[1],
             "slope": float(np.float32(slope)), **clamp_limits(None, y)}
    return Node(y.name, "leaky_relu", (x.name,), attrs, layers=layers)


def same_scale(op: str, y: Tensor, x: Tensor) -> None:
    """Refuse an operator that copies integers between two scales."""
    if (np.float32(x.scale), x.zero_point) != (np.float32(y.scale), y.zero_point):
        raise ValueError(f"{y.name}: {op} copies integers, but its input {x.name} has scale {x.scale:g} and zero point "
                         f"{x.zero_point}, its output {y.scale:g} and {y.zero_point}; requantise the input before it")

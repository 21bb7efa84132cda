"""From ranges and weights to scales, zero points and integers: TensorFlow Lite's rules.

Source: TensorFlow Lite 8-bit quantization specification; TensorFlow 2.21, `quant::fakeQuantAttrsToType`,
`ExpandVerySmallRange`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from npunet.integer.network import LIMITS
from npunet.integer.quantization.calibrate import Range

NARROWEST = 1e-6  # a weight's range below this is widened to +- half of it, an int8 activation's by it at either end
LARGEST_BIAS = 2.0**30
LARGEST_BIAS_64 = 2.0**46  # of 16-bit activations: with its sum it stays below 2^47
DEAD = 1e-9  # an int16 activation that never leaves +- this is taken for zero


@dataclass(frozen=True)
class Quantisation:
    """How a tensor's values become integers: q = round_half_away(value / scale) + zero_point, clamped.

    exact : the scale in float64, of which `scale` is the nearest float32; the bias is divided by the exact ones
    """

    exact: float
    zero_point: int

    @property
    def scale(self) -> float:
        """The scale that is stored and from which multipliers are made, a float32 value."""
        return float(np.float32(self.exact))


def activation_quantisation(whole: Range, dtype: str) -> Quantisation:
    """Scale and zero point of an activation.

    int8  : the range is widened to include 0, then by NARROWEST at either end if it is narrower than that;
            scale = (high - low) / 255; the zero point is -128 - low / scale or 127 - high / scale, whichever was added
            from smaller parts, rounded half away from zero
    int16 : scale = max(|low|, |high|) / 32767, zero point 0. A tensor that is zero throughout gets NARROWEST / 2 for
            the maximum; the converter's scale for it, 3.6e-43, leaves the weights of its reader with infinite ones

    Small ranges were found by converting ranges from 0 to 1.5e-6 with TensorFlow 2.21.
    """
    low, high = min(whole[0], 0.0), max(whole[1], 0.0)
    if dtype == "int16":
        magnitude = max(-low, high)
        return Quantisation((magnitude if magnitude > DEAD else NARROWEST / 2) / 32767, 0)
    if high - low < NARROWEST:
        low, high = low - NARROWEST, high + NARROWEST
    smallest, largest = LIMITS[dtype]
    scale = (high - low) / (largest - smallest)
    from_low, from_high = smallest - low / scale, largest - high / scale
    better = from_low if 128 + abs(low / scale) < 127 + abs(high / scale) else from_high
    return Quantisation(scale, int(np.clip(math.copysign(math.floor(abs(better) + 0.5), better), smallest, largest)))


def weight_scales(w: np.ndarray) -> np.ndarray:
    """Scale of each output channel, the last axis: max |w| / 127 in float64, (F,)."""
    largest = np.abs(w.reshape(-1, w.shape[-1]).astype(np.float64)).max(0, initial=0.0)
    return np.maximum(largest, NARROWEST / 2) / 127


def quantise_weights(w: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """q = round_half_away(w / scale), clipped to +-127: int8 of w's shape (..., F)."""
    return round_half_away(w.astype(np.float64) / scales).clip(-127, 127).astype(np.int8)


def quantise_bias(b: np.ndarray, weight_scales: np.ndarray, input_scale: float) -> np.ndarray:
    """Bias of 8-bit activations in units of the accumulator: round_half_away(b / (s_in * s_w)) in float64, int32.

    b, weight_scales : (F,);  input_scale : in float64, as before it is stored
    """
    return round_half_away(b.astype(np.float64) / (input_scale * weight_scales)).astype(np.int32)


def quantise_bias_64(b: np.ndarray, weight_scales: np.ndarray, input_scale: float) -> np.ndarray:
    """Bias of 16-bit activations: round_half_away(fl(b * fl(1 / fl(s_in * s_w)))) in float32, int64.

    Source: TensorFlow Lite, `SymmetricBiasQuantize`, which rounds each step to float32.
    """
    scales = np.float32(input_scale) * weight_scales.astype(np.float32)
    inverse = (1.0 / scales.astype(np.float64)).astype(np.float32)
    return round_half_away((b.astype(np.float32) * inverse).astype(np.float64)).astype(np.int64)


def widened_for_bias(scales: np.ndarray, b: np.ndarray, input_scale: float,
                     largest: float = LARGEST_BIAS) -> np.ndarray:
    """Weight scales (F,) so wide that no bias exceeds `largest`: a channel of nearly no weights and a bias is coarser.

    Source: TensorFlow Lite, `AdjustWeightsForBiasScale`, for 8-bit activations. For 16-bit ones it has no such rule,
    and its kernels overflow.
    """
    return np.maximum(scales, np.abs(b.astype(np.float64)) / (input_scale * largest))


def round_half_away(values: np.ndarray) -> np.ndarray:
    """The nearest integers, ties away from zero, float64."""
    return np.copysign(np.floor(np.abs(values) + 0.5), values)

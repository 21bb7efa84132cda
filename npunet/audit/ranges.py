"""What values every layer takes on data, and what int8 would make of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npunet.model import UNet

BINS = 24
CENTRAL = 0.999  # share of the values that a range calibrated by quantile is made for


@dataclass(frozen=True)
class Range:
    """One layer's values on all samples.

    zeros, sixes : shares at exactly 0 and 6
    dead         : channels that are 0 everywhere
    histogram    : counts in BINS equal parts of low ... high
    step         : of int8 over that range widened to hold 0, as TFLite calibrates: (high - low) / 255
    clipped      : share of the values outside a range calibrated on the first half of the samples (of one sample's
                   positions where there is only one)
    noise_db     : signal to quantisation noise over the whole range, in dB; None where all is 0
    central      : the range that holds 99.9 % of the values, which would trade clipping for a finer step
    """

    layer: str
    low: float
    high: float
    mean: float
    zeros: float
    sixes: float
    dead: tuple[int, ...]
    histogram: tuple[int, ...]
    step: float
    clipped: float
    noise_db: float | None
    central: tuple[float, float]


def ranges(model: UNet, x: np.ndarray, level: str = "deploy") -> list[Range]:
    """The ranges of every layer on samples x (B, L, C) or (B, H, W, C), float32."""
    return [range_of(name, value) for name, value in model.trace(x, level=level).items()]


def range_of(layer: str, value: np.ndarray) -> Range:
    """One layer's values (B, H, W, C)."""
    low, high = float(value.min()), float(value.max())
    zeros = value == 0
    step = int8_step(low, high)
    tail = (1 - CENTRAL) / 2
    return Range(
        layer, low, high, float(value.mean(dtype=np.float64)), float(zeros.mean()), float((value == 6).mean()),
        tuple(np.flatnonzero(zeros.all((0, 1, 2))).tolist()),
        tuple(np.histogram(value, BINS, (low, high) if high > low else (low - 0.5, low + 0.5))[0].tolist()),
        step, clipped(value), noise_db(value, low, step),
        (float(np.quantile(value, tail)), float(np.quantile(value, 1 - tail))),
    )


def int8_step(low: float, high: float) -> float:
    """TFLite's int8 scale: the range widened to include 0, over 255 steps."""
    return (max(high, 0.0) - min(low, 0.0)) / 255


def clipped(value: np.ndarray) -> float:
    """Share of the second half that lies outside the first half's range."""
    halves = np.array_split(value, 2) if len(value) > 1 else np.array_split(value, 2, axis=2)
    first, second = halves
    if not first.size or not second.size:
        return 0.0
    low, high = min(0.0, float(first.min())), max(0.0, float(first.max()))
    return float(((second < low) | (second > high)).mean())


def noise_db(value: np.ndarray, low: float, step: float) -> float | None:
    """10 log10(signal power / power of the rounding error) at that step."""
    if not step:
        return None
    wide = value.astype(np.float64)
    zero = np.rint(-128 - min(low, 0.0) / step)
    quantised = np.clip(np.rint(wide / step) + zero, -128, 127) - zero
    error = float(((quantised * step - wide) ** 2).mean())
    power = float((wide**2).mean())
    return 10 * float(np.log10(power / error)) if error and power else None

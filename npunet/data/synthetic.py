"""Signals and images made from formulas, so that the true label of every sample is known."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from npunet import memory
from npunet.values import int_or_pair, natural, number, ordinal, pair

NONE, P, QRS, T = 0, 1, 2, 3
ECG_CLASSES = ("none", "P", "QRS", "T")

EDGE = math.sqrt(2 * math.log(20))  # distance from the centre, in widths, at which a Gaussian has fallen to 5 %

# One beat at 60 beats/min as Gaussians around the R peak: label, amplitude (mV), centre (s), width (s).
BEAT = (
    (P, 0.14, -0.170, 0.019),
    (QRS, -0.11, -0.026, 0.0085),
    (QRS, 1.15, 0.0, 0.0105),
    (QRS, -0.24, 0.028, 0.0095),
    (T, 0.17, 0.245, 0.044),
    (T, 0.20, 0.295, 0.029),
)


def synthetic_ecg(seconds: float = 10, fs: float = 250, seed: int = 0, heart_rate: float = 70, noise: float = 0.02,
                  wander: float = 0.08, variability: float = 0.04) -> tuple[np.ndarray, np.ndarray]:
    """Make one ECG lead with the label of every sample.

    signal(t) = sum over beats and waves of  a * exp(-(t - c)^2 / (2 w^2))  +  wander  +  noise
    A wave lasts from onset to offset, both included: from where its first Gaussian reaches 5 % of its height to where
    its last one falls to 5 % (2.448 widths from the centre). QRS is Q, R and S together, T two overlapping Gaussians.
    P and T are spaced and stretched by sqrt(RR), QRS is not; where waves overlap (fast rates), QRS goes before P
    before T.

    heart_rate  : mean beats per minute, 30 to 180
    noise       : standard deviation of white noise, mV
    wander      : amplitude of the baseline wander, two sines of 0.1 to 0.5 Hz, mV
    variability : standard deviation of the beat-to-beat interval, relative (breathing, a 0.1 Hz wave, and chance)

    Returns signal (L,) float32 in mV and labels (L,) uint8 (0 none, 1 P, 2 QRS, 3 T), L = round(seconds * fs).
    Raises ValueError for a heart rate outside its range or less than one sample.
    Source of the idea: McSharry et al. 2003, IEEE Trans. Biomed. Eng. 50, 289, doi:10.1109/TBME.2003.808805.
    """
    number("heart_rate", heart_rate, 30, 180)
    for name, value in (("seconds", seconds), ("fs", fs)):
        number(name, value, 0, above=True)
    for name, value in (("noise", noise), ("wander", wander), ("variability", variability)):
        number(name, value, 0)
    length = round(seconds * fs)
    memory.require(64 * length, f"{seconds:g} s at {fs:g} Hz", "make less of it")
    if length < 1:
        raise ValueError(f"{seconds} s at {fs} Hz is not even one sample")
    random = np.random.default_rng(natural("seed", seed))
    times = np.arange(length) / fs                                           # (L,)
    signal, ranks = np.zeros(length), np.zeros(length, np.uint8)
    for peak, interval in _beats(random, seconds, heart_rate, variability):
        for _, amplitude, centre, width in _waves(math.sqrt(interval)):
            signal += amplitude * np.exp(-0.5 * ((times - peak - centre) / width) ** 2)
        for label, onset, offset in _extents(math.sqrt(interval)):
            inside = (times >= peak + onset) & (times <= peak + offset)
            ranks[inside] = np.maximum(ranks[inside], _RANK[label])
    signal += _wander(random, times, wander) + noise * random.standard_normal(length)
    return signal.astype(np.float32), _LABEL[ranks]


_RANK = {NONE: 0, T: 1, P: 2, QRS: 3}  # who wins where waves overlap
_LABEL = np.array([NONE, T, P, QRS], np.uint8)


def _beats(random: np.random.Generator, seconds: float, heart_rate: float,
           variability: float) -> Iterator[tuple[float, float]]:
    """R peaks (s) from before the start to after the end, each with the interval that it is drawn for."""
    mean = 60 / heart_rate
    slow, breath = random.uniform(0, 2 * np.pi, 2)
    time = -random.uniform(0.2, 1.2) * mean
    while time < seconds + 1:
        swing = 0.8 * np.sin(2 * np.pi * 0.1 * time + slow) + np.sin(2 * np.pi * 0.25 * time + breath)
        drawn = 0.43 * np.clip(random.standard_normal(), -3, 3)
        interval = mean * float(np.clip(1 + variability * (swing + drawn), 0.6, 1.6))
        yield time, interval
        time += interval


def _waves(stretch: float) -> Iterator[tuple[int, float, float, float]]:
    """The Gaussians of one beat at sqrt(RR) = stretch: label, amplitude, centre, width."""
    for label, amplitude, centre, width in BEAT:
        scale = 1.0 if label == QRS else stretch
        yield label, amplitude, centre * scale, width * scale


def _extents(stretch: float) -> list[tuple[int, float, float]]:
    """Onset and offset of each wave, relative to the R peak."""
    edges: dict[int, list[float]] = {}
    for label, _, centre, width in _waves(stretch):
        edges.setdefault(label, []).extend((centre - EDGE * width, centre + EDGE * width))
    return [(label, min(sides), max(sides)) for label, sides in edges.items()]


def _wander(random: np.random.Generator, times: np.ndarray, amplitude: float) -> np.ndarray:
    frequencies, phases = random.uniform((0.1, 0.25), (0.25, 0.5)), random.uniform(0, 2 * np.pi, 2)
    slow, breath = np.sin(2 * np.pi * frequencies[:, None] * times + phases[:, None])
    return amplitude * (0.6 * slow + 0.4 * breath)


def synthetic_nuclei(size: int | tuple[int, int] = 256, seed: int = 0, count: int | None = None,
                     noise: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    """Make a fluorescence image of cell nuclei with the instance of every pixel.

    A nucleus is a rotated ellipse, 1 inside and falling off smoothly over about a pixel at its rim, times its own
    brightness and a soft texture; a pixel belongs to it where the ellipse's equation holds. Nuclei keep one pixel
    apart, so an image that is full has fewer than asked for.

    size  : (H, W), or one number for both
    count : nuclei to place, by default about 8 % of the area
    noise : standard deviation of the camera's noise; shot noise comes on top

    Returns image (H, W) float32 in [0, 1] and instances (H, W) uint16, 0 for background, else 1, 2, ...
    Raises ValueError for a size under 16.
    """
    H, W = pair(int_or_pair("size", size))
    if min(H, W) < 16:
        raise ValueError(f"size={size!r}: an image of nuclei needs at least 16 x 16 pixels")
    if count is not None and ordinal("count", count) > H * W:
        raise ValueError(f"count={count}: an image of {H} x {W} pixels has no room for so many nuclei")
    memory.require(80 * H * W, f"an image of {H} x {W}", "make a smaller one")
    random = np.random.default_rng(natural("seed", seed))
    rows, columns = np.mgrid[:H, :W].astype(float)
    image, instances = np.zeros((H, W)), np.zeros((H, W), np.uint16)
    radius = max(3.0, min(H, W) / 28)                                        # mean semi-axis
    count = max(1, round(0.08 * H * W / (math.pi * radius**2))) if count is None else count
    for _ in range(20 * count):
        if instances.max() == count:
            break
        depth, texture = _nucleus(random, rows, columns, radius)             # depth > 0 inside, in pixels
        if not instances[depth > -1.5].any():
            instances[depth > 0] = instances.max() + 1
            image += texture / (1 + np.exp(-3 * np.clip(depth, -50, 50)))
    background = 0.04 + 0.03 * rows / H + 0.02 * np.sin(columns / W * np.pi)
    image = image + background
    image += noise * random.standard_normal((H, W)) * (1 + 2 * np.sqrt(np.clip(image, 0, None)))
    return np.clip(image, 0, 1).astype(np.float32), instances


def _nucleus(random: np.random.Generator, rows: np.ndarray, columns: np.ndarray,
             radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Approximate signed depth below the rim of one random ellipse, and its brightness, per pixel."""
    H, W = rows.shape
    top, left = random.uniform(0, H), random.uniform(0, W)
    long, short = radius * random.uniform((1.0, 0.7), (1.5, 1.0))
    angle, brightness, phase = random.uniform((0, 0.25, 0), (np.pi, 0.8, 2 * np.pi))
    along = (columns - left) * np.cos(angle) + (rows - top) * np.sin(angle)
    across = (rows - top) * np.cos(angle) - (columns - left) * np.sin(angle)
    depth = (1 - np.hypot(along / long, across / short)) * short
    texture = brightness * (1 + 0.12 * np.sin(along / long * 3 + phase) * np.cos(across / short * 2))
    return depth, texture

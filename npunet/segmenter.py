"""A trained network that knows how its input is prepared and what its classes are called."""

from __future__ import annotations

import io
import json
import math
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from npunet import storage
from npunet.data.prepare import Preparation, settled
from npunet.files import atomic_write
from npunet.model import UNet

RATES = (10.0, 100_000.0)  # Hz that segment takes
LEVEL = 0.2  # mV, standard deviation of a common lead after the filter: gives epsilon its meaning in other units
STRETCH = 10  # seconds over which amplitudes are compared
GAP, SHORTEST = 0.08, 0.03  # s: a shorter pause within a wave is no pause, a shorter wave is no wave
VIEWS = 8  # ways in which a square can lie
PIECE, HALO = 2**15, 1024  # samples that are run at once, and what is seen on either side of them


class Segmenter(UNet):
    """A UNet with a description of what it was trained for.

    class_names : one a class
    preparation : of signals, None for images

    The description stands in the file as the archive's comment, JSON that `unzip -z` shows and UNet.load passes over.
    """

    class_names: tuple[str, ...] = ()
    preparation: Preparation | None = None

    def describe(self, class_names: Sequence[str], preparation: Preparation | None) -> Segmenter:
        """Say what the network was trained for; returns self."""
        self.class_names, self.preparation = tuple(class_names), preparation
        return self

    def save(self, path: str | PathLike[str]) -> None:
        """Write network and description to one .npz, atomically; the same model gives the same bytes."""
        told = {"class_names": self.class_names,
                "preparation": None if self.preparation is None else self.preparation.to_dict()}
        with tempfile.TemporaryDirectory() as folder:
            super().save(Path(folder) / "model.npz")
            whole = io.BytesIO((Path(folder) / "model.npz").read_bytes())
        with zipfile.ZipFile(whole, "a") as archive:
            archive.comment = json.dumps(told, sort_keys=True).encode()
        with atomic_write(path) as file:
            file.write(whole.getvalue())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Segmenter:
        """Read what save wrote. Raises FileNotFoundError, ValueError when the file is no model with a description."""
        description, weights = storage.load(path)
        try:
            told = json.loads(storage.remark(path))
            prepared = None if told["preparation"] is None else Preparation.from_dict(told["preparation"])
            return _restore(description, weights, told["class_names"], prepared)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path} is a model without a description of its preparation: it was saved by UNet.save, "
                             f"not by npunet train ({error})") from None

    def __reduce__(self) -> tuple[Any, ...]:
        description = {"params": self.params, "input_shape": self.input_shape, "num_classes": self.num_classes,
                       "dtype": self.dtype}
        return _restore, (description, dict(self.weights.read_only), self.class_names, self.preparation)

    def segment(self, signal: np.ndarray, fs: float) -> np.ndarray:
        """The class of every sample of an ECG.

        signal : (L,) one lead or (leads, L), in any unit: each lead is judged by itself, whatever its amplitude;
                 NaN marks gaps, which are bridged by straight lines
        fs     : samples per second, 10 to 100,000

        Each lead is resampled and band-passed as in training, and normalised by its standard deviation over the ten
        seconds around, so that an artefact does not hide the rest of a long recording. The network's logits are
        averaged over the phases of its strides, so that it does not matter where these happen to fall, and
        interpolated between its samples; then pauses within a wave and splinters are removed, see tidied. Gaps and
        flat leads are class 0. A few samples get classes too, though nobody could tell there.
        Returns uint8 of the signal's shape: 0 none, 1 P, 2 QRS, 3 T for the ECG model, see class_names.
        Raises ValueError for a signal or rate that is none of these.
        """
        if self.preparation is None or len(self.input_shape) != 2:
            raise ValueError("this network is for images; segment is for signals")
        leads = _checked_signal(signal, fs)
        labels = np.zeros(leads.shape, np.uint8)
        live = [lead for lead in range(len(leads)) if not _flat(leads[lead])]
        if live:
            labels[live] = self._classes(self.normalised(leads[live], fs), fs, leads.shape[1])
        labels[np.isnan(leads)] = 0
        return labels.reshape(np.shape(signal))

    def mask(self, images: np.ndarray, views: int = VIEWS) -> np.ndarray:
        """The class of every pixel of images.

        images : (B, H, W, C), each standardised as in training (data.images.standardise), any H and W
        views  : 1 for the images as they are; 8 for the mean of the logits over their quarter turns and mirror images,
                 which takes 8 times as long and follows borders better

        Returns (B, H, W) uint8. Raises ValueError for a network of signals or another number of views.
        """
        if len(self.input_shape) != 3:
            raise ValueError("this network is for signals; mask is for images")
        if views not in (1, VIEWS):
            raise ValueError(f"views={views!r} must be 1 or {VIEWS}")
        total = np.zeros((), np.float32)
        for turned, back in turns(np.asarray(images))[:views]:
            total = total + back(self.predict(np.ascontiguousarray(turned), fit="pad"))
        return total.argmax(-1).astype(np.uint8)

    def normalised(self, leads: np.ndarray, fs: float) -> np.ndarray:
        """Leads (leads, L) of any unit as the network takes them: (leads, ceil(L * rate / fs)) float32.

        y = (f - m) / (s + epsilon * S / 0.2 mV),  f the filtered lead, m and s its mean and standard deviation over
        the ten seconds around, S the median of s (but at least a twentieth of the largest); 0 for a flat lead
        """
        assert self.preparation is not None
        filtered = self.preparation.filtered(leads, fs)
        epsilon = self.preparation.epsilon
        if epsilon is None:
            return settled(filtered)
        out = np.empty(filtered.shape, np.float32)
        for lead, f in enumerate(filtered):
            if _flat(leads[lead]):
                out[lead] = 0
                continue
            m, s, typical = _levels(f, self.preparation.rate)
            out[lead] = settled((f - m) / np.maximum(s + epsilon / LEVEL * typical, np.finfo(float).tiny))
        return out

    def _classes(self, x: np.ndarray, fs: float, length: int) -> np.ndarray:
        """Classes (leads, length) at fs of prepared leads x (leads, L), piece by piece."""
        assert self.preparation is not None
        labels, rate = np.zeros((len(x), length), np.uint8), self.preparation.rate
        step, halo = (-(-size // self.sizes.multiple[1]) * self.sizes.multiple[1] for size in (PIECE, HALO))
        for start in range(0, x.shape[1], step):
            low, high = max(0, start - halo), min(x.shape[1], start + step + halo)
            first, last = (min(length, math.ceil(edge * fs / rate)) for edge in (start, start + step))
            last = length if start + step >= x.shape[1] else last
            position = np.arange(first, last) * (rate / fs) - low
            left = np.minimum(position.astype(int), high - low - 1)
            right, share = np.minimum(left + 1, high - low - 1), (position - left).astype(np.float32)[:, None]
            for lead in range(len(x)):
                z = self._logits(x[lead, low:high])
                labels[lead, first:last] = (z[left] * (1 - share) + z[right] * share).argmax(-1)
        return np.stack([tidied(lead, fs) for lead in labels])

    def _logits(self, x: np.ndarray) -> np.ndarray:
        """The network's output (L, K) for a prepared lead x (L,), its mean over all phases of the strides."""
        shifts = self.sizes.multiple[1]
        shifted = np.zeros((shifts, len(x) + shifts - 1, 1), x.dtype)
        for shift in range(shifts):
            shifted[shift, shift : shift + len(x), 0] = x
        z = self.predict(shifted, fit="pad")
        return np.mean([z[shift, shift : shift + len(x)] for shift in range(shifts)], axis=0)


def turns(images: np.ndarray) -> list[tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]:
    """Images (B, H, W, C) in the eight ways that a square can lie, each with what turns a result back."""
    def back(y: np.ndarray, mirror: int, quarters: int) -> np.ndarray:
        return np.rot90(y, -quarters, axes=(1, 2))[:, :, ::mirror]

    ways = [(mirror, quarters) for mirror in (1, -1) for quarters in range(4)]
    return [(np.rot90(images[:, :, :: way[0]], way[1], axes=(1, 2)), partial(back, mirror=way[0], quarters=way[1]))
            for way in ways]


def tidied(labels: np.ndarray, fs: float) -> np.ndarray:
    """Labels (L,) as waves come: stretches of 0 shorter than GAP between two of one class join them; then stretches of
    a class shorter than SHORTEST become what lies on both sides, or 0."""
    labels = labels.copy()
    for limit, pauses in ((GAP * fs, True), (SHORTEST * fs, False)):
        edges = np.flatnonzero(np.diff(labels)) + 1
        starts, stops = np.append(0, edges), np.append(edges, len(labels))
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            if stop - start >= limit or (labels[start] == 0) != pauses:
                continue
            same = start > 0 and stop < len(labels) and labels[start - 1] == labels[stop]
            labels[start:stop] = labels[stop] if same else 0
    return labels


def _restore(description: dict[str, Any], weights: dict[str, np.ndarray], class_names: Sequence[str],
             preparation: Preparation | None) -> Segmenter:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                                      # said when the model was made
        model = Segmenter(**description, seed=None)
    model.load_weights(weights)
    return model.describe(class_names, preparation)


def _checked_signal(signal: Any, fs: float) -> np.ndarray:
    """The signal as (leads, L) float64. Raises ValueError."""
    array = np.asarray(signal)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"the signal has dtype {array.dtype}; it must hold real numbers")
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(f"the signal has shape {array.shape}; it must be (L,) or (leads, L), with samples in it")
    if array.ndim == 2 and array.shape[0] > 64 and array.shape[1] <= 32:
        raise ValueError(f"the signal has shape {array.shape}: leads come first, so pass its transpose")
    if not RATES[0] <= fs <= RATES[1]:
        raise ValueError(f"fs={fs!r} must be samples per second, {RATES[0]:g} to {RATES[1]:,.0f}")
    leads = np.atleast_2d(array.astype(np.float64))
    if np.isinf(leads).any():
        raise ValueError("the signal holds infinite values; mark gaps by NaN")
    return leads


def _flat(lead: np.ndarray) -> bool:
    """Whether a lead carries nothing but one value and the rounding of its numbers."""
    known = lead[~np.isnan(lead)]
    return known.size == 0 or np.ptp(known) <= 1e-6 * np.abs(known).max()


def _levels(f: np.ndarray, rate: float) -> tuple[np.ndarray, np.ndarray, float]:
    """Mean and deviation of f (L,) over the STRETCH around each sample, and the typical deviation.

    Sums are taken second by second and those of STRETCH neighbours added; between the middles of the seconds both
    values run in straight lines. A signal of one STRETCH has one mean and one deviation.
    """
    edges = np.arange(0, len(f), max(1, round(rate)))
    counts = np.diff(np.append(edges, len(f)))
    sums = np.stack([counts, np.add.reduceat(f, edges), np.add.reduceat(f * f, edges)])
    wide = min(STRETCH, len(edges))
    total = np.lib.stride_tricks.sliding_window_view(sums, wide, axis=1).sum(-1)  # (3, seconds - wide + 1)
    means = total[1] / total[0]
    deviations = np.sqrt(np.maximum(total[2] / total[0] - means * means, 0))
    middles = edges[: len(means)] + (wide * max(1, round(rate)) - 1) / 2
    at = np.arange(len(f))
    typical = max(float(np.median(deviations)), float(deviations.max()) / 20)
    return np.interp(at, middles, means), np.interp(at, middles, deviations), typical

"""A recording in, the class of every sample out: what stands between a signal and its network."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from npunet.data.prepare import Preparation, settled
from npunet.model import UNet

RATES = (10.0, 100_000.0)  # Hz that a signal may have
LEVEL = 0.2  # mV, standard deviation of a common lead after the filter: gives epsilon its meaning in other units
STRETCH = 10  # seconds over which amplitudes are compared
GAP, SHORTEST = 0.08, 0.03  # s: a shorter pause within a wave is no pause, a shorter wave is no wave
PIECE, HALO = 2**15, 1024  # samples that are run at once, and what is seen on either side of them
Progress = Callable[[int, int], None]  # how much of how much is done
Over = Callable[[Callable[["Piece", UNet], np.ndarray], Sequence["Piece"], UNet], Iterator[tuple[int, np.ndarray]]]


def segment_signal(network: UNet, preparation: Preparation, signal: np.ndarray, fs: float, with_logits: bool = False,
                   progress: Progress | None = None, over: Over | None = None,
                   **how: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """The class of every sample of a signal, and the logits behind it where asked for; see Segmenter.

    over : runs the pieces, as in_turn does, in any order and anywhere
    """
    leads = _checked_signal(signal, fs)
    if preparation.epsilon is not None:
        leads = near_one(leads)
    gaps, dull = np.isnan(leads), _dull(leads)
    channels, rows = _channels(network, leads), [lead for lead in range(len(leads)) if lead not in dull]
    shape, length = np.shape(signal), leads.shape[1]
    if channels > 1:
        gaps, rows, shape = gaps.all(0)[None], [0] if rows else [], (length,)
        x = normalised(preparation, leads, fs).T[None]                       # (1, L', C)
    else:
        x = normalised(preparation, leads[rows], fs)[..., None] if rows else np.empty((0, 0, 1))
    labels = np.zeros((len(gaps), length), np.uint8)
    logits = _nothing(len(gaps), length, network.num_classes or 1) if with_logits else None
    pieces = _Pieces(network, x, preparation.rate, fs, length, not with_logits, how)
    for count, (number, z) in enumerate((over or in_turn)(run_piece, pieces, network)):
        if progress is not None:
            progress(count + 1, len(pieces))
        piece = pieces[number]
        row, part = rows[piece.row], slice(piece.first, piece.last)
        labels[row, part] = z.argmax(-1) if with_logits else z
        if logits is not None:
            if z.shape[1] != logits.shape[2]:                                # without its top a network gives features
                logits = _nothing(len(gaps), length, z.shape[1])
            logits[row, part] = z
    for row in rows:
        labels[row] = tidied(labels[row], fs)
    labels[gaps] = 0
    if logits is None:
        return labels.reshape(shape), None
    logits[gaps] = np.nan
    return labels.reshape(shape), logits.reshape(*shape, logits.shape[2])


def _nothing(rows: int, length: int, classes: int) -> np.ndarray:
    return np.full((rows, length, classes), np.nan, np.float32)


def normalised(preparation: Preparation, leads: np.ndarray, fs: float) -> np.ndarray:
    """Leads (leads, L) of any unit as a network takes them: (leads, ceil(L * rate / fs)) float32.

    y = (f - m) / (s + epsilon * S / 0.2 mV),  f the filtered lead, m and s its mean and standard deviation over
    the ten seconds around, S the median of s (but at least a twentieth of the largest); 0 for a flat lead
    """
    epsilon = preparation.epsilon
    leads = leads if epsilon is None else near_one(leads)
    filtered = preparation.filtered(leads, fs)
    if epsilon is None:
        return settled(filtered)
    out = np.empty(filtered.shape, np.float32)
    for lead, f in enumerate(filtered):
        if _flat(leads[lead]):
            out[lead] = 0
            continue
        m, s, typical = _levels(f, preparation.rate)
        out[lead] = settled((f - m) / np.maximum(s + epsilon / LEVEL * typical, np.finfo(float).tiny))
    return out


def near_one(leads: np.ndarray) -> np.ndarray:
    """Leads (leads, L) each times a power of two, so that its largest value lies in [0.5, 1).

    The normalisation is the same whatever the unit, and powers of two round nothing: so any finite amplitude gives what
    millivolts give, and no square of one overflows or vanishes.
    """
    largest = np.abs(np.where(np.isfinite(leads), leads, 0)).max(axis=-1, keepdims=True, initial=0)
    return np.ldexp(leads, -np.frexp(largest)[1])


@dataclass(frozen=True)
class Piece:
    """A stretch of one prepared lead, with what its samples see around themselves.

    x           : (n, C) at the network's rate
    row         : number of the lead
    first, last : samples of the recording that it gives
    origin, ratio : sample i of the recording stands at i * ratio - origin in x
    labels      : whether classes are wanted, instead of logits
    how         : arguments of the network's predict
    """

    x: np.ndarray
    row: int
    first: int
    last: int
    origin: int
    ratio: float
    labels: bool
    how: Mapping[str, Any]


class _Pieces(Sequence[Piece]):
    """Prepared inputs (rows, L, C) at `rate` in pieces, each cut when it is asked for; of `length` samples at fs."""

    def __init__(self, network: UNet, x: np.ndarray, rate: float, fs: float, length: int, labels: bool,
                 how: Mapping[str, Any]) -> None:
        self.step, self.halo = (-(-size // network.sizes.multiple[1]) * network.sizes.multiple[1]
                                for size in (PIECE, HALO))
        self.x, self.rate, self.fs, self.length, self.labels, self.how = x, rate, fs, length, labels, how

    def __len__(self) -> int:
        return len(self.x) * -(-self.x.shape[1] // self.step)

    def __getitem__(self, number: Any) -> Any:
        if not 0 <= number < len(self):
            raise IndexError(number)
        at, row = divmod(number, len(self.x))
        start = at * self.step
        low, high = max(0, start - self.halo), min(self.x.shape[1], start + self.step + self.halo)
        first, last = (min(self.length, math.ceil(edge * self.fs / self.rate)) for edge in (start, start + self.step))
        last = self.length if start + self.step >= self.x.shape[1] else last
        return Piece(self.x[row, low:high], row, first, last, low, self.rate / self.fs, self.labels, self.how)


def run_piece(piece: Piece, network: UNet) -> np.ndarray:
    """The logits (n, K) of a piece's samples, those of the network's samples with straight lines between; or labels."""
    position = np.arange(piece.first, piece.last) * piece.ratio - piece.origin
    left = np.minimum(position.astype(int), len(piece.x) - 1)
    right, share = np.minimum(left + 1, len(piece.x) - 1), (position - left).astype(np.float32)[:, None]
    z = _logits(network, piece.x, **piece.how)
    z = z[left] * (1 - share) + z[right] * share
    return z.argmax(-1).astype(np.uint8) if piece.labels else z


def in_turn(function: Callable[[Piece, UNet], np.ndarray], pieces: Sequence[Piece],
            network: UNet) -> Iterator[tuple[int, np.ndarray]]:
    """(number, result) of every piece, one after the other."""
    for number, piece in enumerate(pieces):
        yield number, function(piece, network)


def _logits(network: UNet, x: np.ndarray, **how: Any) -> np.ndarray:
    """The network's output (L, K) for a prepared input x (L,) or (L, C), its mean over all phases of the strides."""
    shifts = network.sizes.multiple[1]
    shifted = np.zeros((shifts, len(x) + shifts - 1, x.size // len(x)), x.dtype)
    for shift in range(shifts):
        shifted[shift, shift : shift + len(x)] = x.reshape(len(x), -1)
    z = network.predict(shifted, pad=True, **how)
    return np.mean([z[shift, shift : shift + len(x)] for shift in range(shifts)], axis=0)


def _channels(network: UNet, leads: np.ndarray) -> int:
    """1 for a network that takes lead by lead, else all of them. Raises ValueError when it takes another number."""
    channels = int(network.input_shape[-1] or 0)
    if channels not in (1, len(leads)):
        raise ValueError(f"the network takes {channels} leads at once, the signal has {len(leads)}")
    return channels


def _dull(leads: np.ndarray) -> set[int]:
    """The leads that carry nothing. Warns of them, unless they are too short to carry anything."""
    gaps = {lead for lead in range(len(leads)) if np.isnan(leads[lead]).all()}
    flat = {lead for lead in range(len(leads)) if _flat(leads[lead])} - gaps
    for which, what in ((flat, "flat, one value throughout"), (gaps, "nothing but gaps (NaN)")):
        if which and leads.shape[1] > 1:
            who = "the signal is" if len(leads) == 1 else f"of {len(leads)} leads, number " + " and ".join(
                str(lead + 1) for lead in sorted(which)) + (" is" if len(which) == 1 else " are")
            warnings.warn(f"{who} {what}: labelled class 0", stacklevel=4)
    return flat | gaps


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


def _checked_signal(signal: Any, fs: float) -> np.ndarray:
    """The signal as (leads, L) float64. Raises ValueError."""
    array = np.asarray(signal)
    if array.dtype.kind not in "fiu":
        raise ValueError(f"the signal has dtype {array.dtype}; it must hold real numbers")
    if array.ndim not in (1, 2) or array.size == 0:
        raise ValueError(f"the signal has shape {array.shape}; it must be (L,) or (leads, L), with samples in it")
    if array.ndim == 2 and array.shape[0] > 64 and array.shape[1] <= 32:
        raise ValueError(f"the signal has shape {array.shape}: leads come first, so pass its transpose")
    if isinstance(fs, bool) or not isinstance(fs, Real) or not RATES[0] <= fs <= RATES[1]:
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

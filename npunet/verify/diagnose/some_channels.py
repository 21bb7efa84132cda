"""A fault in some input channels of a convolution only: sums are linear, so each channel's share can be told apart."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.regions import runs
from npunet.verify.diagnose.registry import HYPOTHESES

GEOMETRY = ("dilation_ignored", "dilation_other", "pads_shifted", "pads_swapped", "pads_zero", "border_not_zero",
            "kernel_flipped", "kernel_transposed")
SAMPLE = 512  # positions
MOST = 128  # channels
CLOSE = 0.01  # by which a share may miss 0 or 1


@pattern("conv2d", rank=2)
def some_channels(s: Sight) -> Guesses:
    """Some input channels are read as a hypothesis about geometry says, or not at all; the others are right."""
    r = s.recipe
    C = r.inputs[0].shape[3]
    if not 1 < C <= MOST:
        return
    wrong = np.flatnonzero(s.differs.any(3).ravel() & np.isfinite(s.got).all(3).ravel())
    places = wrong[np.linspace(0, len(wrong) - 1, min(SAMPLE, len(wrong))).round().astype(int)] if len(wrong) else wrong
    if not len(places) or not np.isfinite(r.inputs[0]).all():
        return
    off = (s.got.astype(np.float64) - s.right).reshape(-1, r.shape[2])[places].ravel()
    right = _shares(r, places)
    for words, other in _others(r):
        change = (0.0 if other is None else _shares(other, places)) - right  # (C, P F)
        shares = np.linalg.lstsq(change.T, off, rcond=1e-9)[0]
        chosen = np.rint(shares)
        alive = np.abs(change).max(1) > 0
        if np.abs(shares - chosen)[alive].max(initial=0) > CLOSE or not set(chosen[alive]) <= {0.0, 1.0}:
            continue
        at = np.flatnonzero(alive & (chosen == 1))
        if 0 < len(at) < C:
            yield from _mixed(r, other, at, words)


def _others(r: Recipe) -> Iterator[tuple[str, Recipe | None]]:
    """(words, recipe of the same sums otherwise read), None for not at all."""
    yield "left out", None
    for name in GEOMETRY:
        yield from HYPOTHESES[name].variants(r)


def _shares(r: Recipe, places: np.ndarray) -> np.ndarray:
    """What every input channel adds to the sums at some positions, (C, P F) float64."""
    x = recipes.columns(r, places).astype(np.float64)  # (P, KH, KW, C)
    w = r.kernels[0].astype(np.float64)
    return np.einsum("pklc,klcf->cpf", x, w, optimize=True).reshape(w.shape[2], -1)


def _mixed(r: Recipe, other: Recipe | None, at: np.ndarray, words: str) -> Iterator[Guess]:
    """The output where some channels are read otherwise, up to rounding."""
    taken = np.isin(np.arange(r.inputs[0].shape[3]), at)
    places = np.arange(recipes.positions(r))
    kept = _masked(r, ~taken)
    y, allowance = recipes.rough(kept, places)
    if other is not None:
        more, room = recipes.rough(_masked(other, taken).but(bias=None), places)
        y, allowance = y + more, allowance + room
    shape = (len(r.inputs[0]), *r.shape)
    listed = f"channel{'s' if len(at) > 1 else ''} {runs(at)} of {len(taken)}"
    yield Guess(f"input {listed}: {words}; the others are right", y.reshape(shape), 2 * allowance.reshape(shape),
                of_sums=True)


def _masked(r: Recipe, kept: np.ndarray) -> Recipe:
    """The recipe with the weights of other channels zero."""
    return r.but(kernels=(np.where(kept[:, None], r.kernels[0], np.float32(0)), *r.kernels[1:]))

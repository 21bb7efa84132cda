"""Patterns of storage that hold in a part of the output, and of dropout."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from npunet.verify.diagnose.bits import bytes_reordered, mantissa_short
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.places import places
from npunet.verify.diagnose.storage import fixed_point, printed_decimal, quantised_storage

BUILDS = (printed_decimal, mantissa_short, fixed_point, quantised_storage, bytes_reordered)
MOST = 6  # parts that are tried
FEWEST = 8  # elements of a part
FACTOR = 2e-6  # by which a factor that all elements share may miss
FEW = 0.02  # share of lost elements from which on they are no accident
BY_CHANCE = 0.1  # by which the share of lost elements may miss the one that the factor makes up for


@pattern(rank=2)
def stored_in_part(s: Sight) -> Guesses:
    """A part of the output that went through text, fixed point, integers or fewer bits; the rest is right."""
    for place in list(places(s.differs, most=0.95))[:MOST]:
        at = np.flatnonzero(place.mask)
        if len(at) < FEWEST:
            continue
        shape = (1, 1, len(at), 1)
        right, got, differs = (value.ravel()[at].reshape(shape) for value in (s.right, s.got, s.differs))
        part = replace(s, right=right, differs=differs, evidence=replace(s.evidence, got=got))
        for build in BUILDS:
            for guess in build(part):
                if guess.y is None or guess.y.size != len(at):
                    continue
                y = s.right.astype(np.float64).ravel()
                y[at] = np.asarray(guess.y).ravel()
                near: np.ndarray | None = None
                if guess.allowance is not None:
                    near = np.zeros(y.shape)
                    near[at] = np.broadcast_to(guess.allowance, shape).ravel()
                    near = near.reshape(s.got.shape)
                yield Guess(f"{place.words}: {guess.words}", y.reshape(s.got.shape).astype(np.float32) if near is None
                            else y.reshape(s.got.shape), near, name=guess.name or build.__name__)


@pattern(rank=2)
def elements_dropped(s: Sight) -> Guesses:
    """Elements here and there are zero, and all others larger by what that takes: dropout that is still at work."""
    usable = np.isfinite(s.got) & np.isfinite(s.right) & (s.right != 0)
    lost = usable & (s.got == 0)
    kept = usable & ~lost
    if not kept.any() or lost.sum() < max(FEWEST, FEW * usable.sum()):
        return
    factor = float(np.median(s.got[kept].astype(np.float64) / s.right[kept]))
    share = lost.sum() / usable.sum()
    if factor <= 1 or abs(1 - 1 / factor - share) > BY_CHANCE:
        return
    for value in dict.fromkeys((float(f"{factor:.4g}"), factor)):
        y = np.where(s.got == 0, s.got, s.right.astype(np.float64) * value)
        words = f"{100 * share:.0f} in 100 elements are zero, the others times {value:.6g}"
        yield Guess(f"{words}: a dropout that is not switched off", y, FACTOR * np.abs(y))

"""Patterns of channels that are added up: every channel of the output as a sum of the right ones."""

from __future__ import annotations

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.solved_sums import CLOSE, SHOWN, SPARE


@pattern()
def channels_mixed(s: Sight) -> Guesses:
    """Channels of the output that are sums of the right ones: filters that are added up, or sums not cleared."""
    right, got = (value.reshape(-1, s.right.shape[3]).astype(np.float64) for value in (s.right, s.got))
    bias = 0.0 if s.recipe.bias is None else s.recipe.bias.astype(np.float64)
    right, got = right - bias, got - bias
    good = np.isfinite(right).all(1) & np.isfinite(got).all(1)
    C = right.shape[1]
    if C < 2 or np.count_nonzero(good) < SPARE * C:
        return
    mixed = np.linalg.lstsq(right[good], got[good], rcond=1e-9)[0]  # (from, to)
    chosen = np.where(np.abs(mixed - np.rint(4 * mixed) / 4) < CLOSE, np.rint(4 * mixed) / 4, mixed)
    at = [c for c in range(C) if np.abs(chosen[:, c] - np.eye(C)[c]).max() > CLOSE]
    if not at or np.count_nonzero(chosen[:, at]) > 3 * len(at) or _one_gain(chosen):
        return
    told = "; ".join(f"{c} is " + " + ".join(f"{'' if chosen[k, c] == 1 else f'{chosen[k, c]:.4g} times '}{k}"
                                            for k in np.flatnonzero(chosen[:, c])) if chosen[:, c].any() else
                     f"{c} is zero" for c in at[:SHOWN])
    words = f"channels of the output are sums of the right ones: {told}"
    if set(chosen[:, at].flat) <= {0.0, 1.0} and (chosen[:, at].sum(0) == 1).all():
        listed = ", ".join(f"{int(chosen[:, c].argmax())} in {c}" for c in at[:SHOWN])
        words = (f"filters of others are used, each with its own bias: {listed}" if s.recipe.op in CONVOLUTIONS else
                 f"channels of others stand in the output: {listed}")
    y = right @ chosen
    near = 4e-6 * (np.abs(right) @ np.abs(chosen) + np.abs(right).max(initial=0))
    name = "accumulator_not_cleared" if all(chosen[c, c] == 1 for c in at) else ""
    words += ", ..." if len(at) > SHOWN else ""
    words += " (sums that are not cleared between filters, or products of another filter)" if name else ""
    yield Guess(words, (y + bias).reshape(s.got.shape), near.reshape(s.got.shape), name=name, of_sums=True)


def _one_gain(mixed: np.ndarray) -> bool:
    """Whether every channel is itself times one number, which a gain says better."""
    own = np.diag(mixed)
    return bool((mixed == np.diag(own)).all() and np.ptp(own) <= CLOSE)

"""Patterns of layer norms: gamma and beta are solved position by position where the statistics are right."""

from __future__ import annotations

import numpy as np

from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern

CLOSE = 2e-6  # of values: the solution's own error and that of one formula or another
EXACT = 1e-5  # of gamma: what is no further off is gamma as declared
FEWEST = 3  # values at a position from which two unknowns are solved
TINY = 1e-30
KINDS = ("beta", "gamma", "gamma and beta")  # what may be another, the simplest first


@pattern("layer_norm", rank=2)
def layer_norm_parameters(s: Sight) -> Guesses:
    """Another gamma, another beta, or both: described as what was done to the declared ones, if one rule does it."""
    x = s.inputs[0].astype(np.float64)
    own_gamma, own_beta = (w.astype(np.float64) for w in s.recipe.kernels)
    eps = s.recipe.attrs["eps"]
    mean, var = x.mean((1, 2), keepdims=True), x.var((1, 2), keepdims=True)
    h = ((x - mean) / np.sqrt(var + eps)).transpose(1, 2, 0, 3).reshape(*own_gamma.shape, -1)  # (H, W, N C)
    got = s.got.transpose(1, 2, 0, 3).reshape(h.shape).astype(np.float64)
    if not np.isfinite(got).all() or h.shape[2] < FEWEST:
        return
    off = h - h.mean(2, keepdims=True)
    gamma = (off * got).sum(2) / np.maximum((off * off).sum(2), TINY)
    gamma = np.where(np.abs(gamma - own_gamma) <= EXACT * np.abs(own_gamma), own_gamma, gamma)
    for kind in KINDS:
        g = gamma if "gamma" in kind else own_gamma
        if kind == "gamma":  # beta is known: each value tells gamma, the large ones best
            g = (h * (got - own_beta[..., None])).sum(2) / np.maximum((h * h).sum(2), TINY)
        b = (got - g[..., None] * h).mean(2) if "beta" in kind else own_beta
        y = g[..., None] * h + b[..., None]
        near = CLOSE * (np.abs(y) + np.abs(b)[..., None] + np.abs(g)[..., None] * (1 + np.abs(h)))
        if (np.abs(y - got) <= near).all():
            told = [_difference(name, new, old, other) for name, new, old, other in (
                ("gamma", g, own_gamma, None), ("beta", b, own_beta, ("gamma", own_gamma))) if name in kind]
            words = f"layer norm: {' and '.join(told)}"
            yield Guess(words, _placed(y, s.got.shape), _placed(near, s.got.shape))
            return


def _placed(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """(H, W, N C) as (N, H, W, C)."""
    N, H, W, C = shape
    return values.reshape(H, W, N, C).transpose(2, 0, 1, 3)


def _difference(name: str, new: np.ndarray, own: np.ndarray, other: tuple[str, np.ndarray] | None) -> str:
    """What a solved parameter is beside the declared one: one number added or multiplied, or others.

    other : another parameter that may have been multiplied in, with its name
    """
    room = 2e-5 * (1 + np.abs(own))
    added, share = float(np.median(new - own)), float(np.median(new / np.where(own == 0, 1, own)))
    if other is not None and (np.abs(new - own * other[1]) <= room).all():
        return f"{name} multiplied by {other[0]} as well"
    for digits in (2, 6):
        plus, times = float(f"{added:.{digits}g}"), float(f"{share:.{digits}g}")
        if (np.abs(new - own - plus) <= room).all():
            return f"{plus:g} added to {name}"
        if (np.abs(new - own * times) <= room).all():
            return f"{name} times {times:g}"
    wrong = np.abs(new - own) > room
    at = np.unravel_index(int((np.abs(new - own) / room).argmax()), own.shape)
    return (f"{name} is another at {max(1, int(wrong.sum()))} of {own.size} positions: "
            f"{new[at]:.6g} instead of {own[at]:.6g} at [{', '.join(map(str, at))}]")

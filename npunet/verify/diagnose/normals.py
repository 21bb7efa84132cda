"""Patterns of batch norms: the parameter that is wrong, in a norm that stands alone or is folded into a convolution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose import biases
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.folds import folded_norms
from npunet.verify.diagnose.normal import SLACK, Line, Seen, norm_of
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.regions import runs
from npunet.verify.diagnose.solving import solve

SAME = 1e-5  # of a scale: no further off it is the right one
SHOWN = 4
MISTAKES = ("batch_norm_beta", "batch_norm_mean", "batch_norm_eps", "batch_norm_statistics", "batch_norm_shift",
            "batch_norm_swapped", "batch_norm_of_another_layer")  # that ports make, known by their numbers


@pattern("batch_norm_inference")
def batch_norm_parameter(s: Sight) -> Guesses:
    norms = {
        node.name: norm_of([s.bundle.weights[name] for name in node.weights], node.attrs["eps"])
        for node in s.bundle.graph
        if node.op == s.node.op and s.bundle.weights[node.weights[0]].shape == s.recipe.kernels[0].shape
    }
    own = norms.pop(s.node.name)
    channels = s.got.shape[-1]
    x = s.inputs[0].reshape(-1, channels).astype(np.float64)
    for guess, _ in _guesses(s, Seen(x, s.got.reshape(-1, channels).astype(np.float64), 0.0, own, norms)):
        yield guess


@pattern(*CONVOLUTIONS)
def folded_parameter(s: Sight) -> Guesses:
    found = folded_norms(s.bundle, s.node)
    if found is None:
        return
    kernel, bias, own, norms = found
    plain = s.recipe.but(kernels=(*s.recipe.kernels[:-1], kernel), bias=bias)
    x, blur = recipes.rough(plain, np.arange(recipes.positions(plain)))
    got = s.got.reshape(x.shape).astype(np.float64)
    seen = Seen(x, got, blur, own, norms)
    for guess, scale in _guesses(s, seen):
        scaled = (*s.recipe.kernels[:-1], (kernel * scale).astype(np.float32))
        yield replace(guess, sums=s.recipe.but(kernels=scaled))


def _as_port(s: Sight, seen: Seen, line: Line, name: str, words: str) -> tuple[str, str]:
    """A cause in a norm that is folded, as one of the weights and the bias, which are what a port has.

    line : scale and shift as they are solved
    """
    assert s.recipe.bias is not None  # a norm is folded into the bias too
    own, bias = seen.own.line(), s.recipe.bias.astype(np.float64)
    ratio = line[0] / np.where(own[0] == 0, 1, own[0])
    other = np.abs(ratio - 1) > SAME
    room = np.asarray(SLACK * (np.abs(own[1]) + np.abs(line[1])) + np.median(seen.allowance(line), 0))
    said = biases.told(bias, bias + line[1] - own[1], room, s.bundle.weights)
    behind = f"; as if {words}" if name in MISTAKES else "; behind it may be the beta or the mean of the batch norm"
    if not other.any():
        return (name if name in MISTAKES else "bias_fitted"), f"bias {said}{behind}" if said else words
    at = np.flatnonzero(other)
    factors = ", ".join(f"{ratio[c]:.6g} in {c}" for c in at[:SHOWN]) + (", ..." if len(at) > SHOWN else "")
    if not said:
        return "weights_scaled", f"the filters' weights times {factors}, the bias is right"
    if (np.abs(line[1] - own[1] * ratio) <= room)[at].all():
        return "output_gain", f"weights and bias times {factors}"
    return name, f"{words} (folded: weights times {factors}, bias {said})"


def _guesses(s: Sight, seen: Seen) -> Iterator[tuple[Guess, np.ndarray]]:
    folded = s.recipe.op in CONVOLUTIONS
    for name, words, line in solve(seen):
        y = (seen.x * line[0] + line[1]).reshape(s.got.shape)
        told = _as_port(s, seen, line, name, words) if folded else (name, _plainly(s, seen, line, words))
        yield Guess(told[1], y, seen.allowance(line).reshape(s.got.shape), told[0]), line[0]


def _plainly(s: Sight, seen: Seen, line: Line, words: str) -> str:
    """A norm that is left out in some channels is told as that."""
    right = seen.own.line()
    off = (np.abs(line[0] - right[0]) > SAME * np.abs(right[0])) | (np.abs(line[1] - right[1]) > SAME)
    none = (np.abs(line[0] - 1) <= SAME) & (np.abs(line[1]) <= SAME)
    if off.any() and none[off].all():
        at = np.flatnonzero(off)
        return f"batch norm: left out in channel{'s' if len(at) > 1 else ''} {runs(at)} of {len(off)}"
    shift = (np.abs(line[1] - right[1]) <= SLACK * np.abs(right[1]) + np.median(seen.allowance(line), 0)).all()
    if words.startswith("another scale and shift"):
        ratio = line[0] / np.where(right[0] == 0, 1, right[0])
        same = np.ptp(ratio) <= SAME
        scaled = f"multiplied by {np.median(ratio):.6g} in every channel" if same else "another"
        if shift:
            return f"batch norm: the scale is {scaled}, the shift is right ({words})"
        if same:
            return f"batch norm: the scale is {scaled}, the shift another ({words})"
    return words

"""Patterns of batch norms: the parameter that is wrong, in a norm that stands alone or is folded into a convolution."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.folds import folded_norms
from npunet.verify.diagnose.normal import Seen, norm_of
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.solving import solve


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
    for guess, scale in _guesses(s, Seen(x, got, blur, own, norms)):
        scaled = (*s.recipe.kernels[:-1], (kernel * scale).astype(np.float32))
        yield replace(guess, sums=s.recipe.but(kernels=scaled))


def _guesses(s: Sight, seen: Seen) -> Iterator[tuple[Guess, np.ndarray]]:
    for name, words, line in solve(seen):
        y = (seen.x * line[0] + line[1]).reshape(s.got.shape)
        yield Guess(words, y, seen.allowance(line).reshape(s.got.shape), name), line[0]

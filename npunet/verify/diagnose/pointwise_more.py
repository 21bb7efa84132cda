"""Rare hypotheses about activations, sums and upsampling."""

from __future__ import annotations

import numpy as np

from npunet.ops.activation import SELU_ALPHA, SELU_SCALE
from npunet.ops.exponential import exp32, expm1_32
from npunet.verify.diagnose.pointwise import ACTIVATIONS, computing
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.registry import Variants, rare

F = np.float32


@rare("elu", "selu")
def exponential_parts(r: Recipe) -> Variants:
    scale, both = (F(1), F(1)) if r.op == "elu" else (F(SELU_SCALE), F(SELU_SCALE * SELU_ALPHA))
    for words, below in (
        ("exp(x) without the - 1", exp32),
        ("exp(x) of the C library without the - 1", lambda x: np.exp(x.astype(np.float64)).astype(F)),
        ("exp(x) + 1", lambda x: exp32(x) + F(1)),
        ("1 - exp(x)", lambda x: -expm1_32(x)),
        ("exp(-x) - 1", lambda x: expm1_32(-x)),
        ("2^x - 1", lambda x: np.exp2(x.astype(np.float64)).astype(F) - F(1)),
        ("tanh(x)", lambda x: np.tanh(x.astype(np.float64)).astype(F)),
        ("x / (1 - x)", lambda x: x / (F(1) - x)),
        ("max(x, -1)", lambda x: np.maximum(x, F(-1))),
        ("x", lambda x: x),
        ("0", lambda x: x * 0),
    ):
        yield f"{words} where x is negative", computing(
            r, lambda x, below=below: np.where(x > 0, scale * x, both * below(np.minimum(x, F(0)))).astype(F))
    yield "exp(x) - 1 also where x is positive", computing(r, lambda x: (both * expm1_32(x)).astype(F))
    if r.op == "selu":
        for words, a, b in (("scale and alpha exchanged", F(SELU_ALPHA), F(SELU_ALPHA * SELU_SCALE)),
                            ("alpha in place of scale times alpha", F(SELU_SCALE), F(SELU_ALPHA)),
                            ("the scale on the negative side alone", F(1), both),
                            ("the scale on the positive side alone", scale, F(SELU_ALPHA)),
                            ("scale 1.05, alpha 1.67", F(1.05), F(1.05) * F(1.67)),
                            ("scale 1.0507, alpha 1.6733", F(1.0507), F(1.0507) * F(1.6733)),
                            ("scale 1.0507, alpha 1.67326", F(1.0507), F(1.0507) * F(1.67326))):
            yield words, computing(r, lambda x, a=a, b=b: np.where(x > 0, a * x, b * expm1_32(x)).astype(F))


@rare(*ACTIVATIONS)
def activation_other(r: Recipe) -> Variants:
    for words, function in (
        ("the sign of x is lost (magnitude)", np.abs),
        ("hard sigmoid", lambda x: np.clip(x / F(6) + F(0.5), F(0), F(1))),
        ("hard swish", lambda x: x * np.clip(x + F(3), F(0), F(6)) / F(6)),
        ("swish", lambda x: x / (F(1) + np.exp(-x))),
        ("softplus", lambda x: np.log1p(np.exp(x))),
        ("relu with a slope of 0.01 (leaky)", lambda x: np.where(x > 0, x, F(0.01) * x)),
        ("relu with a slope of 0.2 (leaky)", lambda x: np.where(x > 0, x, F(0.2) * x)),
        ("x where it is negative, 0 else", lambda x: np.minimum(x, F(0))),
        ("-x where it is negative, 0 else", lambda x: np.maximum(-x, F(0))),
        ("all ones where positive (a step)", lambda x: (x > 0).astype(F)),
    ):
        yield f"{words} instead of {r.op}", computing(r, function)


@rare("add")
def addition_other(r: Recipe) -> Variants:
    for words, function in (
        ("the smaller one taken instead of the sum", np.minimum),
        ("half the sum", lambda a, b: (a + b) / F(2)),
        ("the second input with half its weight", lambda a, b: a + b / F(2)),
        ("the first input with half its weight", lambda a, b: a / F(2) + b),
        ("the sum without sign", lambda a, b: np.abs(a + b)),
        ("the difference without sign", lambda a, b: np.abs(a - b)),
    ):
        yield words, computing(r, function)
    for n in range(1, r.shape[2]):
        yield f"the second input added in channels 0 to {n - 1} alone", computing(
            r, lambda a, b, n=n: np.concatenate([a[..., :n] + b[..., :n], a[..., n:]], 3))
    yield "the second input's channels in reverse order", computing(r, lambda a, b: a + b[..., ::-1])
    yield "the second input's columns in reverse order", computing(r, lambda a, b: a + b[:, :, ::-1])
    yield "the second input read as channels first", computing(
        r, lambda a, b: a + b.transpose(0, 3, 1, 2).reshape(a.shape))
    yield "the second input's first channel added to all", computing(r, lambda a, b: a + b[..., :1])
    yield "the second input's first position added to all", computing(r, lambda a, b: a + b[:, :1, :1])

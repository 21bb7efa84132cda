"""Hypotheses about softmax, batch norm and layer norm."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npunet.ops.accumulate import fma32
from npunet.ops.exponential import exp32
from npunet.ops.norm import batch_norm_scale_shift
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.registry import Variants, hypothesis

F = np.float32


def library_exp(x: np.ndarray) -> np.ndarray:
    """exp rounded from float64: what a good C library gives."""
    return np.exp(x.astype(np.float64)).astype(F)


def soft(
    x: np.ndarray, *, exp: Callable[[np.ndarray], np.ndarray] = exp32, largest: str = "max", axis: int = 3,
    sums: str = "left", divide: str = "each",
) -> np.ndarray:
    """Softmax with every step open."""
    top = {
        "max": lambda: x.max(axis, keepdims=True),
        "none": lambda: F(0),
        "all": lambda: x.max((1, 2, 3), keepdims=True),
    }[largest]()
    e = exp(x - top)
    s = np.zeros_like(np.take(e, [0], axis))
    for k in range(x.shape[axis])[:: -1 if sums == "right" else 1]:
        s = s + np.take(e, [k], axis)
    if sums == "wide":
        s = e.astype(np.float64).sum(axis, keepdims=True).astype(F)
    return e / s if divide == "each" else e * (F(1) / s)


@hypothesis("softmax")
def softmax_unshifted(r: Recipe) -> Variants:
    yield "softmax without subtracting the maximum", r.but(compute=lambda c: soft(c.inputs[0], largest="none"))
    yield "softmax subtracts the largest of all positions", r.but(compute=lambda c: soft(c.inputs[0], largest="all"))


@hypothesis("softmax")
def softmax_axis(r: Recipe) -> Variants:
    for axis, words in ((1, "rows"), (2, "columns")):
        yield (
            f"softmax over the {words} instead of the channels",
            r.but(compute=lambda c, axis=axis: soft(c.inputs[0], axis=axis)),
        )


@hypothesis("softmax")
def softmax_exp(r: Recipe) -> Variants:
    yield (
        "softmax with the C library's exp instead of the declared one",
        r.but(compute=lambda c: soft(c.inputs[0], exp=library_exp)),
    )
    yield (
        "softmax with exp2 in place of exp",
        r.but(compute=lambda c: soft(c.inputs[0], exp=lambda x: np.exp2(x.astype(np.float64)).astype(F))),
    )


@hypothesis("softmax")
def softmax_sum(r: Recipe) -> Variants:
    yield (
        "softmax multiplies with 1 / sum instead of dividing",
        r.but(compute=lambda c: soft(c.inputs[0], divide="once")),
    )
    yield "softmax summed from the last class", r.but(compute=lambda c: soft(c.inputs[0], sums="right"))
    yield "softmax summed in float64", r.but(compute=lambda c: soft(c.inputs[0], sums="wide"))


@hypothesis("softmax")
def softmax_eps(r: Recipe) -> Variants:
    def compute(c: Recipe, eps: float) -> np.ndarray:
        x = c.inputs[0]
        e = exp32(x - x.max(3, keepdims=True))
        s = np.zeros_like(e[..., :1])
        for k in range(x.shape[3]):
            s = s + e[..., k : k + 1]
        return e / (s + F(eps))

    for eps in (1e-3, 1e-6, 1e-7):
        yield f"{eps:g} added to the sum that a softmax divides by", r.but(compute=lambda c, eps=eps: compute(c, eps))


@hypothesis("softmax")
def softmax_temperature(r: Recipe) -> Variants:
    for factor in (0.5, 2.0, -1.0):
        yield f"softmax of the scores times {factor:g}", r.but(inputs=(r.inputs[0] * F(factor),))


@hypothesis("softmax")
def softmax_missing(r: Recipe) -> Variants:
    yield "softmax left out", r.but(compute=lambda c: c.inputs[0])
    yield "logarithm of the softmax", r.but(compute=lambda c: np.log(soft(c.inputs[0])))
    yield (
        "exponentials not divided by their sum",
        r.but(compute=lambda c: exp32(c.inputs[0] - c.inputs[0].max(3, keepdims=True))),
    )
    yield "sigmoid instead of softmax", r.but(compute=lambda c: F(1) / (F(1) + exp32(-c.inputs[0])))


@hypothesis("batch_norm_inference")
def batch_norm_eps(r: Recipe) -> Variants:
    for words, eps in (("without eps", 0.0), ("with eps 1e-5", 1e-5), ("with eps 1e-2", 1e-2)):
        yield f"batch norm {words}", r.having(eps=eps)

    def outside(c: Recipe) -> np.ndarray:
        gamma, beta, mean, var = c.kernels
        inv = gamma / (np.sqrt(var) + F(c.attrs["eps"]))
        return c.inputs[0] * inv + (beta - mean * inv)

    yield "batch norm with eps outside the root", r.but(compute=outside)


@hypothesis("batch_norm_inference")
def batch_norm_order(r: Recipe) -> Variants:
    def quotient(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, var: np.ndarray) -> np.ndarray:
        return (x - mean) / np.sqrt(var + F(r.attrs["eps"])) * gamma + beta

    yield "batch norm with a fused multiply-add", scaled(r, lambda x, a, b: fma32(x, *np.broadcast_arrays(a, b)))
    yield (
        "batch norm as (x - mean) * scale + beta",
        r.but(compute=lambda c: (c.inputs[0] - c.kernels[2]) * scale_shift(c)[0] + c.kernels[1]),
    )
    yield (
        "batch norm as (x - mean) / sqrt(var + eps) * gamma + beta",
        r.but(compute=lambda c: quotient(c.inputs[0], *c.kernels)),
    )


def scale_shift(r: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """What a port keeps of a batch norm: y = x * scale + shift."""
    return batch_norm_scale_shift(*r.kernels, eps=r.attrs["eps"])


def scaled(r: Recipe, function: Callable[..., np.ndarray]) -> Recipe:
    """The batch norm as another function of x, scale and shift."""
    return r.but(compute=lambda c: function(c.inputs[0], *scale_shift(c)))


@hypothesis("batch_norm_inference")
def batch_norm_scale_and_shift(r: Recipe) -> Variants:
    yield "batch norm: scale left out", scaled(r, lambda x, a, b: x + b)
    yield "batch norm: shift left out", scaled(r, lambda x, a, b: x * a)
    yield "batch norm: shift subtracted", scaled(r, lambda x, a, b: x * a - b)
    yield "batch norm: shift added before the scale", scaled(r, lambda x, a, b: (x + b) * a)
    if r.shape[2] > 1:
        yield "batch norm: scale of the first channel for all", scaled(r, lambda x, a, b: x * a[0] + b)
        yield "batch norm: shift of the first channel for all", scaled(r, lambda x, a, b: x * a + b[0])
        for by in (-1, 1):
            yield (
                f"batch norm: scale and shift moved by one channel ({by:+d})",
                scaled(r, lambda x, a, b, by=by: x * np.roll(a, by) + np.roll(b, by)),
            )


@hypothesis("batch_norm_inference")
def batch_norm_parts(r: Recipe) -> Variants:
    gamma, beta, mean, var = r.kernels
    for words, kernels in (
        ("gamma left out", (np.ones_like(gamma), beta, mean, var)),
        ("beta left out", (gamma, np.zeros_like(beta), mean, var)),
        ("the mean left out", (gamma, beta, np.zeros_like(mean), var)),
        ("the variance left out", (gamma, beta, mean, np.ones_like(var))),
        ("gamma and beta swapped", (beta, gamma, mean, var)),
        ("mean and variance swapped", (gamma, beta, var, mean)),
        ("the variance taken as the deviation", (gamma, beta, mean, var * var)),
        ("parameters shifted by one channel", tuple(np.roll(w, 1) for w in r.kernels)),
    ):
        yield f"batch norm: {words}", r.but(kernels=kernels)
    yield "batch norm left out", r.but(compute=lambda c: c.inputs[0])


def layered(
    r: Recipe,
    *,
    axes: tuple[int, ...] = (1, 2),
    eps: float | None = None,
    unbiased: bool = False,
    outside: bool = False,
    wide: bool = True,
    moments: bool = False,
    centred: bool = True,
) -> Recipe:
    """Layer norm with every step open."""
    eps = r.attrs["eps"] if eps is None else eps

    def compute(c: Recipe) -> np.ndarray:
        x, (gamma, beta) = c.inputs[0], c.kernels
        gamma, beta = gamma[None, :, :, None], beta[None, :, :, None]
        values = x.astype(np.float64) if wide else x
        n = int(np.prod([x.shape[axis] for axis in axes]))
        mean = values.sum(axes, keepdims=True) / values.dtype.type(n)
        if moments:
            var = (values * values).sum(axes, keepdims=True) / values.dtype.type(n) - mean * mean
        else:
            off = values - mean
            var = (off * off).sum(axes, keepdims=True) / values.dtype.type(max(1, n - unbiased))
        inv = 1 / (np.sqrt(var) + eps) if outside else 1 / np.sqrt(var + eps)
        mean = mean if centred else np.zeros_like(mean)
        return ((x - mean.astype(F)) * (inv.astype(F) * gamma) + beta).astype(F)

    return r.but(compute=compute)


@hypothesis("layer_norm")
def layer_norm_axes(r: Recipe) -> Variants:
    for words, axes in (
        ("the channels", (3,)),
        ("rows, columns and channels", (1, 2, 3)),
        ("the columns", (2,)),
        ("the rows", (1,)),
        ("the batch too", (0, 1, 2)),
    ):
        yield f"layer norm over {words}", layered(r, axes=axes)


@hypothesis("layer_norm")
def layer_norm_eps(r: Recipe) -> Variants:
    for words, eps in (
        ("without eps", 0.0),
        ("with eps 1e-5", 1e-5),
        ("with eps 1e-6", 1e-6),
        ("with eps 1e-12", 1e-12),
    ):
        yield f"layer norm {words}", layered(r, eps=eps)
    yield "layer norm with eps outside the root", layered(r, outside=True)


@hypothesis("layer_norm")
def layer_norm_variance(r: Recipe) -> Variants:
    yield "layer norm with the unbiased variance (n - 1)", layered(r, unbiased=True)
    yield "layer norm with the variance as mean of squares minus square of the mean", layered(r, moments=True)
    yield "layer norm with sums in float32", layered(r, wide=False)
    yield "layer norm without subtracting the mean", layered(r, centred=False)


@hypothesis("layer_norm")
def layer_norm_parts(r: Recipe) -> Variants:
    gamma, beta = r.kernels
    yield "layer norm without gamma", r.but(kernels=(np.ones_like(gamma), beta))
    yield "layer norm without beta", r.but(kernels=(gamma, np.zeros_like(beta)))
    yield "layer norm with gamma and beta swapped", r.but(kernels=(beta, gamma))
    yield "layer norm left out", r.but(compute=lambda c: c.inputs[0])
    if gamma.size > 1:
        same_gamma, same_beta = np.full_like(gamma, gamma.flat[0]), np.full_like(beta, beta.flat[0])
        yield "layer norm with the gamma of the first position", r.but(kernels=(same_gamma, beta))
        yield "layer norm with the beta of the first position", r.but(kernels=(gamma, same_beta))
        yield (
            "layer norm with gamma and beta shifted by one position",
            r.but(kernels=tuple(np.roll(w.ravel(), 1).reshape(w.shape) for w in r.kernels)),
        )

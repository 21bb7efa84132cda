"""Rare hypotheses about norms: parameters in another order, of another layer; statistics and sums made otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from npunet.ops.norm import batch_norm_scale_shift
from npunet.verify.diagnose.precision import FORMATS
from npunet.verify.diagnose.recipe import Elementwise, Recipe
from npunet.verify.diagnose.registry import Variants, rare

F = np.float32
MOVES = (1, 2, 4, 8, -1, -2, -4, -8)


@rare("batch_norm_inference")
def batch_norm_statistics(r: Recipe) -> Variants:
    """Of the batch instead of the moving ones; parameters by position."""
    gamma, beta, mean, var = r.kernels
    for words, axes in (("the batch", (0, 1, 2)), ("each sample", (1, 2))):
        wide = r.inputs[0].astype(np.float64)
        own = wide.mean(axes, keepdims=True).astype(F), wide.var(axes, keepdims=True).astype(F)
        yield f"batch norm with the statistics of {words} instead of the moving ones", r.but(
            compute=lambda c, own=own: _with(c, gamma, beta, *own))
        for name, parts in (("mean", (own[0], var)), ("variance", (mean, own[1]))):
            yield f"batch norm with the {name} of {words}", r.but(
                compute=lambda c, parts=parts: _with(c, gamma, beta, *parts))
    scale, shift = batch_norm_scale_shift(*r.kernels, eps=r.attrs["eps"])
    H, W, C = r.shape
    flat = np.arange(H * W * C).reshape(H, W, C)
    for words, at in (
        ("by position instead of channel", (np.arange(H * W) % C).reshape(H, W, 1)),
        ("by column instead of channel", np.broadcast_to((np.arange(W) % C)[:, None], (H, W, C))),
        ("as if the data were channels first", flat // (H * W)),
    ):
        yield f"batch norm: parameters {words}", r.but(compute=lambda c, at=at: c.inputs[0] * scale[at] + shift[at])
    yield "batch norm: scale and shift exchanged", r.but(compute=lambda c: c.inputs[0] * shift + scale)


def _with(r: Recipe, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, var: np.ndarray) -> np.ndarray:
    scale, shift = batch_norm_scale_shift(gamma, beta, mean, var, eps=r.attrs["eps"])
    return r.inputs[0] * scale + shift


@rare("layer_norm")
def layer_norm_layout(r: Recipe) -> Variants:
    """Gamma and beta in another order."""
    gamma, beta = r.kernels
    for words, moved in _orders(gamma):
        both = dict(_orders(beta))[words]
        yield f"layer norm: gamma {words}", r.but(kernels=(moved, beta))
        yield f"layer norm: beta {words}", r.but(kernels=(gamma, both))
        yield f"layer norm: gamma and beta {words}", r.but(kernels=(moved, both))
    yield "layer norm: gamma and beta by channel instead of position", r.but(compute=lambda c: _channelled(c))


def _channelled(r: Recipe) -> np.ndarray:
    gamma, beta = (w.ravel()[np.arange(r.shape[2]) % w.size] for w in r.kernels)
    x = r.inputs[0]
    wide = x.astype(np.float64)
    mean, var = wide.mean((1, 2), keepdims=True), wide.var((1, 2), keepdims=True)
    return (x - mean.astype(F)) * ((1 / np.sqrt(var + r.attrs["eps"])).astype(F) * gamma) + beta


def _orders(w: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    if w.shape[0] > 1 and w.shape[1] > 1:
        yield "transposed (stored by columns, read by rows)", w.T.reshape(w.shape)
        yield "transposed (stored by rows, read by columns)", w.reshape(w.shape[::-1]).T
        yield "with its rows in reverse order", w[::-1]
        yield "with its columns in reverse order", w[:, ::-1]
    yield "in reverse order", w.ravel()[::-1].reshape(w.shape)
    for by in MOVES:
        if abs(by) < w.size:
            yield f"moved by {by:+d} positions", np.roll(w.ravel(), by).reshape(w.shape)
    yield "with the other sign", -w
    yield "twice as large", 2 * w
    yield "half as large", w / F(2)
    yield "of the first position for all", np.full_like(w, w.flat[0])
    yield "of the first row for all rows", np.broadcast_to(w[:1], w.shape)
    yield "of the first column for all columns", np.broadcast_to(w[:, :1], w.shape)


@rare("layer_norm")
def layer_norm_formula(r: Recipe) -> Variants:
    """The statistics by other formulas, the parts in another order."""
    x, eps = r.inputs[0], r.attrs["eps"]
    gamma, beta = (w[None, :, :, None] for w in r.kernels)
    wide, n = x.astype(np.float64), x.shape[1] * x.shape[2]
    mean = wide.mean((1, 2), keepdims=True)
    var = ((wide - mean) ** 2).mean((1, 2), keepdims=True)
    rows = [x[:, i, j] for i in range(x.shape[1]) for j in range(x.shape[2])]
    total = np.zeros_like(rows[0])
    for value in rows:
        total = total + value
    middle = (total / F(n))[:, None, None]
    squares, moments = np.zeros_like(rows[0]), np.zeros_like(rows[0])
    for value in rows:
        off = value - middle[:, 0, 0]
        squares, moments = squares + off * off, moments + value * value
    narrow = (squares / F(n))[:, None, None]
    raw = (moments / F(n))[:, None, None] - middle * middle
    small, center = F(eps), mean.astype(F)

    def made(m: np.ndarray, inv: np.ndarray, g: np.ndarray = gamma, b: np.ndarray = beta) -> Recipe:
        y = (x - m) * (inv.astype(F) * g) + b
        return r.but(compute=lambda c: y.astype(F))

    def lately(m: np.ndarray, inv: np.ndarray) -> Recipe:
        y = (x - m) * inv.astype(F) * gamma + beta
        return r.but(compute=lambda c: y.astype(F))

    sums = "layer norm with sums in float32, one after the other"
    yield sums, made(middle, 1 / np.sqrt(narrow + small))
    wider = 1 / np.sqrt(narrow.astype(np.float64) + eps)
    yield f"{sums}, the root in float64", made(middle, wider)
    exact = (total.astype(np.float64) / n)[:, None, None]
    off = wide - exact
    steps = np.zeros(rows[0].shape, F)
    for i in range(x.shape[1]):
        for j in range(x.shape[2]):
            steps = (steps + off[:, i, j] * off[:, i, j]).astype(F)
    yield f"{sums}, all else in float64", made(exact.astype(F), 1 / np.sqrt(
        (steps.astype(np.float64) / n)[:, None, None] + eps))
    yield f"{sums}, variance as mean of squares minus square of the mean", made(middle, 1 / np.sqrt(raw + small))
    means = {"float32": middle, "float64, then float32": center, "float64": mean}
    yield from _one_pass(wide, moments, means, eps, made)
    inv = 1 / np.sqrt(var + eps)
    yield "layer norm multiplies with gamma last", lately(center, inv)
    yield "layer norm multiplies with gamma last, sums in float32", lately(middle, 1 / np.sqrt(narrow + small))
    yield "layer norm divides by the root", r.but(compute=lambda c: (
        (x - center) / np.sqrt(var + eps).astype(F) * gamma + beta).astype(F))
    yield "layer norm without the root of the variance", made(center, 1 / (var + eps))
    yield "layer norm multiplies with the deviation instead of dividing", made(center, np.sqrt(var + eps))
    yield "layer norm does not divide by the deviation", made(center, np.ones_like(inv))
    yield "layer norm by the mean magnitude", made(center, 1 / (np.abs(wide - mean).mean((1, 2), keepdims=True) + eps))
    for other in (1e-2, 1e-4, 2e-5, 1e-7, 1e-8, 1.0, 10 * eps, 100 * eps, eps / 10, eps / 100):
        if other != eps:
            yield f"layer norm with eps {other:g} instead of {eps:g}", made(center, 1 / np.sqrt(var + other))
    if len(x) > 1:
        yield "layer norm with the statistics of the first sample for all", made(center[:1], inv[:1])
        yield "layer norm with the statistics of the sample before", made(np.roll(center, 1, 0), np.roll(inv, 1, 0))
    C = x.shape[3]
    if C > 1:
        yield "layer norm with the statistics of the first channel for all", made(center[..., :1], inv[..., :1])
        yield "layer norm with the mean of all channels", made(
            wide.mean((1, 2, 3), keepdims=True).astype(F), inv)
        added = np.cumsum(wide.sum((1, 2), keepdims=True), 3) / n
        yield "layer norm: the sum is not cleared between channels", made(added.astype(F), 1 / np.sqrt(
            ((wide - added) ** 2).mean((1, 2), keepdims=True) + eps))


def _one_pass(
    x: np.ndarray, moments: np.ndarray, means: dict[str, np.ndarray], eps: float, made: Callable[..., Recipe]
) -> Variants:
    """The variance as mean of squares less square of the mean, each step in float32 or float64.

    x       : (N, H, W, C) float64
    moments : sums of squares in float32, (N, C)
    means   : by how they are made, (N, 1, 1, C) each
    """
    n, squares = x.shape[1] * x.shape[2], (x.astype(F) * x.astype(F)).astype(np.float64)
    sums = {"float32": moments, "float64, of float32 squares": squares.sum((1, 2)), "float64": (x * x).sum((1, 2))}
    for summed, total in sums.items():
        wide = total.astype(np.float64) / n
        averages = {"float64": wide, "float64, then float32": wide.astype(F), "float32": total.astype(F) / F(n)}
        for averaged, average in averages.items():
            for kind, mean in means.items():
                for less in (mean * mean, mean.astype(F) * mean.astype(F)):
                    var = average[:, None, None] - less
                    for root in (np.float64, F):
                        words = (f"sums in {summed}; mean of squares in {averaged}; mean by {kind}, its square in "
                                 f"{less.dtype}; root in {np.dtype(root)}")
                        inv = root(1) / np.sqrt(var.astype(root) + root(eps))
                        yield (f"layer norm with the variance as mean of squares minus square of the mean ({words})",
                               made(mean.astype(F), inv))


@rare("layer_norm", "batch_norm_inference")
def norm_narrow(r: Recipe) -> Variants:
    """One of the steps of a norm in a narrow format."""
    x = r.inputs[0]
    if r.op == "layer_norm":
        gamma, beta = (w[None, :, :, None] for w in r.kernels)
        wide = x.astype(np.float64)
        mean, var = wide.mean((1, 2), keepdims=True), wide.var((1, 2), keepdims=True)
        parts = {"mean": mean.astype(F), "1 / deviation": (1 / np.sqrt(var + r.attrs["eps"])).astype(F),
                 "gamma": gamma, "beta": beta}
    else:
        scale, shift = batch_norm_scale_shift(*r.kernels, eps=r.attrs["eps"])
        parts = {"mean": F(0), "1 / deviation": scale, "gamma": F(1), "beta": shift}
    steps = ("mean", "difference", "1 / deviation", "scale", "product", "gamma", "beta")
    for name, narrow in FORMATS.items():
        for step in steps if r.op == "layer_norm" else ("product",):
            yield f"{'layer' if r.op == 'layer_norm' else 'batch'} norm: the {step} in {name}", r.but(
                compute=lambda c, step=step, narrow=narrow: _stepwise(c.inputs[0], parts, {step: narrow}))
        if r.op == "layer_norm":
            every = dict.fromkeys(steps, narrow)
            yield f"layer norm: every step in {name}", r.but(
                compute=lambda c, every=every: _stepwise(c.inputs[0], parts, every))


def _stepwise(x: np.ndarray, parts: dict[str, np.ndarray], narrow: dict[str, Elementwise]) -> np.ndarray:
    """A norm with some of its steps in a narrow format."""
    def kept(step: str, value: np.ndarray) -> np.ndarray:
        return np.asarray(narrow[step](value), F) if step in narrow else value

    off = kept("difference", x - kept("mean", np.asarray(parts["mean"])))
    scale = kept("scale", kept("1 / deviation", parts["1 / deviation"]) * kept("gamma", np.asarray(parts["gamma"])))
    return kept("product", off * scale) + kept("beta", parts["beta"])

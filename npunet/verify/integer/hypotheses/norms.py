"""Layer norms that leave something out, or normalise over something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from npunet.integer.fixed_point import requantize_64, rounding_shift
from npunet.integer.ops.norm import bit_length_64, integer_sqrt
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.registry import Variant, hypothesis

AXES = {"over the columns alone": (2,), "over the rows alone": (1,), "over the channels": (3,),
        "over rows, columns and channels": (1, 2, 3)}


@hypothesis("layer norm", "layer_norm")
def layer_norm(e: Evidence) -> Iterator[Variant]:
    """Without epsilon, gamma, beta or the mean; rounded otherwise; over other axes."""
    a, gamma, beta = e.node.attrs, e.node.arrays["gamma"], e.node.arrays["beta"]
    if a["epsilon"] > 1:
        yield "leaves out epsilon (1 stands in its place)", e.run(attrs={"epsilon": 1})
    if beta.any():
        yield "leaves out beta", e.run(arrays={"beta": np.zeros_like(beta)})
    if (gamma != gamma.flat[0]).any():
        yield "takes gamma of position 0 in every position", e.run(arrays={"gamma": np.full_like(gamma, gamma.flat[0])})
        yield "takes gamma and beta of the position after", e.run(
            arrays={"gamma": np.roll(gamma, -1), "beta": np.roll(beta, -1)})
        if beta.any():
            yield "takes gamma of the position after", e.run(arrays={"gamma": np.roll(gamma, -1)})
    yield "does not take the mean off", _normalised(e, centred=False)
    yield "truncates the normalised value (floor)", _normalised(e, floors=True)
    if gamma.size > 1:
        yield "takes the variance by n - 1, not n", _normalised(e, unbiased=True)
        for words, how in (("floored", np.floor), ("cut towards zero", np.trunc), ("rounded", np.rint)):
            yield f"takes a mean that is {words} to a whole number", _normalised(e, mean=how)
    H, W, C = e.inputs[0].shape[1:]
    for words, axes in AXES.items():
        over = {axis for axis in axes if (H, W, C)[axis - 1] > 1}
        if over != {axis for axis in (1, 2) if (H, W, C)[axis - 1] > 1}:
            yield f"normalises {words}", _normalised(e, axes=axes)


def _normalised(e: Evidence, axes: tuple[int, ...] = (1, 2), centred: bool = True, floors: bool = False,
                unbiased: bool = False, mean: Callable[[np.ndarray], np.ndarray] | None = None,
                fraction: int | None = None,
                variance: Callable[[np.ndarray], np.ndarray] | None = None) -> np.ndarray:
    """layer_norm (integer.ops.norm) with one step changed."""
    x, a = e.inputs[0].astype(np.int64), e.node.attrs
    n = int(np.prod([x.shape[axis] for axis in axes]))
    total = x.sum(axes, keepdims=True)
    spread = n * (x * x).sum(axes, keepdims=True) - total * total
    spread = spread if variance is None else variance(spread).astype(np.int64)
    v = (spread // (n - 1) * n if unbiased else spread) + a["epsilon"]
    j = (62 - bit_length_64(v)) >> 1
    r = np.int64(2**61) // integer_sqrt(v << (2 * j))
    middle = total if mean is None else n * mean(total / n).astype(np.int64)
    lost = 0 if fraction is None else a["fraction_bits"] - fraction
    product, right = (n * x - (middle if centred else 0)) * r, 61 - j - a["fraction_bits"] + lost
    h = (product >> right if floors else rounding_shift(product, right)) << lost
    acc = h * e.node.arrays["gamma"].astype(np.int64)[:, :, None] + e.node.arrays["beta"][:, :, None]
    return e.clamp(requantize_64(acc, a["multiplier"], a["shift"]) + a["output_offset"])


@hypothesis("steps of a layer norm", "layer_norm", rare=True)
def steps(e: Evidence) -> Iterator[Variant]:
    """Means and variances of other kinds."""
    n = e.node.arrays["gamma"].size
    if n < 2:
        return
    means: dict[str, Callable[[np.ndarray], np.ndarray]] = {
        "rounded, halves away from zero,": lambda v: np.sign(v) * np.floor(np.abs(v) + 0.5),
        "rounded, halves upward,": lambda v: np.floor(v + 0.5), "rounded up": np.ceil}
    for words, how in means.items():
        yield f"takes a mean that is {words} to a whole number", _normalised(e, mean=how)
    variances = {"takes the variance by n - 1, not n: multiplied first": lambda v: v * n // (n - 1),
                 "takes the variance by n - 1, not n: in real numbers": lambda v: np.rint(v * (n / (n - 1))),
                 "takes the variance by n + 1, not n": lambda v: v * n // (n + 1),
                 "takes the variance by n - 1, n off its sum": lambda v: v // n * (n - 1),
                 "takes half the variance": lambda v: v >> 1, "takes twice the variance": lambda v: 2 * v,
                 "takes the variance in whole steps, floored": lambda v: v // n**2 * n**2,
                 "takes the variance in whole steps, rounded": lambda v: (v + n**2 // 2) // n**2 * n**2}
    for words, of in variances.items():
        yield words, _normalised(e, variance=of)
    a, beta = e.node.attrs, e.node.arrays["beta"].astype(np.int64)
    if beta.any():
        free = {"act_min": -(2**62), "act_max": 2**62}
        without = e.run(attrs=free, arrays={"beta": np.zeros_like(e.node.arrays["beta"])})
        alone = requantize_64(beta, a["multiplier"], a["shift"])[:, :, None]
        yield "adds beta after the requantisation, itself requantised", e.clamp(without + alone)
    x = e.inputs[0]
    if x.shape[1] * x.shape[2] > 1:
        order = np.arange(n).reshape(x.shape[1:3])
        for words, other in (("in reverse order", order[::-1, ::-1]), ("with rows and columns exchanged",
                             order.T.reshape(order.shape))):
            arrays = {key: e.node.arrays[key].ravel()[other] for key in ("gamma", "beta")}
            yield f"takes gamma and beta {words}", e.run(arrays=arrays)


@hypothesis("layer norm's precision", "layer_norm", rare=True)
def precision(e: Evidence) -> Iterator[Variant]:
    """Fewer bits of the normalised value than the layer declares."""
    for bits in range(4, e.node.attrs["fraction_bits"]):
        yield f"has {bits} fraction bits in its normalised value, not {e.node.attrs['fraction_bits']}", _normalised(
            e, fraction=bits)

"""Hypotheses about number formats, for every operator that computes."""

from __future__ import annotations

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.registry import Variants, hypothesis
from npunet.verify.diagnose.sums import cut_to_bfloat16, flushed, to_bfloat16, to_float16, to_tf32

FORMATS = {
    "float16": to_float16,
    "bfloat16": to_bfloat16,
    "bfloat16 (cut, not rounded)": cut_to_bfloat16,
    "tf32": to_tf32,
}


@hypothesis()
def inputs_narrow(r: Recipe) -> Variants:
    for name, narrow in FORMATS.items():
        yield f"inputs in {name}", r.but(inputs=tuple(map(narrow, r.inputs)))


@hypothesis()
def weights_narrow(r: Recipe) -> Variants:
    for name, narrow in FORMATS.items():
        if r.kernels:
            yield f"weights in {name}", r.but(kernels=tuple(map(narrow, r.kernels)))


@hypothesis()
def all_narrow(r: Recipe) -> Variants:
    for name, narrow in FORMATS.items():
        if r.kernels:
            yield (
                f"inputs and weights in {name}",
                r.but(inputs=tuple(map(narrow, r.inputs)), kernels=tuple(map(narrow, r.kernels))),
            )


@hypothesis()
def output_narrow(r: Recipe) -> Variants:
    for name, narrow in FORMATS.items():
        yield f"output stored in {name}", r.but(after=(*r.after, narrow))


@hypothesis()
def output_cut(r: Recipe) -> Variants:
    yield "output cut to an integer", r.but(after=(*r.after, np.trunc))
    for bits in (8, 12, 16):
        scale = np.float32(2.0**bits)
        yield (
            f"output cut to {bits} fractional bits",
            r.but(after=(*r.after, lambda y, scale=scale: np.trunc(y * scale) / scale)),
        )
        yield (
            f"output rounded to {bits} fractional bits",
            r.but(after=(*r.after, lambda y, scale=scale: np.rint(y * scale) / scale)),
        )


@hypothesis()
def subnormals_flushed(r: Recipe) -> Variants:
    yield "subnormal outputs flushed to zero", r.but(after=(*r.after, flushed))
    yield "subnormal outputs become +0", r.but(after=(*r.after, unsigned_flush))
    yield "subnormal inputs flushed to zero", r.but(inputs=tuple(map(flushed, r.inputs)))
    if r.op in CONVOLUTIONS and r.bias is not None:
        yield "subnormal sums flushed to zero before the bias", r.but(middle=(*r.middle, flushed))
        yield "subnormal sums become +0 before the bias", r.but(middle=(*r.middle, unsigned_flush))


def unsigned_flush(y: np.ndarray) -> np.ndarray:
    """Subnormals, and zeros, as +0."""
    return np.where(flushed(y) == 0, np.float32(0), y)


@hypothesis()
def sign_turned(r: Recipe) -> Variants:
    yield "sign turned", r.but(after=(*r.after, lambda y: -y))
    yield "absolute value taken", r.but(after=(*r.after, np.abs))


@hypothesis()
def clamped(r: Recipe) -> Variants:
    for words, low, high in (
        ("to 0 ... 6", 0, 6),
        ("below at 0", 0, np.inf),
        ("to -128 ... 127", -128, 127),
        ("to -1 ... 1", -1, 1),
    ):
        if r.op not in ("relu", "relu6"):
            yield (
                f"output clamped {words}",
                r.but(
                    after=(*r.after, lambda y, low=low, high=high: np.clip(y, np.float32(low), np.float32(high)) + 0)
                ),
            )

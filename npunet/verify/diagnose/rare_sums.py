"""Rare hypotheses about how sums are rounded, tried on everything that fits: they change nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import permutations, product
from typing import Any

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose.recipe import Recipe
from npunet.verify.diagnose.registry import HYPOTHESES, Variants, rare
from npunet.verify.diagnose.sums import Order


@rare(*CONVOLUTIONS)
def total_cut(r: Recipe) -> Variants:
    yield "running total kept in bfloat16, cut instead of rounded", _ordered(r, rounding="bfloat16 cut")
    for name in ("float16", "bfloat16", "bfloat16 cut"):
        yield f"running total brought to {name} after every tap", _ordered(r, rounding=name, by_tap=True)
    for name in ("float16", "bfloat16", "bfloat16 cut"):
        yield f"every product brought to {name}", _ordered(r, rounding=f"{name} products")
    other = not r.order.fused
    for count in (4, 8):
        words = f"summed with {count} partial sums side by side, {'fused' if other else 'two roundings'}"
        yield words, _ordered(r, grouping=f"lanes{count}", fused=other)
    for count in (2, 4, 8, 16):
        yield f"summed with {count} partial sums in turn", _ordered(r, grouping=f"turns{count}")
        yield (f"summed with {count} partial sums in turn, {'fused' if other else 'two roundings'}",
               _ordered(r, grouping=f"turns{count}", fused=other))
    for count in (2, 16, 32):
        yield f"summed with {count} partial sums side by side", _ordered(r, grouping=f"lanes{count}")
    if r.kernels[0].shape[0] > 1:
        for fused in (r.order.fused, other):
            how = "" if fused == r.order.fused else f", {'fused' if other else 'two roundings'}"
            words = f"summed with a partial sum for every row of the kernel{how}"
            yield words, _ordered(r, grouping="row", fused=fused)
    if r.bias is not None:
        yield "summed in float64 with the bias, rounded once", r.but(order=replace(r.order, wide=True), when="first")


def _ordered(r: Recipe, **changes: Any) -> Recipe:
    return r.but(order=replace(r.order, **changes))


@rare(*CONVOLUTIONS)
def rounding_mode(r: Recipe) -> Variants:
    """Another rounding mode of the machine, in the sums alone or in the addition of the bias too."""
    for how, words in (("zero", "towards zero"), ("up", "upwards"), ("down", "downwards"),
                       ("away", "to the nearest, ties away from zero")):
        if r.bias is not None:
            yield f"every operation rounded {words}, the bias's too", _ordered(r, rounding=how, bias_too=True)
        if how != "zero":  # sum_precision has that
            yield f"every step of the sums rounded {words}", _ordered(r, rounding=how)


@rare(*CONVOLUTIONS)
def order_any(r: Recipe) -> Variants:
    """Every order and direction of rows, columns and channels of the kernel."""
    names = ("ky", "kx", "c")
    for axes in permutations(range(3)):
        for ways in product("+-", repeat=3):
            told = ", ".join(f"{names[axis]}{' from the last' if way == '-' else ''}"
                             for axis, way in zip(axes, ways, strict=True))
            walk = "axes " + " ".join(f"{axis}{way}" for axis, way in zip(axes, ways, strict=True))
            yield f"summed over {told}", _ordered(r, walk=walk)
            yield (f"summed over {told}, {'two roundings' if r.order.fused else 'fused'}",
                   _ordered(r, walk=walk, fused=not r.order.fused))


@rare("separable_conv2d")
def half_of_separable(r: Recipe) -> Variants:
    """One of the two halves sums in another way, the other as declared."""
    for name in ("multiply_add", "order_of_walk", "order_of_groups", "sum_precision"):
        yield from _halves(r, HYPOTHESES[name].build)
    yield from _halves(r, total_cut)


def _halves(r: Recipe, build: Callable[[Recipe], Variants]) -> Variants:
    for words, changed in build(r):
        other: Order = changed.order
        if other != r.order:
            yield f"{words}, in the depthwise half alone", r.but(first_order=other)
            yield f"{words}, in the 1x1 half alone", r.but(order=other, first_order=r.order)

"""Integer vectors as LLVM instructions: loads and stores, dot products of 16-bit pairs and of fours of bytes,
narrowing. For the bodies of intrinsics.

A vector is LANES = 8 integers; registers hold one, half of one, or two, as Target says.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils

from npunet.engine.codegen.emit import TARGET, halves, join, shuffle
from npunet.engine.target import LANES

INT8, INT16, INT32 = (ir.IntType(bits) for bits in (8, 16, 32))
PAIR_DOT = {4: "llvm.x86.sse2.pmadd.wd", 8: "llvm.x86.avx2.pmadd.wd", 16: "llvm.x86.avx512.pmaddw.d.512"}
SHORT = 2  # bytes of an element of the arena


def vector_of(element: ir.Type, lanes: int = LANES) -> ir.VectorType:
    return ir.VectorType(element, lanes)


def all_lanes(kind: ir.VectorType, value: int):
    """The constant vector with one integer in every lane."""
    return ir.Constant(kind, [value] * kind.count)


def load(builder, at, element: ir.Type, lanes: int = LANES):
    """The integers at an address, aligned as one of them is."""
    value = builder.load(builder.inttoptr(at, vector_of(element, lanes).as_pointer()))
    value.align = element.width // 8
    return value


def store(builder, value, at) -> None:
    builder.store(value, builder.inttoptr(at, value.type.as_pointer())).align = value.type.element.width // 8


def load_one(builder, at, element: ir.Type):
    value = builder.load(builder.inttoptr(at, element.as_pointer()))
    value.align = SHORT if element.width >= 16 else 1
    return value


def splat(builder, value, lanes: int = LANES):
    """A vector with one integer in every lane."""
    undefined = ir.Constant(vector_of(value.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, value, INT32(0))
    return shuffle(builder, first, undefined, [0] * lanes)


def call(builder, name: str, kind: ir.Type, arguments: list, result: ir.Type | None = None):
    """An LLVM intrinsic of arguments of one type."""
    function = ir.FunctionType(result or kind, [kind] * len(arguments))
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), arguments)


def smaller(builder, a, b):
    return call(builder, f"llvm.smin.v{a.type.count}i{a.type.element.width}", a.type, [a, b])


def larger(builder, a, b):
    return call(builder, f"llvm.smax.v{a.type.count}i{a.type.element.width}", a.type, [a, b])


def clamp(builder, value, low, high):
    return smaller(builder, larger(builder, value, low), high)


def to_shorts(builder, value):
    """int32 to int16, saturating."""
    limits = (all_lanes(value.type, limit) for limit in (-(2**15), 2**15 - 1))
    return builder.trunc(clamp(builder, value, *limits), vector_of(INT16, value.type.count))


def widen(builder, value, element: ir.Type = INT32):
    return builder.sext(value, vector_of(element, value.type.count))


def by_halves(operation: Callable[..., Any], builder, *values):
    """An operation on vectors of more lanes than a register has: on the first of them, then on the last."""
    parts = zip(*(halves(builder, value) for value in values), strict=True)
    return join(builder, *(operation(builder, *part) for part in parts))


def dot(builder, acc, x, w):
    """acc[k] + x[2k] * w[2k] + x[2k + 1] * w[2k + 1]; acc of int32, x and w of twice as many int16."""
    lanes = acc.type.count
    if lanes > TARGET.register:
        return by_halves(dot, builder, acc, x, w)
    if TARGET.dot == "vpdpwssd":
        words = [builder.bitcast(value, acc.type) for value in (x, w)]
        return call(builder, f"llvm.x86.avx512.vpdpwssd.{32 * lanes}", acc.type, [acc, *words])
    if TARGET.dot == "pmaddwd":
        return builder.add(acc, call(builder, PAIR_DOT[lanes], x.type, [x, w], acc.type))
    products = []
    for first in (0, 1):
        lane = [shuffle(builder, value, value, list(range(first, 2 * lanes, 2))) for value in (x, w)]
        products.append(builder.mul(*(widen(builder, value) for value in lane)))
    return builder.add(acc, builder.add(*products))


def byte_dot(builder, acc, x, w):
    """acc[k] + the sum of x[4k + j] * w[4k + j]; acc of int32, x unsigned bytes, w signed ones, four to a lane."""
    lanes = acc.type.count
    if lanes > TARGET.register:
        return by_halves(byte_dot, builder, acc, x, w)
    if TARGET.byte_dot == "vpdpbusd":
        words = [builder.bitcast(value, acc.type) for value in (x, w)]
        return call(builder, f"llvm.x86.avx512.vpdpbusd.{32 * lanes}", acc.type, [acc, *words])
    for first in range(4):
        x_lane, w_lane = (shuffle(builder, value, value, list(range(first, 4 * lanes, 4))) for value in (x, w))
        acc = builder.add(acc, builder.mul(builder.zext(x_lane, acc.type), widen(builder, w_lane)))
    return acc

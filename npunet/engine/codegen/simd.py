"""Explicit float32 vectors inside Numba: a tile of accumulators in registers, and what can be done to it.

A tile holds `rows` positions x `vectors` vectors of LANES output channels. Every function here works on all of its
elements at once and never mixes lanes, so each output sees its own sum in the order in which the kernel forms it. LLVM
maps the vectors to what the machine has (and splits them where it has less); where registers hold two neighbouring
vectors, these are one. The bits do not depend on it.

Addresses are byte addresses held in intp, so that a kernel does its own arithmetic on them.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, models, register_model

from npunet.engine.codegen.emit import (
    FLOAT,
    INT64,
    TARGET,
    along,
    every_third,
    everywhere,
    keep_order,
    load_scalar,
    load_vector,
    make_multiply_add,
    offset,
    pack,
    position,
    prefetch,
    store_vector,
    unpack,
)
from npunet.engine.target import LANES


class Tile(types.Type):
    """rows x vectors accumulators, row by row; `lanes` of them at a time."""

    def __init__(self, rows: int, vectors: int) -> None:
        self.rows, self.vectors = rows, vectors
        self.lanes = 2 * LANES if TARGET.pairs and vectors % 2 == 0 else LANES
        super().__init__(name=f"Tile({rows}, {vectors}, {LANES})")

    @property
    def parts(self) -> int:
        """Registers that a position takes."""
        return self.vectors * LANES // self.lanes

    @property
    def size(self) -> int:
        """Registers that it takes."""
        return self.rows * self.parts

    @property
    def model(self) -> ir.ArrayType:
        return ir.ArrayType(ir.VectorType(FLOAT, self.lanes), self.size)


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    def __init__(self, manager, tile: Tile) -> None:
        super().__init__(manager, tile, tile.model)


@intrinsic(prefer_literal=True)
def zeros(typing, rows, vectors):
    """A tile of +0."""
    tile = Tile(rows.literal_value, vectors.literal_value)

    def generate(context, builder, signature, arguments):
        return ir.Constant(tile.model, [everywhere(0.0, tile.lanes)] * tile.size)

    return tile(rows, vectors), generate


@intrinsic
def load(typing, tile, source, step):
    """The tile at `source`, one position every `step` bytes; the argument gives the shape."""

    def generate(context, builder, signature, arguments):
        _, source, step = arguments
        return pack(builder, [load_vector(builder, at, tile.lanes) for at in addresses(builder, tile, source, step)])

    return tile(tile, types.intp, types.intp), generate


@intrinsic
def store(typing, tile, target, step):
    """Write the tile at `target`, one position every `step` bytes."""

    def generate(context, builder, signature, arguments):
        values, target, step = arguments
        for value, at in zip(unpack(builder, values), addresses(builder, tile, target, step), strict=True):
            store_vector(builder, value, at)
        return context.get_dummy_value()

    return types.void(tile, types.intp, types.intp), generate


def make_elementwise(fused: bool):
    """One step of a depthwise convolution: every element times its channel's weight, added to the tile."""
    multiply_add = make_multiply_add(fused)

    @intrinsic
    def elementwise(typing, tile, x, step, w):
        """acc[m][v] = acc[m][v] + x[m][v] * w[v], x `vectors` vectors every `step` bytes."""

        def generate(context, builder, signature, arguments):
            acc, x, step, w = arguments
            sums = unpack(builder, acc)
            weights = [load_vector(builder, at, tile.lanes) for at in along(builder, w, tile.parts, tile.lanes)]
            for k, at in enumerate(addresses(builder, tile, x, step)):
                value = load_vector(builder, at, tile.lanes)
                sums[k] = multiply_add(builder, value, weights[k % tile.parts], sums[k])
            return pack(builder, sums)

        return tile(tile, types.intp, types.intp, types.intp), generate

    return elementwise


@intrinsic
def add_tile(typing, tile, other):
    """acc + other, element by element."""

    def generate(context, builder, signature, arguments):
        pairs = zip(*(unpack(builder, argument) for argument in arguments), strict=True)
        return pack(builder, [builder.fadd(a, b) for a, b in pairs])

    return tile(tile, tile), generate


@intrinsic(prefer_literal=True)
def fetch(typing, rows, at, step):
    """Software prefetch of `rows` addresses (a literal number), every `step` bytes."""

    def generate(context, builder, signature, arguments):
        for m in range(rows.literal_value):
            prefetch(builder, offset(builder, arguments[1], arguments[2], m))
        return context.get_dummy_value()

    return types.void(rows, types.intp, types.intp), generate


@intrinsic
def copy_value(typing, source, target):
    """Copy one float from address to address."""

    def generate(context, builder, signature, arguments):
        source, target = arguments
        builder.store(load_scalar(builder, source), builder.inttoptr(target, FLOAT.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@intrinsic
def clear_value(typing, target):
    """Set the float at an address to +0."""

    def generate(context, builder, signature, arguments):
        builder.store(FLOAT(0.0), builder.inttoptr(arguments[0], FLOAT.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp), generate


@intrinsic
def stand_alone(typing):
    """Keep the calling function out of its callers' code: LLVM would copy it into each and optimise every copy."""

    def generate(context, builder, signature, arguments):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def rolled(typing):
    """Keep the loop around this call as written."""

    def generate(context, builder, signature, arguments):
        keep_order(builder)
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def address(typing, array):
    """Byte address of an array's first element."""

    def generate(context, builder, signature, arguments):
        from numba.np.arrayobj import make_array

        data = make_array(array)(context, builder, arguments[0]).data
        return builder.ptrtoint(data, INT64)

    return types.intp(array), generate


def addresses(builder, tile: Tile, start, step):
    """Address of every register of a tile, position after position."""
    bases = every_third(builder, tile.rows, start, step)
    for m in range(tile.rows):
        yield from along(builder, position(builder, bases, step, m), tile.parts, tile.lanes)



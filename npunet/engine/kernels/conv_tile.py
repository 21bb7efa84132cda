"""A tile of a convolution as machine instructions: positions x vectors of output channels, held in registers.

Its sums are tile_sums'. What follows them (bias, clamp, second image) is ordered for the stores behind it: on Zen 3,
twelve of them right after sums that become ready two in a cycle cost 30 cycles, and nothing where pairs of dependent
operations on one value go before. So some of these operations change nothing: the maximum with minus infinity, the
minimum with infinity.
"""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import (
    FLOAT,
    INT64,
    TARGET,
    at_this_place,
    choose,
    dispatch,
    every_third,
    everywhere,
    hidden,
    larger_vector,
    load_vector,
    make_multiply_add,
    offset,
    position,
    repeat,
    smaller_vector,
    splat,
    store_vector,
)
from npunet.engine.codegen.jit import inlined
from npunet.engine.kernels.prefetch import prefetch_streams
from npunet.engine.kernels.tile import Arguments, registers_of
from npunet.engine.kernels.tile_sums import sums_of
from npunet.engine.plan.opcodes import Flag
from npunet.engine.plan.pack import block_of
from npunet.engine.target import LANES, Shapes

LARGE = 9  # vectors of a tile, two and more a position, whose kernels of one tap have loops of their own
CLAMPED = int(Flag.RELU | Flag.RELU6)
INT32 = ir.IntType(32)
INFINITY = float("inf")

block_vectors = inlined(block_of)


def make_convolve(fused: bool, shapes: Shapes, fuses_next: bool = False, prefetches: bool = True):
    """The intrinsic that convolves neighbouring tiles of one of the shapes; `arguments` are those of Arguments.

    fuses_next : whether it can fuse the next convolution: then LARGE, of an even number of vectors, with one tap
    prefetches  : whether it prefetches for streams
    """
    multiply_add = make_multiply_add(fused)

    @intrinsic
    def convolve(typing, rows, vectors, arguments):
        def generate(context, builder, signature, values):
            given = Arguments(*cgutils.unpack_tuple(builder, values[2]))
            dispatch(builder, values[0], values[1], shapes, lambda rows, vectors: row_of_tiles(
                builder, rows, vectors, given, multiply_add, fuses_next, prefetches))
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, arguments), generate

    return convolve


def row_of_tiles(builder, rows: int, vectors: int, given: Arguments, multiply_add, fuses_next: bool,
                 prefetches: bool) -> None:
    """Emits neighbouring tiles. Loops over taps cost a small kernel as much as its stores, so LARGE tiles do one tap
    without."""

    def tiles_of(one_tap: bool):
        tile = MicroKernel(builder, rows, vectors, one_tap, given, multiply_add)
        if fuses_next and one_tap and vectors == 2:
            tile.next_one = MicroKernel(builder, rows, vectors, one_tap, given.next_one(), multiply_add)

        def one_tile(carried):
            if prefetches:
                prefetch_streams(builder, given.streams, rows)
            tile.convolve(*carried)
            return [offset(builder, start, step, rows)
                    for start, step in zip(carried, (given.x_step, given.y_step, given.addend_step), strict=True)]

        repeat(builder, given.tiles, [given.x, given.y, given.addend], one_tile)
        return []

    if vectors == 1 or rows * vectors < LARGE:
        tiles_of(one_tap=False)
        return
    one_tap = builder.icmp_signed("==", builder.mul(given.kh, given.kw), INT64(1))
    choose(builder, one_tap, [], lambda _: tiles_of(one_tap=True))
    choose(builder, builder.not_(one_tap), [], lambda _: tiles_of(one_tap=False))


class MicroKernel:
    """Emits the instructions of one tile."""

    def __init__(self, builder, rows: int, vectors: int, one_tap: bool, given: Arguments, multiply_add) -> None:
        self.builder, self.given = builder, given
        self.next_one: MicroKernel | None = None  # the next convolution, fused into this one
        self.rows, self.registers = rows, registers_of(vectors)
        self.parts = len(self.registers)
        self.sums = sums_of(builder, rows, vectors, one_tap, given, multiply_add)
        low, high = self.unknown(CLAMPED, 0.0, -INFINITY), self.unknown(Flag.RELU6, 6.0, INFINITY)
        self.low = [splat(builder, low, register.lanes) for register in self.registers]
        self.high = [splat(builder, high, register.lanes) for register in self.registers]
        self.bias = builder.select(self.has(Flag.BIAS), given.bias, self.nothing(vectors))
        self.zeros = [everywhere(0.0, register.lanes) for register in self.registers] * rows

    def unknown(self, flags: int, yes: float, no: float):
        """One number where any of the flags is set, else the other; the compiler is kept from knowing which: it would
        leave out what changes nothing."""
        chosen = self.builder.select(self.has(flags), FLOAT(yes), FLOAT(no))
        return self.builder.bitcast(hidden(self.builder, self.builder.bitcast(chosen, INT32)), FLOAT)

    def nothing(self, vectors: int):
        """Address of as many -0 as a bias has values: they change no value that they are added to."""
        number = LANES * vectors
        zeros = ir.Constant(ir.ArrayType(FLOAT, number), [-0.0] * number)
        return self.builder.ptrtoint(cgutils.global_constant(self.builder, "npunet_minus_zero", zeros), INT64)

    def here(self, value):
        return at_this_place(self.builder, value) if TARGET.whole and not TARGET.pairs else value

    def has(self, flags: int):
        """Whether any of the flags is set."""
        return self.builder.icmp_signed("!=", self.builder.and_(self.given.flags, INT64(flags)), INT64(0))

    def convolve(self, x, y, addend) -> None:
        builder, given = self.builder, self.given
        acc = choose(builder, self.has(Flag.CONTINUE), self.zeros, lambda _: self.load_from(y, given.y_step))
        places = self.addresses(addend, given.addend_step)
        acc = self.finish(self.sums(x, acc), lambda k: self.load_register(k, places[k]))
        if self.next_one is not None:
            acc = choose(builder, self.has(Flag.FUSE_NEXT), acc, lambda acc: self.next_one.added_to(acc, addend))
        spread = self.has(Flag.SPREAD)
        choose(builder, spread, [], lambda _: self.spread(y, acc))
        choose(builder, builder.not_(spread), [], lambda _: self.store_at(y, acc))

    def added_to(self, image: list, x) -> list:
        """The convolution of x, and a second image, which is in registers."""
        return self.finish(self.sums(x, self.zeros), lambda k: image[k])

    def finish(self, acc: list, second_image: Callable[[int], ir.Value]) -> list:
        """Bias, clamp and second image, of which a function gives each register, as far as the flags say."""
        builder, parts = self.builder, self.parts

        def image(k, value):
            return builder.fadd(value, second_image(k))

        def add_bias(k, value):
            return builder.fadd(value, load_vector(builder, biases[k % parts], value.type.count))

        def floor(k, value):
            return larger_vector(builder, self.low[k % parts], value)

        def ceiling(k, value):
            return smaller_vector(builder, self.high[k % parts], value)

        def chains(*orders):
            """One order of operations after another: all of it on a value before the next value's turn."""

            def apply(acc):
                for order in orders:
                    for k in range(len(acc)):
                        acc[k] = self.here(acc[k])
                        for operation in order:
                            acc[k] = operation(k, acc[k])
                        acc[k] = self.here(acc[k])
                return acc

            return lambda acc: apply(list(acc))

        biases = [builder.add(self.bias, INT64(register.start)) for register in self.registers]
        clamped, adds = self.has(CLAMPED), self.has(Flag.ADD)
        if parts == 3:
            clamping, adding = chains([add_bias, floor, ceiling, floor]), chains([add_bias, image])
        else:
            clamping, adding = chains([add_bias], [floor, ceiling]), chains([add_bias], [image, ceiling])
        acc = choose(builder, builder.not_(builder.or_(clamped, adds)), acc, chains([add_bias, floor]))
        acc = choose(builder, builder.and_(clamped, builder.not_(adds)), acc, clamping)
        acc = choose(builder, builder.and_(adds, builder.not_(clamped)), acc, adding)
        return choose(builder, builder.and_(clamped, adds), acc, chains([add_bias], [floor, ceiling], [image]))

    def addresses(self, start, step) -> list:
        """Of every register of the tile, position after position."""
        builder, bases = self.builder, every_third(self.builder, self.rows, start, step)
        return [builder.add(position(builder, bases, step, m), INT64(register.start))
                for m in range(self.rows) for register in self.registers]

    def load_from(self, start, step) -> list:
        return [self.load_register(k, place) for k, place in enumerate(self.addresses(start, step))]

    def load_register(self, k: int, place):
        return load_vector(self.builder, place, self.registers[k % self.parts].lanes)

    def store_at(self, start, acc: list) -> list:
        for value, place in zip(acc, self.addresses(start, self.given.y_step), strict=True):
            store_vector(self.builder, value, place)
        return []

    def spread(self, y, acc: list) -> list:
        """Every position at its COPIES_Y x COPIES_X places."""
        builder, given = self.builder, self.given

        def over_copies_x(carried):
            self.store_at(carried[0], acc)
            return [builder.add(carried[0], given.y_col)]

        def over_copies_y(carried):
            repeat(builder, given.copies_x, carried, over_copies_x)
            return [builder.add(carried[0], given.y_row)]

        repeat(builder, given.copies_y, [y], over_copies_y)
        return []

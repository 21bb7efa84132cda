"""A tile of a convolution as machine instructions: positions x vectors of output channels, held in registers.

The sum of each output runs over ky, kx and the input channels in this order, whatever the tile's shape. What follows
the sums (bias, clamp, second image) is ordered for the stores behind it: on Zen 3, twelve of them right after sums that
become ready two in a cycle cost 30 cycles, and nothing where pairs of dependent operations on one value go before. So
some of these operations change nothing: the maximum with minus infinity, the minimum with infinity.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.emit import (
    FLOAT,
    INT64,
    ONE_REGISTER,
    VECTOR_BYTES,
    WIDE,
    along,
    at_this_place,
    choose,
    every_third,
    everywhere,
    hidden,
    larger_vector,
    load_scalar,
    load_vector,
    make_multiply_add,
    offset,
    position,
    repeat,
    smaller_vector,
    splat,
    store_vector,
)
from npunet.engine.jit import inlined
from npunet.engine.opcodes import Flag
from npunet.engine.simd import LANES, Tile, addresses

UNROLLED = 4  # input channels in one pass of the innermost loop
LARGE = 9  # vectors of a tile, two and more a position, whose kernels of one tap have loops of their own
CLAMPED = int(Flag.RELU | Flag.RELU6)
INT32 = ir.IntType(32)
ORDERED = ONE_REGISTER and not WIDE
INFINITY = float("inf")


@inlined
def block_vectors(remaining):
    """Vectors of output channels that the next tile takes: twos, after one three where the number is odd."""
    if remaining == 1:
        return 1
    return 3 if remaining % 2 else 2


class Arguments(NamedTuple):
    """What a row of tiles is told: numbers and byte addresses, all int64 values of the function being emitted."""

    tiles: ir.Value
    x: ir.Value
    x_step: ir.Value
    w: ir.Value
    channels: ir.Value
    kh: ir.Value
    kw: ir.Value
    tap_row: ir.Value
    tap_col: ir.Value
    y: ir.Value
    y_step: ir.Value
    flags: ir.Value
    bias: ir.Value
    addend: ir.Value
    addend_step: ir.Value
    copies_y: ir.Value
    copies_x: ir.Value
    y_row: ir.Value
    y_col: ir.Value


def make_convolve(fused: bool):
    """The intrinsic that convolves neighbouring tiles of literal shape; `arguments` are those of Arguments."""
    multiply_add = make_multiply_add(fused)

    @intrinsic(prefer_literal=True)
    def convolve(typing, rows, vectors, arguments):
        def generate(context, builder, signature, values):
            given = Arguments(*cgutils.unpack_tuple(builder, values[2]))
            row_of_tiles(builder, rows.literal_value, vectors.literal_value, given, multiply_add)
            return context.get_dummy_value()

        return types.void(rows, vectors, arguments), generate

    return convolve


def unknown(builder, condition, yes: float, no: float):
    """One number or the other, which the compiler is kept from knowing: it would leave out what changes nothing."""
    chosen = builder.bitcast(builder.select(condition, FLOAT(yes), FLOAT(no)), INT32)
    return builder.bitcast(hidden(builder, chosen), FLOAT)


def row_of_tiles(builder, rows: int, vectors: int, given: Arguments, multiply_add) -> None:
    """Emits neighbouring tiles. Where registers are WIDE, three vectors are a pair and, behind it, the third, and four
    are two blocks of two. Loops over taps cost a small kernel as much as its stores, so LARGE tiles do one tap without.
    """
    block = 2 if vectors == 4 else vectors

    def tiles_of(one_tap: bool):
        tiles = [Emission(builder, rows, part, first, block, one_tap, given, multiply_add)
                 for first, part in parts_of(vectors)]

        def one_tile(carried):
            for tile in tiles:
                tile.convolve(*carried)
            x, y, addend = carried
            return [offset(builder, x, given.x_step, rows), offset(builder, y, given.y_step, rows),
                    offset(builder, addend, given.addend_step, rows)]

        repeat(builder, given.tiles, [given.x, given.y, given.addend], one_tile)
        return []

    if vectors == 1 or rows * vectors < LARGE:
        tiles_of(one_tap=False)
        return
    one_tap = builder.icmp_signed("==", builder.mul(given.kh, given.kw), INT64(1))
    choose(builder, one_tap, [], lambda _: tiles_of(one_tap=True))
    choose(builder, builder.not_(one_tap), [], lambda _: tiles_of(one_tap=False))


def parts_of(vectors: int) -> list[tuple[int, int]]:
    """The first and the number of the vectors that are summed together."""
    return [(0, 2), (2, 1)] if WIDE and vectors == 3 else [(0, vectors)]


class Emission:
    """Emits the instructions of one tile: `vectors` vectors of output channels, the first of them number `first` of a
    block of weights, which has `block` of them."""

    def __init__(self, builder, rows: int, vectors: int, first: int, block: int, one_tap: bool, given: Arguments,
                 multiply_add) -> None:
        self.builder, self.one_tap, self.given, self.multiply_add = builder, one_tap, given, multiply_add
        self.tile = tile = Tile(rows, vectors)
        self.shift, self.w_step = INT64(VECTOR_BYTES * first), INT64(VECTOR_BYTES * block)
        self.bases = -(-tile.rows // 3)
        self.apart = self.weights_apart()
        self.fours = builder.sdiv(given.channels, INT64(UNROLLED))
        self.rest = builder.srem(given.channels, INT64(UNROLLED))
        self.low = splat(builder, unknown(builder, self.asked(CLAMPED), 0.0, -INFINITY), tile.lanes)
        self.high = splat(builder, unknown(builder, self.asked(Flag.RELU6), 6.0, INFINITY), tile.lanes)
        self.bias = builder.select(self.asked(Flag.BIAS), builder.add(given.bias, self.shift), self.nothing())

    def weights_apart(self):
        """Bytes between the weights of a position's registers. A pair is a block of its own; the next comes behind all
        its taps."""
        if self.tile.lanes == LANES:
            return INT64(VECTOR_BYTES)
        taps = self.builder.mul(self.given.kh, self.given.kw)
        return self.builder.mul(self.builder.mul(taps, self.given.channels), INT64(2 * VECTOR_BYTES))

    def nothing(self):
        """Address of as many -0 as a bias has values: they change no value that they are added to."""
        number = LANES * self.tile.vectors
        zeros = ir.Constant(ir.ArrayType(FLOAT, number), [-0.0] * number)
        return self.builder.ptrtoint(cgutils.global_constant(self.builder, "npunet_minus_zero", zeros), INT64)

    def here(self, value):
        return at_this_place(self.builder, value) if ORDERED else value

    def asked(self, flags: int):
        """Whether any of the flags is set."""
        return self.builder.icmp_signed("!=", self.builder.and_(self.given.flags, INT64(flags)), INT64(0))

    def convolve(self, x, y, addend) -> None:
        builder = self.builder
        y, addend = builder.add(y, self.shift), builder.add(addend, self.shift)
        acc = [everywhere(0.0, self.tile.lanes)] * self.tile.size
        acc = choose(builder, self.asked(Flag.CONTINUE), acc, lambda _: self.load_from(y, self.given.y_step))
        acc = self.finish(self.sum_taps(x, acc), addend)
        spread = self.asked(Flag.SPREAD)
        choose(builder, spread, [], lambda _: self.spread(y, acc))
        choose(builder, builder.not_(spread), [], lambda _: self.store_at(y, acc))

    def sum_taps(self, x, acc: list) -> list:
        """acc + all taps and channels."""
        builder, given, w = self.builder, self.given, self.builder.add(self.given.w, self.shift)
        if self.one_tap:
            return self.over_channels([x, w, *acc])[1:]

        def over_kx(carried):
            return [builder.add(carried[0], given.tap_col), *self.over_channels(carried)]

        def over_ky(carried):
            row, *others = carried
            _, *others = repeat(builder, given.kw, [row, *others], over_kx)
            return [builder.add(row, given.tap_row), *others]

        _, _, *acc = repeat(builder, given.kh, [x, w, *acc], over_ky)
        return acc

    def over_channels(self, carried: list) -> list:
        """From the addresses of a tap's inputs and weights, and acc, to the next weights' address and acc."""
        builder, (x, *w_and_acc) = self.builder, carried
        bases = every_third(builder, self.tile.rows, x, self.given.x_step)
        carried = repeat(builder, self.fours, [*bases, *w_and_acc], self.over_four_channels)
        return repeat(builder, self.rest, carried, self.over_channel)[self.bases :]

    def over_channel(self, carried: list) -> list:
        """acc[m][v] = acc[m][v] + x[m] * w[v]."""
        builder, tile = self.builder, self.tile
        bases, w, acc = carried[: self.bases], carried[self.bases], carried[self.bases + 1 :]
        weights = [self.load_part(offset(builder, w, self.apart, v)) for v in range(tile.parts)]
        for m in range(tile.rows):
            scalar = splat(builder, load_scalar(builder, position(builder, bases, self.given.x_step, m)), tile.lanes)
            for v, weight in enumerate(weights):
                k = m * tile.parts + v
                acc[k] = self.multiply_add(builder, scalar, weight, acc[k])
        bases = [builder.add(base, INT64(4)) for base in bases]
        return [*bases, builder.add(w, self.w_step), *acc]

    def over_four_channels(self, carried: list) -> list:
        for _ in range(UNROLLED):
            carried = self.over_channel(carried)
        return carried

    def finish(self, acc: list, addend) -> list:
        """Bias, clamp and second image, as far as they are asked for."""
        builder, parts = self.builder, self.tile.parts

        def image(k, value):
            return builder.fadd(value, self.load_part(others[k]))

        def add_bias(k, value):
            return builder.fadd(value, self.load_part(biases[k % parts]))

        def floor(_, value):
            return larger_vector(builder, self.low, value)

        def ceiling(_, value):
            return smaller_vector(builder, self.high, value)

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

        biases = self.parts(self.bias)
        others = list(addresses(builder, self.tile, addend, self.given.addend_step))
        clamped, adds = self.asked(CLAMPED), self.asked(Flag.ADD)
        if parts == 3:
            clamping, adding = chains([add_bias, floor, ceiling, floor]), chains([add_bias, image])
        else:
            clamping, adding = chains([add_bias], [floor, ceiling]), chains([add_bias], [image, ceiling])
        acc = choose(builder, builder.not_(builder.or_(clamped, adds)), acc, chains([add_bias, floor]))
        acc = choose(builder, builder.and_(clamped, builder.not_(adds)), acc, clamping)
        acc = choose(builder, builder.and_(adds, builder.not_(clamped)), acc, adding)
        return choose(builder, builder.and_(clamped, adds), acc, chains([add_bias], [floor, ceiling], [image]))

    def load_from(self, start, step) -> list:
        return [self.load_part(place) for place in addresses(self.builder, self.tile, start, step)]

    def load_part(self, place):
        return load_vector(self.builder, place, self.tile.lanes)

    def parts(self, start) -> list:
        """Addresses of what stands for one position."""
        return along(self.builder, start, self.tile.parts, self.tile.lanes)

    def store_at(self, start, acc: list) -> list:
        for value, place in zip(acc, addresses(self.builder, self.tile, start, self.given.y_step), strict=True):
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

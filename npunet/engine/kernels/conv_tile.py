"""A tile of a convolution as machine instructions: positions x vectors of output channels, held in registers.

The sum of each output runs over ky, kx and the input channels in this order, whatever the tile's shape. What follows
the sums (bias, clamp, second image) is ordered for the stores behind it: on Zen 3, twelve of them right after sums that
become ready two in a cycle cost 30 cycles, and nothing where pairs of dependent operations on one value go before. So
some of these operations change nothing: the maximum with minus infinity, the minimum with infinity.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import (
    FLOAT,
    INT64,
    TARGET,
    VECTOR_BYTES,
    at_this_place,
    choose,
    dispatch,
    every_third,
    everywhere,
    halves,
    hidden,
    join,
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
from npunet.engine.codegen.jit import inlined
from npunet.engine.kernels.prefetch import prefetch_streams
from npunet.engine.plan.opcodes import Flag
from npunet.engine.plan.pack import block_of
from npunet.engine.target import LANES, Shapes

UNROLLED = 4  # input channels in one pass of the innermost loop
LARGE = 9  # vectors of a tile, two and more a position, whose kernels of one tap have loops of their own
CLAMPED = int(Flag.RELU | Flag.RELU6)
INT16, INT32 = ir.IntType(16), ir.IntType(32)
INFINITY = float("inf")


block_vectors = inlined(block_of)


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
    streams: ir.Value  # prefetch streams, see prefetch.prefetch_streams
    next_w: ir.Value  # of the next convolution, fused into this micro-kernel: one tap, of the image at addend
    next_channels: ir.Value
    next_flags: ir.Value
    next_bias: ir.Value

    def next_one(self) -> Arguments:
        """Those of the next convolution, fused into this micro-kernel."""
        return self._replace(x_step=self.addend_step, w=self.next_w, channels=self.next_channels,
                             flags=self.next_flags, bias=self.next_bias)


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


class Register(NamedTuple):
    """Where in a position's values a register of a tile begins, in bytes, and how many values it holds."""

    start: int
    lanes: int


def registers_of(vectors: int) -> list[Register]:
    """What a position takes: where a register holds a pair, as many pairs of vectors as there are, and what is left."""
    paired = vectors // 2 * 2 if TARGET.pairs else 0
    return [Register(VECTOR_BYTES * v, 2 * LANES) for v in range(0, paired, 2)] + [
        Register(VECTOR_BYTES * v, LANES) for v in range(paired, vectors)]


class MicroKernel:
    """Emits the instructions of one tile."""

    def __init__(self, builder, rows: int, vectors: int, one_tap: bool, given: Arguments, multiply_add) -> None:
        self.builder, self.one_tap, self.given, self.multiply_add = builder, one_tap, given, multiply_add
        self.next_one: MicroKernel | None = None  # the next convolution, fused into this one
        self.rows, self.registers = rows, registers_of(vectors)
        self.parts, self.widths = len(self.registers), sorted({register.lanes for register in self.registers})
        # With three vectors and two units for full registers: positions two by two, whose third vectors share one.
        self.couples = rows // 2 if TARGET.load_bound and vectors == 3 else 0
        if self.couples:  # a mask that the compiler does not know: of a known one it makes permutations, on fewer units
            mask = hidden(builder, INT16(2**LANES - 1))
            self.first_half = builder.bitcast(mask, ir.VectorType(ir.IntType(1), 2 * LANES))
        self.bases = -(-rows // 3)  # addresses from which an instruction reaches all positions, see emit.position
        self.block = 2 if vectors == 4 else vectors  # vectors of a block of weights
        self.values_of_block = builder.mul(builder.mul(given.kh, given.kw), given.channels)  # of each lane
        self.fours = builder.sdiv(given.channels, INT64(UNROLLED))
        self.rest = builder.srem(given.channels, INT64(UNROLLED))
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
        acc = self.finish(self.sum_taps(x, acc), lambda k: self.load_register(k, places[k]))
        if self.next_one is not None:
            acc = choose(builder, self.has(Flag.FUSE_NEXT), acc, lambda acc: self.next_one.added_to(acc, addend))
        spread = self.has(Flag.SPREAD)
        choose(builder, spread, [], lambda _: self.spread(y, acc))
        choose(builder, builder.not_(spread), [], lambda _: self.store_at(y, acc))

    def added_to(self, image: list, x) -> list:
        """The convolution of x, and a second image, which is in registers."""
        return self.finish(self.sum_taps(x, self.zeros), lambda k: image[k])

    def sum_taps(self, x, acc: list) -> list:
        """acc + all taps and channels."""
        return self.uncoupled(self.sum_coupled(x, self.coupled(acc)))

    def coupled(self, acc: list) -> list:
        """The registers of a tile with the third vectors of each couple of positions as one."""
        whole, third = acc[0::2], acc[1::2]
        if not self.couples:
            return acc
        joined = [join(self.builder, *third[2 * k : 2 * k + 2]) for k in range(self.couples)]
        return [*whole, *joined, *third[2 * self.couples :]]

    def uncoupled(self, acc: list) -> list:
        """The same back."""
        if not self.couples:
            return acc
        whole, third = acc[: self.rows], acc[self.rows :]
        parts = [part for value in third[: self.couples] for part in halves(self.builder, value)]
        return [value for each in zip(whole, [*parts, *third[self.couples :]], strict=True) for value in each]

    def sum_coupled(self, x, acc: list) -> list:
        """acc + all taps and channels, of coupled registers."""
        builder, given, w = self.builder, self.given, self.given.w
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
        bases = every_third(builder, self.rows, x, self.given.x_step)
        carried = repeat(builder, self.fours, [*bases, *w_and_acc], lambda carried: self.over(UNROLLED, carried))
        return repeat(builder, self.rest, carried, lambda carried: self.over(1, carried))[self.bases :]

    def over(self, channels: int, carried: list) -> list:
        """acc[m][v] = acc[m][v] + x[m] * w[v], for so many channels.

        Registers of two widths each read the inputs by addresses of their own: LLVM would load what it takes to be the
        same value once, and broadcasting it by an instruction of its own costs more than reading it twice. It is kept
        from holding an address for every position, too.
        """
        if self.couples:
            return self.over_couples(channels, carried)
        builder = self.builder
        bases, w, acc = carried[: self.bases], carried[self.bases], carried[self.bases + 1 :]
        own = {lanes: [hidden(builder, base) for base in bases] for lanes in self.widths}
        for channel in range(channels):
            here = builder.add(w, INT64(VECTOR_BYTES * self.block * channel))
            weights = [load_vector(builder, self.weights_of(register, here), register.lanes)
                       for register in self.registers]
            for lanes in self.widths:
                for m in range(self.rows):
                    at = builder.add(position(builder, own[lanes], self.given.x_step, m), INT64(4 * channel))
                    value = splat(builder, load_scalar(builder, at), lanes)
                    for v, weight in enumerate(weights):
                        if weight.type.count == lanes:
                            k = m * self.parts + v
                            acc[k] = self.multiply_add(builder, value, weight, acc[k])
        bases = [builder.add(base, INT64(4 * channels)) for base in bases]
        return [*bases, builder.add(w, INT64(VECTOR_BYTES * self.block * channels)), *acc]

    def over_couples(self, channels: int, carried: list) -> list:
        """The same of coupled registers: 12 multiplications of full registers for 8 positions, where 8 of full and 8 of
        half ones would take as long as 16."""
        builder, rows = self.builder, self.rows
        bases, w, acc = carried[: self.bases], carried[self.bases], carried[self.bases + 1 :]
        for channel in range(channels):
            here = builder.add(w, INT64(VECTOR_BYTES * self.block * channel))
            whole, third = (load_vector(builder, self.weights_of(register, here), register.lanes)
                            for register in self.registers)
            both = join(builder, third, third)
            places = [builder.add(position(builder, bases, self.given.x_step, m), INT64(4 * channel))
                      for m in range(rows)]
            values = [splat(builder, load_scalar(builder, place), 2 * LANES) for place in places]
            for m, value in enumerate(values):
                acc[m] = self.multiply_add(builder, value, whole, acc[m])
                if m % 2:
                    k = rows + m // 2
                    couple = builder.select(self.first_half, values[m - 1], value)
                    acc[k] = self.multiply_add(builder, couple, both, acc[k])
            if rows % 2:
                acc[-1] = self.multiply_add(builder, halves(builder, values[-1])[0], third, acc[-1])
        bases = [builder.add(base, INT64(4 * channels)) for base in bases]
        return [*bases, builder.add(w, INT64(VECTOR_BYTES * self.block * channels)), *acc]

    def weights_of(self, register: Register, w):
        """Address of a register's weights. A second pair is a block of its own, behind all taps of the first."""
        if register.start < VECTOR_BYTES * self.block:
            return self.builder.add(w, INT64(register.start))
        return offset(self.builder, w, self.values_of_block, register.start)

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

"""The sums of a register tile, which stay in registers.

The sum of each output runs over ky, kx and the input channels in this order, whatever the tile's shape.
"""

from __future__ import annotations

from llvmlite import ir

from npunet.engine.codegen.emit import (
    INT64,
    TARGET,
    VECTOR_BYTES,
    every_third,
    halves,
    hidden,
    join,
    load_scalar,
    load_vector,
    offset,
    position,
    repeat,
    splat,
)
from npunet.engine.kernels.tile import Arguments, Register, registers_of
from npunet.engine.target import LANES

UNROLLED = 4  # input channels in one pass of the innermost loop
INT16 = ir.IntType(16)


def sums_of(builder, rows: int, vectors: int, one_tap: bool, given: Arguments, multiply_add) -> TileSums:
    """Those of so many positions and vectors of filters, with one tap or with loops over taps."""
    coupled = TARGET.load_bound and vectors == 3 and rows > 1
    return (CoupledSums if coupled else TileSums)(builder, rows, vectors, one_tap, given, multiply_add)


class TileSums:
    """Emits acc + all taps and channels; acc holds the registers of a position, position after position."""

    def __init__(self, builder, rows: int, vectors: int, one_tap: bool, given: Arguments, multiply_add) -> None:
        self.builder, self.one_tap, self.given, self.multiply_add = builder, one_tap, given, multiply_add
        self.rows, self.registers = rows, registers_of(vectors)
        self.parts, self.widths = len(self.registers), sorted({register.lanes for register in self.registers})
        self.bases = -(-rows // 3)  # addresses from which an instruction reaches all positions, see emit.position
        self.block = 2 if vectors == 4 else vectors  # vectors of a block of weights
        self.values_of_block = builder.mul(builder.mul(given.kh, given.kw), given.channels)  # of each lane
        self.fours = builder.sdiv(given.channels, INT64(UNROLLED))
        self.rest = builder.srem(given.channels, INT64(UNROLLED))

    def __call__(self, x, acc: list) -> list:
        """acc + all taps and channels, from the address of the first tap's input."""
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

    def weights_of(self, register: Register, w):
        """Address of a register's weights. A second pair is a block of its own, behind all taps of the first."""
        if register.start < VECTOR_BYTES * self.block:
            return self.builder.add(w, INT64(register.start))
        return offset(self.builder, w, self.values_of_block, register.start)


class CoupledSums(TileSums):
    """Of three vectors, where two units multiply full registers: positions two by two, whose third vectors share one.

    These are 12 multiplications for 8 positions, where 8 of full and 8 of half registers would take as long as 16.
    """

    def __init__(self, builder, rows: int, vectors: int, one_tap: bool, given: Arguments, multiply_add) -> None:
        super().__init__(builder, rows, vectors, one_tap, given, multiply_add)
        self.couples = rows // 2
        # A mask that the compiler does not know: of a known one it makes permutations, which fewer units do.
        mask = hidden(builder, INT16(2**LANES - 1))
        self.first_half = builder.bitcast(mask, ir.VectorType(ir.IntType(1), 2 * LANES))

    def __call__(self, x, acc: list) -> list:
        return self.uncoupled(super().__call__(x, self.coupled(acc)))

    def coupled(self, acc: list) -> list:
        """The positions' first registers, those that their third vectors share, and an odd position's."""
        whole, third = acc[0::2], acc[1::2]
        joined = [join(self.builder, *third[2 * k : 2 * k + 2]) for k in range(self.couples)]
        return [*whole, *joined, *third[2 * self.couples :]]

    def uncoupled(self, acc: list) -> list:
        """The same back."""
        whole, third = acc[: self.rows], acc[self.rows :]
        parts = [part for value in third[: self.couples] for part in halves(self.builder, value)]
        return [value for each in zip(whole, [*parts, *third[self.couples :]], strict=True) for value in each]

    def over(self, channels: int, carried: list) -> list:
        """The same of coupled registers."""
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

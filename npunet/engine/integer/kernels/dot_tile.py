"""The micro-kernel of integer convolutions: positions x vectors of filters whose int32 sums stay in registers.

Every step multiplies a pair of neighbouring channels, broadcast, with the weights of both for a vector of filters. What
a tile gives goes to scratch, [vector][position][lane]. Positions behind a row's end are computed like others: whatever
stands in memory there does no harm, and nobody reads the sums.
"""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64, TARGET, dispatch, every_third, hidden, offset, position, repeat
from npunet.engine.codegen.integers import (
    INT16,
    INT32,
    all_lanes,
    dot,
    halves,
    load,
    load_one,
    splat,
    store,
    vector_of,
    widen,
)
from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.integer.kernels.vectors import aligned_stack
from npunet.engine.plan.pack import block_of
from npunet.engine.target import LANES, Shapes

UNROLLED = 4  # pairs of channels in one pass of the innermost loop
WORD = 4  # bytes of a sum, of a pair of inputs, of a pair of weights
VECTOR_WORDS = WORD * LANES

block_vectors = inlined(block_of)


class Arguments(NamedTuple):
    """What a row of tiles is told: numbers and byte addresses, all int64 values of the function being emitted.

    plane : bytes from the sums of one vector to those of the next
    """

    tiles: ir.Value
    x: ir.Value
    x_step: ir.Value
    w: ir.Value
    pairs: ir.Value
    kh: ir.Value
    kw: ir.Value
    tap_row: ir.Value
    tap_col: ir.Value
    bias: ir.Value
    sums: ir.Value
    plane: ir.Value


@intrinsic
def dot_tiles(typing, rows, vectors, arguments):
    """Neighbouring tiles of one of the target's shapes; `arguments` are those of Arguments."""

    def generate(context, builder, signature, values):
        given = Arguments(*cgutils.unpack_tuple(builder, values[2]))
        dispatch(builder, values[0], values[1], TARGET.dots,
                 lambda rows, vectors: row_of_tiles(builder, rows, vectors, given))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, arguments), generate


def registers_of(vectors: int) -> list[tuple[int, int]]:
    """(first lane, lanes) of each register that the filters of one position take."""
    total, registers, start = vectors * LANES, [], 0
    while start < total:
        lanes = min(TARGET.register, total - start)
        registers.append((start, lanes))
        start += lanes
    return registers


def row_of_tiles(builder, rows: int, vectors: int, given: Arguments) -> None:
    """Emits neighbouring tiles."""
    registers, bases_count = registers_of(vectors), -(-rows // 3)
    parts = len(registers)
    fours, rest = builder.sdiv(given.pairs, INT64(UNROLLED)), builder.srem(given.pairs, INT64(UNROLLED))
    biases = [load(builder, builder.add(given.bias, INT64(WORD * start)), INT32, lanes) for start, lanes in registers]

    def step(pairs: int, carried: list) -> list:
        """acc[m][v] += the pair's two products, for so many pairs of channels."""
        bases, w, acc = carried[:bases_count], carried[bases_count], carried[bases_count + 1 :]
        for pair in range(pairs):
            here = builder.add(w, INT64(VECTOR_WORDS * vectors * pair))
            weights = [load(builder, builder.add(here, INT64(WORD * start)), INT16, 2 * lanes)
                       for start, lanes in registers]
            for m in range(rows):
                at = builder.add(position(builder, bases, given.x_step, m), INT64(WORD * pair))
                value = load_one(builder, at, INT32)
                for v, (_, lanes) in enumerate(registers):
                    x = builder.bitcast(splat(builder, value, lanes), vector_of(INT16, 2 * lanes))
                    acc[m * parts + v] = dot(builder, acc[m * parts + v], x, weights[v])
        bases = [builder.add(base, INT64(WORD * pairs)) for base in bases]
        return [*bases, builder.add(w, INT64(VECTOR_WORDS * vectors * pairs)), *acc]

    def over_pairs(x, carried: list) -> list:
        """From a tap's address, and the address of its weights and acc, to those behind it."""
        bases = every_third(builder, rows, x, given.x_step)
        carried = repeat(builder, fours, [*bases, *carried], lambda carried: step(UNROLLED, carried))
        return repeat(builder, rest, carried, lambda carried: step(1, carried))[bases_count:]

    def over_kx(carried):
        x, *others = carried
        return [builder.add(x, given.tap_col), *over_pairs(x, others)]

    def over_ky(carried):
        row, *others = carried
        return [builder.add(row, given.tap_row), *repeat(builder, given.kw, [row, *others], over_kx)[1:]]

    def one_tile(carried):
        x, sums = carried
        acc = repeat(builder, given.kh, [x, given.w, *biases * rows], over_ky)[2:]
        store_tile(builder, acc, registers, sums, given.plane)
        return [offset(builder, x, given.x_step, rows), builder.add(sums, INT64(VECTOR_WORDS * rows))]

    repeat(builder, given.tiles, [given.x, given.sums], one_tile)


def row_of_long_tiles(builder, vectors: int, given: Arguments) -> None:
    """Emits tiles of one position whose sums are kept in 64 bits, each tap's in 32; the bias is not in them."""
    zeros = [all_lanes(vector_of(INT32), 0)] * vectors

    def over_pairs(carried):
        x, w, *acc = carried
        pair = builder.bitcast(splat(builder, load_one(builder, x, INT32)), vector_of(INT16, 2 * LANES))
        for v in range(vectors):
            weights = load(builder, builder.add(w, INT64(VECTOR_WORDS * v)), INT16, 2 * LANES)
            acc[v] = dot(builder, acc[v], pair, weights)
        return [builder.add(x, INT64(WORD)), builder.add(w, INT64(VECTOR_WORDS * vectors)), *acc]

    def over_kx(carried):
        x, w, *long = carried
        _, w_after, *acc = repeat(builder, given.pairs, [x, w, *zeros], over_pairs)
        long = [builder.add(total, widen(builder, tap, INT64)) for total, tap in zip(long, acc, strict=True)]
        return [builder.add(x, given.tap_col), w_after, *long]

    def over_ky(carried):
        row, *others = carried
        return [builder.add(row, given.tap_row), *repeat(builder, given.kw, [row, *others], over_kx)[1:]]

    def one_position(carried):
        x, sums = carried
        long = repeat(builder, given.kh, [x, given.w, *[all_lanes(vector_of(INT64), 0)] * vectors], over_ky)[2:]
        for v, value in enumerate(long):
            store(builder, value, offset(builder, sums, given.plane, v))
        return [builder.add(x, given.x_step), builder.add(sums, INT64(2 * VECTOR_WORDS))]

    repeat(builder, given.tiles, [given.x, given.sums], one_position)


@intrinsic
def long_tiles(typing, vectors, arguments):
    """Positions of 64-bit sums; `arguments` are those of Arguments, `tiles` positions."""

    def generate(context, builder, signature, values):
        given = Arguments(*cgutils.unpack_tuple(builder, values[1]))
        shapes = tuple((count, (1,)) for count, _ in TARGET.dots)
        dispatch(builder, INT64(1), values[0], shapes,
                 lambda rows, vectors: row_of_long_tiles(builder, vectors, given))
        return context.get_dummy_value()

    return types.void(types.intp, arguments), generate


def store_tile(builder, acc: list, registers: list[tuple[int, int]], sums, plane) -> None:
    """Every register where its lanes belong: [vector][position][lane]."""
    starts = {}
    for k, value in enumerate(acc):
        m, (lane, lanes) = k // len(registers), registers[k % len(registers)]
        parts = halves(builder, value) if lanes > LANES else [value]
        for number, part in enumerate(parts):
            first = lane + number * LANES
            vector = first // LANES
            if vector not in starts:
                starts[vector] = hidden(builder, offset(builder, sums, plane, vector))
            store(builder, part, builder.add(starts[vector], INT64(VECTOR_WORDS * m + WORD * (first % LANES))))


def make_cut(shapes: Shapes):
    """Positions of a tile and a number of tiles, twice, that cover so many positions, and few more."""
    (_, one), (_, two), (_, three) = shapes
    most_one, most_two, most_three = one[0], two[0], three[0]

    def ends(sizes):
        """The smallest tile that holds what is left of a largest one: 1, 2 ... positions."""
        return tuple(min(size for size in sizes if size >= left) for left in range(1, sizes[0] + 1))

    ends_one, ends_two, ends_three = ends(one), ends(two), ends(three)

    @inlined
    def cut(count, vectors):
        if vectors == 1:
            most = most_one
        elif vectors == 2:
            most = most_two
        else:
            most = most_three
        whole = count // most
        left = count - whole * most
        last = 0
        if left > 0:
            if vectors == 1:
                last = ends_one[left - 1]
            elif vectors == 2:
                last = ends_two[left - 1]
            else:
                last = ends_three[left - 1]
        return (most, whole), (last, min(last, 1))

    return cut


cut = make_cut(TARGET.dots)


@jit
def dot_row(wide, count, vectors, x, x_step, w, pairs, kh, kw, tap_row, tap_col, bias, sums, plane):
    """The sums of `count` neighbouring positions of a row, for all vectors of filters."""
    stand_alone()
    aligned_stack()
    done = 0
    while done < vectors:
        block = block_vectors(vectors - done)
        if wide > 0:
            long_tiles(block, (count, x, x_step, w, pairs, kh, kw, tap_row, tap_col, bias, sums, plane))
        else:
            at = 0
            for rows, tiles in cut(count, block):
                if tiles > 0:
                    dot_tiles(rows, block, (tiles, x + at * x_step, x_step, w, pairs, kh, kw, tap_row, tap_col, bias,
                                            sums + VECTOR_WORDS * at, plane))
                at += rows * tiles
        done += block
        w += kh * kw * pairs * VECTOR_WORDS * block
        bias += VECTOR_WORDS * block
        sums += plane * block

"""The micro-kernel of integer convolutions: positions x vectors of filters whose int32 sums stay in registers.

Every step multiplies a word of neighbouring channels, broadcast, with the weights of all of them for a vector of
filters: a pair of 16-bit integers, or four bytes. What a tile gives goes to scratch, [vector][position][lane].
Positions behind a row's end are computed like others: whatever stands in memory there does no harm, and nobody reads
the sums.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64, TARGET, dispatch, every_third, halves, hidden, offset, position, repeat
from npunet.engine.codegen.integers import (
    INT8,
    INT16,
    INT32,
    all_lanes,
    byte_dot,
    dot,
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
from npunet.engine.plan.pack import block_of, byte_block_of
from npunet.engine.target import LANES, Shapes

UNROLLED = 4  # words of channels in one pass of the innermost loop
WORD = 4  # bytes of a sum, of a word of inputs, of a word of weights
VECTOR_WORDS = WORD * LANES

block_vectors = inlined(block_of)


class Product(NamedTuple):
    """What a word is made of: its elements, how many, the instruction that multiplies them, and its tiles."""

    element: ir.IntType
    elements: int
    emit: Callable[..., Any]
    shapes: Shapes


PAIRS = Product(INT16, 2, dot, TARGET.dots)
BYTES = Product(INT8, 4, byte_dot, TARGET.byte_dots)


class Arguments(NamedTuple):
    """What a row of tiles is told: numbers and byte addresses, all int64 values of the function being emitted.

    plane : bytes from the sums of one vector to those of the next
    doublings : left shifts of the sums in the end
    """

    tiles: ir.Value
    x: ir.Value
    x_step: ir.Value
    w: ir.Value
    words: ir.Value
    kh: ir.Value
    kw: ir.Value
    tap_row: ir.Value
    tap_col: ir.Value
    bias: ir.Value
    sums: ir.Value
    plane: ir.Value
    doublings: ir.Value


def make_dot_tiles(product: Product):
    """The intrinsic for neighbouring tiles of one of the product's shapes; `arguments` are those of Arguments."""

    @intrinsic
    def dot_tiles(typing, rows, vectors, arguments):
        def generate(context, builder, signature, values):
            given = Arguments(*cgutils.unpack_tuple(builder, values[2]))
            dispatch(builder, values[0], values[1], product.shapes,
                     lambda rows, vectors: row_of_tiles(builder, product, rows, vectors, given))
            return context.get_dummy_value()

        return types.void(types.intp, types.intp, arguments), generate

    return dot_tiles


def registers_of(vectors: int) -> list[tuple[int, int]]:
    """(first lane, lanes) of each register that the filters of one position take."""
    total, registers, start = vectors * LANES, [], 0
    while start < total:
        lanes = min(TARGET.register, total - start)
        registers.append((start, lanes))
        start += lanes
    return registers


def row_of_tiles(builder, product: Product, rows: int, vectors: int, given: Arguments) -> None:
    """Emits neighbouring tiles."""
    registers, bases_count = registers_of(vectors), -(-rows // 3)
    parts = len(registers)
    fours, rest = builder.sdiv(given.words, INT64(UNROLLED)), builder.srem(given.words, INT64(UNROLLED))
    biases = [load(builder, builder.add(given.bias, INT64(WORD * start)), INT32, lanes) for start, lanes in registers]

    def step(words: int, carried: list) -> list:
        """acc[m][v] += the word's products, for so many words of channels."""
        bases, w, acc = carried[:bases_count], carried[bases_count], carried[bases_count + 1 :]
        for word in range(words):
            here = builder.add(w, INT64(VECTOR_WORDS * vectors * word))
            weights = [load(builder, builder.add(here, INT64(WORD * start)), product.element, product.elements * lanes)
                       for start, lanes in registers]
            for m in range(rows):
                at = builder.add(position(builder, bases, given.x_step, m), INT64(WORD * word))
                value = load_one(builder, at, INT32)
                for v, (_, lanes) in enumerate(registers):
                    x = builder.bitcast(splat(builder, value, lanes), weights[v].type)
                    acc[m * parts + v] = product.emit(builder, acc[m * parts + v], x, weights[v])
        bases = [builder.add(base, INT64(WORD * words)) for base in bases]
        return [*bases, builder.add(w, INT64(VECTOR_WORDS * vectors * words)), *acc]

    def over_words(x, carried: list) -> list:
        """From a tap's address, and the address of its weights and acc, to those behind it."""
        bases = every_third(builder, rows, x, given.x_step)
        carried = repeat(builder, fours, [*bases, *carried], lambda carried: step(UNROLLED, carried))
        return repeat(builder, rest, carried, lambda carried: step(1, carried))[bases_count:]

    def over_kx(carried):
        x, *others = carried
        return [builder.add(x, given.tap_col), *over_words(x, others)]

    def over_ky(carried):
        row, *others = carried
        return [builder.add(row, given.tap_row), *repeat(builder, given.kw, [row, *others], over_kx)[1:]]

    def one_tile(carried):
        x, sums = carried
        acc = repeat(builder, given.kh, [x, given.w, *biases * rows], over_ky)[2:]
        if product is BYTES:
            acc = [builder.shl(value, splat(builder, builder.trunc(given.doublings, INT32), value.type.count))
                   for value in acc]
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
        _, w_after, *acc = repeat(builder, given.words, [x, w, *zeros], over_pairs)
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
    most_of = tuple(sizes[0] for _, sizes in shapes)
    room = max(most_of)
    # The smallest tile that holds what is left of a largest one: 1, 2 ... positions; a row for each number of vectors.
    ends = tuple(min(size for size in sizes if size >= min(left, sizes[0]))
                 for _, sizes in shapes for left in range(1, room + 1))

    @inlined
    def cut(count, vectors):
        most = most_of[vectors - 1]
        whole = count // most
        left = count - whole * most
        last = ends[room * (vectors - 1) + left - 1] if left > 0 else 0
        return (most, whole), (last, min(last, 1))

    return cut


def make_dot_row(product: Product, block_vectors):
    """The sums of `count` neighbouring positions of a row, for all vectors of filters."""
    dot_tiles, cut = make_dot_tiles(product), make_cut(product.shapes)

    @jit
    def dot_row(count, vectors, x, x_step, w, words, kh, kw, tap_row, tap_col, bias, sums, plane, doublings):
        stand_alone()
        aligned_stack()
        done = 0
        while done < vectors:
            block, at = block_vectors(vectors - done), 0
            for rows, tiles in cut(count, block):
                if tiles > 0:
                    dot_tiles(rows, block, (tiles, x + at * x_step, x_step, w, words, kh, kw, tap_row, tap_col, bias,
                                            sums + VECTOR_WORDS * at, plane, doublings))
                at += rows * tiles
            done += block
            w += kh * kw * words * VECTOR_WORDS * block
            bias += VECTOR_WORDS * block
            sums += plane * block

    return dot_row


pair_row = make_dot_row(PAIRS, block_vectors)
byte_row = make_dot_row(BYTES, inlined(byte_block_of)) if TARGET.byte_dot else None


@jit
def long_row(count, vectors, x, x_step, w, words, kh, kw, tap_row, tap_col, bias, sums, plane):
    """The same in 64 bits."""
    stand_alone()
    aligned_stack()
    done = 0
    while done < vectors:
        block = block_vectors(vectors - done)
        long_tiles(block, (count, x, x_step, w, words, kh, kw, tap_row, tap_col, bias, sums, plane, 0))
        done += block
        w += kh * kw * words * VECTOR_WORDS * block
        sums += plane * block

"""Depthwise integer convolutions of a row of positions, one or two vectors of channels at a time: sums to scratch.

A lane of 32 bits holds one channel of two neighbouring positions, so that one dot product does two taps. Positions of a
tile share these pairs: a kernel of 5 costs one pair and three dot products a position. Where taps are not neighbours
the second half of a lane is zero.

Two vectors are interleaved as registers do it, half a register at a time: their lanes then stand as 0-3, 8-11 and as
4-7, 12-15 until the sums are stored.
"""

from __future__ import annotations

from itertools import pairwise

from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64, offset, repeat, shuffle
from npunet.engine.codegen.integers import INT16, INT32, dot, load, store, vector_of
from npunet.engine.codegen.jit import inlined
from npunet.engine.target import LANES

POSITIONS = (0, 8, 4)  # of a tile of so many vectors
VECTOR_WORDS = 4 * LANES
HALF = LANES // 2


def interleaved(builder, a, b, starts) -> object:
    """a[k], b[k] for k of HALF lanes from each of the starts."""
    lanes = [k for start in starts for k in range(start, start + HALF)]
    return shuffle(builder, a, b, [index for k in lanes for index in (k, k + a.type.count)])


def of_both(builder, a, b) -> list:
    """The lower halves of two vectors, and the upper ones: what interleaving does to their order, and its reverse."""
    half = a.type.count // 2
    lower, upper = list(range(half)), list(range(half, 2 * half))
    return [shuffle(builder, a, b, lower + [k + 2 * half for k in lower]),
            shuffle(builder, a, b, upper + [k + 2 * half for k in upper])]


class Rows:
    """Emits the sums of a tile's positions over the rows of a kernel.

    kw : taps of a row, in pairs; 0 for any number of single ones
    """

    def __init__(self, builder, kw: int, vectors: int, arguments) -> None:
        (self.tiles, self.x, self.step, self.w, self.w_step, self.kh, self.count_x, self.tap_row, self.tap_col, bias,
         self.sums, self.plane) = arguments
        self.builder, self.kw, self.vectors, self.positions = builder, kw, vectors, POSITIONS[vectors]
        self.pairs = -(-kw // 2)
        biases = [load(builder, builder.add(bias, INT64(VECTOR_WORDS * v)), INT32) for v in range(vectors)]
        self.biases = of_both(builder, *biases) if vectors == 2 else biases

    def weights(self, w) -> list:
        places = [self.builder.add(w, INT64(VECTOR_WORDS * v)) for v in range(self.vectors)]
        found = [load(self.builder, place, INT16, 2 * LANES) for place in places]
        return of_both(self.builder, *found) if self.vectors == 2 else found

    def pair(self, a, b) -> list:
        """What dot products take of two neighbouring positions."""
        if self.vectors == 1:
            return [interleaved(self.builder, a, b, (0, HALF))]
        return [interleaved(self.builder, a, b, (start, start + LANES)) for start in (0, HALF)]

    def added(self, acc: list, pairs: list, w) -> list:
        """acc[m] plus the dot products of pairs[m]."""
        weights = self.weights(w)
        return [[dot(self.builder, total, x, weight) for total, x, weight in zip(*parts, weights, strict=True)]
                for parts in zip(acc, pairs, strict=True)]

    def paired_row(self, x, w, acc: list):
        places = [offset(self.builder, x, self.step, m) for m in range(self.positions + 2 * self.pairs - 1)]
        values = [load(self.builder, place, INT16, LANES * self.vectors) for place in places]
        pairs = [self.pair(a, b) for a, b in pairwise(values)]
        for q in range(self.pairs):
            acc = self.added(acc, pairs[2 * q : 2 * q + self.positions], w)
            w = self.builder.add(w, self.w_step)
        return w, acc

    def single_row(self, x, w, acc: list):
        builder = self.builder

        def tap(carried):
            x, w, *acc = carried
            values = [load(builder, offset(builder, x, self.step, m), INT16) for m in range(self.positions)]
            wide = [builder.bitcast(builder.zext(value, vector_of(INT32)), vector_of(INT16, 2 * LANES))
                    for value in values]
            return [builder.add(x, self.tap_col), builder.add(w, self.w_step),
                    *self.flat(self.added(self.nested(acc), [[value] for value in wide], w))]

        _, w, *acc = repeat(builder, self.count_x, [x, w, *self.flat(acc)], tap)
        return w, self.nested(acc)

    @staticmethod
    def flat(acc: list) -> list:
        return [value for parts in acc for value in parts]

    def nested(self, acc: list) -> list:
        return [acc[k : k + self.vectors] for k in range(0, len(acc), self.vectors)]

    def over_ky(self, carried: list) -> list:
        x, w, *acc = carried
        w, acc = (self.paired_row if self.kw else self.single_row)(x, w, self.nested(acc))
        return [self.builder.add(x, self.tap_row), w, *self.flat(acc)]

    def one_tile(self, carried: list) -> list:
        builder, (x, sums) = self.builder, carried
        acc = self.nested(repeat(builder, self.kh, [x, self.w, *self.biases * self.positions], self.over_ky)[2:])
        for m, parts in enumerate(acc):
            place = builder.add(sums, INT64(VECTOR_WORDS * m))
            for v, value in enumerate(of_both(builder, *parts) if self.vectors == 2 else parts):
                store(builder, value, builder.add(place, self.plane) if v else place)
        return [offset(builder, x, self.step, self.positions), builder.add(sums, INT64(VECTOR_WORDS * self.positions))]


def make_depthwise(kw: int, vectors: int):
    """The intrinsic for tiles of POSITIONS neighbouring positions; see Rows."""

    @intrinsic
    def depthwise(typing, arguments):
        def generate(context, builder, signature, values):
            rows = Rows(builder, kw, vectors, cgutils.unpack_tuple(builder, values[0]))
            repeat(builder, rows.tiles, [rows.x, rows.sums], rows.one_tile)
            return context.get_dummy_value()

        return types.void(arguments), generate

    return depthwise


of_three, of_five, of_any = make_depthwise(3, 1), make_depthwise(5, 1), make_depthwise(0, 1)
two_of_three = make_depthwise(3, 2)  # of five taps one vector is as quick
ONE, TWO = POSITIONS[1], POSITIONS[2]


@inlined
def depthwise_row(paired, count, vectors, x, step, w, kh, kw, tap_row, tap_col, bias, sums, plane):
    """The sums of `count` positions and a few behind them, for all vectors of channels."""
    w_step, v = VECTOR_WORDS * vectors, 0
    while v < vectors:
        two = paired > 0 and kw == 3 and v + 2 <= vectors
        tiles = (count + TWO - 1) // TWO if two else (count + ONE - 1) // ONE
        arguments = (tiles, x + 2 * LANES * v, step, w + VECTOR_WORDS * v, w_step, kh, kw, tap_row, tap_col,
                     bias + VECTOR_WORDS * v, sums + plane * v, plane)
        if two:
            two_of_three(arguments)
        elif paired > 0 and kw == 3:
            of_three(arguments)
        elif paired > 0:
            of_five(arguments)
        else:
            of_any(arguments)
        v += 2 if two else 1

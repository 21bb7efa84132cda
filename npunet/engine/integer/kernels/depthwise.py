"""Depthwise integer convolutions of a row of positions, one vector of channels at a time: int32 sums into scratch.

A lane of 32 bits holds one channel of two neighbouring positions, so that one dot product does two taps. Positions of a
tile share these pairs: a kernel of 5 costs one pair and three dot products a position. Where taps are not neighbours
the second half of a lane is zero.
"""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64, offset, repeat
from npunet.engine.codegen.integers import INT16, INT32, all_lanes, dot, load, store, vector_of
from npunet.engine.codegen.jit import inlined
from npunet.engine.target import LANES

POSITIONS = 8  # of a tile
VECTOR_WORDS = 4 * LANES


def make_depthwise(kw: int):
    """The intrinsic for tiles of POSITIONS neighbouring positions; a row of the kernel has kw taps in pairs, or with 0
    any number of single ones.

    step    : bytes between positions of the input;  w_step : between weights of a pair
    """
    pairs = -(-kw // 2)

    @intrinsic
    def depthwise(typing, arguments):
        def generate(context, builder, signature, values):
            (tiles, x, step, w, w_step, kh, count_x, tap_row, tap_col, bias,
             sums) = cgutils.unpack_tuple(builder, values[0])
            bias = load(builder, bias, INT32)

            def lanes_at(x, m):
                return builder.zext(load(builder, offset(builder, x, step, m), INT16), vector_of(INT32))

            def as_pairs(value):
                return builder.bitcast(value, vector_of(INT16, 2 * LANES))

            def paired_row(x, w, acc):
                single = [lanes_at(x, m) for m in range(POSITIONS + 2 * pairs - 1)]
                shifted = [builder.shl(value, all_lanes(vector_of(INT32), 16)) for value in single[1:]]
                both = [as_pairs(builder.or_(a, b)) for a, b in zip(single[:-1], shifted, strict=True)]
                for q in range(pairs):
                    weights = load(builder, w, INT16, 2 * LANES)
                    acc = [dot(builder, total, both[m + 2 * q], weights) for m, total in enumerate(acc)]
                    w = builder.add(w, w_step)
                return w, acc

            def single_row(x, w, acc):
                def tap(carried):
                    x, w, *acc = carried
                    weights = load(builder, w, INT16, 2 * LANES)
                    acc = [dot(builder, total, as_pairs(lanes_at(x, m)), weights) for m, total in enumerate(acc)]
                    return [builder.add(x, tap_col), builder.add(w, w_step), *acc]

                _, w, *acc = repeat(builder, count_x, [x, w, *acc], tap)
                return w, acc

            def over_ky(carried):
                x, w, *acc = carried
                w, acc = (paired_row if kw else single_row)(x, w, acc)
                return [builder.add(x, tap_row), w, *acc]

            def one_tile(carried):
                x, sums = carried
                acc = repeat(builder, kh, [x, w, *[bias] * POSITIONS], over_ky)[2:]
                for m, value in enumerate(acc):
                    store(builder, value, builder.add(sums, INT64(VECTOR_WORDS * m)))
                return [offset(builder, x, step, POSITIONS), builder.add(sums, INT64(VECTOR_WORDS * POSITIONS))]

            repeat(builder, tiles, [x, sums], one_tile)
            return context.get_dummy_value()

        return types.void(arguments), generate

    return depthwise


of_three, of_five, of_any = make_depthwise(3), make_depthwise(5), make_depthwise(0)


@inlined
def depthwise_row(paired, count, vectors, x, step, w, kh, kw, tap_row, tap_col, bias, sums, plane):
    """The sums of `count` positions and a few behind them, for all vectors of channels."""
    tiles = (count + POSITIONS - 1) // POSITIONS
    w_step = VECTOR_WORDS * vectors
    for v in range(vectors):
        arguments = (tiles, x + 2 * LANES * v, step, w + VECTOR_WORDS * v, w_step, kh, kw, tap_row, tap_col,
                     bias + VECTOR_WORDS * v, sums + plane * v)
        if paired > 0 and kw == 3:
            of_three(arguments)
        elif paired > 0:
            of_five(arguments)
        else:
            of_any(arguments)

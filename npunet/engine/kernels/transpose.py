"""Vectors of positions from vectors of channels, and back."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import (
    FLOAT,
    INT64,
    TARGET,
    dispatch,
    everywhere,
    load_vector,
    offset,
    shuffle,
    store_vector,
)
from npunet.engine.target import LANES

ROUNDS = (  # of exchanges: of values, of pairs, of halves
    (1, [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]),
    (2, [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]),
    (4, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
)
EACH_NUMBER = tuple((filters, (1,)) for filters, _ in TARGET.few_filters)
PLACES = (0, 2, 1, 3, 4, 6, 5, 7)  # where the rounds leave each row of the result


def exchanged(builder, rows: list) -> list:
    """LANES vectors transposed; of half as many, each of two vectors' first halves, the first half of the result."""
    for distance, low, high in ROUNDS:
        if distance < len(rows):
            after = list(rows)
            for m in range(len(rows)):
                if m & distance == 0:
                    after[m] = shuffle(builder, rows[m], rows[m + distance], low)
                    after[m + distance] = shuffle(builder, rows[m], rows[m + distance], high)
            rows = after
    return [rows[place] for place in PLACES[: len(rows)]]


@intrinsic
def transpose(typing, x, x_step, t, t_step):
    """LANES positions of LANES channels, every x_step bytes, to LANES rows of positions, every t_step bytes. Reads
    everything before it writes."""

    def generate(context, builder, signature, arguments):
        x, x_step, t, t_step = arguments
        rows = exchanged(builder, [load_vector(builder, offset(builder, x, x_step, m)) for m in range(LANES)])
        for channel, row in enumerate(rows):
            store_vector(builder, row, offset(builder, t, t_step, channel))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), generate


@intrinsic
def transpose_half(typing, x, x_step, t, t_step):
    """The same for the first half of the channels."""

    def generate(context, builder, signature, arguments):
        x, x_step, t, t_step = arguments
        half = LANES // 2
        few = [load_vector(builder, offset(builder, x, x_step, m), half) for m in range(LANES)]
        rows = [shuffle(builder, few[m], few[m + half], list(range(LANES))) for m in range(half)]
        for channel, row in enumerate(exchanged(builder, rows)):
            store_vector(builder, row, offset(builder, t, t_step, channel))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), generate


def interleave(builder, F: int, t, t_step, y) -> None:
    """Emits F rows of LANES positions, every t_step bytes, at most six, to positions of F filters, one behind the
    other: for registers of which any lanes of two make a third in one instruction."""
    rows = [load_vector(builder, offset(builder, t, t_step, f)) for f in range(F)]
    rows += [ir.Constant(rows[0].type, ir.Undefined)] * (6 - F)
    wide = 2 * LANES
    pairs = [shuffle(builder, rows[f], rows[f + 1], list(range(wide))) for f in (0, 2, 4)]
    for first in range(0, LANES * F, wide):
        places = [divmod(min(k, LANES * F - 1), F) for k in range(first, first + wide)]
        value = shuffle(builder, pairs[0], pairs[1], [f * LANES + position if f < 4 else 0 for position, f in places])
        if F > 4:
            value = shuffle(builder, value, pairs[2], [
                k if f < 4 else (f - 2) * LANES + position for k, (position, f) in enumerate(places)])
        if LANES * F - first < wide:
            value = shuffle(builder, value, value, list(range(LANES)))
        store_vector(builder, value, builder.add(y, INT64(4 * first)))


def transpose_back(builder, F: int, stored: int, t, t_step, y, y_step) -> None:
    """Emits F rows of LANES positions, every t_step bytes, to positions of F filters, every y_step bytes. Of each, so
    many values are stored: those, or a whole vector with zeros behind them."""
    rows = [load_vector(builder, offset(builder, t, t_step, f)) for f in range(F)]
    rows += [everywhere(0.0)] * (LANES - F)
    few, lanes = ir.VectorType(FLOAT, stored), ir.Constant(ir.VectorType(ir.IntType(32), stored), list(range(stored)))
    for m, row in enumerate(exchanged(builder, rows)):
        at = builder.inttoptr(offset(builder, y, y_step, m), few.as_pointer())
        builder.store(builder.shuffle_vector(row, row, lanes), at).align = 4


@intrinsic
def back_to_filters(typing, filters, t, t_step, y, y_step):
    """LANES positions from rows of positions, every t_step bytes, to filters side by side, nothing between."""

    def generate(context, builder, signature, arguments):
        filters, t, t_step, y, y_step = arguments

        def body(_, F):
            if TARGET.pairs:
                interleave(builder, F, t, t_step, y)
            else:
                transpose_back(builder, F, F, t, t_step, y, y_step)

        dispatch(builder, INT64(1), filters, EACH_NUMBER, body)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate


@intrinsic
def back_to_vectors(typing, filters, t, t_step, y, y_step):
    """The same where every position has a vector, with zeros behind its filters."""

    def generate(context, builder, signature, arguments):
        filters, t, t_step, y, y_step = arguments
        dispatch(builder, INT64(1), filters, EACH_NUMBER,
                 lambda _, F: transpose_back(builder, F, LANES, t, t_step, y, y_step))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate

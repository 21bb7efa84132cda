"""What moves integers and rounds nothing: the two ends, halos, line buffers, upsampling and concatenation."""

from __future__ import annotations

from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.integer.kernels.vectors import (
    VECTOR_BYTES,
    load_bytes,
    load_shorts,
    plus,
    read_byte,
    read_short,
    same_shorts,
    store_bytes,
    store_shorts,
    write_byte,
    write_short,
)
from npunet.engine.integer.plan.opcodes import Extra
from npunet.engine.kernels.halo import make_clear_halo, make_move
from npunet.engine.plan.opcodes import Field
from npunet.engine.target import LANES


@inlined
def copy_shorts(x, y, count):
    """Copy `count` neighbouring int16, in ascending order, and touch nothing behind them."""
    whole = count // LANES * LANES
    for k in range(0, whole, LANES):
        store_shorts(load_shorts(x + 2 * k), y + 2 * k)
    for k in range(whole, count):
        write_short(read_short(x + 2 * k), y + 2 * k)


@inlined
def fill_zero(at, count):
    """Zero `count` neighbouring int16, whole vectors of them."""
    zero = same_shorts(0)
    for k in range(0, count, LANES):
        store_shorts(zero, at + 2 * k)


clear_halo, move = make_clear_halo(fill_zero, 2), make_move(copy_shorts, 2)


@jit
def copy_in(p, arena, sample, first, last, left, right):
    """The sample (H, W, C), int8 or int16, less its zero point, into the arena."""
    stand_alone()
    channels, size, zero = p[Field.CHANNELS], p[Extra.BYTES], p[Extra.ZERO]
    whole, offset = channels // LANES * LANES, same_shorts(-zero)
    for i in range(first, last):
        y = arena + 2 * (p[Field.Y] + i * p[Field.Y_ROW] + left * p[Field.Y_COL])
        x = sample + size * (i * p[Field.WIDTH] + left) * channels
        for _ in range(left, right):
            for k in range(0, whole, LANES):
                value = load_bytes(x + k) if size == 1 else load_shorts(x + 2 * k)
                store_shorts(plus(value, offset), y + 2 * k)
            for k in range(whole, channels):
                write_short((read_byte(x + k) if size == 1 else read_short(x + 2 * k)) - zero, y + 2 * k)
            x += size * channels
            y += 2 * p[Field.Y_COL]


@jit
def copy_out(p, arena, result, first, last, left, right):
    """The image from the arena, plus its zero point, to the result (H, W, C), int8 or int16."""
    stand_alone()
    channels, size, zero = p[Field.CHANNELS], p[Extra.BYTES], p[Extra.ZERO]
    whole, offset = channels // LANES * LANES, same_shorts(zero)
    for i in range(first, last):
        x = arena + 2 * (p[Field.X] + i * p[Field.X_ROW] + left * p[Field.X_COL])
        y = result + size * (i * p[Field.WIDTH] + left) * channels
        for _ in range(left, right):
            for k in range(0, whole, LANES):
                value = plus(load_shorts(x + 2 * k), offset)
                if size == 1:
                    store_bytes(value, y + k)
                else:
                    store_shorts(value, y + 2 * k)
            for k in range(whole, channels):
                value = read_short(x + 2 * k) + zero
                if size == 1:
                    write_byte(value, y + k)
                else:
                    write_short(value, y + 2 * k)
            x += 2 * p[Field.X_COL]
            y += size * channels


@jit
def spread(p, arena, first, last, left, right):
    """Every position of an image COPIES_Y x COPIES_X times, to the channels from PLACE on of another: nearest
    upsampling, and one input of a concat. The ranges are of the output.

    From a whole vector on, whole vectors are written: what these spill over is padding, or written by the next input.
    """
    stand_alone()
    channels, copies_y, copies_x, place = p[Field.CHANNELS], p[Field.COPIES_Y], p[Field.COPIES_X], p[Extra.PLACE]
    vectors = (channels + LANES - 1) // LANES
    for i in range(first, last):
        x = arena + 2 * (p[Field.X] + i // copies_y * p[Field.X_ROW] + left // copies_x * p[Field.X_COL])
        y = arena + 2 * (p[Field.Y] + i * p[Field.Y_ROW] + left * p[Field.Y_COL] + place)
        for _ in range(left, right, copies_x):
            if place % LANES == 0:
                for v in range(vectors):
                    value = load_shorts(x + VECTOR_BYTES * v)
                    for copy in range(copies_x):
                        store_shorts(value, y + 2 * copy * p[Field.Y_COL] + VECTOR_BYTES * v)
            else:
                for copy in range(copies_x):
                    copy_shorts(x, y + 2 * copy * p[Field.Y_COL], channels)
            x += 2 * p[Field.X_COL]
            y += 2 * copies_x * p[Field.Y_COL]

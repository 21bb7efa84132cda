"""Kernels that move values and round nothing: copies, halo, upsampling, concat; and add."""

from __future__ import annotations

from npunet.engine.codegen.emit import VECTOR_BYTES
from npunet.engine.codegen.jit import jit
from npunet.engine.codegen.simd import add_tile, clear_value, copy_value, load, stand_alone, store, zeros
from npunet.engine.kernels.halo import make_clear_halo, make_move
from npunet.engine.plan.opcodes import Field
from npunet.engine.target import LANES


@jit
def fill_zero(at, count):
    """Zero `count` neighbouring values."""
    whole = count // LANES * LANES
    for k in range(0, whole, LANES):
        store(zeros(1, 1), at + 4 * k, 0)
    for k in range(whole, count):
        clear_value(at + 4 * k)


@jit
def copy_values(x, y, count):
    """Copy `count` neighbouring values from address to address."""
    whole = count // LANES * LANES
    for k in range(0, whole, LANES):
        store(load(zeros(1, 1), x + 4 * k, 0), y + 4 * k, 0)
    for k in range(whole, count):
        copy_value(x + 4 * k, y + 4 * k)


clear_halo, move = make_clear_halo(fill_zero, 4), make_move(copy_values, 4)


@jit
def copy_in(p, arena, sample, first, last, left, right):
    """The sample (H, W, C), densely packed at an address, into the arena; padding channels are 0."""
    stand_alone()
    channels = p[Field.CHANNELS]
    whole = channels // LANES
    for i in range(first, last):
        y = arena + 4 * (p[Field.Y] + i * p[Field.Y_ROW] + left * p[Field.Y_COL])
        x = sample + 4 * (i * p[Field.WIDTH] + left) * channels
        if p[Field.Y_COL] == channels:
            copy_values(x, y, (right - left) * channels)
            continue
        for _ in range(left, right):
            for v in range(whole):
                store(load(zeros(1, 1), x + VECTOR_BYTES * v, 0), y + VECTOR_BYTES * v, 0)
            if whole * LANES < channels:
                store(zeros(1, 1), y + VECTOR_BYTES * whole, 0)
                for c in range(whole * LANES, channels):
                    copy_value(x + 4 * c, y + 4 * c)
            x += 4 * channels
            y += 4 * p[Field.Y_COL]


@jit
def copy_out(p, arena, result, first, last, left, right):
    """The image from the arena to the result (H, W, C), densely packed at an address.

    Whole vectors are written, so a position spills into the next, which is written after it; the last few of a row,
    behind which another thread may write, go value by value.
    """
    stand_alone()
    channels, vectors = p[Field.CHANNELS], p[Field.VECTORS]
    for i in range(first, last):
        x = arena + 4 * (p[Field.X] + i * p[Field.X_ROW] + left * p[Field.X_COL])
        y = result + 4 * (i * p[Field.WIDTH] + left) * channels
        end = y + 4 * (right - left) * channels
        if p[Field.X_COL] == channels:
            copy_values(x, y, (right - left) * channels)
            continue
        for _ in range(left, right):
            if y + VECTOR_BYTES * vectors <= end:
                for v in range(vectors):
                    store(load(zeros(1, 1), x + VECTOR_BYTES * v, 0), y + VECTOR_BYTES * v, 0)
            else:
                for c in range(channels):
                    copy_value(x + 4 * c, y + 4 * c)
            x += 4 * p[Field.X_COL]
            y += 4 * channels


@jit
def upsample(p, arena, first, last, left, right):
    """Every input position written KH x KW times; the ranges are of the input."""
    stand_alone()
    kh, kw, vectors = p[Field.KH], p[Field.KW], p[Field.VECTORS]
    y_col = 4 * p[Field.Y_COL]
    for i in range(first, last):
        for j in range(left, right):
            x = arena + 4 * (p[Field.X] + i * p[Field.X_ROW] + j * p[Field.X_COL])
            y = arena + 4 * (p[Field.Y] + i * kh * p[Field.Y_ROW] + j * kw * p[Field.Y_COL])
            for v in range(vectors):
                value = load(zeros(1, 1), x + VECTOR_BYTES * v, 0)
                for ky in range(kh):
                    for kx in range(kw):
                        store(value, y + ky * 4 * p[Field.Y_ROW] + kx * y_col + VECTOR_BYTES * v, 0)


@jit
def add(p, arena, first, last, left, right):
    """The sum of two images."""
    stand_alone()
    for i in range(first, last):
        for j in range(left, right):
            x = arena + 4 * (p[Field.X] + i * p[Field.X_ROW] + j * p[Field.X_COL])
            other = arena + 4 * (p[Field.ADDEND] + i * p[Field.ADDEND_ROW] + j * p[Field.ADDEND_COL])
            y = arena + 4 * (p[Field.Y] + i * p[Field.Y_ROW] + j * p[Field.Y_COL])
            for v in range(p[Field.VECTORS]):
                shift = VECTOR_BYTES * v
                value = add_tile(load(zeros(1, 1), x + shift, 0), load(zeros(1, 1), other + shift, 0))
                store(value, y + shift, 0)


@jit
def concat(p, memory, first, last, left, right):
    """The channels of X, then those of ADDEND."""
    stand_alone()
    channels, more = p[Field.CHANNELS], p[Field.ADDEND_CHANNELS]
    for i in range(first, last):
        for j in range(left, right):
            x = p[Field.X] + i * p[Field.X_ROW] + j * p[Field.X_COL]
            other = p[Field.ADDEND] + i * p[Field.ADDEND_ROW] + j * p[Field.ADDEND_COL]
            y = p[Field.Y] + i * p[Field.Y_ROW] + j * p[Field.Y_COL]
            for c in range(channels):
                memory[y + c] = memory[x + c]
            for c in range(more):
                memory[y + channels + c] = memory[other + c]
            for c in range(channels + more, p[Field.Y_COL]):
                memory[y + c] = 0

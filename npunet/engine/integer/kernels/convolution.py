"""Integer convolution instructions: a cache block of a row at a time, its sums first, then activations of them."""

from __future__ import annotations

from npunet.engine.codegen.emit import TARGET
from npunet.engine.codegen.jit import inlined
from npunet.engine.integer.kernels.byte_rows import pack_rows, to_bytes
from npunet.engine.integer.kernels.depthwise import depthwise_row
from npunet.engine.integer.kernels.dot_tile import byte_row, long_row, pair_row
from npunet.engine.integer.kernels.finish import finish_and_add_row, finish_row
from npunet.engine.integer.kernels.partial_sums import add_row, keep_row
from npunet.engine.integer.kernels.vectors import aligned_stack
from npunet.engine.integer.kernels.winograd import winograd_rows
from npunet.engine.integer.plan.opcodes import Extra, Mode
from npunet.engine.integer.plan.scratch import PLANE_ROOM, SUM_WORDS, TILE
from npunet.engine.plan.opcodes import Field, Flag, Op
from npunet.engine.target import LANES

CONV, SEPARABLE, DEPTHWISE = int(Op.CONV), int(Op.SEPARABLE), int(Op.DEPTHWISE)
ADD, CONTINUE, SUMS = int(Flag.ADD), int(Flag.CONTINUE), int(Flag.SUMS)
SHORT = 2
D = int(Mode.D)


@inlined
def sums_of_pairs(p, count, x, x_step, w, kh, kw, tap_row, tap_col, bias, sums, plane):
    """The sums of `count` positions of a convolution that reads 16-bit integers. x_step, tap_row, tap_col : bytes"""
    if p[Extra.WIDE] > 0:
        long_row(count, p[Field.VECTORS], x, x_step, w, p[Extra.WORDS], kh, kw, tap_row, tap_col, bias, sums, plane)
    else:
        pair_row(count, p[Field.VECTORS], x, x_step, w, p[Extra.WORDS], kh, kw, tap_row, tap_col, bias, sums, plane, 0)


@inlined
def sums_of_words(p, count, x, x_step, w, kh, kw, tap_row, tap_col, bias, sums, plane, packed):
    """The same of one that may read bytes. packed : where those of a CONV stand, or those of a SEPARABLE shall"""
    if p[Extra.ROWS] == 0:
        sums_of_pairs(p, count, x, x_step, w, kh, kw, tap_row, tap_col, bias, sums, plane)
        return
    if p[Field.OP] == SEPARABLE:
        to_bytes((count * x_step // SHORT, x, packed, p[Extra.ZERO]))
    doublings = 1 if p[Extra.MODE] == D else 0
    byte_row(count, p[Field.VECTORS], packed, x_step // SHORT, w, p[Extra.WORDS], kh, kw,
             tap_row // (SHORT * p[Field.X_ROW]) * p[Field.PITCH], tap_col // SHORT, bias, sums, plane, doublings)


@inlined
def sums_without_bytes(p, count, x, x_step, w, kh, kw, tap_row, tap_col, bias, sums, plane, packed):
    """The same where there are no dot products of bytes."""
    sums_of_pairs(p, count, x, x_step, w, kh, kw, tap_row, tap_col, bias, sums, plane)


sums_of = sums_of_words if TARGET.byte_dot else sums_without_bytes


@inlined
def finish(p, arena, constants, sums, plane, i, at, count, y, y_step):
    """Activations of a convolution's sums, with what is added to them."""
    if p[Field.FLAGS] & ADD:
        addend = arena + SHORT * (p[Field.ADDEND] + i * p[Field.ADDEND_ROW] + at * p[Field.ADDEND_COL])
        finish_and_add_row(p[Extra.MODE], p[Extra.WIDE], count, p[Field.VECTORS], sums, plane,
                           constants + p[Extra.PARAMS], p[Extra.LOW], p[Extra.HIGH], y, y_step, addend,
                           SHORT * p[Field.ADDEND_COL], constants + p[Extra.ADDITION], p[Extra.HALVED])
    else:
        finish_row(p[Extra.MODE], p[Extra.WIDE], count, p[Field.VECTORS], sums, plane, constants + p[Extra.PARAMS],
                   p[Extra.LOW], p[Extra.HIGH], y, y_step, 0, 0, 0, -1)


@inlined
def convolve_block(p, arena, constants, scratch, packed, i, at, count):
    """Positions at ... at+count-1 of row i of the output. scratch : sums, then a SEPARABLE's depthwise half.

    packed : what a CONV of bytes reads
    """
    op, channels, wide = p[Field.OP], p[Field.CHANNELS], p[Extra.WIDE]
    x_step, y_step = SHORT * p[Field.STRIDE_X] * p[Field.X_COL], SHORT * p[Field.Y_COL]
    x = arena + SHORT * (p[Field.X] + i * p[Field.STRIDE_Y] * p[Field.X_ROW] + p[Field.START]) + at * x_step
    y = arena + SHORT * (p[Field.Y] + i * p[Field.Y_ROW]) + at * y_step
    tap_row, tap_col, kh, kw = SHORT * p[Field.TAP_ROW], SHORT * p[Field.TAP_COL], p[Field.KH], p[Field.KW]
    plane = 4 * SUM_WORDS * (p[Field.BLOCK] + PLANE_ROOM) * (1 + wide)
    if op != CONV:
        vectors = (channels + LANES - 1) // LANES
        depthwise_row(p[Extra.PAIRED], count, vectors, x, x_step, constants + p[Field.DEPTHWISE_WEIGHTS], kh, kw,
                      tap_row, tap_col, constants + p[Extra.DEPTHWISE_BIAS], scratch, plane)
    if op == SEPARABLE:
        x, x_step, kh, kw = scratch + plane * max(vectors, p[Field.VECTORS]), SHORT * LANES * vectors, 1, 1
        packed = x + x_step * (p[Field.BLOCK] + PLANE_ROOM)
        finish_row(p[Extra.DEPTHWISE_MODE], 0, count, vectors, scratch, plane, constants + p[Extra.DEPTHWISE_PARAMS],
                   p[Extra.DEPTHWISE_LOW], p[Extra.DEPTHWISE_HIGH], x, x_step, 0, 0, 0, -1)
    if op != DEPTHWISE:
        sums_of(p, count, x, x_step, constants + p[Field.WEIGHTS], kh, kw, tap_row, tap_col, constants + p[Field.BIAS],
                scratch, plane, packed)
    if p[Field.FLAGS] & CONTINUE:
        copies_x, low_step = p[Field.COPIES_X], SHORT * p[Field.ADDEND_COL]
        low = arena + SHORT * (p[Field.ADDEND] + i // p[Field.COPIES_Y] * p[Field.ADDEND_ROW])
        add_row(count, copies_x, p[Field.VECTORS], scratch, plane, low + at // copies_x * low_step, low_step)
    if p[Field.FLAGS] & SUMS:
        keep_row(count, p[Field.VECTORS], scratch, plane, y, y_step)
    else:
        finish(p, arena, constants, scratch, plane, i, at, count, y, y_step)


@inlined
def convolve_bytes(p, arena, constants, scratch, i, rows, at, count):
    """The same of `rows` rows, of bytes. Those that a CONV reads are packed behind the sums, once for all its rows."""
    packed = scratch + 4 * SUM_WORDS * (p[Field.BLOCK] + PLANE_ROOM) * p[Field.VECTORS]
    if p[Field.OP] == CONV:
        pack_rows(p, arena, rows, i, at, count, packed)
    for row in range(rows):
        convolve_block(p, arena, constants, scratch, packed + row * p[Field.STRIDE_Y] * p[Field.PITCH], i + row, at,
                       count)


@inlined
def winograd_block(p, arena, constants, scratch, i, last, at, count):
    """The same of rows i and i + 1, as far as `last` lets them. scratch : sums of both rows, then winograd_rows'."""
    x_col, y_step, vectors = SHORT * p[Field.X_COL], SHORT * p[Field.Y_COL], p[Field.VECTORS]
    x = arena + SHORT * (p[Field.X] + i * p[Field.X_ROW] + p[Field.START]) + at * x_col
    y = arena + SHORT * (p[Field.Y] + i * p[Field.Y_ROW]) + at * y_step
    plane = 4 * SUM_WORDS * (p[Field.BLOCK] + PLANE_ROOM)
    lower = scratch + plane * vectors
    tiles, room = (count + 1) // TILE, p[Field.BLOCK] // TILE + PLANE_ROOM
    winograd_rows(tiles, room, vectors, x, SHORT * p[Field.X_ROW], x_col, constants + p[Field.WEIGHTS], p[Extra.WORDS],
                  constants + p[Field.BIAS], constants, plane, scratch, lower, lower + plane * vectors)
    finish(p, arena, constants, scratch, plane, i, at, count, y, y_step)
    if i + 1 < last:
        finish(p, arena, constants, lower, plane, i + 1, at, count, y + SHORT * p[Field.Y_ROW], y_step)


@inlined
def convolve_group(program, start, arena, constants, thread, first, last, left, right):
    """Rows first ... last-1, positions left ... right-1, of a convolution, a cache block at a time."""
    aligned_stack()
    p = program[start]
    scratch = arena + SHORT * (p[Field.SCRATCH] + thread * p[Field.SCRATCH_SIZE])
    rows = max(1, TILE * p[Extra.WINOGRAD], p[Extra.ROWS])
    for i in range(first, last, rows):
        at = left
        while at < right:
            count = min(p[Field.BLOCK], right - at)
            if p[Extra.WINOGRAD] > 0:
                winograd_block(p, arena, constants, scratch, i, last, at, count)
            elif p[Extra.ROWS] > 0:
                convolve_bytes(p, arena, constants, scratch, i, min(rows, last - i), at, count)
            else:
                convolve_block(p, arena, constants, scratch, scratch, i, at, count)
            at += count

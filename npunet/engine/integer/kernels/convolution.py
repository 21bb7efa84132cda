"""Integer convolution instructions: a cache block of a row at a time, its sums first, then activations of them."""

from __future__ import annotations

from npunet.engine.codegen.jit import inlined
from npunet.engine.integer.kernels.depthwise import depthwise_row
from npunet.engine.integer.kernels.dot_tile import dot_row
from npunet.engine.integer.kernels.partial_sums import add_row, keep_row
from npunet.engine.integer.kernels.requantise import finish_and_add_row, finish_row
from npunet.engine.integer.kernels.vectors import aligned_stack
from npunet.engine.integer.kernels.winograd import winograd_rows
from npunet.engine.integer.plan.opcodes import Extra
from npunet.engine.integer.plan.scratch import PLANE_ROOM, SUM_WORDS, TILE
from npunet.engine.plan.opcodes import Field, Flag, Op
from npunet.engine.target import LANES

CONV, SEPARABLE, DEPTHWISE = int(Op.CONV), int(Op.SEPARABLE), int(Op.DEPTHWISE)
ADD, CONTINUE, SUMS = int(Flag.ADD), int(Flag.CONTINUE), int(Flag.SUMS)
SHORT = 2


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
def convolve_block(p, arena, constants, scratch, i, at, count):
    """Positions at ... at+count-1 of row i of the output. scratch : sums, then a SEPARABLE's depthwise half."""
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
        finish_row(p[Extra.DEPTHWISE_MODE], 0, count, vectors, scratch, plane, constants + p[Extra.DEPTHWISE_PARAMS],
                   p[Extra.DEPTHWISE_LOW], p[Extra.DEPTHWISE_HIGH], x, x_step, 0, 0, 0, -1)
    if op != DEPTHWISE:
        dot_row(wide, count, p[Field.VECTORS], x, x_step, constants + p[Field.WEIGHTS], p[Extra.PAIRS], kh, kw, tap_row,
                tap_col, constants + p[Field.BIAS], scratch, plane)
    if p[Field.FLAGS] & CONTINUE:
        copies_x, low_step = p[Field.COPIES_X], SHORT * p[Field.ADDEND_COL]
        low = arena + SHORT * (p[Field.ADDEND] + i // p[Field.COPIES_Y] * p[Field.ADDEND_ROW])
        add_row(count, copies_x, p[Field.VECTORS], scratch, plane, low + at // copies_x * low_step, low_step)
    if p[Field.FLAGS] & SUMS:
        keep_row(count, p[Field.VECTORS], scratch, plane, y, y_step)
    else:
        finish(p, arena, constants, scratch, plane, i, at, count, y, y_step)


@inlined
def winograd_block(p, arena, constants, scratch, i, last, at, count):
    """The same of rows i and i + 1, as far as `last` lets them. scratch : sums of both rows, then winograd_rows'."""
    x_col, y_step, vectors = SHORT * p[Field.X_COL], SHORT * p[Field.Y_COL], p[Field.VECTORS]
    x = arena + SHORT * (p[Field.X] + i * p[Field.X_ROW] + p[Field.START]) + at * x_col
    y = arena + SHORT * (p[Field.Y] + i * p[Field.Y_ROW]) + at * y_step
    plane = 4 * SUM_WORDS * (p[Field.BLOCK] + PLANE_ROOM)
    lower = scratch + plane * vectors
    tiles, room = (count + 1) // TILE, p[Field.BLOCK] // TILE + PLANE_ROOM
    winograd_rows(tiles, room, vectors, x, SHORT * p[Field.X_ROW], x_col, constants + p[Field.WEIGHTS], p[Extra.PAIRS],
                  constants + p[Field.BIAS], constants, plane, scratch, lower, lower + plane * vectors)
    finish(p, arena, constants, scratch, plane, i, at, count, y, y_step)
    if i + 1 < last:
        finish(p, arena, constants, lower, plane, i + 1, at, count, y + SHORT * p[Field.Y_ROW], y_step)


@inlined
def convolve_group(program, start, arena, constants, thread, first, last, left, right):
    """Rows first ... last-1, positions left ... right-1, of a convolution, a cache block at a time."""
    aligned_stack()
    p = program[start]
    rows = TILE if p[Extra.WINOGRAD] else 1
    scratch = arena + SHORT * (p[Field.SCRATCH] + thread * p[Field.SCRATCH_SIZE])
    for i in range(first, last, rows):
        at = left
        while at < right:
            count = min(p[Field.BLOCK], right - at)
            if rows > 1:
                winograd_block(p, arena, constants, scratch, i, last, at, count)
            else:
                convolve_block(p, arena, constants, scratch, i, at, count)
            at += count

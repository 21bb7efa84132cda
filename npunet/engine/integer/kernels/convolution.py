"""Integer convolution instructions: a cache block of a row at a time, its sums first, then activations of them."""

from __future__ import annotations

from npunet.engine.codegen.jit import inlined
from npunet.engine.integer.kernels.depthwise import depthwise_row
from npunet.engine.integer.kernels.dot_tile import dot_row
from npunet.engine.integer.kernels.requantise import finish_and_add_row, finish_row
from npunet.engine.integer.plan.opcodes import Extra
from npunet.engine.integer.plan.scratch import PLANE_ROOM, SUM_WORDS
from npunet.engine.plan.opcodes import Field, Flag, Op
from npunet.engine.target import LANES

CONV, SEPARABLE, DEPTHWISE = int(Op.CONV), int(Op.SEPARABLE), int(Op.DEPTHWISE)
ADD = int(Flag.ADD)
SHORT = 2


@inlined
def convolve_block(p, arena, constants, scratch, i, at, count):
    """Positions at ... at+count-1 of row i of the output. scratch : sums, then a SEPARABLE's depthwise half."""
    op, channels, wide = p[Field.OP], p[Field.CHANNELS], p[Extra.WIDE]
    x_col, y_step = SHORT * p[Field.X_COL], SHORT * p[Field.Y_COL]
    x_step = p[Field.STRIDE_X] * x_col
    x = arena + SHORT * (p[Field.X] + i * p[Field.STRIDE_Y] * p[Field.X_ROW] + p[Field.START]) + at * x_step
    y = arena + SHORT * (p[Field.Y] + i * p[Field.Y_ROW]) + at * y_step
    tap_row, tap_col, kh, kw = SHORT * p[Field.TAP_ROW], SHORT * p[Field.TAP_COL], p[Field.KH], p[Field.KW]
    room = p[Field.BLOCK] + PLANE_ROOM
    plane = SUM_WORDS * 4 * room * (1 + wide)
    pairs = p[Extra.PAIRS]
    if op != CONV:
        vectors = (channels + LANES - 1) // LANES
        depthwise_row(p[Extra.PAIRED], count, vectors, x, x_step, constants + p[Field.DEPTHWISE_WEIGHTS], kh, kw,
                      tap_row, tap_col, constants + p[Extra.DEPTHWISE_BIAS], scratch, plane)
        to, to_step = y, y_step
        if op == SEPARABLE:
            to, to_step = scratch + plane * max(vectors, p[Field.VECTORS]), SHORT * LANES * vectors
        if op == DEPTHWISE and p[Field.FLAGS] & ADD:
            finish_and_add_row(p[Extra.DEPTHWISE_MODE], 0, count, vectors, scratch, plane,
                               constants + p[Extra.DEPTHWISE_PARAMS], p[Extra.DEPTHWISE_LOW], p[Extra.DEPTHWISE_HIGH],
                               to, to_step, addend_of(p, arena, i, at), SHORT * p[Field.ADDEND_COL],
                               constants + p[Extra.ADDITION], p[Extra.HALVED])
        else:
            finish_row(p[Extra.DEPTHWISE_MODE], 0, count, vectors, scratch, plane,
                       constants + p[Extra.DEPTHWISE_PARAMS], p[Extra.DEPTHWISE_LOW], p[Extra.DEPTHWISE_HIGH], to,
                       to_step, 0, 0, 0, -1)
        x, x_step, kh, kw = to, to_step, 1, 1
    if op != DEPTHWISE:
        dot_row(wide, count, p[Field.VECTORS], x, x_step, constants + p[Field.WEIGHTS], pairs, kh, kw, tap_row, tap_col,
                constants + p[Field.BIAS], scratch, plane)
        if p[Field.FLAGS] & ADD:
            finish_and_add_row(p[Extra.MODE], wide, count, p[Field.VECTORS], scratch, plane,
                               constants + p[Extra.PARAMS], p[Extra.LOW], p[Extra.HIGH], y, y_step,
                               addend_of(p, arena, i, at), SHORT * p[Field.ADDEND_COL],
                               constants + p[Extra.ADDITION], p[Extra.HALVED])
        else:
            finish_row(p[Extra.MODE], wide, count, p[Field.VECTORS], scratch, plane, constants + p[Extra.PARAMS],
                       p[Extra.LOW], p[Extra.HIGH], y, y_step, 0, 0, 0, -1)


@inlined
def addend_of(p, arena, i, at):
    """Address of what is added to a position."""
    return arena + SHORT * (p[Field.ADDEND] + i * p[Field.ADDEND_ROW] + at * p[Field.ADDEND_COL])


@inlined
def convolve_group(program, start, arena, constants, thread, first, last, left, right):
    """Rows first ... last-1, positions left ... right-1, of the instructions of a group: all of them on a cache block
    before the next is begun."""
    head = program[start]
    for i in range(first, last):
        at = left
        while at < right:
            count = min(head[Field.BLOCK], right - at)
            for member in range(start, start + head[Field.GROUP]):
                p = program[member]
                scratch = arena + SHORT * (p[Field.SCRATCH] + thread * p[Field.SCRATCH_SIZE])
                convolve_block(p, arena, constants, scratch, i, at, count)
            at += count

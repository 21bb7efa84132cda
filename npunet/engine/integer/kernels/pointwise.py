"""Integer operators on each value or position: addition, other scales, tables, softmax."""

from __future__ import annotations

from npunet.engine.codegen.jit import jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.integer.kernels.softmax import look_up, softmax, softmax_16
from npunet.engine.integer.kernels.unary import add_row, leaky_row, rescale_row
from npunet.engine.integer.kernels.vectors import VECTOR_BYTES, read_short, write_short
from npunet.engine.integer.plan.opcodes import Extra, Kind
from npunet.engine.plan.opcodes import Field

RESCALE, LEAKY_RELU, TABLE, LINES = (int(kind) for kind in Kind)


@jit
def add(p, arena, constants, first, last, left, right):
    """The sum of two images in the scale of a third."""
    stand_alone()
    for i in range(first, last):
        x = arena + 2 * (p[Field.X] + i * p[Field.X_ROW] + left * p[Field.X_COL])
        other = arena + 2 * (p[Field.ADDEND] + i * p[Field.ADDEND_ROW] + left * p[Field.ADDEND_COL])
        y = arena + 2 * (p[Field.Y] + i * p[Field.Y_ROW] + left * p[Field.Y_COL])
        for v in range(p[Field.VECTORS]):
            shift = VECTOR_BYTES * v
            add_row(p[Extra.MODE], (right - left, x + shift, 2 * p[Field.X_COL], other + shift, 2 * p[Field.ADDEND_COL],
                                    constants + p[Extra.ADDITION], y + shift, 2 * p[Field.Y_COL]))


@jit
def activate(p, arena, constants, first, last, left, right):
    """A function of each value."""
    stand_alone()
    params = constants + p[Extra.PARAMS]
    for i in range(first, last):
        x = arena + 2 * (p[Field.X] + i * p[Field.X_ROW] + left * p[Field.X_COL])
        y = arena + 2 * (p[Field.Y] + i * p[Field.Y_ROW] + left * p[Field.Y_COL])
        if p[Field.KIND] == RESCALE or p[Field.KIND] == LEAKY_RELU:
            for v in range(p[Field.VECTORS]):
                arguments = (right - left, x + VECTOR_BYTES * v, 2 * p[Field.X_COL], params,
                             p[Extra.LOW], p[Extra.HIGH], y + VECTOR_BYTES * v, 2 * p[Field.Y_COL])
                if p[Field.KIND] == RESCALE:
                    rescale_row(p[Extra.MODE], arguments)
                else:
                    leaky_row(p[Extra.MODE], arguments)
            continue
        for _ in range(left, right):
            for c in range(p[Field.CHANNELS]):
                value = read_short(x + 2 * c)
                if p[Field.KIND] == TABLE:
                    value = read_short(params + 2 * (value + p[Extra.ZERO] + 128))
                else:
                    value = look_up(params, value)
                write_short(value, y + 2 * c)
            x += 2 * p[Field.X_COL]
            y += 2 * p[Field.Y_COL]


@jit
def probabilities(p, arena, constants, first, last, left, right):
    """Softmax over the channels of each position."""
    stand_alone()
    params = constants + p[Extra.PARAMS]
    for i in range(first, last):
        x = arena + 2 * (p[Field.X] + i * p[Field.X_ROW] + left * p[Field.X_COL])
        y = arena + 2 * (p[Field.Y] + i * p[Field.Y_ROW] + left * p[Field.Y_COL])
        for _ in range(left, right):
            if p[Extra.BYTES] == 1:
                softmax(x, y, p[Field.CHANNELS], params)
            else:
                softmax_16(x, y, p[Field.CHANNELS], params, p[Extra.MODE])
            x += 2 * p[Field.X_COL]
            y += 2 * p[Field.Y_COL]

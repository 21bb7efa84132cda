"""Rows of activations as unsigned bytes, for dot products of bytes.

The arena holds q - zero point in 16 bits; q + 128 is a byte. What the 128 and the zero point add to a sum, whatever the
activations are, is in the bias: sum((q + 128) * w) - (128 + zero point) * sum(w). So a halo of zeros is one of zero
points here.
"""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64, repeat
from npunet.engine.codegen.integers import INT8, INT16, load, splat, store, vector_of
from npunet.engine.codegen.jit import inlined
from npunet.engine.integer.plan.opcodes import Extra
from npunet.engine.integer.plan.scratch import BYTES_AT_ONCE
from npunet.engine.plan.opcodes import Field

SHORT = 2  # bytes of an element of the arena


@intrinsic
def to_bytes(typing, arguments):
    """`count` neighbouring int16, plus a number, as bytes; a few more are read and written."""

    def generate(context, builder, signature, values):
        count, x, y, plus = cgutils.unpack_tuple(builder, values[0])
        plus = splat(builder, builder.trunc(plus, INT16), BYTES_AT_ONCE)
        passes = builder.sdiv(builder.add(count, INT64(BYTES_AT_ONCE - 1)), INT64(BYTES_AT_ONCE))

        def one(carried):
            x, y = carried
            value = builder.add(load(builder, x, INT16, BYTES_AT_ONCE), plus)
            store(builder, builder.trunc(value, vector_of(INT8, BYTES_AT_ONCE)), y)
            return [builder.add(x, INT64(SHORT * BYTES_AT_ONCE)), builder.add(y, INT64(BYTES_AT_ONCE))]

        repeat(builder, passes, [x, y], one)
        return context.get_dummy_value()

    return types.void(arguments), generate


@inlined
def pack_rows(p, arena, rows, i, at, count, y):
    """What `rows` rows of the output from row i, positions at ... at+count-1, read: as bytes, Field.PITCH a row."""
    x_col, x_row = p[Field.X_COL], p[Field.X_ROW]
    x = p[Field.X] + i * p[Field.STRIDE_Y] * x_row + p[Field.START] + at * p[Field.STRIDE_X] * x_col
    length = (count - 1) * p[Field.STRIDE_X] * x_col + p[Extra.SPAN]
    tall = (p[Field.KH] - 1) * p[Field.TAP_ROW] // x_row + 1
    for row in range((rows - 1) * p[Field.STRIDE_Y] + tall):
        to_bytes((length, arena + SHORT * (x + row * x_row), y + row * p[Field.PITCH], p[Extra.ZERO]))

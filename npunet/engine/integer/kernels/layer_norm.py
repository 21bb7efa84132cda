"""Layer norm over height and width in integers, a channel at a time; see npunet.integer.ops.norm."""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64
from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.codegen.vectors import DOUBLE
from npunet.engine.integer.kernels.softmax import leading_zeros, rounded
from npunet.engine.integer.kernels.vectors import read_long, read_short, write_short
from npunet.engine.integer.plan.opcodes import Extra
from npunet.engine.plan.opcodes import Field

LONG = 8  # bytes of a parameter: epsilon, fraction_bits, m', s, then beta and gamma (H, W)
SCALARS = 4


@intrinsic
def root_of(typing, value):
    """The square root of a positive integer in float64, truncated."""

    def generate(context, builder, signature, arguments):
        function = ir.FunctionType(DOUBLE, [DOUBLE])
        named = cgutils.get_or_insert_function(builder.module, function, "llvm.sqrt.f64")
        return builder.fptosi(builder.call(named, [builder.sitofp(arguments[0], DOUBLE)]), INT64)

    return types.int64(types.int64), generate


@inlined
def integer_sqrt(v):
    """norm.integer_sqrt."""
    root = root_of(v)
    if root * root > v:
        root -= 1
    if (root + 1) * (root + 1) <= v:
        root += 1
    return root


@jit
def layer_norm(p, arena, constants, left, right):
    """Channels left ... right-1."""
    stand_alone()
    height, width, params = p[Field.HEIGHT], p[Field.WIDTH], constants + p[Extra.PARAMS]
    epsilon, fraction_bits = read_long(params), read_long(params + LONG)
    multiplier, total = read_long(params + 2 * LONG), 15 - read_long(params + 3 * LONG)
    n = height * width
    for channel in range(left, right):
        x, y = arena + 2 * (p[Field.X] + channel), arena + 2 * (p[Field.Y] + channel)
        sum_x, sum_xx = 0, 0
        for i in range(height):
            for j in range(width):
                value = read_short(x + 2 * (i * p[Field.X_ROW] + j * p[Field.X_COL]))
                sum_x += value
                sum_xx += value * value
        v = n * sum_xx - sum_x * sum_x + epsilon
        shift = (leading_zeros(v) - 2) >> 1
        reciprocal = (1 << 61) // integer_sqrt(v << (2 * shift))
        at = params + SCALARS * LONG
        for i in range(height):
            for j in range(width):
                d = n * read_short(x + 2 * (i * p[Field.X_ROW] + j * p[Field.X_COL])) - sum_x
                h = rounded(d * reciprocal, 61 - shift - fraction_bits)
                acc = h * read_long(at + LONG * n) + read_long(at)
                value = (acc * multiplier + (1 << (total - 1))) >> total
                write_short(min(max(value, p[Extra.LOW]), p[Extra.HIGH]),
                            y + 2 * (i * p[Field.Y_ROW] + j * p[Field.Y_COL]))
                at += LONG

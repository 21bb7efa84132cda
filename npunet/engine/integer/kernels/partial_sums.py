"""Sums that wait: those of an upsampled input's channels, computed once for each of its positions and added to the sums
of the others wherever they are copied to."""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64, repeat
from npunet.engine.codegen.integers import INT32, load, store
from npunet.engine.codegen.jit import inlined
from npunet.engine.target import LANES

SUM_BYTES = 4 * LANES  # of one vector


@intrinsic
def move_sums(typing, arguments):
    """`count` vectors of sums, neighbouring ones, to addresses `step` bytes apart."""

    def generate(context, builder, signature, values):
        count, x, y, step = cgutils.unpack_tuple(builder, values[0])

        def one(carried):
            x, y = carried
            store(builder, load(builder, x, INT32), y)
            return [builder.add(x, INT64(SUM_BYTES)), builder.add(y, step)]

        repeat(builder, count, [x, y], one)
        return context.get_dummy_value()

    return types.void(arguments), generate


@intrinsic
def add_sums(typing, arguments):
    """To `count` times `copies` neighbouring vectors of sums: each vector at x, `step` bytes apart, to `copies`."""

    def generate(context, builder, signature, values):
        count, copies, x, step, sums = cgutils.unpack_tuple(builder, values[0])

        def one(carried):
            x, sums = carried
            more = load(builder, x, INT32)

            def copy(carried):
                (sums,) = carried
                store(builder, builder.add(load(builder, sums, INT32), more), sums)
                return [builder.add(sums, INT64(SUM_BYTES))]

            return [builder.add(x, step), *repeat(builder, copies, [sums], copy)]

        repeat(builder, count, [x, sums], one)
        return context.get_dummy_value()

    return types.void(arguments), generate


@inlined
def keep_row(count, vectors, sums, plane, y, y_step):
    """The sums of a row as an image of them: [position][vector][lane]."""
    for v in range(vectors):
        move_sums((count, sums + plane * v, y + SUM_BYTES * v, y_step))


@inlined
def add_row(count, copies, vectors, sums, plane, x, x_step):
    """A row of an image of sums, each position `copies` times, to the sums of a row of so many positions."""
    for v in range(vectors):
        add_sums(((count + copies - 1) // copies, copies, x + SUM_BYTES * v, x_step, sums + plane * v))

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


def make_add_sums(twice: bool):
    """The intrinsic that adds, to `count` times `copies` neighbouring vectors of sums, each vector at x, `step` bytes
    apart, to `copies` of them, which are two where `twice` says so."""

    def generate(context, builder, signature, values):
        count, copies, x, step, sums = cgutils.unpack_tuple(builder, values[0])

        def one(carried):
            x, sums = carried
            more = load(builder, x, INT32)

            def copy(carried):
                (sums,) = carried
                store(builder, builder.add(load(builder, sums, INT32), more), sums)
                return [builder.add(sums, INT64(SUM_BYTES))]

            if not twice:
                return [builder.add(x, step), *repeat(builder, copies, [sums], copy)]
            return [builder.add(x, step), *copy(copy([sums]))]

        repeat(builder, count, [x, sums], one)
        return context.get_dummy_value()

    @intrinsic
    def add_sums(typing, arguments):
        return types.void(arguments), generate

    return add_sums


add_sums, add_sums_twice = make_add_sums(twice=False), make_add_sums(twice=True)


@inlined
def keep_row(count, vectors, sums, plane, y, y_step):
    """The sums of a row as an image of them: [position][vector][lane]."""
    for v in range(vectors):
        move_sums((count, sums + plane * v, y + SUM_BYTES * v, y_step))


@inlined
def add_row(count, copies, vectors, sums, plane, x, x_step):
    """A row of an image of sums, each position `copies` times, to the sums of a row of so many positions."""
    for v in range(vectors):
        arguments = ((count + copies - 1) // copies, copies, x + SUM_BYTES * v, x_step, sums + plane * v)
        if copies == 2:
            add_sums_twice(arguments)
        else:
            add_sums(arguments)

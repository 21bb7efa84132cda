"""One row of a convolution by few tile shapes: the same sums as kernels.convolution in the same order, less to compile.

Batches have long rows, which two shapes fill but for a few positions; those go one by one. Where registers hold
pairs of vectors the shapes are few already.
"""

from __future__ import annotations

from npunet.engine.codegen.emit import TARGET, VECTOR_BYTES
from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.kernels.conv_tile import make_convolve
from npunet.engine.kernels.convolution import block_vectors, make_row
from npunet.engine.kernels.few_filters import make_few_filters
from npunet.engine.training.kernels.rows import U, Y, first_tap, place
from npunet.engine.training.plan.step_opcodes import Field

convolve = make_convolve(fused=True, shapes=TARGET.step_convolution)
LARGER_AND_SMALLER = ((10, 6), (6, 4), (4, 0))  # positions of two tiles of 1, 2 and 3 vectors


@inlined
def cut(count, larger, smaller):
    """Numbers of larger and of smaller tiles: as many positions as possible, as many of the larger as that allows."""
    many, few = count // larger, 0
    if smaller and count % larger:
        for fewer in range(min(many, smaller) + 1):
            if (count - (many - fewer) * larger) % smaller == 0:
                many -= fewer
                few = (count - many * larger) // smaller
                break
        if few == 0:
            few = (count - many * larger) // smaller
    return many, few


@inlined
def row_of_few_shapes(count, vectors, x, x_step, w, channels, kh, kw, tap_row, tap_col, y, y_step, flags, bias, addend,
                      addend_step, copies_y, copies_x, y_row, y_col, streams):
    """The convolution of `count` neighbouring positions of one row, all output channels; see make_convolve."""
    done = 0
    while done < vectors:
        block = block_vectors(vectors - done)
        larger, smaller = LARGER_AND_SMALLER[block - 1]
        many, few = cut(count, larger, smaller)
        at = 0
        for rows, number in ((larger, many), (smaller, few), (1, count - many * larger - few * smaller)):
            if number > 0:
                convolve(rows, block,
                         (number, x + at * x_step, x_step, w, channels, kh, kw, tap_row, tap_col, y + at * y_step,
                          y_step, flags, bias, addend + at * addend_step, addend_step, copies_y, copies_x, y_row, y_col,
                          streams, 0, 0, 0, 0))
                at += rows * number
        done += block
        streams = 0  # everything has been prefetched
        w += kh * kw * channels * VECTOR_BYTES * block
        y += VECTOR_BYTES * block
        bias += VECTOR_BYTES * block
        addend += VECTOR_BYTES * block


row = make_row(fused=True) if TARGET.pairs else row_of_few_shapes

transposed_row = make_few_filters(fused=True)


@jit
def few_filters_row(p, arena, params, n, i):
    """Row i of a convolution with few filters."""
    stand_alone()
    x_step = 4 * p[Field.X_COL]
    transposed_row(p[Field.SIZE], p[Field.CHANNELS], p[Field.KH], p[Field.KW], first_tap(p, arena, n, i),
                   4 * p[Field.X_ROW], x_step, p[Field.TAP_ROW] // p[Field.X_ROW], p[Field.TAP_COL] // p[Field.X_COL],
                   4 * p[Field.PITCH], params + 4 * p[Field.PARAM], params + 4 * p[Field.PARAM_2], p[Field.FLAGS],
                   place(p, arena, Y, n, i), 4 * p[Field.Y_COL], place(p, arena, U, n, 0), i, p[Field.WIDTH], i == 0)

"""Dense 3x3 convolutions by F(4x4, 3x3), step by step as ops.winograd defines them.

A cache block of tiles at a time: the patches of 6x6 inputs are transformed into the scratch, as 36 matrices tiles x
channels; each of them is multiplied by its matrix of weights for a block of vectors of filters; and the 36 products of
a tile are transformed to 4x4 outputs, followed by bias, clamp and second image. How tiles are cut into blocks changes
no bit.

In the scratch the 36 matrices lie interleaved, inputs as [tile][vector][matrix][lane] and products of a block as
[tile][matrix][vector][lane], so that a transform goes through one block of memory and products fill whole cache lines.
"""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import (
    FLOAT,
    INT64,
    TARGET,
    VECTOR_BYTES,
    along,
    choose,
    dispatch,
    every_third,
    everywhere,
    larger_vector,
    load_scalar,
    load_vector,
    make_multiply_add,
    offset,
    position,
    repeat,
    smaller_vector,
    splat,
    store_vector,
)
from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import Tile, stand_alone
from npunet.engine.kernels.conv_tile import CLAMPED, INFINITY, block_vectors
from npunet.engine.plan.opcodes import Field, Flag
from npunet.engine.plan.winograd_blocking import MATRICES, RUN, WIDEST
from npunet.engine.target import LANES, shapes_of
from npunet.ops.winograd import A1, A2, PATCH, PRODUCT, SUM, TILE

ROWS = tuple(rows for rows, _ in shapes_of(TARGET.winograd))  # tiles to a register tile of 1, 2, 3 vectors
STEP = MATRICES * VECTOR_BYTES  # from one vector of a tile to the next, in the scratch
COLUMN = PATCH * VECTOR_BYTES
ADD = int(Flag.ADD)
fma = make_multiply_add(fused=True)


def scaled(builder, factor: float, a, b):
    """fl(factor * a + b)."""
    return fma(builder, everywhere(factor), a, b)


def transform_input(builder, d: list) -> list:
    """ops.winograd.transform_input of six vectors."""
    even_1, odd_1 = scaled(builder, -(A2**2), d[2], d[4]), scaled(builder, -(A2**2), d[1], d[3])
    even_2, odd_2 = scaled(builder, -(A1**2), d[2], d[4]), scaled(builder, -(A1**2), d[1], d[3])
    return [
        scaled(builder, PRODUCT, d[0], scaled(builder, -SUM, d[2], d[4])),
        scaled(builder, A1, odd_1, even_1), scaled(builder, -A1, odd_1, even_1),
        scaled(builder, A2, odd_2, even_2), scaled(builder, -A2, odd_2, even_2),
        scaled(builder, PRODUCT, d[1], scaled(builder, -SUM, d[3], d[5])),
    ]


def transform_output(builder, m: list) -> list:
    """ops.winograd.transform_output of six vectors."""
    sum_1, difference_1 = builder.fadd(m[1], m[2]), builder.fsub(m[1], m[2])
    sum_2, difference_2 = builder.fadd(m[3], m[4]), builder.fsub(m[3], m[4])
    return [
        builder.fadd(builder.fadd(m[0], sum_1), sum_2),
        scaled(builder, A2, difference_2, builder.fmul(everywhere(A1), difference_1)),
        scaled(builder, A2**2, sum_2, builder.fmul(everywhere(A1**2), sum_1)),
        scaled(builder, A2**3, difference_2, scaled(builder, A1**3, difference_1, m[5])),
    ]


@intrinsic
def input_columns(typing, x, x_row, x_step, count, t):
    """Transform `count` neighbouring columns of six vectors at x to t [column][6][lane]."""

    def generate(context, builder, signature, arguments):
        x, x_row, x_step, count, t = arguments

        def over_columns(carried):
            x, t = carried
            column = [load_vector(builder, offset(builder, x, x_row, i)) for i in range(PATCH)]
            for value, at in zip(transform_input(builder, column), along(builder, t, PATCH), strict=True):
                store_vector(builder, value, at)
            return [builder.add(x, x_step), builder.add(t, INT64(COLUMN))]

        repeat(builder, count, [x, t], over_columns)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 5), generate


@intrinsic
def input_rows(typing, t, v):
    """Transform the six rows of a patch t [column][6][lane] to v [matrix][lane]."""

    def generate(context, builder, signature, arguments):
        def over_rows(carried):
            t, v = carried
            row = [load_vector(builder, offset(builder, t, INT64(COLUMN), j)) for j in range(PATCH)]
            for value, at in zip(transform_input(builder, row), along(builder, v, PATCH), strict=True):
                store_vector(builder, value, at)
            return [builder.add(t, INT64(VECTOR_BYTES)), builder.add(v, INT64(PATCH * VECTOR_BYTES))]

        repeat(builder, INT64(PATCH), list(arguments), over_rows)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@inlined
def patches(x, x_row, x_step, tiles, vectors, v, v_step, t):
    """Transform the inputs of neighbouring tiles, all channels, to v [tile][vector][matrix][lane]; t is for their
    transformed columns, two of which a tile shares with the next."""
    for vector in range(vectors):
        input_columns(x + VECTOR_BYTES * vector, x_row, x_step, TILE * tiles + PATCH - TILE, t)
        for k in range(tiles):
            input_rows(t + k * TILE * COLUMN, v + k * v_step + vector * STEP)


@intrinsic
def multiply(typing, rows, vectors, arguments):
    """One matrix: m[t][f] = sum over c of v[t][c] * w[c][f], fused, from +0; `rows` tiles, `vectors` vectors.

    arguments: those of register_tile
    """

    def generate(context, builder, signature, values):
        arguments = cgutils.unpack_tuple(builder, values[2])
        dispatch(builder, values[0], values[1], TARGET.winograd,
                 lambda rows, vectors: register_tile(builder, Tile(rows, vectors), *arguments))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, arguments), generate


def register_tile(builder, tile: Tile, v, v_step, w, channels, m) -> None:
    """Emits the micro-kernel of one matrix.

    v : [t][vector][matrix][lane], tiles every v_step bytes;  w : [c][f];  m : [t][matrix][vector][lane]
    """
    bases = every_third(builder, tile.rows, v, v_step)
    number = len(bases)

    def over_channels(count: int, then: int):
        """`count` channels of one vector; `then` bytes on to the next ones."""
        def body(carried):
            bases, w, acc = carried[:number], carried[number], carried[number + 1 :]
            for c in range(count):
                shifted = [builder.add(base, INT64(4 * c)) for base in bases]
                weights = [load_vector(builder, at, tile.lanes) for at in along(builder, w, tile.parts, tile.lanes)]
                for k in range(tile.size):
                    t, f = divmod(k, tile.parts)
                    if f == 0:
                        scalar = load_scalar(builder, position(builder, shifted, v_step, t))
                        value = splat(builder, scalar, tile.lanes)
                    acc[k] = fma(builder, value, weights[f], acc[k])
                w = builder.add(w, INT64(VECTOR_BYTES * tile.vectors))
            return [*(builder.add(base, INT64(then)) for base in bases), w, *acc]

        return body

    carried = [*bases, w, *[everywhere(0.0, tile.lanes)] * tile.size]
    whole, rest = builder.sdiv(channels, INT64(LANES)), builder.srem(channels, INT64(LANES))
    carried = repeat(builder, whole, carried, over_channels(LANES, STEP))
    carried = repeat(builder, rest, carried, over_channels(1, 4))
    for k, value in enumerate(carried[-tile.size :]):
        t, f = divmod(k, tile.parts)
        store_vector(builder, value, builder.add(m, INT64(STEP * tile.vectors * t + 4 * tile.lanes * f)))


@intrinsic
def outputs(typing, m, vectors, y, y_row, y_step, down, across, flags, bias, addend, addend_row, addend_step, t):
    """Transform one tile's products m [matrix][vector][lane] to its outputs at y, of which `down` x `across` lie within
    the image; t is for their transformed columns."""

    def generate(context, builder, signature, arguments):
        m, vectors, y, y_row, y_step, down, across, flags, bias, addend, addend_row, addend_step, t = arguments

        def has(flag: int):
            return builder.icmp_signed("!=", builder.and_(flags, INT64(flag)), INT64(0))

        m_col = builder.mul(vectors, INT64(VECTOR_BYTES))
        m_row = builder.mul(m_col, INT64(PATCH))
        low = splat(builder, builder.select(has(CLAMPED), FLOAT(0.0), FLOAT(-INFINITY)))
        high = splat(builder, builder.select(has(Flag.RELU6), FLOAT(6.0), FLOAT(INFINITY)))
        whole = builder.icmp_signed("==", across, INT64(TILE))

        def over_columns(carried):
            m, t = carried
            column = [load_vector(builder, offset(builder, m, m_row, i)) for i in range(PATCH)]
            for value, at in zip(transform_output(builder, column), along(builder, t, TILE), strict=True):
                store_vector(builder, value, at)
            return [builder.add(m, m_col), builder.add(t, INT64(TILE * VECTOR_BYTES))]

        def over_rows(bias):
            def body(carried):
                t, y, addend = carried
                row = [load_vector(builder, offset(builder, t, INT64(TILE * VECTOR_BYTES), j)) for j in range(PATCH)]
                row = [builder.fadd(value, bias) for value in transform_output(builder, row)]
                row = [smaller_vector(builder, high, larger_vector(builder, low, value)) for value in row]

                def put(j: int) -> list:
                    def plus_addend(carried):
                        at = offset(builder, addend, addend_step, j)
                        return [builder.fadd(carried[0], load_vector(builder, at))]

                    (value,) = choose(builder, has(ADD), [row[j]], plus_addend)
                    store_vector(builder, value, offset(builder, y, y_step, j))
                    return []

                def put_all(_):
                    for j in range(TILE):
                        put(j)
                    return []

                def put_those_inside(_):
                    for j in range(TILE):
                        choose(builder, builder.icmp_signed(">", across, INT64(j)), [], lambda _, j=j: put(j))
                    return []

                choose(builder, whole, [], put_all)
                choose(builder, builder.not_(whole), [], put_those_inside)
                return [builder.add(t, INT64(VECTOR_BYTES)), builder.add(y, y_row), builder.add(addend, addend_row)]

            return body

        def over_vectors(carried):
            m, y, bias, addend = carried
            repeat(builder, INT64(PATCH), [m, t], over_columns)
            repeat(builder, down, [t, y, addend], over_rows(load_vector(builder, bias)))
            return [builder.add(at, INT64(VECTOR_BYTES)) for at in (m, y, bias, addend)]

        repeat(builder, vectors, [m, y, bias, addend], over_vectors)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 13), generate


@inlined
def products(count, block, v, v_step, w, channels, m):
    """All 36 products of `count` tiles by one block of vectors. The last tile of registers reaches back, so that it
    multiplies some tiles again; with fewer tiles than it has rows, the others are whatever the scratch holds."""
    rows = ROWS[block - 1]
    for _ in range(MATRICES):
        done = 0
        while done < count:
            at = max(0, min(done, count - rows))
            multiply(rows, block, (v + at * v_step, v_step, w, channels, m + at * block * STEP))
            done += rows
        v += VECTOR_BYTES
        m += VECTOR_BYTES * block
        w += channels * VECTOR_BYTES * block


@jit
def winograd(p, arena, constants, scratch, top, bottom, left, right):
    """The outputs of instruction p in rows top ... bottom-1, positions left ... right-1, which begin on whole tiles."""
    stand_alone()
    channels, flags, tiles = p[Field.CHANNELS], p[Field.FLAGS], p[Field.TILES]
    x_row, x_step, y_row, y_step = 4 * p[Field.X_ROW], 4 * p[Field.X_COL], 4 * p[Field.Y_ROW], 4 * p[Field.Y_COL]
    addend_row, addend_step = 4 * p[Field.ADDEND_ROW], 4 * p[Field.ADDEND_COL]
    x = arena + 4 * (p[Field.X] + p[Field.START]) + top * x_row + left * x_step
    y = arena + 4 * p[Field.Y] + top * y_row + left * y_step
    addend = arena + 4 * p[Field.ADDEND] + top * addend_row + left * addend_step
    height, width = bottom - top, right - left
    across = (width + TILE - 1) // TILE
    total = (height + TILE - 1) // TILE * across
    v_step = MATRICES * x_step
    m = scratch + tiles * v_step
    between = m + tiles * WIDEST * MATRICES * 4
    first = 0
    while first < total:
        count = min(tiles, total - first)
        done = 0
        while done < count:
            i, j = (first + done) // across, (first + done) % across
            run = min(RUN, count - done, across - j)
            patches(x + TILE * (i * x_row + j * x_step), x_row, x_step, run, x_step // VECTOR_BYTES,
                    scratch + done * v_step, v_step, between)
            done += run
        w, shift = constants + 4 * p[Field.WEIGHTS], 0
        remaining = p[Field.VECTORS]
        while remaining > 0:
            block = block_vectors(remaining)
            products(count, block, scratch, v_step, w, channels, m)
            for t in range(count):
                i, j = (first + t) // across * TILE, (first + t) % across * TILE
                outputs(m + t * block * STEP, block, y + i * y_row + j * y_step + shift, y_row, y_step,
                        min(TILE, height - i), min(TILE, width - j), flags, constants + 4 * p[Field.BIAS] + shift,
                        addend + i * addend_row + j * addend_step + shift, addend_row, addend_step, between)
            w += channels * block * STEP
            shift += block * VECTOR_BYTES
            remaining -= block
        first += count

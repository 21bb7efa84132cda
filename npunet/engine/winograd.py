"""Dense 3x3 convolutions by F(4x4, 3x3), step by step as ops.winograd defines them.

A strip of tiles at a time: the patches of 6x6 inputs are transformed into the scratch, as 36 matrices tiles x channels;
each of them is multiplied by its matrix of weights for a block of vectors of filters; and the 36 products of a tile are
transformed to 4x4 outputs, followed by bias, clamp and second image. How tiles are cut into strips changes no bit.
"""

from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from npunet.engine.jit import inlined, jit
from npunet.engine.opcodes import Field, Flag
from npunet.engine.simd import (
    FLOAT,
    INT64,
    VECTOR_BYTES,
    Tile,
    addresses,
    along,
    choose,
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
    stand_alone,
    store_vector,
)
from npunet.engine.strips import APART, MATRICES
from npunet.engine.tile import CLAMPED, INFINITY, UNROLLED, block_vectors
from npunet.ops.winograd import A1, A2, PATCH, PRODUCT, SUM, TILE

ROWS = (8, 6, 4)  # tiles in a tile of registers with 1, 2, 3 vectors of filters
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
def patch(typing, x, x_row, x_step, vectors, v, v_pitch):
    """Transform one tile's inputs at x, all channels; matrix k has its row of the tile at v + k * v_pitch."""

    def generate(context, builder, signature, arguments):
        x, x_row, x_step, vectors, v, v_pitch = arguments

        def over_vectors(carried):
            x, v = carried
            columns = []
            for j in range(PATCH):
                at = offset(builder, x, x_step, j)
                columns.append(transform_input(
                    builder, [load_vector(builder, offset(builder, at, x_row, i)) for i in range(PATCH)]))
            for i in range(PATCH):
                for j, value in enumerate(transform_input(builder, [column[i] for column in columns])):
                    store_vector(builder, value, offset(builder, v, v_pitch, PATCH * i + j))
            return [builder.add(x, INT64(VECTOR_BYTES)), builder.add(v, INT64(VECTOR_BYTES))]

        repeat(builder, vectors, [x, v], over_vectors)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 6), generate


@intrinsic(prefer_literal=True)
def multiply(typing, rows, vectors, v, v_step, w, channels, m):
    """m[t][f] = sum over c of v[t][c] * w[c][f], fused, from +0: `rows` tiles, `vectors` vectors, both literal."""
    tile = Tile(rows.literal_value, vectors.literal_value)

    def generate(context, builder, signature, arguments):
        _, _, v, v_step, w, channels, m = arguments
        bases = every_third(builder, tile.rows, v, v_step)

        def over_channel(carried):
            bases, w, acc = carried[: -1 - tile.size], carried[-1 - tile.size], carried[-tile.size :]
            weights = [load_vector(builder, at) for at in along(builder, w, tile.vectors)]
            for k in range(tile.size):
                t, f = divmod(k, tile.vectors)
                if f == 0:
                    value = splat(builder, load_scalar(builder, position(builder, bases, v_step, t)))
                acc[k] = fma(builder, value, weights[f], acc[k])
            bases = [builder.add(base, INT64(4)) for base in bases]
            return [*bases, builder.add(w, INT64(VECTOR_BYTES * tile.vectors)), *acc]

        def over_four_channels(carried):
            for _ in range(UNROLLED):
                carried = over_channel(carried)
            return carried

        carried = [*bases, w, *[everywhere(0.0)] * tile.size]
        carried = repeat(builder, builder.sdiv(channels, INT64(UNROLLED)), carried, over_four_channels)
        carried = repeat(builder, builder.srem(channels, INT64(UNROLLED)), carried, over_channel)
        places = addresses(builder, tile, m, INT64(VECTOR_BYTES * tile.vectors))
        for value, at in zip(carried[-tile.size :], places, strict=True):
            store_vector(builder, value, at)
        return context.get_dummy_value()

    return types.void(rows, vectors, *[types.intp] * 5), generate


@intrinsic
def outputs(typing, m, m_pitch, vectors, y, y_row, y_step, down, across, flags, bias, addend, addend_row, addend_step):
    """Transform one tile's products at m to its outputs at y, of which `down` x `across` lie within the image."""

    def generate(context, builder, signature, arguments):
        m, m_pitch, vectors, y, y_row, y_step, down, across, flags, bias, addend, addend_row, addend_step = arguments

        def asked(flag: int):
            return builder.icmp_signed("!=", builder.and_(flags, INT64(flag)), INT64(0))

        low = splat(builder, builder.select(asked(CLAMPED), FLOAT(0.0), FLOAT(-INFINITY)))
        high = splat(builder, builder.select(asked(Flag.RELU6), FLOAT(6.0), FLOAT(INFINITY)))
        whole = builder.icmp_signed("==", builder.add(down, across), INT64(2 * TILE))

        def over_vectors(carried):
            m, y, bias, addend = carried
            columns = []
            for j in range(PATCH):
                products = [load_vector(builder, offset(builder, m, m_pitch, PATCH * i + j)) for i in range(PATCH)]
                columns.append(transform_output(builder, products))
            shift = load_vector(builder, bias)

            def finished(i: int) -> list:
                row = transform_output(builder, [column[i] for column in columns])
                row = [larger_vector(builder, low, builder.fadd(value, shift)) for value in row]
                return [smaller_vector(builder, high, value) for value in row]

            def put(i: int, j: int, value) -> None:
                def plus_addend(carried):
                    at = offset(builder, offset(builder, addend, addend_row, i), addend_step, j)
                    return [builder.fadd(carried[0], load_vector(builder, at))]

                (value,) = choose(builder, asked(ADD), [value], plus_addend)
                store_vector(builder, value, offset(builder, offset(builder, y, y_row, i), y_step, j))

            def all_of_them(_):
                for i in range(TILE):
                    for j, value in enumerate(finished(i)):
                        put(i, j, value)
                return []

            def some_of_them(_):
                for i in range(TILE):
                    for j, value in enumerate(finished(i)):
                        inside = builder.and_(builder.icmp_signed(">", down, INT64(i)),
                                              builder.icmp_signed(">", across, INT64(j)))
                        choose(builder, inside, [], lambda _, i=i, j=j, value=value: put(i, j, value) or [])
                return []

            choose(builder, whole, [], all_of_them)
            choose(builder, builder.not_(whole), [], some_of_them)
            return [builder.add(at, INT64(VECTOR_BYTES)) for at in carried]

        repeat(builder, vectors, [m, y, bias, addend], over_vectors)
        return context.get_dummy_value()

    return types.void(*[types.intp] * 13), generate


@inlined
def products(count, block, v, v_pitch, v_step, w, channels, m, m_pitch):
    """All 36 products of `count` tiles by one block of vectors. The last tile of registers reaches back, so that it
    multiplies some tiles again; with fewer tiles than it has rows, the others are whatever the scratch holds."""
    rows = ROWS[block - 1]
    for _ in range(MATRICES):
        done = 0
        while done < count:
            at = max(0, min(done, count - rows))
            if block == 2:
                multiply(6, 2, v + at * v_step, v_step, w, channels, m + at * 2 * VECTOR_BYTES)
            elif block == 3:
                multiply(4, 3, v + at * v_step, v_step, w, channels, m + at * 3 * VECTOR_BYTES)
            else:
                multiply(8, 1, v + at * v_step, v_step, w, channels, m + at * VECTOR_BYTES)
            done += rows
        v += v_pitch
        m += m_pitch
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
    v_pitch = tiles * x_step + 4 * APART
    m = scratch + MATRICES * v_pitch
    first = 0
    while first < total:
        count = min(tiles, total - first)
        for t in range(count):
            i, j = (first + t) // across * TILE, (first + t) % across * TILE
            patch(x + i * x_row + j * x_step, x_row, x_step, x_step // VECTOR_BYTES, scratch + t * x_step, v_pitch)
        w, shift = constants + 4 * p[Field.WEIGHTS], 0
        remaining = p[Field.VECTORS]
        while remaining > 0:
            block = block_vectors(remaining)
            m_step = VECTOR_BYTES * block
            m_pitch = tiles * m_step + 4 * APART
            products(count, block, scratch, v_pitch, x_step, w, channels, m, m_pitch)
            for t in range(count):
                i, j = (first + t) // across * TILE, (first + t) % across * TILE
                outputs(m + t * m_step, m_pitch, block, y + i * y_row + j * y_step + shift, y_row, y_step,
                        min(TILE, height - i), min(TILE, width - j), flags, constants + 4 * p[Field.BIAS] + shift,
                        addend + i * addend_row + j * addend_step + shift, addend_row, addend_step)
            w += MATRICES * channels * m_step
            shift += m_step
            remaining -= block
        first += count

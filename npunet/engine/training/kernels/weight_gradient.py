"""Gradients of dense kernels: tiles of (tap and input channel) x filters, or TRANSPOSED, of (tap and filter) x
channels, where that fills the vectors better; each summed over the whole batch, in the same order either way.

CHANNELS counts the rows of all tiles of a tap: TRANSPOSED, those are filters.

dw[ky, kx, c, f] = sum over n, i, j of x[n, i + ky*dy - top, j + kx*dx - left, c] * dz[n, i, j, f]

A cache block is BLOCK_ROWS x BLOCK_COLS positions of one sample, at most 128: its products are summed in float32 by
fused multiply-adds, row by row. Blocks are added in float64 in the order sample, row, column, and the total is rounded
once; in Mode.ROWS chunks are summed first, then together in order. What a block's sum can be off by is
gamma(128) * sum |x| |dz|; summing everything in float64 would cost four times the time. Threads change no order: a
tile, or a chunk, is one thread's.
"""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import (
    INT64,
    PAIRS,
    TARGET,
    VECTOR_BYTES,
    dispatch,
    everywhere,
    hidden,
    keep_order,
    load_scalar,
    load_vector,
    make_multiply_add,
    prefetch,
    repeat,
    splat,
)
from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.codegen.vectors import (
    doubles,
    lane,
    load_wide,
    load_wide_at,
    nothing,
    store,
    store_wide,
    store_wide_at,
    to_float32,
    write,
)
from npunet.engine.kernels.convolution import block_vectors
from npunet.engine.kernels.tile import registers_of
from npunet.engine.plan.opcodes import STREAM_COLUMNS, STREAMS
from npunet.engine.target import CACHE_LINE, LANES
from npunet.engine.training.kernels.rows import Z, begin_streams, first_tap, opens_chunk, place, slot
from npunet.engine.training.plan.step_opcodes import Field, Flag, Mode

TRANSPOSED, ROWS = int(Flag.TRANSPOSED), int(Mode.ROWS)


@intrinsic
def tile(typing, rows, vectors, arguments):
    """Add a cache block to a tile of float64 sums: `rows` neighbouring channels of x by `vectors` vectors of filters z,
    or filters x by vectors of channels z.

    arguments: x, x_row, x_col, z, z_row, z_col, height, width, sums, sums_row, and where to prefetch a cache line with
    every position and how much further on with the next; all in bytes
    """

    def generate(context, builder, signature, values):
        arguments = cgutils.unpack_tuple(builder, values[2])
        dispatch(builder, values[0], values[1], TARGET.kernel_gradient,
                 lambda rows, vectors: register_tile(builder, rows, registers_of(vectors), *arguments))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp, arguments), generate


def register_tile(builder, rows: int, registers, x, x_row, x_col, z, z_row, z_col, height, width, sums, sums_row, line,
                  line_step) -> None:
    """Emits the micro-kernel of one register tile."""
    parts, widths = len(registers), {register.lanes for register in registers}
    multiply_add = make_multiply_add(fused=True)

    def over_positions(carried):
        """acc[k][v] = acc[k][v] + x[k] * z[v]."""
        keep_order(builder)
        x, z, line, *acc = carried
        prefetch(builder, line)
        own = {lanes: hidden(builder, x) for lanes in widths}  # see tile_sums.TileSums.over
        gradients = [load_vector(builder, builder.add(z, INT64(start)), lanes) for start, lanes in registers]
        for k in range(rows):
            for v, (_, lanes) in enumerate(registers):
                scalar = splat(builder, load_scalar(builder, builder.add(own[lanes], INT64(4 * k))), lanes)
                acc[k * parts + v] = multiply_add(builder, scalar, gradients[v], acc[k * parts + v])
        return [builder.add(x, x_col), builder.add(z, z_col), builder.add(line, line_step), *acc]

    def over_rows(carried):
        x, z, line, *acc = carried
        _, _, line, *acc = repeat(builder, width, [x, z, line, *acc], over_positions)
        return [builder.add(x, x_row), builder.add(z, z_row), line, *acc]

    acc = [everywhere(0.0, register.lanes) for register in registers] * rows
    _, _, _, *acc = repeat(builder, height, [x, z, line, *acc], over_rows)
    for k in range(rows):
        for v, (start, lanes) in enumerate(registers):
            at = builder.add(sums, INT64(2 * start))
            total = load_wide_at(builder, at, lanes)
            store_wide_at(builder, builder.fadd(total, builder.fpext(acc[k * parts + v], doubles(lanes))), at)
        sums = builder.add(sums, sums_row)


@jit
def rows_of_tile(vectors, channels):
    """Rows of the next tile where so many are left; a single last one is done with what stands behind it."""
    if PAIRS:
        return 8 if channels >= 7 else channels + channels % 2
    if vectors == 2:
        return 6 if channels > 8 or channels == 6 else (4 if channels > 2 else 2)
    if vectors == 3:
        return 4 if channels > 2 else 2
    return 12 if channels >= 12 else (6 if channels > 4 else 2)


@inlined
def line_to_prefetch(p, line, x, z):
    """Where and how far apart a pass over a block prefetches cache lines: one of each position of the next sample's x,
    a pass behind the other, then of its z."""
    x_step, z_step = 4 * p[Field.X_COL], 4 * p[Field.Z_COL]
    x_lines, z_lines = (x_step + CACHE_LINE - 1) // CACHE_LINE, (z_step + CACHE_LINE - 1) // CACHE_LINE
    if line < x_lines:
        return x + 4 * p[Field.X_SAMPLE] + CACHE_LINE * line, x_step
    if line < x_lines + z_lines:
        return z + 4 * p[Field.Z_SAMPLE] + CACHE_LINE * (line - x_lines), z_step
    return x, 0


@jit
def add_blocks(p, arena, home, n, first, last, thread, threads):
    """Add rows first ... last-1 of sample n, a cache block at a time, to this thread's tiles of the sums at `home`."""
    stand_alone()
    by_rows = p[Field.MODE] == ROWS
    vectors, width, kw, channels = p[Field.VECTORS], p[Field.Z_WIDTH], p[Field.KW], p[Field.CHANNELS]
    sums_row, transposed = 2 * VECTOR_BYTES * vectors, p[Field.FLAGS] & TRANSPOSED != 0
    x_row, x_col, z_row, z_col = 4 * p[Field.X_ROW], 4 * p[Field.X_COL], 4 * p[Field.Z_ROW], 4 * p[Field.Z_COL]
    ones_row, ones_col, eights_row, eights_col = x_row, x_col, z_row, z_col  # value by value, and by vectors
    if transposed:
        ones_row, ones_col, eights_row, eights_col = z_row, z_col, x_row, x_col
    for i in range(first, last, p[Field.BLOCK_ROWS]):
        rows = min(p[Field.BLOCK_ROWS], last - i)
        for j in range(0, width, p[Field.BLOCK_COLS]):
            cols = min(p[Field.BLOCK_COLS], width - j)
            x, z = first_tap(p, arena, n, i) + j * x_col, place(p, arena, Z, n, i) + j * z_col
            number, mine, done = 0, 0, 0
            while done < vectors:
                block = block_vectors(vectors - done)
                sums = home + 2 * VECTOR_BYTES * done
                for tap in range(p[Field.KH] * kw):
                    at = x + 4 * (tap // kw * p[Field.TAP_ROW] + tap % kw * p[Field.TAP_COL])
                    ones, eights = (z, at) if transposed else (at, z)
                    eights += VECTOR_BYTES * done
                    left = channels
                    while left > 0:
                        size = rows_of_tile(block, left)
                        if number % threads == thread:
                            stream = Field.STREAMS + STREAM_COLUMNS * min(mine, STREAMS)
                            line, step = (p[stream], p[stream + 1]) if by_rows else line_to_prefetch(p, mine, x, z)
                            tile(size, block, (ones, ones_row, ones_col, eights, eights_row, eights_col, rows, cols,
                                                   sums, sums_row, line, step))
                            if by_rows:
                                p[stream] += rows * cols * step
                            mine += 1
                        number += 1
                        left -= size
                        ones += 4 * size
                        sums += size * sums_row
                done += block


@jit
def close_tiles(p, home, gradients, thread, threads, clear):
    """Zero this thread's tiles of the sums at `home`, or round them to the block of gradients."""
    vectors, kw, channels, number, done = p[Field.VECTORS], p[Field.KW], p[Field.CHANNELS], 0, 0
    while done < vectors:
        block = block_vectors(vectors - done)
        row = 0
        for tap in range(p[Field.KH] * kw):
            c = 0
            while c < channels:
                size = rows_of_tile(block, channels - c)
                if number % threads == thread:
                    for k in range(size):
                        for v in range(done, done + block):
                            at = home + 2 * VECTOR_BYTES * ((row + k) * vectors + v)
                            if clear:
                                store_wide(nothing(), at)
                            elif c + k < channels:
                                put_vector(p, load_wide(at), gradients, tap, c + k, v)
                number += 1
                c += size
                row += size
        done += block


@jit
def conv_dw_row(p, arena, sums, n, i):
    """Mode.ROWS: add row i of sample n to its chunk's sums."""
    stand_alone()
    home = slot(p, sums, n, i)
    if opens_chunk(p, i):
        close_tiles(p, home, 0, 0, 1, True)
    begin_streams(p, arena, n, i)
    add_blocks(p, arena, home, n, i, i + 1, 0, 1)


@jit
def conv_dw(p, arena, sums, gradients, samples, thread, threads):
    """Mode.TILES: this thread's tiles over the whole batch, rounded to the block of gradients."""
    stand_alone()
    home = sums + 8 * p[Field.SUMS]
    close_tiles(p, home, gradients, thread, threads, True)
    for n in range(samples):
        add_blocks(p, arena, home, n, 0, p[Field.HEIGHT], thread, threads)
    close_tiles(p, home, gradients, thread, threads, False)


@jit
def conv_dw_end(p, gradients, sums, samples):
    """Sums of chunks of a kernel, in order, to its gradient."""
    stand_alone()
    vectors, channels = p[Field.VECTORS], p[Field.CHANNELS]
    for tap in range(p[Field.KH] * p[Field.KW]):
        for c in range(channels):
            for v in range(vectors):
                row = tap * (channels + channels % 2) + c
                at = sums + 8 * p[Field.SUMS] + 2 * VECTOR_BYTES * (row * vectors + v)
                total = nothing()
                for _ in range(samples * p[Field.CHUNKS]):
                    total = total + load_wide(at)
                    at += 8 * p[Field.SUMS_SIZE]
                put_vector(p, total, gradients, tap, c, v)


@jit
def put_vector(p, total, gradients, tap, row, v):
    """Round vector v of a tap and a row of tiles to where the kernel has it."""
    ky, kx = tap // p[Field.KW], tap % p[Field.KW]
    at = gradients + 4 * (p[Field.PARAM] + ky * p[Field.STEP_A] + kx * p[Field.STEP_B] + row * p[Field.STEP_R])
    first, value, step = v * LANES, to_float32(total), 4 * p[Field.STEP_C]
    if step == 4 and first + LANES <= p[Field.SIZE]:
        store(value, at + 4 * first)
    else:
        for k in range(first, min(first + LANES, p[Field.SIZE])):
            write(lane(value, k - first), at + step * k)

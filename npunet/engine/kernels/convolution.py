"""Convolution instructions: rows of positions cut into tiles, one convolution or a group of them at a time.

A tile is `rows` positions of one image row times `vectors` vectors of output channels. How an image is cut into tiles
changes no bit.
"""

from __future__ import annotations

from npunet.engine.codegen.emit import TARGET, VECTOR_BYTES
from npunet.engine.codegen.jit import inlined
from npunet.engine.kernels.conv_tile import block_vectors, make_convolve
from npunet.engine.kernels.depthwise import make_depthwise_row
from npunet.engine.kernels.few_filters import make_few_filters
from npunet.engine.kernels.prefetch import three_prefetch_streams
from npunet.engine.kernels.winograd import winograd
from npunet.engine.plan.opcodes import Field, Flag, Op
from npunet.engine.target import LANES

CONV, SEPARABLE, DEPTHWISE, WINOGRAD = (int(op) for op in (Op.CONV, Op.SEPARABLE, Op.DEPTHWISE, Op.WINOGRAD))
ADD, SPREAD, FUSE_NEXT = int(Flag.ADD), int(Flag.SPREAD), int(Flag.FUSE_NEXT)
LOAD_BOUND, PREFETCHES, FUSES_NEXT = TARGET.load_bound, TARGET.prefetches, TARGET.fuses_next
LEAST_FUSED = 28  # positions: so many and more are cut into LARGE tiles alone


@inlined
def wide_cut(count, vectors):
    """Neighbouring positions as tiles: pairs of the positions of a tile and a number of tiles. Eights and fives, which
    all numbers from 28 on are made of, and what is left of smaller ones."""
    fives = min(5 * count % 8, count // 5)
    eights = (count - 5 * fives) // 8
    rest = count - 5 * fives - 8 * eights
    return (8, eights), (5, fives), (2, rest // 2), (1, rest % 2)


@inlined
def wider_cut(count, vectors):
    """The same for two units that multiply full registers: three eights of two vectors as two twelves."""
    (_, eights), (_, fives), (_, twos), (_, ones) = wide_cut(count, vectors)
    threes = eights // 3 if vectors == 2 else 0
    return (12, 2 * threes), (8, eights - 3 * threes), (5, fives), (2, twos), (1, ones)


@inlined
def even_cut(count, vectors):
    """The same, the largest tiles and such as are one smaller; only short rows need a division by what is not known
    when this is compiled."""
    most = 12 if vectors == 1 else (6 if vectors == 2 else 4)
    tiles = (count + 11) // 12 if vectors == 1 else ((count + 5) // 6 if vectors == 2 else (count + 3) // 4)
    smaller = tiles * most - count
    if smaller <= tiles:
        return (most, tiles - smaller), (most - 1, smaller)
    least = count // tiles
    larger = count - least * tiles
    return (least + 1, larger), (least, tiles - larger)


cut = wider_cut if TARGET.load_bound else (wide_cut if TARGET.pairs else even_cut)


def make_row(fused: bool, fuses_next: bool = False, prefetches: bool = True):
    """The convolution of `count` neighbouring positions of one row, all output channels; see make_convolve."""
    convolve = make_convolve(fused, TARGET.convolution, fuses_next, prefetches)

    @inlined
    def row(count, vectors, x, x_step, w, channels, kh, kw, tap_row, tap_col, y, y_step, flags, bias, addend,
            addend_step, copies_y, copies_x, y_row, y_col, streams, next_w=0, next_channels=0, next_flags=0,
            next_bias=0):
        done = 0
        while done < vectors:
            block = block_vectors(vectors - done)
            if LOAD_BOUND and block == 2 and vectors - done >= 4:
                block = 4
            at = 0
            for rows, number in cut(count, block):
                if number > 0:
                    convolve(
                        rows, block,
                        (number, x + at * x_step, x_step, w, channels, kh, kw, tap_row, tap_col,
                         y + at * y_step, y_step, flags, bias, addend + at * addend_step, addend_step,
                         copies_y, copies_x, y_row, y_col, streams, next_w, next_channels, next_flags, next_bias),
                    )
                    at += rows * number
            done += block
            streams = 0  # everything has been prefetched
            w += kh * kw * channels * VECTOR_BYTES * block
            y += VECTOR_BYTES * block
            bias += VECTOR_BYTES * block
            next_w += next_channels * VECTOR_BYTES * block
            next_bias += VECTOR_BYTES * block
            if flags & FUSE_NEXT == 0:  # else it is what the next one reads, all channels
                addend += VECTOR_BYTES * block

    return row


def make_convolve_group(fused: bool):
    """The convolution instructions in one arithmetic."""
    row, depthwise_row = make_row(fused, FUSES_NEXT, PREFETCHES), make_depthwise_row(fused)
    few_filters = make_few_filters(fused)

    @inlined
    def convolve_block(p, next_one, fuse_next, arena, constants, scratch, i, at, count):
        """Positions at ... at+count-1 of row i of the output image of instruction p; of both, where the next one is
        fused.

        A separable one puts its depthwise half into the scratch and takes the 1x1 half from there. Dense and separable
        end in the same call, so that the tiles are compiled once.
        """
        op, channels = p[Field.OP], p[Field.CHANNELS]
        x_step, y_col, addend_step = 4 * p[Field.X_COL], 4 * p[Field.Y_COL], 4 * p[Field.ADDEND_COL]
        copies_y, copies_x, y_row = p[Field.COPIES_Y], p[Field.COPIES_X], 4 * p[Field.Y_ROW]
        y = arena + 4 * p[Field.Y] + i * y_row + at * y_col
        addend = arena + 4 * (p[Field.ADDEND] + i * p[Field.ADDEND_ROW]) + at * addend_step
        flags = p[Field.FLAGS] if fuse_next else p[Field.FLAGS] & ~FUSE_NEXT
        if fuse_next:
            addend_step = 4 * next_one[Field.X_COL]
            addend = arena + 4 * (next_one[Field.X] + i * next_one[Field.X_ROW]) + at * addend_step
        if flags & SPREAD:
            i, at, count = i // copies_y, at // copies_x, count // copies_x
        x = arena + 4 * (p[Field.X] + i * p[Field.X_ROW] + p[Field.START]) + at * x_step
        step, kh, kw, y_step = x_step, p[Field.KH], p[Field.KW], copies_x * y_col
        streams = 0
        if PREFETCHES and p[Field.HEIGHT] > 1:  # what the next row adds to this one
            adds = fuse_next or flags & ADD != 0
            addend_row = 4 * (next_one[Field.X_ROW] if fuse_next else p[Field.ADDEND_ROW])
            streams = three_prefetch_streams(x + 4 * ((kh - 1) * p[Field.TAP_ROW] + p[Field.X_ROW]), x_step,
                                    y + copies_y * y_row, y_step, addend + addend_row, addend_step if adds else 0)
        if op != CONV:
            between, positions = (channels + LANES - 1) // LANES, count
            to, to_step = (scratch, VECTOR_BYTES * between) if op == SEPARABLE else (y, y_step)
            if p[Field.X_COL] == 1:  # LANES positions of the one channel are a vector
                positions, x_step = (count + LANES - 1) // LANES, VECTOR_BYTES
            depthwise_row(positions, between, x, x_step, constants + 4 * p[Field.DEPTHWISE_WEIGHTS], kh, kw,
                          4 * p[Field.TAP_ROW], 4 * p[Field.TAP_COL], to, to_step)
            x, step, kh, kw = to, 4 if p[Field.X_COL] == 1 else to_step, 1, 1
        if op != DEPTHWISE:
            row(count, p[Field.VECTORS], x, step, constants + 4 * p[Field.WEIGHTS], channels, kh, kw,
                4 * p[Field.TAP_ROW], 4 * p[Field.TAP_COL], y, y_step, flags,
                constants + 4 * p[Field.BIAS], addend, addend_step, copies_y, copies_x, y_row, y_col, streams,
                constants + 4 * next_one[Field.WEIGHTS], next_one[Field.CHANNELS], next_one[Field.FLAGS],
                constants + 4 * next_one[Field.BIAS])

    @inlined
    def few_filters_block(p, arena, constants, scratch, i, at, count, fresh):
        """The same with few filters."""
        x_step, y_step = 4 * p[Field.X_COL], 4 * p[Field.Y_COL]
        x = arena + 4 * (p[Field.X] + i * p[Field.X_ROW] + p[Field.START]) + at * x_step
        y = arena + 4 * (p[Field.Y] + i * p[Field.Y_ROW]) + at * y_step
        few_filters(p[Field.FEW_FILTERS], p[Field.CHANNELS], p[Field.KH], p[Field.KW], x, 4 * p[Field.X_ROW], x_step,
                    p[Field.TAP_ROW] // p[Field.X_ROW], p[Field.TAP_COL] // p[Field.X_COL], 4 * p[Field.PITCH],
                    constants + 4 * p[Field.WEIGHTS], constants + 4 * p[Field.BIAS], p[Field.FLAGS], y, y_step, scratch,
                    i, count, fresh)

    @inlined
    def convolve_members(program, members, arena, constants, thread, i, at, count, fresh):
        """All members of a group but a WINOGRAD, on one cache block of row i of the head's output."""
        member = members[0]
        while member < members[1]:
            p = program[member]
            fuse_next = FUSES_NEXT and p[Field.FLAGS] & FUSE_NEXT != 0 and count >= LEAST_FUSED
            if p[Field.FLAGS] & SPREAD == 0 or i % p[Field.COPIES_Y] == 0:
                scratch = arena + 4 * (p[Field.SCRATCH] + thread * p[Field.SCRATCH_SIZE])
                if p[Field.FEW_FILTERS] > 0:
                    few_filters_block(p, arena, constants, scratch, i, at, count, fresh)
                else:
                    convolve_block(p, program[member + fuse_next], fuse_next, arena, constants, scratch, i, at, count)
            member += 1 + fuse_next

    @inlined
    def convolve_group(program, start, arena, constants, thread, first, last, left, right):
        """A group of convolutions over rows first ... last-1, positions left ... right-1 of an image: all of them on a
        cache block of a row before the next is begun.

        What one member writes and the next reads stays in the second-level cache. A WINOGRAD, which only is a head,
        does some rows before the others come to them. With few filters the head's blocks go down the image.
        """
        head = program[start]
        tiled = fused and head[Field.OP] == WINOGRAD
        column = head[Field.BLOCK] if head[Field.FEW_FILTERS] > 0 else head[Field.WIDTH]
        for begin in range(left, right, max(1, column)):
            end = min(begin + column, right)
            for i in range(first, last):
                if tiled and (i - first) % head[Field.ROW_BLOCK] == 0:
                    scratch = arena + 4 * (head[Field.SCRATCH] + thread * head[Field.SCRATCH_SIZE])
                    winograd(head, arena, constants, scratch, i, min(i + head[Field.ROW_BLOCK], last), left, right)
                at = begin
                while at < end:
                    count = min(head[Field.BLOCK], end - at)
                    members = (start + tiled, start + head[Field.GROUP])
                    convolve_members(program, members, arena, constants, thread, i, at, count, i == first)
                    at += count

    return convolve_group

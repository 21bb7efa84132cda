"""The interpreter of a training step: one compiled function that walks the table, alone or in step with other threads.

A group of Mode.ROWS goes sample by sample where there are samples for every thread, all its instructions on one sample
before the next (what one writes and the next reads is still in cache); otherwise instruction by instruction, each
thread some chunks. Neither changes a bit: sums are kept apart by chunk.
"""

from __future__ import annotations

from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import address, stand_alone
from npunet.engine.kernels.depthwise import make_depthwise_row
from npunet.engine.kernels.interpreter import wait_for_all
from npunet.engine.training.kernels import (
    activation_rows,
    batch_norm,
    depthwise_gradient,
    layer_norm,
    loss_rows,
    resolution,
    rows,
    sums,
    update,
)
from npunet.engine.training.kernels.convolution_rows import few_filters_row, row
from npunet.engine.training.kernels.rows import Y, Z, begin_streams, clear_halo, first_tap, mirror, place
from npunet.engine.training.kernels.weight_gradient import conv_dw, conv_dw_end, conv_dw_row
from npunet.engine.training.plan.step_opcodes import Field, Mode, Op

(COPY_IN, MASK_IN, CONV, DEPTHWISE, STATISTICS, NORMALISE, ACTIVATE, LAYER_NORM, MAX_POOL, UPSAMPLE, LOSS, NORM_SUMS,
 NORM_DX, ACTIVATE_DX, LAYER_NORM_DX, MAX_POOL_DX, UPSAMPLE_DX, DEPTHWISE_DW, BIAS_SUMS, PROBABILITIES, CONV_DW,
 FEW_FILTERS, PACK, STATISTICS_END, NORM_END, SUMS_END, LAYER_NORM_DW, LOSS_END, DICE_END, REGULARISE, TOTAL_END,
 SQUARES,
 CLIP_END, UPDATE, MOVE, CONV_DW_END) = (int(op) for op in Op)
ROWS, TILES, SPREAD = (int(mode) for mode in Mode)

depthwise_row = make_depthwise_row(fused=True)


@inlined
def conv(p, arena, n, i):
    """Row i of x, convolved, to row i of y, or to all its copies."""
    streams = 0
    if p[Field.STREAMS + 1] > 0:
        begin_streams(p, arena, n, i)
        streams = address(p) + 8 * Field.STREAMS
    y_row, y_col, copies_y, copies_x = 4 * p[Field.Y_ROW], 4 * p[Field.Y_COL], p[Field.COPIES_Y], p[Field.COPIES_X]
    row(p[Field.X_WIDTH], p[Field.VECTORS], first_tap(p, arena, n, i), 4 * p[Field.X_COL],
        arena + 4 * p[Field.WEIGHTS], p[Field.CHANNELS], p[Field.KH], p[Field.KW], 4 * p[Field.TAP_ROW],
        4 * p[Field.TAP_COL], place(p, arena, Y, n, i * copies_y), copies_x * y_col, p[Field.FLAGS],
        arena + 4 * p[Field.BIAS], place(p, arena, Z, n, i), 4 * p[Field.Z_COL], copies_y, copies_x, y_row, y_col,
        streams)


@inlined
def depthwise(p, arena, n, i):
    depthwise_row(p[Field.WIDTH], p[Field.VECTORS], first_tap(p, arena, n, i), 4 * p[Field.X_COL],
                  arena + 4 * p[Field.WEIGHTS], p[Field.KH], p[Field.KW], 4 * p[Field.TAP_ROW], 4 * p[Field.TAP_COL],
                  place(p, arena, Y, n, i), 4 * p[Field.Y_COL])


@jit
def do_row(p, arena, params, batch, masks, totals, numbers, labels, targets, n, i):
    """One row of one sample of one instruction that is no convolution."""
    stand_alone()
    op = p[Field.OP]
    if op == NORMALISE:
        batch_norm.normalise(p, arena, n, i)
    elif op == STATISTICS:
        batch_norm.statistics(p, arena, totals, n, i)
    elif op == NORM_SUMS:
        batch_norm.norm_sums(p, arena, totals, n, i)
    elif op == NORM_DX:
        batch_norm.norm_dx(p, arena, n, i)
    elif op == CONV_DW:
        conv_dw_row(p, arena, totals, n, i)
    elif op == DEPTHWISE_DW:
        depthwise_gradient.depthwise_dw(p, arena, totals, n, i)
    elif op == BIAS_SUMS:
        rows.bias_sums(p, arena, totals, n, i)
    elif op == MAX_POOL:
        resolution.max_pool(p, arena, n, i)
    elif op == MAX_POOL_DX:
        resolution.max_pool_dx(p, arena, n, i)
    elif op == FEW_FILTERS:
        few_filters_row(p, arena, params, n, i)
    elif op == UPSAMPLE_DX:
        resolution.upsample_dx(p, arena, n, i)
    elif op == UPSAMPLE:
        resolution.upsample(p, arena, n, i)
    elif op == COPY_IN:
        rows.copy_in(p, arena, batch, n, i)
    elif op == MASK_IN:
        rows.mask_in(p, arena, masks, n, i)
    elif op == ACTIVATE:
        activation_rows.activate_row(p, arena, n, i)
    elif op == ACTIVATE_DX:
        activation_rows.activate_dx(p, arena, n, i)
    elif op == LOSS:
        loss_rows.loss_row(p, arena, totals, numbers, labels, targets, n, i)
    elif op == PROBABILITIES:
        loss_rows.dice_sums(p, arena, totals, numbers, labels, n, i)
    elif i < p[Field.HEIGHT] - 1:
        return  # the rest work on a whole image, with its last row
    elif op == LAYER_NORM:
        layer_norm.layer_norm(p, arena, params, n)
    elif op == LAYER_NORM_DX:
        layer_norm.layer_norm_dx(p, arena, params, n)


@jit
def do_whole(p, arena, params, gradients, state, velocities, totals, numbers, samples):
    """One instruction of Mode.SPREAD."""
    stand_alone()
    op = p[Field.OP]
    if op == PACK:
        sums.pack(p, arena, params)
    elif op == STATISTICS_END:
        sums.statistics_end(p, arena, params, gradients, totals, samples)
    elif op == NORM_END:
        sums.norm_end(p, arena, params, gradients, totals, samples)
    elif op == SUMS_END:
        sums.sums_end(p, gradients, totals, samples)
    elif op == CONV_DW_END:
        conv_dw_end(p, gradients, totals, samples)
    elif op == LAYER_NORM_DW:
        layer_norm.layer_norm_dw(p, arena, gradients, samples)
    elif op == LOSS_END:
        sums.loss_end(p, totals, numbers, samples)
    elif op == DICE_END:
        sums.dice_end(p, totals, numbers, samples)
    elif op == REGULARISE:
        update.regularise(p, params, gradients, numbers)
    elif op == TOTAL_END:
        update.total_end(p, numbers)
    elif op == SQUARES:
        update.squares(p, gradients, numbers)
    elif op == CLIP_END:
        update.clip_end(p, numbers)
    elif op == UPDATE:
        update.update(p, params, gradients, state, velocities, numbers)
    elif op == MOVE:
        update.move(p, params, gradients, numbers)


@jit
def walk(program, arena, params, gradients, state, velocities, totals, numbers, batch, labels, targets, masks,
         samples, thread, threads, barrier):
    """Run the table; see entry.compile_entry."""
    arena, params, gradients, totals = address(arena), address(params), address(gradients), address(totals)
    state, velocities = address(state), address(velocities)
    batch, masks, counters = address(batch), address(masks), address(barrier)
    number = 0
    while number < len(program):
        head = program[number]
        members, mode = head[Field.GROUP], head[Field.MODE]
        if mode == TILES:
            conv_dw(head, arena, totals, gradients, samples, thread, threads)
        elif mode == SPREAD:
            for member in range(number + thread, number + members, threads):
                do_whole(program[member], arena, params, gradients, state, velocities, totals, numbers, samples)
        else:
            together = samples >= threads
            start = number
            while start < number + members:
                count = members if together else 1
                chunks = 1 if together else program[start][Field.CHUNKS]
                units = samples * chunks
                for unit in range(units * thread // threads, units * (thread + 1) // threads):
                    n = unit // chunks
                    above, below = 0, program[start][Field.ROWS]
                    if not together:
                        above = unit % chunks * program[start][Field.CHUNK_ROWS]
                        below = min(below, above + program[start][Field.CHUNK_ROWS])
                    lag = head[Field.LAST_LAG] if together else 0
                    for moment in range(above, below + lag):
                        for member in range(start, start + count):
                            p = program[member]
                            i = moment - (p[Field.LAG] if together else 0)
                            if above <= i and i < below:
                                clear_halo(p, arena, n, i)
                                op = p[Field.OP]
                                if op == CONV:
                                    conv(p, arena, n, i)
                                elif op == DEPTHWISE:
                                    depthwise(p, arena, n, i)
                                else:
                                    do_row(p, arena, params, batch, masks, totals, numbers, labels, targets, n, i)
                                mirror(p, arena, n, i)
                start += count
                if threads > 1 and start < number + members:
                    wait_for_all(counters, threads)
        if threads > 1:
            wait_for_all(counters, threads)
        number += members

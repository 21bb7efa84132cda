"""The interpreter: one compiled function that walks a program's table, alone or in step with other threads."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64
from npunet.engine.codegen.jit import inlined, jit
from npunet.engine.codegen.simd import address
from npunet.engine.kernels import copies, pointwise, pooling
from npunet.engine.kernels.shares import guided_share, static_share
from npunet.engine.plan.opcodes import Alone, Field, Op

COPY_IN, COPY_OUT, MAX_POOL, UPSAMPLE, ADD, CONCAT, ACTIVATE, LAYER_NORM, SOFTMAX, MOVE = (
    int(op) for op in (Op.COPY_IN, Op.COPY_OUT, Op.MAX_POOL, Op.UPSAMPLE, Op.ADD, Op.CONCAT, Op.ACTIVATE, Op.LAYER_NORM,
                       Op.SOFTMAX, Op.MOVE)
)
SHARE, GO_ON, _ = (int(how) for how in Alone)
ARRIVED, GENERATION, TICKET, YIELD = 0, 1, 2, 3  # places in the barrier, see runtime.barrier


@intrinsic
def fetch_add(typing, at, amount):
    """Atomically add to the int64 at an address; what it held before."""

    def generate(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], INT64.as_pointer())
        return builder.atomic_rmw("add", pointer, arguments[1], "seq_cst")

    return types.int64(types.intp, types.int64), generate


@intrinsic
def yield_core(typing, barrier):
    """Let another thread have this core, by the function whose address stands in the barrier."""

    def generate(context, builder, signature, arguments):
        place = builder.inttoptr(builder.add(arguments[0], INT64(8 * YIELD)), INT64.as_pointer())
        function = ir.FunctionType(ir.IntType(32), []).as_pointer()
        builder.call(builder.inttoptr(builder.load(place), function), [])
        return context.get_dummy_value()

    return types.void(types.intp), generate


@inlined
def wait_for_all(barrier, threads):
    """Return when all threads have come here; tickets start from 0 again. Spins briefly, then gives the core away
    between looks."""
    generation = fetch_add(barrier + 8 * GENERATION, 0)
    if fetch_add(barrier + 8 * ARRIVED, 1) == threads - 1:
        fetch_add(barrier + 8 * ARRIVED, -threads)
        fetch_add(barrier + 8 * TICKET, -fetch_add(barrier + 8 * TICKET, 0))
        fetch_add(barrier + 8 * GENERATION, 1)
        return
    looks = 0
    while fetch_add(barrier + 8 * GENERATION, 0) == generation:
        looks += 1
        if looks > 2000:
            yield_core(barrier)


@inlined
def run_alone(p, arena, constants, memory, weights, sample, result, first, last, left, right):
    """Rows first ... last-1 (of what an UPSAMPLE reads, of what others write), positions left ... right-1, of one
    instruction that is no convolution."""
    op = p[Field.OP]
    if op == MAX_POOL:
        pooling.max_pool(p, arena, first, last, left, right)
    elif op == UPSAMPLE:
        copies.upsample(p, arena, first, last, left, right)
    elif op == COPY_IN:
        copies.copy_in(p, arena, sample, first, last, left, right)
    elif op == COPY_OUT:
        copies.copy_out(p, arena, result, first, last, left, right)
    elif op == MOVE:
        copies.move(p, arena, first, last)
    elif op == ADD:
        copies.add(p, arena, first, last, left, right)
    elif op == CONCAT:
        copies.concat(p, memory, first, last, left, right)
    elif op == ACTIVATE:
        pointwise.activate(p, memory, first, last, left, right)
    elif op == SOFTMAX:
        pointwise.softmax(p, memory, first, last, left, right)
    elif op == LAYER_NORM:
        pointwise.layer_norm(p, memory, weights, left, right)


@inlined
def extent(p):
    """Rows and positions that threads share, and what these can be cut at."""
    if p[Field.OP] == UPSAMPLE:
        return p[Field.X_HEIGHT], p[Field.X_WIDTH], 1, 1
    if p[Field.OP] == LAYER_NORM:
        return 1, p[Field.CHANNELS], 1, 1
    if p[Field.ALIGN_Y] > 0:
        return p[Field.HEIGHT], p[Field.WIDTH], p[Field.ALIGN_Y], p[Field.ALIGN_X]
    return p[Field.HEIGHT], p[Field.WIDTH], 1, 1


def make_walk(convolve_group, run_alone, clear_halo, value: int):
    """The interpreter.

    convolve_group : does a group of convolutions
    run_alone      : does another instruction
    clear_halo     : sees to what an image needs around it
    value          : bytes of what samples and results count
    """

    @jit
    def walk(program, weights, memory, samples, results, thread, threads, barrier):
        """Run a program on every sample; see entry.compile_entry."""
        arena, constants, counters = address(memory), address(weights), address(barrier)
        sample, result = address(samples), address(results)
        for _ in range(len(samples)):
            number = 0
            while number < len(program):
                p = program[number]
                members, alone = p[Field.GROUP], p[Field.ALONE]
                if thread == 0 or alone != SHARE:
                    for member in range(number, number + members):
                        clear_halo(program[member], arena)
                rows, columns, align_y, align_x = extent(p)
                first, last, left, right = 0, rows, 0, columns
                among = threads if alone == SHARE else 1
                shared = among > 1 and rows >= among * align_y
                if among > 1 and not shared:
                    left, right = static_share(columns, align_x, thread, threads)
                while first < rows:
                    if shared:
                        ticket = fetch_add(counters + 8 * TICKET, 1)
                        first, last = guided_share(ticket, rows, align_y, threads)
                    if first < last and p[Field.BLOCK] > 0:
                        convolve_group(program, number, arena, constants, thread, first, last, left, right)
                    elif first < last:
                        run_alone(p, arena, constants, memory, weights, sample, result, first, last, left, right)
                    if not shared:
                        first = rows
                if threads > 1 and alone != GO_ON:
                    wait_for_all(counters, threads)
                number += members
            sample += value * samples.shape[1]
            result += value * results.shape[1]

    return walk

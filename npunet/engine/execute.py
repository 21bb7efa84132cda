"""The interpreter: one compiled function that walks a program's table, alone or in step with other threads."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from npunet.engine import images, pointwise
from npunet.engine.convolution import make_convolution
from npunet.engine.jit import inlined
from npunet.engine.opcodes import Field, Op
from npunet.engine.simd import INT64, address
from npunet.layers import NORM_EPSILON

COPY_IN, COPY_OUT, CONV, SEPARABLE, DEPTHWISE, MAX_POOL, UPSAMPLE, ADD, CONCAT, ACTIVATE, LAYER_NORM, SOFTMAX = (
    int(op) for op in Op
)
ARRIVED, GENERATION = 0, 1  # places in the barrier array


@intrinsic
def fetch_add(typing, at, amount):
    """Atomically add to the int64 at an address; what it held before."""

    def generate(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], INT64.as_pointer())
        return builder.atomic_rmw("add", pointer, arguments[1], "seq_cst")

    return types.int64(types.intp, types.int64), generate


@intrinsic
def yield_core(typing):
    """Let another thread have this core."""

    def generate(context, builder, signature, arguments):
        sched_yield = builder.module.globals.get("sched_yield")
        if sched_yield is None:
            sched_yield = ir.Function(builder.module, ir.FunctionType(ir.IntType(32), []), "sched_yield")
        builder.call(sched_yield, [])
        return context.get_dummy_value()

    return types.void(), generate


@inlined
def wait_for_all(barrier, threads):
    """Return when all threads have come here. Spins briefly, then gives the core away between looks."""
    generation = fetch_add(barrier + 8 * GENERATION, 0)
    if fetch_add(barrier + 8 * ARRIVED, 1) == threads - 1:
        fetch_add(barrier + 8 * ARRIVED, -threads)
        fetch_add(barrier + 8 * GENERATION, 1)
        return
    looks = 0
    while fetch_add(barrier + 8 * GENERATION, 0) == generation:
        looks += 1
        if looks > 2000:
            yield_core()


def make_walk(fused: bool):
    """The interpreter in one arithmetic: seq_fma when fused, seq when not."""
    convolve = make_convolution(fused)

    @inlined
    def step(p, constants, memory, sample, result, thread, threads):
        """Thread `thread`'s share of one instruction: a band of rows, or of positions where rows are few."""
        arena, weights = address(memory), address(constants)
        op = p[Field.OP]
        height, width = p[Field.HEIGHT], p[Field.WIDTH]
        if op == UPSAMPLE:
            height, width = p[Field.X_HEIGHT], p[Field.X_WIDTH]
        first, last, left, right = 0, height, 0, width
        if height >= threads:
            first, last = height * thread // threads, height * (thread + 1) // threads
        else:
            left, right = width * thread // threads, width * (thread + 1) // threads
        if thread == 0:
            images.clear_halo(p, arena)
        if op == CONV or op == SEPARABLE or op == DEPTHWISE:
            scratch = arena + 4 * (p[Field.SCRATCH] + thread * p[Field.SCRATCH_SIZE])
            convolve(p, arena, weights, scratch, first, last, left, right)
        elif op == MAX_POOL:
            images.max_pool(p, arena, first, last, left, right)
        elif op == UPSAMPLE:
            images.upsample(p, arena, first, last, left, right)
        elif op == COPY_IN:
            images.copy_in(p, memory, sample, first, last, left, right)
        elif op == COPY_OUT:
            images.copy_out(p, memory, result, first, last, left, right)
        elif op == ADD:
            images.add(p, arena, first, last, left, right)
        elif op == CONCAT:
            images.concat(p, memory, first, last, left, right)
        elif op == ACTIVATE:
            pointwise.activate(p, memory, first, last, left, right)
        elif op == SOFTMAX:
            pointwise.softmax(p, memory, first, last, left, right)
        elif op == LAYER_NORM:
            channels = p[Field.CHANNELS]
            first, last = channels * thread // threads, channels * (thread + 1) // threads
            pointwise.layer_norm(p, memory, constants, NORM_EPSILON, first, last)

    @inlined
    def walk(program, constants, memory, samples, results, thread, threads, barrier):
        """Run a program on every sample; see entry.seq_fma."""
        for n in range(len(samples)):
            for number in range(len(program)):
                step(program[number], constants, memory, samples[n], results[n], thread, threads)
                if threads > 1:
                    wait_for_all(address(barrier), threads)

    return walk

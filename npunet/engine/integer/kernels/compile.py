"""The interpreter of integer programs, as Python calls it. Imports Numba: only for compiling."""

from __future__ import annotations

from collections.abc import Callable

from numba import types

from npunet.engine.codegen import jit
from npunet.engine.codegen.emit import TARGET
from npunet.engine.codegen.jit import inlined
from npunet.engine.integer.kernels import copies, pointwise, pooling
from npunet.engine.integer.kernels.convolution import convolve_group
from npunet.engine.integer.kernels.layer_norm import layer_norm
from npunet.engine.kernels.interpreter import make_walk
from npunet.engine.plan.opcodes import Field, Op
from npunet.engine.runtime.object_code import ObjectCode

COPY_IN, COPY_OUT, MAX_POOL, AVG_POOL = int(Op.COPY_IN), int(Op.COPY_OUT), int(Op.MAX_POOL), int(Op.AVG_POOL)
SPREAD, ADD, ACTIVATE, SOFTMAX = (int(op) for op in (Op.SPREAD, Op.ADD, Op.ACTIVATE, Op.SOFTMAX))
LAYER_NORM, MOVE = int(Op.LAYER_NORM), int(Op.MOVE)
BYTES = types.Array(types.uint8, 1, "C")
SHORTS = types.Array(types.int16, 1, "C")
BATCH = types.Array(types.uint8, 2, "C")
TABLE = types.Array(types.int64, 2, "C")
COUNTERS = types.Array(types.int64, 1, "C")
PARAMETERS = (TABLE, BYTES, SHORTS, BATCH, BATCH, types.int64, types.int64, COUNTERS)


@inlined
def run_alone(p, arena, constants, memory, weights, sample, result, first, last, left, right):
    """Rows first ... last-1, positions left ... right-1, of one instruction that is no convolution."""
    op = p[Field.OP]
    if op == COPY_IN:
        copies.copy_in(p, arena, sample, first, last, left, right)
    elif op == COPY_OUT:
        copies.copy_out(p, arena, result, first, last, left, right)
    elif op == MAX_POOL:
        pooling.max_pool(p, arena, first, last, left, right)
    elif op == AVG_POOL:
        pooling.avg_pool(p, arena, first, last, left, right)
    elif op == SPREAD:
        copies.spread(p, arena, first, last, left, right)
    elif op == ADD:
        pointwise.add(p, arena, constants, first, last, left, right)
    elif op == ACTIVATE:
        pointwise.activate(p, arena, constants, first, last, left, right)
    elif op == SOFTMAX:
        pointwise.probabilities(p, arena, constants, first, last, left, right)
    elif op == LAYER_NORM:
        layer_norm(p, arena, constants, left, right)
    elif op == MOVE:
        copies.move(p, arena, first, last)


def compile_entry(name: str) -> ObjectCode:
    """Run a program on every sample, as thread `thread` of `threads` that all call this with the same arrays.

    program : int64 (instructions, COLUMNS);  constants : bytes;  memory : int16; both aligned to 64 bytes
    samples, results : the bytes of int8 or int16 (N, H * W * C);  thread, threads;  barrier : see runtime.barrier
    """
    return jit.compile_entry(interpreter(), PARAMETERS)._replace(bytes=bool(TARGET.byte_dot))


def interpreter() -> Callable[..., None]:
    return make_walk(convolve_group, run_alone, copies.clear_halo, value=1)



"""The interpreter of training steps, as Python calls it. Imports Numba: only for compiling."""

from __future__ import annotations

from numba import types

from npunet.engine.codegen import jit
from npunet.engine.runtime.object_code import ObjectCode
from npunet.engine.training.kernels.step_interpreter import walk

FLOATS = types.Array(types.float32, 1, "C")
DOUBLES = types.Array(types.float64, 1, "C")
LABELS = types.Array(types.int32, 1, "C")
TABLE = types.Array(types.int64, 2, "C")
INTEGERS = types.Array(types.int64, 1, "C")
PARAMETERS = (TABLE, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, DOUBLES, DOUBLES, FLOATS, LABELS, DOUBLES, FLOATS,
              types.int64, types.int64, types.int64, INTEGERS)


def compile_entry(name: str) -> ObjectCode:
    """Run a step's program, as thread `thread` of `threads` that all call this with the same arrays.

    program : int64 (instructions, FIELDS)
    arena, params, gradients, state, velocities : float32, aligned to 64 bytes;  sums, numbers : float64
    batch : float32, N*H*W*C;  labels : int32, N*H*W;  targets : float64, N*H*W*K;  masks : float32
    samples : N;  thread, threads;  barrier : int64 (4,), see runtime.barrier

    name : "train", the only one
    """
    return jit.compile_entry(walk, PARAMETERS)

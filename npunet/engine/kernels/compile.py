"""The interpreter in each arithmetic, as Python calls it. Imports Numba: only for compiling."""

from __future__ import annotations

from collections.abc import Callable

from numba import types

from npunet.engine.codegen import jit
from npunet.engine.kernels.convolution import make_convolve_group
from npunet.engine.kernels.copies import clear_halo
from npunet.engine.kernels.interpreter import make_walk, run_alone
from npunet.engine.runtime.object_code import ObjectCode

FLOATS = types.Array(types.float32, 1, "C")
BATCH = types.Array(types.float32, 2, "C")
TABLE = types.Array(types.int64, 2, "C")
COUNTERS = types.Array(types.int64, 1, "C")
PARAMETERS = (TABLE, FLOATS, FLOATS, BATCH, BATCH, types.int64, types.int64, COUNTERS)


def compile_entry(name: str) -> ObjectCode:
    """Run a program on every sample, as thread `thread` of `threads` that all call this with the same arrays.

    program : int64 (instructions, FIELDS);  constants, memory : float32, aligned to 64 bytes
    samples, results : float32 (N, H * W * C);  thread, threads;  barrier : int64 (4,), see runtime.barrier

    name : "seq_fma", or "seq" with every product and every sum rounded
    """
    return jit.compile_entry(interpreter(name), PARAMETERS)


def interpreter(name: str) -> Callable[..., None]:
    """The interpreter in one arithmetic: every product and sum rounded once under "seq_fma", each under "seq"."""
    return make_walk(make_convolve_group(fused=name == "seq_fma"), run_alone, clear_halo, value=4)

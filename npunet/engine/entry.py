"""What Python calls: the interpreter in each arithmetic, compiled once for this machine and kept on disk."""

from __future__ import annotations

from numba import types

from npunet.engine.execute import make_walk
from npunet.engine.jit import kept_on_disk, source_fingerprint

FLOATS = types.Array(types.float32, 1, "C")
BATCH = types.Array(types.float32, 2, "C")
TABLE = types.Array(types.int64, 2, "C")
COUNTERS = types.Array(types.int64, 1, "C")
SIGNATURE = types.void(TABLE, FLOATS, FLOATS, BATCH, BATCH, types.int64, types.int64, COUNTERS)

walk_seq, walk_seq_fma = make_walk(fused=False), make_walk(fused=True)


def make_entries(fingerprint: int):
    """Both entries; the fingerprint of the engine's sources, being part of them, is part of their key on disk."""

    def seq(program, constants, memory, samples, results, thread, threads, barrier):
        """The interpreter with every product and every sum rounded."""
        if fingerprint:
            walk_seq(program, constants, memory, samples, results, thread, threads, barrier)

    def seq_fma(program, constants, memory, samples, results, thread, threads, barrier):
        """Run a program on every sample, as thread `thread` of `threads` that all call this with the same arrays.

        program : int64 (instructions, FIELDS);  constants, memory : float32, aligned to 64 bytes
        samples, results : float32 (N, H * W * C);  barrier : int64 (2,) of zeros
        """
        if fingerprint:
            walk_seq_fma(program, constants, memory, samples, results, thread, threads, barrier)

    fused = kept_on_disk(seq_fma, SIGNATURE)
    return {"seq": kept_on_disk(seq, SIGNATURE), "seq_fma": fused, "winograd": fused}


ENTRIES = make_entries(source_fingerprint())

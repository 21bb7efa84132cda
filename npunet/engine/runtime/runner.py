"""A program ready to run: its memory, and the threads that share the work.

Threads are started for a call and joined before it returns, but for repeated calls, which keep theirs for a moment:
nothing is left behind at exit or in a fork, and calls from several Python threads do not wait for one another.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from functools import partial
from math import prod

import numpy as np

from npunet import memory
from npunet.engine.plan.pack import aligned
from npunet.engine.plan.program import Program
from npunet.engine.runtime.barrier import new_barrier
from npunet.engine.runtime.native import Call, Native
from npunet.engine.runtime.threads import Job, ThreadPool, in_parallel

WORTH_A_THREAD = 20_000_000  # multiply-accumulates: two thirds of a millisecond, several times what starting one takes
ARENAS_KEPT = 2**28  # bytes of arenas that an engine keeps beyond its first, for threads that call it at once
MEMORY, SAMPLES, RESULTS = 2, 3, 4  # which argument of an entry


class Runner:
    """A program with its machine code. Calls from several threads may overlap.

    program, native : what is run, and what runs it
    macs   : multiply-accumulates of one sample
    most   : threads that share a call at most, where the work is worth it
    dtype  : of what the user gives and gets
    values : the dtype of the arrays by which samples and results are handed to the machine code
    """

    program: Program
    native: Native
    macs: int
    most: int

    def __init__(self, dtype: str, values: str) -> None:
        self.dtype, self.values = np.dtype(dtype), np.dtype(values)
        self.idle: list[Call] = []  # each with an arena that nobody is using

    @property
    def table_bytes(self) -> int:
        """Bytes of its tables, its constants, and the arenas that nobody is using."""
        program, arenas = self.program, max(1, len(self.idle))
        tables = sum(table.nbytes for table in (program.table, program.whole, *program.shared))
        return program.constants.nbytes + tables + arenas * self.arena_bytes

    @property
    def arena_bytes(self) -> int:
        return self.program.itemsize * (self.program.arena.size + self.program.margin)

    def refuse_no_room(self) -> None:
        """Raise ValueError where there is no memory for an arena; compiling, which takes a minute, comes after that."""
        memory.require(self.arena_bytes, f"the engine's arena at {self.program.input_shape}", "use a smaller input")

    def give_back(self, call: Call) -> None:
        """Keep a call with its arena for the next one, unless enough are kept."""
        if not self.idle or (len(self.idle) + 1) * self.arena_bytes <= ARENAS_KEPT:
            self.idle.append(call)

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Run a batch.

        x : (N, H, W, C);  out : (N, OH, OW, K) C-contiguous, to be filled, or None for a new array; both of `dtype`
        """
        if out is None:
            size = self.dtype.itemsize * len(x) * prod(self.program.output_shape)
            memory.require(size, f"the result of a batch of {len(x):,}", "use a smaller batch")
            out = np.empty((len(x), *self.program.output_shape), self.dtype)
        self.share(self.flat(np.ascontiguousarray(x)), self.flat(out), in_parallel)
        return out

    def flat(self, x: np.ndarray) -> np.ndarray:
        """A C-contiguous batch as the machine code takes it: (N, values of a sample)."""
        return x.reshape(len(x), prod(x.shape[1:])).view(self.values)

    def repeated(self, x: np.ndarray, out: np.ndarray) -> Callable[[], object]:
        """The same for arrays that stay where they are, to be run again and again; calls of it must not overlap."""
        samples, results = self.flat(x), self.flat(out)
        if self.threads_for(len(x)) > 1:
            pool = ThreadPool()
            return lambda: self.share(samples, results, pool.run)
        call = self.take_call()
        call.put(SAMPLES, samples)
        call.put(RESULTS, results)
        return call

    def share(self, samples: np.ndarray, results: np.ndarray, in_parallel: Callable[[Sequence[Job]], None]) -> None:
        """Run samples (N, values) in as many threads as are worth it: each some of them, or, where these are
        few, all threads one after another."""
        number = len(samples)
        parts = min(number, self.threads_for(number))
        if 0 < number < self.program.threads:
            self.run_together(samples, results, in_parallel)
        elif parts <= 1:
            self.run(samples, results)
        else:
            slices = [slice(number * part // parts, number * (part + 1) // parts) for part in range(parts)]
            in_parallel([partial(self.run, samples[part], results[part]) for part in slices])

    def threads_for(self, samples: int) -> int:
        return min(self.most, max(1, samples * self.macs // WORTH_A_THREAD))

    def run(self, samples: np.ndarray, results: np.ndarray) -> None:
        """In this thread, one sample after another."""
        call = self.take_call()
        call.put(SAMPLES, samples)
        call.put(RESULTS, results)
        call()
        self.give_back(call)

    def run_together(self, samples: np.ndarray, results: np.ndarray,
                     in_parallel: Callable[[Sequence[Job]], None]) -> None:
        """The program's threads on one sample at a time, each some rows of every instruction."""
        threads = self.program.threads
        call, barrier = self.take_call(), new_barrier()
        shared = (self.program.constants, call.arguments[MEMORY], samples, results)
        in_parallel([Call(self.native, self.program.shared[thread], *shared, thread, threads, barrier)
                     for thread in range(threads)])
        self.give_back(call)

    def take_call(self) -> Call:
        """For one thread, with an arena; samples and results are to be put in."""
        try:
            return self.idle.pop()
        except IndexError:
            self.refuse_no_room()
            arena = aligned(self.arena_bytes // 4).view(self.program.memory)
            nothing = np.zeros((0, 0), self.values)
            return Call(self.native, self.program.table, self.program.constants, arena, nothing, nothing, 0, 1,
                        new_barrier())


def check_threads(threads: int | None) -> int:
    """A number of threads; None means the cores that this process may use."""
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(threads, bool) or not hasattr(threads, "__index__") or threads < 1:
        raise ValueError(f"threads={threads!r} must be at least 1, or None for one per core")
    return int(threads)


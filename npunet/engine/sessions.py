"""A network ready to run: its program, its memory, and the threads that share the work. Imports Numba when one is made.

Threads are started for a call and joined before it returns: nothing is left behind at exit or in a fork, and calls from
several Python threads do not wait for one another.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np

from npunet.engine.pack import aligned
from npunet.engine.program import compile_program
from npunet.graph import Graph
from npunet.summary import rows
from npunet.weights import WeightStore

WORTH_A_THREAD = 20_000_000  # multiply-accumulates: two thirds of a millisecond, several times what starting one takes
ENGINES_KEPT = 8  # sizes and arithmetics for which a model keeps its engine
NO_BARRIER = np.zeros(2, np.int64)


def engine_installed() -> bool:
    """Whether Numba can be imported."""
    return sys.modules.get("numba") is not None or find_spec("numba") is not None


class Engine:
    """One network at one size, with its weights as they are now. Calls from several threads may overlap.

    graph      : the network as trained
    arithmetic : "seq_fma", "seq" or "winograd"
    threads    : at most so many share a call, where the work is worth it; None for one per core

    Raises ImportError without Numba.
    """

    def __init__(self, graph: Graph, weights: WeightStore, arithmetic: str, threads: int | None) -> None:
        if not engine_installed():
            raise ImportError("backend='engine' needs Numba: pip install numba, or use backend='numpy'")
        from npunet.engine.entry import ENTRIES

        self.most = check_threads(threads)
        self.block = weights.block.copy()
        self.program = compile_program(graph, weights, threads=self.most, arithmetic=arithmetic)
        self.macs = sum(row.macs for row in rows(graph))
        self.execute = ENTRIES[arithmetic]()
        self.idle: list[np.ndarray] = []  # arenas that no call is using

    def is_current(self, weights: WeightStore) -> bool:
        """Whether the weights still are, bit for bit, what this engine was made of."""
        return np.array_equal(self.block.view(np.int32), weights.block.view(np.int32))

    def __call__(self, x: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Run a batch.

        x : float32 (N, H, W, C);  out : float32 (N, OH, OW, K) C-contiguous, to be filled, or None for a new array
        """
        if out is None:
            out = np.empty((len(x), *self.program.output_shape), np.float32)
        samples = np.ascontiguousarray(x).reshape(len(x), -1)
        results = out.reshape(len(x), -1)
        threads = min(self.most, max(1, len(x) * self.macs // WORTH_A_THREAD))
        if threads == 1:
            self.run(samples, results)
        elif len(x) >= threads:
            parts = [slice(len(x) * t // threads, len(x) * (t + 1) // threads) for t in range(threads)]
            in_parallel([lambda part=part: self.run(samples[part], results[part]) for part in parts])
        else:
            self.run_together(samples, results, threads)
        return out

    def run(self, samples: np.ndarray, results: np.ndarray) -> None:
        """In this thread, one sample after another."""
        arena = self.take_arena()
        self.execute(self.program.table, self.program.constants, arena, samples, results, 0, 1, NO_BARRIER)
        self.idle.append(arena)

    def run_together(self, samples: np.ndarray, results: np.ndarray, threads: int) -> None:
        """All threads on one sample at a time, each a band of rows of every instruction."""
        arena, barrier = self.take_arena(), np.zeros(2, np.int64)
        shared = (self.program.table, self.program.constants, arena, samples, results)
        in_parallel([lambda t=t: self.execute(*shared, t, threads, barrier) for t in range(threads)])
        self.idle.append(arena)

    def take_arena(self) -> np.ndarray:
        try:
            return self.idle.pop()
        except IndexError:
            return aligned(self.program.arena.size + self.program.margin)


class Engines:
    """The engines of one model, made when asked for and made anew when its weights have changed.

    There is no lock, so that a fork at any moment leaves none held in the child: threads that ask for the same new
    engine at once may each make one, and the last stays.
    """

    def __init__(self, weights: WeightStore) -> None:
        self.weights = weights
        self.kept: dict[tuple, Engine] = {}  # the one made first is first, and goes first

    def get(self, graph: Graph, arithmetic: str, threads: int | None) -> Engine:
        """The engine of this graph with the weights as they are now."""
        key = (graph.input_shape, arithmetic, threads)
        engine = self.kept.get(key)
        if engine is None or not engine.is_current(self.weights):
            engine = self.kept[key] = Engine(graph, self.weights, arithmetic, threads)
        for oldest in list(self.kept)[:-ENGINES_KEPT]:
            self.kept.pop(oldest, None)
        return engine


def check_threads(threads: int | None) -> int:
    """A number of threads; None means the cores that this process may use."""
    if threads is None:
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if isinstance(threads, bool) or not hasattr(threads, "__index__") or threads < 1:
        raise ValueError(f"threads={threads!r} must be at least 1, or None for one per core")
    return int(threads)


def in_parallel(jobs: Sequence[Callable[[], None]]) -> None:
    """Run every job, the first in this thread; returns when all are done, and raises what any of them raised."""
    failures: list[BaseException] = []

    def guarded(job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            failures.append(error)

    helpers = [threading.Thread(target=guarded, args=(job,)) for job in jobs[1:]]
    for helper in helpers:
        helper.start()
    guarded(jobs[0])
    for helper in helpers:
        helper.join()
    if failures:
        raise failures[0]

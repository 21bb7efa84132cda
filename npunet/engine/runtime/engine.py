"""A float network ready to run: its program, made of its weights as they are now."""

from __future__ import annotations

import numpy as np

from npunet.engine.plan.program import compile_program
from npunet.engine.runtime.entry_points import ENTRIES
from npunet.engine.runtime.installed import engine_installed
from npunet.engine.runtime.runner import Runner, check_threads
from npunet.graph import Graph
from npunet.summary import rows
from npunet.weights import WeightStore


class Engine(Runner):
    """One network at one size, with its weights as they are now. Calls from several threads may overlap.

    graph      : the network as trained
    arithmetic : "seq_fma", "seq" or "winograd"
    threads    : at most so many share a call, where the work is worth it; None for one per core

    Raises ImportError without Numba.
    """

    def __init__(self, graph: Graph, weights: WeightStore, arithmetic: str, threads: int | None) -> None:
        if not engine_installed():
            raise ImportError("backend='engine' needs Numba: pip install numba, or use backend='numpy'")
        super().__init__("float32", "float32")
        self.most = check_threads(threads)
        weights = weights.snapshot()
        self.stamp, self.block = weights.stamp, weights.block
        self.macs = sum(row.macs for row in rows(graph))
        self.program = compile_program(graph, weights.read_only, threads=self.threads_for(1), arithmetic=arithmetic)
        self.refuse_no_room()
        self.native = ENTRIES[arithmetic]()

    def is_current(self, weights: WeightStore) -> bool:
        """Whether the weights still are, bit for bit, what this engine was made of."""
        stamp = weights.stamp
        if self.stamp is not None and self.stamp == stamp:
            return True
        same = np.array_equal(self.block.view(np.int32), weights.block.view(np.int32))
        if same:
            self.stamp = stamp  # from before the comparison: what came since has another
        return same

    @property
    def nbytes(self) -> int:
        """Bytes that it holds: weights twice (as they are and packed), tables, and the arenas that nobody is using."""
        return self.block.nbytes + self.table_bytes

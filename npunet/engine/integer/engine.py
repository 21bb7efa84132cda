"""An integer network ready to run at its size."""

from __future__ import annotations

from npunet.engine.integer.plan.program import compile_integer_program
from npunet.engine.runtime.entry_points import INTEGER
from npunet.engine.runtime.installed import engine_installed
from npunet.engine.runtime.runner import Runner, check_threads
from npunet.integer.network import DTYPES, Network


class IntegerEngine(Runner):
    """One integer network. Calls from several threads may overlap.

    threads : at most so many share a call, where the work is worth it; None for one per core

    Raises ImportError without Numba, Unsupported for an operator that it has not.
    """

    def __init__(self, network: Network, threads: int | None) -> None:
        if not engine_installed():
            raise ImportError("backend='engine' needs Numba: pip install numba, or use backend='numpy'")
        super().__init__(DTYPES[network.scheme], "uint8")
        self.most = check_threads(threads)
        self.macs = network.macs
        self.native = INTEGER()
        self.program = compile_integer_program(network, threads=self.threads_for(1), bytes=self.native.bytes)

    @property
    def nbytes(self) -> int:
        """Bytes that it holds: packed weights, tables, and the arenas that nobody is using."""
        return self.table_bytes


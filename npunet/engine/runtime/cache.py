"""The engines that a model keeps. What it takes to make one is imported when one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from npunet.engine.runtime.installed import EngineUnavailable, engine_usable, remember_failure
from npunet.graph import Graph
from npunet.weights import WeightStore

if TYPE_CHECKING:
    from npunet.engine.integer.engine import IntegerEngine
    from npunet.engine.runtime.engine import Engine
    from npunet.integer.network import Network

Kept = TypeVar("Kept", bound="Engine | IntegerEngine")
READY: set[str | None] = set()  # arithmetics whose code is there
ENGINES_KEPT = 8  # sizes and arithmetics for which a model keeps its engine
BYTES_KEPT = 2**29  # that they hold together


def engine_ready(arithmetic: str | None) -> bool:
    """Whether the engine can run an arithmetic (None for its own), its code being compiled now if it is not there yet.
    Says once why it cannot."""
    if not engine_usable():
        return False
    if arithmetic in READY:
        return True
    from npunet.engine.runtime.entry_points import ENTRIES

    try:
        ENTRIES[arithmetic or "seq_fma"]()
    except EngineUnavailable as error:
        remember_failure(error)
        return False
    READY.add(arithmetic)
    return True


class KeptEngines(Generic[Kept]):
    """Engines that are kept for another call.

    There is no lock, so that a fork at any moment leaves none held in the child: threads that ask for the same new
    engine at once may each make one, and the last stays.
    """

    def __init__(self) -> None:
        self.kept: dict[tuple, Kept] = {}  # the one made first is first, and goes first

    def keep(self, key: tuple, engine: Kept) -> Kept:
        """Keep a new engine; returns it."""
        self.kept[key] = engine
        self._let_go(key)
        return engine

    def release(self) -> None:
        """Let every engine go, with its memory; those that are running end with their call."""
        self.kept.clear()

    def _let_go(self, newest: tuple) -> None:
        """Drop the oldest until few are left, and these hold few bytes; the newest stays, however large."""
        kept = list(self.kept.items())
        while len(kept) > 1 and (len(kept) > ENGINES_KEPT or sum(engine.nbytes for _, engine in kept) > BYTES_KEPT):
            key, _ = next(entry for entry in kept if entry[0] != newest)
            kept = [entry for entry in kept if entry[0] != key]
            self.kept.pop(key, None)


class Engines(KeptEngines["Engine"]):
    """The engines of one model, made when asked for and made anew when its weights have changed."""

    def __init__(self, weights: WeightStore) -> None:
        super().__init__()
        self.weights = weights

    def get(self, graph: Graph, arithmetic: str, threads: int | None) -> Engine:
        """The engine of this graph with the weights as they are now."""
        key = (graph.input_shape, arithmetic, threads)
        engine = self.kept.get(key)
        if engine is None or not engine.is_current(self.weights):
            from npunet.engine.runtime.engine import Engine

            engine = self.keep(key, Engine(graph, self.weights, arithmetic, threads))
        return engine


class IntegerEngines(KeptEngines["IntegerEngine"]):
    """The engines of one integer network at its sizes."""

    def get(self, network: Network, threads: int | None) -> IntegerEngine:
        """The engine of the network at this size."""
        key = (network.tensors[network.input].shape, threads)
        engine = self.kept.get(key)
        return self.keep(key, self.make(network, threads)) if engine is None else engine

    def make(self, network: Network, threads: int | None) -> IntegerEngine:
        """A new one, which is not kept."""
        from npunet.engine.integer.engine import IntegerEngine

        return IntegerEngine(network, threads)

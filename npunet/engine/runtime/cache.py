"""The engines that a model keeps. What it takes to make one is imported when one is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from npunet.engine.runtime.installed import EngineUnavailable, engine_usable, remember_failure
from npunet.graph import Graph
from npunet.weights import WeightStore

if TYPE_CHECKING:
    from npunet.engine.runtime.engine import Engine

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
            from npunet.engine.runtime.engine import Engine

            engine = self.kept[key] = Engine(graph, self.weights, arithmetic, threads)
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

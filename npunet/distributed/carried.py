"""A model that travels with a task graph: its bytes go, and each process makes a model of them once."""

from __future__ import annotations

import hashlib
import pickle
from functools import lru_cache
from typing import Any

from npunet.distributed.networks import Blockwise, blockwise

MODELS_KEPT = 4  # by one process


class Carried:
    """A network as it was when this was made: later changes of its weights are not seen."""

    def __init__(self, network: Any) -> None:
        self.data = pickle.dumps(network, protocol=5)
        self.digest = hashlib.sha256(self.data).hexdigest()

    def network(self) -> Blockwise:
        """The network, the same object for every task of this process, so that its engines are made once."""
        return _network(_Bytes(self.data, self.digest))

    def __dask_tokenize__(self) -> str:
        return self.digest


class _Bytes:
    """Bytes that are compared by their digest."""

    def __init__(self, data: bytes, digest: str) -> None:
        self.data, self.digest = data, digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bytes) and self.digest == other.digest


@lru_cache(MODELS_KEPT)
def _network(carried: _Bytes) -> Blockwise:
    return blockwise(pickle.loads(carried.data))  # of a graph, which is code anyway

"""What was audited, and by what: enough to tell two audits apart, or to repeat one."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from npunet import __version__
from npunet.audit.subject import Subject
from npunet.integer.network import Network


@dataclass(frozen=True)
class Provenance:
    """Versions and fingerprints.

    network : SHA-256 over the nodes, their attributes and the names and shapes of the weights
    weights : SHA-256 over every weight as little-endian float32, in the graph's order
    input   : SHA-256 over the sample as little-endian float32
    """

    npunet: str
    numpy: str
    python: str
    machine: str
    level: str
    network: str
    weights: str
    input: str


@dataclass(frozen=True)
class IntegerProvenance:
    """Versions and fingerprints of an integer network.

    network : SHA-256 over the nodes, their integers, arrays and scales
    input   : SHA-256 over the data
    """

    npunet: str
    numpy: str
    python: str
    machine: str
    network: str
    input: str


def integer_provenance(network: Network, x: np.ndarray) -> IntegerProvenance:
    """Take the fingerprints of an integer network."""
    found = hashlib.sha256()
    for node in network:
        tensor = network.tensors[node.name]
        found.update(f"{node.name} {node.op} {node.inputs} {sorted(node.attrs.items())} {tensor}\n".encode())
        for name, array in node.arrays.items():
            found.update(f"{name} {array.dtype} {array.shape}\n".encode())
            found.update(np.ascontiguousarray(array, "<i8").tobytes())
    return IntegerProvenance(*versions(), found.hexdigest(),
                             hashlib.sha256(np.ascontiguousarray(x, "<i8").tobytes()).hexdigest())


def versions() -> tuple[str, str, str, str]:
    """Of npunet, NumPy, Python, and the machine."""
    return __version__, np.__version__, platform.python_version(), platform.machine()


def provenance(shown: Subject) -> Provenance:
    """Take the fingerprints. No date and no path: the same audit gives the same text."""
    drawn = "\n".join(f"{node.name} {node.op} {node.inputs} {node.weights} {sorted(node.attrs.items())} {node.shape}"
                      for node in shown.graph)
    return Provenance(*versions(), shown.level,
                      hashlib.sha256(drawn.encode()).hexdigest(), digest(shown.weights), digest({"x": shown.x}))


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 over names and values."""
    found = hashlib.sha256()
    for name, array in arrays.items():
        found.update(f"{name} {array.shape}\n".encode())
        found.update(np.ascontiguousarray(array, "<f4").tobytes())
    return found.hexdigest()

"""Whether the engine can run at all: Numba is there, and its machine code has not failed to load."""

from __future__ import annotations

import warnings
from functools import cache
from importlib.util import find_spec


class EngineUnavailable(ImportError):
    """The engine's machine code could not be compiled, loaded or linked on this machine."""


_failures: list[str] = []


@cache
def engine_installed() -> bool:
    """Whether Numba can be imported; looked up once."""
    return find_spec("numba") is not None


def engine_usable() -> bool:
    """Whether the engine is installed and has not failed in this process."""
    return engine_installed() and not _failures


def remember_failure(error: EngineUnavailable) -> None:
    """Use NumPy from now on in this process, and say so, once."""
    if not _failures:
        _failures.append(str(error))
        warnings.warn(f"{error}; npunet goes on with NumPy, which is slower", RuntimeWarning, stacklevel=3)

"""Whether the engine can run at all."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec


@cache
def engine_installed() -> bool:
    """Whether Numba can be imported; looked up once."""
    return find_spec("numba") is not None

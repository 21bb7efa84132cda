"""What the threads of one call share: the counters at which they meet, and how this system gives a core away.

The machine code itself names no function of the system, so that the same module links on Linux, macOS and Windows.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache

import numpy as np


def new_barrier() -> np.ndarray:
    """int64 (4,): threads that arrived, generation, next ticket, address of the function that yields the core."""
    return np.array([0, 0, 0, yield_address()], np.int64)


@cache
def yield_address() -> int:
    """Address of a function without arguments that lets another thread have the core and returns an int32."""
    if sys.platform == "win32":
        function = ctypes.windll.kernel32.SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value or 0

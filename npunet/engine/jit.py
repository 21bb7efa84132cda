"""How engine functions are compiled, and how the result is kept on disk.

error_model numpy: no branch for a division by zero. fastmath never: the order of every sum is the declared one.
nogil: a prediction leaves other Python threads running.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit

OPTIONS = {"error_model": "numpy", "fastmath": False, "nogil": True}
PATIENCE = 1.5  # seconds of compiling before it is mentioned

jit = njit(**OPTIONS)
# Copied into its caller by Numba: LLVM then sees the code once, not once at every level of calls.
inlined = njit(inline="always", **OPTIONS)


def source_fingerprint() -> int:
    """A number that changes with any source file of the engine; never 0."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:6], "little") + 1


def kept_on_disk(function: Callable[..., None], signature: Any) -> Callable[[], Callable[..., None]]:
    """A function that gives the compiled function: from disk, or compiled now and written there if that is possible.

    Numba keeps it beside the source or, where that cannot be written, in the user's cache directory
    (NUMBA_CACHE_DIR overrides both).
    """
    lock = threading.Lock()
    made: list[Callable[..., None]] = []

    def get() -> Callable[..., None]:
        if not made:
            with lock:
                if not made:
                    made.append(compile_now(function, signature))
        return made[0]

    return get


def compile_now(function: Callable[..., None], signature: Any) -> Callable[..., None]:
    try:
        compiled = njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # no directory that Numba could write to
        compiled = njit(**OPTIONS)(function)
    notice = threading.Timer(PATIENCE, say_compiling)
    notice.daemon = True
    notice.start()
    try:
        compiled.compile(signature)
    except Exception:  # what was kept is damaged: Numba passes on whatever its reader raises
        if compiled.stats.cache_path is None:
            raise
        compiled._cache.flush()
        compiled.compile(signature)
    finally:
        notice.cancel()
    return compiled


def say_compiling() -> None:
    print("npunet: compiling the engine for this machine; this happens once", file=sys.stderr, flush=True)

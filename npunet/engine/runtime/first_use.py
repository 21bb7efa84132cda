"""Small first jobs run in NumPy while the engine is not compiled on this machine: the same bits, without the wait.

Compiling takes about a minute, once for a machine. NumPy runs the deployed network in the engine's own arithmetic at
RATE or faster, so a job of a second need not wait for that. Jobs add up: once a process has asked for ALLOWED in all,
about a third of what compiling takes, it compiles. So nobody waits much longer than the better choice would have taken,
whichever that was, and no result changes its bits at that point.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from npunet.engine.runtime.installed import EngineUnavailable, remember_failure
from npunet.engine.runtime.native import Entry

RATE = 100_000_000  # multiply-accumulates a second of NumPy's "seq_fma"; "seq" is several times as fast
ALLOWED = 20 * RATE  # of a process
MENTIONED = 2 * RATE  # beyond which it is said once


class _Account:
    """Multiply-accumulates that this process has run in NumPy for want of a compiled engine."""

    spent = 0
    said = False


def auto_backend(entry: Entry, macs: Callable[[], int]) -> str:
    """What runs a job that may take the engine: "engine", "numpy" with the same bits, or "" where the engine turns out
    not to run on this machine, which is said once.

    macs : gives the job's multiply-accumulates
    """
    try:
        if runs_in_numpy(entry, macs):
            return "numpy"
        entry()
    except EngineUnavailable as error:
        remember_failure(error)
        return ""
    return "engine"


def runs_in_numpy(entry: Entry, macs: Callable[[], int]) -> bool:
    """Whether a job that may take the engine is to run in NumPy; it is then counted as done."""
    if _Account.spent >= ALLOWED or entry.compiled():
        return False
    more = macs()
    if _Account.spent + more > ALLOWED:
        return False
    _Account.spent += more
    if _Account.spent > MENTIONED and not _Account.said:
        _Account.said = True
        print("npunet: the engine is not compiled on this machine yet, so NumPy runs small jobs, with the same bits; "
              "'npunet warmup' compiles it, in about a minute", file=sys.stderr)
    return True

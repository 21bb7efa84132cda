"""Small first jobs run in NumPy while the engine is not compiled on this machine: the same bits, without the wait.

Compiling takes about a minute, once for a machine. NumPy runs the deployed network in the engine's own arithmetic at
RATE or faster, so a job of a second need not wait for that. What jobs have taken adds up: once a process has spent
ALLOWED on them, about a third of what compiling takes, it compiles, in the middle of a job if need be. So nobody waits
much longer than the better choice would have taken, whichever that was, and no result changes its bits at that point.

Seconds are those of the processor, not of the clock: where other programs take most of a machine, NumPy and the
compiler are slower alike.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np

from npunet import run
from npunet.engine.runtime.installed import EngineUnavailable, remember_failure
from npunet.engine.runtime.native import Entry
from npunet.graph import Graph

Result = TypeVar("Result")

RATE = 100_000_000  # multiply-accumulates a second of NumPy's "seq_fma"; "seq" is several times as fast
ALLOWED = 20.0  # seconds of a process
MENTIONED = 2.0  # seconds, after which it is said once


class _Account:
    """Seconds that this process has run in NumPy for want of a compiled engine."""

    spent = 0.0
    said = False


class Overspent(Exception):
    """NumPy has had its time."""


def auto_backend(entry: Entry, macs: Callable[[], int]) -> str:
    """What runs a job that may take the engine: "engine", "numpy" with the same bits, or "" where the engine turns out
    not to run on this machine, which is said once.

    macs : gives the job's multiply-accumulates
    """
    try:
        if pays_in_numpy(entry, macs):
            return "numpy"
        entry()
    except EngineUnavailable as error:
        remember_failure(error)
        return ""
    return "engine"


def pays_in_numpy(entry: Entry, macs: Callable[[], int]) -> bool:
    """Whether a job that may take the engine had better run in NumPy, as far as can be told before."""
    if _Account.spent >= ALLOWED or entry.compiled():
        return False
    return _Account.spent + macs() / RATE <= ALLOWED


def on_account(job: Callable[[Callable[[], None]], Result]) -> Result | None:
    """job(count), which calls count() now and then; None where the account is overdrawn before its end, so that the
    engine has to do it."""
    begun, before = time.thread_time(), _Account.spent

    def count() -> None:
        _Account.spent = before + time.thread_time() - begun
        if _Account.spent > ALLOWED:
            raise Overspent
        if _Account.spent > MENTIONED and not _Account.said:
            _Account.said = True
            print("npunet: the engine is not compiled on this machine yet, so NumPy runs small jobs, with the same "
                  "bits; 'npunet warmup' compiles it, in about a minute", file=sys.stderr)

    try:
        return job(count)
    except Overspent:
        return None


def infer(graph: Graph, weights: Mapping[str, np.ndarray], images: np.ndarray, arithmetic: str) -> np.ndarray | None:
    """run.infer, on the account."""
    return on_account(lambda count: run.infer(graph, weights, images, arithmetic=arithmetic, after_each=count))

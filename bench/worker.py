"""One runtime in a process of its own, pinned to its cores: opens subjects, checks what they give, times calls."""

from __future__ import annotations

import contextlib
import gc
import os
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from peers import FLOAT_LIMIT, INT8_LIMIT, PEERS, Peer, as_int8

LEAST_CALLS = 3
LONG = 1.0  # seconds; of a call that takes longer, one a round is enough


class WrongOutput(Exception):
    """A peer does not compute the network that it was given."""


def serve(connection: Connection, name: str, cores: list[int]) -> None:
    """Answer requests until the connection closes: ("open", folder, batch), ("time", seconds), ("steps_off", folder).

    Answers are (True, result) or (False, message).
    """
    pin(cores)
    peer, call, x = PEERS[name], None, None
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        while True:
            request, *arguments = connection.recv()
            try:
                if request == "open":
                    call = x = None
                    call, x, result = opened(peer, *arguments, threads=len(cores))
                elif request == "steps_off":
                    result = steps_off(*arguments, np.array(call(x)))
                else:
                    result = durations(call, x, *arguments)
                connection.send((True, result))
            except Exception as error:
                connection.send((False, f"{type(error).__name__}: {error}"))


def pin(cores: list[int]) -> None:
    """Keep this process on its cores, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)


def opened(peer: Peer, folder: Path, batch: int, threads: int) -> tuple[Any, np.ndarray, float]:
    """(function, its input, how far it is from the definition). Raises WrongOutput when that is too far."""
    x = batch_of(np.load(folder / "x.npy"), batch)
    call = peer.open(folder, batch, threads)
    given = peer.encoded(folder, x) if peer.encoded else x
    y = np.array(call(given))
    if peer.exact and (off := steps_off(folder, y)):
        raise WrongOutput(f"is off by {off} steps from TFLite-Micro's integers")
    got = peer.decoded(folder, y) if peer.decoded else y
    return call, given, checked(peer, got, batch_of(np.load(folder / "y.npy"), batch))


def steps_off(folder: Path, y: np.ndarray) -> int | None:
    """The largest difference of int8 outputs to TFLite-Micro's, in steps; None where these are not there."""
    if not (folder / "y_int8.npy").exists():
        return None
    expected = batch_of(np.load(folder / "y_int8.npy"), len(y)).astype(int)
    return int(np.abs(as_int8(y, expected.ndim - 1).reshape(expected.shape).astype(int) - expected).max())


def batch_of(samples: np.ndarray, batch: int) -> np.ndarray:
    """The samples over and over, `batch` of them."""
    return np.ascontiguousarray(np.resize(samples, (batch, *samples.shape[1:])))


def checked(peer: Peer, got: np.ndarray, expected: np.ndarray) -> float:
    """How far the outputs are: for float the largest error of the largest output, for int8 root mean squares."""
    if got.shape != expected.shape:
        raise WrongOutput(f"gives {got.shape}, the definition {expected.shape}")
    if peer.encoded:
        error = float(np.sqrt(np.mean((got - expected) ** 2) / np.mean(expected**2)))
        limit = float("inf") if peer.saturates else INT8_LIMIT
    else:
        error, limit = float(np.abs(got - expected).max() / np.abs(expected).max()), FLOAT_LIMIT
    if not error <= limit:
        raise WrongOutput(f"is off by {error:.2e}, allowed {limit:g}")
    return error


def durations(call: Any, x: np.ndarray, seconds: float) -> list[float]:
    """Seconds of each call, for about so many seconds; one call before them is not counted."""
    call(x)
    taken: list[float] = []
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        while True:
            start = time.perf_counter()
            call(x)
            stop = time.perf_counter()
            taken.append(stop - start)
            if stop >= end and (len(taken) >= LEAST_CALLS or taken[0] > LONG):
                return taken
    finally:
        gc.enable()

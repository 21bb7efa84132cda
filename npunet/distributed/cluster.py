"""The workers: a cluster on this machine whose memory is bounded, or one that is there already."""

from __future__ import annotations

import importlib.util
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from npunet import memory
from npunet.extras import extra

SHARE = 0.8  # of the free memory, that all workers together may take
USABLE = 0.6  # of a worker's memory, that its tasks may take: the rest is the interpreter's, and what is passed on
ENDED = 0.9  # of a worker's memory: a little less than Dask's own 0.95
LEAST = 300 * 10**6  # bytes that a worker takes before it has read anything
SETTINGS = {
    "distributed.scheduler.allowed-failures": 2,     # times that a task may lose its worker before it counts as broken
    "distributed.scheduler.worker-saturation": 1.0,  # no task waits at a worker: it would count as lost with it
    "distributed.worker.memory.target": False,       # results are small; what fills a worker is one task, so that
    "distributed.worker.memory.spill": False,        # moving results to disk would free nothing, and a worker that
    "distributed.worker.memory.pause": False,        # waits for its memory to be freed might wait for ever
}


@contextmanager
def workers(address: str | None, threads: int = 1, count: int | None = None,
            limit: str | None = None) -> Iterator[tuple[Any, str]]:
    """A client of a cluster, and the cluster in words: how many workers, how much memory each may take.

    address : of a scheduler, such as tcp://host:8786, or None for a cluster on this machine, which ends with the block
    threads : that a task uses by itself; the workers share the cores so that none is used twice
    count   : workers of the local cluster; None for one for every `threads` cores
    limit   : memory of each of its workers, such as "2 GB"; None for an equal part of what is free. A worker that
              passes it is ended, and its tasks run again

    Raises ValueError for a cluster that cannot be reached and for workers that have too little memory, MissingExtra.
    """
    distributed, dask = extra("distributed", "distributed"), extra("dask", "distributed")
    if address is not None:
        client = _connected(distributed, address)
        try:
            yield client, _told(client)
        finally:
            client.close()
        return
    count = max(1, dask.system.CPU_COUNT // threads) if count is None else count
    if count < 1:
        raise ValueError(f"{count} workers: there must be at least 1")
    each = _limit(limit, count)
    with dask.config.set(SETTINGS), _started(distributed, count, each) as cluster, \
            distributed.Client(cluster) as client:
        client.register_plugin(_uninterrupted(), name="npunet-uninterrupted")
        yield client, _told(client)


def _started(distributed: Any, count: int, each: int) -> Any:
    """A cluster on this machine. Raises OSError where its processes do not come up."""
    try:
        return distributed.LocalCluster(n_workers=count, threads_per_worker=1, processes=True, memory_limit=each,
                                        silence_logs=logging.CRITICAL, dashboard_address=":0")  # any port that is free
    except (RuntimeError, TimeoutError) as error:
        raise OSError(f"{count} workers of {memory.told(each)} could not be started: {error}; use fewer, or start them "
                      "by hand and give --dask the address of their scheduler") from None


def _uninterrupted() -> Any:
    """A plugin of workers on this machine: Ctrl-C is for the process that they work for, which ends them."""
    class Uninterrupted(extra("distributed", "distributed").WorkerPlugin):  # type: ignore[misc]
        def setup(self, worker: Any) -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)

    return Uninterrupted()


def task_memory(client: Any) -> int | None:
    """Bytes that one task may take, of the workers that have least; None where nothing bounds them."""
    every = client.scheduler_info(-1)["workers"].values()
    return min((int(USABLE * worker["memory_limit"] / worker["nthreads"]) for worker in every
                if worker["memory_limit"]), default=None)


def process_memory(client: Any) -> int | None:
    """Bytes that the process of a worker may take, of those that have least, before Dask ends it; or None."""
    every = client.scheduler_info(-1)["workers"].values()
    return min((int(ENDED * worker["memory_limit"]) for worker in every if worker["memory_limit"]), default=None)


def _connected(distributed: Any, address: str) -> Any:
    if "://" not in address and ":" not in address:
        raise ValueError(f"{address!r} is no address of a Dask scheduler; write one such as tcp://host:8786")
    try:
        return distributed.Client(address, timeout=10)
    except (OSError, ValueError, TimeoutError) as error:
        raise ValueError(f"no Dask scheduler answers at {address} ({type(error).__name__}); start one by "
                         "'dask scheduler', and workers by 'dask worker ADDRESS --nthreads 1'") from None


def _limit(limit: str | None, count: int) -> int:
    free = memory.available()
    each = int(SHARE * free / count) if limit is None else _bytes(limit)
    if each < LEAST:
        raise ValueError(f"{memory.told(each)} of memory for each of {count} workers is too little, one takes "
                         f"{memory.told(LEAST)} before it has read anything; use fewer workers or give them more")
    if limit is not None and each * count > free:
        raise ValueError(f"{count} workers of {memory.told(each)} need {memory.told(each * count)}, and "
                         f"{memory.told(free)} are free; use fewer workers or give them less")
    return each


def _bytes(text: str) -> int:
    try:
        return int(extra("dask.utils", "distributed").parse_bytes(text))
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no amount of memory; write one such as 2GB") from None


def _told(client: Any) -> str:
    """A cluster in words. Raises ValueError for one without workers."""
    every = list(client.scheduler_info(-1)["workers"].values())
    if not every:
        raise ValueError(f"the cluster at {client.scheduler.address} has no workers; start one by "
                         f"'dask worker {client.scheduler.address} --nthreads 1'")
    limits = [worker["memory_limit"] for worker in every]
    bound = "memory not bounded" if not all(limits) else f"at most {memory.told(min(limits))} of memory each" \
        if min(limits) == max(limits) else f"at most {memory.told(min(limits))} to {memory.told(max(limits))} each"
    page = f"; dashboard {client.dashboard_link}" if importlib.util.find_spec("bokeh") else \
        "; for a dashboard: pip install bokeh"
    return (f"{len(every)} worker{'s' if len(every) > 1 else ''}, {sum(worker['nthreads'] for worker in every)} tasks "
            f"at once, {bound}{page}")

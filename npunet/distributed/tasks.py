"""Independent tasks on a cluster, each result as it comes; tasks whose worker died run again."""

from __future__ import annotations

import queue
import time
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any

IN_FLIGHT = 32  # tasks for each that can run at once: a scheduler that knows all of a million takes gigabytes
LOOK = 2.0  # seconds without news after which the workers are counted
ALONE = 60.0  # seconds without any worker after which the run ends
DEATHS = 20  # of workers, one after the other without a result between, after which the run ends

Lost = Callable[[str, int], None]


def each(client: Any, function: Callable[..., Any], items: Sequence[Any], lost: Lost, *,
         given: Any = None) -> Iterator[tuple[int, Any]]:
    """(index, what function(item) returned or the exception that it raised) in the order in which they come.

    function : pickled, as its items are; with effects that may happen twice
    lost     : told of every worker that died, with how many of the tasks that it had go to others
    given    : sent to each worker once, and then called as function(item, given)

    A task that several workers died of gives a MemoryError that says so, as memory is the usual cause. When the
    iteration ends early, tasks that have not begun are cancelled. Raises MemoryError when workers do nothing but die,
    ConnectionError when there are none any more.
    """
    run, waiting, arrived = uuid.uuid4().hex, iter(range(len(items))), queue.SimpleQueue[Any]()
    keys = {f"npunet-{run}-{index}": index for index in range(len(items))}
    shared = () if given is None else (client.submit(_itself, given, key=f"npunet-{run}-given", pure=False),)
    flying: dict[str, Any] = {}

    def submit(count: int) -> None:
        numbers = list(islice(waiting, count))
        if not numbers:
            return
        futures = client.map(function, [items[number] for number in numbers],
                             *([future] * len(numbers) for future in shared),
                             key=[f"npunet-{run}-{number}" for number in numbers], pure=False, retries=0)
        for future in futures:
            flying[future.key] = future
            future.add_done_callback(arrived.put)

    with deaths_heard(client, keys.__contains__) as deaths:
        watch = Watch(client, deaths, lost)
        try:
            submit(IN_FLIGHT * watch.at_once)
            while flying:
                done = [future for future in _drained(arrived) if not _is_lost(future, arrived)]
                watch.look(quiet=not done)
                for key, outcome in _outcomes(client, done):
                    del flying[key]
                    watch.result(outcome)
                    yield keys[key], outcome
                if len(flying) <= IN_FLIGHT * watch.at_once // 2:
                    submit(IN_FLIGHT * watch.at_once - len(flying))
            watch.look(quiet=False)
        finally:
            client.cancel([*flying.values(), *shared])


class Watch:
    """What becomes of the workers while tasks run.

    at_once : tasks that they can run at once
    """

    def __init__(self, client: Any, deaths: deque[tuple[str, int]], lost: Lost) -> None:
        self.client, self.deaths, self.lost = client, deaths, lost
        self.in_a_row, self.alone_since = 0, 0.0
        self.at_once = max(1, sum(worker["nthreads"] for worker in self._workers()))

    def look(self, quiet: bool) -> None:
        """Pass the news of deaths on, and raise where there is nothing to wait for.

        quiet : whether nothing has come for a while
        """
        while self.deaths:
            self.in_a_row += 1
            self.lost(*self.deaths.popleft())
        if self.in_a_row >= DEATHS:
            raise MemoryError(f"{self.in_a_row} workers died, one after the other, without a result between, most "
                              "likely of their memory; give workers more, or use fewer")
        if not quiet or self._workers():
            self.alone_since = 0.0
        else:
            self.alone_since = self.alone_since or time.monotonic()
            if time.monotonic() - self.alone_since > ALONE:
                raise ConnectionError(f"the cluster has had no worker for {ALONE:g} s; start one, and the same command "
                                      "goes on from there")

    def result(self, outcome: Any) -> None:
        """One task is through."""
        if not isinstance(outcome, BaseException):
            self.in_a_row = 0

    def _workers(self) -> list[dict[str, Any]]:
        try:
            return list(self.client.scheduler_info(-1)["workers"].values())
        except (OSError, TimeoutError, ValueError):
            return []


def _itself(value: Any) -> Any:
    """A task that can run again, unlike data that was scattered, which goes with its worker."""
    return value


def _drained(arrived: queue.SimpleQueue[Any]) -> list[Any]:
    """What has come, waiting a while for the first."""
    done = []
    try:
        done.append(arrived.get(timeout=LOOK))
        while True:
            done.append(arrived.get_nowait())
    except queue.Empty:
        return done


def _outcomes(client: Any, futures: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """(key, result or exception) of tasks that are through."""
    whole = [future for future in futures if future.status == "finished"]
    try:
        results = {future.key: result for future, result in zip(whole, client.gather(whole), strict=True)}
    except Exception:  # one of them was lost with its worker, ran again and failed
        results = {}
    for future in futures:
        yield future.key, results[future.key] if future.key in results else _waited_for(future)


def _is_lost(future: Any, arrived: queue.SimpleQueue[Any]) -> bool:
    """Whether a result went with the worker that held it; the scheduler has it made again, and then it comes again."""
    if future.status not in ("lost", "pending"):
        return False
    future.add_done_callback(arrived.put)
    return True


def _waited_for(future: Any) -> Any:
    try:
        if future.status != "cancelled":
            return future.result()
    except Exception as error:
        if future.status != "cancelled":
            return in_words(error)
    raise ConnectionError("the Dask scheduler has gone; the same command goes on from what is done")


@contextmanager
def deaths_heard(client: Any, ours: Callable[[Any], bool]) -> Iterator[deque[tuple[str, int]]]:
    """A queue of the workers that die while the block runs, each with how many of our tasks it was to run."""
    deaths: deque[tuple[str, int]] = deque()

    def hear(event: tuple[float, dict[str, Any]]) -> None:
        _, told = event
        if told.get("action") == "remove-worker" and not told.get("expected"):
            deaths.append((told["worker"], sum(ours(key) for key in told["processing-tasks"])))

    client.subscribe_topic("all", hear)
    try:
        yield deaths
    finally:
        client.unsubscribe_topic("all")


def in_words(error: BaseException) -> BaseException:
    """A task's exception; one that says that its workers died as a MemoryError."""
    if type(error).__name__ == "KilledWorker":
        deaths = getattr(error, "allowed_failures", 0) + 1
        return MemoryError(f"{deaths} workers died while they ran it, most likely of its memory; "
                           "give workers more")
    return error

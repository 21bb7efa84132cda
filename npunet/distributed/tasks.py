"""Independent tasks on a cluster, each result as it comes; tasks whose worker died run again."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from npunet.extras import extra


def each(client: Any, function: Callable[[Any], Any], items: Sequence[Any],
         lost: Callable[[str, int], None]) -> Iterator[tuple[int, Any]]:
    """(index, what function(item) returned or the exception that it raised) in the order in which they come.

    function : pickled, as its items are; with effects that may happen twice
    lost     : told of every worker that died, with how many of the tasks that it had go to others

    A task that several workers died of gives a MemoryError that says so, as memory is the usual cause. When the
    iteration ends early, tasks that have not begun are cancelled.
    """
    distributed = extra("distributed", "distributed")
    run = uuid.uuid4().hex
    keys = {f"npunet-{run}-{index}": index for index in range(len(items))}
    with deaths_heard(client, keys.__contains__) as deaths:
        futures = client.map(function, items, key=list(keys), pure=False, retries=0)
        try:
            for future, outcome in distributed.as_completed(futures, with_results=True, raise_errors=False):
                while deaths:
                    lost(*deaths.popleft())
                yield keys[future.key], in_words(future.exception()) if future.status == "error" else outcome
            while deaths:
                lost(*deaths.popleft())
        finally:
            client.cancel(futures)


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

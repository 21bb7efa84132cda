"""Independent tasks on a cluster, each result as it comes; tasks whose worker died run again."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable, Iterator, Sequence
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
    deaths: deque[tuple[str, int]] = deque()

    def hear(event: tuple[float, dict[str, Any]]) -> None:
        _, told = event
        if told.get("action") == "remove-worker" and not told.get("expected"):
            tasks = [key for key in told["processing-tasks"] if str(key) in keys]
            deaths.append((told["worker"], len(tasks)))

    client.subscribe_topic("all", hear)
    futures = client.map(function, items, key=list(keys), pure=False, retries=0)
    try:
        for future, outcome in distributed.as_completed(futures, with_results=True, raise_errors=False):
            while deaths:
                lost(*deaths.popleft())
            yield keys[future.key], _outcome(future, outcome)
        while deaths:
            lost(*deaths.popleft())
    finally:
        client.cancel(futures)
        client.unsubscribe_topic("all")


def _outcome(future: Any, outcome: Any) -> Any:
    """What as_completed gave, with an exception in place of its (type, exception, traceback)."""
    if future.status != "error":
        return outcome
    error = future.exception()
    if type(error).__name__ == "KilledWorker":
        return MemoryError(f"{error.allowed_failures + 1} workers died while they ran it, most likely of its memory; "
                           "give workers more")
    return error

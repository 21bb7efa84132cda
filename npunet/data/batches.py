"""Batches prepared while the previous one trains."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

Made = TypeVar("Made")


def ahead(make: Callable[[int], Made], start: int, stop: int, depth: int = 3) -> Generator[tuple[int, Made]]:
    """(index, make(index)) for start <= index < stop, made in order by a background thread, at most `depth` ahead.

    Every batch is a function of its index alone (see batch_generator), so that timing cannot change it. An error in
    make is raised here, at the batch that it struck. Closing the iterator stops the thread.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="npunet-batches")
    waiting = deque((index, pool.submit(make, index)) for index in range(start, min(start + depth, stop)))
    try:
        while waiting:
            index, future = waiting.popleft()
            made = future.result()
            if index + depth < stop:
                waiting.append((index + depth, pool.submit(make, index + depth)))
            yield index, made
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def batch_generator(seed: int, index: int) -> np.random.Generator:
    """The generator of batch `index` of a run."""
    return np.random.default_rng([seed, index])

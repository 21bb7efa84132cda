"""A hypothesis that raises is left out: a diagnosis goes on without it, and the tests see it raise."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

BROKEN = (ValueError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError, MemoryError)
T = TypeVar("T")
RAISES = False  # whether what is broken is raised nevertheless: so that a test shows it


@contextmanager
def sheltered() -> Iterator[None]:
    """Leave out the rest of a block that raises one of BROKEN."""
    try:
        yield
    except BROKEN:
        if RAISES:
            raise


def unbroken(items: Iterator[T]) -> Iterator[T]:
    """Items up to the first that cannot be made."""
    while True:
        try:
            item = next(items)
        except StopIteration:
            return
        except BROKEN:
            if RAISES:
                raise
            return
        yield item

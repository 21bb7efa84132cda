"""Where tensors stand in one block of memory: two whose lifetimes overlap never share a byte.

Greedy by size: the largest tensor first, each at the lowest offset that is free for its whole life.
Source: Pisarchyk & Lee 2020, arXiv:2001.03288, "Greedy by Size" for offset calculation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Lifetime(NamedTuple):
    """One tensor's claim on memory.

    size  : elements
    first : moment at which it is written: the number of a layer, an instruction or a chain of them
    last  : moment at which it is last read, at least first
    """

    size: int
    first: int
    last: int

    def overlaps(self, other: Lifetime) -> bool:
        """Whether at some moment both are needed."""
        return self.first <= other.last and other.first <= self.last


def lifetimes_in_order(order: Sequence[str], readers: Mapping[str, Sequence[Any]],
                       size_of: Callable[[str], int]) -> dict[str, Lifetime]:
    """Of tensors that layers give one after another: each from the layer of its name to the last one that reads it.

    order   : names of layers as they run; what else has readers is no tensor here
    readers : for every tensor the layers that read it
    """
    number = {name: moment for moment, name in enumerate(order)}
    return {name: Lifetime(size_of(name), number[name],
                           max([number[reader.name] for reader in readers[name]], default=number[name]))
            for name in order}


class Arena(NamedTuple):
    """Offsets (in elements) by tensor name, and how large the block has to be."""

    offsets: Mapping[str, int]
    size: int


def place(lifetimes: Mapping[str, Lifetime], alignment: int = 1) -> Arena:
    """Give every tensor an offset that is a multiple of `alignment` elements."""
    placed: dict[str, int] = {}
    for name in sorted(lifetimes, key=lambda name: (-lifetimes[name].size, lifetimes[name].first, name)):
        life = lifetimes[name]
        neighbours = sorted(
            (placed[other], placed[other] + lifetimes[other].size)
            for other in placed
            if lifetimes[other].overlaps(life)
        )
        placed[name] = lowest_gap(neighbours, life.size, alignment)
    end = max((placed[name] + life.size for name, life in lifetimes.items()), default=0)
    return Arena({name: placed[name] for name in lifetimes}, end)


def lowest_gap(taken: Sequence[tuple[int, int]], size: int, alignment: int) -> int:
    """The lowest aligned offset at which `size` elements fit between the taken intervals, given in order."""
    offset = 0
    for start, stop in taken:
        if offset + size <= start:
            break
        offset = max(offset, -(-stop // alignment) * alignment)
    return offset

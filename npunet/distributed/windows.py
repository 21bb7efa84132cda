"""Where the windows of blocks lie along one axis, and what they take of an array in chunks."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise

from npunet.distributed.halo import Halo


@dataclass(frozen=True)
class Piece:
    """What a window takes of one chunk along one axis: which part of it, and where it stands in the window."""

    chunk: int
    part: slice
    place: slice
    whole: bool


@dataclass(frozen=True)
class Window:
    """What one chunk's outputs need along one axis, and where these outputs stand in it."""

    length: int
    kept: slice
    pieces: tuple[Piece, ...]


def windows(chunks: tuple[int, ...], halo: Halo) -> list[Window]:
    """The window of every chunk along one axis."""
    offsets = [0, *accumulate(chunks)]
    padded = -(-offsets[-1] // halo.period) * halo.period
    windows = []
    for first, stop in pairwise(offsets):
        if first == stop:                                                    # an empty chunk, which Dask allows
            windows.append(Window(halo.period, slice(0, 0), ()))
            continue
        start, end = halo.window(first, stop, padded)
        windows.append(Window(end - start, slice(first - start, stop - start), tuple(_pieces(offsets, start, end))))
    return windows


def _pieces(offsets: list[int], start: int, end: int) -> Iterator[Piece]:
    """The parts of all chunks that lie between two positions; nothing lies past the array's end."""
    for number in range(bisect_right(offsets, start) - 1, len(offsets) - 1):
        first, stop = offsets[number : number + 2]
        low, high = max(start, first), min(end, stop)
        if first >= end:
            return
        if low < high:
            yield Piece(number, slice(low - first, high - first), slice(low - start, high - start),
                        high - low == stop - first)

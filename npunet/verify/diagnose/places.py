"""Sets of elements that a fault may be confined to: whole rows, columns and channels, runs of bytes, lanes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from npunet.verify.diagnose.regions import AXES, runs

LANES = (2, 4, 8, 16, 32)
BLOCKS = tuple(2**k for k in range(1, 13))  # elements of a block, where buffers take turns
PARTS = (2, 3, 4, 8)  # equal parts that work is split into
STEPS = range(3, 257)  # elements from one that is wrong to the next
DENSE = 0.6  # share of a set that must differ for it to be told


@dataclass(frozen=True, eq=False)
class Place:
    """A set of elements around all that differ; words : "channel 8 of 9"."""

    words: str
    mask: np.ndarray


def places(differs: np.ndarray, most: float = 0.999) -> Iterator[Place]:
    """Sets around all that differs, none with a larger share of the elements than `most`, the simplest first.

    differs : (N, H, W, C) bool
    """
    found: list[np.ndarray] = []
    axes, spans = list(_axes(differs)), list(byte_runs(differs))
    wrong = np.count_nonzero(differs)
    filled = [span for span in spans if wrong >= DENSE * np.count_nonzero(span.mask)]
    alone, product = (axes, []) if len(axes) == 1 else (axes[1:], axes[:1])
    for place in (*alone, *filled, *product, *spans, *_lanes(differs), *_every(differs), *_blocks(differs)):
        share = np.count_nonzero(place.mask) / differs.size
        if share <= most and not any(np.array_equal(place.mask, mask) for mask in found):
            found.append(place.mask)
            yield place


def _axes(differs: np.ndarray) -> Iterator[Place]:
    """The smallest product of samples, rows, columns and channels, then along each axis alone."""
    at = [np.flatnonzero(differs.any(tuple(k for k in range(4) if k != axis))) for axis in range(4)]
    part = [axis for axis in range(4) if len(at[axis]) < differs.shape[axis]]
    for axes in [part, *([axis] for axis in part if len(part) > 1)]:
        mask = np.zeros(differs.shape, bool)
        if axes:
            mask[np.ix_(*(at[axis] if axis in axes else np.arange(differs.shape[axis]) for axis in range(4)))] = True
            yield Place(" and ".join(told(axis, at[axis], differs.shape[axis]) for axis in axes), mask)


def told(axis: int, at: np.ndarray, extent: int) -> str:
    """The last 2 columns (16 to 17 of 18); channels 3, 5 of 9."""
    name = AXES[axis] if len(at) == 1 else f"{AXES[axis]}s"
    together = at[-1] - at[0] + 1 == len(at)
    many = "" if len(at) == 1 else f"{len(at)} "
    for where, end in (("last", at[-1] == extent - 1), ("first", at[0] == 0)):
        if together and end and len(at) <= extent // 2:
            return f"the {where} {many}{name} ({runs(at)} of {extent})"
    return f"{name} {runs(at)} of {extent}"


def byte_runs(differs: np.ndarray) -> Iterator[Place]:
    """One run of elements in all of the file, or the same run in every sample."""
    N = len(differs)
    flat = np.flatnonzero(differs)
    mask = np.zeros(differs.size, bool)
    mask[flat[0] : flat[-1] + 1] = True
    yield Place(run(int(flat[0]), int(flat[-1]) + 1, differs.size), mask.reshape(differs.shape))
    if N > 1 and flat[-1] - flat[0] >= differs.size // N:
        each = np.flatnonzero(differs.reshape(N, -1).any(0))
        mask = np.zeros((N, differs.size // N), bool)
        mask[:, each[0] : each[-1] + 1] = True
        words = run(int(each[0]), int(each[-1]) + 1, differs.size // N)
        yield Place(f"{words}, in every sample", mask.reshape(differs.shape))


def run(first: int, end: int, size: int) -> str:
    """Elements first to end - 1 of a tensor, their bytes, and what their place suggests."""
    count, offset, length = end - first, 4 * first, 4 * (end - first)
    where = f"bytes {offset} to {offset + length - 1} of {4 * size}"
    if end == size and first:
        words = f"the last {'element' if count == 1 else f'{count} elements'} of {size} ({where})"
        blocks = [block for block in reversed(BLOCKS) if first % block == 0 and size % block == count]
        return f"{words}, what whole blocks of {blocks[0]} elements leave" if blocks else words
    which = f"element {first}" if count == 1 else f"elements {first} to {end - 1}"
    words = f"{which} of {size} ({where})"
    if not first and end < size:
        words = f"the first {'element' if count == 1 else f'{count} elements'} of {size} ({where})"
    for parts in PARTS:
        each = size // parts
        if first and size % parts == 0 and first % each == 0 and count <= each:
            return f"{words}, the start of part {first // each + 1} of {parts} equal ones, as work is split"
        if size % parts == 0 and end % each == 0 and end < size and count <= each:
            return f"{words}, the end of part {end // each} of {parts} equal ones, as work is split"
    grain = min((offset & -offset) or 1 << 30, length & -length)
    for step, kind in ((4096, "a page or DMA block"), (256, "a DMA block or tile"), (64, "cache lines of 64 bytes"),
                       (32, "cache lines of 32 bytes"), (16, "vectors of 16 bytes")):
        if grain >= step and length >= step:
            return f"{words}, at multiples of {step}: {kind}"
    return words


def _lanes(differs: np.ndarray) -> Iterator[Place]:
    """Every k-th element of a sample."""
    size = differs.size // len(differs)
    flat = np.flatnonzero(differs.reshape(len(differs), -1).any(0))
    for lanes in LANES:
        at = np.unique(flat % lanes)
        if len(at) <= lanes // 2 and size > 2 * lanes:
            mask = np.isin(np.arange(size) % lanes, at)
            yield Place(f"every element whose number modulo {lanes} is {runs(at)}",
                        np.broadcast_to(mask, (len(differs), size)).reshape(differs.shape))


def _every(differs: np.ndarray) -> Iterator[Place]:
    """Every n-th element of a sample for any n, from one on."""
    size = differs.size // len(differs)
    flat = np.flatnonzero(differs.reshape(len(differs), -1).any(0))
    step = int(np.gcd.reduce(np.diff(flat))) if len(flat) > 2 else 0
    if step in STEPS:
        mask = np.zeros((len(differs), size), bool)
        mask[:, flat[0] % step :: step] = True
        yield Place(f"every {step}th element, from number {flat[0] % step} on", mask.reshape(differs.shape))


def _blocks(differs: np.ndarray) -> Iterator[Place]:
    """Every second or fourth block of a sample: buffers that take turns, the largest blocks first."""
    size, row = differs.size // len(differs), differs.shape[2] * differs.shape[3]
    flat = np.flatnonzero(differs.reshape(len(differs), -1).any(0))
    for block in sorted({*BLOCKS, differs.shape[3], row}, reverse=True):
        for turns in (2, 4):
            at = np.unique(flat // block % turns)
            if len(at) <= turns // 2 and flat[-1] // block - flat[0] // block >= turns:
                mask = np.isin(np.arange(size) // block % turns, at)
                words = f"of every {turns} blocks of {block} elements ({4 * block} bytes) number {runs(at)}"
                yield Place(words, np.broadcast_to(mask, (len(differs), size)).reshape(differs.shape))

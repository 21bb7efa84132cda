"""Patterns of places: the right numbers stand elsewhere - shifted, with another pitch, in another order."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import permutations

import numpy as np

from npunet.verify.compare import same
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.places import run

SHARE = 0.6  # of the elements that can be recognised: they must agree on a shift
PITCH = 64  # elements by which a row may be longer in memory than it is
RECOGNISED = 4000  # elements that a pitch is tried on
BLOCKS = (2, 4, 8, 16, 32)
Gather = tuple[str, np.ndarray]  # words, and for every place of a sample the element that stands there


@pattern()
def elements_moved(s: Sight) -> Guesses:
    """All elements of a sample moved by the same number of places."""
    right, got, _ = s.flat
    size = right.shape[1]
    for by in _shifts(right, got):
        where = f"by {abs(by)} elements ({4 * abs(by)} bytes) to the {'back' if by > 0 else 'front'}"
        rolled = np.roll(right, by, 1)
        yield _moved(s, f"the output moved {where}, around the end", rolled)
        end = slice(None, by) if by > 0 else slice(by, None)
        cleared = rolled.copy()
        cleared[:, end] = 0
        yield _moved(s, f"the output moved {where}, zero at the end", cleared)
        kept = rolled.copy()
        kept[:, end] = right[:, end]
        yield _moved(s, f"the output moved {where}, the end as it was", kept)
        if abs(by) < size // 2:
            other = rolled.copy()
            other[:, end] = got[:, end]
            yield _moved(s, f"the output moved {where}, something else at the end", other)
    every = np.roll(s.right.ravel(), 0)
    for by in _shifts(every[None], s.got.reshape(1, -1)) if len(right) > 1 else ():
        other = np.roll(every, by)
        end = slice(None, by) if by > 0 else slice(by, None)
        other[end] = s.got.ravel()[end]
        if abs(by) < size // 2:
            yield _moved(s, f"the whole file moved by {by:+d} elements ({4 * by:+d} bytes)", other)


def _moved(s: Sight, words: str, y: np.ndarray) -> Guess:
    return Guess(words, y.reshape(s.right.shape))


def _shifts(right: np.ndarray, got: np.ndarray) -> list[int]:
    """Shifts on which the recognisable elements of the first sample agree."""
    wanted, at = _recognised(right[0], got[0])
    if len(wanted) < 2:
        return []
    numbers, counts = np.unique(at - wanted, return_counts=True)
    best = int(counts.argmax())
    return [int(numbers[best])] if counts[best] >= SHARE * len(wanted) and numbers[best] else []


def _recognised(right: np.ndarray, got: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places in `right` and in `got` of values that stand once in each."""
    values, first, counts = np.unique(right, return_index=True, return_counts=True)
    seen, places, times = np.unique(got, return_index=True, return_counts=True)
    once, places = seen[times == 1], places[times == 1]
    _, a, b = np.intersect1d(values[counts == 1], once, return_indices=True)
    return first[counts == 1][a], places[b]


@pattern()
def row_pitch(s: Sight) -> Guesses:
    """Rows, pixels or planes stored with another pitch than they are read with."""
    right, got, _ = s.flat
    size = right.shape[1]
    H, W, C = s.right.shape[1:]
    wanted, at = (places[:RECOGNISED] for places in _recognised(right[0], got[0]))
    units = {"row": (W * C, H), "pixel": (C, H * W)}
    for name, (unit, count) in units.items():
        if count < 2 or len(wanted) < 4:
            continue
        for pitch in range(max(1, unit // 2), unit + PITCH + 1):
            if pitch == unit:
                continue
            put, taken = _pitched(wanted, unit, pitch), _pitched(at, unit, pitch)
            written, read = (put == at).mean() >= SHARE, (taken == wanted).mean() >= SHARE
            if not written and not read:
                continue
            spread = _pitched(np.arange(size), unit, pitch)
            words = f"a {name} of {unit} elements with a pitch of {pitch}"
            if written:
                other = got.copy()
                inside = spread < size
                other[:, spread[inside]] = right[:, inside]
                cleared = np.zeros_like(got)
                cleared[:, spread[inside]] = right[:, inside]
                yield _moved(s, f"written with {words}, zeros between, read without gaps", cleared)
                if pitch < 2 * unit:
                    yield _moved(s, f"written with {words}, read without gaps", other)
            inside = spread < size
            if read:
                other = got.copy()
                other[:, inside] = right[:, spread[inside]]
                if inside.mean() > 0.5:
                    yield _moved(s, f"written without gaps, read with {words}", other)


def _pitched(n: np.ndarray, unit: int, pitch: int) -> np.ndarray:
    """Where elements stand when every `unit` of them begin `pitch` after the last."""
    return n // unit * pitch + n % unit


@pattern()
def elements_permuted(s: Sight) -> Guesses:
    """The right numbers in another order that hardware and loops make."""
    right, got, _ = s.flat
    seen: list[np.ndarray] = []
    for words, gather in _gathers(s.right.shape[1:]):
        if same(right[:1, gather[:256]], got[:1, :256]).all() and not any(np.array_equal(gather, g) for g in seen):
            seen.append(gather)
            yield _moved(s, f"the right numbers, {words}", right[:, gather])
    flat = s.right.ravel()
    if len(right) > 1:
        half = len(flat) // 2
        yield _moved(s, "the right numbers, halves of the file exchanged", np.roll(flat, half))


def _gathers(shape: tuple[int, ...]) -> Iterator[Gather]:
    size = int(np.prod(shape))
    n = np.arange(size)
    half = size // 2
    if size % 2 == 0:
        yield "halves exchanged", np.roll(n, half)
        yield "even elements first, odd ones after", n.reshape(-1, 2).T.ravel()
        yield "odd elements first, even ones after", n.reshape(-1, 2)[:, ::-1].T.ravel()
        yield "halves interleaved element by element", n.reshape(2, half).T.ravel()
    yield "in reverse order", n[::-1]
    for block in BLOCKS:
        whole = size // block * block
        rest, blocks = n[whole:], n[:whole].reshape(-1, block)
        if not whole:
            continue
        said = "pairs of words exchanged" if block == 2 else f"every {block} elements in reverse order"
        yield said, np.concatenate([blocks[:, ::-1].ravel(), rest])
        yield f"blocks of {block} elements in reverse order", np.concatenate([blocks[::-1].ravel(), rest])
        if block > 2:
            halves = np.roll(blocks, block // 2, 1)
            yield f"halves of every {block} elements exchanged", np.concatenate([halves.ravel(), rest])
        if len(blocks) % 2 == 0:
            paired = blocks.reshape(-1, 2, block)[:, ::-1].ravel()
            yield f"neighbouring blocks of {block} elements exchanged", np.concatenate([paired, rest])
            yield f"even blocks of {block} elements first, odd ones after", np.concatenate(
                [blocks.reshape(-1, 2, block).transpose(1, 0, 2).ravel(), rest])
        yield f"rows and columns of a matrix of {block} columns exchanged", np.concatenate([blocks.T.ravel(), rest])
        yield f"rows and columns of a matrix of {block} rows exchanged", np.concatenate(
            [n[:whole].reshape(block, -1).T.ravel(), rest])
    yield from _axes(n.reshape(shape))
    yield from _address_lines(n)


def _axes(n: np.ndarray) -> Iterator[Gather]:
    """Orders of the axes, halves and evens along each, channels in blocks."""
    names = "HWC"
    for axes in list(permutations(range(3)))[1:]:
        order = "".join(names[axis] for axis in axes)
        stored = n.transpose(axes)
        yield f"stored as {order}", stored.ravel()
        read = n.reshape(stored.shape).transpose(np.argsort(axes))
        yield f"taken for {order} when they were stored as HWC", read.ravel()
    for axis, name in enumerate(("row", "column", "channel")):
        extent, front = n.shape[axis], np.moveaxis(n, axis, 0)
        ways = [(f"{name}s in reverse order", front[::-1])]
        if extent > 2:
            ways += [
                (f"even {name}s first, odd ones after", np.concatenate([front[::2], front[1::2]])),
                (f"odd {name}s first, even ones after", np.concatenate([front[1::2], front[::2]])),
            ]
        if extent % 2 == 0:
            ways += [
                (f"halves of the {name}s exchanged", np.roll(front, extent // 2, 0)),
                (f"neighbouring {name}s exchanged",
                 front.reshape(-1, 2, *front.shape[1:])[:, ::-1].reshape(front.shape)),
                (f"halves of the {name}s interleaved",
                 front.reshape(2, -1, *front.shape[1:]).swapaxes(0, 1).reshape(front.shape)),
            ]
        ways += [(f"{name}s moved by {by:+d}, around the end", np.roll(front, by, 0))
                 for by in range(1 - extent, extent) if by and abs(by) <= 8]
        for words, moved in ways:
            if extent > 1:
                yield words, np.moveaxis(moved, 0, axis).ravel()
    H, W, C = n.shape
    if H == W > 1:
        yield "turned by 90 degrees", np.rot90(n).ravel()
        yield "turned by 270 degrees", np.rot90(n, 3).ravel()
    if H > 1 and W > 1:
        yield "turned by 180 degrees", n[::-1, ::-1].ravel()
        snake = n.copy()
        snake[1::2] = snake[1::2, ::-1]
        yield "every other row in reverse order", snake.ravel()
    for block in BLOCKS:
        if block < C and C % block == 0:
            blocked = n.reshape(H, W, C // block, block)
            yield f"channels in blocks of {block} (C/{block} H W {block})", blocked.transpose(2, 0, 1, 3).ravel()
            yield f"channels in blocks of {block} (H C/{block} W {block})", blocked.transpose(0, 2, 1, 3).ravel()
        for rows, columns in ((block, block), (1, block), (block, 1)):
            if H % rows == 0 and W % columns == 0 and (rows < H or columns < W):
                tiled = n.reshape(H // rows, rows, W // columns, columns, C)
                yield f"in tiles of {rows} x {columns}", tiled.transpose(0, 2, 1, 3, 4).ravel()
                if rows == columns:
                    turned = tiled.transpose(0, 3, 2, 1, 4)
                    yield f"rows and columns exchanged within tiles of {rows} x {columns}", turned.ravel()


def _address_lines(n: np.ndarray) -> Iterator[Gather]:
    """An address line that is stuck: half of the elements stand twice."""
    for line in range(max(1, int(n[-1])).bit_length()):
        for words, read in (("0", n & ~(1 << line)), ("1", n | 1 << line)):
            yield f"address line {line} of the elements stuck at {words}", np.minimum(read, n[-1])


@pattern(rank=2)
def piece_moved(s: Sight) -> Guesses:
    """A run of the output that is the right numbers moved by a few elements, all else being right."""
    right, got, differs = s.flat
    flat = np.flatnonzero(differs.any(0))
    first, end = int(flat[0]), int(flat[-1]) + 1
    for by in _shifts(right[:1, first:end], got[:1, first:end]):
        y = right.copy()
        y[:, first:end] = np.roll(right, by, 1)[:, first:end]
        head = slice(first, first + by) if by > 0 else slice(end + by, end)
        y[:, head] = got[:, head]
        if abs(by) < (end - first) // 2:
            yield _moved(s, f"{run(first, end, right.shape[1])}: moved by {by:+d} elements ({4 * by:+d} bytes)", y)

"""Patterns of memory: parts that were never written or hold something else, buffers that were not updated."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from npunet.ops.table import ACTIVATIONS
from npunet.verify.compare import same
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.places import DENSE, byte_runs, places
from npunet.verify.diagnose.regions import tile
from npunet.verify.diagnose.sources import others
from npunet.verify.diagnose.sums import SMALLEST_NORMAL

POISON = {0xDEADBEEF, 0xCDCDCDCD, 0xCCCCCCCC, 0xA5A5A5A5, 0xAAAAAAAA, 0x55555555, 0xFFFFFFFF, 0xBAADF00D, 0xFEEEFEEE}
MOST_STARTS = 64  # places of a value that are tried
TILE = 0.9  # share of a tile that must differ: in a convolution's output it lies all over
LEAST = 3  # elements of another tensor that are recognised anywhere in it
COMMON = (0.0, 1.0, -1.0, 6.0)  # values that stand in many tensors
STARTED = 1e-5  # of an element: by which one that was added may miss
ADDED = 4 * 2.0**-24  # of what is added up: another order
FOREIGN = 0.5  # share of the output up to which a run of unknown content is told


@pattern()
def part_not_written(s: Sight) -> Guesses:
    """One value everywhere in a part of the output: never written, cleared, or filled with a debugger's mark."""
    value = _one_value(s)
    if value is None:
        return
    raw = int(np.float32(value).view(np.uint32))
    if value == 0 and (np.abs(s.right[s.differs]) < SMALLEST_NORMAL).all():
        return  # flushed to zero: it may well have been written
    if value == 0:
        for place in places(s.differs):
            y = np.where(place.mask, np.where(s.got == 0, s.got, np.float32(0)), s.right)
            words = f"{place.words}: all zero, never written{remainder(place.words, s)}"
            again = anything_in(place.mask) if np.count_nonzero(s.differs) >= LEAST else None
            yield Guess(words, y, again=again)
    elif np.isnan(value) or raw in POISON:
        for place in places(s.differs):
            said = "NaN" if np.isnan(value) else f"{value:.9g} (0x{raw:08x}, a mark of memory that was not written)"
            yield Guess(f"{place.words}: all {said}{remainder(place.words, s)}", np.where(place.mask, value, s.right))


def anything_in(mask: np.ndarray) -> Callable[[Sight], Guess]:
    """In another case: whatever stands in the part, since what its memory held there is not known.

    mask : (N, H, W, C) of bool; the part is the same in every sample
    """
    part = mask.any(0)
    return lambda other: Guess("", np.where(part, other.got, other.right))


def _one_value(s: Sight) -> np.float32 | None:
    """What stands wherever the port differs, if it is one value."""
    values = s.got[s.differs]
    one = (values == values[0]).all() or np.isnan(values).all()
    return values[0] if one and len(values) > 1 else None


@pattern(rank=2)
def part_constant(s: Sight) -> Guesses:
    """Any other value everywhere in a part of the output."""
    value = _one_value(s)
    if value is not None:
        for place in places(s.differs):
            yield Guess(f"{place.words}: all {value:.9g}", np.where(place.mask, value, s.right))


def remainder(words: str, s: Sight) -> str:
    """What the place suggests, where it is the end of an axis that vectors do not divide."""
    for axis, name in ((3, "channel"), (2, "column")):
        if words.startswith(f"the last {name}") or (words.startswith("the last") and f"{name}s" in words):
            extent = s.right.shape[axis]
            count = extent - int(np.flatnonzero(s.differs.any(tuple(k for k in range(4) if k != axis)))[0])
            lanes = [k for k in (2, 4, 8, 16, 32) if extent % k == count]
            if lanes:
                return f"; the remainder of a loop in steps of {' or '.join(map(str, lanes))}"
    return ""


@pattern(rank=0)
def dumps_exchanged(s: Sight) -> Guesses:
    """What was dumped as this layer's output is a later layer's, and the other way round."""
    for name, value in s.evidence.golden.items():
        shown = s.evidence.later.get(name)
        if shown is None or value.size != s.right.size or shown.size != s.right.size:
            continue
        if same(value.reshape(s.right.shape), s.got).all() and same(shown.reshape(s.right.shape), s.right).all():
            yield Guess(f"the dumps of {s.node.name} and {name} stand in each other's place", s.got, of_sums=True,
                        name="dumps_exchanged")


@pattern()
def stale_part(s: Sight) -> Guesses:
    """A part of the output, or all of it, that is another tensor at the same place: a buffer not fully written."""
    size = s.right.size // len(s.right)
    for name, value in others(s):
        if value.ndim != 4 or len(value) != len(s.right) or value.size < s.right.size:
            continue
        held = value.reshape(len(value), -1)[:, :size].reshape(s.right.shape)
        equal = same(held, s.got)
        if equal.all():
            why = "dumped when its memory held that" if s.evidence.reader else "a buffer that was not written"
            yield Guess(f"{name} stands in the output: {why}", held, name="stale_buffer")
        elif equal[s.differs].all() and _telling(s.got[s.differs], s.got):
            for place in places(s.differs):
                did = " (nothing is done to it)" if value is s.inputs[0] and s.recipe.op in ACTIVATIONS else ""
                again = anything_in(place.mask) if np.count_nonzero(s.differs) >= LEAST else None
                left = "" if did else f" (not written: what its memory held is left{remainder(place.words, s)})"
                yield Guess(f"{place.words}: {name} stands there{did or left}",
                            np.where(place.mask, held, s.right), again=again)


def _telling(values: np.ndarray, got: np.ndarray) -> bool:
    """Whether values are such as do not stand in two tensors by chance: a few, or one that is rare."""
    return (len(values) >= LEAST and len(np.unique(values)) > 1) or (0 < len(values) < LEAST and all(
        np.isfinite(value) and value not in COMMON and np.count_nonzero(got == value) == 1 for value in values))


@pattern()
def stale_run(s: Sight) -> Guesses:
    """A run of the output that is found anywhere in another tensor, or elsewhere in the output itself."""
    _, got, differs = s.flat
    flat = np.flatnonzero(differs.any(0))
    first, end = int(flat[0]), int(flat[-1]) + 1
    if end - first < LEAST or end - first > FOREIGN * differs.shape[1] or not _varied(got[:, first:end]):
        return
    number = int(np.flatnonzero(differs.any(1))[0])
    wanted = np.ascontiguousarray(got[number, first:end]).tobytes()
    place = list(byte_runs(s.differs))[-1]
    for name, value in (("the right output itself", s.right), *others(s)):
        sample = value[number] if value.ndim == 4 and len(value) == len(s.right) else value
        at = np.ascontiguousarray(sample, np.float32).tobytes().find(wanted)
        if at >= 0 and at % 4 == 0:
            y = np.where(place.mask, s.got, s.right)
            words = next((other.words for other in places(s.differs) if np.array_equal(other.mask, place.mask)),
                         place.words)
            yield Guess(f"{words}: {name} from its byte {at} on stands there", y, again=anything_in(place.mask))
            return


@pattern(rank=2)
def output_added_to(s: Sight) -> Guesses:
    """The output is added to what stood in its memory."""
    size = s.right[0].size
    off = (s.got.astype(np.float64) - s.right).reshape(len(s.right), -1)
    for name, value in others(s):
        if value.ndim != 4 or len(value) != len(s.right) or value[0].size < size:
            continue
        flat = value.reshape(len(value), -1)
        for start in (0, *_starts(flat[0], off[0], size)):
            held = flat[:, start : start + size].reshape(s.right.shape).astype(np.float64)
            y = s.right + held
            parts = sum(np.abs(x) for x in s.inputs if x.shape == y.shape)
            near = ADDED * (np.abs(s.right) + np.abs(held) + parts)
            where = f" (from its element {start} on)" if start else ""
            words = f"{name}{where} is added to the output: its memory held that and was not cleared"
            yield Guess(words, y, near, of_sums=True)


def _starts(held: np.ndarray, wanted: np.ndarray, size: int) -> list[int]:
    """Where a run may begin in a tensor that is near to another in its largest element."""
    if not np.isfinite(wanted).all():
        return []
    at = int(np.abs(wanted).argmax())
    near = np.flatnonzero(np.abs(held - wanted[at]) <= STARTED * np.abs(wanted[at])) - at
    return [int(start) for start in near if 0 < start <= len(held) - size][:MOST_STARTS]


@pattern(rank=2)
def moved_elements(s: Sight) -> Guesses:
    """Elements, wherever they lie, that stand a fixed number of places away in a tensor: overlapping copies."""
    _, got, differs = s.flat
    number = int(np.flatnonzero(differs.any(1))[0])
    flat = np.flatnonzero(differs[number])
    values = got[number, flat]
    if len(flat) < LEAST or not _varied(values):
        return
    _, places_of, counts = np.unique(values, return_index=True, return_counts=True)
    rare = int(places_of[counts.argmin()])
    for name, value in (("the right output itself", s.right), *others(s)):
        if value.ndim != 4 or len(value) != len(s.right):
            continue
        held = value.reshape(len(value), -1)
        for start in np.flatnonzero(held[number] == values[rare])[:MOST_STARTS]:
            by = int(start) - int(flat[rare])
            at = flat + by
            if at.min() < 0 or at.max() >= held.shape[1] or not same(held[number, at], values).all():
                continue
            for place in places(s.differs):
                words = f"{place.words}: {name} stands there" + (f", {by:+d} elements on" if by else "")
                made = np.where(place.mask, _from(s, value, by), s.right)
                if same(made, s.got).all():
                    yield Guess(words, made, name="stale_part", again=partial(_known, name=name, by=by))
            yield Guess(f"{name}, {by:+d} elements on, stands where the output is wrong",
                        np.where(s.differs, _from(s, value, by), s.right), name="stale_part",
                        again=partial(_known, name=name, by=by))
            return


def _from(s: Sight, value: np.ndarray, by: int) -> np.ndarray:
    """For every element of the output what stands a number of places on in a tensor."""
    held = value.reshape(len(value), -1)
    at = np.arange(s.right[0].size) + by
    inside = (at >= 0) & (at < held.shape[1])
    y = np.where(inside, held[:, np.clip(at, 0, held.shape[1] - 1)], s.right.reshape(len(s.right), -1))
    return np.asarray(y.reshape(s.right.shape))


def _known(s: Sight, name: str, by: int) -> Guess:
    """The same tensor in another case, wherever the output is wrong there."""
    listed = {"the right output itself": s.right, **dict(others(s))}
    value = listed.get(name)
    fits = value is not None and value.ndim == 4 and len(value) == len(s.right)
    return Guess("", np.where(s.differs, _from(s, value, by), s.right) if fits and value is not None else s.right)


def _varied(values: np.ndarray) -> bool:
    return len(np.unique(values)) >= min(LEAST, values.size)


@pattern(rank=3)
def foreign_run(s: Sight) -> Guesses:
    """A run of unknown content."""
    for place in byte_runs(s.differs):
        held = np.count_nonzero(place.mask)
        row = s.got.shape[2] * s.got.shape[3]
        at = np.flatnonzero(place.mask)
        rows = s.got.shape[1] > 1 and at[0] % row == 0 and (at[-1] + 1) % row == 0  # whole rows: a fault of these
        if not rows and held <= FOREIGN * s.got.size and np.count_nonzero(s.differs) >= DENSE * held:
            y = np.where(place.mask, s.got, s.right)
            yield Guess(f"other content in {place.words}; all else is right", y, name="foreign_bytes")
            return


@pattern(rank=3)
def foreign_tile(s: Sight) -> Guesses:
    """A rectangle of unknown content: a tile that was not loaded, or stored elsewhere."""
    words = tile(s.differs)
    rows, columns = (np.flatnonzero(s.differs.any(axes)) for axes in ((0, 2, 3), (0, 1, 3)))
    if words and len(rows) > 1 and len(columns) > 1:
        mask = np.zeros(s.differs.shape, bool)
        mask[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = True
        if np.count_nonzero(s.differs) >= TILE * np.count_nonzero(mask):
            yield Guess(f"other content in {words}; all else is right", np.where(mask, s.got, s.right),
                        name="foreign_bytes")


@pattern()
def planes_of_others(s: Sight) -> Guesses:
    """Channels of the output that are channels of other tensors, or of the output in another order."""
    at = np.flatnonzero(s.differs.any((0, 1, 2)))
    wanted = {c: np.ascontiguousarray(s.got[..., c]) for c in at.tolist()}
    if any(not _varied(plane) for plane in wanted.values()) or s.right[..., 0].size < LEAST:
        return
    own = _matched(wanted, s.right)
    if len(own) == len(wanted):
        order = list(range(s.right.shape[3]))
        for c, k in own.items():
            order[c] = k
        yield Guess(f"channels of the output in the order {', '.join(map(str, order))}", s.right[..., order])
        return
    for name, value in others(s):
        if value.ndim == 4 and value.shape[:3] == s.right.shape[:3]:
            found = _matched(wanted, value)
            if len(found) == len(wanted):
                y = s.right.copy()
                for c, k in found.items():
                    y[..., c] = value[..., k]
                pairs = ", ".join(f"{k} in {c}" for c, k in list(found.items())[:4])
                more = ", ..." if len(found) > 4 else ""
                yield Guess(f"channels of {name} stand in the output ({pairs}{more})", y)


def _matched(wanted: dict[int, np.ndarray], value: np.ndarray) -> dict[int, int]:
    """For every wanted plane the channel of a tensor that is equal."""
    listed: dict[bytes, int] = {}
    for k in range(value.shape[3]):
        listed.setdefault(np.ascontiguousarray(value[..., k], np.float32).tobytes(), k)
    return {c: listed[plane.tobytes()] for c, plane in wanted.items() if plane.tobytes() in listed}

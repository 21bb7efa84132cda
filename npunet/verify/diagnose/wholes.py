"""Hypotheses about an output as a whole: layout, shifts, parts never written, buffers that hold something else."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from npunet.verify.layouts import LAYOUTS, from_layout


@dataclass(frozen=True)
class Scene:
    """What stands around an output.

    right  : the layer's output as declared, (N, H, W, C)
    inputs : what the layer read
    others : what else the port had in this case, by layer name
    """

    right: np.ndarray
    inputs: list[np.ndarray]
    others: Mapping[str, np.ndarray]


Outputs = Iterator[tuple[str, np.ndarray]]
WHOLES: dict[str, Callable[[Scene], Outputs]] = {}


def whole(build: Callable[[Scene], Outputs]) -> Callable[[Scene], Outputs]:
    """Enter a function into the list."""
    WHOLES[build.__name__] = build
    return build


@whole
def layout_swapped(s: Scene) -> Outputs:
    for name in list(LAYOUTS)[1:]:
        stored = s.right.transpose(LAYOUTS[name])
        yield f"the right numbers, stored as {name}", stored.reshape(s.right.shape)
        yield (
            f"the right numbers, taken for {name} when they were stored",
            from_layout(s.right.ravel(), s.right.shape, name),
        )


@whole
def output_shifted(s: Scene) -> Outputs:
    for axis, words in ((1, "row"), (2, "column"), (3, "channel")):
        for by in (-1, 1):
            if s.right.shape[axis] < 2:
                continue
            rolled = np.roll(s.right, by, axis)
            yield f"output shifted by one {words} ({by:+d}), around the end", rolled
            edge = [slice(None)] * 4
            edge[axis] = slice(-1, None) if by < 0 else slice(0, 1)
            cleared = rolled.copy()
            cleared[tuple(edge)] = 0
            yield f"output shifted by one {words} ({by:+d}), zero at the end", cleared


@whole
def output_mirrored(s: Scene) -> Outputs:
    for axis, words in ((1, "rows"), (2, "columns"), (3, "channels"), (0, "samples")):
        if s.right.shape[axis] > 1:
            yield f"{words} of the output in reverse order", np.flip(s.right, axis)
    if s.right.shape[1] == s.right.shape[2] > 1:
        yield "rows and columns of the output swapped", s.right.transpose(0, 2, 1, 3)


@whole
def output_part_unwritten(s: Scene) -> Outputs:
    for axis, words in ((1, "row"), (2, "column"), (3, "channel"), (0, "sample")):
        if s.right.shape[axis] < 2:
            continue
        for where, at in (("last", slice(-1, None)), ("first", slice(0, 1))):
            part = [slice(None)] * 4
            part[axis] = at
            cleared = s.right.copy()
            cleared[tuple(part)] = 0
            zero = "zero: never written, or nothing summed there" if words == "channel" else "never written (zero)"
            yield f"the {where} {words} of the output is {zero}", cleared
            empty = s.right.copy()
            empty[tuple(part)] = np.nan
            yield f"the {where} {words} of the output is NaN", empty
    for words, end in (("first", 0), ("last", -1)):
        hole = s.right.reshape(-1).copy()
        hole[end] = np.nan
        yield f"the {words} element of the output is NaN", hole.reshape(s.right.shape)
    flat = s.right.reshape(-1).copy()
    flat[-1] = 0
    yield "the last element of the output is never written (zero)", flat.reshape(s.right.shape)
    for lanes in (4, 8, 16):
        count = s.right.size // lanes * lanes
        if 0 < count < s.right.size:
            cut = s.right.reshape(-1).copy()
            cut[count:] = 0
            yield (
                f"no tail after blocks of {lanes}: the last {s.right.size - count} elements are zero",
                cut.reshape(s.right.shape),
            )


@whole
def output_unwritten(s: Scene) -> Outputs:
    yield "all zero: nothing is written, or zeros only", np.zeros_like(s.right)
    yield "all NaN: nothing is computed, or of NaN only", np.full_like(s.right, np.nan)


@whole
def stale_buffer(s: Scene) -> Outputs:
    for number, x in enumerate(s.inputs):
        if x.size == s.right.size:
            words = "the layer's input" if len(s.inputs) == 1 else f"the layer's input {number + 1}"
            yield (f"{words} stands in the output: the layer did not run, or its dump is another layer's",
                   x.reshape(s.right.shape))
    for name, value in s.others.items():
        if value.size == s.right.size and not any(value is x for x in s.inputs):
            yield f"the output of {name} stands in the output (stale buffer)", value.reshape(s.right.shape)


@whole
def sample_repeated(s: Scene) -> Outputs:
    if len(s.right) > 1:
        yield "the first sample's output for every sample", np.broadcast_to(s.right[:1], s.right.shape)
        yield "the output of the sample before", np.roll(s.right, 1, 0)


@whole
def bytes_swapped(s: Scene) -> Outputs:
    yield "the right numbers with their bytes in the other order", s.right.byteswap()

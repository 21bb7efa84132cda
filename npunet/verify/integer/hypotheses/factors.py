"""Multipliers and shifts: of another channel, off by one, missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS, Variant, hypothesis

BLOCKS = (4, 8, 16)  # channels that a vector unit takes at once
MOST_LEFT = 22  # bits by which an add may shift values of 8 bits and a zero point
LOWEST, HIGHEST = -31, 14  # shifts that both rules take


@hypothesis("per-tensor instead of per-channel", *CONVOLUTIONS, of_values=True)
def per_tensor(e: Evidence) -> Iterator[Variant]:
    """One channel's factor for all."""
    m, s = e.node.arrays["multiplier"], e.node.arrays["shift"]
    if len(m) < 2:
        return
    same = {"multiplier": np.full_like(m, m[0]), "shift": np.full_like(s, s[0])}
    yield from _with(e, "requantises per tensor: every channel has the multiplier and shift of channel 0", **same)
    yield from _with(e, "gives every channel the multiplier of channel 0", multiplier=same["multiplier"])
    yield from _with(e, "gives every channel the shift of channel 0", shift=same["shift"])
    largest = int(np.argmax(m.astype(np.float64) * 2.0 ** s.astype(np.float64)))
    most = {"multiplier": np.full_like(m, m[largest]), "shift": np.full_like(s, s[largest])}
    yield from _with(e, "requantises per tensor, by the largest channel's multiplier and shift", **most)


def _with(e: Evidence, words: str, **arrays: np.ndarray) -> Iterator[Variant]:
    """The layer with other factors, where they are other ones."""
    if not all(np.array_equal(array, e.node.arrays[key]) for key, array in arrays.items()):
        yield words, e.run(arrays=arrays)


@hypothesis("neighbour channel's multiplier", *CONVOLUTIONS, of_values=True)
def neighbour(e: Evidence) -> Iterator[Variant]:
    """The factor of the channel beside."""
    m, s = e.node.arrays["multiplier"], e.node.arrays["shift"]
    if len(m) < 2:
        return
    for step, which in ((-1, "next"), (1, "previous")):
        rolled = {"multiplier": np.roll(m, step), "shift": np.roll(s, step)}
        yield from _with(e, f"takes the multiplier and shift of the {which} channel", **rolled)
        yield from _with(e, f"takes the multiplier of the {which} channel", multiplier=rolled["multiplier"])
        yield from _with(e, f"takes the shift of the {which} channel", shift=rolled["shift"])
    for block in BLOCKS:
        if len(m) > block:
            at = np.arange(len(m)) % block
            yield from _with(e, f"takes the multiplier and shift of channel f modulo {block}", multiplier=m[at],
                             shift=s[at])


@hypothesis("shift off by one", of_values=True)
def shift(e: Evidence) -> Iterator[Variant]:
    """One bit too many or too few, or the wrong way."""
    for key in ("shift", "output_shift", "input1_shift", "input2_shift", "positive_shift", "negative_shift"):
        for step, words in ((1, "one too far left (twice the value)"), (-1, "one too far right (half the value)")):
            if key in e.node.arrays:
                moved = e.node.arrays[key] + step
                if moved.max() <= HIGHEST and moved.min() >= LOWEST:
                    yield f"has every shift {words}", e.run(arrays={key: moved})
            elif key in e.node.attrs and LOWEST <= e.node.attrs[key] + step <= HIGHEST:
                yield f"has {key} {words}", e.run(attrs={key: e.node.attrs[key] + step})
    if "shift" in e.node.arrays and e.node.arrays["shift"].any():
        shifts = e.node.arrays["shift"]
        yield "leaves out the shift", e.run(arrays={"shift": np.zeros_like(shifts)})
        if -shifts.min() <= HIGHEST:
            yield "shifts the wrong way: left where it should go right", e.run(arrays={"shift": -shifts})


@hypothesis("shift alone", *CONVOLUTIONS, of_values=True)
def shift_alone(e: Evidence) -> Iterator[Variant]:
    """Scales as powers of two: no multiplier."""
    m, s = e.node.arrays["multiplier"], e.node.arrays["shift"]
    halves = np.full_like(m, 2**30)
    yield from _with(e, "shifts alone: its multipliers are taken for 1/2", multiplier=halves)
    if s.max() < HIGHEST:
        yield from _with(e, "shifts alone: its multipliers are taken for 1", multiplier=halves, shift=s + 1)


@hypothesis("add's left shift", "add", of_values=True)
def left_shift(e: Evidence) -> Iterator[Variant]:
    """20 for int8, 15 for int16."""
    right = e.node.attrs["left_shift"]
    for other in sorted({0, 15, 20, right - 1, right + 1} - {right}):
        yield f"shifts its inputs left by {other}, not {right}", e.run(attrs={"left_shift": other})
    whole = e.run(attrs={"left_shift": 0, "output_shift": e.node.attrs["output_shift"] + right})
    yield "adds on its inputs' own steps, without the left shift that makes them finer", whole


@hypothesis("add's precision", "add", rare=True)
def less_precise(e: Evidence) -> Iterator[Variant]:
    """Another left shift of the inputs that the output's shift makes up for: only the roundings differ.

    Where the port shows its sums, they tell which one.
    """
    a = e.node.attrs
    right = a["left_shift"]
    for other in range(1, MOST_LEFT + 1):
        attrs = {"left_shift": other, "output_shift": a["output_shift"] + right - other}
        if other == right or not LOWEST <= attrs["output_shift"] <= HIGHEST:
            continue
        finer = "more" if other > right else "less"
        words = (f"shifts its inputs left by {other}, not {right}, which its output's shift makes up for: it is "
                 f"{finer} precise")
        if "acc" not in e.shown:
            yield words, e.run(attrs=attrs)
            continue
        sums = e.summed(e.shown["acc"]).run(attrs={"left_shift": other})
        if np.array_equal(sums, e.shown["acc"]):
            yield words, sums if np.array_equal(e.got, sums) else e.run(attrs=attrs)


@hypothesis("add's inputs exchanged", "add", of_values=True)
def exchanged(e: Evidence) -> Iterator[Variant]:
    """The other input's integers."""
    a = e.node.attrs
    for keys in (("multiplier", "shift"), ("offset",), ("multiplier", "shift", "offset")):
        crossed = {f"input{n}_{key}": a[f"input{3 - n}_{key}"] for n in (1, 2) for key in keys}
        if any(a[key] != value for key, value in crossed.items()):
            yield f"exchanges {', '.join(keys)} of its two inputs", e.run(attrs=crossed)
    for to, words, which in ((2, "second", "first"), (1, "first", "second")):
        for keys in (("multiplier", "shift"), ("offset",)):
            taken = {f"input{to}_{key}": a[f"input{3 - to}_{key}"] for key in keys}
            if any(a[key] != value for key, value in taken.items()):
                yield f"takes its {words} input's {', '.join(keys)} from the {which}", e.run(attrs=taken)


@hypothesis("add without scales", "add", of_values=True)
def plain_sum(e: Evidence) -> Iterator[Variant]:
    """Integers summed as if all scales were equal."""
    a = e.node.attrs
    first, second = (x.astype(np.int64) for x in e.inputs)
    total = first + a["input1_offset"] + second + a["input2_offset"]
    scales = {e.network.tensors[name].scale for name in (*e.node.inputs, e.node.name)}
    if len(scales) > 1:
        yield "adds the integers as if both inputs and the output had one scale", e.clamp(total + a["output_offset"])
    if len(scales) > 1 or a["input1_offset"] + a["input2_offset"] + a["output_offset"]:
        yield "adds the integers themselves, without scales and zero points", e.clamp(first + second)


@hypothesis("add's operands", "add", of_values=True)
def operands(e: Evidence) -> Iterator[Variant]:
    """A difference, or one input twice."""
    if e.inputs[0].shape != e.inputs[1].shape:
        return
    a, (first, second) = e.node.attrs, (x.astype(np.int64) for x in e.inputs)
    for words, each in (("adds its first input to itself", first), ("adds its second input to itself", second)):
        number = 1 if each is first else 2
        twice = {f"input{3 - number}_{key}": a[f"input{number}_{key}"] for key in ("offset", "multiplier", "shift")}
        yield words, replace(e, inputs=(each, each)).run(attrs=twice)
        offset = {f"input{3 - number}_offset": a[f"input{number}_offset"]}
        yield f"{words}, by the other's factor", replace(e, inputs=(each, each)).run(attrs=offset)
        yield f"{words}, by the other's factor and zero point", replace(e, inputs=(each, each)).run()
    negated = replace(e, inputs=(first, -second)).run(attrs={"input2_offset": -a["input2_offset"]})
    yield "subtracts its second input", negated


@hypothesis("rescale left out", "rescale", of_values=True)
def not_rescaled(e: Evidence) -> Iterator[Variant]:
    """The shared range of a concat's inputs is taken for granted."""
    x = e.inputs[0].astype(np.int64)
    yield "copies its input, as if input and output shared one range", x
    moved = x + e.node.attrs["input_offset"] + e.node.attrs["output_offset"]
    yield "only moves the zero point, as if input and output shared one scale", e.clamp(moved)

"""Patterns of memory that is shared: copies whose output lies where their input is still to be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

import numpy as np

from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.sources import others

MOST = 1 << 17  # elements copied, beyond which it is not tried


@pattern("upsample_nearest2d", "concat")
def copied_in_place(s: Sight) -> Guesses:
    """The output is written over an input, element by element: what is read later was overwritten."""
    if s.right.size > MOST:
        return
    for words, number, offset in _overlaps(s):
        yield Guess(f"the output is written over {words}, which is still to be read", _all_copied(s, number, offset),
                    again=partial(_again, shared=number, offset=offset))


@pattern("upsample_nearest2d", rank=2)
def copied_over_another(s: Sight) -> Guesses:
    """The output is written over another tensor, which is read instead of the input."""
    x = s.inputs[0]
    if s.right.size > MOST:
        return
    for name, value in others(s):
        if value.shape == x.shape and value is not x and value.flat[0] == s.got.flat[0] != x.flat[0]:
            yield _over(s, name, value)


def _over(s: Sight, name: str, value: np.ndarray) -> Guess:
    words = f"{name} is read instead of {s.node.inputs[0]}, and the output is written over it while it is read"
    changed = replace(s, evidence=replace(s.evidence, inputs=[value]))
    return Guess(words, _all_copied(changed, 0, 0), name="wrong_tensor", again=partial(_same_over, name=name))


def _same_over(s: Sight, name: str) -> Guess:
    value = dict(others(s)).get(name)
    return Guess("", s.right) if value is None else _over(s, name, value)


def _again(s: Sight, shared: int, offset: int) -> Guess:
    """The same in another case."""
    return Guess("", _all_copied(s, shared, offset))


def _overlaps(s: Sight) -> Iterator[tuple[str, int, int]]:
    """(words, number of the input, where in the output it starts)."""
    size = s.right[0].size
    for number, x in enumerate(s.inputs):
        which = "its input" if len(s.inputs) == 1 else f"its input {number + 1}"
        yield f"{which} (from the same start)", number, 0
        if x[0].size < size:
            yield f"{which} (with the same end)", number, size - x[0].size


def memory_sources(s: Sight) -> tuple[np.ndarray, np.ndarray]:
    """For every element of a sample's output: the number of its input, and the element of that."""
    OH, OW, C = s.right.shape[1:]
    if s.recipe.op == "upsample_nearest2d":
        (fy, fx), W = s.recipe.attrs["factor"], s.inputs[0].shape[2]
        i, j, c = np.meshgrid(np.arange(OH) // fy, np.arange(OW) // fx, np.arange(C), indexing="ij")
        return np.zeros(OH * OW * C, int), ((i * W + j) * C + c).ravel()
    numbers, places = [], []
    for number, x in enumerate(s.inputs):
        n = np.arange(OH * OW)[:, None] * x.shape[3] + np.arange(x.shape[3])
        places.append(n)
        numbers.append(np.full(n.shape, number))
    return np.concatenate(numbers, 1).ravel(), np.concatenate(places, 1).ravel()


def _all_copied(s: Sight, shared: int, offset: int) -> np.ndarray:
    """Every sample's output, one after the other in the same memory."""
    return np.stack([_copied(s, sample, shared, offset) for sample in range(len(s.right))]).reshape(s.right.shape)


def _copied(s: Sight, sample: int, shared: int, offset: int) -> np.ndarray:
    """One sample's output in memory that holds an input from an offset on."""
    numbers, places = memory_sources(s)
    inputs = [x[sample].ravel() for x in s.inputs]
    memory = np.zeros(s.right[0].size, np.float32)
    memory[offset : offset + inputs[shared].size] = inputs[shared]
    for n, (number, place) in enumerate(zip(numbers.tolist(), places.tolist(), strict=True)):
        memory[n] = memory[offset + place] if number == shared else inputs[number][place]
    return memory

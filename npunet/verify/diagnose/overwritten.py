"""Patterns of memory that two tensors share: what is still to be read was overwritten."""

from __future__ import annotations

from functools import partial

import numpy as np

from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.in_place import memory_sources
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.places import run
from npunet.verify.diagnose.sources import others
from npunet.verify.diagnose.sums import fold, fold_depthwise

LEAST = 3  # elements of an input that are wrong
MOST_OVER = 0.5  # share of an input that is said to have been overwritten
DENSE = 0.6  # share of the run that must differ
MOST_STEPS = 1 << 14  # sums that are made one after the other


@pattern("concat", rank=2)
def input_overwritten(s: Sight) -> Guesses:
    """A run of elements of one input that were something else when they were copied."""
    if len(s.inputs) < 2:
        return
    numbers, places = memory_sources(s)
    wrong = s.differs.reshape(len(s.right), -1).any(0)
    number = int(numbers[wrong][0])
    at = np.unique(places[wrong])
    first, end, size = int(at[0]), int(at[-1]) + 1, s.inputs[number][0].size
    few = LEAST <= end - first <= MOST_OVER * size and len(at) >= DENSE * (end - first)
    if (numbers[wrong] != number).any() or not few:
        return
    mask = ((numbers == number) & (places >= first) & (places < end)).reshape(1, *s.right.shape[1:])
    held = s.got.reshape(len(s.right), -1)[0][wrong]
    what = "zero" if not held.any() else _found(s, held)
    words = (f"input {number + 1}, {s.node.inputs[number]}, was overwritten before it was read: of its elements "
             f"{run(first, end, size)} are {what}; two buffers overlap")
    yield Guess(words, np.where(mask, s.got, s.right), name="stale_part", again=partial(_in_mask, mask))


def _in_mask(mask: np.ndarray, other: Sight) -> Guess:
    return Guess("", np.where(mask, other.got, other.right))


def _found(s: Sight, held: np.ndarray) -> str:
    """Where a run of numbers stands."""
    wanted = np.ascontiguousarray(held, np.float32).tobytes()
    for name, value in others(s):
        at = np.ascontiguousarray(value, np.float32).tobytes().find(wanted)
        if at >= 0 and at % 4 == 0:
            return f"{name} from its element {at // 4} on"
    return "something else"


@pattern("separable_conv2d")
def halves_share_memory(s: Sight) -> Guesses:
    """What lies between depthwise and 1x1 half is in the output's memory: sums read what earlier ones have written."""
    if s.right.size > MOST_STEPS:
        return
    for order, by_element in (("element by element", True), ("position by position", False)):
        words = ("the buffer between depthwise and 1x1 half is the output's own memory (they overlap): sums read what "
                 f"was written, {order}")
        yield Guess(words, _shared(s, by_element), name="written_in_place",
                    again=partial(_again, by_element=by_element))


def _again(s: Sight, by_element: bool) -> Guess:
    return Guess("", _shared(s, by_element))


def _shared(s: Sight, by_element: bool) -> np.ndarray:
    """The output of every sample, whose sums are written from the start of the memory that they read from."""
    r = s.recipe
    shape = r.kernels[0].shape[:3]
    columns = recipes.columns(r, np.arange(recipes.positions(r)))
    depthwise = r.kernels[0].reshape(-1, *r.kernels[0].shape[2:])
    wide = fold_depthwise(columns.reshape(len(columns), -1, shape[2]), depthwise, r.first_order or r.order, shape, None)
    for step in r.between:
        wide = np.ascontiguousarray(step(wide), np.float32)
    C, F = r.kernels[1].shape[2:]
    pointwise = r.kernels[1].reshape(C, F)
    N, P = len(r.inputs[0]), len(wide) // len(r.inputs[0])
    memory = np.zeros((N, max(P * C, P * F)), np.float32)
    memory[:, : P * C] = wide.reshape(N, -1)
    for p in range(P):
        for f in range(0, F, 1 if by_element else F):
            end = f + 1 if by_element else F
            total = fold(memory[:, p * C : p * C + C], pointwise[:, f:end], r.order, (1, 1, C), None)
            memory[:, p * F + f : p * F + end] = total
    y = memory[:, : P * F].reshape(s.right.shape)
    return y if r.bias is None else y + r.bias

"""Patterns of inputs that are out of date: those of the run before, or what their memory held until then."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npunet.golden.manifest import layer_ids
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.sources import before

WINDOWS = 64  # places of a larger tensor that are tried


@pattern(rank=0)
def input_of_run_before(s: Sight) -> Guesses:
    """The layer works on what it read in the run before, zeros in the first one."""
    own = f"{s.node.name} of "
    if not any(key.startswith(own) for key in s.evidence.cases):
        return  # one run shows nothing of this
    inputs = _before(s)
    if inputs is not None and [x.shape for x in inputs] == [x.shape for x in s.inputs]:
        yield Guess("the layer's input of the run before is read (zeros in the first run): its own is late, or is not "
                    "stored", recipe=s.recipe.but(inputs=tuple(inputs)))


def _before(s: Sight) -> list[np.ndarray] | None:
    """What the layer should have read in the run before, (N, H, W, C) each."""
    layer, cases = layer_ids(s.bundle.graph)[s.node.name], s.bundle.cases
    network = [case["id"] for case in cases.values() if case["scope"] == "network"]
    if s.evidence.case in network:
        number = network.index(s.evidence.case)
        if number == 0:
            return [np.zeros_like(x) for x in s.inputs]
        return list(s.bundle.inputs(network[number - 1], layer))
    last = s.bundle.inputs(network[-1], layer)
    return [np.concatenate([old[-1:], x[:-1]]) for old, x in zip(last, s.inputs, strict=True)]


@pattern(rank=2)
def stale_input(s: Sight) -> Guesses:
    """What lies anywhere in a larger tensor, read in the place of an input: its memory held that before."""
    for number, x in enumerate(s.inputs):
        which = "" if len(s.inputs) == 1 else f" as input {number + 1}"
        for name, value in before(s):
            if value.ndim != 4 or len(value) != len(x) or value[0].size <= x[0].size:
                continue
            flat = value.reshape(len(value), -1)
            for start in _starts(flat.shape[1], x[0].size, x.shape[3]):
                held = flat[:, start : start + x[0].size].reshape(x.shape)
                inputs = tuple(held if k == number else v for k, v in enumerate(s.inputs))
                words = (f"{name} from its element {start} on is read{which} instead of {s.node.inputs[number]}: "
                         "memory that is out of date, or an address that is wrong")
                yield Guess(words, recipe=s.recipe.but(inputs=inputs), name="wrong_tensor")


def _starts(size: int, wanted: int, channels: int) -> Iterator[int]:
    """Where an input may begin in a larger tensor: its end, quarters, pixels."""
    last = size - wanted
    step = -(-max(1, last // WINDOWS) // channels) * channels
    quarter = max(1, wanted // 4)
    yield from sorted({last, *range(quarter, last + 1, quarter), *range(step, last + 1, step)})

"""Receptive fields: what an output may depend on by the graph, and what it does depend on by the gradient."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from npunet import run
from npunet.audit.layer_facts import interval
from npunet.audit.subject import Subject
from npunet.inference.receptive import context
from npunet.model import UNet

SHARE = 0.95  # of the gradient's magnitude that the effective field holds


@dataclass(frozen=True)
class Field:
    """One output position along one axis; intervals of the input, ends included.

    theoretical : what the graph allows
    measured    : where the gradient is not 0, None where it is 0 everywhere
    effective   : the shortest interval around the gradient's middle that holds 95 % of its magnitude
    """

    where: str
    axis: str
    output: int
    theoretical: tuple[int, int] | None
    measured: tuple[int, int] | None
    effective: tuple[int, int] | None


def fields(shown: Subject, seed: int = 0) -> list[Field]:
    """The fields of the first, the middle and the last output, along each axis that is longer than 1.

    Measured: the gradient of a random mix of that position's channels, in float64, on the given input.
    """
    found = []
    gradient = backwards(shown, seed)
    height, width, _ = shown.graph.shape(shown.graph.output)
    for axis, (name, size) in enumerate((("rows", height), ("columns" if height > 1 else "samples", width))):
        for where, output in (("first", 0), ("middle", size // 2), ("last", size - 1)) if size > 1 else ():
            place = [height // 2, width // 2]
            place[axis] = output
            profile = np.abs(gradient(place)).sum((2, 1 - axis))
            found.append(Field(where, name, output, interval(shown.graph, shown.graph.output, axis, output),
                               extent(profile > 0), effective(profile)))
    return found


def backwards(shown: Subject, seed: int) -> Callable[[Sequence[int]], np.ndarray]:
    """A function: output position -> d (random mix of its channels) / d input, (H, W, C) float64."""
    weights = {name: value.astype(np.float64) for name, value in shown.weights.items()}
    trace, saves = run.forward(shown.graph, weights, shown.x[None].astype(np.float64))
    mix = np.random.default_rng(seed).standard_normal(trace[shown.graph.output].shape[-1])

    def gradient(place: Sequence[int]) -> np.ndarray:
        dy = np.zeros_like(trace[shown.graph.output])
        dy[(0, *place)] = mix
        if not shown.graph.nodes:
            return dy[0]
        return run.backward(shown.graph, weights, trace, saves, dy)[0][shown.graph.input][0]

    return gradient


def extent(mask: np.ndarray) -> tuple[int, int] | None:
    """First and last position that are set."""
    at = np.flatnonzero(mask)
    return (int(at[0]), int(at[-1])) if len(at) else None


def effective(profile: np.ndarray) -> tuple[int, int] | None:
    """What remains when the tails that hold 2.5 % each are cut off."""
    total = profile.sum()
    if not total:
        return None
    below = np.cumsum(profile) / total
    tail = (1 - SHARE) / 2
    return int(np.searchsorted(below, tail)), int(np.searchsorted(below, 1 - tail))


@dataclass(frozen=True)
class Sizes:
    """Which inputs are legal, and how long a stream waits.

    multiples    : (H, W) must be multiples of these
    fixed        : whether layer norm fixes the size
    delay        : samples that must arrive after an output's own before it is certain; None for images and layer norm
    delay_ms     : the same in milliseconds, None without a rate
    """

    multiples: tuple[int, int]
    fixed: bool
    delay: int | None
    delay_ms: float | None


def sizes(model: UNet, rate: float | None = None) -> Sizes:
    """Legal sizes and streaming delay of a model; rate in samples per second."""
    fixed = bool(model.sizes.fixed)
    delay = None
    if model.sizes.rank == 1 and not fixed and model.graph.nodes:
        delay = max(0, int(context(model.graph, 1, model.sizes.multiple[1]).after.max()))
    return Sizes(model.sizes.multiple, fixed, delay, None if delay is None or not rate else 1000 * delay / rate)

"""Inputs of somebody else: another tensor of the run, one that was written over, the sample before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS, Variant, hypothesis


@hypothesis("another tensor read", rare=True)
def another_tensor(e: Evidence) -> Iterator[Variant]:
    """Another buffer of the run, or its own after somebody wrote into it."""
    for number, x in enumerate(e.inputs):
        whose = "its input" if len(e.inputs) == 1 else f"its input {number}"
        flat = x.astype(np.int64).reshape(len(x), -1)
        for name, other in e.others.items():
            values = other.reshape(len(other), -1)
            if len(other) != len(x) or name == e.node.name or np.array_equal(values[:, : flat.shape[1]], flat):
                continue
            if values.shape[1] >= flat.shape[1]:
                yield f"reads {name} for {whose}", _with(e, number, values[:, : flat.shape[1]])
                continue
            size = values.shape[1]
            yield (f"reads {whose} after {name} was written over its beginning",
                   _with(e, number, np.concatenate([values, flat[:, size:]], 1)))
            yield (f"reads {whose} after {name} was written over its end",
                   _with(e, number, np.concatenate([flat[:, :-size], values], 1)))
        if e.samples > 1:
            before = np.concatenate([flat[:1], flat[:-1]])
            y = _with(e, number, before)
            y[0] = e.got[0]
            yield f"reads {whose} of the sample before (of the first sample anything)", y
        yield f"reads 0 everywhere for {whose}", _with(e, number, np.zeros_like(flat))
        yield f"reads the zero point everywhere for {whose}", _with(e, number, np.full_like(
            flat, e.network.tensors[e.node.inputs[number]].zero_point))
    if len(e.inputs) == 2 and e.inputs[0].shape == e.inputs[1].shape:
        yield "has its two inputs exchanged", replace(e, inputs=e.inputs[::-1]).run()
    if e.samples > 1:
        y = np.concatenate([e.got[:1], e.right[:-1]])
        yield "gives the output of the sample before (of the first sample anything)", y


@hypothesis("input written over", rare=True)
def written_over(e: Evidence) -> Iterator[Variant]:
    """The end of another tensor over the beginning of an input, or its beginning over the input's end.

    How far it reaches is near where the output begins, or ceases, to be wrong.
    """
    if not e.others or not e.wrong:
        return
    at = np.flatnonzero((e.got != e.right).any((0, 3)).ravel())  # positions
    for number, x in enumerate(e.inputs):
        whose = "its input" if len(e.inputs) == 1 else f"its input {number}"
        flat, C = x.astype(np.int64).reshape(len(x), -1), x.shape[3]
        each = flat.shape[1] / C / (e.right.shape[1] * e.right.shape[2])  # positions of the input for one of the output
        near = _reach(e) * C
        last, first = int((at[-1] + 1) * each * C), int(at[0] * each * C)
        begins = range(max(1, last - C - near), min(flat.shape[1], last + 16 + near) + 1)
        ends = range(max(0, first - 16 - near), min(flat.shape[1] - 1, first + C + near) + 1)
        for name, other in e.others.items():
            values = other.reshape(len(other), -1)
            if len(other) != len(x):
                continue
            for size in begins:
                if size <= values.shape[1] and not np.array_equal(values[:, -size:], flat[:, :size]):
                    yield (f"reads {whose} after the last {size} elements of {name} were written over its first ones",
                           _with(e, number, np.concatenate([values[:, -size:], flat[:, size:]], 1)))
            for start in ends:
                size = flat.shape[1] - start
                if size <= values.shape[1] and not np.array_equal(values[:, :size], flat[:, start:]):
                    yield (f"reads {whose} after the first {size} elements of {name} were written over its last ones",
                           _with(e, number, np.concatenate([flat[:, :start], values[:, :size]], 1)))


def _reach(e: Evidence) -> int:
    """Positions on either side that an output may read, along memory."""
    if "weights" in e.node.arrays:
        KH, KW = e.node.arrays["weights"].shape[:2]
        dy, dx = e.node.attrs["dilation"]
    elif "window" in e.node.attrs:
        (KH, KW), dy, dx = e.node.attrs["window"], 1, 1
    else:
        return 0
    return min((KH - 1) * dy * e.inputs[0].shape[2] + (KW - 1) * dx, 16)


def _with(e: Evidence, number: int, flat: np.ndarray) -> np.ndarray:
    """The layer's output for another input; flat : (N, values of a sample)."""
    inputs = list(e.inputs)
    inputs[number] = flat.reshape(e.inputs[number].shape)
    return replace(e, inputs=tuple(inputs)).run()


@hypothesis("parameters of another layer", *CONVOLUTIONS, rare=True)
def parameters(e: Evidence) -> Iterator[Variant]:
    """The whole set, or its weights, of a layer of the same shape."""
    mine = e.node.arrays
    for other in e.network:
        if other.op != e.node.op or other.name == e.node.name:
            continue
        if other.arrays["weights"].shape == mine["weights"].shape:
            yield f"has the weights, biases, multipliers and shifts of {other.name}", e.run(arrays=other.arrays)
            yield f"has the weights and biases of {other.name}", e.run(
                arrays={key: other.arrays[key] for key in ("weights", "bias")})
        if len(other.arrays["bias"]) == len(mine["bias"]):
            yield f"has the multipliers and shifts of {other.name}", e.run(
                arrays={key: other.arrays[key] for key in ("multiplier", "shift")})
            yield f"has the biases, multipliers and shifts of {other.name}", e.run(
                arrays={key: other.arrays[key] for key in ("bias", "multiplier", "shift")})


@hypothesis("parameters of another add", "add", rare=True)
def add_parameters(e: Evidence) -> Iterator[Variant]:
    """The whole set of another add."""
    for other in e.network:
        if other.op == "add" and other.name != e.node.name:
            yield f"has the parameters of {other.name}", e.run(attrs=other.attrs)


@hypothesis("carried over", *CONVOLUTIONS, rare=True)
def carried(e: Evidence) -> Iterator[Variant]:
    """An accumulator that is not set anew for every element."""
    acc, bias = e.accumulator, e.node.arrays["bias"].astype(np.int64)
    N, OH, OW, F = acc.shape
    shapes = {"channel": ((N * OH * OW, F), 1), "channel and position of a row": ((N * OH, OW * F), 1),
              "element of a sample": ((N, OH * OW * F), 1)}
    for words, (shape, axis) in shapes.items():
        start = f"does not set its accumulator anew for every {words}: it goes on from the one before"
        yield f"{start}, and adds the bias each time", _of(e, np.cumsum(acc.reshape(shape), axis).reshape(acc.shape))
        total = np.cumsum((acc - bias).reshape(shape), axis).reshape(acc.shape)
        yield f"{start}, and adds the bias to that", _of(e, total + bias)
    each = np.cumsum(acc.reshape(N, OH * OW, F), 1).reshape(acc.shape)
    more = ", and adds the bias each time"
    yield f"does not set its accumulators anew for every position{more}", _of(e, each)
    yield "does not set its accumulators anew for every position", _of(
        e, np.cumsum((acc - bias).reshape(N, OH * OW, F), 1).reshape(acc.shape) + bias)
    for axis, words in ((1, "row"), (2, "column")):
        yield f"does not set its accumulators anew for every {words}{more}", _of(e, np.cumsum(acc, axis))
        total = np.cumsum(acc - bias, axis) + bias
        yield f"does not set its accumulators anew for every {words}", _of(e, total)


def _of(e: Evidence, acc: np.ndarray) -> np.ndarray:
    """The output of other accumulators: a bias that is so much more, element by element."""
    more = replace(e, node=replace(e.node, op="depthwise_conv2d", attrs={
        **e.node.attrs, "stride": (1, 1), "pads": ((0, 0), (0, 0)), "dilation": (1, 1), "input_offset": 0}, arrays={
            **e.node.arrays, "weights": np.ones((1, 1, acc.shape[3], 1), np.int8),
            "bias": np.zeros_like(e.node.arrays["bias"])}), inputs=(acc,))
    return more.run()


@hypothesis("run twice", rare=True)
def run_twice(e: Evidence) -> Iterator[Variant]:
    """A layer that is applied to its own output."""
    for number, x in enumerate(e.inputs):
        if x.shape == e.right.shape and e.network.tensors[e.node.inputs[number]].limits == e.network.tensors[
                e.node.name].limits:
            inputs = list(e.inputs)
            inputs[number] = e.right
            yield "is run twice, the second time on its own output", replace(e, inputs=tuple(inputs)).run()


@hypothesis("input moved", rare=True)
def input_moved(e: Evidence) -> Iterator[Variant]:
    """Every value of an input so much more or less, as where it was quantised by another zero point."""
    for number, x in enumerate(e.inputs):
        tensor = e.network.tensors[e.node.inputs[number]]
        (low, high), wide = tensor.limits, x.astype(np.int64)
        whose = "its input" if len(e.inputs) == 1 else f"its input {number}"
        steps = {sign * size for size in (1, 2, 3, 4, 8, 16, tensor.zero_point, 2 * tensor.zero_point, 128)
                 for sign in (1, -1)} - {0}
        for step in sorted(steps, key=abs):
            moved = wide + step
            said = f"reads {whose} {abs(step)} too {'large' if step > 0 else 'small'}"
            for words, values in (("", moved), (", clamped", np.clip(moved, low, high)),
                                  (", and wraps", ((moved - low) & (high - low)) + low)):
                yield f"{said}{words}", _with(e, number, values.reshape(len(x), -1))

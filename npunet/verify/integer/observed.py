"""A layer whose output is right and whose accumulator, or value before the clamp, is not shown as it should be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npunet.golden.integer.reader import IntegerBundle
from npunet.golden.integer.stages import Stages
from npunet.verify.diagnose import Cause, Diagnosis
from npunet.verify.feeds import Feeds
from npunet.verify.results import FAIL, LayerVerdict

SHOWN = 3
Reading = tuple[str, np.ndarray]


def shown_wrongly(bundle: IntegerBundle, feeds: Feeds, first: LayerVerdict) -> Diagnosis | None:
    """What a port shows in place of the tensors of a layer whose output is right; None where nothing known is."""
    roles = list(dict.fromkeys(check.role for check in first.checks if check.status == FAIL))
    said, size, unchanged, tried = [], 0, 0, 0
    for role in roles:
        left: list[str] | None = None
        for check in first.checks:
            if check.role != role:
                continue
            inputs = bundle.inputs(check.case, check.layer) if check.scope == "layer" else feeds.inputs(
                check.case, check.layer)[0]
            made = bundle.run_layer(check.layer, inputs)
            got = feeds.values[check.case, f"{check.layer}.{role}"].astype(np.int64)
            readings = dict(_readings(made, role))
            same = [words for words, values in readings.items() if np.array_equal(values, got)]
            left = same if left is None else [words for words in left if words in same]
            right = dict(made.items())[role]
            size, unchanged, tried = size + got.size, unchanged + int((right == got).sum()), max(tried, len(readings))
        if not left:
            return None
        said.append([f"the layer's output is right, but what is shown as .{role} is {words}" for words in left])
    listed = [each for some in said for each in some][:SHOWN]
    causes = tuple(Cause(("shown",), words, size, size, True) for words in listed)
    return Diagnosis(first.record["name"], causes, unchanged, size, tried)


def _readings(made: Stages, role: str) -> Iterator[Reading]:
    """What may stand for a role: int64 (N, H, W, C)."""
    node = made.node
    values = {key: array.astype(np.int64) for key, array in made.items()}
    right, out = values.pop(role), values.get("out")
    assert out is not None
    if role == "pre":
        yield "the value after the clamp", out
        if "output_offset" in node.attrs:
            yield "the value without the output's zero point", right - node.attrs["output_offset"]
            yield "the value with the output's zero point twice", right + node.attrs["output_offset"]
    if "acc" in values and role != "acc":
        yield "the accumulator", values["acc"]
    if "pre" in values and role != "pre":
        yield "the value before the clamp", values["pre"]
    if role == "acc":
        yield "the output", out
        if "bias" in node.arrays:
            yield "the accumulator without its bias", right - node.arrays["bias"]
            yield "the accumulator with its bias twice", right + node.arrays["bias"]
            yield "the bias alone", np.broadcast_to(node.arrays["bias"].astype(np.int64), right.shape)
    yield "0 everywhere", np.zeros_like(right)
    for bits in (8, 16, 24):
        half = 1 << (bits - 1)
        yield f"the right value's lower {bits} bits", ((right + half) & (2 * half - 1)) - half
        yield f"the right value's lower {bits} bits, without a sign", right & (2 * half - 1)
        yield f"the right value saturated at {bits} bits", np.clip(right, -half, half - 1)
    yield "the right value with the wrong sign", -right
    for bytes_ in (4, 8):
        if np.abs(right).max(initial=0) < 2 ** (8 * bytes_ - 1):
            yield f"the right value with its {bytes_} bytes in the other order", right.astype(
                f"<i{bytes_}").byteswap().astype(np.int64)
    yield "the right value's upper part: 16 bits are lost", right >> 16
    for axis, name in ((1, "rows"), (2, "columns"), (3, "channels")):
        yield f"the right one with its {name} in reverse order", np.flip(right, axis)
        for step, which in ((1, "late"), (-1, "early")):
            yield f"the right one, its {name} one {which}, around the end", np.roll(right, step, axis)
    N, H, _, C = right.shape
    yield "the right one as NCHW", right.transpose(0, 3, 1, 2).reshape(right.shape)
    if H > 1:
        yield "the right one as NWHC", right.transpose(0, 2, 1, 3).reshape(right.shape)
    for step in (1, -1, C, -C):
        yield f"the right one, {abs(step)} elements {'late' if step > 0 else 'early'}", np.roll(
            right.reshape(N, -1), step, 1).reshape(right.shape)
    if N > 1:
        yield "the right one of the first sample, in every sample", np.repeat(right[:1], N, 0)

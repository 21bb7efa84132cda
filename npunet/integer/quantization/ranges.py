"""Which tensors share a scale, and what the converter's memory does to a range.

The two schemes go by two rules, as TensorFlow's converter does:

    int8     max-pooling, upsampling and concatenation have one scale at all their ends. A concatenation's range is that
             of its output, and everything that leads to it through such operators takes it over.
    int16x8  pooling and upsampling keep their input's scale; a concatenation has its own, and an input of another
             scale is requantised before it (QUANTIZE).

Beside them stands a rule of ours: a range so narrow that no runtime defines the requantisation to its scale, such as
that of a layer which calibration never saw alive, is widened until one does.
"""

from __future__ import annotations

from collections.abc import Mapping

from npunet.integer.quantization.calibrate import Range
from npunet.integer.quantization.plan import Plan
from npunet.integer.quantization.scales import NARROWEST

KEEPING = ("max_pool2d", "upsample_nearest2d")  # one input, whose scale the output keeps
IN_PLACE_BYTES = 4  # float tensors of so few bytes are never overwritten


def as_the_converter_sees(plan: Plan, ranges: dict[str, Range]) -> dict[str, Range]:
    """The ranges that TensorFlow's calibrator records.

    It logs the inputs of an operator once more after it ran. ADD writes its sum over an input that nothing else reads,
    so that the sum's range is counted into that input's. Source: TensorFlow 2.21, `calibrator.cc` (LoggingEval),
    `arena_planner.cc` (IdentifyInPlaceTensors).
    """
    seen, readers = dict(ranges), plan.readers()
    for planned in plan:
        last = planned.name == plan.output and not plan.reshaped
        size = 4
        for extent in planned.node.shape:
            size *= extent
        if planned.node.op != "add" or last or size <= IN_PLACE_BYTES:
            continue
        for name in planned.inputs:
            if name != plan.graph.input and readers[name] == [planned.name]:
                seen[name] = min(seen[name][0], seen[planned.name][0]), max(seen[name][1], seen[planned.name][1])
                break
    return seen


def shared(plan: Plan, ranges: dict[str, Range], scheme: str) -> dict[str, Range]:
    """One range for every tensor, shared where the scheme shares."""
    result = dict(ranges)
    if scheme == "int16x8":
        for planned in plan:
            if planned.node.op in KEEPING:
                result[planned.name] = result[planned.inputs[0]]
        return result
    groups = _groups(plan)
    for planned in plan:
        if planned.node.op == "concat":
            for name in groups[planned.name]:
                result[name] = ranges[planned.name]
    for planned in plan:
        if planned.node.op in KEEPING:
            result[planned.name] = result[planned.inputs[0]]
    return result


def widened(plan: Plan, ranges: dict[str, Range], doublings: Mapping[str, int], scheme: str) -> dict[str, Range]:
    """The ranges with some of them doubled so and so often; with them go those that share their scales, and the outputs
    of what reads them without being able to choose its scale, as a convolution can by its weights."""
    result, groups = dict(ranges), _groups(plan, KEEPING if scheme == "int16x8" else (*KEEPING, "concat"))
    changed: set[str] = set()

    def widen(name: str, low: float, high: float) -> None:
        for member in groups[name]:
            result[member] = min(low, result[member][0]), max(high, result[member][1])
        changed.update(groups[name])

    for name, times in doublings.items():
        low, high = ranges[name]
        if high - low < NARROWEST:
            low, high = low - NARROWEST, high + NARROWEST
        widen(name, low * 2.0**times, high * 2.0**times)
    for planned in plan:
        for name in planned.inputs:
            if name in changed and planned.node.op not in ("conv2d", "depthwise_conv2d", "softmax"):
                widen(planned.name, *result[name])
    return result


def _groups(plan: Plan, joining: tuple[str, ...] = (*KEEPING, "concat")) -> dict[str, set[str]]:
    """For every tensor those that have one scale with it; joining : operators with one scale at all their ends."""
    groups = {name: {name} for name in plan.readers()}
    for planned in plan:
        if planned.node.op in joining:
            joined = set().union(*(groups[name] for name in (planned.name, *planned.inputs)))
            for name in joined:
                groups[name] = joined
    return groups

"""The result for a person, and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from npunet.verify.integer.results import Difference, IntegerCheck, IntegerResult
from npunet.verify.results import FAIL, INCOMPLETE, INHERITED, SKIPPED

MOST = 8  # names that are listed


def text(result: IntegerResult, every: bool = False) -> str:
    """The report; every : a line for every layer."""
    lines = []
    for check in result.inputs:
        if check.status == FAIL:
            lines.append(f"INPUT  of {check.case} is not the bundle's: {_told(check)}")
    first = result.first
    if first is not None:
        worst = first.worst
        assert worst is not None
        lines.append(f"FIRST DIVERGENCE  {first.id} ({first.record['operator']}), {worst.role} in {worst.case}")
        lines.append(f"  {_told(worst)}")
        lines += [f"  DIAGNOSIS  {first.record['name']} {cause.words}" for cause in result.causes]
        if result.tried and not result.causes:
            lines.append(f"  DIAGNOSIS  none of {result.tried} hypotheses reproduces every element")
    counts = {status: [layer for layer in result.layers if layer.status == status]
              for status in (FAIL, INHERITED, SKIPPED)}
    for layer in result.layers:
        if every or layer in counts[FAIL]:
            worst = layer.worst
            told = f": {_told(worst)}" if worst is not None and worst.first is not None else ""
            lines.append(f"{layer.status:<9} {layer.id}{told}")
    for status, words in ((INHERITED, "only inherited: right for what they were fed with"), (SKIPPED, "not shown")):
        if counts[status]:
            listed = ", ".join(layer.id for layer in counts[status][:MOST])
            more = len(counts[status]) - MOST
            lines.append(f"{status:<9} {len(counts[status])} layers, {words}: {listed}"
                         + (f" and {more} more" if more > 0 else ""))
    lines += [f"ERROR     {fault}" for fault in result.faults[:MOST]]
    if len(result.faults) > MOST:
        lines.append(f"ERROR     and {len(result.faults) - MOST} more")
    if result.ignored:
        lines.append(f"ignored   {len(result.ignored)} names that are no tensor of the bundle, such as "
                     f"{result.ignored[0]}")
    return "\n".join([*lines, _verdict(result), ""])


def _told(check: IntegerCheck) -> str:
    first = check.first
    if first is None:
        return f"{check.differ:,} of {check.size:,} differ"
    return (f"{check.differ:,} of {check.size:,} differ, by {check.largest:,} at most, first at "
            f"[{', '.join(map(str, first.index))}]: got {first.got}, want {first.want}{_integers(first)}")


def _integers(first: Difference) -> str:
    parts = [f"{name} {value}" for name, value in
             (("acc", first.acc), ("before the clamp", first.pre), ("multiplier", first.multiplier),
              ("shift", first.shift)) if value is not None]
    return f" ({', '.join(parts)})" if parts else ""


def _verdict(result: IntegerResult) -> str:
    right = sum(layer.status == "PASS" for layer in result.layers)
    told = f"VERDICT {result.verdict}: {right} of {len(result.layers)} layers are right"
    if result.verdict == INCOMPLETE or result.unchecked:
        cases = {case for case, _ in result.unchecked}
        told += f"; {len(result.unchecked):,} outputs in {len(cases)} of {len(result.cases)} cases are not shown"
    return told


def as_json(result: IntegerResult) -> str:
    """Everything as JSON."""
    told = asdict(result)
    told |= {"verdict": result.verdict, "status": result.status,
             "first": None if result.first is None else result.first.id}
    for layer in told["layers"]:
        del layer["record"]
    return json.dumps(told, indent=1, sort_keys=True) + "\n"

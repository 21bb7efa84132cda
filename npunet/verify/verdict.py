"""verify(): every tensor of a port against the bundle, both chained and fed with what the port itself had before."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np

from npunet.golden import manifest
from npunet.golden.bounds import Port
from npunet.golden.bundle import Progress
from npunet.golden.reader import Bundle
from npunet.ops.bounds import SUBNORMAL
from npunet.verify import dumps
from npunet.verify.bundles import asked_for, check_sums
from npunet.verify.compare import same
from npunet.verify.diagnose import Diagnosis, Evidence, diagnose
from npunet.verify.diagnose.unseen import before
from npunet.verify.dumps import Fault
from npunet.verify.feeds import Feeds
from npunet.verify.gradients import Gradients
from npunet.verify.judge import check
from npunet.verify.layouts import LAYOUTS, arrange
from npunet.verify.results import ERROR, FAIL, INHERITED, PASS, SKIPPED, WORST, Check, LayerVerdict, Result

TRUSTED = 0.95  # share of zeros or of elements at a clamp's limit from which on a golden tensor tells little
FLUSHED = 2.0**-126
CASES_OF_EVIDENCE = 3


def verify(
    bundle: str | PathLike[str] | Bundle,
    outputs: str | PathLike[str],
    *,
    bounded: bool = False,
    flushes: bool = False,
    layers: Iterable[str] | None = None,
    case: str | None = None,
    layout: str | None = None,
    explain: bool = True,
    progress: Progress | None = None,
) -> Result:
    """Compare a port's outputs with a golden bundle.

    bundle  : folder, or a Bundle that was opened
    outputs : file or folder; forms are in npunet.verify's docstring
    bounded : against the derived bound of every element, instead of bit for bit in the declared order
    flushes : with bounded, a port that flushes subnormals to zero
    layers  : names or ids of the layers that the port shows; all by default. What is asked for must be there to pass
    case    : of tensors whose name tells none
    layout  : in which all tensors stand, a key of fit.LAYOUTS
    explain : look for the cause of the first divergence
    progress : called as progress(done, total, what)

    Raises ValueError for a damaged bundle, for outputs with nothing in them and for arguments that do not fit,
    FileNotFoundError.
    """
    start = time.perf_counter()
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"layout={layout!r} must be one of {', '.join(LAYOUTS)}")
    if flushes and not bounded:
        raise ValueError("a port that flushes subnormals is compared with bounds only: add --bounded (bounded=True)")
    opened = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    check_sums(opened)
    asked = asked_for(opened, layers)
    found = _Run(opened, dumps.read(outputs, opened, case), bounded, flushes, asked, layout)
    return found.result(start, explain, progress or (lambda done, total, what: None))


class _Run:
    """One verification while it runs."""

    def __init__(
        self, bundle: Bundle, dump: dumps.Dump, bounded: bool, flushes: bool, asked: set[str], layout: str | None
    ) -> None:
        self.bundle, self.dump, self.bounded, self.asked, self.layout = bundle, dump, bounded, asked, layout
        self.faults = list(dump.faults)
        self.values: dict[tuple[str, str], np.ndarray] = {}
        self.feeds = Feeds(bundle, self.values, bounded, Port(subnormal=FLUSHED if flushes else SUBNORMAL))
        self.layouts: dict[tuple[str, str], str] = {}
        self.checks: dict[str, list[Check]] = {layer: [] for layer in bundle.layers}
        self.others: list[Check] = []

    def result(self, start: float, explain: bool, progress: Progress) -> Result:
        """Take every tensor, check it, and put the whole together."""
        mine = self.bundle.fingerprint
        for digest in sorted(self.dump.bundle - {mine}):
            self.faults.append(Fault("outputs", f"stale: made for the bundle {digest[:16]}, this one is {mine[:16]}"))
        self._take()
        met = {case for case, _ in self.values}
        for number, case in enumerate(case for key, case in self.bundle.cases.items() if key in met):
            progress(number, len(met) + explain, case["id"])
            self._check_case(case)
        layers = tuple(
            self._verdict(number, record)
            for number, record in enumerate(self.bundle.layers.values())
            if record["id"] in self.asked
        )
        found = Result(
            bundle={
                "folder": str(self.bundle.root),
                "fingerprint": mine,
                "model": self.bundle.manifest["model"]["name"],
            },
            arithmetic=self.bundle.arithmetic,
            bounded=self.bounded,
            layers=layers,
            others=tuple(self.others),
            faults=tuple(self.faults),
            ignored=tuple(self.dump.ignored),
            unchecked_cases=tuple(case for case in self.bundle.cases if case not in met),
            diagnosis=None,
            seconds=0.0,
            notes=self._notes(layers),
        )
        progress(len(met), len(met) + explain, "diagnosis")
        diagnosis = self._explain(found) if explain else None
        progress(len(met) + explain, len(met) + explain, "done")
        return Result(**{**found.__dict__, "diagnosis": diagnosis, "seconds": time.perf_counter() - start})

    def _take(self) -> None:
        for (case, key), raw in self.dump.tensors.items():
            record = self.bundle.tensors[f"{case}/{key}"]
            try:
                value, layout = arrange(raw, record, self.layout)
            except (ValueError, TypeError, OverflowError) as error:
                self.faults.append(Fault(f"{raw.source} ({case}/{key})", str(error)))
                continue
            if record["role"] == "in" and not same(value, self.bundle.tensor(case, key)).all():
                self.faults.append(Fault(raw.source, f"stale: it is not the input {case}/{key} of this bundle"))
                continue
            self.values[case, key] = manifest.canonical(value)
            self.layouts[case, key] = layout

    def _check_case(self, case: Mapping[str, Any]) -> None:
        name = case["id"]
        if case["scope"] == "backward":
            step = Gradients(self.bundle, name, self.values)
            for key in case["tensors"]:
                if (name, key) in self.values:
                    found = step.check(key)
                    layer, _, role = key.rpartition(".")
                    status = FAIL if found.wrong else PASS
                    self.others.append(Check(name, "backward", layer or key, role or key, found, None, status))
            return
        of_network = case["scope"] == "network"
        listed = list(self.bundle.layers) if of_network else [name]
        if not any((name, f"{layer}.{role}") in self.values for layer in listed for role in ("out", "acc")):
            return
        deltas = self.feeds.deltas(name) if self.bounded and of_network else {}
        for layer in listed:
            for role in ("acc", "out"):
                if (name, f"{layer}.{role}") in self.values and layer in self.asked:
                    found = check(self.feeds, case, layer, role, deltas, self.layouts[name, f"{layer}.{role}"])
                    self.checks[layer].append(replace(found, note="") if self.layout else found)

    def _verdict(self, number: int, record: dict[str, Any]) -> LayerVerdict:
        checks = tuple(self.checks[record["id"]])
        statuses = [check.status for check in checks]
        if not any(check.role == "out" for check in checks) and not {FAIL, INHERITED} & set(statuses):
            statuses = [SKIPPED]
        elif all(check.chained.unjudged == check.chained.size for check in checks):
            statuses = [SKIPPED]  # the bound promises nothing about any element
        told = [self._tells(check) for check in checks]
        return LayerVerdict(number, record, min(statuses, key=WORST.index), checks, not checks or any(told))

    def _tells(self, check: Check) -> bool:
        record = self.bundle.tensors[f"{check.case}/{check.layer}.{check.role}"]
        told, size = record["statistics"], max(1, int(np.prod(record["shape"])))
        return max(told["zeros"] / size, told["saturated"], told["nans"] / size) < TRUSTED

    def _notes(self, layers: tuple[LayerVerdict, ...]) -> tuple[str, ...]:
        notes = []
        swapped = {name for name in self.layouts.values() if name != "NHWC"}
        if swapped:
            count = sum(name in swapped for name in self.layouts.values())
            notes.append(f"{count} tensors stand in {', '.join(sorted(swapped))} order and were read so")
        doubtful = [layer.record["id"] for layer in layers if not layer.trusted]
        if doubtful:
            notes.append(
                f"not to be trusted, the golden tensors are nearly all zero or saturated: {', '.join(doubtful)}"
            )
        return tuple(notes)

    def _explain(self, found: Result) -> Diagnosis | None:
        first = found.first
        if first is None or first.status == ERROR:
            return None
        layer = first.record["id"]
        checks = [check for check in sorted(first.checks, key=lambda check: WORST.index(check.status))
                  if check.role == "out"][:CASES_OF_EVIDENCE]
        if not checks:
            return None
        evidence = [self._evidence(check) for check in checks]
        told = diagnose(self.bundle, self.feeds.node(layer), evidence, self.bounded)
        if checks[0].unseen and not (told.causes and told.causes[0].whole):
            return before(self.feeds, checks[0], evidence[0], told)
        return told

    def _evidence(self, check: Check) -> Evidence:
        """What a layer read and gave in the case of a check, and what else the port had there, by layer name."""
        if check.scope == "layer":
            inputs, others = self.bundle.inputs(check.case, check.layer), {}
        else:
            inputs = self.feeds.inputs(check.case, check.layer)[0]
            order = list(self.bundle.layers)
            earlier = set(order[: order.index(check.layer)])  # a later one was made from this very output
            others = {
                self.feeds.names[key.removesuffix(".out")]: value
                for (case, key), value in self.values.items()
                if case == check.case and key.endswith(".out") and key.removesuffix(".out") in earlier
            }
        around = self._around(check) if check.scope == "network" else {}
        acc = self.values.get((check.case, f"{check.layer}.acc"))
        return Evidence(check.case, inputs, self.values[check.case, f"{check.layer}.out"], others, acc, **around)

    def _around(self, check: Check) -> dict[str, dict[str, np.ndarray]]:
        """What a buffer may hold instead of a layer's output: later layers as they should be, other cases."""
        order, names = list(self.bundle.layers), self.feeds.names
        golden = {
            names[layer]: self.bundle.tensor(check.case, f"{layer}.out")
            for layer in order[order.index(check.layer) + 1 :]
            if (check.case, f"{layer}.out") in self.values
        }
        cases = {
            f"{names[key.removesuffix('.out')]} of {case}": value
            for (case, key), value in self.values.items()
            if case != check.case and key.endswith(".out") and key.removesuffix(".out") in names
            and self.bundle.cases[case]["scope"] == "network"
        }
        return {"golden": golden, "cases": cases}

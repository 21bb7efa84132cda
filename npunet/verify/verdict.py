"""verify(): every tensor of a port against the bundle, both chained and fed with what the port itself had before."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

import numpy as np

from npunet.golden import manifest
from npunet.golden.bounds import Port, accumulator_bound, output_bound, rounded_up
from npunet.golden.execute import Step
from npunet.golden.reader import Bundle
from npunet.ops.bounds import SUBNORMAL
from npunet.run import apply
from npunet.verify import dumps
from npunet.verify.bundles import asked_for, check_sums
from npunet.verify.compare import Comparison, compare, same
from npunet.verify.diagnose import Evidence, diagnose
from npunet.verify.dumps import Fault
from npunet.verify.fit import LAYOUTS, fit, from_layout
from npunet.verify.results import ERROR, FAIL, INHERITED, PASS, SKIPPED, WORST, Check, LayerVerdict, Result

TRUSTED = 0.95  # share of zeros or of elements at a clamp's limit from which on a golden tensor tells little
BACKWARD = 2.0**-10  # of a gradient's largest magnitude: the order of its sums is nobody's promise
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

    Raises ValueError for a damaged bundle, for outputs with nothing in them and for arguments that do not fit,
    FileNotFoundError.
    """
    start = time.perf_counter()
    if layout is not None and layout not in LAYOUTS:
        raise ValueError(f"layout={layout!r} must be one of {', '.join(LAYOUTS)}")
    opened = bundle if isinstance(bundle, Bundle) else Bundle(bundle)
    check_sums(opened)
    asked = asked_for(opened, layers)
    return _Run(opened, dumps.read(outputs, opened, case), bounded, flushes, asked, layout).result(start, explain)


class _Run:
    """One verification while it runs."""

    def __init__(
        self, bundle: Bundle, dump: dumps.Dump, bounded: bool, flushes: bool, asked: set[str], layout: str | None
    ) -> None:
        self.bundle, self.dump, self.bounded, self.asked, self.layout = bundle, dump, bounded, asked, layout
        self.port = Port(subnormal=FLUSHED if flushes else SUBNORMAL)
        self.ids = manifest.layer_ids(bundle.graph)
        self.names = {key: name for name, key in self.ids.items()}
        self.faults = list(dump.faults)
        self.values: dict[tuple[str, str], np.ndarray] = {}
        self.layouts: dict[tuple[str, str], str] = {}
        self.fed: dict[tuple[str, str], tuple[np.ndarray, tuple[str, ...]]] = {}
        self.slack: dict[tuple[str, str], np.ndarray] = {}
        self.checks: dict[str, list[Check]] = {layer: [] for layer in bundle.layers}
        self.others: list[Check] = []

    def result(self, start: float, explain: bool) -> Result:
        """Take every tensor, check it, and put the whole together."""
        mine = self.bundle.fingerprint
        for digest in sorted(self.dump.bundle - {mine}):
            self.faults.append(Fault("outputs", f"stale: made for the bundle {digest[:16]}, this one is {mine[:16]}"))
        self._take()
        for case in self.bundle.cases.values():
            self._check_case(case)
        layers = tuple(
            self._verdict(number, record)
            for number, record in enumerate(self.bundle.layers.values())
            if record["id"] in self.asked
        )
        met = {case for case, _ in self.values}
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
        diagnosis = self._explain(found) if explain else None
        return Result(**{**found.__dict__, "diagnosis": diagnosis, "seconds": time.perf_counter() - start})

    def _take(self) -> None:
        for (case, key), raw in self.dump.tensors.items():
            record = self.bundle.tensors[f"{case}/{key}"]
            try:
                value, layout = fit(raw, record, self.layout)
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
            for key in case["tensors"]:
                if (name, key) in self.values:
                    self._backward(name, key)
            return
        of_network = case["scope"] == "network"
        listed = list(self.bundle.layers) if of_network else [name]
        if not any((name, f"{layer}.{role}") in self.values for layer in listed for role in ("out", "acc")):
            return
        deltas = self._deltas(name) if self.bounded and of_network else {}
        for layer in listed:
            for role in ("acc", "out"):
                if (name, f"{layer}.{role}") in self.values and layer in self.asked:
                    self.checks[layer].append(self._check(case, layer, role, deltas))

    def _check(self, case: Mapping[str, Any], layer: str, role: str, deltas: dict[str, np.ndarray]) -> Check:
        name, key = case["id"], f"{layer}.{role}"
        got, want = self.values[name, key], self.bundle.tensor(name, key)
        if not self.bounded:
            chained = compare(got, want)
            own, status, unseen = None, PASS, ()
            if chained.differ and case["scope"] == "network":
                own, unseen, changed = self._own(name, layer, role, got)
                status = INHERITED if changed and not own.differ else FAIL
            elif chained.differ:
                status = FAIL
            note = self._layout_note(got, want) if status == FAIL else ""
            return Check(name, case["scope"], layer, role, chained, own, status, unseen, self.layouts[name, key], note)
        if case["scope"] == "layer":
            inputs = self.bundle.inputs(name, layer)
            chained = self._within(layer, role, got, want, inputs, [np.zeros(x.shape) for x in inputs])
            status = FAIL if chained.wrong else PASS
            return Check(
                name,
                "layer",
                layer,
                role,
                chained,
                None,
                status,
                (),
                self.layouts[name, key],
                self._layout_note(got, want) if status == FAIL else "",
            )
        inputs = self.bundle.inputs(name, layer)
        node = self.bundle.graph[self.names[layer]]
        chained = self._within(layer, role, got, want, inputs, [deltas[source] for source in node.inputs])
        own, unseen, _ = self._own(name, layer, role, got)
        status = FAIL if own.wrong else INHERITED if chained.wrong else PASS
        return Check(
            name,
            "network",
            layer,
            role,
            chained,
            own,
            status,
            unseen,
            self.layouts[name, key],
            self._layout_note(got, want) if status == FAIL else "",
        )

    def _own(self, case: str, layer: str, role: str, got: np.ndarray) -> tuple[Comparison, tuple[str, ...], bool]:
        """A tensor against its layer run on the port's own inputs; who was not seen; whether these inputs err."""
        inputs, unseen = self._inputs(case, layer)
        step = self.bundle.run_layer(layer, inputs)
        want = _tensor(step, role)
        changed = any(
            not same(x, golden).all() for x, golden in zip(inputs, self.bundle.inputs(case, layer), strict=True)
        )
        if not self.bounded:
            return compare(got, want), unseen, changed
        return self._within(layer, role, got, want, inputs, self._slacks(case, layer, inputs)), unseen, changed

    def _slacks(self, case: str, layer: str, inputs: list[np.ndarray]) -> list[np.ndarray]:
        """How far the port's inputs may be from those: 0, or the bound of layers that the reference stood in for."""
        sources = self.bundle.layers[layer]["inputs"]
        return [self.slack.get((case, name), np.zeros(x.shape)) for name, x in zip(sources, inputs, strict=True)]

    def _inputs(self, case: str, layer: str) -> tuple[list[np.ndarray], tuple[str, ...]]:
        found = [self._feed(case, source) for source in self.bundle.layers[layer]["inputs"]]
        return [value for value, _ in found], tuple(dict.fromkeys(name for _, names in found for name in names))

    def _feed(self, case: str, source: str) -> tuple[np.ndarray, tuple[str, ...]]:
        """What the port had at a place: its dump, or the reference run on what came before; and who was not dumped."""
        if source == "in":
            return self.bundle.tensor(case, "in"), ()
        if (case, f"{source}.out") in self.values:
            return self.values[case, f"{source}.out"], ()
        if (case, source) not in self.fed:
            waiting = [source]  # no recursion: a long network may be dumped at its end only
            while waiting:
                layer = waiting[-1]
                before = [
                    name
                    for name in self.bundle.layers[layer]["inputs"]
                    if name != "in" and (case, f"{name}.out") not in self.values and (case, name) not in self.fed
                ]
                if before:
                    waiting += before
                    continue
                inputs, unseen = self._inputs(case, layer)
                self.fed[case, layer] = (self.bundle.run_layer(layer, inputs).out, (*unseen, layer))
                if self.bounded:
                    node, slacks = self.bundle.graph[self.names[layer]], self._slacks(case, layer, inputs)
                    self.slack[case, layer] = output_bound(node, inputs, slacks, self.bundle.weights, self.port)
                waiting.pop()
        return self.fed[case, source]

    def _deltas(self, case: str) -> dict[str, np.ndarray]:
        """Bounds of the whole network up to every tensor, by tensor name."""
        graph = self.bundle.graph
        deltas = {graph.input: np.zeros(self.bundle.tensor(case, "in").shape)}
        for node in graph:
            inputs = self.bundle.inputs(case, self.ids[node.name])
            onward = output_bound(node, inputs, [deltas[name] for name in node.inputs], self.bundle.weights, self.port)
            deltas[node.name] = rounded_up(onward)
        return deltas

    def _within(
        self,
        layer: str,
        role: str,
        got: np.ndarray,
        want: np.ndarray,
        inputs: list[np.ndarray],
        deltas: list[np.ndarray],
    ) -> Comparison:
        """Against the bound for a layer's inputs that may be off by deltas."""
        node = self.bundle.graph[self.names[layer]]
        bound_of = accumulator_bound if role == "acc" else output_bound
        bound = bound_of(node, inputs, deltas, self.bundle.weights, self.port)
        classes = None
        if not np.isfinite(want).all():
            with np.errstate(all="ignore"):
                wide = [x.astype(np.float64) for x in (*inputs, *(self.bundle.weights[w] for w in node.weights))]
                classes = ~np.isfinite(apply(node, iter(wide), "any")[0])  # not for want of float32's range
        return compare(got, want, bound, classes)

    def _backward(self, case: str, key: str) -> None:
        got, want = self.values[case, key], self.bundle.tensor(case, key)
        bound = None
        if want.dtype.kind == "f":
            finite = np.where(np.isfinite(want), np.abs(want), 0)
            bound = np.full(want.shape, BACKWARD * float(finite.max(initial=0)))
        found = compare(got, want, bound)
        layer, _, role = key.rpartition(".")
        self.others.append(
            Check(case, "backward", layer or key, role or key, found, None, FAIL if found.wrong else PASS)
        )

    def _layout_note(self, got: np.ndarray, want: np.ndarray) -> str:
        """Whether the numbers are right and only stand in another layout."""
        if want.ndim != 4 or self.layout:
            return ""
        for name in list(LAYOUTS)[1:]:
            moved = from_layout(got.ravel(), want.shape, name)
            if not np.array_equal(moved, got, equal_nan=True) and same(moved, want).all():
                return (
                    f"the numbers are the golden ones in {name} order; if that is the port's way, add --layout {name}"
                )
        return ""

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

    def _explain(self, found: Result) -> Any:
        first = found.first
        if first is None or first.status == ERROR:
            return None
        layer = first.record["id"]
        evidence = []
        for check in sorted(first.checks, key=lambda check: WORST.index(check.status)):
            if check.role != "out" or len(evidence) == CASES_OF_EVIDENCE:
                continue
            inputs = (
                self.bundle.inputs(check.case, layer) if check.scope == "layer" else self._inputs(check.case, layer)[0]
            )
            others = self._others(check) if check.scope == "network" else {}
            evidence.append(Evidence(check.case, inputs, self.values[check.case, f"{layer}.out"], others))
        if not evidence:
            return None
        return diagnose(self.bundle, self.bundle.graph[self.names[layer]], evidence, self.bounded)

    def _others(self, check: Check) -> dict[str, np.ndarray]:
        """What else the port had in a case, by layer name."""
        return {
            self.names[key.removesuffix(".out")]: value
            for (case, key), value in self.values.items()
            if case == check.case and key.endswith(".out") and key != f"{check.layer}.out"
        }


def _tensor(step: Step, role: str) -> np.ndarray:
    return step.out if role == "out" or step.acc is None else step.acc

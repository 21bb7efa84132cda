"""verify(): every tensor of a port against the bundle, both chained and fed with what the port itself had before."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from os import PathLike
from typing import Any

import numpy as np

from npunet.golden import manifest
from npunet.golden.blind import in_words
from npunet.golden.bounds import Port
from npunet.golden.bundle import Progress
from npunet.golden.integer.bundle import refuse_for_integers
from npunet.golden.integer.reader import IntegerBundle, open_bundle
from npunet.golden.reader import Bundle
from npunet.values import text
from npunet.verify import dumps
from npunet.verify.bundles import asked_for, check_sums
from npunet.verify.compare import compare
from npunet.verify.diagnose import Diagnosis
from npunet.verify.diagnose.shelter import sheltered
from npunet.verify.dumps import Fault
from npunet.verify.explain import Explainer
from npunet.verify.feeds import Feeds
from npunet.verify.gradients import Gradients
from npunet.verify.integer.explain import explain_integers, with_its_integers
from npunet.verify.judge import check
from npunet.verify.layouts import LAYOUTS, arrange, common_layout, stored_as
from npunet.verify.results import (
    FAIL,
    INHERITED,
    NOT_JUDGED,
    PASS,
    SKIPPED,
    WORST,
    Check,
    LayerVerdict,
    Result,
    Statistic,
)
from npunet.verify.statistics import Spread

ROLES = ("acc", "pre", "out")  # in the order of computation
TRUSTED = 0.95  # share of zeros or of elements at a clamp's limit from which on a golden tensor tells little
FLUSHED = 2.0**-126
TIME_LIMIT = 60.0  # seconds for the search of the cause


def verify(
    bundle: str | PathLike[str] | Bundle,
    outputs: str | PathLike[str],
    *,
    bounded: bool = False,
    flushes: bool = False,
    finite_math: bool = False,
    layers: Iterable[str] | None = None,
    case: str | None = None,
    layout: str | None = None,
    explain: bool = True,
    time_limit: float = TIME_LIMIT,
    progress: Progress | None = None,
) -> Result:
    """Compare a port's outputs with a golden bundle.

    bundle  : folder, or a Bundle that was opened; of floats, or of integers, which have to be equal
    outputs : file or folder; forms are in npunet.verify's docstring
    bounded : against the derived bound of every element, instead of bit for bit in the declared order
    flushes : with bounded, the port flushes subnormals to zero and that is meant: it needs no note
    finite_math : with bounded, the port keeps no NaN and no infinities (-ffast-math) and that is meant: where they must
              stand it is not judged. A dump that says NPU PORT finite-math declares the same
    layers  : names or ids of the layers that the port shows; all by default. What is asked for must be there to pass
    case    : of tensors whose name tells none
    layout  : in which all tensors stand, a key of layouts.LAYOUTS
    explain : look for the cause of the first divergence
    time_limit : seconds after which that search ends with what it has
    progress : called as progress(done, total, what)

    Raises ValueError for a damaged bundle, for outputs with nothing in them and for arguments that do not fit,
    FileNotFoundError.
    """
    start = time.perf_counter()
    if layout is not None and not (isinstance(layout, str) and layout in LAYOUTS):
        raise ValueError(f"layout={layout!r} must be one of {', '.join(LAYOUTS)}")
    if case is not None:
        text("case", case)
    if not isinstance(time_limit, (int, float)) or not time_limit > 0:
        raise ValueError(f"time_limit={time_limit!r:.80} must be a positive number of seconds; --no-diagnosis "
                         "(explain=False) does without a search")
    if flushes and not bounded:
        raise ValueError("a port that flushes subnormals is compared with bounds only: add --bounded (bounded=True)")
    if finite_math and not bounded:
        raise ValueError("a port of finite numbers only is compared with bounds only: add --bounded (bounded=True)")
    opened = bundle if isinstance(bundle, Bundle) else open_bundle(bundle)
    if isinstance(opened, IntegerBundle):
        refuse_for_integers(bounded=bounded, finite_math=finite_math)
    check_sums(opened)
    asked = asked_for(opened, layers)
    dump = dumps.read(outputs, opened, case)
    dump.port |= {"finite-math"} if finite_math else set()
    found = _Run(opened, dump, bounded, flushes, asked, layout)
    return found.result(start, time_limit if explain else None, progress or (lambda done, total, what: None))


class _Run:
    """One verification while it runs."""

    def __init__(
        self, bundle: Bundle, dump: dumps.Dump, bounded: bool, flushes: bool, asked: set[str], layout: str | None
    ) -> None:
        self.bundle, self.dump, self.bounded, self.asked, self.layout = bundle, dump, bounded, asked, layout
        self.faults = list(dump.faults)
        self.values: dict[tuple[str, str], np.ndarray] = {}
        self.flushes = flushes
        self.feeds = Feeds(bundle, self.values, bounded, Port(subnormal=FLUSHED))
        self.layouts: dict[tuple[str, str], str] = {}
        self.transposed: dict[tuple[str, str], np.ndarray] = {}
        self.checks: dict[str, list[Check]] = {layer: [] for layer in bundle.layers}
        self.others: list[Check] = []
        self.inputs: list[Check] = []
        self.spreads: dict[str, Spread] = {}
        self.statistics: list[Statistic] = []

    def result(self, start: float, limit: float | None, progress: Progress) -> Result:
        """Take every tensor, check it, put the whole together; limit : seconds to look for a cause, or not at all."""
        mine = self.bundle.fingerprint
        for digest in sorted(self.dump.bundle - {mine}):
            self.faults.append(Fault("outputs", f"stale: made for the bundle {digest[:16]}, this one is {mine[:16]}"))
        self._take()
        met = {case for case, key in self.values if not self._is_given(case, key)}
        steps = len(met) + (limit is not None)
        for number, case in enumerate(case for key, case in self.bundle.cases.items() if key in met):
            progress(number, steps, case["id"])
            self._check_case(case)
        expected = [case["id"] for case in self.bundle.cases.values() if self._shows(case)]
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
            inputs=tuple(self.inputs),
            faults=tuple(self.faults),
            ignored=tuple(self.dump.ignored),
            cases=len(expected),
            unchecked_cases=tuple(case for case in expected if case not in met),
            partial_cases=tuple(case for case in expected if case in met and self._lacks(case)),
            cannot_see=tuple(in_words(spot) for spot in self.bundle.manifest["cannot_see"]),
            diagnosis=None,
            seconds=0.0,
            notes=self._notes(layers),
            statistics=tuple(self.statistics),
            finite_math=self.bounded and "finite-math" in self.dump.port,
        )
        progress(len(met), steps, "diagnosis")
        diagnosis = self._diagnosis(found.first, limit) if limit is not None else None
        progress(steps, steps, "done")
        return Result(**{**found.__dict__, "diagnosis": diagnosis, "seconds": time.perf_counter() - start})

    def _diagnosis(self, first: LayerVerdict | None, limit: float) -> Diagnosis | None:
        start, told = time.perf_counter(), None
        with sheltered():  # a verdict does not fail by the search for its cause
            if isinstance(self.bundle, IntegerBundle):
                told = explain_integers(self.bundle, self.feeds, first, start + limit)
            else:
                told = Explainer(self.bundle, self.feeds, self.values, self.bounded, start + limit).explain(first)
        return None if told is None else replace(told, seconds=time.perf_counter() - start)

    def _take(self) -> None:
        records = {place: self.bundle.tensors["/".join(place)] for place in self.dump.tensors}
        arrays = {place: raw for place, raw in self.dump.tensors.items() if isinstance(raw.value, np.ndarray)}
        common = self.layout or common_layout([(raw, records[place]) for place, raw in arrays.items()])
        for (case, key), raw in self.dump.tensors.items():
            record = records[case, key]
            try:
                value, layout = arrange(raw, record, common if (case, key) in arrays else self.layout)
            except (ValueError, TypeError, OverflowError) as error:
                self.faults.append(Fault(f"{raw.source} ({case}/{key})", str(error)))
                continue
            value = manifest.canonical(value)
            self.values[case, key] = value
            self.layouts[case, key] = layout
            if layout != common and (case, key) in arrays:
                self.transposed[case, key] = manifest.canonical(stored_as(value, layout))
            if self._is_given(case, key):
                self._check_input(case, key, record["role"])

    def _is_given(self, case: str, key: str) -> bool:
        """Whether a tensor is something that the bundle gives to a port, not something that the port computes."""
        return self.bundle.tensors[f"{case}/{key}"]["role"] in ("in", "labels", "value", "mask")

    def _check_input(self, case: str, key: str, role: str) -> None:
        if role != "in":
            return  # Gradients compares what else a training step is given
        found = compare(self.values[case, key], self.bundle.tensor(case, key))
        layer, _, name = key.rpartition(".")
        self.inputs.append(Check(case, self.bundle.cases[case]["scope"], layer or "in", name, found, None,
                                 FAIL if found.wrong else PASS))

    def _shows(self, case: Mapping[str, Any]) -> bool:
        """Whether a case has a layer that was asked for."""
        return case["scope"] != "layer" or case["id"] in self.asked

    def _lacks(self, case: str) -> bool:
        """Whether a layer that was asked for is missing in a case that is there.

        Of a network case that the bundle stores by its ends, the network's output is enough.
        """
        told, output = self.bundle.cases[case], self.bundle.manifest["model"]["output"]
        if told["scope"] == "backward":
            keys = [key for key in told["tensors"] if not self._is_given(case, key)]
        elif told["scope"] == "layer":
            keys = [f"{case}.out"]
        else:
            ends = told["stored"] == "ends" and output in self.asked
            keys = [f"{layer}.out" for layer in ([output] if ends else self.asked)]
        return any((case, key) not in self.values for key in keys)

    def _by_statistics(self, found: Check) -> Check:
        """The statistical criterion where the bound is wide: not judged, or that of layers which were not given too."""
        wide = found.status == NOT_JUDGED or (found.status == PASS and found.unseen)
        if not self.bounded or not wide or found.scope != "network" or found.role != "out":
            return found
        spread = self.spreads.setdefault(found.case, Spread(self.bundle, found.case))
        told = spread.judge(found.layer, self.values[found.case, f"{found.layer}.out"])
        self.statistics.append(told)
        note = "by the statistical criterion, not by a bound: no order of summation explains the error"
        return replace(found, status=FAIL, note=note) if told.fails else found

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
        if not any((name, f"{layer}.{role}") in self.values for layer in listed for role in ROLES):
            return
        deltas = self.feeds.deltas(name) if self.bounded and of_network else {}
        for layer in listed:
            for role in ROLES:
                if (name, f"{layer}.{role}") in self.values and layer in self.asked:
                    key = f"{layer}.{role}"
                    checked = check(self.feeds, case, layer, role, deltas, self.layouts[name, key])
                    checked = replace(checked, note="", cause="") if self.layout else checked
                    if (name, key) in self.transposed:
                        wrong = compare(self.transposed[name, key], self.bundle.tensor(name, key))
                        cause = f"transposed: it stands in {checked.layout} order, the others in another"
                        checked = replace(checked, status=FAIL, chained=wrong, own=None, note="", cause=cause)
                    checked = self._by_statistics(checked)
                    if checked.status == FAIL and isinstance(self.bundle, IntegerBundle):
                        checked = with_its_integers(checked, self.bundle, self.feeds)
                    self.checks[layer].append(checked)

    def _verdict(self, number: int, record: dict[str, Any]) -> LayerVerdict:
        checks = tuple(self.checks[record["id"]])
        statuses = [check.status for check in checks]
        if not any(check.role == "out" for check in checks) and not {FAIL, INHERITED} & set(statuses):
            statuses = [SKIPPED]
        elif any(check.scope == "network" for check in checks):  # a corner case need not be within a bound that judges
            statuses = [check.status for check in checks
                        if check.status != NOT_JUDGED or (check.scope == "network" and check.role == "out")]
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
        flushed = sum(check.chained.flushed for checks in self.checks.values() for check in checks)
        if self.bounded and flushed and not self.flushes:
            notes.append(f"{flushed} elements that must be subnormal are zero: the port flushes them, "
                         "which is within the bounds (--flush-to-zero says that it is meant)")
        doubtful = [layer.record["id"] for layer in layers if not layer.trusted]
        if doubtful:
            notes.append(
                f"not to be trusted, the golden tensors are nearly all zero or saturated: {', '.join(doubtful)}"
            )
        return tuple(notes)

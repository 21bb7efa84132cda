"""What a verification finds, as plain records: checks of tensors, verdicts of layers, the whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from npunet.verify.compare import Comparison
from npunet.verify.diagnose import Diagnosis
from npunet.verify.dumps import Fault

PASS, FAIL, INHERITED, SKIPPED, ERROR, INCOMPLETE = "PASS", "FAIL", "INHERITED", "SKIPPED", "ERROR", "INCOMPLETE"
NOT_JUDGED = "NOT JUDGED"
NON_FINITE = "NON-FINITE FAIL"  # with bounds: what is finite is right, what must be NaN or infinite is not
EXIT = {PASS: 0, FAIL: 1, ERROR: 2, INCOMPLETE: 3, NOT_JUDGED: 5, NON_FINITE: 6}
CASES_MISSING = 4  # the exit status of INCOMPLETE where every layer was shown, but not in every case
WORST = (ERROR, FAIL, INHERITED, NOT_JUDGED, PASS, SKIPPED)


@dataclass(frozen=True)
class Check:
    """One tensor of a port against the golden one.

    case, layer, role : where it belongs; scope is the case's: "network", "layer" or "backward"
    chained  : against the golden tensor
    own      : against the layer run on the port's own inputs; None where that is the same question or not asked
    status   : PASS, INHERITED (wrong, but right for the inputs that it was fed with), FAIL, NOT JUDGED (with a bound:
               nothing wrong is seen, but the bound is too wide to tell)
    unseen   : layers before this one whose outputs were not given, so that the reference stood in for them
    layout   : in which the tensor was read
    note     : anything else, in words
    cause    : of what is wrong, where no search for it is needed, in words
    """

    case: str
    scope: str
    layer: str
    role: str
    chained: Comparison
    own: Comparison | None
    status: str
    unseen: tuple[str, ...] = ()
    layout: str = "NHWC"
    note: str = ""
    cause: str = ""

    @property
    def told(self) -> Comparison:
        """The comparison that decided: a layer that errs itself by what it was fed with."""
        return self.own if self.own is not None and self.status in (FAIL, NOT_JUDGED) else self.chained

    @property
    def apart(self) -> int:
        """Elements that must be NaN or infinite, for what the layer was fed with, and are of another kind."""
        return (self.own or self.chained).apart


@dataclass(frozen=True)
class Statistic:
    """What cannot be judged by a bound, by statistics: the port's error against that of other orders of summation.

    rms     : root mean square of the port's error over the finite elements
    spread  : the same of the reference in another order of summation, the largest of `orders` samples
    flips, labels : positions whose largest channel is another one, of so many; None where there is no choice of channel
    fails   : whether the error is so far outside of the spread that no order of summation explains it
    """

    case: str
    layer: str
    rms: float
    spread: float
    orders: int
    flips: int | None
    labels: int | None
    fails: bool


# What stands in a layer's place where the input is wrong.
INPUT: dict[str, Any] = {"id": "in", "name": "the network's input", "operator": "input", "inputs": [],
         **dict.fromkeys(("kernel", "stride", "dilation", "factor"))}


@dataclass(frozen=True)
class LayerVerdict:
    """One layer: the worst of its checks; trusted is False when every golden tensor it met was nearly constant."""

    number: int
    record: dict[str, Any]
    status: str
    checks: tuple[Check, ...]
    trusted: bool = True

    @property
    def worst(self) -> Check | None:
        """The check to show: the first of the worst status, network cases first."""
        return min(self.checks, key=lambda check: WORST.index(check.status), default=None)


@dataclass(frozen=True)
class Result:
    """The whole; verdict is PASS only when every layer asked for was checked in every case and none was wrong.

    inputs          : checks of the network's input and of the layer cases' inputs, where the port shows them
    cases           : how many cases there are that show a layer asked for
    unchecked_cases : those of them of which nothing is there
    partial_cases   : those of which some layers asked for are missing
    cannot_see      : faults that this bundle cannot show, in words
    statistics      : of what a bound could not judge: the statistical criterion, in words
    finite_math     : the port declares that it keeps no NaN and no infinities: these are not judged with bounds
    """

    bundle: dict[str, Any]
    arithmetic: str
    bounded: bool
    layers: tuple[LayerVerdict, ...]
    others: tuple[Check, ...]
    inputs: tuple[Check, ...]
    faults: tuple[Fault, ...]
    ignored: tuple[str, ...]
    cases: int
    unchecked_cases: tuple[str, ...]
    partial_cases: tuple[str, ...]
    cannot_see: tuple[str, ...]
    diagnosis: Diagnosis | None
    seconds: float
    notes: tuple[str, ...] = field(default=())
    statistics: tuple[Statistic, ...] = field(default=())
    finite_math: bool = False

    @property
    def order(self) -> str:
        """The arithmetic in words."""
        return self.arithmetic if "," in self.arithmetic else f"order {self.arithmetic}"

    @property
    def first(self) -> LayerVerdict | None:
        """The first layer that errs by itself; before all of them the input."""
        wrong = tuple(check for check in self.inputs if check.status == FAIL)
        if wrong:
            return LayerVerdict(-1, INPUT, FAIL, wrong)
        return next((layer for layer in self.layers if layer.status in (ERROR, FAIL) and layer.checks), None)

    @property
    def verdict(self) -> str:
        """PASS, FAIL, ERROR, NON-FINITE FAIL, NOT JUDGED or INCOMPLETE."""
        found = {check.status for check in (*self.others, *self.inputs)} | {layer.status for layer in self.layers}
        if found & {FAIL, INHERITED}:
            return FAIL
        if self.faults or ERROR in found:
            return ERROR
        if self.apart and not self.finite_math:
            return NON_FINITE
        if NOT_JUDGED in found:
            return NOT_JUDGED
        return PASS if self.complete and not self.unchecked_cases and not self.partial_cases else INCOMPLETE

    @property
    def apart(self) -> dict[str, int]:
        """Layers that have elements of another kind where NaN or infinity must stand, with how many."""
        counts = {layer.record["id"]: sum(check.apart for check in layer.checks) for layer in self.layers}
        return {layer: count for layer, count in counts.items() if count}

    @property
    def complete(self) -> bool:
        """Whether every layer asked for was shown, in one case at least."""
        return bool(self.layers) and all(layer.status != SKIPPED for layer in self.layers)

    @property
    def status(self) -> int:
        """The exit status."""
        return CASES_MISSING if self.verdict == INCOMPLETE and self.complete else EXIT[self.verdict]

"""What a verification finds, as plain records: checks of tensors, verdicts of layers, the whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from npunet.verify.compare import Comparison
from npunet.verify.diagnose import Diagnosis
from npunet.verify.dumps import Fault

PASS, FAIL, INHERITED, SKIPPED, ERROR, INCOMPLETE = "PASS", "FAIL", "INHERITED", "SKIPPED", "ERROR", "INCOMPLETE"
EXIT = {PASS: 0, FAIL: 1, ERROR: 2, INCOMPLETE: 3}
WORST = (ERROR, FAIL, INHERITED, PASS, SKIPPED)


@dataclass(frozen=True)
class Check:
    """One tensor of a port against the golden one.

    case, layer, role : where it belongs; scope is the case's: "network", "layer" or "backward"
    chained  : against the golden tensor
    own      : against the layer run on the port's own inputs; None where that is the same question or not asked
    status   : PASS, INHERITED (wrong, but right for the inputs that it was fed with), FAIL
    unseen   : layers before this one whose outputs were not given, so that the reference stood in for them
    layout   : in which the tensor was read
    note     : anything else, in words
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

    @property
    def told(self) -> Comparison:
        """The comparison that decided."""
        return self.own if self.own is not None and self.status == FAIL else self.chained


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
    """The whole; verdict is PASS only when every layer asked for was checked and none was wrong."""

    bundle: dict[str, Any]
    arithmetic: str
    bounded: bool
    layers: tuple[LayerVerdict, ...]
    others: tuple[Check, ...]
    faults: tuple[Fault, ...]
    ignored: tuple[str, ...]
    unchecked_cases: tuple[str, ...]
    diagnosis: Diagnosis | None
    seconds: float
    notes: tuple[str, ...] = field(default=())

    @property
    def first(self) -> LayerVerdict | None:
        """The first layer that errs by itself."""
        return next((layer for layer in self.layers if layer.status in (ERROR, FAIL) and layer.checks), None)

    @property
    def verdict(self) -> str:
        """PASS, FAIL, ERROR or INCOMPLETE."""
        found = {layer.status for layer in self.layers} | {check.status for check in self.others}
        if found & {FAIL, INHERITED}:
            return FAIL
        if self.faults or ERROR in found:
            return ERROR
        return INCOMPLETE if SKIPPED in found or PASS not in found else PASS

    @property
    def status(self) -> int:
        """The exit status."""
        return EXIT[self.verdict]

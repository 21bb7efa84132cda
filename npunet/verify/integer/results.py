"""What the verification of an integer port finds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from npunet.verify.results import CASES_MISSING, ERROR, EXIT, FAIL, INCOMPLETE, INHERITED, PASS, SKIPPED


@dataclass(frozen=True)
class Difference:
    """The first element that is not equal.

    index : (n, i, j, c);  got, want : what the port has, what the layer gives
    acc, pre : of that element, None where the layer has none;  multiplier, shift : of its channel, likewise
    """

    index: tuple[int, ...]
    got: int
    want: int
    acc: int | None = None
    pre: int | None = None
    multiplier: int | None = None
    shift: int | None = None


@dataclass(frozen=True)
class IntegerCheck:
    """One tensor of a port.

    status : PASS, FAIL, or INHERITED (not the golden one, but right for what the port had before it)
    differ, size, largest : elements that are not equal, of so many, and by how much at most; of a FAIL against what the
             layer gives for the port's own inputs, otherwise against the golden tensor
    """

    case: str
    layer: str
    role: str
    status: str
    differ: int
    size: int
    largest: int
    first: Difference | None = None


@dataclass(frozen=True)
class IntegerCause:
    """A hypothesis that reproduces every element of the evidence; words say what the port does."""

    name: str
    words: str


@dataclass(frozen=True)
class LayerResult:
    """One layer: the worst of its checks."""

    id: str
    record: dict[str, Any]
    status: str
    checks: tuple[IntegerCheck, ...]

    @property
    def worst(self) -> IntegerCheck | None:
        """The check to show: the first that fails, accumulators before outputs."""
        order = (FAIL, INHERITED, PASS)
        return min(self.checks, key=lambda check: order.index(check.status), default=None)


@dataclass(frozen=True)
class IntegerResult:
    """The whole. PASS only when every layer asked for is right in every case.

    unchecked : (case, layer id) without an output
    inputs    : checks of what the port shows of its input
    causes    : of the first wrong layer;  tried : hypotheses that were run
    """

    folder: str
    layers: tuple[LayerResult, ...]
    inputs: tuple[IntegerCheck, ...]
    cases: tuple[str, ...]
    unchecked: tuple[tuple[str, str], ...]
    faults: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    causes: tuple[IntegerCause, ...] = ()
    tried: int = 0
    profile: dict[str, Any] = field(default_factory=dict)

    @property
    def first(self) -> LayerResult | None:
        """The first layer that errs by itself."""
        return next((layer for layer in self.layers if layer.status == FAIL), None)

    @property
    def verdict(self) -> str:
        """PASS, FAIL, ERROR or INCOMPLETE."""
        found = {layer.status for layer in self.layers} | {check.status for check in self.inputs}
        if found & {FAIL, INHERITED}:
            return FAIL
        if self.faults:
            return ERROR
        return INCOMPLETE if self.unchecked or not self.layers else PASS

    @property
    def status(self) -> int:
        """The exit status: 0 PASS, 1 FAIL, 2 ERROR, 3 layers missing, 4 cases missing."""
        if self.verdict == INCOMPLETE and self.layers and all(layer.status != SKIPPED for layer in self.layers):
            return CASES_MISSING
        return EXIT[self.verdict]

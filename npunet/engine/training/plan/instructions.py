"""What a training step is lowered to: instructions whose tensors still have names instead of places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from npunet.engine.target import LANES
from npunet.engine.training.plan.step_opcodes import Field, Mode, Op
from npunet.geometry import Pair

CHUNKS = 16  # at least so many in a batch, where it has the rows
WAYS = 8  # float32 sums at most that a tap of a depthwise kernel's gradient is shared out to


class Unsupported(ValueError):
    """The engine has no training instructions for this; NumpyStep has."""


@dataclass(frozen=True)
class Taps:
    """The taps of a kernel along one axis that see something besides padding.

    skipped : taps before them;  count : of them;  first : from an output's position to the first;  step : between two
    """

    skipped: int
    count: int
    first: int
    step: int

    @property
    def last(self) -> int:
        return self.first + (self.count - 1) * self.step

    @property
    def reach(self) -> Pair:
        """Positions read before the first output's own and behind the last's."""
        return (max(0, -self.first), max(0, self.last)) if self.count else (0, 0)

    def flipped(self) -> Taps:
        """The taps of the input's gradient."""
        return Taps(0, self.count, -self.last, self.step)


POINT = Taps(0, 1, 0, 1)


def taps_of(kernel: int, pad: int, dilation: int, size: int) -> Taps:
    seen = [k for k in range(kernel) if abs(k * dilation - pad) < size]
    return Taps(seen[0], len(seen), seen[0] * dilation - pad, dilation) if seen else Taps(0, 0, 0, dilation)


@dataclass
class Instruction:
    """One instruction before anything has a place in memory: tensors and regions are named.

    taps   : along height and width, for an x that is read around
    fields : columns that are known already
    """

    op: Op
    layer: str
    mode: Mode = Mode.ROWS
    x: str = ""
    y: str = ""
    z: str = ""
    u: str = ""
    norm: str = ""
    sums: str = ""
    weights: str = ""
    bias: str = ""
    taps: tuple[Taps, Taps] = (POINT, POINT)
    fields: dict[Field, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One share of a tensor's gradient: a gradient that it equals, or what writes it into a tensor."""

    alias: str = ""
    emit: Callable[[str, bool], None] | None = None
    adds: bool = False


def ways_of(width: int) -> int:
    """Float32 sums a tap, where so many neighbouring ones of a depthwise kernel are summed together."""
    return {5: 2, 3: 3}.get(width, WAYS)


def padded(channels: int) -> int:
    """Channels in whole vectors."""
    return -(-channels // LANES) * LANES


def chunks_of(rows: int, batch: int) -> tuple[int, int]:
    """(chunks in a sample, rows of a chunk): fixed by the shape of the batch, so that threads change no sum."""
    wanted = min(rows, max(1, -(-CHUNKS // batch)))
    each = -(-rows // wanted)
    return -(-rows // each), each

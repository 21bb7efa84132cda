"""What a training step is lowered to: instructions whose tensors still have names instead of places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from npunet.engine.plan.taps import POINT, Taps
from npunet.engine.target import LANES
from npunet.engine.training.plan.step_opcodes import Field, Mode, Op

CHUNKS = 16  # at least so many in a batch, where it has the rows
WAYS = 8  # float32 sums at most that a tap of a depthwise kernel's gradient is shared out to


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
    emit: Callable[[str, bool], object] | None = None
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

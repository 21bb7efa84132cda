"""Tensors that live in one group, row by row, and need only as many rows of memory as lie between their first writer
and their last reader.

Row i stands where i modulo the ring buffer's rows says. The first rows stand behind the buffer once more, so that the
rows that a reader reaches are always neighbours. What a group works on then stays in the second-level cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from npunet.engine.plan.layout import Image
from npunet.engine.training.plan.instructions import Instruction
from npunet.engine.training.plan.step_groups import lags_of, names_of, reach
from npunet.engine.training.plan.step_opcodes import Field, Flag, Mode, Op

ROW_BY_ROW = {Op.COPY_IN, Op.MASK_IN, Op.CONV, Op.FEW_FILTERS, Op.DEPTHWISE, Op.STATISTICS, Op.NORMALISE, Op.ACTIVATE,
              Op.LOSS, Op.NORM_SUMS, Op.NORM_DX, Op.ACTIVATE_DX, Op.DEPTHWISE_DW, Op.BIAS_SUMS, Op.CONV_DW}


@dataclass(frozen=True)
class RingBuffer:
    """rows : of the ring buffer;  mirrored : of them, that stand behind it once more"""

    rows: int
    mirrored: int

    def image(self, whole: Image) -> Image:
        """What is kept of a tensor."""
        return whole._replace(height=self.rows + self.mirrored, halo=(0, 0, *whole.halo[2:]))


def ring_buffers_of(groups: Sequence[range], instructions: Sequence[Instruction], images: Mapping[str, Image],
             brief: set[str]) -> dict[str, RingBuffer]:
    """The ring buffers of those brief tensors that are smaller so."""
    found = {}
    for group in groups:
        members = [instructions[number] for number in group]
        if members[0].mode != Mode.ROWS:
            continue
        lags = lags_of(members)
        for name in brief & set().union(*map(names_of, members)):
            buffer = ring_buffer_of(name, members, lags, images[name])
            if buffer is not None and buffer.rows + buffer.mirrored < images[name].height:
                found[name] = buffer
    return found


def ring_buffer_of(name: str, members: Sequence[Instruction], lags: Sequence[int], image: Image) -> RingBuffer | None:
    """The smallest ring buffer in which no row is overwritten before its last reader; None where one works on more than
    rows.
    """
    first, last, window = max(lags), 0, 0
    for instruction, lag in zip(members, lags, strict=True):
        if name not in names_of(instruction):
            continue
        spreads = instruction.y == name and instruction.fields.get(Field.FLAGS, 0) & Flag.SPREAD
        if instruction.op not in ROW_BY_ROW or spreads:
            return None
        first = min(first, lag)
        above, below = reach(instruction) if instruction.x == name else (0, 0)
        last, window = max(last, lag + above), max(window, above + below)
    return RingBuffer(last - first + image.halo[1] + 1, window)

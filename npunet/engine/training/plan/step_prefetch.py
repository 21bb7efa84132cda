"""Software prefetch by the convolutions of a training step: what their group will need next.

That is the next row, or the next sample where a sample is one row, of every tensor that the group finds in memory or
leaves there. Without, the norms around the convolutions wait for the third-level cache and for memory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from npunet.engine.plan.layout import Image
from npunet.engine.plan.opcodes import STREAM_COLUMNS, STREAMS
from npunet.engine.target import CACHE_LINE
from npunet.engine.training.plan.instructions import Instruction, padded
from npunet.engine.training.plan.step_groups import lags_of, names_of, reach, rows_of
from npunet.engine.training.plan.step_opcodes import Field, Op


@dataclass
class Host:
    """An instruction that prefetches.

    positions : of its row;  lag : rows that it comes behind the first of its group;  products : of its row
    by_lines  : whether a stream gives it one cache line a position, as CONV_DW, or as many bytes as it takes, as CONV
    fields    : columns of its streams, of which `streams` are taken, for `load` bytes
    """

    positions: int
    lag: int
    products: int
    by_lines: bool
    fields: dict[int, int] = field(default_factory=dict)
    streams: int = 0
    load: int = 0

    def has_room(self, size: int) -> bool:
        return self.streams + self.lines(size) <= STREAMS

    def lines(self, size: int) -> int:
        """Streams for so many bytes."""
        return -(-self.share(size) // CACHE_LINE) if self.by_lines else 1

    def share(self, size: int) -> int:
        """Bytes a position."""
        return -(-size // self.positions)

    def crowding(self, size: int) -> float:
        """Bytes a product, with so many more."""
        return (self.load + size) / self.products

    def take(self, size: int, start: int, sample: int, row: int) -> None:
        """Prefetch so many bytes from element `start` on, which stand `sample` and `row` elements further on in the
        next sample and row. The first column of a stream, how far it has come, is the kernel's."""
        for line in range(self.lines(size)):
            first = Field.STREAMS + STREAM_COLUMNS * self.streams
            self.fields |= {first + 1: self.share(size), first + 2: start + CACHE_LINE // 4 * line, first + 3: sample,
                            first + 4: row}
            self.streams += 1
        self.load += size


def stream_fields(group: Sequence[Instruction], images: Mapping[str, Image], kept: Collection[str],
                  offsets: Mapping[str, int]) -> list[dict[int, int]]:
    """Of each instruction of a group, the columns of its streams.

    kept : tensors that do not live in this group alone;  offsets : of theirs, in elements
    """
    rows, lags = rows_of(group[0], images), lags_of(group)
    hosts = {k: Host(images[each.x].width, lags[k], products(each, images), each.op == Op.CONV_DW)
             for k, each in enumerate(group) if each.op in (Op.CONV, Op.CONV_DW)}
    needed: dict[int, tuple[str, int]] = {}  # one tensor an offset, and how many rows behind the first it is needed
    for member, lag in zip(group, lags, strict=True):
        for name in sorted(names_of(member) & set(kept)):
            if images[name].height % rows == 0:
                needed.setdefault(offsets[name], (name, lag - reach(member)[1]))
    for name, lag in sorted(needed.values(), key=lambda each: -bytes_of(images[each[0]], rows)):
        image, size = images[name], bytes_of(images[name], rows)
        free = [host for host in hosts.values() if host.has_room(size)]
        if free:
            host = min(free, key=lambda host: host.crowding(size))
            row = 0 if rows == 1 else image.height // rows * image.row
            distance = image.size if rows == 1 else (1 + host.lag - lag) * row
            host.take(size, offsets[name] + image.inner + distance, image.size, row)
    return [hosts[k].fields if k in hosts else {} for k in range(len(group))]


def bytes_of(image: Image, rows: int) -> int:
    """Of a tensor's rows that belong to one of the group's, of which there are so many."""
    return 4 * (image.height // rows * image.row - (image.halo[2] + image.halo[3]) * image.col)


def products(instruction: Instruction, images: Mapping[str, Image]) -> int:
    """Multiplications of a row of a convolution, or of its kernel's gradient."""
    x, y, taps = images[instruction.x], images[instruction.y or instruction.z], instruction.taps
    return max(1, taps[0].number * taps[1].number * x.width * x.channels * padded(y.channels))

"""What a convolution of a training step asks for while it multiplies: what its group will need next.

That is the next row, or the next sample where a sample is one row, of every tensor that the group finds in memory or
leaves there. Without, the norms around the convolutions wait for the third-level cache and for memory.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from npunet.engine.layout import Image
from npunet.engine.opcodes import STREAM_COLUMNS, STREAMS
from npunet.engine.training.groups import lags_of, names_of, reach, rows_of
from npunet.engine.training.instructions import Instruction, padded
from npunet.engine.training.opcodes import Field, Op


def stream_fields(group: Sequence[Instruction], images: Mapping[str, Image], kept: Collection[str],
                  offsets: Mapping[str, int]) -> list[dict[int, int]]:
    """Of each instruction of a group, the columns of its streams: where one goes on (left to the kernel), bytes a
    position, offset, elements to the next sample, elements to the next row.

    kept : tensors that do not live in this group alone;  offsets : of theirs, in elements
    """
    fields: list[dict[int, int]] = [{} for _ in group]
    hosts = [k for k, each in enumerate(group) if each.op == Op.CONV]
    rows, lags = rows_of(group[0], images), lags_of(group)
    loads, streams = dict.fromkeys(hosts, 0), dict.fromkeys(hosts, 0)
    seen: dict[int, tuple[str, int]] = {}  # one tensor an offset, and how many rows behind the first it is needed
    for member, lag in zip(group, lags, strict=True):
        for name in sorted(names_of(member) & set(kept)):
            if images[name].height == rows:
                seen.setdefault(offsets[name], (name, lag - reach(member)[1]))
    for name, lag in sorted(seen.values(), key=lambda each: -bytes_of(images[each[0]])):
        free = [k for k in hosts if streams[k] < STREAMS]
        if not free:
            break
        image = images[name]
        host = min(free, key=lambda k: (loads[k] + bytes_of(image)) / products(group[k], images))
        first = Field.STREAMS + STREAM_COLUMNS * streams[host]
        row, ahead = (0, image.size) if rows == 1 else (image.row, (1 + lags[host] - lag) * image.row)
        share = -(-bytes_of(image) // images[group[host].x].width)
        fields[host] |= {first + 1: share, first + 2: offsets[name] + image.inner + ahead,
                         first + 3: image.size, first + 4: row}
        loads[host] += bytes_of(image)
        streams[host] += 1
    return fields


def bytes_of(image: Image) -> int:
    """Of a row."""
    return 4 * image.width * image.col


def products(instruction: Instruction, images: Mapping[str, Image]) -> int:
    """Multiplications of a row of a convolution."""
    x, taps = images[instruction.x], instruction.taps
    return max(1, taps[0].count * taps[1].count * x.width * x.channels * padded(images[instruction.y].channels))

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

LINE = 64  # bytes


def stream_fields(group: Sequence[Instruction], images: Mapping[str, Image], kept: Collection[str],
                  offsets: Mapping[str, int]) -> list[dict[int, int]]:
    """Of each instruction of a group, the columns of its streams: where one goes on (left to the kernel), bytes a
    position, offset, elements to the next sample, elements to the next row.

    kept : tensors that do not live in this group alone;  offsets : of theirs, in elements
    """
    fields: list[dict[int, int]] = [{} for _ in group]
    hosts = [k for k, each in enumerate(group) if each.op in (Op.CONV, Op.CONV_DW)]
    rows, lags = rows_of(group[0], images), lags_of(group)
    loads, used = dict.fromkeys(hosts, 0), dict.fromkeys(hosts, 0)
    needed: dict[int, tuple[str, int]] = {}  # one tensor an offset, and how many rows behind the first it is needed
    for member, lag in zip(group, lags, strict=True):
        for name in sorted(names_of(member) & set(kept)):
            if images[name].height % rows == 0:
                needed.setdefault(offsets[name], (name, lag - reach(member)[1]))
    for name, lag in sorted(needed.values(), key=lambda each: -bytes_of(images[each[0]], rows)):
        image = images[name]
        size = bytes_of(image, rows)
        shares = {k: shares_of(size, group[k], images) for k in hosts}
        free = [k for k in hosts if used[k] + len(shares[k]) <= STREAMS]
        if not free:
            continue
        host = min(free, key=lambda k: (loads[k] + size) / products(group[k], images))
        row = 0 if rows == 1 else image.height // rows * image.row
        ahead = image.size if rows == 1 else (1 + lags[host] - lag) * row
        for share, within in shares[host]:
            first = Field.STREAMS + STREAM_COLUMNS * used[host]
            fields[host] |= {first + 1: share, first + 2: offsets[name] + image.inner + ahead + within,
                             first + 3: image.size, first + 4: row}
            used[host] += 1
        loads[host] += size
    return fields


def shares_of(size: int, host: Instruction, images: Mapping[str, Image]) -> list[tuple[int, int]]:
    """The streams that a host needs for so many bytes: bytes from one position to the next, and the element where it
    begins. CONV_DW asks for one line a position, CONV for as many as it takes."""
    share = -(-size // images[host.x].width)
    lines = -(-share // LINE) if host.op == Op.CONV_DW else 1
    return [(share, LINE // 4 * line) for line in range(lines)]


def bytes_of(image: Image, rows: int) -> int:
    """Of a tensor's rows that belong to one of the group's, of which there are so many."""
    return 4 * (image.height // rows * image.row - (image.halo[2] + image.halo[3]) * image.col)


def products(instruction: Instruction, images: Mapping[str, Image]) -> int:
    """Multiplications of a row of a convolution, or of its kernel's gradient."""
    x, y, taps = images[instruction.x], images[instruction.y or instruction.z], instruction.taps
    return max(1, taps[0].count * taps[1].count * x.width * x.channels * padded(y.channels))

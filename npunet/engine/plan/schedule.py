"""When each instruction does which rows: all at once, or a row block at a time, by one thread or by several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from npunet.engine.plan.chains import Chain
from npunet.engine.plan.layout import Image
from npunet.engine.plan.line_buffers import Move, Placed, buffers_of, with_moves


class ChainSchedule(NamedTuple):
    """One chain's.

    kept  : rows of the line buffer of each tensor that has one; a thread each where there is `apart`
    alone : what one thread does
    apart : what each of several does without a word with the others; None where they share every instruction
    """

    chain: Chain
    kept: Mapping[str, int]
    alone: Sequence[Placed | Move]
    apart: Sequence[Sequence[Placed | Move]] | None = None


def schedule_all(chains: Sequence[Chain], threads: int) -> list[ChainSchedule]:
    """A schedule for each chain. A tensor that no other chain names may have a line buffer."""
    schedules = []
    for number, chain in enumerate(chains):
        others = set().union(*(other.names for other in (*chains[:number], *chains[number + 1 :])))
        schedules.append(schedule_of(chain, chain.names - others, threads))
    return schedules


def schedule_of(chain: Chain, brief: set[str], threads: int) -> ChainSchedule:
    """A chain's; no tensor but the `brief` ones may have a line buffer."""
    blocks = chain.schedule()
    buffers = [buffer for buffer in buffers_of(brief, blocks, chain) if buffer.capacity < buffer.whole.height]
    alone = with_moves(blocks, buffers)
    kept = {buffer.name: buffer.capacity for buffer in buffers}
    if threads == 1 or len(chain.groups) == 1:
        return ChainSchedule(chain, kept, alone)
    shares = chain.schedules_apart(brief, threads)
    if shares is None:
        return ChainSchedule(chain, {}, alone)
    own = [buffers_of(brief, blocks, chain) for blocks in shares]
    for buffer in (buffer for each in own for buffer in each):
        kept[buffer.name] = max(kept.get(buffer.name, 0), buffer.capacity)
    if any(threads * rows >= chain.images[name].height for name, rows in kept.items()):
        return ChainSchedule(chain, {}, alone)
    return ChainSchedule(chain, kept, alone, [with_moves(*each) for each in zip(shares, own, strict=True)])


def stored_images(schedules: Sequence[ChainSchedule], images: Mapping[str, Image], threads: int) -> dict[str, Image]:
    """The line buffers, all threads' below one another, as images."""
    kept = {name: (threads if schedule.apart else 1) * rows
            for schedule in schedules for name, rows in schedule.kept.items()}
    return {name: images[name]._replace(height=rows, halo=(0, 0, *images[name].halo[2:]))
            for name, rows in kept.items()}

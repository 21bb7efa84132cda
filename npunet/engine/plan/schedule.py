"""When each instruction does which rows: all at once, or a row block at a time, by one thread or by several."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from npunet.engine.plan.chains import Chain
from npunet.engine.plan.layout import Image
from npunet.engine.plan.line_buffers import Move, Placed, buffers_of, with_moves


class Plan(NamedTuple):
    """One chain's.

    kept  : rows of the line buffer of each tensor that has one; a thread each where there is `apart`
    alone : what one thread does
    apart : what each of several does without a word with the others; None where they share every instruction
    """

    chain: Chain
    kept: Mapping[str, int]
    alone: Sequence[Placed | Move]
    apart: Sequence[Sequence[Placed | Move]] | None = None


def plan_all(chains: Sequence[Chain], threads: int) -> list[Plan]:
    """A plan for each chain. A tensor that no other chain names may have a line buffer."""
    plans = []
    for number, chain in enumerate(chains):
        others = set().union(*(other.names for other in (*chains[:number], *chains[number + 1 :])))
        plans.append(plan(chain, chain.names - others, threads))
    return plans


def plan(chain: Chain, brief: set[str], threads: int) -> Plan:
    """A chain's; no tensor but the `brief` ones may have a line buffer."""
    blocks = chain.schedule()
    buffers = [buffer for buffer in buffers_of(brief, blocks, chain) if buffer.capacity < buffer.whole.height]
    alone = with_moves(blocks, buffers)
    kept = {buffer.name: buffer.capacity for buffer in buffers}
    if threads == 1 or len(chain.groups) == 1:
        return Plan(chain, kept, alone)
    shares = chain.schedules_apart(brief, threads)
    if shares is None:
        return Plan(chain, {}, alone)
    own = [buffers_of(brief, blocks, chain) for blocks in shares]
    for buffer in (buffer for each in own for buffer in each):
        kept[buffer.name] = max(kept.get(buffer.name, 0), buffer.capacity)
    if any(threads * rows >= chain.images[name].height for name, rows in kept.items()):
        return Plan(chain, {}, alone)
    return Plan(chain, kept, alone, [with_moves(*each) for each in zip(shares, own, strict=True)])


def stored_images(plans: Sequence[Plan], images: Mapping[str, Image], threads: int) -> dict[str, Image]:
    """The line buffers, all threads' below one another, as images."""
    kept = {name: (threads if plan.apart else 1) * rows for plan in plans for name, rows in plan.kept.items()}
    return {name: images[name]._replace(height=rows, halo=(0, 0, *images[name].halo[2:]))
            for name, rows in kept.items()}

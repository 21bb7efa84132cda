"""Chains: groups of instructions that go through a large image together, some rows of each at a time.

Instruction by instruction, an image larger than the caches is written to main memory and read back each time. In a
chain each group does only the rows that the next one is about to read, so that these are still near: "depth first"
(Alwani et al., "Fused-layer CNN accelerators", MICRO 2016). The rows are the same, in the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from npunet.engine.plan.layout import Image
from npunet.engine.plan.lowering import Instruction
from npunet.engine.plan.opcodes import CONVOLUTIONS, POOLS, Op

ROW_BY_ROW = {Op.CONV, Op.SEPARABLE, Op.DEPTHWISE, *POOLS, Op.ADD, Op.CONCAT, Op.ACTIVATE, Op.SOFTMAX, Op.SPREAD}


class RowBlock(NamedTuple):
    """Rows first ... last-1 of what a group writes; `whole` where these are all, at once."""

    group: range
    first: int
    last: int
    whole: bool


class Chain:
    """Neighbouring groups.

    groups, steps, images : of the whole program, steps by number and images by tensor
    near    : elements of the rows of all images that a row block of each group touches
    names   : tensors that it reads or writes
    heights : rows of what each group writes, or of what it reads where it writes to the user
    aligns  : what the rows of each group can be cut at
    rows    : of the last group that are done at a time

    Nothing waits to be computed: what functools keeps is locked before Python 3.12, and a fork would leave it locked.
    """

    def __init__(self, groups: Sequence[range], steps: Sequence[Instruction], images: Mapping[str, Image],
                 near: int) -> None:
        self.groups, self.steps, self.images, self.near = tuple(groups), steps, images, near
        self.names = set().union(*(names_of(group, steps) for group in groups))
        self.heights = [images[steps[group.start].y or steps[group.start].x].height for group in groups]
        self.aligns = [max(max(steps[member].copies[0], steps[member].addend_copies[0]) for member in group)
                       for group in groups]
        elements = sum(images[name].row * images[name].height for name in self.names)
        self.rows = max(1, near * self.heights[-1] // elements)
        self.sources = self.find_sources()

    def find_sources(self) -> list[list[tuple[int, Instruction, str]]]:
        """For each group: which earlier one was the last to write a tensor that which of its steps names."""
        found: list[list[tuple[int, Instruction, str]]] = []
        writers: dict[str, int] = {}
        for number, group in enumerate(self.groups):
            found.append([(writers[name], self.steps[member], name) for member in group
                          for name in (self.steps[member].x, self.steps[member].addend, self.steps[member].y)
                          if name in writers])
            writers |= {self.steps[member].y: number for member in group}
        return found

    def pays(self, large: int) -> bool:
        """Whether line buffers pay: `large` images of more rows than one row block has."""
        return sum(self.images[name].size for name in self.names) >= large and self.heights[-1] > self.rows

    def schedule(self) -> list[RowBlock]:
        """The row blocks of one thread, in an order in which each finds what it reads."""
        if len(self.groups) == 1:
            return [RowBlock(self.groups[0], 0, self.heights[0], whole=True)]
        return self.schedule_between([0] * len(self.groups), self.heights)

    def schedules_apart(self, brief: set[str], threads: int) -> list[list[RowBlock]] | None:
        """The row blocks of each of several threads, none of which waits for another; None where one would have to.

        Each does a part of the image. Of `brief` tensors, of which it has its own, it does whatever rows it needs,
        some of them also done by its neighbour; other rows are done by one.
        """
        starts = [self.first_rows(self.heights[-1] * thread // threads) for thread in range(threads)]
        everyones = [any(self.steps[number].y not in brief for number in group) for group in self.groups]
        apart = []
        for first, ends in zip(starts, [*starts[1:], self.heights], strict=True):
            least = [end if is_everyones else start
                     for start, end, is_everyones in zip(first, ends, everyones, strict=True)]
            blocks = self.schedule_between(first, least)
            reached = {block.group: block.last for block in blocks}
            if not blocks or any(is_everyones and reached.get(group, end) > end for group, end, is_everyones
                                in zip(self.groups, ends, everyones, strict=True)):
                return None
            apart.append(blocks)
        return apart

    def schedule_between(self, first: Sequence[int], least: Sequence[int]) -> list[RowBlock]:
        """Row blocks from a first row of each group to `least`, or as far as a later group needs: the last group does
        some rows after others, and each group before it what these need."""
        done, blocks = list(first), []

        def reach(number: int, last: int) -> None:
            """Do rows up to `last` of a group, and before that what they need."""
            align = self.aligns[number]
            last = min(self.heights[number], -(-last // align) * align)
            if last <= done[number]:
                return
            for source, step, name in self.sources[number]:
                reach(source, min(self.heights[source], rows_touched(step, name, done[number], last)[1]))
            blocks.append(RowBlock(self.groups[number], done[number], last, whole=False))
            done[number] = last

        for last in range(first[-1] + self.rows, least[-1] + self.rows, self.rows):
            reach(len(self.groups) - 1, min(last, least[-1]))
        for number, last in enumerate(least):
            reach(number, last)
        return blocks

    def first_rows(self, row: int) -> list[int]:
        """The first row of each group that is needed for rows of the last group from one on."""
        first = [height * row // self.heights[-1] for height in self.heights]
        for number in reversed(range(len(self.groups))):
            align = self.aligns[number]
            first[number] = max(0, first[number]) // align * align
            for source, step, name in self.sources[number]:
                first[source] = min(first[source], rows_touched(step, name, first[number], first[number] + 1)[0])
        return first


def form_chains(groups: Sequence[range], steps: Sequence[Instruction], images: Mapping[str, Image],
                large: int, near: int) -> list[Chain]:
    """All groups as chains, most of them of one.

    A chain has one change of resolution at most and ends behind one to a lower: further changes would let its first
    group run far before the last.
    """
    chains: list[list[range]] = []
    changes, open_ended = 0, False
    for group in groups:
        members = [steps[number] for number in group]
        able = all(step.op in ROW_BY_ROW for step in members)
        change = any(step.op in POOLS or step.stride != (1, 1) or step.copies != (1, 1) for step in members)
        if open_ended and able and changes + change < 2:
            chains[-1].append(group)
            changes += change
        else:
            chains.append([group])
            changes = int(change)
        open_ended = able and members[-1].op not in POOLS
    formed = [Chain(chain, steps, images, near) for chain in chains]
    return [part for chain in formed for part in
            ([chain] if chain.pays(large) else [Chain((group,), steps, images, near) for group in chain.groups])]


def names_of(group: range, steps: Sequence[Instruction]) -> set[str]:
    """Tensors that a group reads or writes."""
    return {name for number in group for name in (steps[number].x, steps[number].y, steps[number].addend)} - {""}


def rows_touched(step: Instruction, name: str, first: int, last: int) -> tuple[int, int]:
    """The first row that a step touches of a tensor, and the one behind the last, for rows first ... last-1 of its
    output. Rows of padding count, so that they lie before 0 or behind the image."""
    if name != step.x:
        copies = step.addend_copies[0] if name == step.addend else 1
        return first // copies, -(-last // copies)
    above, stride = step.pads[0][0], step.stride[0]
    if step.op in POOLS:
        return first * stride - above, (last - 1) * stride - above + step.kernel[0]
    if step.copies != (1, 1):
        return first // step.copies[0], -(-last // step.copies[0])
    if step.op not in CONVOLUTIONS:
        return first, last
    reach = (max(1, step.kernel[0]) - 1) * step.dilation[0]
    return first * stride - above, (last - 1) * stride - above + reach + 1

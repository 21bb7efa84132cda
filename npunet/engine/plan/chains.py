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

    groups, instructions, images : of the whole program, instructions by number and images by tensor
    near    : elements of the rows of all images that a row block of each group touches
    names   : tensors that it reads or writes
    heights : rows of what each group writes, or of what it reads where it writes to the user
    aligns  : what the rows of each group can be cut at
    rows    : of the last group that are done at a time

    Nothing waits to be computed: what functools keeps is locked before Python 3.12, and a fork would leave it locked.
    """

    def __init__(self, groups: Sequence[range], instructions: Sequence[Instruction], images: Mapping[str, Image],
                 near: int) -> None:
        self.groups, self.instructions, self.images, self.near = tuple(groups), instructions, images, near
        self.names = set().union(*(names_of(group, instructions) for group in groups))
        self.heights = [images[instructions[group.start].y or instructions[group.start].x].height for group in groups]
        self.aligns = [max(max(instructions[member].copies[0], instructions[member].addend_copies[0])
                           for member in group) for group in groups]
        elements = sum(images[name].row * images[name].height for name in self.names)
        self.rows = max(1, near * self.heights[-1] // elements)
        self.sources = self.find_sources()

    def find_sources(self) -> list[list[tuple[int, Instruction, str]]]:
        """For each group: which earlier one was the last to write a tensor that which of its instructions names."""
        found: list[list[tuple[int, Instruction, str]]] = []
        writers: dict[str, int] = {}
        for number, group in enumerate(self.groups):
            members = [self.instructions[member] for member in group]
            found.append([(writers[name], each, name) for each in members for name in (each.x, each.addend, each.y)
                          if name in writers])
            writers |= {each.y: number for each in members}
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
        everyones = [any(self.instructions[number].y not in brief for number in group) for group in self.groups]
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
            for source, instruction, name in self.sources[number]:
                reach(source, min(self.heights[source], rows_touched(instruction, name, done[number], last)[1]))
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
            for source, instruction, name in self.sources[number]:
                first[source] = min(first[source], rows_touched(instruction, name, first[number], first[number] + 1)[0])
        return first


def form_chains(groups: Sequence[range], instructions: Sequence[Instruction], images: Mapping[str, Image],
                large: int, near: int) -> list[Chain]:
    """All groups as chains, most of them of one.

    A chain has one change of resolution at most and ends behind one to a lower: further changes would let its first
    group run far before the last.
    """
    chains: list[list[range]] = []
    changes, open_ended = 0, False
    for group in groups:
        members = [instructions[number] for number in group]
        able = all(each.op in ROW_BY_ROW for each in members)
        change = any(each.op in POOLS or each.stride != (1, 1) or each.copies != (1, 1) for each in members)
        if open_ended and able and changes + change < 2:
            chains[-1].append(group)
            changes += change
        else:
            chains.append([group])
            changes = int(change)
        open_ended = able and members[-1].op not in POOLS
    formed = [Chain(chain, instructions, images, near) for chain in chains]
    return [part for chain in formed for part in
            ([chain] if chain.pays(large) else [Chain((group,), instructions, images, near) for group in chain.groups])]


def names_of(group: range, instructions: Sequence[Instruction]) -> set[str]:
    """Tensors that a group reads or writes."""
    members = [instructions[number] for number in group]
    return {name for each in members for name in (each.x, each.y, each.addend)} - {""}


def rows_touched(instruction: Instruction, name: str, first: int, last: int) -> tuple[int, int]:
    """The first row that an instruction touches of a tensor, and the one behind the last, for rows first ... last-1 of
    its output. Rows of padding count, so that they lie before 0 or behind the image."""
    if name != instruction.x:
        copies = instruction.addend_copies[0] if name == instruction.addend else 1
        return first // copies, -(-last // copies)
    above, stride = instruction.pads[0][0], instruction.stride[0]
    if instruction.op in POOLS:
        return first * stride - above, (last - 1) * stride - above + instruction.kernel[0]
    if instruction.copies != (1, 1):
        return first // instruction.copies[0], -(-last // instruction.copies[0])
    if instruction.op not in CONVOLUTIONS:
        return first, last
    reach = (max(1, instruction.kernel[0]) - 1) * instruction.dilation[0]
    return first * stride - above, (last - 1) * stride - above + reach + 1

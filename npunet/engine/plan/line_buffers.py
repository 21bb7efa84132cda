"""Line buffers: of a tensor that lives within one chain, only the rows that still will be read are kept.

A buffer holds neighbouring rows, the first of which is its origin. When the next rows do not fit behind them, those
that are still to be read move to its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from npunet.engine.plan.chains import Chain, RowBlock, rows_touched

SPARE = 2  # times the rows that it needs at most, so that they need not move each time


class Move(NamedTuple):
    """So many rows of a tensor's buffer, from row `start` of it, to its start."""

    tensor: str
    start: int
    rows: int


class Placed(NamedTuple):
    """A row block, and the first row that each buffer it uses holds then; zeros above an image are rows from -1
    down."""

    block: RowBlock
    origins: Mapping[str, int]


class LineBuffer:
    """The rows of one tensor while the row blocks of its chain go by.

    capacity : rows that it needs to hold, `SPARE` times those that are still to be read at the fullest moment
    """

    def __init__(self, name: str, blocks: Sequence[RowBlock], chain: Chain) -> None:
        self.name, self.whole = name, chain.images[name]
        self.uses = [(group, each) for group in dict.fromkeys(block.group for block in blocks)
                     for each in (chain.instructions[number] for number in group)
                     if name in (each.x, each.y, each.addend)]
        self.users = {group for group, _ in self.uses}
        self.writers = {group for group, instruction in self.uses if instruction.y == name}
        self.starts = {block.group: block.first for block in reversed(blocks) if block.group in self.users}
        self.ends = {block.group: block.last for block in blocks if block.group in self.users}
        self.rewind()
        self.capacity = 0
        for block in blocks:
            if block.group in self.users:
                if block.group in self.writers:
                    self.capacity = max(self.capacity, SPARE * (self.end_after(block) - self.lowest()))
                self.advance(block)
        self.rewind()

    def rewind(self) -> None:
        self.next_rows = dict(self.starts)  # row of its output that each group does next
        first = self.starts[self.uses[0][0]]
        self.origin = self.end = first if first else -self.whole.halo[0]

    def make_room(self, block: RowBlock) -> Move | None:
        """Let a row block of one of its users go by; the move that it needs before it. `origin` is then the block's."""
        move = None
        if block.group in self.writers and self.end_after(block) - self.origin > self.capacity:
            lowest = self.lowest()
            move = Move(self.name, lowest - self.origin, self.end - lowest)
            self.origin = lowest
        self.advance(block)
        return move

    def advance(self, block: RowBlock) -> None:
        if block.group in self.writers:
            self.end = max(self.end, self.end_after(block))
        self.next_rows[block.group] = block.last

    def end_after(self, block: RowBlock) -> int:
        """The row behind the last that is there when a row block has written its own; zeros below the image are."""
        return block.last + (self.whole.halo[1] if block.last == self.whole.height else 0)

    def lowest(self) -> int:
        """The first row that any group will still touch."""
        next_rows, writer = self.next_rows, self.uses[0][0]
        if next_rows[writer] == self.starts[writer]:
            return self.origin
        return min((rows_touched(instruction, self.name, next_rows[group], next_rows[group] + 1)[0]
                    for group, instruction in self.uses if next_rows[group] < self.ends[group]), default=self.end)


def buffers_of(names: set[str], blocks: Sequence[RowBlock], chain: Chain) -> list[LineBuffer]:
    """The line buffers of some tensors of a chain; none where it does all rows at once."""
    if len(chain.groups) == 1:
        return []
    return [LineBuffer(name, blocks, chain) for name in sorted(names & chain.names)]


def with_moves(blocks: Sequence[RowBlock], buffers: Sequence[LineBuffer]) -> list[Placed | Move]:
    """Row blocks, and the moves between them."""
    users: dict[range, list[LineBuffer]] = {block.group: [] for block in blocks}
    for buffer in buffers:
        for group in buffer.users:
            users[group].append(buffer)
    placed: list[Placed | Move] = []
    for block in blocks:
        placed += [move for buffer in users[block.group] if (move := buffer.make_room(block))]
        placed.append(Placed(block, {buffer.name: buffer.origin for buffer in users[block.group]}))
    return placed

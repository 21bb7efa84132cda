"""Line buffers: of a tensor that lives within one chain, only the rows that still will be read are kept.

A buffer holds neighbouring rows, the first of which is its origin. When the next rows do not fit behind them, those
that are still to be read move to its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from npunet.engine.chains import Chain, Turn, names_of, rows_touched

SPARE = 2  # times the rows that it needs at most, so that they need not move each time


@dataclass(frozen=True)
class Move:
    """So many rows of a tensor's buffer, from row `start` of it, to its start."""

    tensor: str
    start: int
    rows: int


@dataclass(frozen=True)
class Placed:
    """A turn, and the first row that each buffer holds during it; rows of zeros above an image count from -1 down."""

    turn: Turn
    origins: Mapping[str, int]


class LineBuffer:
    """The rows of one tensor while the turns of its chain go by.

    capacity : rows that it needs to hold, `SPARE` times those that are still to be read at the fullest moment
    """

    def __init__(self, name: str, turns: Sequence[Turn], chain: Chain) -> None:
        self.name, self.whole = name, chain.images[name]
        self.users = {turn.group: [chain.steps[number] for number in turn.group] for turn in turns
                      if name in names_of(turn.group, chain.steps)}
        self.starts = {turn.group: turn.first for turn in reversed(turns) if turn.group in self.users}
        self.ends = {turn.group: turn.last for turn in turns if turn.group in self.users}
        self.writer = next(iter(self.users))
        self.rewind()
        self.capacity = 0
        for turn in turns:
            if self.written_by(turn):
                self.capacity = max(self.capacity, SPARE * (self.end_after(turn) - self.lowest()))
            self.advance(turn)
        self.rewind()

    def rewind(self) -> None:
        self.following = dict(self.starts)  # row of its output that each group does next
        first = self.starts[self.writer]
        self.origin = self.end = first if first else -self.whole.halo[0]

    def make_room(self, turn: Turn) -> Move | None:
        """Let a turn go by; the move that it needs before it. `origin` is then the turn's."""
        move = None
        if self.written_by(turn) and self.end_after(turn) - self.origin > self.capacity:
            lowest = self.lowest()
            move = Move(self.name, lowest - self.origin, self.end - lowest)
            self.origin = lowest
        self.advance(turn)
        return move

    def advance(self, turn: Turn) -> None:
        if self.written_by(turn):
            self.end = max(self.end, self.end_after(turn))
        if turn.group in self.following:
            self.following[turn.group] = turn.last

    def written_by(self, turn: Turn) -> bool:
        return any(step.y == self.name for step in self.users.get(turn.group, ()))

    def end_after(self, turn: Turn) -> int:
        """The row behind the last that is there when a turn has written its own; zeros below the image are."""
        return turn.last + (self.whole.halo[1] if turn.last == self.whole.height else 0)

    def lowest(self) -> int:
        """The first row that any group will still touch."""
        if self.following[self.writer] == self.starts[self.writer]:
            return self.origin
        return min((rows_touched(step, self.name, row, row + 1)[0] for group, row in self.following.items()
                    if row < self.ends[group] for step in self.users[group]
                    if self.name in (step.x, step.y, step.addend)), default=self.end)


def buffers_of(names: set[str], turns: Sequence[Turn], chain: Chain) -> list[LineBuffer]:
    """The line buffers of some tensors of a chain; none where it does all rows at once."""
    if len(chain.groups) == 1:
        return []
    return [LineBuffer(name, turns, chain) for name in sorted(names & chain.names)]


def with_moves(turns: Sequence[Turn], buffers: Sequence[LineBuffer]) -> list[Placed | Move]:
    """Turns, and the moves between them."""
    placed: list[Placed | Move] = []
    for turn in turns:
        placed += [move for buffer in buffers if (move := buffer.make_room(turn))]
        placed.append(Placed(turn, {buffer.name: buffer.origin for buffer in buffers}))
    return placed

"""Line buffers: of a tensor that lives within one chain, only the rows that still will be read are kept.

A buffer holds neighbouring rows, the first of which is its origin. When the next rows do not fit behind them, those
that are still to be read move to its start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from npunet.engine.plan.chains import Chain, Turn, rows_touched

SPARE = 2  # times the rows that it needs at most, so that they need not move each time


@dataclass(frozen=True)
class Move:
    """So many rows of a tensor's buffer, from row `start` of it, to its start."""

    tensor: str
    start: int
    rows: int


@dataclass(frozen=True)
class Placed:
    """A turn, and the first row that each buffer it uses holds then; zeros above an image are rows from -1 down."""

    turn: Turn
    origins: Mapping[str, int]


class LineBuffer:
    """The rows of one tensor while the turns of its chain go by.

    capacity : rows that it needs to hold, `SPARE` times those that are still to be read at the fullest moment
    """

    def __init__(self, name: str, turns: Sequence[Turn], chain: Chain) -> None:
        self.name, self.whole = name, chain.images[name]
        self.uses = [(group, step) for group in dict.fromkeys(turn.group for turn in turns)
                     for step in (chain.steps[number] for number in group) if name in (step.x, step.y, step.addend)]
        self.users = {group for group, _ in self.uses}
        self.writers = {group for group, step in self.uses if step.y == name}
        self.starts = {turn.group: turn.first for turn in reversed(turns) if turn.group in self.users}
        self.ends = {turn.group: turn.last for turn in turns if turn.group in self.users}
        self.rewind()
        self.capacity = 0
        for turn in turns:
            if turn.group in self.users:
                if turn.group in self.writers:
                    self.capacity = max(self.capacity, SPARE * (self.end_after(turn) - self.lowest()))
                self.advance(turn)
        self.rewind()

    def rewind(self) -> None:
        self.following = dict(self.starts)  # row of its output that each group does next
        first = self.starts[self.uses[0][0]]
        self.origin = self.end = first if first else -self.whole.halo[0]

    def make_room(self, turn: Turn) -> Move | None:
        """Let a turn of one of its users go by; the move that it needs before it. `origin` is then the turn's."""
        move = None
        if turn.group in self.writers and self.end_after(turn) - self.origin > self.capacity:
            lowest = self.lowest()
            move = Move(self.name, lowest - self.origin, self.end - lowest)
            self.origin = lowest
        self.advance(turn)
        return move

    def advance(self, turn: Turn) -> None:
        if turn.group in self.writers:
            self.end = max(self.end, self.end_after(turn))
        self.following[turn.group] = turn.last

    def end_after(self, turn: Turn) -> int:
        """The row behind the last that is there when a turn has written its own; zeros below the image are."""
        return turn.last + (self.whole.halo[1] if turn.last == self.whole.height else 0)

    def lowest(self) -> int:
        """The first row that any group will still touch."""
        following, writer = self.following, self.uses[0][0]
        if following[writer] == self.starts[writer]:
            return self.origin
        return min((rows_touched(step, self.name, following[group], following[group] + 1)[0]
                    for group, step in self.uses if following[group] < self.ends[group]), default=self.end)


def buffers_of(names: set[str], turns: Sequence[Turn], chain: Chain) -> list[LineBuffer]:
    """The line buffers of some tensors of a chain; none where it does all rows at once."""
    if len(chain.groups) == 1:
        return []
    return [LineBuffer(name, turns, chain) for name in sorted(names & chain.names)]


def with_moves(turns: Sequence[Turn], buffers: Sequence[LineBuffer]) -> list[Placed | Move]:
    """Turns, and the moves between them."""
    users: dict[range, list[LineBuffer]] = {turn.group: [] for turn in turns}
    for buffer in buffers:
        for group in buffer.users:
            users[group].append(buffer)
    placed: list[Placed | Move] = []
    for turn in turns:
        placed += [move for buffer in users[turn.group] if (move := buffer.make_room(turn))]
        placed.append(Placed(turn, {buffer.name: buffer.origin for buffer in users[turn.group]}))
    return placed

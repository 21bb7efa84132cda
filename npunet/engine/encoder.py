"""The rows of a program's table that stand for one turn of a group, or for a move within a line buffer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from npunet.arena import Arena
from npunet.engine.chains import rows_touched
from npunet.engine.layout import Image
from npunet.engine.line_buffers import Move, Placed
from npunet.engine.lowering import Step
from npunet.engine.opcodes import FIELDS, Alone, Field, Op
from npunet.engine.schedule import Plan


@dataclass(frozen=True)
class Encoder:
    """whole : each of `steps` for all its rows, in a table"""

    whole: np.ndarray
    steps: Sequence[Step]
    images: Mapping[str, Image]
    arena: Arena

    def of_thread(self, plan: Plan, thread: int) -> np.ndarray:
        """A plan as one of several threads carries it out."""
        if plan.apart is None:
            return np.concatenate([self.whole[group.start : group.stop] for group in plan.chain.groups])
        below = {name: thread * rows for name, rows in plan.kept.items()}
        rows = np.concatenate([self.rows(item, below) for item in plan.apart[thread]])
        heads = np.flatnonzero(rows[:, Field.GROUP])
        rows[heads, Field.ALONE], rows[heads[-1], Field.ALONE] = Alone.GO_ON, Alone.WAIT
        return rows

    def rows(self, item: Placed | Move, below: Mapping[str, int] | None = None) -> np.ndarray:
        """below : rows of a line buffer's memory that are other threads'"""
        return self.move(item, below or {}) if isinstance(item, Move) else self.turn(item, below or {})

    def turn(self, placed: Placed, below: Mapping[str, int]) -> np.ndarray:
        """A group's instructions for the rows of one turn."""
        turn = placed.turn
        rows = self.whole[turn.group.start : turn.group.stop].copy()
        if turn.whole:
            return rows

        def down(name: str, row: int) -> int:
            """Rows of memory between the one that an instruction for all rows begins at and this one."""
            if name not in placed.origins:
                return row
            return row - placed.origins[name] + below.get(name, 0) - self.images[name].halo[0]

        for p, number in zip(rows, turn.group, strict=True):
            step = self.steps[number]
            first = turn.first // step.copies[0]
            if step.op == Op.MAX_POOL:  # which looks where the image begins and ends
                above, _ = rows_touched(step, step.x, turn.first, turn.last)
                p[Field.PAD_TOP], first = max(0, -above), max(0, above)
                p[Field.X_HEIGHT] -= first
            p[Field.X] += down(step.x, first) * p[Field.X_ROW]
            p[Field.Y] += down(step.y, turn.first) * p[Field.Y_ROW]
            p[Field.ADDEND] += down(step.addend, turn.first) * p[Field.ADDEND_ROW]
            p[Field.HEIGHT] = turn.last - turn.first
            p[Field.TOP] *= turn.first == 0
            p[Field.BOTTOM] *= turn.last == self.images[step.y].height
        return rows

    def move(self, move: Move, below: Mapping[str, int]) -> np.ndarray:
        """Whole rows, padding and what lies beside them included."""
        row = self.images[move.tensor].row
        start = self.arena.offsets[move.tensor] + below.get(move.tensor, 0) * row
        fields = {Field.OP: Op.MOVE, Field.X: start + move.start * row, Field.X_ROW: row, Field.Y: start,
                  Field.Y_ROW: row, Field.HEIGHT: move.rows, Field.WIDTH: row, Field.GROUP: 1}
        rows = np.zeros((1, FIELDS), np.int64)
        rows[0, list(fields)] = list(fields.values())
        return rows

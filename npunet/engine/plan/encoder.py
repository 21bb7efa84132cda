"""A program's table from the row blocks of its groups and the moves within line buffers: each a row or more of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from npunet.arena import Arena
from npunet.engine.plan.chains import rows_touched
from npunet.engine.plan.layout import Image
from npunet.engine.plan.line_buffers import Move, Placed
from npunet.engine.plan.lowering import Instruction
from npunet.engine.plan.opcodes import POOLS, Alone, Field, Op
from npunet.engine.plan.schedule import ChainSchedule


class Row(NamedTuple):
    """A row of the table: what it is made from, and in what it differs.

    x, y, addend : rows that it begins further down;  height : rows that it does
    top, bottom  : whether what lies above and below the image is its to fill
    pad_top, cut : padding above, and rows that the input lacks, of a pooling
    """

    template: int
    x: int
    y: int
    addend: int
    height: int
    top: bool
    bottom: bool
    pad_top: int
    cut: int


class Encoder:
    """whole : each of `instructions` for all its rows, in a table"""

    def __init__(self, whole: np.ndarray, instructions: Sequence[Instruction], images: Mapping[str, Image],
                 arena: Arena) -> None:
        self.whole, self.instructions, self.images, self.arena = whole, instructions, images, arena
        self.moves = {name: len(whole) + number for number, name in enumerate(images)}
        self.heights = whole[:, Field.HEIGHT].tolist()
        self.pads = whole[:, Field.PAD_TOP].tolist()
        self.templates = self.make_templates()

    def of_thread(self, schedule: ChainSchedule, thread: int) -> np.ndarray:
        """A schedule as one of several threads carries it out."""
        if schedule.apart is None:
            return np.concatenate([self.whole[group.start : group.stop] for group in schedule.chain.groups])
        table = self.table(schedule.apart[thread], {name: thread * rows for name, rows in schedule.kept.items()})
        heads = np.flatnonzero(table[:, Field.GROUP])
        table[heads, Field.ALONE], table[heads[-1], Field.ALONE] = Alone.GO_ON, Alone.WAIT
        return table

    def table(self, items: Iterable[Placed | Move], below: Mapping[str, int]) -> np.ndarray:
        """Row blocks and moves as rows. below : rows of a line buffer's memory that are other threads'"""
        rows = [row for item in items for row in
                (self.of_move(item, below) if isinstance(item, Move) else self.of_block(item, below))]
        made = Row(*np.array(rows, np.int64).T)
        table = self.templates[made.template]
        for start, pitch, down in ((Field.X, Field.X_ROW, made.x), (Field.Y, Field.Y_ROW, made.y),
                                   (Field.ADDEND, Field.ADDEND_ROW, made.addend)):
            table[:, start] += down * table[:, pitch]
        table[:, Field.HEIGHT], table[:, Field.PAD_TOP] = made.height, made.pad_top
        table[:, Field.TOP] *= made.top
        table[:, Field.BOTTOM] *= made.bottom
        table[:, Field.X_HEIGHT] -= made.cut
        return table

    def make_templates(self) -> np.ndarray:
        """What rows are made from: instructions for all their rows, then a move of no rows within each tensor."""
        moves = np.zeros((len(self.moves), self.whole.shape[1]), np.int64)
        for row, name in zip(moves, self.moves, strict=True):
            start, pitch = self.arena.offsets[name], self.images[name].row  # all of a row, and what lies beside it
            for field, value in ((Field.OP, Op.MOVE), (Field.GROUP, 1), (Field.X, start), (Field.Y, start),
                                 (Field.X_ROW, pitch), (Field.Y_ROW, pitch), (Field.WIDTH, pitch)):
                row[field] = value
        return np.concatenate([self.whole, moves])

    def of_block(self, placed: Placed, below: Mapping[str, int]) -> Iterator[Row]:
        """A group's instructions for one row block."""
        block = placed.block
        if block.whole:
            for number in block.group:
                yield Row(number, 0, 0, 0, self.heights[number], True, True, self.pads[number], 0)
            return

        def down(name: str, row: int) -> int:
            """Rows of memory between the one that an instruction for all rows begins at and this one."""
            if name not in placed.origins:
                return row
            return row - placed.origins[name] + below.get(name, 0) - self.images[name].halo[0]

        for number in block.group:
            instruction = self.instructions[number]
            first, pad_top, cut = block.first * instruction.stride[0] // instruction.copies[0], self.pads[number], 0
            if instruction.op in POOLS:  # which looks where the image begins and ends
                above, _ = rows_touched(instruction, instruction.x, block.first, block.last)
                first = cut = max(0, above)
                pad_top = max(0, -above)
            yield Row(number, down(instruction.x, first), down(instruction.y, block.first),
                      down(instruction.addend, block.first // instruction.addend_copies[0]),
                      block.last - block.first, block.first == 0,
                      block.last == self.images[instruction.y].height, pad_top,
                      cut)

    def of_move(self, move: Move, below: Mapping[str, int]) -> Iterator[Row]:
        """One within a line buffer."""
        others = below.get(move.tensor, 0)
        yield Row(self.moves[move.tensor], others + move.start, others, 0, move.rows, False, False, 0, 0)

"""What images of floats and of integers share in the arena: zeros around them, and rows that move in line buffers."""

from __future__ import annotations

from npunet.engine.codegen.jit import jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.plan.opcodes import Field


def make_clear_halo(fill_zero, size: int):
    """clear_halo for elements of `size` bytes; fill_zero(at, count) zeroes neighbouring ones."""

    @jit
    def clear_halo(p, arena):
        """Zero what lies around the output image."""
        stand_alone()
        top, bottom, left, right = p[Field.TOP], p[Field.BOTTOM], p[Field.LEFT], p[Field.RIGHT]
        if top + bottom + left + right == 0:
            return
        height, width, y_col = p[Field.HEIGHT], p[Field.WIDTH], p[Field.Y_COL]
        for i in range(-top, height + bottom):
            row = arena + size * (p[Field.Y] + i * p[Field.Y_ROW])
            if i < 0 or i >= height:
                fill_zero(row - size * left * y_col, (left + width + right) * y_col)
            else:
                fill_zero(row - size * left * y_col, left * y_col)
                fill_zero(row + size * width * y_col, right * y_col)

    return clear_halo


def make_move(copy_values, size: int):
    """move for elements of `size` bytes; copy_values(x, y, count) copies neighbouring ones, in ascending order."""

    @jit
    def move(p, arena, first, last):
        """Rows of WIDTH elements to a lower address, in ascending order: they may overlap."""
        stand_alone()
        for i in range(first, last):
            copy_values(arena + size * (p[Field.X] + i * p[Field.X_ROW]),
                        arena + size * (p[Field.Y] + i * p[Field.Y_ROW]), p[Field.WIDTH])

    return move

"""How much of a row convolutions do at a time, and the scratch memory that they need for it."""

from __future__ import annotations

from collections.abc import Mapping
from math import lcm

from npunet.engine.plan.layout import FEW_FILTERS_VECTORS, Image, has_few_filters, vectors
from npunet.engine.plan.lowering import Instruction
from npunet.engine.plan.opcodes import Op
from npunet.engine.plan.winograd_blocking import CACHE_ELEMENTS, block_scratch
from npunet.engine.target import FIRST_CACHE, LANES, LINE_FLOATS

TILE_POSITIONS = 12  # a multiple of the positions of every tile's shape
FEW_FILTERS_LEAST = (8, 4, 3, 3, 2, 2)  # of vectors in the smallest tile, as FEW_FILTERS_VECTORS in the largest
TRANSPOSED_ELEMENTS = FIRST_CACHE * 3 // 4 // 4  # that a convolution with few filters transposes at a time


def cache_block_of(group: list[Instruction], images: Mapping[str, Image]) -> int:
    """Positions of a row that a group of convolutions does at a time.

    Few enough for what the group reads and writes of them to stay in the second-level cache, whole tiles, and a row
    cut evenly. A dense convolution alone takes whole rows: it reads few bytes for what it multiplies.
    """
    width = images[group[0].y].width
    if has_few_filters(group[0]):
        return few_filters_block(group[0], images)
    blocked = [step for step in group if step.op != Op.WINOGRAD]  # which comes before the others, in row blocks
    if not blocked or (len(group) == 1 and group[0].op == Op.CONV):
        return width
    elements = 0  # for each position
    for step in blocked:
        rows = step.kernel[0] + (step.op == Op.SEPARABLE)
        elements += rows * images[step.x].col + images[step.y].col
    unit = lcm(TILE_POSITIONS, *(step.copies[1] for step in group))
    blocks = -(-width // (max(1, CACHE_ELEMENTS // (elements * unit)) * unit))
    return -(-width // (blocks * unit)) * unit


def few_filters_block(step: Instruction, images: Mapping[str, Image]) -> int:
    """Positions of a row that a convolution with few filters transposes at a time: whole tiles, few enough for what it
    transposes to stay in the first-level cache."""
    tile, width = LANES * FEW_FILTERS_VECTORS[step.dense.shape[3] - 1], images[step.y].width
    few = TRANSPOSED_ELEMENTS // (few_filters_rows(step) * images[step.x].col)
    return min(width, max(1, few // tile) * tile)


def few_filters_rows(step: Instruction) -> int:
    """Rows that the taps of a convolution with few filters reach."""
    return (step.kernel[0] - 1) * step.dilation[0] + 1


def transposed_pitch(filters: int, positions: int, reach: int) -> int:
    """Elements of a transposed row of so many positions, with what the taps reach, themselves included, and what the
    last tile reads beyond it."""
    reached = (-(-positions // LANES) + FEW_FILTERS_LEAST[filters - 1]) * LANES + reach - 1
    return -(-reached // LINE_FLOATS) * LINE_FLOATS


def few_filters_scratch(pitch: int, rows: int, col: int) -> int:
    """Elements of a convolution with few filters's scratch: so many transposed rows, and a tile of the output."""
    return pitch * rows * col + LANES * LANES * FEW_FILTERS_VECTORS[0]


def pitch_of(step: Instruction, block: int) -> int:
    """Elements of a transposed row of a block of a convolution with few filters."""
    return transposed_pitch(step.dense.shape[3], block, (step.kernel[1] - 1) * step.dilation[1] + 1)


def needs_scratch(step: Instruction) -> bool:
    return step.op in (Op.SEPARABLE, Op.WINOGRAD) or has_few_filters(step)


def scratch_size(step: Instruction, block: int, images: Mapping[str, Image]) -> int:
    """Elements of one thread's scratch for blocks of that size."""
    if has_few_filters(step):
        return few_filters_scratch(pitch_of(step, block), few_filters_rows(step), images[step.x].col)
    if step.op == Op.WINOGRAD:
        return block_scratch(images[step.x].col)
    return vectors(min(block, images[step.y].width) * images[step.x].col) * LANES

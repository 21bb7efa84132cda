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
    blocked = [each for each in group if each.op != Op.WINOGRAD]  # which comes before the others, in row blocks
    if not blocked or (len(group) == 1 and group[0].op == Op.CONV):
        return width
    elements = 0  # for each position
    for instruction in blocked:
        rows = instruction.kernel[0] + (instruction.op == Op.SEPARABLE)
        elements += rows * images[instruction.x].col + images[instruction.y].col
    unit = lcm(TILE_POSITIONS, *(each.copies[1] for each in group))
    blocks = -(-width // (max(1, CACHE_ELEMENTS // (elements * unit)) * unit))
    return -(-width // (blocks * unit)) * unit


def few_filters_block(instruction: Instruction, images: Mapping[str, Image]) -> int:
    """Positions of a row that a convolution with few filters transposes at a time: whole tiles, few enough for what it
    transposes to stay in the first-level cache."""
    tile, width = LANES * FEW_FILTERS_VECTORS[instruction.dense.shape[3] - 1], images[instruction.y].width
    few = TRANSPOSED_ELEMENTS // (few_filters_rows(instruction) * images[instruction.x].col)
    return min(width, max(1, few // tile) * tile)


def few_filters_rows(instruction: Instruction) -> int:
    """Rows that the taps of a convolution with few filters reach."""
    return (instruction.kernel[0] - 1) * instruction.dilation[0] + 1


def transposed_pitch(filters: int, positions: int, reach: int) -> int:
    """Elements of a transposed row of so many positions, with what the taps reach, themselves included, and what the
    last tile reads beyond it."""
    reached = (-(-positions // LANES) + FEW_FILTERS_LEAST[filters - 1]) * LANES + reach - 1
    return -(-reached // LINE_FLOATS) * LINE_FLOATS


def few_filters_scratch(pitch: int, rows: int, col: int) -> int:
    """Elements of a convolution with few filters's scratch: so many transposed rows, and a tile of the output."""
    return pitch * rows * col + LANES * LANES * FEW_FILTERS_VECTORS[0]


def pitch_of(instruction: Instruction, block: int) -> int:
    """Elements of a transposed row of a block of a convolution with few filters."""
    reach = (instruction.kernel[1] - 1) * instruction.dilation[1] + 1
    return transposed_pitch(instruction.dense.shape[3], block, reach)


def needs_scratch(instruction: Instruction) -> bool:
    return instruction.op in (Op.SEPARABLE, Op.WINOGRAD) or has_few_filters(instruction)


def scratch_size(instruction: Instruction, block: int, images: Mapping[str, Image]) -> int:
    """Elements of one thread's scratch for blocks of that size."""
    if has_few_filters(instruction):
        rows = few_filters_rows(instruction)
        return few_filters_scratch(pitch_of(instruction, block), rows, images[instruction.x].col)
    if instruction.op == Op.WINOGRAD:
        return block_scratch(images[instruction.x].col)
    return vectors(min(block, images[instruction.y].width) * images[instruction.x].col) * LANES

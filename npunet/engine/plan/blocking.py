"""How much of a row convolutions do at a time, and the scratch memory that they need for it."""

from __future__ import annotations

from collections.abc import Mapping
from math import lcm

from npunet.engine.plan.layout import NARROW_VECTORS, Image, is_narrow, vectors
from npunet.engine.plan.lowering import Step
from npunet.engine.plan.opcodes import Op
from npunet.engine.plan.winograd_blocking import CACHE_ELEMENTS, strip_scratch
from npunet.engine.target import FIRST_CACHE, LANES, LINE_FLOATS

TILE_POSITIONS = 12  # a multiple of the positions of every tile's shape
NARROW_LEAST = (8, 4, 3, 3, 2, 2)  # of vectors in the smallest tile, as NARROW_VECTORS in the largest
NARROW_ELEMENTS = FIRST_CACHE * 3 // 4 // 4  # that a narrow convolution transposes at a time


def piece_of(group: list[Step], images: Mapping[str, Image]) -> int:
    """Positions of a row that a group of convolutions does at a time.

    Few enough for what the group reads and writes of them to stay in the second-level cache, whole tiles, and a row
    cut evenly. A dense convolution alone takes whole rows: it reads few bytes for what it multiplies.
    """
    width = images[group[0].y].width
    if is_narrow(group[0]):
        return narrow_piece(group[0], images)
    pieced = [step for step in group if step.op != Op.WINOGRAD]  # which comes before the others, in bands
    if not pieced or (len(group) == 1 and group[0].op == Op.CONV):
        return width
    elements = 0  # for each position
    for step in pieced:
        rows = step.kernel[0] + (step.op == Op.SEPARABLE)
        elements += rows * images[step.x].col + images[step.y].col
    unit = lcm(TILE_POSITIONS, *(step.copies[1] for step in group))
    pieces = -(-width // (max(1, CACHE_ELEMENTS // (elements * unit)) * unit))
    return -(-width // (pieces * unit)) * unit


def narrow_piece(step: Step, images: Mapping[str, Image]) -> int:
    """Positions of a row that a narrow convolution transposes at a time: whole tiles, few enough for what it transposes
    to stay in the first-level cache."""
    tile, width = LANES * NARROW_VECTORS[step.weights.shape[3] - 1], images[step.y].width
    few = NARROW_ELEMENTS // (narrow_rows(step) * images[step.x].col)
    return min(width, max(1, few // tile) * tile)


def narrow_rows(step: Step) -> int:
    """Rows that the taps of a narrow convolution reach."""
    return (step.kernel[0] - 1) * step.dilation[0] + 1


def narrow_pitch(filters: int, positions: int, reach: int) -> int:
    """Elements of a transposed row of so many positions, with what the taps reach, themselves included, and what the
    last tile reads beyond it."""
    reached = (-(-positions // LANES) + NARROW_LEAST[filters - 1]) * LANES + reach - 1
    return -(-reached // LINE_FLOATS) * LINE_FLOATS


def narrow_scratch(pitch: int, rows: int, col: int) -> int:
    """Elements of a narrow convolution's scratch: so many transposed rows, and a tile of the output."""
    return pitch * rows * col + LANES * LANES * NARROW_VECTORS[0]


def pitch_of(step: Step, piece: int) -> int:
    """Elements of a transposed row of a piece of a narrow convolution."""
    return narrow_pitch(step.weights.shape[3], piece, (step.kernel[1] - 1) * step.dilation[1] + 1)


def needs_scratch(step: Step) -> bool:
    return step.op in (Op.SEPARABLE, Op.WINOGRAD) or is_narrow(step)


def scratch_size(step: Step, piece: int, images: Mapping[str, Image]) -> int:
    """Elements of one thread's scratch for pieces of that size."""
    if is_narrow(step):
        return narrow_scratch(pitch_of(step, piece), narrow_rows(step), images[step.x].col)
    if step.op == Op.WINOGRAD:
        return strip_scratch(images[step.x].col)
    return vectors(min(piece, images[step.y].width) * images[step.x].col) * LANES

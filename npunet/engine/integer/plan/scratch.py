"""How many positions of a row integer convolutions do at a time, and the scratch that their sums need."""

from __future__ import annotations

from collections.abc import Mapping

from npunet.engine.integer.plan.lowering import BLOCK_UNIT, IntegerInstruction
from npunet.engine.plan.layout import Image, vectors
from npunet.engine.plan.opcodes import CONVOLUTIONS, Flag, Op
from npunet.engine.target import FIRST_CACHE, LANES

SUM_WORDS = LANES  # int32 of a vector's sums
PLANE_ROOM = 8  # positions that the last tile may go beyond a cache block
UNIT = BLOCK_UNIT  # also a multiple of the positions of every tile
MOST = 192
SUM_BYTES = FIRST_CACHE // 2
TILE, PATCH = 2, 4  # outputs and inputs of one of Winograd's tiles, along an axis
MATRICES = PATCH * PATCH
TILES, TILES_OF_MANY = 24, 48  # of a cache block: more where many channels make kernels that leave the cache
MANY = 128


def block_of(step: IntegerInstruction, images: Mapping[str, Image]) -> int:
    """Positions whose sums take half of the first-level cache, in whole tiles, and a row cut evenly."""
    width = images[step.y].width
    if step.winograd:
        most = TILES if images[step.x].channels < MANY else TILES_OF_MANY
        blocks = -(-width // (TILE * most))
        return TILE * -(-width // (TILE * blocks))
    fitting = SUM_BYTES // (4 * SUM_WORDS * most_vectors(step, images))
    most = min(MOST, max(UNIT, fitting // UNIT * UNIT))
    blocks = -(-width // most)
    return -(-width // (blocks * UNIT)) * UNIT


def most_vectors(step: IntegerInstruction, images: Mapping[str, Image]) -> int:
    """Of what a convolution sums at a time."""
    between = vectors(images[step.x].channels) if step.op != Op.CONV else 0
    return max(filter_vectors(step, images), between)


def filter_vectors(step: IntegerInstruction, images: Mapping[str, Image]) -> int:
    """Vectors of filters: of what it leaves as sums, half of what the image has as int16."""
    return vectors(images[step.y].channels) // (2 if step.flags & Flag.SUMS else 1)


def scratch_size(step: IntegerInstruction, block: int, images: Mapping[str, Image]) -> int:
    """int16 of one thread's scratch: planes of sums, then the depthwise half of a SEPARABLE."""
    if step.op not in CONVOLUTIONS:
        return 0
    if step.winograd:
        x, y = images[step.x], images[step.y]
        room = block // TILE + PLANE_ROOM
        rows = 2 * TILE * SUM_WORDS * (block + PLANE_ROOM) * vectors(y.channels)
        return rows + MATRICES * room * (x.col + 2 * SUM_WORDS * 3)
    sums = 2 * SUM_WORDS * (block + PLANE_ROOM) * (1 + step.wide) * most_vectors(step, images)
    between = (block + PLANE_ROOM) * LANES * vectors(images[step.x].channels) if step.op == Op.SEPARABLE else 0
    return -(-(sums + between) // 32) * 32

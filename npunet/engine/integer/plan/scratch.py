"""How many positions of a row integer convolutions do at a time, and the scratch that their sums need."""

from __future__ import annotations

from collections.abc import Mapping

from npunet.engine.integer.plan.lowering import BLOCK_UNIT, IntegerInstruction
from npunet.engine.plan.layout import Image, vectors
from npunet.engine.plan.opcodes import CONVOLUTIONS, Flag, Op
from npunet.engine.target import CACHE_LINE, FIRST_CACHE, LANES

SUM_WORDS = LANES  # int32 of a vector's sums
PLANE_ROOM = 8  # positions that the last tile may go beyond a cache block
UNIT = BLOCK_UNIT  # also a multiple of the positions of every tile
MOST = 192
SUM_BYTES = FIRST_CACHE // 2
TILE, PATCH = 2, 4  # outputs and inputs of one of Winograd's tiles, along an axis
MATRICES = PATCH * PATCH
TILES, TILES_OF_MANY = 24, 48  # of a cache block: more where many channels make kernels that leave the cache
MANY = 128
BYTES_AT_ONCE = 32  # values that become bytes
BYTE_ROWS, BYTE_ROOM = 8, FIRST_CACHE // 2  # rows of an output that its input is packed for at a time, and bytes


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
    packed = packed_rows(step, byte_rows(step, block, images)) * byte_pitch(step, block, images) if step.bytes else 0
    return -(-(sums + between + packed // 2) // 32) * 32


def byte_span(step: IntegerInstruction, images: Mapping[str, Image]) -> int:
    """Elements of a row from a position's first tap to behind its last, of what a convolution of bytes reads."""
    if step.op == Op.SEPARABLE:
        return LANES * vectors(images[step.x].channels)
    return ((step.kernel[1] - 1) * step.dilation[1] + 1) * images[step.x].col


def byte_pitch(step: IntegerInstruction, block: int, images: Mapping[str, Image]) -> int:
    """Bytes of a packed row, with what the last tile and the last word go beyond it."""
    span = byte_span(step, images)
    between = span if step.op == Op.SEPARABLE else step.stride[1] * images[step.x].col
    return -(-((block + PLANE_ROOM - 1) * between + span + BYTES_AT_ONCE) // CACHE_LINE) * CACHE_LINE


def packed_rows(step: IntegerInstruction, rows: int) -> int:
    """Rows of the input that so many rows of the output read."""
    if step.op == Op.SEPARABLE:
        return 1
    return (rows - 1) * step.stride[0] + (step.kernel[0] - 1) * step.dilation[0] + 1


def byte_rows(step: IntegerInstruction, block: int, images: Mapping[str, Image]) -> int:
    """Rows of the output that a convolution of bytes packs its input for: what half a first-level cache holds."""
    if step.op == Op.SEPARABLE or step.kernel[0] == 1:
        return 1
    rows = 1
    while rows < BYTE_ROWS and packed_rows(step, rows + 1) * byte_pitch(step, block, images) <= BYTE_ROOM:
        rows += 1
    return rows

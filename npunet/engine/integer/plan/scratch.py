"""How many positions of a row integer convolutions do at a time, and the scratch that their sums need."""

from __future__ import annotations

from collections.abc import Mapping

from npunet.engine.integer.plan.instruction import IntegerInstruction
from npunet.engine.integer.plan.lowering import BLOCK_UNIT
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


def block_of(instruction: IntegerInstruction, images: Mapping[str, Image]) -> int:
    """Positions whose sums take half of the first-level cache, in whole tiles, and a row cut evenly."""
    width = images[instruction.y].width
    if instruction.winograd:
        most = TILES if images[instruction.x].channels < MANY else TILES_OF_MANY
        blocks = -(-width // (TILE * most))
        return TILE * -(-width // (TILE * blocks))
    fitting = SUM_BYTES // (4 * SUM_WORDS * most_vectors(instruction, images))
    most = min(MOST, max(UNIT, fitting // UNIT * UNIT))
    blocks = -(-width // most)
    return -(-width // (blocks * UNIT)) * UNIT


def most_vectors(instruction: IntegerInstruction, images: Mapping[str, Image]) -> int:
    """Of what a convolution sums at a time."""
    between = vectors(images[instruction.x].channels) if instruction.op != Op.CONV else 0
    return max(filter_vectors(instruction, images), between)


def filter_vectors(instruction: IntegerInstruction, images: Mapping[str, Image]) -> int:
    """Vectors of filters: of what it leaves as sums, half of what the image has as int16."""
    return vectors(images[instruction.y].channels) // (2 if instruction.flags & Flag.SUMS else 1)


def scratch_size(instruction: IntegerInstruction, block: int, images: Mapping[str, Image]) -> int:
    """int16 of one thread's scratch: planes of sums, then the depthwise half of a SEPARABLE."""
    if instruction.op not in CONVOLUTIONS:
        return 0
    if instruction.winograd:
        x, y = images[instruction.x], images[instruction.y]
        room = block // TILE + PLANE_ROOM
        rows = 2 * TILE * SUM_WORDS * (block + PLANE_ROOM) * vectors(y.channels)
        return rows + MATRICES * room * (x.col + 2 * SUM_WORDS * 3)
    sums = 2 * SUM_WORDS * (block + PLANE_ROOM) * (1 + instruction.wide) * most_vectors(instruction, images)
    between = packed = 0
    if instruction.op == Op.SEPARABLE:
        between = (block + PLANE_ROOM) * LANES * vectors(images[instruction.x].channels)
    if instruction.bytes:
        rows = byte_rows(instruction, block, images)
        packed = packed_rows(instruction, rows) * byte_pitch(instruction, block, images)
    return -(-(sums + between + packed // 2) // 32) * 32


def byte_span(instruction: IntegerInstruction, images: Mapping[str, Image]) -> int:
    """Elements of a row from a position's first tap to behind its last, of what a convolution of bytes reads."""
    if instruction.op == Op.SEPARABLE:
        return LANES * vectors(images[instruction.x].channels)
    return ((instruction.kernel[1] - 1) * instruction.dilation[1] + 1) * images[instruction.x].col


def byte_pitch(instruction: IntegerInstruction, block: int, images: Mapping[str, Image]) -> int:
    """Bytes of a packed row, with what the last tile and the last word go beyond it."""
    span = byte_span(instruction, images)
    between = span if instruction.op == Op.SEPARABLE else instruction.stride[1] * images[instruction.x].col
    return -(-((block + PLANE_ROOM - 1) * between + span + BYTES_AT_ONCE) // CACHE_LINE) * CACHE_LINE


def packed_rows(instruction: IntegerInstruction, rows: int) -> int:
    """Rows of the input that so many rows of the output read."""
    if instruction.op == Op.SEPARABLE:
        return 1
    return (rows - 1) * instruction.stride[0] + (instruction.kernel[0] - 1) * instruction.dilation[0] + 1


def byte_rows(instruction: IntegerInstruction, block: int, images: Mapping[str, Image]) -> int:
    """Rows of the output that a convolution of bytes packs its input for: what half a first-level cache holds."""
    if instruction.op == Op.SEPARABLE or instruction.kernel[0] == 1:
        return 1
    rows = 1
    while rows < BYTE_ROWS and packed_rows(instruction, rows + 1) * byte_pitch(instruction, block, images) <= BYTE_ROOM:
        rows += 1
    return rows

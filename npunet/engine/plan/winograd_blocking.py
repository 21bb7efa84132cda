"""Blocking of Winograd convolutions: tiles to a cache block, rows of outputs, and the scratch of a cache block."""

from __future__ import annotations

from npunet.engine.target import LANES, SECOND_CACHE
from npunet.ops.winograd import PATCH, TILE

MATRICES = PATCH * PATCH
CACHE_ELEMENTS = SECOND_CACHE // 2 // 4  # half of a second-level cache
REGISTER_TILES = 12  # a multiple of the tiles that registers hold with two vectors of filters, 6, and with three, 4
PAIRED_TILES = 6
WASTE = 16  # one tile of so many may be idle
WIDEST = 3 * LANES  # filters in the widest block of vectors
RUN = 8  # neighbouring tiles whose inputs are transformed together
BETWEEN = (TILE * RUN + PATCH - TILE) * PATCH * LANES  # elements of their transformed columns, one vector


def block_tiles(col: int) -> int:
    """Tiles of a cache block: as many as leave its transformed inputs, `col` channels, and products in the cache."""
    most = CACHE_ELEMENTS // (MATRICES * (col + 2 * LANES))
    return max(1, most // REGISTER_TILES) * REGISTER_TILES


def block_scratch(col: int) -> int:
    """Elements of the scratch of a cache block."""
    return MATRICES * block_tiles(col) * (col + WIDEST) + BETWEEN


def row_block_of(col: int, height: int, width: int) -> int:
    """Rows of an output that are done before others of the group read them: the fewest that make up a cache block of
    tiles and leave few of the places for tiles in registers idle."""
    block, across = block_tiles(col), -(-width // TILE)
    for rows in range(-(-block // across), -(-height // TILE)):
        tiles = rows * across
        idle = -(tiles % block) % PAIRED_TILES
        if WASTE * idle <= tiles:
            return rows * TILE
    return height

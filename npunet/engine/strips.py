"""How a Winograd convolution is cut: tiles to a strip, strips to a band, and the scratch of a strip."""

from __future__ import annotations

from npunet.engine.opcodes import LANES
from npunet.ops.winograd import PATCH, TILE

MATRICES = PATCH * PATCH
CACHE_ELEMENTS = 1 << 16  # half of a second-level cache of 512 KiB
REGISTER_TILES = 12  # a multiple of the tiles that every shape of registers holds, but for 8 with one vector
APART = 16  # elements between matrices, beyond their size: so that the 36 do not share a set of the cache
WIDEST = 3 * LANES  # filters in the widest block of vectors


def strip_tiles(col: int) -> int:
    """Tiles of a strip: as many as leave its transformed inputs, `col` channels, and products in the cache."""
    most = CACHE_ELEMENTS // (MATRICES * (col + 2 * LANES))
    return max(1, most // REGISTER_TILES) * REGISTER_TILES


def strip_scratch(col: int) -> int:
    """Elements of the scratch of a strip."""
    return MATRICES * (strip_tiles(col) * (col + WIDEST) + 2 * APART)


def band_rows(col: int, width: int) -> int:
    """Rows of an output of that width that are done before others of the group read them: about a strip of tiles."""
    across = -(-width // TILE)
    return -(-strip_tiles(col) // across) * TILE

"""How large a block is: as an array is stored where that is quick, and no more than a task may take."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from npunet import memory
from npunet.distributed.layout import Layout
from npunet.distributed.networks import Blockwise

USUAL = {1: 2**18, 2: 2**10}  # extent of a block of an array that can be read anywhere, by axes of space
WASTE, ENOUGH = 1.5, 1.2  # positions run for each that is kept: small chunks are run together from the one to the other


def block_of(network: Blockwise, layout: Layout, chunks: Sequence[int] | None, dtype: np.dtype,
             limit: int | None = None, wanted: Sequence[int] | None = None) -> tuple[tuple[int, ...], int]:
    """Extents of a block of space, and the bytes that its task takes at most.

    chunks : of the whole array, each read whole; None where any part is read by itself
    limit  : bytes that a task may take
    wanted : extents that the user asks for

    Chunks as they are stored, several together where a window would be much larger than its block, less where that
    does not fit in `limit`. Raises ValueError where nothing fits, or for extents that are none.
    """
    stored = 0 if chunks is None else prod(chunks) * dtype.itemsize

    def needed(block: Sequence[int]) -> int:
        window = _window(network, layout, block)
        read = prod(window) * network.channels * dtype.itemsize
        return network.window_bytes(window, 1) + 2 * read + 2 * stored

    if wanted is not None:
        if len(wanted) != len(layout.size) or min(wanted) < 1:
            raise ValueError(f"blocks of {' x '.join(map(str, wanted))}: the network has {len(layout.size)} axes of "
                             "space, and each extent must be at least 1")
        block = tuple(map(min, wanted, layout.size))
        if limit is not None and needed(block) > limit:
            raise ValueError(_too_large(block, needed(block), limit))
        return block, needed(block)
    usual = USUAL[network.rank]
    base = [chunks[axis] for axis in layout.space] if chunks is not None else [usual] * network.rank
    block = tuple(map(min, base, layout.size))
    if _waste(network, layout, block) > WASTE:
        block = _merged(network, layout, block, lambda larger: limit is None or needed(larger) <= limit)
    while limit is not None and needed(block) > limit:
        smaller = _halved(network, block)
        if smaller == block:
            more = "" if not stored else f"; {memory.told(2 * stored)} of it for chunks of {tuple(chunks or ())}, " \
                "which are read whole: store it in smaller ones"
            raise ValueError(_too_large(block, needed(block), limit) + more)
        block = smaller
    return block, needed(block)


def _too_large(block: Sequence[int], needed: int, limit: int) -> str:
    return (f"one block of {' x '.join(map(str, block))} takes {memory.told(needed)}, a worker may take "
            f"{memory.told(limit)}; give workers more memory, or use smaller blocks")


def _window(network: Blockwise, layout: Layout, block: Sequence[int]) -> tuple[int, ...]:
    """The largest window of blocks of these extents."""
    return tuple(min(_up(extent, halo.period) + halo.period + halo.before + halo.after, _up(whole, halo.period))
                 for extent, whole, halo in zip(block, layout.size, network.halos, strict=True))


def _waste(network: Blockwise, layout: Layout, block: Sequence[int]) -> float:
    return prod(_window(network, layout, block)) / prod(block)


def _merged(network: Blockwise, layout: Layout, block: tuple[int, ...], fits: object) -> tuple[int, ...]:
    """Twice as many chunks along the shortest side, again and again, until little is wasted."""
    assert callable(fits)
    while _waste(network, layout, block) > ENOUGH:
        growing = [axis for axis in range(len(block)) if block[axis] < layout.size[axis]]
        if not growing:
            return block
        axis = min(growing, key=lambda axis: block[axis])
        larger = (*block[:axis], min(2 * block[axis], layout.size[axis]), *block[axis + 1 :])
        if not fits(larger):
            return block
        block = larger
    return block


def _halved(network: Blockwise, block: tuple[int, ...]) -> tuple[int, ...]:
    """Half of the longest side, in whole periods; the same where all sides are one period."""
    axis = max(range(len(block)), key=lambda axis: block[axis] / network.halos[axis].period)
    half = max(network.halos[axis].period, _up(block[axis] // 2, network.halos[axis].period))
    return block if half >= block[axis] else (*block[:axis], half, *block[axis + 1 :])


def _up(extent: int, period: int) -> int:
    return -(-extent // period) * period

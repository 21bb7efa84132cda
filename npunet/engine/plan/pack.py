"""Weights in the order in which the kernels read them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npunet.engine.target import LANES, LINE_FLOATS


class Constants:
    """The constants of a program while they are collected: each call gives the offset of what it put there."""

    def __init__(self) -> None:
        self.parts: list[np.ndarray] = []
        self.size = 0

    def kernel(self, w: np.ndarray) -> int:
        """A dense kernel (KH, KW, C, F) as [block of vectors][ky][kx][c][vector][lane], lanes without a filter 0."""
        KH, KW, C, F = w.shape
        padded = np.zeros((KH, KW, C, -(-F // LANES) * LANES), np.float32)
        padded[..., :F] = w
        blocks, start = [], 0
        for count in blocks_of(padded.shape[3] // LANES):
            stop = start + count * LANES
            blocks.append(padded[..., start:stop].ravel())
            start = stop
        return self.flat(np.concatenate(blocks))

    def depthwise(self, w: np.ndarray, spread: bool = False) -> int:
        """A depthwise kernel (KH, KW, C, 1) as [ky][kx][vector][lane]; spread, of one channel, in every lane."""
        KH, KW, C, _ = w.shape
        padded = np.zeros((KH, KW, -(-C // LANES) * LANES), np.float32)
        padded[..., : LANES if spread else C] = w[..., 0]
        return self.flat(padded)

    def bias(self, b: np.ndarray, clamped: bool) -> int:
        """A bias (F,) padded to whole vectors. Before a ReLU, whose zeros are +0, a bias of -0 becomes +0, so that no
        sum can be -0."""
        padded = np.zeros(-(-len(b) // LANES) * LANES, np.float32)
        padded[: len(b)] = b + np.float32(0) if clamped else b
        return self.flat(padded)

    def flat(self, values: np.ndarray) -> int:
        """Values as they are, from an aligned offset."""
        offset, values = self.size, values.ravel()
        part = np.zeros(-(-len(values) // LINE_FLOATS) * LINE_FLOATS, np.float32)
        part[: len(values)] = values
        self.parts.append(part)
        self.size += len(part)
        return offset

    def array(self) -> np.ndarray:
        """Everything collected, aligned to 64 bytes."""
        return aligned(np.concatenate([*self.parts, np.zeros(LINE_FLOATS, np.float32)]))


def block_of(vectors: int) -> int:
    """Vectors of filters that the next tile takes where so many are left: twos, after one three where the number is
    odd. Weights are packed so; the kernels compile this very function."""
    if vectors == 1:
        return 1
    return 3 if vectors % 2 else 2


def byte_block_of(vectors: int) -> int:
    """The same for dot products of bytes: fours, and threes and twos of what is left."""
    if vectors == 5:
        return 3
    return min(vectors, 4)


def blocks_of(vectors: int, block_of: Callable[[int], int] = block_of) -> list[int]:
    """How a row of output vectors is cut for the tiles."""
    blocks: list[int] = []
    while vectors > sum(blocks):
        blocks.append(block_of(vectors - sum(blocks)))
    return blocks


def aligned(values: np.ndarray | int) -> np.ndarray:
    """A float32 array that starts on a 64-byte boundary: a copy of the values, or that many zeros."""
    size = values if isinstance(values, int) else len(values)
    room = np.zeros(size + LINE_FLOATS, np.float32)
    start = -room.ctypes.data // 4 % LINE_FLOATS
    array = room[start : start + size]
    if not isinstance(values, int):
        array[:] = values
    return array

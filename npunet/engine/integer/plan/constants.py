"""The constants of integer programs, as the kernels read them: bytes from aligned offsets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from npunet.engine.integer.plan.instruction import Finish
from npunet.engine.integer.plan.opcodes import ADDITION_WORDS, EXP_TABLE, FAR, RECIPROCAL_TABLE
from npunet.engine.integer.plan.scratch import MATRICES
from npunet.engine.plan.pack import aligned, block_of, blocks_of, byte_block_of
from npunet.engine.target import CACHE_LINE, LANES
from npunet.integer.fixed_point import doubling_high_multiply
from npunet.integer.ops.softmax import exp_on_negative

ZEROS = 4 * 4 * LANES  # bytes: the bias of a block of vectors


class IntegerConstants:
    """The constants of a program while they are collected: each call gives the offset in bytes of what it put there."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0
        self.put(np.zeros(ZEROS, np.uint8))  # where nothing is to be added

    def put(self, values: np.ndarray) -> int:
        """An array as it is."""
        offset, content = self.size, np.ascontiguousarray(values).tobytes()
        content += bytes(-len(content) % CACHE_LINE)
        self.parts.append(content)
        self.size += len(content)
        return offset

    def array(self) -> np.ndarray:
        """Everything collected, uint8, aligned to 64 bytes."""
        content = b"".join([*self.parts, bytes(2 * CACHE_LINE)])
        room = aligned(len(content) // 4).view(np.uint8)
        room[:] = np.frombuffer(content, np.uint8)
        return room

    def kernel(self, w: np.ndarray) -> int:
        """A dense kernel (KH, KW, C, F) as int16 [block of vectors][ky][kx][pair of channels][vector][lane][2]; lanes
        without a filter and channels without a value 0."""
        KH, KW, C, F = w.shape
        padded = np.zeros((KH, KW, C + C % 2, -(-F // LANES) * LANES), np.int16)
        padded[:, :, :C, :F] = w
        return self.blocks(padded.reshape(KH, KW, -1, 2, padded.shape[3]).swapaxes(3, 4), block_of)

    def byte_kernel(self, w: np.ndarray) -> int:
        """The same of int8, with fours of channels [4] instead of pairs."""
        KH, KW, C, F = w.shape
        padded = np.zeros((KH, KW, -(-C // 4) * 4, -(-F // LANES) * LANES), np.int8)
        padded[:, :, :C, :F] = w
        return self.blocks(padded.reshape(KH, KW, -1, 4, padded.shape[3]).swapaxes(3, 4), byte_block_of)

    def blocks(self, words: np.ndarray, block_of: Callable[[int], int]) -> int:
        """Words of weights (KH, KW, words, F, count), one block of vectors of filters after another."""
        blocks, start = [], 0
        for count in blocks_of(words.shape[3] // LANES, block_of):
            stop = start + count * LANES
            blocks.append(words[:, :, :, start:stop].ravel())
            start = stop
        return self.put(np.concatenate(blocks))

    def winograd(self, w: np.ndarray) -> int:
        """A 3x3 kernel as the 16 kernels of its tiles' matrices, 2G w (2G)^T, packed as taps of one."""
        double_g = np.array([[2, 0, 0], [1, 1, 1], [1, -1, 1], [0, 0, 2]], np.int64)
        matrices = np.einsum("iy,jx,yxcf->ijcf", double_g, double_g, w.astype(np.int64))
        return self.kernel(matrices.reshape(MATRICES, 1, *w.shape[2:]))

    def depthwise(self, w: np.ndarray, paired: bool) -> int:
        """A depthwise kernel (KH, KW, C, 1) as int16 [ky][pair of taps][vector][lane][2], the last tap of an odd row,
        or without `paired` each tap, with a 0."""
        KH, KW, C, _ = w.shape
        taps = -(-KW // 2) * 2 if paired else KW
        padded = np.zeros((KH, taps, -(-C // LANES) * LANES), np.int16)
        padded[:, :KW, :C] = w[..., 0]
        if paired:
            return self.put(padded.reshape(KH, taps // 2, 2, -1).swapaxes(2, 3))
        return self.put(np.stack([padded, np.zeros_like(padded)], -1))

    def bias(self, finish: Finish) -> int:
        """What the sums begin with, int32: the bias times its factor, or 0 where it has 64 bits."""
        factor = 0 if finish.long else finish.factor
        return self.put(in_vectors(factor * finish.bias, np.int32))

    def byte_bias(self, finish: Finish, w: np.ndarray, zero: int) -> int:
        """What sums of bytes begin with, which are doubled in the end: all that inputs of q + 128 and a zero point add
        is taken off. Modulo 2^32, like the sums.

        w : (KH, KW, C, F) int8
        """
        bias = finish.bias - (zero + 128) * w.sum((0, 1, 2), dtype=np.int64)
        return self.put(in_vectors(bias.astype(np.uint32).view(np.int32), np.int32))

    def finish(self, finish: Finish) -> int:
        """Multipliers and shifts, int32, then the bias in 64 bits where it is one."""
        parts = [in_vectors(finish.multiplier, np.int32).view(np.uint8),
                 in_vectors(finish.shift, np.int32, -1).view(np.uint8)]
        if finish.long:
            parts.append(in_vectors(finish.bias, np.int64).view(np.uint8))
        return self.put(np.concatenate(parts))

    def addition(self, attrs: Mapping[str, int], single: bool, zero: int) -> int:
        """The record of an addition, int32: of each operand (mh, ml, c, k, mask, round, r), then m, s, low, high, then
        of each operand what it is beside one of factor 1/2, (pair of ml and 2^k, both roundings, mh, r), see halved."""
        record: list[int] = []
        k = 31 - attrs["left_shift"]
        for number in (1, 2):
            m, right = attrs[f"input{number}_multiplier"], -attrs[f"input{number}_shift"]
            rounds = right > 0
            record += [m >> k, m & (2**k - 1), 0 if single and rounds else 2 ** (k - 1), k,
                       -1 if rounds and not single else 0, 2 ** (right - 1) if rounds else 0, right]
        record += [attrs["output_multiplier"], attrs["output_shift"], attrs["act_min"] - zero, attrs["act_max"] - zero]
        for number in (1, 2):
            m, right = attrs[f"input{number}_multiplier"], -attrs[f"input{number}_shift"]
            if right == 0:  # a factor of 1/2, which is the same as one of 1 halved
                m, right = 2 * m, 1
            low = m & (2**k - 1)
            record += [low + (2**k << 16), 2 ** (k - 1) + 2 ** (right - 1 + k), m >> k, right]
        assert len(record) == ADDITION_WORDS
        return self.put(np.array(record, np.int64).astype(np.int32))

    def factors(self, attrs: Mapping[str, Any]) -> int:
        """(m, s) of a rescale, or of a leaky ReLU for x >= 0 and for others, int32."""
        names = ("positive_", "negative_") if "positive_shift" in attrs else ("",)
        return self.put(np.array([attrs[f"{name}{what}"] for name in names for what in ("multiplier", "shift")],
                                 np.int32))

    def softmax(self, attrs: Mapping[str, Any]) -> int:
        """exp(-k) in Q0.31, int32, FAR where it counts as nothing; or m, s and two tables of 16 bits."""
        if "exp_table" not in attrs:
            d = -np.arange(256, dtype=np.int64)
            near = d >= attrs["diff_min"]
            scaled = doubling_high_multiply(np.where(near, d, 0) << attrs["left_shift"], attrs["multiplier"])
            return self.put(np.where(near, exp_on_negative(scaled), FAR).astype(np.int32))
        room = np.zeros(RECIPROCAL_TABLE // 2 + len(attrs["reciprocal_table"]), np.int16)
        room[:4] = np.array([attrs["multiplier"], attrs["shift"]], np.int32).view(np.int16)
        for start, name in ((EXP_TABLE, "exp_table"), (RECIPROCAL_TABLE, "reciprocal_table")):
            room[start // 2 : start // 2 + len(attrs[name])] = attrs[name]
        return self.put(room)

    def layer_norm(self, attrs: Mapping[str, Any]) -> int:
        """epsilon, fraction_bits, m', s, then beta and gamma, int64; m' the multiplier's upper 16 bits."""
        multiplier = attrs["multiplier"]
        reduced = (multiplier + 2**15) >> 16 if multiplier < 0x7FFF0000 else 0x7FFF
        scalars = [attrs["epsilon"], attrs["fraction_bits"], reduced, attrs["shift"]]
        return self.put(np.concatenate([scalars, attrs["beta"].ravel(), attrs["gamma"].ravel()]).astype(np.int64))

    def table(self, values: np.ndarray, zero: int) -> int:
        """A table's entries less the output's zero point, int16."""
        return self.put(values.astype(np.int16) - np.int16(zero))


def in_vectors(values: np.ndarray, dtype: Any, rest: int = 0) -> np.ndarray:
    """The values padded to whole vectors."""
    padded = np.full(-(-len(values) // LANES) * LANES, rest, dtype)
    padded[: len(values)] = values
    return padded

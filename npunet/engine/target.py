"""What is known of machines: one frozen value for each kind, and what programs assume of all of them.

Only how micro-kernels are compiled depends on the Target: how many accumulators a register tile has, whether two
vectors share a register, whether it prefetches. Instruction tables, packed weights and every bit of a result do not,
which is why the sizes of caches stand here once, as those of the smallest machine that matters. One thing is an
exception: where there are dot products of four bytes, int8 weights are packed for them.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

LANES = 8  # float32 values of a vector: an AVX register, half an AVX-512 one, two of SSE or Neon
CACHE_LINE = 64  # bytes
LINE_FLOATS = CACHE_LINE // 4
FIRST_CACHE = 32 << 10  # bytes of a first-level data cache
SECOND_CACHE = 512 << 10  # bytes of a second-level cache
LINE_BUFFERED = 1 << 21  # elements of the images of a chain from which line buffers pay: most of a third-level cache
TOUCHED = 3 << 17  # elements of the rows of all images that groups in turn touch: three times the second-level cache

Shapes = tuple[tuple[int, tuple[int, ...]], ...]
"""Register tiles: for a number of vectors of filters (or, with few filters, for a number of filters), the numbers of
positions (or of vectors of positions) that a micro-kernel exists for, the largest first."""


class Target(NamedTuple):
    """One kind of machine.

    register  : float32 values that a vector register holds;  registers : how many there are
    load_bound : multiplies two full registers in a cycle, faster than it loads the scalars for them: micro-kernels then
                take four vectors of filters for each scalar that they load
    prefetches : whether a convolution has registers and loads to spare for a software prefetch of the next image row
    dot, dots  : the instruction for dot products of pairs of 16-bit integers, "pmaddwd" or VNNI's "vpdpwssd" ("" for
                what LLVM makes of it), and their register tiles
    byte_dot, byte_dots : the same for fours of bytes, unsigned by signed, VNNI's "vpdpbusd" ("plain" for what LLVM
                makes of it, which only tests want); "" where int8 networks take pairs of 16-bit integers
    fuses_next : whether registers are left for the 1x1 convolution of the residual, which then is added tile by tile
    convolution, step_convolution, kernel_gradient, few_filters, winograd : register tiles of prediction, of training
                steps (fewer, since batches have long rows and compiling takes time), of kernels' gradients, of
                convolutions with few filters, and of Winograd's products
    """

    name: str
    register: int
    registers: int
    convolution: Shapes
    step_convolution: Shapes
    kernel_gradient: Shapes
    few_filters: Shapes
    dots: Shapes
    winograd: Shapes = ((1, (8,)), (2, (6,)), (3, (4,)))
    dot: str = ""
    byte_dot: str = ""
    byte_dots: Shapes = ()
    load_bound: bool = False
    prefetches: bool = False
    fuses_next: bool = False

    @property
    def whole(self) -> bool:
        """Whether a register holds a vector."""
        return self.register >= LANES

    @property
    def pairs(self) -> bool:
        """Whether a register holds two neighbouring vectors."""
        return self.register >= 2 * LANES


# 12 vectors of sums, 16 registers of eight values less weights and one broadcast: 6 x 2, 4 x 3, 12 x 1. Neon's 32
# registers of four values hold the same. Code is laid out in this order: with the most used first a separable network
# is 0.7 % faster.
TWELVE_SUMS: Shapes = ((2, (6, 5, 4, 3, 2, 1)), (3, (4, 3, 2, 1)), (1, (12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1)))
TWELVE_SUMS_IN_STEPS: Shapes = ((1, (10, 6, 1)), (2, (6, 4, 1)), (3, (4, 1)))
TWELVE_SUMS_OF_GRADIENTS: Shapes = ((1, (12, 6, 2)), (2, (6, 4, 2)), (3, (4, 2)))
FEW_FILTERS: Shapes = ((1, (8,)), (2, (6, 5, 4)), (3, (4, 3)), (4, (3,)), (5, (2,)), (6, (2,)))
# All numbers of positions from 28 on are eights and fives.
EIGHT_POSITIONS: Shapes = tuple((vectors, (8, 5, 2, 1)) for vectors in (1, 2, 3))
FOUR_VECTORS_IN_STEPS: Shapes = (*EIGHT_POSITIONS, (4, (8, 5, 2, 1)))
# Of two vectors eight sums are just as many as two units have in flight.
FOUR_VECTORS: Shapes = ((1, (8, 5, 2, 1)), (2, (12, 8, 5, 2, 1)), (3, (8, 5, 2, 1)), (4, (8, 5, 2, 1)))
EIGHT_OF_GRADIENTS: Shapes = tuple((vectors, (8, 6, 4, 2)) for vectors in (1, 2, 3))
# A product of integers needs a register before it is added: 6 x 2 and 3 x 3 of 16. What is more than a row has is left.
DOTS: Shapes = ((1, (8, 4, 2)), (2, (6, 4, 2)), (3, (4, 2)))
DOTS_OF_HALVES: Shapes = ((1, (4, 2)), (2, (2,)), (3, (2,)))
DOTS_OF_32: Shapes = ((1, (8, 4, 2)), (2, (8, 4, 2)), (3, (8, 4, 2)))
# A dot product of bytes adds by itself, and needs no register between. Of four vectors, each input is loaded for two
# whole registers of weights.
BYTE_DOTS_OF_16: Shapes = ((1, (8, 4, 2)), (2, (6, 4, 2)), (3, (4, 2)), (4, (2, 1)))
BYTE_DOTS_OF_32: Shapes = ((1, (8, 4, 2)), (2, (12, 8, 4, 2)), (3, (8, 4, 2)), (4, (8, 4, 2)))
FEW_FILTERS_IN_PAIRS: Shapes = (*FEW_FILTERS[:4], (5, (4, 2)), (6, (4, 2)))

SSE2 = Target("sse2", 4, 16, TWELVE_SUMS, TWELVE_SUMS_IN_STEPS, TWELVE_SUMS_OF_GRADIENTS, FEW_FILTERS, DOTS_OF_HALVES,
              dot="pmaddwd")
NEON = Target("neon", 4, 32, TWELVE_SUMS, TWELVE_SUMS_IN_STEPS, TWELVE_SUMS_OF_GRADIENTS, FEW_FILTERS, DOTS_OF_HALVES)
AVX2 = Target("avx2", 8, 16, TWELVE_SUMS, TWELVE_SUMS_IN_STEPS, TWELVE_SUMS_OF_GRADIENTS, FEW_FILTERS, DOTS,
              dot="pmaddwd")
AVX512 = Target("avx512", 16, 32, EIGHT_POSITIONS, EIGHT_POSITIONS, EIGHT_OF_GRADIENTS, FEW_FILTERS_IN_PAIRS,
                DOTS_OF_32, dot="pmaddwd", prefetches=True, fuses_next=True)
AVX512_TWO_FMA = Target("avx512-two-fma", 16, 32, FOUR_VECTORS, FOUR_VECTORS_IN_STEPS, EIGHT_OF_GRADIENTS,
                        FEW_FILTERS_IN_PAIRS, DOTS_OF_32, dot="pmaddwd", load_bound=True)
TARGETS = (SSE2, NEON, AVX2, AVX512, AVX512_TWO_FMA)
VNNI = {"+avx512vnni", "+avxvnni"}  # features with vpdpwssd and vpdpbusd, which multiply and add at once
ONE_FMA_UNIT = ("znver4",)  # AVX-512 machines, by LLVM's names, that start one multiplication of full registers a cycle


def target_of(triple: str, cpu: str, features: str) -> Target:
    """The target of a machine, by LLVM's names for it: triple, CPU, and features such as "+avx2,-avx512f"."""
    if triple.startswith(("aarch64", "arm64")):
        return NEON
    if not triple.startswith("x86_64"):
        return SSE2._replace(dot="")
    has = set(features.split(","))
    if {"+avx512f", "+avx512vl"} <= has:
        target, pairs = AVX512 if cpu in ONE_FMA_UNIT else AVX512_TWO_FMA, "+avx512bw" in has
    elif "+avx" in has:
        target, pairs = AVX2, "+avx2" in has
    else:
        return SSE2
    if not pairs:
        return target._replace(dot="")
    return with_byte_dots(target, "vpdpbusd")._replace(dot="vpdpwssd") if VNNI & has else target


def with_byte_dots(target: Target, how: str) -> Target:
    """A target that takes dot products of bytes."""
    return target._replace(byte_dot=how, byte_dots=BYTE_DOTS_OF_32 if target.registers == 32 else BYTE_DOTS_OF_16)


@cache
def this_target() -> Target:
    """The target that Numba compiles for: this machine, or what NUMBA_CPU_NAME and NUMBA_CPU_FEATURES say."""
    from numba.core.registry import cpu_target

    return target_of(*cpu_target.target_context.codegen().magic_tuple())


def shapes_of(shapes: Shapes) -> list[tuple[int, int]]:
    """(rows, vectors) of every register tile."""
    return [(rows, vectors) for vectors, sizes in shapes for rows in sizes]

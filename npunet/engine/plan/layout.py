"""How tensors lie in memory: padding channels, and the halo of zeros that their readers need."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from npunet.engine.plan.lowering import Instruction, Lowered
from npunet.engine.plan.opcodes import CONVOLUTIONS, Flag, Op
from npunet.engine.target import LANES
from npunet.ops.winograd import TILE

FEW_FILTERS_VECTORS = (8, 6, 4, 3, 2, 2)  # of positions in the largest tile of 1 ... 6 filters


class Image(NamedTuple):
    """How a tensor lies in memory: channels padded to whole vectors, or, of a thin one, side by side; zeros around it
    where a reader pads."""

    height: int
    width: int
    channels: int
    halo: tuple[int, int, int, int]  # top, bottom, left, right
    thin: bool = False

    @property
    def col(self) -> int:
        """Elements from one position to the next."""
        return self.channels if self.thin else vectors(self.channels) * LANES

    @property
    def row(self) -> int:
        """Elements from one row to the next."""
        return (self.halo[2] + self.width + self.halo[3]) * self.col

    @property
    def size(self) -> int:
        """Elements in all."""
        return (self.halo[0] + self.height + self.halo[1]) * self.row

    @property
    def inner(self) -> int:
        """Elements before the first inner position."""
        return self.halo[0] * self.row + self.halo[2] * self.col


def vectors(channels: int) -> int:
    """Vectors that hold so many channels."""
    return -(-channels // LANES)


Halo = tuple[int, int, int, int]  # rows above and below, positions left and right


def halos_of(names: Iterable[str], reads: Iterable[tuple[str, Halo]]) -> dict[str, Halo]:
    """The halo of every tensor: what the largest of its readers needs on each side."""
    halos: dict[str, Halo] = dict.fromkeys(names, (0, 0, 0, 0))
    for name, (top, bottom, left, right) in reads:
        before = halos[name]
        halos[name] = (max(before[0], top), max(before[1], bottom), max(before[2], left), max(before[3], right))
    return halos


def lay_out(lowered: Lowered) -> dict[str, Image]:
    """Every tensor with its halo."""
    reads = []
    for instruction in lowered.instructions:
        if instruction.op in CONVOLUTIONS:
            (top, bottom), (left, right) = instruction.pads
            if instruction.op == Op.WINOGRAD:  # whole tiles
                height, width, _ = lowered.shapes[instruction.y]
                bottom, right = bottom + -height % TILE, right + -width % TILE
            reads.append((instruction.x, (top, bottom, left, right)))
    return {name: Image(*lowered.shapes[name], halo, is_thin(name, lowered))
            for name, halo in halos_of(lowered.shapes, reads).items()}


def is_thin(name: str, lowered: Lowered) -> bool:
    """Whether a tensor of few channels is worked on value by value, so that padding would only be carried about: what
    dense convolutions read, of one channel also separable ones, and what one with few filters leaves to be copied
    out."""
    channels = lowered.shapes[name][2]
    reads = [each for each in lowered.instructions if name in (each.x, each.addend)]
    writes = [each for each in lowered.instructions if each.y == name]
    if channels >= LANES or not reads or any(each.addend == name for each in reads):
        return False
    if all(each.op == Op.COPY_IN for each in writes):
        return all((each.op == Op.CONV and not has_few_filters(each)) or (each.op == Op.SEPARABLE and channels == 1)
                   for each in reads)
    return all(map(has_few_filters, writes)) and all(each.op == Op.COPY_OUT for each in reads)


def has_few_filters(instruction: Instruction) -> bool:
    """Whether a convolution has so few filters that its vectors run along positions."""
    plain = instruction.flags & (Flag.CONTINUE | Flag.ADD | Flag.SPREAD) == 0
    return (instruction.op == Op.CONV and plain and instruction.dense.shape[3] <= len(FEW_FILTERS_VECTORS)
            and instruction.dense.size > 0)

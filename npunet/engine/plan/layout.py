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
    for step in lowered.steps:
        if step.op in CONVOLUTIONS:
            (top, bottom), (left, right) = step.pads
            if step.op == Op.WINOGRAD:  # whole tiles
                height, width, _ = lowered.shapes[step.y]
                bottom, right = bottom + -height % TILE, right + -width % TILE
            reads.append((step.x, (top, bottom, left, right)))
    return {name: Image(*lowered.shapes[name], halo, is_thin(name, lowered))
            for name, halo in halos_of(lowered.shapes, reads).items()}


def is_thin(name: str, lowered: Lowered) -> bool:
    """Whether a tensor of few channels is worked on value by value, so that padding would only be carried about: what
    dense convolutions read, of one channel also separable ones, and what one with few filters leaves to be copied
    out."""
    channels = lowered.shapes[name][2]
    reads = [step for step in lowered.steps if name in (step.x, step.addend)]
    writes = [step for step in lowered.steps if step.y == name]
    if channels >= LANES or not reads or any(step.addend == name for step in reads):
        return False
    if all(step.op == Op.COPY_IN for step in writes):
        return all((step.op == Op.CONV and not has_few_filters(step)) or (step.op == Op.SEPARABLE and channels == 1)
                   for step in reads)
    return all(map(has_few_filters, writes)) and all(step.op == Op.COPY_OUT for step in reads)


def has_few_filters(step: Instruction) -> bool:
    """Whether a convolution has so few filters that its vectors run along positions."""
    plain = step.flags & (Flag.CONTINUE | Flag.ADD | Flag.SPREAD) == 0
    return step.op == Op.CONV and plain and step.dense.shape[3] <= len(FEW_FILTERS_VECTORS) and step.dense.size > 0

"""What a register tile of a convolution is told, and the registers that it takes."""

from __future__ import annotations

from typing import NamedTuple

from llvmlite import ir

from npunet.engine.codegen.emit import TARGET, VECTOR_BYTES
from npunet.engine.target import LANES


class Arguments(NamedTuple):
    """What a row of tiles is told: numbers and byte addresses, all int64 values of the function being emitted."""

    tiles: ir.Value
    x: ir.Value
    x_step: ir.Value
    w: ir.Value
    channels: ir.Value
    kh: ir.Value
    kw: ir.Value
    tap_row: ir.Value
    tap_col: ir.Value
    y: ir.Value
    y_step: ir.Value
    flags: ir.Value
    bias: ir.Value
    addend: ir.Value
    addend_step: ir.Value
    copies_y: ir.Value
    copies_x: ir.Value
    y_row: ir.Value
    y_col: ir.Value
    streams: ir.Value  # prefetch streams, see prefetch.prefetch_streams
    next_w: ir.Value  # of the next convolution, fused into this micro-kernel: one tap, of the image at addend
    next_channels: ir.Value
    next_flags: ir.Value
    next_bias: ir.Value

    def next_one(self) -> Arguments:
        """Those of the next convolution, fused into this micro-kernel."""
        return self._replace(x_step=self.addend_step, w=self.next_w, channels=self.next_channels,
                             flags=self.next_flags, bias=self.next_bias)


class Register(NamedTuple):
    """Where in a position's values a register of a tile begins, in bytes, and how many values it holds."""

    start: int
    lanes: int


def registers_of(vectors: int) -> list[Register]:
    """What a position takes: where a register holds a pair, as many pairs of vectors as there are, and what is left."""
    paired = vectors // 2 * 2 if TARGET.pairs else 0
    return [Register(VECTOR_BYTES * v, 2 * LANES) for v in range(0, paired, 2)] + [
        Register(VECTOR_BYTES * v, LANES) for v in range(paired, vectors)]

"""Software prefetch while a convolution multiplies: memory is idle then, and what follows would wait for it.

A prefetch stream is a tensor's next row, shared out to the positions of the row that is convolved. It begins with two
int64: the address to go on from, and bytes a position. A tile prefetches its positions' share of every stream.
"""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64, choose, prefetch, repeat
from npunet.engine.plan.opcodes import STREAM_COLUMNS, STREAMS
from npunet.engine.target import CACHE_LINE


def prefetch_streams(builder, streams, positions: int) -> None:
    """Emits the prefetches of one tile; `streams` is the address of the first prefetch stream, 0 for none."""

    def one_line(carried):
        prefetch(builder, carried[0])
        return [builder.add(carried[0], INT64(CACHE_LINE))]

    def all_streams(_):
        for number in range(STREAMS):
            place, behind = (builder.inttoptr(builder.add(streams, INT64(8 * (STREAM_COLUMNS * number + k))),
                                              INT64.as_pointer()) for k in (0, 1))
            start, share = builder.load(place), builder.mul(builder.load(behind), INT64(positions))
            lines = builder.sdiv(builder.add(share, INT64(CACHE_LINE - 1)), INT64(CACHE_LINE))
            repeat(builder, lines, [start], one_line)
            builder.store(builder.add(start, share), place)
        return []

    choose(builder, builder.icmp_signed("!=", streams, INT64(0)), [], all_streams)


@intrinsic
def three_prefetch_streams(typing, x, x_share, y, y_share, z, z_share):
    """Address of prefetch streams that last as long as the function around: where each begins, and bytes a position."""

    def generate(context, builder, signature, arguments):
        room = cgutils.alloca_once(builder, INT64, size=INT64(STREAMS * STREAM_COLUMNS))
        told = [*arguments, *[INT64(0)] * (2 * STREAMS - len(arguments))]
        for k, value in enumerate(told):
            builder.store(value, builder.gep(room, [INT64(STREAM_COLUMNS * (k // 2) + k % 2)]))
        return builder.ptrtoint(room, INT64)

    return types.intp(*[types.intp] * 6), generate

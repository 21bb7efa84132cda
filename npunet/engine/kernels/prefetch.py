"""What is needed next, asked for while a convolution multiplies: memory is idle then, and what follows waits for it.

A stream is a tensor's next row, shared out to the positions of the row that is convolved. It begins with two int64: the
address to go on from, and bytes a position. A tile asks for its positions' share of every stream.
"""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64, bring_near, choose, repeat
from npunet.engine.plan.opcodes import LINE, STREAM_COLUMNS, STREAMS


def ask(builder, streams, positions: int) -> None:
    """Emits the asking of one tile; `streams` is the address of the first stream, 0 for nothing to ask for."""

    def one_line(carried):
        bring_near(builder, carried[0])
        return [builder.add(carried[0], INT64(LINE))]

    def all_streams(_):
        for number in range(STREAMS):
            place, behind = (builder.inttoptr(builder.add(streams, INT64(8 * (STREAM_COLUMNS * number + k))),
                                              INT64.as_pointer()) for k in (0, 1))
            start, share = builder.load(place), builder.mul(builder.load(behind), INT64(positions))
            repeat(builder, builder.sdiv(builder.add(share, INT64(LINE - 1)), INT64(LINE)), [start], one_line)
            builder.store(builder.add(start, share), place)
        return []

    choose(builder, builder.icmp_signed("!=", streams, INT64(0)), [], all_streams)


@intrinsic
def three_streams(typing, x, x_share, y, y_share, z, z_share):
    """Address of streams that last as long as the function around: where each begins, and bytes a position."""

    def generate(context, builder, signature, arguments):
        room = cgutils.alloca_once(builder, INT64, size=INT64(STREAMS * STREAM_COLUMNS))
        told = [*arguments, *[INT64(0)] * (2 * STREAMS - len(arguments))]
        for k, value in enumerate(told):
            builder.store(value, builder.gep(room, [INT64(STREAM_COLUMNS * (k // 2) + k % 2)]))
        return builder.ptrtoint(room, INT64)

    return types.intp(*[types.intp] * 6), generate

"""Eight vectors of eight, turned round."""

from __future__ import annotations

from numba.core import types
from numba.extending import intrinsic

from npunet.engine.emit import load_vector, offset, shuffle, store_vector
from npunet.engine.simd import LANES

PLACES = (0, 2, 1, 3, 4, 6, 5, 7)  # where the rounds leave each row of the result


def exchanged(builder, rows: list) -> list:
    """LANES vectors transposed, in the order of PLACES: three rounds of exchanges, of values, of pairs, of halves."""
    for distance, low, high in (
        (1, [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]),
        (2, [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]),
        (4, [0, 1, 2, 3, 8, 9, 10, 11], [4, 5, 6, 7, 12, 13, 14, 15]),
    ):
        after = list(rows)
        for m in range(LANES):
            if m & distance == 0:
                after[m] = shuffle(builder, rows[m], rows[m + distance], low)
                after[m + distance] = shuffle(builder, rows[m], rows[m + distance], high)
        rows = after
    return [rows[place] for place in PLACES]


@intrinsic
def transpose(typing, x, x_step, t, t_step):
    """LANES positions of LANES channels, every x_step bytes, to LANES rows of positions, every t_step bytes. Reads
    everything before it writes."""

    def generate(context, builder, signature, arguments):
        x, x_step, t, t_step = arguments
        rows = exchanged(builder, [load_vector(builder, offset(builder, x, x_step, m)) for m in range(LANES)])
        for channel, row in enumerate(rows):
            store_vector(builder, row, offset(builder, t, t_step, channel))
        return context.get_dummy_value()

    return types.void(*[types.intp] * 4), generate

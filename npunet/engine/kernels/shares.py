"""How threads share an image's rows, positions or channels. What each computes does not depend on who computes it."""

from __future__ import annotations

from npunet.engine.codegen.jit import inlined

FINEST = 32  # parts of an image below which it is not cut


@inlined
def static_share(size, align, thread, threads):
    """Thread `thread`'s part of `size` positions, cut at multiples of `align`."""
    units = (size + align - 1) // align
    return units * thread // threads * align, min(units * (thread + 1) // threads * align, size)


@inlined
def guided_share(ticket, rows, align, threads):
    """The rows that ticket 0, 1 ... stands for, cut at multiples of `align`; none when they begin at `rows`.

    Guided self-scheduling (Polychronopoulos and Kuck 1987): as many tickets as there are threads share half of the
    rows, as many again half of the rest, and so on: a faster thread takes more tickets, and at the end none waits long
    for another.
    """
    unit = align * max(1, rows // (align * FINEST))
    begin, left = 0, (rows + unit - 1) // unit
    part = left
    for number in range(ticket // threads + 1):
        begin += part if number > 0 else 0
        left -= part if number > 0 else 0
        part = left if left <= threads else (left + 1) // 2
    thread = ticket % threads
    return (min(rows, (begin + part * thread // threads) * unit),
            min(rows, (begin + part * (thread + 1) // threads) * unit))

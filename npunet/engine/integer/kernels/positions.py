"""Loops along positions, two at a time: what integer activations are computed by."""

from __future__ import annotations

from llvmlite import ir

from npunet.engine.codegen.emit import INT64, halves, join, repeat
from npunet.engine.codegen.integers import INT16, load, splat, store, widen


def along_positions(builder, count, starts: list, steps: list, make) -> None:
    """Emits a loop over positions, two at a time, joined.

    make(places, steps) : the int16 values of the positions at `places`, and `steps` behind them
    The last of starts is where they are stored.
    """
    def two(carried):
        left, *places = carried
        near = steps_within(builder, left, steps)
        store_two(builder, make(places, near), places[-1], near[-1])
        return [builder.sub(left, INT64(2)), *twice(builder, places, steps)]

    repeat(builder, passes_of(builder, count), [count, *starts], two)


def in_two_stages(builder, count, starts: list, steps: list, first, second) -> None:
    """The same as a software pipeline: while two positions are in the second stage, the next two are in the first. One
    stage alone fills a window of out-of-order execution; of both, one would wait for the other.

    first(place)                 : what the first stage gives for two positions, read from the first of starts; it is
                                   asked for two or three more behind the last
    second(given, places, steps) : their int16 values
    """
    def two(carried):
        left, given, *places = carried
        near = steps_within(builder, left, steps)
        ahead = first(builder.add(places[0], builder.shl(steps[0], INT64(1))))
        store_two(builder, second(given, places, near), places[-1], near[-1])
        return [builder.sub(left, INT64(2)), ahead, *twice(builder, places, steps)]

    repeat(builder, passes_of(builder, count), [count, first(starts[0]), *starts], two)


def passes_of(builder, count):
    """Of two positions each."""
    return builder.lshr(builder.add(count, INT64(1)), INT64(1))


def steps_within(builder, left, steps: list) -> list:
    """Steps to the second of two positions; where only one is left, none: it is done twice, at the same place."""
    both = builder.icmp_signed(">", left, INT64(1))
    return [builder.select(both, step, INT64(0)) for step in steps]


def store_two(builder, values, y, step) -> None:
    """The int16 of two positions; the first one's last, which stand where both are at one place."""
    first, second = halves(builder, values)
    store(builder, second, builder.add(y, step))
    store(builder, first, y)


def twice(builder, places: list, steps: list) -> list:
    """Two positions on."""
    return [builder.add(place, builder.shl(step, INT64(1))) for place, step in zip(places, steps, strict=True)]


def of_two(builder, x, step):
    """The int16 of two positions, as int32."""
    return widen(builder, join(builder, load(builder, x, INT16), load(builder, builder.add(x, step), INT16)))


def of_both(builder, value):
    """The same for both positions."""
    return join(builder, value, value)


def limits_of(builder, low, high, kind: ir.VectorType) -> list:
    """Two numbers as vectors."""
    return [splat(builder, builder.trunc(value, kind.element), kind.count) for value in (low, high)]

"""Vectors of activations to another scale: rescale, leaky ReLU, and the addition of two images, along positions."""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64
from npunet.engine.codegen.integers import INT32, all_lanes, clamp, load_one, splat, to_shorts
from npunet.engine.codegen.jit import inlined
from npunet.engine.integer.kernels.positions import along_positions, limits_of, of_two
from npunet.engine.integer.kernels.requantise import (
    SHORTS,
    TWO,
    Addition,
    Requantisation,
)
from npunet.engine.integer.plan.opcodes import Mode

S = int(Mode.S)


def factor_at(builder, at, mode: Mode) -> Requantisation:
    """The requantisation of a record (m, s), the same for all channels."""
    m, s = (splat(builder, load_one(builder, builder.add(at, INT64(4 * k)), INT32), TWO) for k in range(2))
    return Requantisation(builder, mode, m, s)


def make_unary(mode: Mode, leaky: bool):
    """The intrinsic for `count` positions of one vector of channels; see pointwise.activate."""

    @intrinsic
    def unary(typing, arguments):
        def generate(context, builder, signature, values):
            count, x, x_step, params, low, high, y, y_step = cgutils.unpack_tuple(builder, values[0])
            records = [params, builder.add(params, INT64(8))] if leaky else [params]
            factors = [factor_at(builder, record, mode) for record in records]
            limits = limits_of(builder, low, high, SHORTS)

            def make(places, steps):
                value = of_two(builder, places[0], steps[0])
                result, *negative = (factor(value) for factor in factors)
                if negative:
                    below = builder.icmp_signed("<", value, all_lanes(value.type, 0))
                    result = builder.select(below, negative[0], result)
                return clamp(builder, to_shorts(builder, result), *limits)

            along_positions(builder, count, [x, y], [x_step, y_step], make)
            return context.get_dummy_value()

        return types.void(arguments), generate

    return unary


rescale_d, rescale_s = make_unary(Mode.D_ANY, leaky=False), make_unary(Mode.S_ANY, leaky=False)
leaky_d, leaky_s = make_unary(Mode.D_ANY, leaky=True), make_unary(Mode.S_ANY, leaky=True)


@inlined
def rescale_row(mode, arguments):
    """In profile D or S; see make_unary."""
    if mode == S:
        rescale_s(arguments)
    else:
        rescale_d(arguments)


@inlined
def leaky_row(mode, arguments):
    """In profile D or S; see make_unary."""
    if mode == S:
        leaky_s(arguments)
    else:
        leaky_d(arguments)


def make_add(mode: Mode):
    """The intrinsic for `count` positions of one vector of channels of two images; record : the addition's."""

    @intrinsic
    def add(typing, arguments):
        def generate(context, builder, signature, values):
            count, x, x_step, other, other_step, record, y, y_step = cgutils.unpack_tuple(builder, values[0])
            adder = Addition(builder, record, mode == Mode.S, halved=None)

            def make(places, steps):
                return adder(*(of_two(builder, place, step) for place, step in zip(places[:2], steps[:2], strict=True)))

            along_positions(builder, count, [x, other, y], [x_step, other_step, y_step], make)
            return context.get_dummy_value()

        return types.void(arguments), generate

    return add


add_d, add_s = make_add(Mode.D), make_add(Mode.S)


@inlined
def add_row(mode, arguments):
    """In profile D or S; see make_add."""
    if mode == S:
        add_s(arguments)
    else:
        add_d(arguments)

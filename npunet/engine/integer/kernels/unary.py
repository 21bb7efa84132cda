"""Vectors of activations to another scale: rescale, leaky ReLU, and the addition of two images, along positions."""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64
from npunet.engine.codegen.integers import INT32, all_lanes, load_one, splat
from npunet.engine.codegen.jit import inlined
from npunet.engine.integer.kernels.requantise import (
    Addition,
    Requantisation,
    along_positions,
    clamped_shorts,
    limits_of,
    of_positions,
)
from npunet.engine.integer.plan.opcodes import Mode
from npunet.engine.target import LANES

S = int(Mode.S)


def factor_at(builder, at, mode: Mode, lanes: int) -> Requantisation:
    """The requantisation of a record (m, s), the same for all channels."""
    m, s = (splat(builder, load_one(builder, builder.add(at, INT64(4 * k)), INT32), lanes) for k in range(2))
    return Requantisation(builder, mode, m, s)


def make_unary(mode: Mode, leaky: bool):
    """The intrinsic for `count` positions of one vector of channels; see pointwise.activate."""

    @intrinsic
    def unary(typing, arguments):
        def generate(context, builder, signature, values):
            count, x, x_step, params, low, high, y, y_step = cgutils.unpack_tuple(builder, values[0])
            places = [params, builder.add(params, INT64(8))] if leaky else [params]
            factors = {positions: [factor_at(builder, at, mode, positions * LANES) for at in places]
                       for positions in (1, 2)}
            limits = limits_of(builder, low, high)

            def make(positions, starts):
                value = of_positions(builder, starts[0], x_step, positions)
                result, *negative = (factor(value) for factor in factors[positions])
                if negative:
                    below = builder.icmp_signed("<", value, all_lanes(value.type, 0))
                    result = builder.select(below, negative[0], result)
                return clamped_shorts(builder, result, limits)

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
            adders = {positions: Addition(builder, record, positions * LANES, mode == Mode.S, halved=None)
                      for positions in (1, 2)}

            def make(positions, starts):
                operands = (of_positions(builder, start, step, positions)
                            for start, step in zip(starts, (x_step, other_step), strict=False))
                return adders[positions].shorts(*operands)

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

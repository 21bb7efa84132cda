"""Vectors of activations to another scale: rescale, leaky ReLU, and the addition of two images, along positions."""

from __future__ import annotations

from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64
from npunet.engine.codegen.integers import INT16, INT32, load, load_one, splat, widen
from npunet.engine.codegen.jit import inlined
from npunet.engine.integer.kernels.requantise import (
    WORDS,
    Addition,
    Requantisation,
    along_positions,
    clamped_shorts,
    splat_number,
    splat_shorts,
    words,
)
from npunet.engine.integer.plan.opcodes import Mode

S = int(Mode.S)


def factor_at(builder, at, mode: Mode) -> Requantisation:
    """The requantisation of a record (m, s), the same for all channels."""
    m, s = (splat(builder, load_one(builder, builder.add(at, INT64(4 * k)), INT32)) for k in range(2))
    return Requantisation(builder, mode, m, s)


def make_unary(mode: Mode, leaky: bool):
    """The intrinsic for `count` positions of one vector of channels; see pointwise.activate."""

    @intrinsic
    def unary(typing, arguments):
        def generate(context, builder, signature, values):
            count, x, x_step, params, low, high, y, y_step = cgutils.unpack_tuple(builder, values[0])
            positive = factor_at(builder, params, mode)
            negative = factor_at(builder, builder.add(params, INT64(8)), mode) if leaky else None
            limits = [splat_shorts(builder, splat_number(builder, value, WORDS)) for value in (low, high)]

            def make(positions, starts):
                outputs = []
                for m in range(positions):
                    value = widen(builder, load(builder, builder.add(starts[0], x_step) if m else starts[0], INT16))
                    result = positive(value)
                    if negative is not None:
                        below = builder.icmp_signed("<", value, words(0))
                        result = builder.select(below, negative(value), result)
                    outputs.append(result)
                return clamped_shorts(builder, outputs, limits)

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
            limits = [splat_shorts(builder, value) for value in (adder.low, adder.high)]

            def make(positions, starts):
                outputs = []
                for m in range(positions):
                    places = [builder.add(start, step) if m else start
                              for start, step in zip(starts, (x_step, other_step), strict=False)]
                    outputs.append(adder(*(widen(builder, load(builder, place, INT16)) for place in places)))
                return clamped_shorts(builder, outputs, limits)

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

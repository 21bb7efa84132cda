"""From int32 sums to int16 activations: requantise by the profile, add the residual, clamp, store.

One function a mode, all emitted by the same formulas; each runs along the positions of one vector of filters, two at a
time, whose multipliers and shifts stay in registers.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from npunet.engine.codegen.emit import INT64
from npunet.engine.codegen.integers import INT32, clamp, load, to_shorts
from npunet.engine.codegen.jit import jit
from npunet.engine.codegen.simd import stand_alone
from npunet.engine.integer.kernels.positions import along_positions, in_two_stages, limits_of, of_both, of_two
from npunet.engine.integer.kernels.requantise import (
    LONG,
    SHORTS,
    SINGLE,
    TWO,
    WORDS,
    Addition,
    LongRequantisation,
    Requantisation,
)
from npunet.engine.integer.kernels.vectors import aligned_stack
from npunet.engine.integer.plan.opcodes import Mode
from npunet.engine.target import LANES


def make_finish(mode: Mode, source: ir.Type, adds: bool, halved: int | None = None):
    """The intrinsic that finishes `count` positions of one vector of filters.

    x            : sums, of neighbouring positions;  m, s, bias : addresses of the vector's constants
    low, high    : clamp;  y, y_step : of the first position's vector, and to the next position
    addend, addend_step, record : the residual's second operand and the addition's record, if it adds
    """
    x_step = INT64(source.width // 8 * LANES)

    @intrinsic
    def finish(typing, arguments):
        def generate(context, builder, signature, values):
            count, x, m, s, bias, low, high, y, y_step, addend, addend_step, record = (
                cgutils.unpack_tuple(builder, values[0]))
            m, s = (of_both(builder, load(builder, at, INT32)) for at in (m, s))
            requantise: Requantisation | LongRequantisation
            if mode in LONG:
                requantise = LongRequantisation(builder, m, s, of_both(builder, load(builder, bias, INT64)))
            else:
                requantise = Requantisation(builder, mode, m, s, doubled=mode == Mode.D)

            def requantised(place):
                return requantise(load(builder, place, source, TWO))

            if not adds:
                limits = limits_of(builder, low, high, SHORTS)

                def finished(places, steps):
                    return clamp(builder, to_shorts(builder, requantised(places[0])), *limits)

                along_positions(builder, count, [x, y], [x_step, y_step], finished)
                return context.get_dummy_value()

            limits, adder = limits_of(builder, low, high, WORDS), Addition(builder, record, mode in SINGLE, halved)

            def clamped(place):
                return clamp(builder, requantised(place), *limits)

            def added(given, places, steps):
                return adder(given, of_two(builder, places[1], steps[1]))

            in_two_stages(builder, count, [x, addend, y], [x_step, addend_step, y_step], clamped, added)
            return context.get_dummy_value()

        return types.void(arguments), generate

    return finish


def make_finish_row(adds: bool):
    """All vectors of `count` positions from their sums, in the mode that is told.

    plane  : bytes from one vector's sums to the next's
    params : address of m, of s, both int32, and of a long bias, each of whole vectors
    halved : which operand of the addition has the factor 1/2, or another number
    """
    of_d, of_d_any, of_s, of_s_any, of_long, of_long_s = (make_finish(mode, INT32, adds) for mode in Mode)
    of_longs, of_longs_s = (make_finish(mode, INT64, adds) for mode in LONG)
    of_d_first, of_d_second = (make_finish(Mode.D, INT32, adds, half) for half in (0, 1))

    @jit
    def finish_row(mode, wide, count, vectors, sums, plane, params, low, high, y, y_step, addend, addend_step, record,
                   halved):
        stand_alone()
        aligned_stack()
        m, padded = params, 4 * LANES * vectors
        for v in range(vectors):
            place = 4 * LANES * v
            arguments = (count, sums, m + place, m + padded + place,
                         m + 2 * padded + 2 * place, low, high, y, y_step, addend, addend_step, record)
            if adds and mode == D and halved == 0:
                of_d_first(arguments)
            elif adds and mode == D and halved == 1:
                of_d_second(arguments)
            elif mode == D:
                of_d(arguments)
            elif mode == D_ANY:
                of_d_any(arguments)
            elif mode == S:
                of_s(arguments)
            elif mode == S_ANY:
                of_s_any(arguments)
            elif mode == LONG_D and wide:
                of_longs(arguments)
            elif mode == LONG_D:
                of_long(arguments)
            elif wide:
                of_longs_s(arguments)
            else:
                of_long_s(arguments)
            sums += plane
            y += 2 * LANES
            addend += 2 * LANES

    return finish_row


D, D_ANY, S, S_ANY, LONG_D, LONG_S = (int(mode) for mode in Mode)
finish_row, finish_and_add_row = make_finish_row(adds=False), make_finish_row(adds=True)

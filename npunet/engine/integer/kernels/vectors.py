"""Eight int16 at a time, and single integers, at byte addresses: what the kernels that move integers are written in."""

from __future__ import annotations

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from npunet.engine.codegen import integers as emit
from npunet.engine.codegen.emit import INT64
from npunet.engine.codegen.integers import INT8, INT16, INT32
from npunet.engine.codegen.vectors import Lanes
from npunet.engine.target import CACHE_LINE, LANES

shorts = Lanes(INT16, LANES)
VECTOR_BYTES = 2 * LANES  # of eight int16


@intrinsic
def aligned_stack(typing):
    """Let the stack of the calling function begin at a cache line: registers that wait there would lie across two in
    some processes and not in others, and the kernels then take up to 1.8 times as long."""

    def generate(context, builder, signature, arguments):
        builder.function.attributes.alignstack = CACHE_LINE
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def load_shorts(typing, at):
    """Eight int16."""
    return shorts(types.intp), lambda context, builder, signature, arguments: emit.load(builder, arguments[0], INT16)


@intrinsic
def load_bytes(typing, at):
    """Eight int8, widened to int16."""

    def generate(context, builder, signature, arguments):
        return emit.widen(builder, emit.load(builder, arguments[0], INT8), INT16)

    return shorts(types.intp), generate


@intrinsic
def store_shorts(typing, value, at):
    """Eight int16 to an address."""

    def generate(context, builder, signature, arguments):
        emit.store(builder, *arguments)
        return context.get_dummy_value()

    return types.void(value, types.intp), generate


@intrinsic
def store_bytes(typing, value, at):
    """Eight int16, each within int8, as int8 to an address."""

    def generate(context, builder, signature, arguments):
        emit.store(builder, builder.trunc(arguments[0], emit.vector_of(INT8)), arguments[1])
        return context.get_dummy_value()

    return types.void(value, types.intp), generate


@intrinsic
def same_shorts(typing, value):
    """One integer in every lane."""

    def generate(context, builder, signature, arguments):
        return emit.splat(builder, builder.trunc(arguments[0], INT16))

    return shorts(types.int64), generate


def define(operation):
    @intrinsic
    def apply(typing, a, b):
        return a(a, b), lambda context, builder, signature, arguments: operation(builder, *arguments)

    return apply


plus = define(lambda builder, a, b: builder.add(a, b))
larger = define(emit.larger)
smaller = define(emit.smaller)


def define_read(element: ir.IntType):
    @intrinsic
    def read(typing, at):
        """One integer at an address."""

        def generate(context, builder, signature, arguments):
            value = builder.load(builder.inttoptr(arguments[0], element.as_pointer()))
            value.align = element.width // 8
            return builder.sext(value, INT64)

        return types.int64(types.intp), generate

    return read


def define_write(element: ir.IntType):
    @intrinsic
    def write(typing, value, at):
        """Write one integer to an address."""

        def generate(context, builder, signature, arguments):
            value = builder.trunc(arguments[0], element)
            builder.store(value, builder.inttoptr(arguments[1], element.as_pointer())).align = element.width // 8
            return context.get_dummy_value()

        return types.void(types.int64, types.intp), generate

    return write


read_byte, read_short, read_word, read_long = (define_read(element) for element in (INT8, INT16, INT32, INT64))
write_byte, write_short = (define_write(element) for element in (INT8, INT16))

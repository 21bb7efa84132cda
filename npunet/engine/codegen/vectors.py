"""Eight float32 or eight float64 at a time, with operators: what the training kernels are written in.

Where registers hold pairs of vectors, kernels of channels take a pair of vectors at a time, sixteen values.

Lanes never mix, and no multiplication is fused with an addition unless `fma` says so. An address is a byte address.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from npunet.engine.codegen.emit import FLOAT, INT64, VECTOR, splat, store_vector
from npunet.engine.target import LANES

DOUBLE = ir.DoubleType()
DOUBLES = ir.VectorType(DOUBLE, LANES)
INTEGERS, LONGS = (ir.VectorType(ir.IntType(bits), LANES) for bits in (32, 64))


class Lanes(types.Type):
    """A vector: so many values of one LLVM type."""

    def __init__(self, element: ir.Type, count: int) -> None:
        self.model = ir.VectorType(element, count)
        super().__init__(name=str(self.model))


vector, wide = Lanes(FLOAT, LANES), Lanes(DOUBLE, LANES)
pair, wide_pair = Lanes(FLOAT, 2 * LANES), Lanes(DOUBLE, 2 * LANES)
WIDENED = {vector: wide, pair: wide_pair}


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):
    def __init__(self, manager, lanes: Lanes) -> None:
        super().__init__(manager, lanes, lanes.model)


def define_operator(symbol, instruction: str) -> None:
    @type_callable(symbol)
    def infer(context):
        return lambda a, b: a if isinstance(a, Lanes) and a == b else None

    for lanes in (vector, wide, pair, wide_pair):
        lower_builtin(symbol, lanes, lanes)(
            lambda context, builder, signature, arguments: getattr(builder, instruction)(*arguments)
        )


for symbol, instruction in ((operator.add, "fadd"), (operator.sub, "fsub"), (operator.mul, "fmul"),
                            (operator.truediv, "fdiv")):
    define_operator(symbol, instruction)


def define_load(lanes: Lanes):
    """The vector at an address, aligned as its values are."""

    @intrinsic
    def load(typing, at):
        def generate(context, builder, signature, arguments):
            value = builder.load(builder.inttoptr(arguments[0], lanes.model.as_pointer()))
            value.align = 4 if lanes.model.element == FLOAT else 8
            return value

        return lanes(types.intp), generate

    return load


load, load_pair, load_wide, load_wide_pair = map(define_load, (vector, pair, wide, wide_pair))


@intrinsic
def store(typing, value, at):
    """Write a float32 vector to an address."""

    def generate(context, builder, signature, arguments):
        store_vector(builder, *arguments)
        return context.get_dummy_value()

    return types.void(value, types.intp), generate


@intrinsic
def store_wide(typing, value, at):
    """Write a float64 vector to an address."""

    def generate(context, builder, signature, arguments):
        store_wide_at(builder, *arguments)
        return context.get_dummy_value()

    return types.void(value, types.intp), generate


def doubles(lanes: int) -> ir.VectorType:
    return ir.VectorType(DOUBLE, lanes)


def load_wide_at(builder, at, lanes: int = LANES):
    value = builder.load(builder.inttoptr(at, doubles(lanes).as_pointer()))
    value.align = 8
    return value


def store_wide_at(builder, value, at) -> None:
    builder.store(value, builder.inttoptr(at, value.type.as_pointer())).align = 8


@intrinsic
def same(typing, value):
    """A float32 vector with one number in every lane."""
    return vector(types.float32), lambda context, builder, signature, arguments: splat(builder, arguments[0])


@intrinsic
def same_as(typing, like, value):
    """A float32 vector of the kind of the first argument with one number in every lane."""

    def generate(context, builder, signature, arguments):
        return splat(builder, arguments[1], like.model.count)

    return like(like, types.float32), generate


def define_nothing(lanes: Lanes):
    """A float64 vector of +0."""

    @intrinsic
    def nothing(typing):
        return lanes(), lambda *_: ir.Constant(lanes.model, [0.0] * lanes.model.count)

    return nothing


nothing, nothing_pair = define_nothing(wide), define_nothing(wide_pair)


@intrinsic
def widen(typing, value):
    """float32 to float64."""
    to = WIDENED[value]
    return to(value), lambda context, builder, signature, arguments: builder.fpext(arguments[0], to.model)


@intrinsic
def to_float32(typing, value):
    """float64 to float32, rounded to nearest."""
    return vector(wide), lambda context, builder, signature, arguments: builder.fptrunc(arguments[0], VECTOR)


@intrinsic
def wide_same(typing, value):
    """A float64 vector with one number in every lane."""

    def generate(context, builder, signature, arguments):
        undefined = ir.Constant(DOUBLES, ir.Undefined)
        first = builder.insert_element(undefined, arguments[0], ir.IntType(32)(0))
        return builder.shuffle_vector(first, undefined, ir.Constant(INTEGERS, [0] * LANES))

    return wide(types.float64), generate


@intrinsic
def wide_root(typing, value):
    """Square root in float64."""

    def generate(context, builder, signature, arguments):
        function = ir.FunctionType(DOUBLES, [DOUBLES])
        named = cgutils.get_or_insert_function(builder.module, function, f"llvm.sqrt.v{LANES}f64")
        return builder.call(named, arguments)

    return wide(wide), generate


@intrinsic
def fma(typing, a, b, c):
    """a * b + c, rounded once."""

    def generate(context, builder, signature, arguments):
        function = ir.FunctionType(a.model, [a.model] * 3)
        named = cgutils.get_or_insert_function(builder.module, function, f"llvm.fma.v{a.model.count}f32")
        return builder.call(named, arguments)

    return a(a, a, a), generate


@intrinsic
def root(typing, value):
    """Square root."""

    def generate(context, builder, signature, arguments):
        function = ir.FunctionType(VECTOR, [VECTOR])
        named = cgutils.get_or_insert_function(builder.module, function, f"llvm.sqrt.v{LANES}f32")
        return builder.call(named, arguments)

    return vector(vector), generate


def define_choice(comparison):
    """An intrinsic (a, b, x, y): x where the comparison of a and b holds, else y."""

    @intrinsic
    def choose(typing, a, b, x, y):
        def generate(context, builder, signature, arguments):
            a, b, x, y = arguments
            return builder.select(comparison(builder, a, b), x, y)

        return x(a, a, x, x), generate

    return choose


where_greater = define_choice(lambda builder, a, b: builder.fcmp_ordered(">", a, b))
where_equal = define_choice(lambda builder, a, b: builder.fcmp_ordered("==", a, b))
# a beats b where it is larger, or the first NaN
where_beats = define_choice(lambda builder, a, b: builder.and_(builder.fcmp_unordered(">", a, b),
                                                               builder.fcmp_ordered("ord", b, b)))
where_less = define_choice(lambda builder, a, b: builder.fcmp_ordered("<", a, b))


def define_lane(lanes: Lanes, number: types.Float):
    @intrinsic
    def lane(typing, value, place):
        """One number of a vector."""

        def generate(context, builder, signature, arguments):
            return builder.extract_element(arguments[0], builder.trunc(arguments[1], ir.IntType(32)))

        return number(lanes, types.int64), generate

    return lane


lane, wide_lane = define_lane(vector, types.float32), define_lane(wide, types.float64)


@intrinsic
def load_integers(typing, at):
    """The int32 vector at an address, as float32: exact below 2^24."""

    def generate(context, builder, signature, arguments):
        value = builder.load(builder.inttoptr(arguments[0], INTEGERS.as_pointer()))
        value.align = 4
        return builder.sitofp(value, VECTOR)

    return vector(types.intp), generate


@intrinsic
def times_power_of_two(typing, value, exponent):
    """value * 2^n for the whole numbers n, from -252 to 254, in the lanes of `exponent`: two exact steps."""

    def generate(context, builder, signature, arguments):
        value, exponent = arguments
        n = builder.fptosi(exponent, INTEGERS)
        half = builder.ashr(n, ir.Constant(INTEGERS, [1] * LANES))
        for part in (half, builder.sub(n, half)):
            bits = builder.shl(builder.add(part, ir.Constant(INTEGERS, [127] * LANES)),
                               ir.Constant(INTEGERS, [23] * LANES))
            value = builder.fmul(value, builder.bitcast(bits, VECTOR))
        return value

    return vector(vector, vector), generate


def define_read(number: types.Float, kind: ir.Type):
    @intrinsic
    def read(typing, at):
        """The number at an address."""

        def generate(context, builder, signature, arguments):
            return builder.load(builder.inttoptr(arguments[0], kind.as_pointer()))

        return number(types.intp), generate

    return read


def define_write(number: types.Float, kind: ir.Type):
    @intrinsic
    def write(typing, value, at):
        """Write a number to an address."""

        def generate(context, builder, signature, arguments):
            builder.store(arguments[0], builder.inttoptr(arguments[1], kind.as_pointer()))
            return context.get_dummy_value()

        return types.void(number, types.intp), generate

    return write


read, read_wide = define_read(types.float32, FLOAT), define_read(types.float64, DOUBLE)
write, write_wide = define_write(types.float32, FLOAT), define_write(types.float64, DOUBLE)


@intrinsic
def bits_of(typing, value):
    """The bits of a float64."""
    return types.int64(types.float64), lambda context, builder, signature, arguments: builder.bitcast(
        arguments[0], INT64)


@intrinsic
def from_bits(typing, bits):
    """The float64 of these bits."""
    return types.float64(types.int64), lambda context, builder, signature, arguments: builder.bitcast(
        arguments[0], DOUBLE)

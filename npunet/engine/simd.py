"""Explicit float32 vectors inside Numba: a tile of accumulators in registers, and what can be done to it.

A tile holds `rows` positions x `vectors` vectors of LANES output channels. Every function here works on all of its
elements at once and never mixes lanes, so each output sees its own sum in the order in which the kernel forms it. LLVM
maps the vectors to what the machine has (and splits them where it has less); where registers are WIDE, two neighbouring
vectors are one. The bits do not depend on it.

Addresses are byte addresses held in intp, so that a kernel does its own arithmetic on them.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.registry import cpu_target
from numba.extending import intrinsic, models, register_model

from npunet.engine.opcodes import LANES

FLOAT = ir.FloatType()
VECTOR = ir.VectorType(FLOAT, LANES)
INT64 = ir.IntType(64)
VECTOR_BYTES = 4 * LANES


def has_feature(name: str) -> bool:
    """Whether the machine that is compiled for has this feature of an x86-64, by LLVM's name for it."""
    triple, _, features = cpu_target.target_context.codegen().magic_tuple()
    return triple.startswith("x86_64") and f"+{name}" in features.split(",")


ONE_REGISTER = has_feature("avx")  # holds a vector
WIDE = has_feature("avx512f") and has_feature("avx512vl")  # a register holds two vectors, and there are 32


class Tile(types.Type):
    """rows x vectors accumulators, row by row; `lanes` of them at a time."""

    def __init__(self, rows: int, vectors: int) -> None:
        self.rows, self.vectors = rows, vectors
        self.lanes = 2 * LANES if WIDE and vectors % 2 == 0 else LANES
        super().__init__(name=f"Tile({rows}, {vectors}, {LANES})")

    @property
    def parts(self) -> int:
        """Registers that a position takes."""
        return self.vectors * LANES // self.lanes

    @property
    def size(self) -> int:
        """Registers that it takes."""
        return self.rows * self.parts

    @property
    def model(self) -> ir.ArrayType:
        return ir.ArrayType(ir.VectorType(FLOAT, self.lanes), self.size)


@register_model(Tile)
class TileModel(models.PrimitiveModel):
    def __init__(self, manager, tile: Tile) -> None:
        super().__init__(manager, tile, tile.model)


@intrinsic(prefer_literal=True)
def zeros(typing, rows, vectors):
    """A tile of +0."""
    tile = Tile(rows.literal_value, vectors.literal_value)

    def generate(context, builder, signature, arguments):
        return ir.Constant(tile.model, [everywhere(0.0, tile.lanes)] * tile.size)

    return tile(rows, vectors), generate


@intrinsic
def load(typing, tile, source, step):
    """The tile at `source`, one position every `step` bytes; the argument gives the shape."""

    def generate(context, builder, signature, arguments):
        _, source, step = arguments
        return pack(builder, [load_vector(builder, at, tile.lanes) for at in addresses(builder, tile, source, step)])

    return tile(tile, types.intp, types.intp), generate


@intrinsic
def store(typing, tile, target, step):
    """Write the tile at `target`, one position every `step` bytes."""

    def generate(context, builder, signature, arguments):
        values, target, step = arguments
        for value, at in zip(unpack(builder, values), addresses(builder, tile, target, step), strict=True):
            store_vector(builder, value, at)
        return context.get_dummy_value()

    return types.void(tile, types.intp, types.intp), generate


def make_multiply_add(fused: bool):
    """acc + x * w on vectors: one rounding when fused, two when not."""

    def multiply_add(builder, x, w, acc):
        if not fused:
            return builder.fadd(acc, builder.fmul(x, w))
        kind = acc.type
        fma = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(kind, [kind] * 3), f"llvm.fma.v{kind.count}f32"
        )
        return builder.call(fma, [x, w, acc])

    return multiply_add


def make_elementwise(fused: bool):
    """One step of a depthwise convolution: every element times its channel's weight, added to the tile."""
    multiply_add = make_multiply_add(fused)

    @intrinsic
    def elementwise(typing, tile, x, step, w):
        """acc[m][v] = acc[m][v] + x[m][v] * w[v], x `vectors` vectors every `step` bytes."""

        def generate(context, builder, signature, arguments):
            acc, x, step, w = arguments
            sums = unpack(builder, acc)
            weights = [load_vector(builder, at, tile.lanes) for at in along(builder, w, tile.parts, tile.lanes)]
            for k, at in enumerate(addresses(builder, tile, x, step)):
                value = load_vector(builder, at, tile.lanes)
                sums[k] = multiply_add(builder, value, weights[k % tile.parts], sums[k])
            return pack(builder, sums)

        return tile(tile, types.intp, types.intp, types.intp), generate

    return elementwise


@intrinsic
def add_tile(typing, tile, other):
    """acc + other, element by element."""

    def generate(context, builder, signature, arguments):
        pairs = zip(*(unpack(builder, argument) for argument in arguments), strict=True)
        return pack(builder, [builder.fadd(a, b) for a, b in pairs])

    return tile(tile, tile), generate


@intrinsic
def larger(typing, tile, other):
    """The larger of two tiles, the first on a tie; NaN wins."""

    def generate(context, builder, signature, arguments):
        values = []
        for a, b in zip(*(unpack(builder, argument) for argument in arguments), strict=True):
            most = builder.select(builder.fcmp_ordered(">", b, a), b, a)
            if ONE_REGISTER:  # one instruction, unless LLVM joins it with the next select
                most = at_this_place(builder, most)
            values.append(builder.select(builder.fcmp_unordered("uno", b, b), b, most))
        return pack(builder, values)

    return tile(tile, tile), generate


@intrinsic(prefer_literal=True)
def fetch(typing, rows, at, step):
    """Ask for what stands at `rows` addresses (a literal number), every `step` bytes, to be brought near."""

    def generate(context, builder, signature, arguments):
        pointer, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
        prefetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        for m in range(rows.literal_value):
            place = builder.inttoptr(offset(builder, arguments[1], arguments[2], m), pointer)
            builder.call(prefetch, [place, flag(0), flag(2), flag(1)])
        return context.get_dummy_value()

    return types.void(rows, types.intp, types.intp), generate


@intrinsic
def copy_value(typing, source, target):
    """Copy one float from address to address."""

    def generate(context, builder, signature, arguments):
        source, target = arguments
        builder.store(load_scalar(builder, source), builder.inttoptr(target, FLOAT.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@intrinsic
def clear_value(typing, target):
    """Set the float at an address to +0."""

    def generate(context, builder, signature, arguments):
        builder.store(FLOAT(0.0), builder.inttoptr(arguments[0], FLOAT.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.intp), generate


@intrinsic
def stand_alone(typing):
    """Keep the calling function out of its callers' code: LLVM would copy it into each and optimise every copy."""

    def generate(context, builder, signature, arguments):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def rolled(typing):
    """Keep the loop around this call as written."""

    def generate(context, builder, signature, arguments):
        keep_order(builder)
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def address(typing, array):
    """Byte address of an array's first element."""

    def generate(context, builder, signature, arguments):
        from numba.np.arrayobj import make_array

        data = make_array(array)(context, builder, arguments[0]).data
        return builder.ptrtoint(data, INT64)

    return types.intp(array), generate


def along(builder, start, count: int, lanes: int = LANES):
    """Addresses of `count` consecutive vectors."""
    return [builder.add(start, INT64(4 * lanes * v)) for v in range(count)]


def addresses(builder, tile: Tile, start, step):
    """Address of every register of a tile, position after position."""
    bases = every_third(builder, tile.rows, start, step)
    for m in range(tile.rows):
        yield from along(builder, position(builder, bases, step, m), tile.parts, tile.lanes)


def every_third(builder, rows: int, start, step) -> list:
    """Addresses of positions 0, 3, 6 ...: from one of these, an instruction reaches the next two by itself."""
    return [hidden(builder, offset(builder, start, step, m)) for m in range(0, rows, 3)]


def hidden(builder, value):
    """The same integer, in a form that LLVM does not look through: it would express one address by another."""
    return builder.asm(ir.FunctionType(value.type, [value.type]), "", "=r,0", [value], side_effect=False)


def position(builder, bases: list, step, m: int):
    """Address of position m, from every third: one step or two are an operand of the load that uses it."""
    base, steps = bases[m // 3], m % 3
    return builder.add(base, builder.shl(step, INT64(steps - 1))) if steps else base


def keep_order(builder) -> None:
    """Emit nothing, in a form that LLVM does not duplicate and moves no load across.

    The loop around it stays as written, and what was to be loaded late does not take a register early: unrolled or
    hoisted, the sums of a tile go to memory and back, at a third of the speed.
    """
    nothing = ir.InlineAsm(ir.FunctionType(ir.VoidType(), []), "", "", side_effect=True)
    builder.call(nothing, [], attrs=("convergent",))


def repeat(builder, count, carried: list, body) -> list:
    """Emit a loop: body(carried) gives the next carried values, `count` times; the values after it."""
    before = builder.block
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "after"))
    builder.branch(head)
    builder.position_at_end(head)
    index = builder.phi(INT64)
    values = [builder.phi(value.type) for value in carried]
    builder.cbranch(builder.icmp_signed("<", index, count), inside, after)
    builder.position_at_end(inside)
    keep_order(builder)
    following = body(values)
    index.add_incoming(INT64(0), before)
    index.add_incoming(builder.add(index, INT64(1)), builder.block)
    for phi, first, later in zip(values, carried, following, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return values


def choose(builder, condition, carried: list, body) -> list:
    """Emit a branch: body(carried) where the condition holds, carried elsewhere."""
    before = builder.block
    inside, after = builder.append_basic_block("then"), builder.append_basic_block("after")
    builder.cbranch(condition, inside, after)
    builder.position_at_end(inside)
    changed = body(carried)
    end = builder.block
    builder.branch(after)
    builder.position_at_end(after)
    values = [builder.phi(value.type) for value in carried]
    for phi, first, later in zip(values, carried, changed, strict=True):
        phi.add_incoming(first, before)
        phi.add_incoming(later, end)
    return values


def offset(builder, start, step, count):
    """The address `count` steps behind start; both are values, or `count` a plain number."""
    return builder.add(start, builder.mul(step, INT64(count) if isinstance(count, int) else count))


def load_scalar(builder, at):
    return builder.load(builder.inttoptr(at, FLOAT.as_pointer()))


def load_vector(builder, at, lanes: int = LANES):
    value = builder.load(builder.inttoptr(at, ir.VectorType(FLOAT, lanes).as_pointer()))
    value.align = 4
    return value


def store_vector(builder, value, at) -> None:
    builder.store(value, builder.inttoptr(at, value.type.as_pointer())).align = 4


def everywhere(number: float, lanes: int = LANES):
    """The constant vector with one number in every lane."""
    return ir.Constant(ir.VectorType(FLOAT, lanes), [number] * lanes)


def larger_vector(builder, low, value):
    """The larger, value on a tie; NaN in value stays NaN."""
    return builder.select(builder.fcmp_ordered(">", low, value), low, value)


def smaller_vector(builder, high, value):
    """The smaller, value on a tie; NaN in value stays NaN."""
    return builder.select(builder.fcmp_ordered("<", high, value), high, value)


def at_this_place(builder, value):
    """The same vector, in a form that LLVM neither moves nor looks through: what it is made of comes before, what it
    becomes behind. Only where it is in ONE_REGISTER."""
    kind = ir.FunctionType(value.type, [value.type])
    return builder.asm(kind, "", "=v,0" if WIDE else "=x,0", [value], side_effect=True)


def shuffle(builder, a, b, lanes: list[int]):
    """The vector of the given lanes of a (0 ...) and b (LANES ...)."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), LANES), lanes))


def splat(builder, scalar, lanes: int = LANES):
    """A vector with the scalar in every lane."""
    undefined = ir.Constant(ir.VectorType(FLOAT, lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


def pack(builder, values):
    return cgutils.pack_array(builder, values)


def unpack(builder, tile) -> list:
    return [builder.extract_value(tile, k) for k in range(tile.type.count)]

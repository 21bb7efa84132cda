"""How LLVM instructions on vectors of float32 are emitted: addresses, loads, loops and branches, and what keeps LLVM
from rearranging them. For the bodies of intrinsics.

Addresses are byte addresses held in int64.
"""

from __future__ import annotations

from llvmlite import ir
from numba.core import cgutils

from npunet.engine.target import LANES, Shapes, this_target

FLOAT = ir.FloatType()
VECTOR = ir.VectorType(FLOAT, LANES)
INT64 = ir.IntType(64)
VECTOR_BYTES = 4 * LANES


TARGET = this_target()
PAIRS = TARGET.pairs  # for compiled functions, which read constants, not attributes


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


def along(builder, start, count: int, lanes: int = LANES):
    """Addresses of `count` consecutive vectors."""
    return [builder.add(start, INT64(4 * lanes * v)) for v in range(count)]


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
    after_body = body(values)
    index.add_incoming(INT64(0), before)
    index.add_incoming(builder.add(index, INT64(1)), builder.block)
    for phi, first, later in zip(values, carried, after_body, strict=True):
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


def dispatch(builder, rows, vectors, shapes: Shapes, body) -> None:
    """Emit body(rows, vectors) for every register tile, and the branches to the one of these sizes: by vectors, then
    by rows. No other is given, which a test holds; the process would stop there."""
    after, nowhere = builder.append_basic_block("after"), builder.append_basic_block("no_such_tile")
    by_vectors = builder.switch(vectors, nowhere)
    for each_vectors, each_rows in shapes:
        by_vectors.add_case(INT64(each_vectors), builder.append_basic_block("vectors"))
        builder.position_at_end(by_vectors.cases[-1][1])
        by_rows = builder.switch(rows, nowhere)
        for each in each_rows:
            inside = builder.append_basic_block("tile")
            by_rows.add_case(INT64(each), inside)
            builder.position_at_end(inside)
            body(each, each_vectors)
            builder.branch(after)
    builder.position_at_end(nowhere)
    trap = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), []), "llvm.trap")
    builder.call(trap, [])
    builder.unreachable()
    builder.position_at_end(after)


def offset(builder, start, step, count):
    """The address `count` steps behind start; both are values, or `count` a plain number."""
    return builder.add(start, builder.mul(step, INT64(count) if isinstance(count, int) else count))


def prefetch(builder, at) -> None:
    """Software prefetch of the cache line at an address into the second-level cache. No address is wrong."""
    pointer, flag = ir.IntType(8).as_pointer(), ir.IntType(32)
    kind = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
    instruction = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(instruction, [builder.inttoptr(at, pointer), flag(0), flag(2), flag(1)])


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
    becomes behind. Only where a register holds it, see Target.whole."""
    kind = ir.FunctionType(value.type, [value.type])
    return builder.asm(kind, "", "=v,0" if TARGET.pairs else "=x,0", [value], side_effect=True)


def shuffle(builder, a, b, lanes: list[int]):
    """The vector of the given lanes of a (0 ...) and, behind those, b."""
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(ir.IntType(32), len(lanes)), lanes))


def join(builder, a, b):
    """The lanes of a, then those of b."""
    return shuffle(builder, a, b, list(range(2 * a.type.count)))


def halves(builder, value) -> list:
    """Its first and its last lanes."""
    count = value.type.count
    return [shuffle(builder, value, value, list(range(start, start + count // 2))) for start in (0, count // 2)]


def splat(builder, scalar, lanes: int = LANES):
    """A vector with the scalar in every lane."""
    undefined = ir.Constant(ir.VectorType(FLOAT, lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.IntType(32)(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(ir.IntType(32), lanes), [0] * lanes))


def pack(builder, values):
    return cgutils.pack_array(builder, values)


def unpack(builder, tile) -> list:
    return [builder.extract_value(tile, k) for k in range(tile.type.count)]

"""What a program does and costs, instruction by instruction, for people and as JSON. Needs no Numba."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np

from npunet.engine.plan.layout import Image
from npunet.engine.plan.lowering import Instruction
from npunet.engine.plan.opcodes import CONVOLUTIONS, Flag, Op
from npunet.engine.plan.program import Program
from npunet.engine.plan.winograd_blocking import MATRICES
from npunet.graph import Shape
from npunet.ops.winograd import TILE

FLAG_WORDS = {Flag.CONTINUE: "continues y", Flag.BIAS: "bias", Flag.RELU: "relu", Flag.RELU6: "relu6", Flag.ADD: "add"}


@dataclass(frozen=True)
class Operand:
    """A tensor in the arena: (H, W, C), bytes from the arena's start to its first value, zeros kept around it.

    rows : that its memory holds, zeros included: fewer than there are in a line buffer, which has a part for each
           thread; in one, `offset` is where its memory begins
    """

    tensor: str
    shape: Shape
    offset: int
    halo: tuple[int, int, int, int]
    rows: int


@dataclass(frozen=True)
class ProgramRow:
    """One row of a program's table.

    reads, writes : operands in the arena; the user's arrays, at the two ends, are not
    fused  : what else it does: bias, clamp, and the layers that need no instruction of their own for it
    head   : number of the instruction with which it runs a cache block at a time; its own when it runs alone
    blocks : row blocks in which it is done, in a chain with its neighbours; 1 when all at once
    macs   : multiply-accumulates for one sample, without padding channels, of a convolution as it is defined
    done   : those that are done: fewer where Winograd's algorithm does it (its transforms not counted)
    moved  : bytes of operands and weights that it touches, padding channels included
    """

    number: int
    op: str
    layer: str
    reads: tuple[Operand, ...]
    writes: tuple[Operand, ...]
    weights: tuple[tuple[int, ...], ...]
    fused: tuple[str, ...]
    head: int
    blocks: int
    macs: int
    done: int
    moved: int


def instructions(program: Program) -> list[ProgramRow]:
    """Every instruction of a program."""
    rows, heads = [], {number: group.start for group in program.groups for number in group}
    for number, instruction in enumerate(program.instructions):
        reads = [name for name in (instruction.x, instruction.addend) if name]
        if instruction.flags & Flag.CONTINUE:
            reads.append(instruction.y)
        arrays = [array for array in (instruction.depthwise, instruction.weights, instruction.bias)
                  if array is not None]
        touched = sum(inner(program.images[name]) for name in (*reads, instruction.y) if name)
        rows.append(ProgramRow(
            number, instruction.op.name.lower(), instruction.layer, tuple(operand(program, name) for name in reads),
            (operand(program, instruction.y),) if instruction.y else (), tuple(array.shape for array in arrays),
            (*words(instruction.flags), *instruction.fused), heads[number], program.blocks[number],
            macs(instruction, program), done(instruction, program),
            program.itemsize * (touched + sum(array.size for array in arrays)),
        ))
    return rows


def operand(program: Program, name: str) -> Operand:
    image, stored = program.images[name], program.buffers.get(name, program.images[name])
    offset = program.itemsize * (program.arena.offsets[name] + (0 if name in program.buffers else image.inner))
    return Operand(name, (image.height, image.width, image.channels), offset, image.halo, stored.size // stored.row)


def inner(image: Image) -> int:
    """Elements of an image without its halo."""
    return image.height * image.width * image.col


def words(flags: int) -> list[str]:
    return [word for flag, word in FLAG_WORDS.items() if flags & flag]


def macs(instruction: Instruction, program: Program) -> int:
    """At every position of the input, which has the size of what is convolved, one product a weight."""
    if instruction.op not in CONVOLUTIONS:
        return 0
    x = program.images[instruction.x]
    arrays = (instruction.depthwise, instruction.weights)
    return x.height * x.width * sum(array.size for array in arrays if array is not None)


def done(instruction: Instruction, program: Program) -> int:
    """Products of a Winograd convolution's tiles; of every other instruction, its MACs."""
    if instruction.op != Op.WINOGRAD:
        return macs(instruction, program)
    y, (_, _, C, F) = program.images[instruction.y], instruction.dense.shape
    return -(-y.height // TILE) * -(-y.width // TILE) * MATRICES * C * F


def peaks(compile_one: Callable[[bool, bool], Program]) -> dict[str, int]:
    """Bytes of the arena on one thread with each saving and without; of programs by (fuse, in_place)."""
    kinds = {"fused, in place": (True, True), "fused": (True, False), "in place": (False, True),
             "neither": (False, False)}
    programs = {kind: compile_one(*savings) for kind, savings in kinds.items()}
    return {kind: program.itemsize * program.arena.size for kind, program in programs.items()}


def totals(program: Program) -> dict[str, int]:
    """Sums over a program: instructions, MACs, bytes moved, and the bytes that it stands in."""
    rows, value = instructions(program), np.dtype(program.values).itemsize
    arena = program.itemsize * program.arena.size
    return {"instructions": len(rows), "macs": sum(row.macs for row in rows),
            "done": sum(row.done for row in rows), "moved": sum(row.moved for row in rows),
            "arena": arena, "constants": program.constants.nbytes, "table": program.table.nbytes,
            "input": value * prod(program.input_shape), "output": value * prod(program.output_shape)}


def as_dict(program: Program, arena_peaks: Mapping[str, int]) -> dict[str, Any]:
    """A program ready for JSON."""
    rows = [asdict(row) for row in instructions(program)]
    return {"input_shape": program.input_shape, "output_shape": program.output_shape, "threads": program.threads,
            "instructions": rows, "totals": totals(program), "arena_peaks": dict(arena_peaks)}


def text(program: Program, arena_peaks: Mapping[str, int], title: str) -> str:
    """A program as a table with totals."""
    sums, sizes = totals(program), "x".join(map(str, program.input_shape))
    tiled = sums["done"] < sums["macs"]
    rows = instructions(program)
    chained = any(row.blocks > 1 for row in rows)
    lines = [(("+" if row.head != row.number else "") + str(row.number), *([f"{row.blocks:,}"] if chained else []),
              row.op, row.layer, shown(row.reads), shown(row.writes),
              ", ".join("x".join(map(str, shape)) for shape in row.weights), ", ".join(row.fused),
              f"{row.macs:,}", *([f"{row.done:,}"] if tiled else []), f"{row.moved:,}") for row in rows]
    header = ("#", *(["blocks"] if chained else []), "instruction", "layer", "reads", "writes", "weights", "fused",
              "MACs", *(["done"] if tiled else []), "bytes")
    right = [number for number, name in enumerate(header) if name in ("#", "blocks", "MACs", "done", "bytes")]
    told = f" ({sums['done']:,} done)" if tiled else ""
    kinds = "; ".join(f"{kind} {size:,}" for kind, size in arena_peaks.items())
    return "\n".join([
        f"{title}  input {sizes}  threads {program.threads}",
        *columns([header, *lines], right),
        "reads and writes: HxWxC@byte in the arena, [zeros above, below, left, right]; "
        "+: done a cache block at a time with the instruction before",
        *(["blocks: so many blocks of rows, each followed by those of its neighbours; "
           "(rows): of a tensor that only they use, as many are kept"] if chained else []),
        f"{sums['instructions']} instructions, {sums['macs']:,} MACs{told}, {sums['moved']:,} bytes moved a sample",
        f"bytes: arena {sums['arena']:,}, constants {sums['constants']:,}, table {sums['table']:,}, "
        f"input {sums['input']:,}, output {sums['output']:,}",
        f"arena on one thread: {kinds}",
    ])


def shown(operands: Iterable[Operand]) -> str:
    """Operands in short."""
    return " ".join(f"{'x'.join(map(str, each.shape))}@{each.offset}"
                    + (f"[{','.join(map(str, each.halo))}]" if any(each.halo) else "")
                    + (f"({each.rows})" if each.rows < each.shape[0] else "") for each in operands)


def columns(lines: Sequence[Sequence[str]], right: Sequence[int]) -> list[str]:
    """Lines of cells as aligned text; the columns in `right` flush right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]

    def aligned(line: Sequence[str]) -> str:
        cells = enumerate(zip(line, widths, strict=True))
        return "  ".join(cell.rjust(width) if n in right else cell.ljust(width) for n, (cell, width) in cells).rstrip()

    return [aligned(line) for line in lines]

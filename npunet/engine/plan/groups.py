"""Groups: neighbouring convolutions that are done together, a cache block of a row at a time."""

from __future__ import annotations

from npunet.engine.plan.layout import has_few_filters, vectors
from npunet.engine.plan.lowering import Instruction, Lowered
from npunet.engine.plan.opcodes import CONVOLUTIONS, Flag, Op


def form_groups(lowered: Lowered) -> list[range]:
    """Neighbouring convolutions over one image that can be done together, a cache block at a time: what one of them
    writes the others read at the same position only."""
    groups: list[range] = []
    for number, instruction in enumerate(lowered.instructions):
        if groups and belongs(instruction, [lowered.instructions[member] for member in groups[-1]], lowered):
            groups[-1] = range(groups[-1].start, number + 1)
        else:
            groups.append(range(number, number + 1))
    return groups


def belongs(instruction: Instruction, members: list[Instruction], lowered: Lowered) -> bool:
    if instruction.op not in CONVOLUTIONS or members[-1].op not in CONVOLUTIONS:
        return False
    if instruction.op == Op.WINOGRAD or has_few_filters(instruction) or has_few_filters(members[-1]):
        return False
    written = {member.y for member in members}
    read_around = {member.x for member in members if not member.reads_one_position}
    same_size = all(lowered.shapes[instruction.y][:2] == lowered.shapes[member.y][:2] for member in members)
    if instruction.copies != (1, 1) or not same_size or instruction.y in read_around:
        return False
    return instruction.x not in written or instruction.reads_one_position


def fuses_into(instruction: Instruction, before: Instruction) -> bool:
    """Whether an instruction adds its result to that of the one before, over which it is written, so that tiles of both
    can be done together, the first never going to memory. Pairs of vectors alone leave registers for that."""
    one_tap = before.op == Op.SEPARABLE or (before.op == Op.CONV and before.reads_one_position)
    adds = before.flags & (Flag.ADD | Flag.SPREAD) == 0 and instruction.flags & (Flag.ADD | Flag.CONTINUE) == Flag.ADD
    return (one_tap and adds and instruction.reads_one_position
            and instruction.addend == before.y and instruction.x != before.y and not has_few_filters(before)
            and instruction.dense.size > 0 and vectors(instruction.dense.shape[3]) % 2 == 0)

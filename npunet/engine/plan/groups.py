"""Groups: neighbouring convolutions that are done together, a cache block of a row at a time."""

from __future__ import annotations

from npunet.engine.plan.layout import has_few_filters, vectors
from npunet.engine.plan.lowering import Instruction, Lowered
from npunet.engine.plan.opcodes import CONVOLUTIONS, Flag, Op


def form_groups(lowered: Lowered) -> list[range]:
    """Neighbouring convolutions over one image that can be done together, a cache block at a time: what one of them
    writes the others read at the same position only."""
    groups: list[range] = []
    for number, step in enumerate(lowered.steps):
        if groups and belongs(step, [lowered.steps[member] for member in groups[-1]], lowered):
            groups[-1] = range(groups[-1].start, number + 1)
        else:
            groups.append(range(number, number + 1))
    return groups


def belongs(step: Instruction, members: list[Instruction], lowered: Lowered) -> bool:
    if step.op not in CONVOLUTIONS or members[-1].op not in CONVOLUTIONS:
        return False
    if step.op == Op.WINOGRAD or has_few_filters(step) or has_few_filters(members[-1]):
        return False
    written = {member.y for member in members}
    read_around = {member.x for member in members if not member.reads_one_position}
    same_size = all(lowered.shapes[step.y][:2] == lowered.shapes[member.y][:2] for member in members)
    if step.copies != (1, 1) or not same_size or step.y in read_around:
        return False
    return step.x not in written or step.reads_one_position


def fuses_into(step: Instruction, before: Instruction) -> bool:
    """Whether a step adds its result to that of the one before, over which it is written, so that tiles of both can be
    done together, the first never going to memory. Pairs of vectors alone leave registers for that."""
    one_tap = before.op == Op.SEPARABLE or (before.op == Op.CONV and before.reads_one_position)
    plain = before.flags & (Flag.ADD | Flag.SPREAD) == 0 and step.flags & (Flag.ADD | Flag.CONTINUE) == Flag.ADD
    return (one_tap and plain and step.reads_one_position and step.addend == before.y and step.x != before.y
            and not has_few_filters(before) and step.dense.size > 0 and vectors(step.dense.shape[3]) % 2 == 0)

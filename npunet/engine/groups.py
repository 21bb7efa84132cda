"""Groups: neighbouring convolutions that are done together, piece by piece of a row."""

from __future__ import annotations

from npunet.engine.layout import is_narrow
from npunet.engine.lowering import Lowered, Step
from npunet.engine.opcodes import CONVOLUTIONS, Op


def form_groups(lowered: Lowered) -> list[range]:
    """Neighbouring convolutions over one image that can be done piece by piece together: what one of them writes the
    others read at the same position only."""
    groups: list[range] = []
    for number, step in enumerate(lowered.steps):
        if groups and joins(step, [lowered.steps[member] for member in groups[-1]], lowered):
            groups[-1] = range(groups[-1].start, number + 1)
        else:
            groups.append(range(number, number + 1))
    return groups


def joins(step: Step, members: list[Step], lowered: Lowered) -> bool:
    if step.op not in CONVOLUTIONS or members[-1].op not in CONVOLUTIONS:
        return False
    if step.op == Op.WINOGRAD or is_narrow(step) or is_narrow(members[-1]):
        return False
    written, read_around = {member.y for member in members}, {member.x for member in members if member.kernel != (1, 1)}
    same_size = all(lowered.shapes[step.y][:2] == lowered.shapes[member.y][:2] for member in members)
    if step.copies != (1, 1) or not same_size or step.y in read_around:
        return False
    return step.x not in written or step.kernel == (1, 1)

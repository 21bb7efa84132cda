"""Which instructions run together, row by row, and how far each lies behind the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from npunet.engine.plan.layout import Image
from npunet.engine.training.plan.instructions import Instruction
from npunet.engine.training.plan.step_opcodes import Field, Mode, Op

ENDS = {Op.SUMS_END, Op.CONV_DW_END, Op.LOSS_END, Op.LAYER_NORM_DW}
MAY_FOLLOW = {  # which instructions of Mode.SPREAD may stand in one group with which before them
    Op.PACK: {Op.PACK},
    **dict.fromkeys((*ENDS, Op.NORM_END), ENDS),
    Op.REGULARISE: {Op.REGULARISE},
    Op.SQUARES: {Op.SQUARES},
    Op.UPDATE: {Op.UPDATE, Op.MOVE},
    Op.MOVE: {Op.UPDATE, Op.MOVE},
}
OF_SUMS = {Op.STATISTICS_END, Op.NORM_END, Op.SUMS_END, Op.CONV_DW_END, Op.LOSS_END, Op.DICE_END}  # read sums alone
AROUND = {Op.CONV, Op.FEW_FILTERS, Op.DEPTHWISE, Op.DEPTHWISE_DW, Op.CONV_DW}  # read x at their taps
WHOLE_SAMPLE = {Op.LAYER_NORM, Op.LAYER_NORM_DX}


def form_groups(instructions: Sequence[Instruction], images: Mapping[str, Image]) -> list[range]:
    groups: list[range] = []
    for number, instruction in enumerate(instructions):
        if groups and belongs(instruction, [instructions[member] for member in groups[-1]], images):
            groups[-1] = range(groups[-1].start, number + 1)
        else:
            groups.append(range(number, number + 1))
    return groups


def belongs(instruction: Instruction, members: Sequence[Instruction], images: Mapping[str, Image]) -> bool:
    last = members[-1]
    if instruction.mode != last.mode or instruction.mode == Mode.TILES:
        return False
    if instruction.mode == Mode.SPREAD:
        return last.op in MAY_FOLLOW.get(instruction.op, ())
    rows = {rows_of(member, images) for member in (last, instruction)}
    whole = {last.op, instruction.op} & WHOLE_SAMPLE
    return len(rows) == 1 and (rows == {1} or not whole)


def lags_of(group: Sequence[Instruction]) -> list[int]:
    """How many rows each instruction of a group comes behind the first, so that all that it reads is there and nothing
    that another still reads is overwritten."""
    lags: list[int] = []
    for number, later in enumerate(group):
        lag = 0
        for before, earlier in zip(lags, group[:number], strict=True):
            (above, _), (_, below) = reach(earlier), reach(later)
            if earlier.y and earlier.y == later.x:
                lag = max(lag, before + below)
            elif earlier.y and earlier.y in names_of(later):
                lag = max(lag, before)
            if later.y and later.y == earlier.x:
                lag = max(lag, before + above)
            elif later.y and later.y in names_of(earlier):
                lag = max(lag, before)
        lags.append(lag)
    return lags


def reach(instruction: Instruction) -> tuple[int, int]:
    """Rows of x that an instruction reads above and below its own."""
    if instruction.op in AROUND:
        return instruction.taps[0].reach
    if instruction.op in (Op.MAX_POOL, Op.MAX_POOL_DX):
        above = instruction.fields[Field.PAD_TOP]
        below = instruction.fields[Field.KH] - 1 - above
        return (above, below) if instruction.op == Op.MAX_POOL else (below, above)
    return 0, 0


def rows_of(instruction: Instruction, images: Mapping[str, Image]) -> int:
    """Rows of a sample that an instruction does one by one."""
    if instruction.mode != Mode.ROWS:
        return 0
    if instruction.op == Op.CONV:
        return images[instruction.x].height  # of a spreading one, the low resolution
    return images[instruction.y or instruction.x].height


def names_of(instruction: Instruction) -> set[str]:
    """The tensors that it reads or writes."""
    if instruction.op in OF_SUMS:
        return set()
    return {instruction.x, instruction.y, instruction.z, instruction.u} - {""}


def brief_tensors(groups: Sequence[range], instructions: Sequence[Instruction]) -> set[str]:
    """Tensors that live in one group only: where a group goes sample by sample, each thread needs one sample of them,
    which stays in its cache."""
    seen: dict[str, set[int]] = {}
    for moment, group in enumerate(groups):
        for number in group:
            for name in names_of(instructions[number]):
                seen.setdefault(name, set()).add(moment if instructions[number].mode == Mode.ROWS else -1)
    return {name for name, moments in seen.items() if len(moments) == 1 and -1 not in moments}

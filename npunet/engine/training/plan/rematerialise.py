"""Rematerialisation: tensors that are computed again where they are read again, instead of being kept from forward to
backward.

What a batch norm or a depthwise convolution gives costs less to compute than to write to memory and read back. Made
again by the same instruction from the same values it has the same bits, and lives only while its group works on a
sample: that takes memory, and most of its traffic, from a step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from npunet.engine.training.plan.instructions import Instruction
from npunet.engine.training.plan.step_groups import OF_SUMS
from npunet.engine.training.plan.step_opcodes import Mode, Op

CHEAP = {Op.NORMALISE, Op.DEPTHWISE}


def read_by(instruction: Instruction) -> list[str]:
    """The tensors that an instruction reads."""
    return [] if instruction.op in OF_SUMS else [name for name in (instruction.x, instruction.z, instruction.u) if name]


def rematerialised(instructions: Sequence[Instruction],
               groups: Sequence[range]) -> tuple[list[Instruction], dict[str, str]]:
    """The instructions with the cheap ones again in every group that reads what they gave in another; and, of each
    tensor that is new, the one that it equals."""
    makers = cheap_tensors(instructions)
    result: list[Instruction] = []
    equals: dict[str, str] = {}
    for moment, group in enumerate(groups):
        completed = Completed([instructions[number] for number in group], f"in group {moment}", makers)
        result += completed.result
        equals |= {new: kept for kept, new in completed.again.items()}
    return result, equals


class Completed:
    """One group, with what it needs rematerialised."""

    def __init__(self, members: Sequence[Instruction], suffix: str, makers: Mapping[str, Instruction]) -> None:
        self.suffix, self.makers = suffix, makers
        self.own = {member.y for member in members}
        self.again: dict[str, str] = {}
        self.result: list[Instruction] = []
        for member in members:
            renamed = {name: self.made(name) for name in read_by(member)}
            reads = {at: getattr(member, at) for at in ("x", "z", "u")}
            self.result.append(replace(member, **{at: renamed.get(name, name) for at, name in reads.items()}))

    def made(self, name: str) -> str:
        """The tensor in this group, made if need be."""
        if name not in self.makers or name in self.own:
            return name
        if name not in self.again:
            maker = self.makers[name]
            self.again[name] = f"{name} {self.suffix}"
            self.result.append(replace(maker, x=self.made(maker.x), y=self.again[name]))
        return self.again[name]


def cheap_tensors(instructions: Sequence[Instruction]) -> dict[str, Instruction]:
    """What cheap instructions of the forward pass give, each with its instruction, where nothing else writes it and
    all that read it go row by row."""
    writers = Counter(instruction.y for instruction in instructions)
    elsewhere = set().union(*(read_by(each) for each in instructions if each.mode != Mode.ROWS))
    forward = instructions[: [each.op for each in instructions].index(Op.LOSS)]
    return {each.y: each for each in forward
            if each.op in CHEAP and each.mode == Mode.ROWS and writers[each.y] == 1 and each.y not in elsewhere}

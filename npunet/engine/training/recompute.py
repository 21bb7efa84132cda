"""Tensors that are made again where they are read again, instead of being kept from forward to backward.

What a batch norm or a depthwise convolution gives costs less to compute than to write to memory and read back. Made
again by the same instruction from the same values it has the same bits, and lives only while its group works on a
sample: that takes memory, and most of its traffic, from a step.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from npunet.engine.training.groups import OF_SUMS
from npunet.engine.training.instructions import Instruction
from npunet.engine.training.opcodes import Mode, Op

CHEAP = {Op.NORMALISE, Op.DEPTHWISE}


def read_by(instruction: Instruction) -> set[str]:
    """The tensors that an instruction reads."""
    return set() if instruction.op in OF_SUMS else {instruction.x, instruction.z, instruction.u} - {""}


def recomputed(instructions: Sequence[Instruction], groups: Sequence[range]) -> tuple[list[Instruction], dict[str, str]]:
    """The instructions with the cheap ones again in every group that reads what they gave in another; and, of each
    tensor that is new, the one that it equals."""
    makers = cheap_tensors(instructions)
    result, equals = [], {}
    for moment, group in enumerate(groups):
        made = {instructions[number].y for number in group}
        again: dict[str, str] = {}

        def remade(name: str) -> str:
            """The tensor in this group, made if need be."""
            if name not in makers or name in made:
                return name
            if name not in again:
                maker = makers[name]
                again[name] = f"{name} in group {moment}"
                equals[again[name]] = name
                result.append(replace(maker, x=remade(maker.x), y=again[name]))
            return again[name]

        for number in group:
            instruction = instructions[number]
            renamed = {name: remade(name) for name in read_by(instruction)}
            places = {at: renamed.get(getattr(instruction, at), getattr(instruction, at)) for at in ("x", "z", "u")}
            result.append(replace(instruction, **places))
    return result, equals


def cheap_tensors(instructions: Sequence[Instruction]) -> dict[str, Instruction]:
    """What cheap instructions of the forward pass give, each with its instruction, where nothing else writes it and
    all that read it go row by row."""
    writers = Counter(instruction.y for instruction in instructions)
    elsewhere = set().union(*(read_by(each) for each in instructions if each.mode != Mode.ROWS))
    forward = instructions[: [each.op for each in instructions].index(Op.LOSS)]
    return {each.y: each for each in forward
            if each.op in CHEAP and each.mode == Mode.ROWS and writers[each.y] == 1 and each.y not in elsewhere}

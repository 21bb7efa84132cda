"""Where tensors, regions and sums of a step stand.

A group's own tensors, which only it names, stand in a block for each thread; where a sample is one row, those that are
not needed at once share it. A tensor that a group is the last to read hands its memory on, sample by sample, to an
equal one that the group writes afterwards: written to what has just been read, it is in cache.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from npunet.arena import Arena, Lifetime, place
from npunet.engine.plan.layout import Image
from npunet.engine.target import LANES, LINE_FLOATS
from npunet.engine.training.plan.instructions import Instruction, chunks_of
from npunet.engine.training.plan.step_groups import lags_of, names_of, reach, rows_of
from npunet.engine.training.plan.step_opcodes import Field, Mode

Groups = Sequence[range]


def place_tensors(groups: Groups, instructions: Sequence[Instruction], images: Mapping[str, Image],
                  sizes: Mapping[str, int], brief: Collection[str], threads: int) -> tuple[Arena, dict[str, int]]:
    """Of tensors and regions, of so many elements of float32; and how far apart threads keep those that are brief.

    brief : tensors that live in one group, of which each thread has a sample
    """
    lives = spans(groups, instructions, sizes,
                  lambda each: (names_of(each) | {each.norm, each.weights, each.bias}) - {"", *brief})
    origin = origins(groups, instructions, images, set(images) - set(brief))
    for name, first in origin.items():
        lives[first] = Lifetime(lives[first].size, lives[first].first, max(lives[first].last, lives.pop(name).last))
    blocks = [place_brief(group, instructions, images, sizes, brief) for group in groups]
    for moment, block in enumerate(blocks):
        lives[block_name(moment)] = Lifetime(threads * block.size, moment, moment)
    arena = place(lives, LINE_FLOATS)
    offsets = dict(arena.offsets) | {name: arena.offsets[first] for name, first in origin.items()}
    steps: dict[str, int] = {}
    for moment, block in enumerate(blocks):
        offsets |= {name: offsets[block_name(moment)] + offset for name, offset in block.offsets.items()}
        steps |= dict.fromkeys(block.offsets, block.size)
    return Arena(offsets, arena.size), steps


def place_brief(group: range, instructions: Sequence[Instruction], images: Mapping[str, Image],
                sizes: Mapping[str, int], brief: Collection[str]) -> Arena:
    """Of a group's own tensors, within one thread's block."""
    members = [instructions[number] for number in group]
    times = [group]
    if rows_of(members[0], images) == 1:  # an instruction ends before the next begins: in the order of their lags
        lags = dict(zip(group, lags_of(members), strict=True))
        times = [range(number, number + 1) for number in sorted(group, key=lambda number: lags[number])]
    arena = place(spans(times, instructions, sizes, lambda each: names_of(each) & set(brief)), LINE_FLOATS)
    return Arena(arena.offsets, -(-arena.size // LINE_FLOATS) * LINE_FLOATS)


def origins(groups: Groups, instructions: Sequence[Instruction], images: Mapping[str, Image],
            kept: Collection[str]) -> dict[str, str]:
    """The tensors that take another's memory over, each with the first that stood there."""
    moments: dict[str, list[int]] = {}
    for moment, group in enumerate(groups):
        for name in set().union(*(names_of(instructions[number]) for number in group)) & set(kept):
            moments.setdefault(name, []).append(moment)
    origin: dict[str, str] = {}
    for moment, group in enumerate(groups):
        members = [instructions[number] for number in group]
        if members[0].mode != Mode.ROWS:
            continue
        left = sorted(name for name, seen in moments.items() if seen[0] < moment == seen[-1])
        for name in sorted(name for name, seen in moments.items() if seen[0] == moment):
            before = next((old for old in left if makes_way(old, name, members, images)), None)
            if before is not None:
                left.remove(before)
                origin[name] = origin.get(before, before)
    return origin


def makes_way(old: str, new: str, members: Sequence[Instruction], images: Mapping[str, Image]) -> bool:
    """Whether a group is done with each row of one tensor before it writes that of another, which lies alike."""
    before, after = images[old], images[new]
    if (before.height, before.row, before.col, before.halo) != (after.height, after.row, after.col, after.halo):
        return False
    users, lags = range(len(members)), lags_of(members)
    of_old = [k for k in users if old in names_of(members[k])]
    of_new = [k for k in users if new in names_of(members[k])]
    by_rows = all(rows_of(members[k], images) == before.height for k in of_old + of_new)
    return by_rows and all(k < of_new[0] and lags[k] + reach(members[k])[0] <= lags[of_new[0]] for k in of_old)


def place_sums(groups: Groups, instructions: Sequence[Instruction], images: Mapping[str, Image],
               sums: Mapping[str, int], batch: int) -> Arena:
    """Of chunks' sums, and of what a weight gradient is summed in, in elements of float64."""
    sizes = {each.sums: batch * chunks_of(rows_summed(each, images), batch)[0] * sums[each.sums]
             for each in instructions if each.sums and each.mode == Mode.ROWS}
    own = {number: each for number, each in enumerate(instructions) if each.mode == Mode.TILES}
    for number, each in own.items():
        sizes[scratch_name(number)] = each.fields[Field.TAPS] * each.fields[Field.VECTORS] * LANES
    lives = spans(groups, instructions, sizes, lambda each: {each.sums} - {""})
    for moment, group in enumerate(groups):
        if group.start in own:
            lives[scratch_name(group.start)] = Lifetime(sizes[scratch_name(group.start)], moment, moment)
    return place(lives, LINE_FLOATS)


def spans(groups: Groups, instructions: Sequence[Instruction], sizes: Mapping[str, int],
          names: Callable[[Instruction], Collection[str]]) -> dict[str, Lifetime]:
    """From the group that first names something to the last."""
    lives: dict[str, Lifetime] = {}
    for moment, group in enumerate(groups):
        for number in group:
            for name in names(instructions[number]):
                first = lives[name].first if name in lives else moment
                lives[name] = Lifetime(sizes[name], first, moment)
    return lives


def block_name(moment: int) -> str:
    return f"own tensors of group {moment}"


def scratch_name(number: int) -> str:
    return f"sums of instruction {number}"


def rows_summed(instruction: Instruction, images: Mapping[str, Image]) -> int:
    """Rows of a sample that its chunks share out."""
    return rows_of(instruction, images) if instruction.mode == Mode.ROWS else images[instruction.x].height

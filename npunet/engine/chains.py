"""Chains: groups of instructions that go through a large image together, some rows of each in turn.

Instruction by instruction, an image larger than the caches is written to main memory and read back each time. In a
chain each group does only the rows that the next one is about to read, so that these are still near: "depth first"
(Alwani et al., "Fused-layer CNN accelerators", MICRO 2016). The rows are the same, in the same arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from npunet.engine.layout import Image
from npunet.engine.lowering import Step
from npunet.engine.opcodes import CONVOLUTIONS, Op

ROW_BY_ROW = {Op.CONV, Op.SEPARABLE, Op.DEPTHWISE, Op.MAX_POOL, Op.ADD, Op.CONCAT, Op.ACTIVATE, Op.SOFTMAX}
LARGE = 1 << 21  # elements of a chain's images from which taking turns pays: they and what else goes on fill a cache
NEAR = 3 << 17  # elements of the rows of all images that a turn of each group touches


@dataclass(frozen=True)
class Turn:
    """Rows first ... last-1 of what a group writes; `whole` where these are all, in one turn."""

    group: range
    first: int
    last: int
    whole: bool


def form_chains(groups: Sequence[range], steps: Sequence[Step], images: Mapping[str, Image],
                large: int, near: int) -> list[list[range]]:
    """Neighbouring groups as chains; most are alone in theirs.

    A chain has one change of resolution at most and ends behind one to a lower: further changes would let its first
    group run far ahead. One does not pay whose images have fewer than `large` elements, or no more rows than a turn.
    """
    chains: list[list[range]] = []
    changes, open_ended = 0, False
    for group in groups:
        members = [steps[number] for number in group]
        able = all(step.op in ROW_BY_ROW for step in members)
        change = any(step.op == Op.MAX_POOL or step.copies != (1, 1) for step in members)
        if open_ended and able and changes + change < 2:
            chains[-1].append(group)
            changes += change
        else:
            chains.append([group])
            changes = int(change)
        open_ended = able and members[-1].op != Op.MAX_POOL


    def pays(chain: Sequence[range]) -> bool:
        height = heights_of(chain, steps, images)[-1]
        size = sum(images[name].size for name in names_of(chain, steps))
        return size >= large and height > band_rows(chain, steps, images, height, near)

    return [part for chain in chains for part in ([chain] if pays(chain) else [[group] for group in chain])]


def names_of(groups: Sequence[range], steps: Sequence[Step]) -> set[str]:
    """Tensors that some groups read or write."""
    return {name for group in groups for number in group
            for name in (steps[number].x, steps[number].y, steps[number].addend)} - {""}


def take_turns(chain: Sequence[range], steps: Sequence[Step], images: Mapping[str, Image], near: int) -> list[Turn]:
    """The turns of a chain, in an order in which each finds what it reads.

    near : elements of the rows of all images that a turn of each group touches
    """
    heights = heights_of(chain, steps, images)
    if len(chain) == 1:
        return [Turn(chain[0], 0, heights[0], whole=True)]
    return turns_between([0] * len(chain), heights, chain, steps, images, near)


def take_turns_apart(chain: Sequence[range], steps: Sequence[Step], images: Mapping[str, Image], brief: set[str],
                     threads: int, near: int) -> list[list[Turn]] | None:
    """The turns of each of several threads, none of which waits for another in the chain; None where one would have to.

    Each does a strip of the image. Of `brief` tensors, of which it has its own, it does whatever rows it needs, some of
    them also done by its neighbour; other rows are done by one.
    """
    heights = heights_of(chain, steps, images)
    firsts = [first_rows(chain, steps, images, heights[-1] * thread // threads) for thread in range(threads)]
    shared = [any(steps[number].y not in brief for number in group) for group in chain]
    apart = []
    for starts, following in zip(firsts, [*firsts[1:], heights], strict=True):
        ends = [end if is_shared else start for start, end, is_shared in zip(starts, following, shared, strict=True)]
        limits = [end if is_shared else height for end, height, is_shared in zip(ends, heights, shared, strict=True)]
        turns = turns_between(starts, ends, chain, steps, images, near)
        if not turns or any(turn.last > limits[chain.index(turn.group)] for turn in turns):
            return None
        apart.append(turns)
    return apart


def turns_between(starts: Sequence[int], ends: Sequence[int], chain: Sequence[range], steps: Sequence[Step],
                  images: Mapping[str, Image], near: int) -> list[Turn]:
    """Turns from a first row of each group to at least a last: the last group does some rows after others, and each
    group before it as many as these need."""
    heights = heights_of(chain, steps, images)
    done, turns, sources = list(starts), [], list(sources_of(chain, steps))

    def reach(number: int, last: int) -> None:
        """Do rows up to `last` of a group, and before that what they need."""
        align = max(steps[member].copies[0] for member in chain[number])
        last = min(heights[number], -(-last // align) * align)
        if last <= done[number]:
            return
        for source, step, name in sources[number]:
            reach(source, min(heights[source], rows_touched(step, name, done[number], last)[1]))
        turns.append(Turn(chain[number], done[number], last, whole=False))
        done[number] = last

    band = band_rows(chain, steps, images, heights[-1], near)
    for last in range(starts[-1] + band, ends[-1] + band, band):
        reach(len(chain) - 1, min(last, ends[-1]))
    for number, last in enumerate(ends):
        reach(number, last)
    return turns


def first_rows(chain: Sequence[range], steps: Sequence[Step], images: Mapping[str, Image], row: int) -> list[int]:
    """The first row of each group that is needed for rows of the last group from one on."""
    heights = heights_of(chain, steps, images)
    first = [height * row // heights[-1] for height in heights]
    for number, sources in reversed(list(enumerate(sources_of(chain, steps)))):
        align = max(steps[member].copies[0] for member in chain[number])
        first[number] = max(0, first[number]) // align * align
        for source, step, name in sources:
            first[source] = min(first[source], rows_touched(step, name, first[number], first[number] + 1)[0])
    return first


def heights_of(chain: Sequence[range], steps: Sequence[Step], images: Mapping[str, Image]) -> list[int]:
    """Rows of what each group writes, or of what it reads where it writes to the user."""
    return [images[steps[group.start].y or steps[group.start].x].height for group in chain]


def band_rows(chain: Sequence[range], steps: Sequence[Step], images: Mapping[str, Image], height: int,
              near: int) -> int:
    """Rows of the last group, of which there are `height`, at a time."""
    elements = sum(images[name].row * images[name].height for name in names_of(chain, steps)) / height
    return max(1, int(near / elements))


def sources_of(chain: Sequence[range], steps: Sequence[Step]) -> Iterator[list[tuple[int, Step, str]]]:
    """For each group: which earlier one wrote a tensor last that which of its steps names."""
    writers: dict[str, int] = {}
    for number, group in enumerate(chain):
        yield [(writers[name], steps[member], name) for member in group
               for name in (steps[member].x, steps[member].addend, steps[member].y) if name in writers]
        writers |= {steps[member].y: number for member in group}


def rows_touched(step: Step, name: str, first: int, last: int) -> tuple[int, int]:
    """The first row that a step touches of a tensor, and the one behind the last, for rows first ... last-1 of its
    output. Rows of padding count, so that they lie before 0 or behind the image."""
    if name != step.x:
        return first, last
    above = step.pads[0][0]
    if step.op == Op.MAX_POOL:
        stride = step.stride[0]
        return first * stride - above, (last - 1) * stride - above + step.kernel[0]
    if step.op not in CONVOLUTIONS:
        return first, last
    if step.copies != (1, 1):
        return first // step.copies[0], -(-last // step.copies[0])
    return first - above, last - above + (max(1, step.kernel[0]) - 1) * step.dilation[0]

"""A program: the instruction table of a lowered network, its constants, and where its tensors stand in the arena."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from npunet.arena import Arena, Lifetime, place
from npunet.deploy import deploy
from npunet.engine.plan.blocking import cache_block_of, needs_scratch, pitch_of, scratch_size
from npunet.engine.plan.chains import Chain, form_chains
from npunet.engine.plan.encoder import Encoder
from npunet.engine.plan.groups import form_groups, fuses_into
from npunet.engine.plan.layout import Image, has_few_filters, lay_out, vectors
from npunet.engine.plan.line_buffers import Placed
from npunet.engine.plan.lowering import Instruction, Lowering
from npunet.engine.plan.opcodes import CONVOLUTIONS, FIELDS, Field, Flag, Op, bits_of
from npunet.engine.plan.pack import Constants
from npunet.engine.plan.schedule import ChainSchedule, schedule_all, stored_images
from npunet.engine.plan.winograd_blocking import block_tiles, row_block_of
from npunet.engine.target import LANES, LINE_BUFFERED, LINE_FLOATS, TOUCHED
from npunet.graph import Graph, Shape
from npunet.ops.winograd import TILE, transform_kernel


@dataclass(frozen=True)
class Program:
    """What the interpreter runs.

    table       : int64 (rows, FIELDS), see opcodes, for one thread: `instructions` in the order of the schedule
    shared      : the same for each of several threads that share a sample
    whole       : int64 (instructions, FIELDS): each of `instructions` once, for all its rows
    constants   : float32, packed weights
    arena       : where each tensor starts, and the elements that all need together
    images      : how each tensor lies in memory; of one with a line buffer, where all its rows would
    buffers     : what is kept of it
    instructions : what they are, tensors by name
    groups      : which of them are done together, a cache block at a time
    blocks      : row blocks in which one thread does each
    input_shape, output_shape : (H, W, C) of one sample and its result
    threads     : how many threads may share one sample
    margin      : elements behind the arena that a kernel may read (and does not use)
    memory, values : dtype of the arena's elements, of samples and results
    """

    table: np.ndarray
    shared: tuple[np.ndarray, ...]
    whole: np.ndarray
    constants: np.ndarray
    arena: Arena
    images: Mapping[str, Image]
    buffers: Mapping[str, Image]
    instructions: tuple[Instruction, ...]
    groups: tuple[range, ...]
    blocks: tuple[int, ...]
    input_shape: Shape
    output_shape: Shape
    threads: int
    margin: int
    memory: str = "float32"
    values: str = "float32"

    @property
    def itemsize(self) -> int:
        """Bytes of an element of the arena."""
        return np.dtype(self.memory).itemsize


def compile_program(graph: Graph, weights: Mapping[str, np.ndarray], *, threads: int = 1, fuse: bool = True,
                    in_place: bool = True, arithmetic: str = "seq_fma", large: int = LINE_BUFFERED,
                    near: int = TOUCHED) -> Program:
    """The program of a network as trained, for one input size.

    weights : float32, by the graph's names
    fuse, in_place : leave out these savings, for what they save to be seen
    arithmetic : only "winograd" makes another program
    large, near : elements of neighbouring groups' images from which line buffers pay, and of the rows of one row block
    each

    The result depends on nothing but the arguments.
    """
    deployed, folded = deploy(graph, weights)
    lowered = Lowering(deployed, folded, fuse, in_place, tiled=arithmetic == "winograd").run()
    instructions, images, groups = lowered.instructions, lay_out(lowered), form_groups(lowered)
    scratch: dict[int, int] = {}
    for group in groups:
        members = [instructions[number] for number in group]
        scratch |= {number: scratch_size(each, cache_block_of(members, images), images)
                    for number, each in zip(group, members, strict=True) if needs_scratch(each)}
    planned = plan_memory(form_chains(groups, instructions, images, large, near), images, scratch, threads, LINE_FLOATS)
    arena = planned.arena
    constants = Constants()
    whole = np.zeros((len(instructions), FIELDS), np.int64)
    written: set[str] = set()
    for number, instruction in enumerate(instructions):
        fields = encode(number, instruction, images, arena, constants, first=instruction.y not in written)
        whole[number, list(fields)] = list(fields.values())
        written.add(instruction.y)
    for group in groups:
        members = [instructions[number] for number in group]
        fields = encode_group(members, images)
        whole[group.start, list(fields)] = list(fields.values())
        for number in group[1:]:
            placed = whole[number, Field.ADDEND] == whole[number, Field.Y] == whole[number - 1, Field.Y]
            if placed and fuses_into(instructions[number], instructions[number - 1]):
                whole[number - 1, Field.FLAGS] |= Flag.FUSE_NEXT
        for number, instruction in zip(group, members, strict=True):
            if number in scratch:
                whole[number, Field.SCRATCH_SIZE] = scratch[number]
            if has_few_filters(instruction):
                whole[number, Field.PITCH] = pitch_of(instruction, cache_block_of(members, images))
    tables = planned.tables(whole, instructions, images)
    margin = LANES * LANES + LANES * max(image.col for image in images.values())
    return Program(*tables, whole, constants.array(), arena, images, planned.buffers, tuple(instructions),
                   tuple(groups), planned.blocks(groups), graph.input_shape, graph.shape(graph.output), threads, margin)


class PlannedMemory(NamedTuple):
    """When the groups of a program do which rows, and where its tensors stand then.

    schedules : of each chain, for so many threads
    buffers   : the line buffers, as images
    """

    schedules: Sequence[ChainSchedule]
    buffers: Mapping[str, Image]
    arena: Arena
    threads: int

    def tables(self, whole: np.ndarray, instructions: Sequence[Instruction],
               images: Mapping[str, Image]) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
        """The table for one thread, and those of several, from each instruction for all its rows."""
        encoder = Encoder(whole, instructions, images, self.arena)
        table = encoder.table([item for schedule in self.schedules for item in schedule.alone], {})
        if self.threads == 1:
            return table, (table,)
        return table, tuple(np.concatenate([encoder.of_thread(schedule, thread) for schedule in self.schedules])
                            for thread in range(self.threads))

    def blocks(self, groups: Sequence[range]) -> tuple[int, ...]:
        """Row blocks in which one thread does each instruction."""
        items = (item for schedule in self.schedules for item in schedule.alone)
        blocks = Counter(item.block.group for item in items if isinstance(item, Placed))
        return tuple(blocks[group] for group in groups for _ in group)


def plan_memory(chains: Sequence[Chain], images: Mapping[str, Image], scratch: Mapping[int, int], threads: int,
                alignment: int) -> PlannedMemory:
    """Schedule, line buffers and arena.

    scratch   : elements that one thread needs besides tensors, by the number of the instruction
    alignment : of tensors, in elements
    """
    schedules = schedule_all(chains, threads)
    buffers = stored_images(schedules, images, threads)
    lives = lifetimes(schedules, {**images, **buffers}, scratch, threads)
    return PlannedMemory(schedules, buffers, place(lives, alignment), threads)


def lifetimes(schedules: Sequence[ChainSchedule], stored: Mapping[str, Image], scratch: Mapping[int, int],
              threads: int) -> dict[str, Lifetime]:
    """From the chain that first names a tensor to the last that does; and the scratch of single groups."""
    lives: dict[str, Lifetime] = {}
    for moment, schedule in enumerate(schedules):
        for name in sorted(schedule.chain.names):
            first = lives[name].first if name in lives else moment
            lives[name] = Lifetime(stored[name].size, first, moment)
        for number in (number for group in schedule.chain.groups for number in group if number in scratch):
            lives[scratch_name(number)] = Lifetime(threads * scratch[number], moment, moment)
    return lives


def scratch_name(number: int) -> str:
    return f"scratch of instruction {number}"


def encode_group(group: list[Instruction], images: Mapping[str, Image]) -> dict[Field, int]:
    """The fields of a group's first instruction that speak of the whole group."""
    fields = {Field.GROUP: len(group)}
    if group[0].op in CONVOLUTIONS:
        fields[Field.BLOCK] = cache_block_of(group, images)
        fields[Field.ALIGN_Y] = max(each.copies[0] for each in group)
        fields[Field.ALIGN_X] = max(each.copies[1] for each in group)
    if group[0].op == Op.WINOGRAD:
        fields[Field.ALIGN_Y] = fields[Field.ALIGN_X] = TILE
        y = images[group[0].y]
        alone = len(group) == 1
        fields[Field.ROW_BLOCK] = y.height if alone else row_block_of(images[group[0].x].col, y.height, y.width)
    return fields


def encode(number: int, instruction: Instruction, images: Mapping[str, Image], arena: Arena, constants: Constants,
           first: bool) -> dict[Field, int]:
    """The fields of one instruction for all its rows; `first` when it is the first to write its output."""
    fields: dict[Field, int] = {Field.OP: instruction.op, Field.FLAGS: instruction.flags, Field.KIND: instruction.kind}

    def describe(name: str, start: Field, row: Field, col: Field) -> None:
        fields[start] = arena.offsets[name] + images[name].inner
        fields[row], fields[col] = images[name].row, images[name].col

    shown = images[instruction.y or instruction.x]
    fields[Field.HEIGHT], fields[Field.WIDTH] = shown.height, shown.width
    fields[Field.VECTORS], fields[Field.CHANNELS] = vectors(shown.channels), shown.channels
    if instruction.x:
        x = images[instruction.x]
        describe(instruction.x, Field.X, Field.X_ROW, Field.X_COL)
        fields[Field.X_HEIGHT], fields[Field.X_WIDTH], fields[Field.CHANNELS] = x.height, x.width, x.channels
    if instruction.y:
        describe(instruction.y, Field.Y, Field.Y_ROW, Field.Y_COL)
        if first:
            halo = images[instruction.y].halo
            fields.update(zip((Field.TOP, Field.BOTTOM, Field.LEFT, Field.RIGHT), halo, strict=True))
    if instruction.addend:
        describe(instruction.addend, Field.ADDEND, Field.ADDEND_ROW, Field.ADDEND_COL)
        fields[Field.ADDEND_CHANNELS] = images[instruction.addend].channels
    fields[Field.KH], fields[Field.KW] = instruction.kernel
    fields[Field.STRIDE_Y], fields[Field.STRIDE_X] = instruction.stride
    (top, _), (left, _) = instruction.pads
    fields[Field.PAD_TOP], fields[Field.PAD_LEFT] = top, left
    if instruction.op in CONVOLUTIONS:
        fields[Field.COPIES_Y], fields[Field.COPIES_X] = instruction.copies
        fields[Field.START] = -top * x.row - left * x.col
        fields[Field.TAP_ROW], fields[Field.TAP_COL] = instruction.dilation[0] * x.row, instruction.dilation[1] * x.col
        bias = instruction.bias
        if instruction.op == Op.WINOGRAD:
            fields[Field.TILES] = block_tiles(x.col)
            fields[Field.WEIGHTS] = constants.kernel(transform_kernel(instruction.dense))
            bias = np.full(shown.channels, -0.0, np.float32) if bias is None else bias  # -0 changes no sum
        elif has_few_filters(instruction):
            fields[Field.FEW_FILTERS] = instruction.dense.shape[3]
            fields[Field.WEIGHTS] = constants.flat(instruction.dense)
        elif instruction.weights is not None:
            fields[Field.WEIGHTS] = constants.kernel(instruction.dense)
        if bias is not None:
            fields[Field.BIAS] = constants.bias(bias, clamped=bool(instruction.flags & (Flag.RELU | Flag.RELU6)))
        if instruction.depthwise is not None:
            thin = images[instruction.x].thin
            fields[Field.DEPTHWISE_WEIGHTS] = constants.depthwise(instruction.depthwise, spread=thin)
    elif instruction.op == Op.LAYER_NORM:
        fields[Field.WEIGHTS] = constants.flat(instruction.dense)
        fields[Field.BIAS] = constants.flat(np.asarray(instruction.bias))
        fields[Field.EPS] = bits_of(instruction.eps)
    if needs_scratch(instruction):
        fields[Field.SCRATCH] = arena.offsets[scratch_name(number)]
    return fields

"""A training step as data: the instruction table, the tables beside it, and where everything stands in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from npunet.arena import Arena
from npunet.engine.plan.layout import Image, halos_of
from npunet.engine.target import LANES
from npunet.engine.training.plan.instructions import Instruction, chunks_of, padded
from npunet.engine.training.plan.rematerialise import rematerialised
from npunet.engine.training.plan.ring_buffers import RingBuffer, ring_buffers_of
from npunet.engine.training.plan.step_groups import AROUND, brief_tensors, form_groups, lags_of, rows_of
from npunet.engine.training.plan.step_lowering import Lowering
from npunet.engine.training.plan.step_memory import place_sums, place_tensors, rows_summed, scratch_name
from npunet.engine.training.plan.step_opcodes import DICE, FIELDS, NO_CLIP, Field, Mode, Number, Op
from npunet.engine.training.plan.step_prefetch import stream_fields
from npunet.graph import Graph, Shape

BLOCK = 128  # positions whose products are summed in float32 (see weight_gradient): few enough to stay in cache,
MANY = 32  # and half as many where there are more channels than these


@dataclass(frozen=True)
class Rule:
    """What the end of a step depends on besides the network: kinds of opcodes, and whether there is weight decay."""

    kind: int
    clipping: int = NO_CLIP
    decay: bool = False
    l2: bool = True


@dataclass(frozen=True)
class StepProgram:
    """What the interpreter walks.

    tables  : int64 (threads, instructions, FIELDS), one for each thread, which notes in it how far its prefetch streams
    have come
    arena   : float32 elements, and where each tensor and region starts
    sums    : float64 elements;  numbers : float64 elements
    masks   : float32 elements of all dropout masks, in the graph's order
    images  : how each tensor lies in memory
    instructions : the same by name
    """

    tables: np.ndarray
    arena: Arena
    sums: Arena
    numbers: int
    masks: int
    images: Mapping[str, Image]
    instructions: Sequence[Instruction]
    batch: int
    logits: str


def compile_step(graph: Graph, offsets: Mapping[str, int], batch: int, loss: int, rule: Rule,
                 threads: int = 1) -> StepProgram:
    """The program of one training step for batches of one shape. Depends on nothing but the arguments.

    threads : for so many at most; what a step computes does not depend on it
    """
    lowering = Lowering(graph, dict(offsets), batch, loss, threads).run()
    instructions, equals = rematerialised(lowering.instructions, form_groups(lowering.instructions, lay_out(
        lowering.shapes, lowering.instructions)))
    shapes = lowering.shapes | {name: lowering.shapes[kept] for name, kept in equals.items()}
    classes = graph.shape(graph.output)[2]
    used = int(Number.WEIGHTS) + classes + (2 * classes * batch if loss == DICE else 0)
    numbers = add_update(instructions, graph, offsets, rule, used)
    images = lay_out(shapes, instructions)
    groups = form_groups(instructions, images)
    brief = brief_tensors(groups, instructions) if threads <= batch else set()
    ring_buffers = ring_buffers_of(groups, instructions, images, brief)
    stored = images | {name: ring_buffer.image(images[name]) for name, ring_buffer in ring_buffers.items()}
    sizes = {name: image.size * (1 if name in brief else batch) for name, image in stored.items()}
    arena, steps = place_tensors(groups, instructions, images, sizes | lowering.regions, brief, threads)
    sums = place_sums(groups, instructions, images, lowering.sums, batch)
    table = np.zeros((len(instructions), FIELDS), np.int64)
    written: set[str] = set()
    for number, instruction in enumerate(instructions):
        fields = encode(instruction, images, batch, lowering.sums)
        fields |= locate(instruction, number, stored, ring_buffers, arena, sums)
        if instruction.y and instruction.y not in written:
            halo = images[instruction.y].halo
            fields |= dict(zip((Field.TOP, Field.BOTTOM, Field.LEFT, Field.RIGHT), halo, strict=True))
        table[number, list(fields)] = list(fields.values())
        written.add(instruction.y)
    for group in groups:
        table[group.start, Field.GROUP] = len(group)
        if instructions[group.start].mode == Mode.ROWS:
            lags = lags_of([instructions[number] for number in group])
            table[group.start : group.stop, Field.LAG] = lags
            table[group.start, Field.LAST_LAG] = max(lags)
            members = [instructions[number] for number in group]
            streams = stream_fields(members, images, set(images) - brief, arena.offsets)
            for row, fields in zip(table[group.start : group.stop], streams, strict=True):
                row[list(fields)] = list(fields.values())
    tables = np.stack([for_thread(table, thread, instructions, steps) for thread in range(threads)])
    masks = sum(batch * node.shape[0] * node.shape[1] * node.shape[2]
                for node in graph if node.op == "dropout_inference")
    return StepProgram(tables, arena, sums, numbers, masks, images, instructions, batch,
                       lowering.place(lowering.logits))


def add_update(instructions: list[Instruction], graph: Graph, offsets: Mapping[str, int], rule: Rule,
               used: int) -> int:
    """Append what follows the gradients; returns how many numbers the program needs, of which `used` go before."""
    slot = first = used

    def emit(op: Op, layer: str, **fields: int) -> None:
        instructions.append(Instruction(op, layer, Mode.SPREAD, fields={Field[k]: v for k, v in fields.items()}))

    for spec in graph.weights.values():
        if rule.l2 and spec.regularized:
            emit(Op.REGULARISE, spec.name, PARAM=offsets[spec.name], SIZE=spec.size, SLOT=slot)
            slot += 1
    emit(Op.TOTAL_END, "loss", SLOT=first, SLOTS=slot - first)
    first = slot
    trained = [spec for spec in graph.weights.values() if spec.trainable]
    if rule.clipping:
        for number, spec in enumerate(trained):
            emit(Op.SQUARES, spec.name, PARAM=offsets[spec.name], SIZE=spec.size, SLOT=first + number)
        emit(Op.CLIP_END, "gradients", SLOT=first, SLOTS=len(trained))
        slot += len(trained)
    for spec in graph.weights.values():
        if spec.trainable:
            number = trained.index(spec)
            emit(Op.UPDATE, spec.name, PARAM=offsets[spec.name], SIZE=spec.size, KIND=rule.kind, STEP_A=rule.clipping,
                 STEP_B=int(rule.decay), SLOT=first + number if rule.clipping else 0)
        else:
            emit(Op.MOVE, spec.name, PARAM=offsets[spec.name], SIZE=spec.size)
    return slot


def lay_out(shapes: Mapping[str, Shape], instructions: Sequence[Instruction]) -> dict[str, Image]:
    """Every tensor with its halo."""
    reads = [(each.x, each.taps[0].reach + each.taps[1].reach) for each in instructions if each.op in AROUND]
    return {name: Image(*shapes[name], halo) for name, halo in halos_of(shapes, reads).items()}


def for_thread(table: np.ndarray, thread: int, instructions: Sequence[Instruction],
               steps: Mapping[str, int]) -> np.ndarray:
    """The table as one thread runs it: all samples of a brief tensor stand in the thread's own block, so many elements
    behind the thread's before."""
    table = table.copy()
    for row, instruction in zip(table, instructions, strict=True):
        for name, at in tensors_of(instruction):
            if name in steps:
                row[at] += thread * steps[name]
                row[at + 1] = 0
    return table


def tensors_of(instruction: Instruction) -> list[tuple[str, Field]]:
    """An instruction's tensors, each with the first column that speaks of it."""
    both = ((instruction.x, Field.X), (instruction.y, Field.Y), (instruction.z, Field.Z), (instruction.u, Field.U))
    return [(name, at) for name, at in both if name]


def encode(instruction: Instruction, images: Mapping[str, Image], batch: int, sums: Mapping[str, int]) -> dict:
    """The fields that depend on shapes alone."""
    fields = {Field.OP: instruction.op, Field.MODE: instruction.mode, Field.ROWS: rows_of(instruction, images),
              Field.KH: instruction.taps[0].number, Field.KW: instruction.taps[1].number,
              Field.COPIES_Y: 1, Field.COPIES_X: 1}
    dense_dw = instruction.op in (Op.CONV_DW, Op.CONV_DW_END)
    shown = instruction.z if dense_dw else instruction.y or instruction.x
    if shown:
        image = images[shown]
        fields |= {Field.HEIGHT: image.height, Field.WIDTH: image.width, Field.CHANNELS: image.channels,
                   Field.VECTORS: padded(image.channels) // LANES}
        fields[Field.CHUNKS], fields[Field.CHUNK_ROWS] = chunks_of(rows_summed(instruction, images), batch)
    if instruction.x:
        x = images[instruction.x]
        fields |= {Field.X_HEIGHT: x.height, Field.X_WIDTH: x.width, Field.CHANNELS: x.channels}
    if instruction.op in AROUND:
        y_taps, x_taps = instruction.taps
        fields |= {Field.FIRST_ROW: y_taps.first, Field.START: x_taps.first * x.col, Field.TAP_ROW: y_taps.step * x.row,
                   Field.TAP_COL: x_taps.step * x.col}
    if dense_dw:
        fields[Field.Z_WIDTH] = image.width
        block = BLOCK if max(image.col, x.col) <= MANY else BLOCK // 2
        rows = max(1, block // image.width)
        blocks = -(-image.width // block)
        fields |= {Field.BLOCK_ROWS: rows, Field.BLOCK_COLS: -(-image.width // blocks)}
    if instruction.sums:
        fields[Field.SUMS_SIZE] = sums[instruction.sums]
    return fields | instruction.fields


def locate(instruction: Instruction, number: int, images: Mapping[str, Image], ring_buffers: Mapping[str, RingBuffer],
           arena: Arena, sums: Arena) -> dict:
    """The fields that say where things are."""
    fields: dict[Field, int] = {}
    for name, at in tensors_of(instruction):
        image = images[name]
        fields[at] = arena.offsets[name] + image.inner
        fields |= {Field(at + 1): image.size, Field(at + 2): image.row, Field(at + 3): image.col}
        if name in ring_buffers:
            fields[Field(at + 4)] = ring_buffers[name].rows
    if instruction.y in ring_buffers:
        fields[Field.MIRRORED] = ring_buffers[instruction.y].mirrored
        fields[Field.LEFT], fields[Field.RIGHT] = images[instruction.y].halo[2:]  # which rows.mirror copies along
    if instruction.norm:
        fields[Field.NORM] = arena.offsets[instruction.norm]
    if instruction.weights:
        fields[Field.Y if instruction.op == Op.PACK else Field.WEIGHTS] = arena.offsets[instruction.weights]
    if instruction.bias:
        fields[Field.BIAS] = arena.offsets[instruction.bias]
    if instruction.sums:
        fields[Field.SUMS] = sums.offsets[instruction.sums]
    if instruction.mode == Mode.TILES:
        fields[Field.SUMS] = sums.offsets[scratch_name(number)]
    return fields

"""A program: the instruction table of a lowered network, its constants, and where its tensors stand in the arena."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import lcm

import numpy as np

from npunet.arena import Arena, Lifetime, place
from npunet.engine.lowering import Lowered, Lowering, Step
from npunet.engine.opcodes import FIELDS, LANES, Field, Flag, Op
from npunet.engine.pack import Constants
from npunet.engine.strips import CACHE_ELEMENTS, band_rows, strip_scratch, strip_tiles
from npunet.graph import Graph, Shape
from npunet.lower import deploy
from npunet.ops.winograd import TILE, transform_kernel

ALIGNMENT = 16  # float32 elements: one cache line
TILE_POSITIONS = 12  # a multiple of the positions of every tile's shape
NARROW_VECTORS = (8, 6, 4, 3, 2, 2)  # of positions in the largest tile of 1 ... 6 filters: sums, weights and one input
NARROW_LEAST = (8, 4, 3, 3, 2, 2)  # in the smallest
NARROW_ELEMENTS = 6 << 10  # that a narrow convolution transposes at a time: most of a first-level cache of 32 KiB
CONVOLUTIONS = (Op.CONV, Op.SEPARABLE, Op.DEPTHWISE, Op.WINOGRAD)


@dataclass(frozen=True)
class Image:
    """How a tensor lies in memory: channels padded to whole vectors, or, of a thin one, side by side; zeros around it
    where a reader pads."""

    height: int
    width: int
    channels: int
    halo: tuple[int, int, int, int]  # top, bottom, left, right
    thin: bool = False

    @property
    def col(self) -> int:
        """Elements from one position to the next."""
        return self.channels if self.thin else vectors(self.channels) * LANES

    @property
    def row(self) -> int:
        """Elements from one row to the next."""
        return (self.halo[2] + self.width + self.halo[3]) * self.col

    @property
    def size(self) -> int:
        """Elements in all."""
        return (self.halo[0] + self.height + self.halo[1]) * self.row

    @property
    def inner(self) -> int:
        """Elements before the first inner position."""
        return self.halo[0] * self.row + self.halo[2] * self.col


@dataclass(frozen=True)
class Program:
    """What the interpreter runs.

    table       : int64 (instructions, FIELDS), see opcodes
    constants   : float32, packed weights
    arena       : where each tensor starts, and the elements that all need together
    images      : how each tensor lies in memory
    steps       : the same instructions by name
    input_shape, output_shape : (H, W, C) of one sample and its result
    threads     : how many threads may share one sample
    margin      : elements behind the arena that a kernel may read (and does not use)
    """

    table: np.ndarray
    constants: np.ndarray
    arena: Arena
    images: Mapping[str, Image]
    steps: tuple[Step, ...]
    input_shape: Shape
    output_shape: Shape
    threads: int

    @property
    def margin(self) -> int:
        return LANES * LANES + LANES * max(image.col for image in self.images.values())


def compile_program(graph: Graph, weights: Mapping[str, np.ndarray], *, threads: int = 1, fuse: bool = True,
                    in_place: bool = True, arithmetic: str = "seq_fma") -> Program:
    """The program of a network as trained, for one input size.

    weights : float32, by the graph's names
    fuse, in_place : leave out these savings, for what they save to be seen
    arithmetic : only "winograd" makes another program

    The result depends on nothing but the arguments.
    """
    deployed, folded = deploy(graph, weights)
    lowered = Lowering(deployed, folded, fuse, in_place, tiled=arithmetic == "winograd").run()
    images = lay_out(lowered)
    groups = form_groups(lowered)
    arena = place(lifetimes(lowered, groups, images, threads), ALIGNMENT)
    constants = Constants()
    table = np.zeros((len(lowered.steps), FIELDS), np.int64)
    written: set[str] = set()
    for number, step in enumerate(lowered.steps):
        fields = encode(number, step, images, arena, constants, first=step.y not in written)
        table[number, list(fields)] = list(fields.values())
        written.add(step.y)
    for group in groups:
        steps = [lowered.steps[number] for number in group]
        fields = encode_group(steps, images)
        table[group.start, list(fields)] = list(fields.values())
        for number, step in zip(group, steps, strict=True):
            if needs_scratch(step):
                table[number, Field.SCRATCH_SIZE] = scratch_size(step, piece_of(steps, images), images)
            if is_narrow(step):
                table[number, Field.PITCH] = narrow_pitch(step, piece_of(steps, images))
    return Program(table, constants.array(), arena, images, tuple(lowered.steps), graph.input_shape,
                   graph.shape(graph.output), threads)


def vectors(channels: int) -> int:
    """Vectors that hold so many channels."""
    return -(-channels // LANES)


def lay_out(lowered: Lowered) -> dict[str, Image]:
    """Every tensor with the halo that its greediest reader asks for."""
    halos = dict.fromkeys(lowered.shapes, (0, 0, 0, 0))
    for step in lowered.steps:
        if step.op in CONVOLUTIONS:
            (top, bottom), (left, right) = step.pads
            if step.op == Op.WINOGRAD:  # whole tiles
                height, width, _ = lowered.shapes[step.y]
                bottom, right = bottom + -height % TILE, right + -width % TILE
            halos[step.x] = tuple(map(max, halos[step.x], (top, bottom, left, right)))
    return {name: Image(*lowered.shapes[name], halo, is_thin(name, lowered)) for name, halo in halos.items()}


def is_thin(name: str, lowered: Lowered) -> bool:
    """Whether a tensor of few channels is worked on value by value, so that padding would only be carried about: what
    dense convolutions read, of one channel also separable ones, and what a narrow one leaves to be copied out."""
    channels = lowered.shapes[name][2]
    reads = [step for step in lowered.steps if name in (step.x, step.addend)]
    writes = [step for step in lowered.steps if step.y == name]
    if channels >= LANES or not reads or any(step.addend == name for step in reads):
        return False
    if all(step.op == Op.COPY_IN for step in writes):
        return all((step.op == Op.CONV and not is_narrow(step)) or (step.op == Op.SEPARABLE and channels == 1)
                   for step in reads)
    return all(map(is_narrow, writes)) and all(step.op == Op.COPY_OUT for step in reads)


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


def lifetimes(lowered: Lowered, groups: list[range], images: Mapping[str, Image], threads: int) -> dict[str, Lifetime]:
    """From the group that first writes a tensor to the last that names it; and the scratch of single groups."""
    lives: dict[str, Lifetime] = {}
    for moment, group in enumerate(groups):
        for number in group:
            step = lowered.steps[number]
            for name in {step.x, step.y, step.addend} - {""}:
                first = lives[name].first if name in lives else moment
                lives[name] = Lifetime(images[name].size, first, moment)
            if needs_scratch(step):
                piece = piece_of([lowered.steps[member] for member in group], images)
                size = threads * scratch_size(step, piece, images)
                lives[scratch_name(number)] = Lifetime(size, moment, moment)
    return lives


def is_narrow(step: Step) -> bool:
    """Whether a convolution has so few filters that its vectors run along positions."""
    plain = step.flags & (Flag.CONTINUE | Flag.ADD | Flag.SPREAD) == 0
    return step.op == Op.CONV and plain and step.weights.shape[3] <= len(NARROW_VECTORS) and step.weights.size > 0


def needs_scratch(step: Step) -> bool:
    return step.op in (Op.SEPARABLE, Op.WINOGRAD) or is_narrow(step)


def narrow_piece(step: Step, images: Mapping[str, Image]) -> int:
    """Positions of a row that a narrow convolution transposes at a time: whole tiles, few enough for what it transposes
    to stay in the first-level cache."""
    tile, width = LANES * NARROW_VECTORS[step.weights.shape[3] - 1], images[step.y].width
    few = NARROW_ELEMENTS // (narrow_rows(step) * images[step.x].col)
    return min(width, max(1, few // tile) * tile)


def narrow_rows(step: Step) -> int:
    """Rows that the taps of a narrow convolution reach."""
    return (step.kernel[0] - 1) * step.dilation[0] + 1


def narrow_pitch(step: Step, piece: int) -> int:
    """Elements of a transposed row of a piece: with what the taps reach and what the last tile reads beyond it."""
    beyond = NARROW_LEAST[step.weights.shape[3] - 1]
    reached = (-(-piece // LANES) + beyond) * LANES + (step.kernel[1] - 1) * step.dilation[1]
    return -(-reached // ALIGNMENT) * ALIGNMENT


def scratch_name(number: int) -> str:
    return f"scratch of instruction {number}"


def piece_of(group: list[Step], images: Mapping[str, Image]) -> int:
    """Positions of a row that a group of convolutions does at a time.

    Few enough for what the group reads and writes of them to stay in the second-level cache, whole tiles, and a row
    cut evenly. A dense convolution alone takes whole rows: it reads few bytes for what it multiplies.
    """
    width = images[group[0].y].width
    if is_narrow(group[0]):
        return narrow_piece(group[0], images)
    pieced = [step for step in group if step.op != Op.WINOGRAD]  # which comes before the others, in bands
    if not pieced or (len(group) == 1 and group[0].op == Op.CONV):
        return width
    elements = 0  # for each position
    for step in pieced:
        rows = step.kernel[0] + (step.op == Op.SEPARABLE)
        elements += rows * images[step.x].col + images[step.y].col
    unit = lcm(TILE_POSITIONS, *(step.copies[1] for step in group))
    pieces = -(-width // (max(1, CACHE_ELEMENTS // (elements * unit)) * unit))
    return -(-width // (pieces * unit)) * unit


def scratch_size(step: Step, piece: int, images: Mapping[str, Image]) -> int:
    """Elements of one thread's scratch for pieces of that size."""
    if is_narrow(step):
        return narrow_pitch(step, piece) * narrow_rows(step) * images[step.x].col + LANES * LANES * NARROW_VECTORS[0]
    if step.op == Op.WINOGRAD:
        return strip_scratch(images[step.x].col)
    return vectors(min(piece, images[step.y].width) * images[step.x].col) * LANES


def encode_group(group: list[Step], images: Mapping[str, Image]) -> dict[Field, int]:
    """The fields of a group's first instruction that speak of the whole group."""
    fields = {Field.GROUP: len(group)}
    if group[0].op in CONVOLUTIONS:
        fields[Field.PIECE] = piece_of(group, images)
        fields[Field.ALIGN_Y] = max(step.copies[0] for step in group)
        fields[Field.ALIGN_X] = max(step.copies[1] for step in group)
    if group[0].op == Op.WINOGRAD:
        fields[Field.ALIGN_Y] = fields[Field.ALIGN_X] = TILE
        y = images[group[0].y]
        fields[Field.BAND] = band_rows(images[group[0].x].col, y.height, y.width) if len(group) > 1 else y.height
    return fields


def encode(number: int, step: Step, images: Mapping[str, Image], arena: Arena, constants: Constants,
           first: bool) -> dict[Field, int]:
    """The fields of one instruction; `first` when it is the first to write its output."""
    fields: dict[Field, int] = {Field.OP: step.op, Field.FLAGS: step.flags, Field.KIND: step.kind}

    def describe(name: str, start: Field, row: Field, col: Field) -> None:
        fields[start] = arena.offsets[name] + images[name].inner
        fields[row], fields[col] = images[name].row, images[name].col

    shown = images[step.y or step.x]
    fields[Field.HEIGHT], fields[Field.WIDTH] = shown.height, shown.width
    fields[Field.VECTORS], fields[Field.CHANNELS] = vectors(shown.channels), shown.channels
    if step.x:
        x = images[step.x]
        describe(step.x, Field.X, Field.X_ROW, Field.X_COL)
        fields[Field.X_HEIGHT], fields[Field.X_WIDTH], fields[Field.CHANNELS] = x.height, x.width, x.channels
    if step.y:
        describe(step.y, Field.Y, Field.Y_ROW, Field.Y_COL)
        if first:
            fields.update(zip((Field.TOP, Field.BOTTOM, Field.LEFT, Field.RIGHT), images[step.y].halo, strict=True))
    if step.addend:
        describe(step.addend, Field.ADDEND, Field.ADDEND_ROW, Field.ADDEND_COL)
        fields[Field.ADDEND_CHANNELS] = images[step.addend].channels
    fields[Field.KH], fields[Field.KW] = step.kernel
    fields[Field.STRIDE_Y], fields[Field.STRIDE_X] = step.stride
    (top, _), (left, _) = step.pads
    fields[Field.PAD_TOP], fields[Field.PAD_LEFT] = top, left
    if step.op in CONVOLUTIONS:
        fields[Field.COPIES_Y], fields[Field.COPIES_X] = step.copies
        fields[Field.START] = -top * x.row - left * x.col
        fields[Field.TAP_ROW], fields[Field.TAP_COL] = step.dilation[0] * x.row, step.dilation[1] * x.col
        bias = step.bias
        if step.op == Op.WINOGRAD:
            fields[Field.TILES] = strip_tiles(x.col)
            fields[Field.WEIGHTS] = constants.kernel(transform_kernel(step.weights))
            bias = np.full(shown.channels, -0.0, np.float32) if bias is None else bias  # -0 changes no sum
        elif is_narrow(step):
            fields[Field.NARROW] = step.weights.shape[3]
            fields[Field.WEIGHTS] = constants.flat(step.weights)
        elif step.weights is not None:
            fields[Field.WEIGHTS] = constants.kernel(step.weights)
        if bias is not None:
            fields[Field.BIAS] = constants.bias(bias, clamped=bool(step.flags & (Flag.RELU | Flag.RELU6)))
        if step.depthwise is not None:
            fields[Field.DEPTHWISE_WEIGHTS] = constants.depthwise(step.depthwise, spread=images[step.x].thin)
    elif step.op == Op.LAYER_NORM:
        fields[Field.WEIGHTS], fields[Field.BIAS] = constants.flat(step.weights), constants.flat(step.bias)
    if needs_scratch(step):
        fields[Field.SCRATCH] = arena.offsets[scratch_name(number)]
    return fields

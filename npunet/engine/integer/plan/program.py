"""The program of an integer network: the same planner as for float, columns and constants of its own."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from npunet.arena import Arena
from npunet.engine.integer.plan.constants import IntegerConstants
from npunet.engine.integer.plan.instruction import Finish, IntegerInstruction
from npunet.engine.integer.plan.lowering import IntegerLowering
from npunet.engine.integer.plan.opcodes import COLUMNS, INT8_LEFT, Extra, Mode
from npunet.engine.integer.plan.scratch import (
    BYTES_AT_ONCE,
    TILE,
    block_of,
    byte_pitch,
    byte_rows,
    byte_span,
    filter_vectors,
    scratch_size,
)
from npunet.engine.plan.chains import form_chains
from npunet.engine.plan.layout import Image, halos_of, vectors
from npunet.engine.plan.opcodes import CONVOLUTIONS, Field, Op
from npunet.engine.plan.program import Program, plan_memory, scratch_name
from npunet.engine.target import CACHE_LINE, LINE_BUFFERED, TOUCHED
from npunet.integer.network import DTYPES, Network

SHORT = 2  # bytes of an element
PAIRED_TAPS = (3, 5)  # in a row of a depthwise kernel that is taken in pairs
LEAST_FACTOR = 19  # right shifts of an addition's operand beside one of factor 1/2
BEYOND = 16  # positions behind a tensor that a tile may read


def compile_integer_program(network: Network, *, threads: int = 1, fuse: bool = True, in_place: bool = True,
                            bytes: bool = False, large: int = 2 * LINE_BUFFERED, near: int = 2 * TOUCHED) -> Program:
    """The program of an integer network at its size.

    fuse, in_place : leave out these savings, for what they save to be seen
    bytes          : for machine code that multiplies fours of bytes where the network is one of int8
    large, near    : as for float, plan.program.compile_program; elements have half as many bytes

    Raises Unsupported for what the kernels cannot do, ValueError for an accumulator that could leave its bits.
    """
    lowered = IntegerLowering(network, fuse, in_place, bytes).run()
    instructions, images = lowered.instructions, lay_out(lowered)
    groups = [range(number, number + 1) for number in range(len(instructions))]
    blocks = {number: block_of(each, images) for number, each in enumerate(instructions) if each.op in CONVOLUTIONS}
    scratch = {number: scratch_size(instructions[number], block, images) for number, block in blocks.items()}
    planned = plan_memory(form_chains(groups, instructions, images, large, near), images, scratch, threads,
                          CACHE_LINE // SHORT)
    encoder = Encoding(network, images, planned.arena)
    whole = np.zeros((len(instructions), COLUMNS), np.int64)
    for number, instruction in enumerate(instructions):
        fields = encoder.fields(instruction) | {Field.GROUP: 1}
        if number in scratch:
            fields |= {Field.BLOCK: blocks[number], Field.SCRATCH_SIZE: scratch[number],
                       Field.SCRATCH: planned.arena.offsets[scratch_name(number)]}
            if instruction.bytes:
                block = blocks[number]
                fields |= {Extra.ROWS: byte_rows(instruction, block, images),
                           Extra.SPAN: byte_span(instruction, images), Extra.ZERO: instruction.zero + 128,
                           Field.PITCH: byte_pitch(instruction, block, images)}
        whole[number, list(fields)] = list(fields.values())
    margin = max(BEYOND * each.stride[1] * images[each.x].col + each.winograd * images[each.x].row
                 for each in instructions if each.x) + BYTES_AT_ONCE
    shapes = (image_shape(network.input_shape), image_shape(network.output_shape))
    return Program(*planned.tables(whole, instructions, images), whole, encoder.constants.array(), planned.arena,
                   images, planned.buffers, tuple(instructions), tuple(groups), planned.blocks(groups), *shapes,
                   threads, margin, "int16", DTYPES[network.scheme])


def doubled(weights: np.ndarray, finish: Finish) -> np.ndarray:
    """Weights times the factor that their requantisation expects, int16."""
    return weights.astype(np.int16) * np.int16(finish.factor)


def halved(attrs: Mapping[str, int]) -> int:
    """Which operand of an addition of int8 has the factor 1/2 exactly, which TensorFlow Lite gives the larger scale; or
    -1, also where the other shrinks so much that its rounding needs more than 32 bits."""
    if attrs["left_shift"] != INT8_LEFT:
        return -1
    for number, other in ((1, 2), (2, 1)):
        if (attrs[f"input{number}_multiplier"], attrs[f"input{number}_shift"]) == (2**30, 0):
            return number - 1 if -attrs[f"input{other}_shift"] <= LEAST_FACTOR else -1
    return -1


def image_shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """The user's shape of a sample as (H, W, C); leading sizes are one."""
    rest = shape[-3:]
    height, width, channels = (1,) * (3 - len(rest)) + rest
    return height, width, channels


def lay_out(lowered: IntegerLowering) -> dict[str, Image]:
    """Every tensor with the halo of zeros that its readers need."""
    reads = []
    for instruction in lowered.instructions:
        if instruction.op in CONVOLUTIONS:
            height, width, _ = lowered.shapes[instruction.y]
            rest = (height % TILE, width % TILE) if instruction.winograd else (0, 0)  # whole tiles
            (top, bottom), (left, right) = instruction.pads
            reads.append((instruction.x, (top, bottom + rest[0], left, right + rest[1])))
    return {name: Image(*lowered.shapes[name], halo) for name, halo in halos_of(lowered.shapes, reads).items()}


class Encoding:
    """The fields of instructions for all their rows, and the constants that these name."""

    def __init__(self, network: Network, images: Mapping[str, Image], arena: Arena) -> None:
        self.network, self.images, self.arena = network, images, arena
        self.single = network.rounding == "S"
        self.constants = IntegerConstants()
        self.written: set[str] = set()

    def fields(self, instruction: IntegerInstruction) -> dict[int, int]:
        """Of one instruction."""
        fields: dict[int, int] = {Field.OP: instruction.op, Field.FLAGS: instruction.flags,
                                  Field.KIND: instruction.kind, Extra.ZERO: instruction.zero,
                                  Extra.PLACE: instruction.place,
                                  Extra.BYTES: 1 if self.network.scheme == "int8" else 2,
                                  Extra.MODE: Mode.S if self.single else Mode.D}
        self.add_images(fields, instruction)
        fields[Field.KH], fields[Field.KW] = instruction.kernel
        fields[Field.STRIDE_Y], fields[Field.STRIDE_X] = instruction.stride
        copies = instruction.copies if instruction.addend_copies == (1, 1) else instruction.addend_copies
        fields[Field.COPIES_Y], fields[Field.COPIES_X] = fields[Field.ALIGN_Y], fields[Field.ALIGN_X] = copies
        (top, _), (left, _) = instruction.pads
        fields[Field.PAD_TOP], fields[Field.PAD_LEFT] = top, left
        if instruction.op in CONVOLUTIONS:
            self.add_convolution(fields, instruction)
        elif instruction.op in (Op.MAX_POOL, Op.AVG_POOL, Op.ACTIVATE, Op.LAYER_NORM):
            self.add_function(fields, instruction)
        elif instruction.op == Op.SOFTMAX:
            fields[Extra.PARAMS] = self.constants.softmax(instruction.constants)
        if instruction.addition is not None:
            zero = instruction.addition["output_offset"]
            fields[Extra.ADDITION] = self.constants.addition(instruction.addition, self.single, zero)
            fields[Extra.HALVED] = -1 if self.single else halved(instruction.addition)
        return fields

    def add_images(self, fields: dict[int, int], instruction: IntegerInstruction) -> None:
        """Where its operands stand."""
        images = self.images
        for name, start, row, col in ((instruction.x, Field.X, Field.X_ROW, Field.X_COL),
                                      (instruction.addend, Field.ADDEND, Field.ADDEND_ROW, Field.ADDEND_COL),
                                      (instruction.y, Field.Y, Field.Y_ROW, Field.Y_COL)):
            if name:
                fields[start] = self.arena.offsets[name] + images[name].inner
                fields[row], fields[col] = images[name].row, images[name].col
        shown = images[instruction.y or instruction.x]
        x = images[instruction.x or instruction.y]
        fields[Field.HEIGHT], fields[Field.WIDTH], fields[Field.VECTORS] = shown.height, shown.width, vectors(
            shown.channels)
        fields[Field.X_HEIGHT], fields[Field.X_WIDTH], fields[Field.CHANNELS] = x.height, x.width, x.channels
        if instruction.y and instruction.y not in self.written:
            halo = images[instruction.y].halo
            fields.update(zip((Field.TOP, Field.BOTTOM, Field.LEFT, Field.RIGHT), halo, strict=True))
            self.written.add(instruction.y)

    def add_convolution(self, fields: dict[int, int], instruction: IntegerInstruction) -> None:
        """Taps, weights, and what makes activations of sums."""
        x, constants, (top, _), (left, _) = self.images[instruction.x], self.constants, *instruction.pads
        fields[Field.START] = -top * x.row - left * x.col
        fields[Field.TAP_ROW], fields[Field.TAP_COL] = instruction.dilation[0] * x.row, instruction.dilation[1] * x.col
        if instruction.depthwise is not None:
            first = instruction.first if instruction.op == Op.SEPARABLE else instruction.finish
            assert first is not None
            paired = instruction.stride[1] == instruction.dilation[1] == 1 and instruction.kernel[1] in PAIRED_TAPS
            weights = constants.depthwise(doubled(instruction.depthwise, first), paired)
            fields |= {Field.DEPTHWISE_WEIGHTS: weights, Extra.PAIRED: paired,
                       Extra.DEPTHWISE_MODE: first.mode, Extra.DEPTHWISE_PARAMS: constants.finish(first),
                       Extra.DEPTHWISE_BIAS: constants.bias(first), Extra.DEPTHWISE_LOW: first.low,
                       Extra.DEPTHWISE_HIGH: first.high}
        assert instruction.finish is not None
        fields |= {Extra.MODE: instruction.finish.mode, Extra.PARAMS: constants.finish(instruction.finish),
                   Extra.LOW: instruction.finish.low, Extra.HIGH: instruction.finish.high, Extra.WIDE: instruction.wide}
        if instruction.op == Op.DEPTHWISE:
            return
        fields |= {Extra.WINOGRAD: instruction.winograd, Field.VECTORS: filter_vectors(instruction, self.images)}
        if instruction.winograd:
            fields |= {Field.WEIGHTS: constants.winograd(doubled(instruction.dense, instruction.finish)),
                       Extra.WORDS: (x.channels + 1) // 2, Field.BIAS: constants.bias(instruction.finish),
                       Field.ALIGN_Y: TILE}
            return
        kernel = instruction.dense
        if instruction.op == Op.CONV and not instruction.wide and instruction.dilation[1] == 1 and x.col == x.channels:
            kernel = kernel.reshape(kernel.shape[0], 1, -1, kernel.shape[3])  # taps of a row are neighbouring channels
            fields[Field.KW] = 1
        if instruction.bytes:
            fields |= {Field.WEIGHTS: constants.byte_kernel(kernel), Extra.WORDS: -(-kernel.shape[2] // 4),
                       Field.BIAS: constants.byte_bias(instruction.finish, kernel, instruction.zero)}
        else:
            fields |= {Field.WEIGHTS: constants.kernel(doubled(kernel, instruction.finish)),
                       Extra.WORDS: -(-kernel.shape[2] // 2), Field.BIAS: constants.bias(instruction.finish)}

    def add_function(self, fields: dict[int, int], instruction: IntegerInstruction) -> None:
        """Of a pooling, an activation or a layer norm."""
        attrs, zero = instruction.constants, self.network.tensors[instruction.layer].zero_point
        if "act_min" in attrs:
            fields[Extra.LOW], fields[Extra.HIGH] = attrs["act_min"] - zero, attrs["act_max"] - zero
        if instruction.op == Op.ACTIVATE and "table" in attrs:
            fields[Extra.PARAMS] = self.constants.table(attrs["table"], zero)
        elif instruction.op == Op.LAYER_NORM:
            fields[Extra.PARAMS] = self.constants.layer_norm(attrs)
        elif instruction.op == Op.ACTIVATE:
            fields[Extra.PARAMS] = self.constants.factors(attrs)

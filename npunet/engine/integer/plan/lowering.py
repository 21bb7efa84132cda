"""From an integer network to fused instructions: what is computed together, and what needs no copy.

- a depthwise convolution moves into the 1x1 convolution that reads it;
- the addition of a residual moves into the later of the convolutions whose result it adds;
- conv1x1(concat(up(a), b)) becomes the sums over a's channels at a's resolution, which the sums over b's continue;
- any other upsampling moves into the concat that reads it, and a concat is its inputs spread side by side.

Integers are the same whatever is fused. Zero points go into what is stored, q - zero point, so that operators see the
differences that their formulas begin with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from npunet.engine.integer.plan.instruction import Finish, IntegerInstruction
from npunet.engine.integer.plan.opcodes import Kind, Mode
from npunet.engine.integer.plan.refusals import check, refuse
from npunet.engine.plan.layout import vectors
from npunet.engine.plan.opcodes import Flag, Op
from npunet.engine.plan.taps import taps_of
from npunet.engine.target import LANES
from npunet.integer.bounds import accumulator_bound
from npunet.integer.network import Network, Node, Shape

BLOCK_UNIT = 24  # positions that a cache block is a multiple of
TILED_CHANNELS = 9  # of the input, from which Winograd's algorithm pays
TILED_BOUND = 2**28  # of sums, of which it takes four times as much, doubled in Mode.D
FAST_BOUND = 2**30  # of sums, up to which Mode.D cannot leave 32 bits


@dataclass
class IntegerLowering:
    """One pass over a network. With fuse=False every node is an instruction; with in_place=False no instruction writes
    over what it reads; with bytes=True convolutions of int8 multiply fours of bytes."""

    network: Network
    fuse: bool = True
    in_place: bool = True
    bytes: bool = False
    instructions: list[IntegerInstruction] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    absorbed: set[str] = field(default_factory=set)  # nodes that another node's instruction computes
    home: dict[str, str] = field(default_factory=dict)  # tensor -> the tensor in whose memory it lives

    def run(self) -> IntegerLowering:
        """Fills in instructions and shapes; returns itself."""
        check(self.network)
        network = self.network = without_unread(self.network)
        self.bytes = self.bytes and network.scheme == "int8"
        self.readers = network.consumers()
        self.order = {node.name: number for number, node in enumerate(network)}
        self.nodes = {node.name: node for node in network}
        x, y = network.tensors[network.input], network.tensors[network.output]
        self.new(network.input)
        self.emit(IntegerInstruction(Op.COPY_IN, "input", y=network.input, zero=x.zero_point))
        for node in network:
            if node.name not in self.absorbed:
                self.lower(node)
        self.emit(IntegerInstruction(Op.COPY_OUT, "output", x=self.where(network.output), y="", zero=y.zero_point))
        return self

    def emit(self, instruction: IntegerInstruction) -> None:
        self.instructions.append(instruction)

    def where(self, name: str) -> str:
        """The tensor in whose memory `name` lives."""
        while name in self.home:
            name = self.home[name]
        return name

    def new(self, name: str) -> str:
        self.shapes[name] = self.network.tensors[name].shape
        return name

    def lower(self, node: Node) -> None:
        if node.op == "conv2d":
            self.lower_conv(node)
        elif node.op == "depthwise_conv2d":
            if not self.fused_depthwise(node):
                self.finish_conv(self.depthwise_of(node), node)
        elif node.op == "concat":
            if not self.continued(node):
                self.lower_concat(node)
        elif node.op == "upsample_nearest2d":
            if not self.absorbed_by_concat(node):  # nor by the convolution that continues it
                x = self.where(node.inputs[0])
                self.emit(IntegerInstruction(Op.SPREAD, node.name, x=x, y=self.new(node.name),
                                             copies=node.attrs["factor"]))
        else:
            self.lower_plain(node)

    def lower_plain(self, node: Node) -> None:
        """A node that is an instruction of its own."""
        attrs, zero = node.attrs, self.zero(node.inputs[0])
        instruction = IntegerInstruction(Op.ACTIVATE, node.name, x=self.where(node.inputs[0]), y="", zero=zero,
                                  constants={**attrs, **node.arrays})
        if node.op in ("max_pool2d", "avg_pool2d"):
            op = Op.MAX_POOL if node.op == "max_pool2d" else Op.AVG_POOL
            instruction = replace(instruction, op=op, kernel=attrs["window"], stride=attrs["stride"],
                                  pads=attrs["pads"])
        elif node.op == "add":
            instruction = replace(instruction, op=Op.ADD, addend=self.where(node.inputs[1]), addition=attrs)
        elif node.op in ("softmax", "softmax16"):
            instruction = replace(instruction, op=Op.SOFTMAX)
        elif node.op == "layer_norm":
            instruction = replace(instruction, op=Op.LAYER_NORM)
        elif node.op in ("rescale", "leaky_relu"):
            instruction = replace(instruction, kind=Kind[node.op.upper()])
        elif node.op == "table":
            instruction = replace(instruction, kind=Kind.TABLE if self.network.scheme == "int8" else Kind.LINES)
        else:
            refuse(node, f"has no instruction for {node.op!r}")
        in_place = instruction.op in (Op.ADD, Op.ACTIVATE, Op.SOFTMAX) and self.in_place
        if in_place and self.overwritable(node.inputs[0]):
            self.home[node.name] = instruction.x
            self.emit(replace(instruction, y=instruction.x))
        else:
            self.emit(replace(instruction, y=self.new(node.name)))

    def lower_conv(self, node: Node) -> None:
        producer = self.nodes.get(node.inputs[0])
        if producer is not None and self.continued(producer):
            self.lower_continued(node, producer)
            return
        if self.fuse and producer is not None and self.fused_depthwise(producer):
            half = self.depthwise_of(producer)
            instruction = replace(half, op=Op.SEPARABLE, layer=node.name, fused=(producer.name,), first=half.finish,
                           weights=node.arrays["weights"], bytes=self.bytes, zero=self.zero(node.inputs[0]))
        else:
            instruction = IntegerInstruction(Op.CONV, node.name, x=self.where(node.inputs[0]), y="",
                                      weights=node.arrays["weights"], bytes=self.bytes, zero=self.zero(node.inputs[0]))
            instruction = trimmed(placed(instruction, node), self.shape_of_input(node))
        tiled = self.fuse and self.is_tiled(instruction, node)
        finish, wide = self.finish_of(node), self.is_wide(node)
        self.finish_conv(replace(instruction, finish=finish, wide=wide, winograd=tiled), node)

    def lower_continued(self, node: Node, concat: Node) -> None:
        """conv1x1(concat(up(a), b)): the sums over a's channels once for each of its positions, then b's and theirs."""
        number = self.upsampled_input(concat)
        upsampling, other = self.nodes[concat.inputs[number]], concat.inputs[1 - number]
        weights, channels = node.arrays["weights"], [self.network.tensors[name].shape[2] for name in concat.inputs]
        halves = weights[:, :, : channels[0]], weights[:, :, channels[0] :]
        low, sums = self.where(upsampling.inputs[0]), f"{node.name} of {upsampling.name}"
        finish = self.finish_of(node)
        height, width, _ = self.shapes[low]
        self.shapes[sums] = (height, width, 2 * LANES * vectors(weights.shape[3]))  # int32 as pairs of int16
        self.emit(IntegerInstruction(Op.CONV, node.name, x=low, y=sums, flags=Flag.SUMS, weights=halves[number],
                                     finish=finish._replace(bias=np.zeros_like(finish.bias)),
                                     fused=(upsampling.name,), bytes=self.bytes, zero=self.zero(upsampling.inputs[0])))
        self.emit(IntegerInstruction(Op.CONV, node.name, x=self.where(other), y=self.new(node.name), addend=sums,
                                     flags=Flag.CONTINUE, weights=halves[1 - number], finish=finish,
                                     addend_copies=upsampling.attrs["factor"], fused=(concat.name,), bytes=self.bytes,
                                     zero=self.zero(other)))

    def continued(self, concat: Node) -> bool:
        """Whether a concat is only there for a 1x1 convolution over an upsampled and another tensor."""
        reader = self.only_reader(concat.name)
        if not (self.fuse and concat.op == "concat" and len(set(concat.inputs)) == len(concat.inputs) == 2
                and reader is not None and reader.op == "conv2d" and reads_one_position(reader)):
            return False
        number = self.upsampled_input(concat)
        if number < 0 or self.is_wide(reader):
            return False
        return BLOCK_UNIT % self.nodes[concat.inputs[number]].attrs["factor"][1] == 0

    def upsampled_input(self, concat: Node) -> int:
        """Which input of a concat is an upsampling that nobody else reads; -1 for none."""
        for number, name in enumerate(concat.inputs):
            producer = self.nodes.get(name)
            if producer is not None and producer.op == "upsample_nearest2d" and self.absorbed_by_concat(producer):
                return number
        return -1

    def depthwise_of(self, node: Node) -> IntegerInstruction:
        """A depthwise convolution; with several filters a channel, a dense one whose other weights are 0."""
        weights = node.arrays["weights"]
        instruction = IntegerInstruction(Op.DEPTHWISE, node.name, x=self.where(node.inputs[0]), y="", weights=weights,
                                  finish=self.finish_of(node))
        instruction = trimmed(placed(instruction, node), self.shape_of_input(node))
        if weights.shape[3] == 1:
            return replace(instruction, depthwise=instruction.weights, weights=None)
        KH, KW, C, M = instruction.dense.shape
        dense = np.zeros((KH, KW, C, C, M), np.int8)
        dense[:, :, np.arange(C), np.arange(C)] = instruction.dense
        return replace(instruction, op=Op.CONV, weights=dense.reshape(KH, KW, C, C * M), bytes=self.bytes,
                       zero=self.zero(node.inputs[0]))

    def finish_conv(self, instruction: IntegerInstruction, node: Node) -> None:
        """Emit a convolution, with the addition that follows it where that can be."""
        name, reader = node.name, self.only_reader(node.name)
        if self.fuse and reader is not None and reader.op == "add" and reader.inputs[0] != reader.inputs[1]:
            number = reader.inputs.index(node.name)
            other = reader.inputs[1 - number]
            if self.order.get(other, -1) < self.order[node.name]:
                self.absorbed.add(reader.name)
                name = reader.name
                instruction = replace(instruction, flags=instruction.flags | Flag.ADD, addend=self.where(other),
                                      fused=(*instruction.fused, name),
                                      addition=reader.attrs if number == 0 else swapped(reader.attrs))
                if self.in_place and self.overwritable(other) and self.where(other) != instruction.x:
                    self.home[name] = instruction.addend
                    self.emit(replace(instruction, y=instruction.addend))
                    return
        self.emit(replace(instruction, y=self.new(name)))

    def lower_concat(self, node: Node) -> None:
        """Each input, upsampled where only this concat reads it so, to its channels."""
        y, place = self.new(node.name), 0
        for name in node.inputs:
            producer, copies = self.nodes.get(name), (1, 1)
            fused: tuple[str, ...] = (node.name,)
            if producer is not None and producer.op == "upsample_nearest2d" and self.absorbed_by_concat(producer):
                copies, fused, name = producer.attrs["factor"], (producer.name, node.name), producer.inputs[0]
            x = self.where(name)
            self.emit(IntegerInstruction(Op.SPREAD, node.name, x=x, y=y, copies=copies, place=place, fused=fused))
            place += self.shapes[x][2]

    def finish_of(self, node: Node) -> Finish:
        """Of a convolution."""
        bound = accumulator_bound(self.network, node)
        shift = np.where(node.arrays["multiplier"] == 0, np.int32(-1), node.arrays["shift"])
        single = self.network.rounding == "S"
        if node.arrays["bias"].dtype == np.int64:
            mode = Mode.LONG_S if single else Mode.LONG
        elif shift.max() < 0 and bound.max() < FAST_BOUND:
            mode = Mode.S if single else Mode.D
        else:
            mode = Mode.S_ANY if single else Mode.D_ANY
        zero = self.zero(node.name)
        return Finish(mode, node.arrays["bias"].astype(np.int64), node.arrays["multiplier"], shift,
                      node.attrs["act_min"] - zero, node.attrs["act_max"] - zero)

    def is_wide(self, node: Node) -> bool:
        """Whether sums without the bias could leave 32 bits: those of one tap still do not."""
        if node.arrays["bias"].dtype != np.int64:
            return False
        bound = accumulator_bound(self.network, node) - np.abs(node.arrays["bias"])
        return bool(bound.max() >= 2**31)

    def is_tiled(self, instruction: IntegerInstruction, node: Node) -> bool:
        """Whether Winograd's algorithm serves, and pays."""
        _, _, channels, filters = node.arrays["weights"].shape
        height, width, _ = self.network.tensors[node.name].shape
        return (instruction.op == Op.CONV and not instruction.bytes and instruction.kernel == (3, 3)
                and instruction.stride == instruction.dilation == (1, 1) and self.network.scheme == "int8"
                and channels >= TILED_CHANNELS and filters > 1 and height > 1 and width > 2
                and bool(accumulator_bound(self.network, node).max() < TILED_BOUND))

    def fused_depthwise(self, node: Node) -> bool:
        """Whether it is computed by the 1x1 convolution that reads it, and no one else."""
        reader = self.only_reader(node.name)
        return (self.fuse and node.op == "depthwise_conv2d" and node.arrays["weights"].shape[3] == 1
                and reader is not None and reader.op == "conv2d" and reads_one_position(reader))

    def absorbed_by_concat(self, node: Node) -> bool:
        reader = self.only_reader(node.name)
        return self.fuse and reader is not None and reader.op == "concat" and reader.inputs.count(node.name) == 1

    def only_reader(self, name: str) -> Node | None:
        readers = self.readers[name]
        return readers[0] if len(readers) == 1 and name != self.network.output else None

    def overwritable(self, name: str) -> bool:
        """Whether its memory may become its reader's: nobody else reads it."""
        return self.only_reader(name) is not None and name != self.network.input

    def shape_of_input(self, node: Node) -> Shape:
        return self.network.tensors[node.inputs[0]].shape

    def zero(self, name: str) -> int:
        return self.network.tensors[name].zero_point


def without_unread(network: Network) -> Network:
    """The network less what its output does not depend on."""
    needed, nodes = {network.output}, []
    for node in reversed(network.nodes):
        if node.name in needed:
            needed |= set(node.inputs)
            nodes.append(node)
    return replace(network, nodes=tuple(reversed(nodes)))


def reads_one_position(node: Node) -> bool:
    return (node.arrays["weights"].shape[:2] == (1, 1) and node.attrs["stride"] == (1, 1)
            and not any(map(any, node.attrs["pads"])))


def placed(instruction: IntegerInstruction, node: Node) -> IntegerInstruction:
    """With where its taps lie."""
    return replace(instruction, kernel=node.arrays["weights"].shape[:2], stride=node.attrs["stride"],
                   pads=node.attrs["pads"], dilation=node.attrs["dilation"])


def trimmed(instruction: IntegerInstruction, shape: Shape) -> IntegerInstruction:
    """With its kernel less the taps that see nothing but padding; strides keep all.

    shape : of its input
    """
    if instruction.stride != (1, 1):
        return instruction
    y, x = taps_of(instruction.kernel, instruction.pads, instruction.dilation, shape[:2])
    if not (y.number and x.number):
        return instruction
    kernel = instruction.dense[y.kept, x.kept]
    return replace(instruction, weights=kernel, kernel=kernel.shape[:2], pads=(y.pads, x.pads))


def swapped(attrs: Mapping[str, int]) -> dict[str, int]:
    """An addition's attributes with its inputs exchanged."""
    other = {"1": "2", "2": "1"}
    return {f"input{other[key[5]]}{key[6:]}" if key.startswith("input") else key: value
            for key, value in attrs.items()}

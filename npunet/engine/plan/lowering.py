"""From the deployed graph to fused instructions: what is computed together, what needs no copy, what is computed early.

Every rewrite keeps every bit (ARITHMETIC, "three rewrites", and rounding that is the same wherever it happens):

- bias, ReLU or ReLU6, and the residual's addition move into the convolution before them;
- a depthwise convolution moves into the 1x1 convolution that reads it;
- conv1x1(concat(up(a), skip)) becomes up(conv1x1(a)) continued over the skip's channels: the order of each sum is
  the same, the first part of it is computed once for every low-resolution position;
- taps that only ever see padding are left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np

from npunet.engine.plan.opcodes import ACTIVATION_KINDS, Flag, Op
from npunet.engine.plan.refusals import PREDICTION
from npunet.engine.plan.taps import taps_of
from npunet.geometry import Pads, Pair
from npunet.graph import Graph, Node, Shape
from npunet.ops import winograd
from npunet.ops.table import OPERATORS

FUSABLE_ACTIVATIONS = {"relu": Flag.RELU, "relu6": Flag.RELU6}
NO_PADS: Pads = ((0, 0), (0, 0))


@dataclass(frozen=True)
class Instruction:
    """One instruction before anything has a place in memory; tensors are named.

    layer   : the layer whose value it finishes, the names that were fused into it behind
    kernel  : taps (or window, or upsampling factor); pads, stride, dilation as in the graph
    copies  : how often a convolution writes each result, vertically and horizontally
    addend_copies : how often it takes each position of the addend
    weights : kernel (KH, KW, C, F), or gamma of a layer norm;  bias : (F,), or beta
    depthwise : (KH, KW, C, 1) of a separable or depthwise convolution
    eps     : of a layer norm
    """

    op: Op
    layer: str
    y: str
    x: str = ""
    addend: str = ""
    flags: int = 0
    kernel: Pair = (1, 1)
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pads: Pads = NO_PADS
    weights: np.ndarray | None = None
    bias: np.ndarray | None = None
    depthwise: np.ndarray | None = None
    kind: int = 0
    eps: float = 0.0
    copies: Pair = (1, 1)
    addend_copies: Pair = (1, 1)
    fused: tuple[str, ...] = ()

    @property
    def dense(self) -> np.ndarray:
        """The weights of an instruction that has some."""
        assert self.weights is not None, f"{self.layer} has no weights"
        return self.weights

    @property
    def reads_one_position(self) -> bool:
        """Whether a convolution reads x at the position that it writes, and nowhere else."""
        return self.kernel == (1, 1) and self.pads == NO_PADS


class Lowered(NamedTuple):
    """Instructions in order, and the shape of every tensor that they name."""

    instructions: list[Instruction]
    shapes: dict[str, Shape]
    input: str
    output: str


@dataclass
class Lowering:
    """One pass over a deployed graph. With fuse=False every node is an instruction; with in_place=False no instruction
    writes over what it reads; with tiled=True the convolutions that can be are done by Winograd's algorithm."""

    graph: Graph
    weights: Mapping[str, np.ndarray]
    fuse: bool = True
    in_place: bool = True
    tiled: bool = False
    instructions: list[Instruction] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    absorbed: set[str] = field(default_factory=set)  # nodes that another node's instruction computes
    home: dict[str, str] = field(default_factory=dict)  # tensor -> the tensor in whose memory it lives

    def run(self) -> Lowered:
        PREDICTION.check(self.graph)
        self.readers = self.graph.consumers()
        self.order = {node.name: number for number, node in enumerate(self.graph)}
        self.shapes[self.graph.input] = self.graph.input_shape
        self.emit(Instruction(Op.COPY_IN, "input", y=self.graph.input))
        for node in self.graph:
            if node.name not in self.absorbed:
                self.lower(node)
        output = self.place(self.graph.output)
        self.emit(Instruction(Op.COPY_OUT, "output", x=output, y=""))
        return Lowered(self.instructions, self.shapes, self.graph.input, output)

    def emit(self, instruction: Instruction) -> None:
        self.instructions.append(instruction)

    def place(self, name: str) -> str:
        """The tensor in whose memory `name` lives."""
        while name in self.home:
            name = self.home[name]
        return name

    def lower(self, node: Node) -> None:
        if node.op == "conv2d":
            self.lower_conv(node)
        elif node.op == "depthwise_conv2d":
            reader = self.only_reader(node.name)
            if not (self.fuse and reader is not None and self.reads_one_position(reader)):
                self.emit(replace(self.depthwise_of(node), y=self.new(node.name, node.shape)))
        elif node.op == "concat" and self.fuse and self.continued(node):
            pass  # its convolution reads both inputs
        elif node.op == "upsample_nearest2d" and self.fuse and self.upsampled_late(node):
            pass
        else:
            self.lower_plain(node)

    def lower_plain(self, node: Node) -> None:
        """A node that is an instruction of its own."""
        sources = [self.place(name) for name in node.inputs]
        instruction = Instruction(Op.ADD, node.name, x=sources[0], y="")
        if OPERATORS[node.op].in_place and self.in_place and self.overwritable(node.inputs[0]):
            self.home[node.name] = sources[0]
            y = sources[0]
        else:
            y = self.new(node.name, node.shape)
        attrs = node.attrs
        if node.op == "max_pool2d":
            instruction = replace(instruction, op=Op.MAX_POOL, kernel=attrs["window"], stride=attrs["stride"],
                                  pads=attrs["pads"])
        elif node.op == "upsample_nearest2d":
            instruction = replace(instruction, op=Op.UPSAMPLE, kernel=attrs["factor"])
        elif node.op in ("add", "concat"):
            instruction = replace(instruction, op=Op[node.op.upper()], addend=sources[1])
        elif node.op == "softmax":
            instruction = replace(instruction, op=Op.SOFTMAX)
        elif node.op == "layer_norm":
            gamma, beta = (self.weights[name] for name in node.weights)
            instruction = replace(instruction, op=Op.LAYER_NORM, weights=gamma, bias=beta, eps=attrs["eps"])
        elif node.op in ACTIVATION_KINDS:
            instruction = replace(instruction, op=Op.ACTIVATE, kind=ACTIVATION_KINDS[node.op])
        else:
            PREDICTION.refuse(node.name, f"has no instruction for {node.op!r}")
        self.emit(replace(instruction, y=y))

    def lower_conv(self, node: Node) -> None:
        """A convolution with what can be fused into it."""
        producer = self.producer(node.inputs[0])
        if self.fuse and producer is not None and producer.op == "concat" and self.continued(producer):
            instruction = self.continue_over_skip(node, producer)
        elif self.fuse and producer is not None and self.reads_fused_depthwise(node):
            half = self.depthwise_of(producer)
            instruction = replace(half, op=Op.SEPARABLE, layer=node.name, fused=(producer.name,),
                                  weights=self.kernel(node))
        else:
            kernel = self.kernel(node)
            instruction = Instruction(Op.CONV, node.name, x=self.place(node.inputs[0]), y="",
                                      kernel=kernel.shape[:2], dilation=node.attrs["dilation"], pads=node.attrs["pads"])
            stride, dilation = node.attrs["stride"], node.attrs["dilation"]
            if self.tiled and winograd.applies(node.shape[:2], kernel.shape, stride, dilation):
                instruction = replace(instruction, op=Op.WINOGRAD, weights=kernel)
            else:
                instruction = trim(instruction, kernel, self.graph.shape(node.inputs[0]))
        if len(node.weights) > 1:
            instruction = replace(instruction, bias=self.weights[node.weights[1]], flags=instruction.flags | Flag.BIAS)
        instruction, result = self.take_in_successors(instruction, node)
        if instruction.addend and self.in_place and self.overwritable_by(instruction.addend, result):
            self.home[result] = instruction.addend
            y = instruction.addend
        else:
            y = self.place(result) if result in self.shapes else self.new(result, node.shape)
        self.emit(replace(instruction, y=y))

    def take_in_successors(self, instruction: Instruction, node: Node) -> tuple[Instruction, str]:
        """The instruction with the activation or the residual addition that follows it, and the name of its result."""
        reader = self.only_reader(node.name)
        if not self.fuse or reader is None:
            return instruction, node.name
        if reader.op in FUSABLE_ACTIVATIONS:
            self.absorbed.add(reader.name)
            flags = instruction.flags | FUSABLE_ACTIVATIONS[reader.op]
            return replace(instruction, flags=flags, fused=(*instruction.fused, reader.name)), reader.name
        if reader.op == "add":
            main = next(name for name in reader.inputs if name != node.name)
            if self.is_done_before(main, node):
                self.absorbed.add(reader.name)
                flags = instruction.flags | Flag.ADD
                fused = (*instruction.fused, reader.name)
                return replace(instruction, flags=flags, addend=self.place(main), fused=fused), reader.name
        return instruction, node.name

    def continue_over_skip(self, node: Node, concat: Node) -> Instruction:
        """Emit up(conv1x1(a)) into the result's memory; the instruction that continues it over the skip."""
        upsampling = self.graph[concat.inputs[0]]
        low, channels = upsampling.inputs[0], upsampling.shape[2]
        kernel = self.kernel(node)
        result = self.fused_name(node)
        y = self.new(result, node.shape)
        factor = upsampling.attrs["factor"]
        first = Instruction(Op.CONV, node.name, x=self.place(low), y=y, weights=kernel[:, :, :channels])
        if factor != (1, 1):
            first = replace(first, flags=Flag.SPREAD, copies=factor, fused=(upsampling.name,))
        self.emit(first)
        return Instruction(Op.CONV, node.name, x=self.place(concat.inputs[1]), y="", flags=Flag.CONTINUE,
                           weights=kernel[:, :, channels:], fused=(concat.name,))

    def depthwise_of(self, node: Node) -> Instruction:
        kernel = self.kernel(node)
        instruction = Instruction(Op.DEPTHWISE, node.name, x=self.place(node.inputs[0]), y="",
                                  kernel=kernel.shape[:2], dilation=node.attrs["dilation"], pads=node.attrs["pads"])
        trimmed = trim(instruction, kernel, self.graph.shape(node.inputs[0]))
        return replace(trimmed, depthwise=trimmed.weights, weights=None)

    def new(self, name: str, shape: Shape) -> str:
        self.shapes[name] = shape
        return name

    def kernel(self, node: Node) -> np.ndarray:
        return self.weights[node.weights[0]]

    def producer(self, name: str) -> Node | None:
        return None if name == self.graph.input else self.graph[name]

    def only_reader(self, name: str) -> Node | None:
        readers = self.readers[name]
        return readers[0] if len(readers) == 1 and name != self.graph.output else None

    def reads_one_position(self, node: Node) -> bool:
        return node.op == "conv2d" and self.kernel(node).shape[:2] == (1, 1)

    def reads_fused_depthwise(self, node: Node) -> bool:
        producer = self.producer(node.inputs[0])
        return (producer is not None and producer.op == "depthwise_conv2d" and self.reads_one_position(node)
                and self.only_reader(producer.name) is node)

    def continued(self, concat: Node) -> bool:
        """Whether the concat is only there for a 1x1 convolution over an upsampled and another tensor."""
        reader = self.only_reader(concat.name)
        upsampling = self.producer(concat.inputs[0])
        return (reader is not None and self.reads_one_position(reader) and len(concat.inputs) == 2
                and upsampling is not None and upsampling.op == "upsample_nearest2d"
                and self.only_reader(upsampling.name) is concat)

    def upsampled_late(self, node: Node) -> bool:
        reader = self.only_reader(node.name)
        return (reader is not None and reader.op == "concat" and reader.inputs[0] == node.name
                and self.continued(reader))

    def fused_name(self, node: Node) -> str:
        """The name that the convolution's result will have once its successor is taken in."""
        return self.take_in_successors(Instruction(Op.CONV, node.name, y=""), node)[1]

    def is_done_before(self, name: str, node: Node) -> bool:
        return name != self.graph.input and self.order[name] < self.order[node.name] and name != node.name

    def overwritable(self, name: str) -> bool:
        return self.only_reader(name) is not None and name != self.graph.input

    def overwritable_by(self, addend: str, result: str) -> bool:
        """Whether the addend's memory may become the result's: nobody else reads it."""
        inputs = [name for name in self.graph[result].inputs if self.place(name) == addend]
        return len(inputs) == 1 and self.overwritable(inputs[0])


def trim(instruction: Instruction, kernel: np.ndarray, shape: Shape) -> Instruction:
    """The instruction with its kernel less the taps that see nothing but padding, which may be all of them."""
    y, x = taps_of(kernel.shape[:2], instruction.pads, instruction.dilation, shape[:2])
    kernel = kernel[y.kept, x.kept]
    return replace(instruction, weights=kernel, kernel=kernel.shape[:2], pads=(y.pads, x.pads))

"""From a network to the instructions of a training step: forward in the graph's order, then each layer's backward.

Fused: batch norm with its activation; the residual's 1x1 convolution with the addition; the last softmax with the loss;
and conv1x1(concat(up(a), skip)), whose first half is done at low resolution, forward and backward. A gradient with
several readers is gathered when its layer's turn comes: what cannot add to a tensor writes it first, convolutions add.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from npunet.engine.opcodes import ACTIVATION_KINDS
from npunet.engine.training.opcodes import DICE, LINEAR, NORM_ROWS, Field, Flag, Mode, Op
from npunet.geometry import Pair
from npunet.graph import Graph, Node, Shape

STRIPS = 16  # at least so many in a batch, where it has the rows
NARROW = 48  # positions: shorter rows are not worth a piece of their own
LANES = 8  # as simd.LANES, which cannot be read without loading Numba


class Unsupported(ValueError):
    """The engine has no training instructions for this; NumpyStep has."""


@dataclass(frozen=True)
class Taps:
    """The taps of a kernel along one axis that see something besides padding.

    skipped : taps before them;  count : of them;  first : from an output's position to the first;  step : between two
    """

    skipped: int
    count: int
    first: int
    step: int

    @property
    def last(self) -> int:
        return self.first + (self.count - 1) * self.step

    @property
    def reach(self) -> Pair:
        """Positions read before the first output's own and behind the last's."""
        return (max(0, -self.first), max(0, self.last)) if self.count else (0, 0)

    def flipped(self) -> Taps:
        """The taps of the input's gradient."""
        return Taps(0, self.count, -self.last, self.step)


POINT = Taps(0, 1, 0, 1)


def taps_of(kernel: int, pad: int, dilation: int, size: int) -> Taps:
    seen = [k for k in range(kernel) if abs(k * dilation - pad) < size]
    return Taps(seen[0], len(seen), seen[0] * dilation - pad, dilation) if seen else Taps(0, 0, 0, dilation)


@dataclass
class Instruction:
    """One instruction before anything has a place in memory: tensors and regions are named.

    taps   : along height and width, for an x that is read around
    fields : columns that are known already
    """

    op: Op
    layer: str
    mode: Mode = Mode.ROWS
    x: str = ""
    y: str = ""
    z: str = ""
    u: str = ""
    norm: str = ""
    sums: str = ""
    weights: str = ""
    bias: str = ""
    taps: tuple[Taps, Taps] = (POINT, POINT)
    fields: dict[Field, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Part:
    """One share of a tensor's gradient: a gradient that it equals, or what writes it into a tensor."""

    alias: str = ""
    emit: Callable[[str, bool], None] | None = None
    adds: bool = False


@dataclass
class Lowering:
    """One pass over a graph as trained.

    offsets : where each weight stands in the flat block;  loss : a kind of opcodes

    After run(): instructions, shapes (tensor -> (H, W, C)), regions (name -> elements, float32), sums (name -> float64
    a strip).
    """

    graph: Graph
    offsets: dict[str, int]
    batch: int
    loss: int
    instructions: list[Instruction] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    regions: dict[str, int] = field(default_factory=dict)
    sums: dict[str, int] = field(default_factory=dict)
    packs: list[Instruction] = field(default_factory=list)
    later: list[Instruction] = field(default_factory=list)
    tape: list[Callable[[], None]] = field(default_factory=list)
    parts: dict[str, list[Part]] = field(default_factory=dict)
    gradients: dict[str, str] = field(default_factory=dict)
    home: dict[str, str] = field(default_factory=dict)
    absorbed: set[str] = field(default_factory=set)

    def run(self) -> Lowering:
        self.readers = self.graph.consumers()
        self.logits = self.graph.output
        if self.graph.nodes and self.graph[self.graph.output].op == "softmax":
            self.logits = self.graph[self.graph.output].inputs[0]
            self.absorbed.add(self.graph.output)
        self.shapes[self.graph.input] = self.graph.input_shape
        self.emit(Op.COPY_IN, "input", y=self.graph.input)
        for node in self.graph:
            if node.name not in self.absorbed:
                self.lower(node)
        self.emit_loss()
        for differentiate in reversed(self.tape):
            differentiate()
        self.flush()
        self.instructions[:0] = self.packs
        return self

    # what is shared

    def emit(self, op: Op, layer: str, **names) -> Instruction:
        instruction = Instruction(op, layer, **names)
        self.instructions.append(instruction)
        return instruction

    def end(self, op: Op, layer: str, **names) -> None:
        """An instruction that needs all strips: whatever waited for such a moment goes first."""
        self.flush()
        self.emit(op, layer, mode=Mode.SPREAD, **names)

    def flush(self) -> None:
        self.instructions += sorted(self.later, key=lambda instruction: instruction.mode)
        self.later.clear()

    def new(self, name: str, shape: Shape) -> str:
        self.shapes[name] = shape
        return name

    def place(self, name: str) -> str:
        """The tensor in whose memory `name` lives."""
        return self.home.get(name, name)

    def only_reader(self, name: str) -> Node | None:
        readers = self.readers[name]
        return readers[0] if len(readers) == 1 and name not in (self.logits, self.graph.output) else None

    def contribute(self, name: str, part: Part) -> None:
        if name != self.graph.input:
            self.parts.setdefault(name, []).append(part)

    def gradient(self, name: str) -> str:
        """The tensor that holds dLoss / d name, computed now if it has not been."""
        if name not in self.gradients:
            parts = sorted(self.parts.pop(name, []), key=lambda part: part.adds)
            if len(parts) == 1 and parts[0].alias:
                self.gradients[name] = parts[0].alias
            elif not parts or parts[0].alias or not all(part.adds for part in parts[1:]):
                raise Unsupported(f"the gradients of {name} come together in a way that the engine does not know")
            else:
                target = self.new(f"d {name}", self.shapes[self.place(name)])
                for number, part in enumerate(parts):
                    part.emit(target, number > 0)
                self.gradients[name] = target
        return self.gradients[name]

    def add_sums(self, name: str, size: int) -> str:
        self.sums[name] = size
        return name

    # forward, one method an operator; each puts its backward on the tape

    def lower(self, node: Node) -> None:
        method = getattr(self, f"lower_{node.op}", None)
        if node.op in ACTIVATION_KINDS:
            self.lower_activation(node)
        elif method is None:
            raise Unsupported(f"the engine has no training instruction for {node.op!r} ({node.name})")
        else:
            method(node)

    def lower_conv2d(self, node: Node) -> None:
        reader, producer = self.only_reader(node.name), self.producer(node.inputs[0])
        if reader is not None and reader.op == "add" and reader.inputs[1] == node.name:
            return  # done where the sum is
        if producer is not None and producer.op == "concat":
            self.conv_of_concat(node, producer)
        else:
            self.conv(node.name, node.inputs[0], node.weights, node, node.shape)

    def lower_separable_conv2d(self, node: Node) -> None:
        (x,), (kernel, *rest) = node.inputs, node.weights
        between = f"{node.name}/depthwise"
        shape = (*node.shape[:2], self.shapes[self.place(x)][2])
        self.depthwise(between, x, kernel, node, shape)
        self.conv(node.name, between, rest, None, node.shape)

    def lower_add(self, node: Node) -> None:
        main, side = node.inputs
        residual = self.producer(side)
        if residual is None or residual.op != "conv2d" or self.only_reader(side) is not node:
            raise Unsupported(f"{node.name} adds something else than a convolution")
        self.conv(node.name, residual.inputs[0], residual.weights, residual, node.shape, addend=self.place(main))
        self.tape.append(lambda: self.contribute(main, Part(alias=self.gradient(node.name))))

    def lower_concat(self, node: Node) -> None:
        reader, up = self.only_reader(node.name), self.producer(node.inputs[0])
        fits = (reader is not None and reader.op == "conv2d"
                and self.graph.weights[reader.weights[0]].shape[:2] == (1, 1))
        if not fits or len(node.inputs) != 2 or up is None or up.op != "upsample_nearest2d":
            raise Unsupported(f"{node.name} is not an upsampled and another tensor before a 1x1 convolution")

    def lower_upsample_nearest2d(self, node: Node) -> None:
        reader = self.only_reader(node.name)
        if reader is not None and reader.op == "concat" and reader.inputs[0] == node.name:
            return  # its convolution reads the low resolution
        factor = {Field.KH: node.attrs["factor"][0], Field.KW: node.attrs["factor"][1]}
        (x,) = node.inputs
        self.emit(Op.UPSAMPLE, node.name, x=self.place(x), y=self.new(node.name, node.shape), fields=factor)

        def backward() -> None:
            dy = self.gradient(node.name)
            self.contribute(x, Part(emit=lambda target, adding: self.emit(
                Op.UPSAMPLE_DX, node.name, x=dy, y=target, fields=factor)))

        self.tape.append(backward)

    def lower_max_pool2d(self, node: Node) -> None:
        (x,) = node.inputs
        (top, _), (left, _) = node.attrs["pads"]
        (kh, kw), (stride_y, stride_x) = node.attrs["window"], node.attrs["stride"]
        fields = {Field.KH: kh, Field.KW: kw, Field.STRIDE_Y: stride_y, Field.STRIDE_X: stride_x,
                  Field.PAD_TOP: top, Field.PAD_LEFT: left}
        winners = self.new(f"{node.name}/winners", node.shape)
        self.emit(Op.MAX_POOL, node.name, x=self.place(x), y=self.new(node.name, node.shape), z=winners, fields=fields)

        def backward() -> None:
            dy = self.gradient(node.name)
            self.contribute(x, Part(emit=lambda target, adding: self.emit(
                Op.MAX_POOL_DX, node.name, x=dy, y=target, z=winners, fields=fields)))

        self.tape.append(backward)

    def lower_dropout_inference(self, node: Node) -> None:
        (x,), mask = node.inputs, {Field.MASK: self.mask_offset(node)}
        self.emit(Op.MASK_IN, node.name, x=self.place(x), y=self.new(node.name, node.shape), fields=mask)

        def backward() -> None:
            dy = self.gradient(node.name)
            self.contribute(x, Part(emit=lambda target, adding: self.emit(
                Op.MASK_IN, node.name, x=dy, y=target, fields=mask)))

        self.tape.append(backward)

    def lower_batch_norm_inference(self, node: Node) -> None:
        (x,) = node.inputs
        H, W, C = node.shape
        result, kind = self.with_activation(node)
        fields = {Field.PARAM: self.offsets[node.weights[0]], Field.TERMS: self.batch * H * W, Field.KIND: kind}
        norm, u = f"{node.name}/constants", self.place(x)
        self.regions[norm] = NORM_ROWS * padded(C)
        sums = self.add_sums(f"{node.name}/sums", 2 * padded(C))
        self.emit(Op.STATISTICS, node.name, x=u, sums=sums)
        self.end(Op.STATISTICS_END, node.name, x=u, norm=norm, sums=sums, fields=fields)
        y = self.new(result, node.shape)
        self.emit(Op.NORMALISE, node.name, x=u, y=y, norm=norm, fields=fields)

        def backward() -> None:
            dy = self.gradient(result)
            sums = self.add_sums(f"d {node.name}/sums", 2 * padded(C))
            self.emit(Op.NORM_SUMS, node.name, x=dy, z=y, u=u, norm=norm, sums=sums, fields=fields)
            self.end(Op.NORM_END, node.name, x=u, norm=norm, sums=sums, fields=fields)
            dx = dy if dy == f"d {result}" else self.new(f"d {x}", node.shape)  # in place where nothing else reads it
            self.emit(Op.NORM_DX, node.name, x=dy, y=dx, z=y, u=u, norm=norm, fields=fields)
            self.contribute(x, Part(alias=dx))

        self.tape.append(backward)

    def lower_layer_norm(self, node: Node) -> None:
        (x,) = node.inputs
        result, kind = self.with_activation(node)
        gamma, beta = (self.offsets[name] for name in node.weights)
        fields = {Field.PARAM: gamma, Field.PARAM_2: beta}
        norm, z = f"{node.name}/constants", self.place(x)
        self.regions[norm] = self.batch * 2 * padded(node.shape[2])
        y = self.new(result, node.shape)
        self.emit(Op.LAYER_NORM, node.name, x=z, y=y, norm=norm, fields={**fields, Field.KIND: kind})

        def backward() -> None:
            dy = self.activation_gradient(node, result, y, kind)
            self.later.append(
                Instruction(Op.LAYER_NORM_DW, node.name, Mode.SPREAD, x=dy, z=z, norm=norm, fields=fields))
            self.contribute(x, Part(emit=lambda target, adding: self.emit(
                Op.LAYER_NORM_DX, node.name, x=dy, y=target, z=z, norm=norm, fields=fields)))

        self.tape.append(backward)

    def lower_activation(self, node: Node) -> None:
        """An activation without a norm, in the memory of its input, which nothing else needs."""
        (x,), kind = node.inputs, ACTIVATION_KINDS[node.op]
        if self.only_reader(x) is not node:
            raise Unsupported(f"something else than {node.name} reads {x}")
        self.home[node.name] = y = self.place(x)
        self.emit(Op.ACTIVATE, node.name, x=y, y=y, fields={Field.KIND: kind})

        def backward() -> None:
            d = self.activation_gradient(node, node.name, y, kind)
            self.contribute(x, Part(alias=d))

        self.tape.append(backward)

    def activation_gradient(self, node: Node, result: str, y: str, kind: int) -> str:
        """The gradient before an activation whose output is y."""
        dy = self.gradient(result)
        if kind == LINEAR:
            return dy
        d = self.new(f"d before {result}", node.shape)
        self.emit(Op.ACTIVATE_DX, node.name, x=dy, y=d, z=y, fields={Field.KIND: kind})
        return d

    def with_activation(self, node: Node) -> tuple[str, int]:
        """The name and the kind of the activation that alone reads a norm."""
        reader = self.only_reader(node.name)
        if reader is None or reader.op not in ACTIVATION_KINDS:
            return node.name, LINEAR
        self.absorbed.add(reader.name)
        return reader.name, ACTIVATION_KINDS[reader.op]

    def producer(self, name: str) -> Node | None:
        return None if name == self.graph.input else self.graph[name]

    def mask_offset(self, node: Node) -> int:
        """Where the node's mask begins among all masks."""
        offset = 0
        for other in self.graph:
            if other.name == node.name:
                break
            if other.op == "dropout_inference":
                offset += self.batch * other.shape[0] * other.shape[1] * other.shape[2]
        return offset

    # convolutions

    def conv(self, name: str, x: str, weights: tuple[str, ...] | list[str], node: Node | None, shape: Shape,
             addend: str = "") -> None:
        """A convolution (1x1 without a node to ask) into a new tensor, and its backward."""
        kernel, bias = weights[0], weights[1] if len(weights) > 1 else ""
        taps = (POINT, POINT) if node is None else self.taps(node, self.graph.weights[kernel].shape)
        flags = (Flag.BIAS if bias else 0) | (Flag.ADD if addend else 0)
        self.emit(Op.CONV, name, x=self.place(x), y=self.new(name, shape), z=addend, taps=taps,
                  weights=self.pack(kernel, taps), bias=self.pack_bias(bias) if bias else "",
                  fields={Field.FLAGS: flags})

        def backward() -> None:
            dy = self.gradient(name)
            self.kernel_gradient(name, kernel, x, dy, taps)
            if bias:
                self.bias_gradient(name, bias, dy)
            self.pass_back(name, kernel, x, dy, taps)

        self.tape.append(backward)

    def conv_of_concat(self, node: Node, concat: Node) -> None:
        """conv1x1(concat(up(low), skip)) as up(conv1x1(low)) continued over the skip."""
        up, skip = self.graph[concat.inputs[0]], concat.inputs[1]
        (low,), factor = up.inputs, up.attrs["factor"]
        kernel, bias = node.weights[0], node.weights[1] if len(node.weights) > 1 else ""
        channels, taps, name = up.shape[2], (POINT, POINT), node.name
        y = self.new(name, node.shape)
        spread = {Field.FLAGS: Flag.SPREAD if factor != (1, 1) else 0, Field.COPIES_Y: factor[0],
                  Field.COPIES_X: factor[1]}
        self.emit(Op.CONV, name, x=self.place(low), y=y, weights=self.pack(kernel, taps, 0, channels), fields=spread)
        flags = Flag.CONTINUE | (Flag.BIAS if bias else 0)
        self.emit(Op.CONV, name, x=self.place(skip), y=y, weights=self.pack(kernel, taps, channels),
                  bias=self.pack_bias(bias) if bias else "", fields={Field.FLAGS: flags})

        def backward() -> None:
            dy = d_low = self.gradient(name)
            if factor != (1, 1):
                d_low = self.new(f"d {name} at low resolution", (*self.shapes[self.place(low)][:2], node.shape[2]))
                self.emit(Op.UPSAMPLE_DX, name, x=dy, y=d_low, fields={Field.KH: factor[0], Field.KW: factor[1]})
            self.kernel_gradient(name, kernel, low, d_low, taps, 0, channels)
            self.kernel_gradient(name, kernel, skip, dy, taps, channels)
            if bias:
                self.bias_gradient(name, bias, dy)
            self.pass_back(name, kernel, low, d_low, taps, 0, channels)
            self.pass_back(name, kernel, skip, dy, taps, channels)

        self.tape.append(backward)

    def depthwise(self, name: str, x: str, kernel: str, node: Node, shape: Shape) -> None:
        KH, KW, C, multiplier = self.graph.weights[kernel].shape
        if multiplier != 1:
            raise Unsupported(f"{kernel} has a depth multiplier of {multiplier}")
        taps = self.taps(node, (KH, KW))
        self.emit(Op.DEPTHWISE, name, x=self.place(x), y=self.new(name, shape), taps=taps,
                  weights=self.pack_depthwise(kernel, taps, flip=False))

        def backward() -> None:
            dy = self.gradient(name)
            if taps[0].count * taps[1].count:
                sums = self.add_sums(f"d {name}/sums", taps[0].count * taps[1].count * padded(C))
                steps = {Field.STEP_A: KW * C, Field.STEP_B: C,
                         Field.PARAM: self.offsets[kernel] + (taps[0].skipped * KW + taps[1].skipped) * C}
                self.emit(Op.DEPTHWISE_DW, name, x=self.place(x), z=dy, sums=sums, taps=taps)
                self.later.append(Instruction(Op.SUMS_END, name, Mode.SPREAD, x=self.place(x), sums=sums, taps=taps,
                                              fields=steps))
            turned = (taps[0].flipped(), taps[1].flipped())
            self.contribute(x, Part(emit=lambda target, adding: self.emit(
                Op.DEPTHWISE, name, x=dy, y=target, taps=turned,
                weights=self.pack_depthwise(kernel, taps, flip=True))))

        self.tape.append(backward)

    def taps(self, node: Node, kernel: tuple[int, ...]) -> tuple[Taps, Taps]:
        size, attrs = self.shapes[self.place(node.inputs[0])], node.attrs
        if attrs["stride"] != (1, 1):
            raise Unsupported(f"{node.name} has stride {attrs['stride']}")
        y, x = (taps_of(kernel[k], attrs["pads"][k][0], attrs["dilation"][k], size[k]) for k in (0, 1))
        return (y, x) if y.count and x.count else (Taps(0, 0, 0, 1), Taps(0, 0, 0, 1))

    def kernel_gradient(self, name: str, kernel: str, x: str, dy: str, taps: tuple[Taps, Taps], first: int = 0,
                        channels: int | None = None) -> None:
        _, KW, C, F = self.graph.weights[kernel].shape
        channels = C - first if channels is None else channels
        count = taps[0].count * taps[1].count * (channels + channels % 2)  # tiles take channels by twos
        if count:
            start = self.offsets[kernel] + ((taps[0].skipped * KW + taps[1].skipped) * C + first) * F
            fields = {Field.PARAM: start, Field.STEP_A: KW * C * F, Field.STEP_B: C * F, Field.STEP_R: F,
                      Field.TAPS: count, Field.SIZE: F}
            x = self.place(x)
            own = {"x": x, "z": dy, "taps": taps, "fields": fields}
            if self.sums_by_strip(x, dy, count):
                own["sums"] = self.add_sums(f"d {kernel} from {first}/sums", count * padded(F))
                self.emit(Op.CONV_DW, name, **own)
                self.later.append(Instruction(Op.CONV_DW_END, name, Mode.SPREAD, **own))
            else:
                self.later.append(Instruction(Op.CONV_DW, name, Mode.TILES, **own))

    def sums_by_strip(self, x: str, z: str, count: int) -> bool:
        """Whether a kernel's gradient is summed in the group that makes z, while z is in cache, a sum a strip: where a
        sample's strips take little memory beside its x and z."""
        (H, W, C), F = self.shapes[x], self.shapes[z][2]
        strips = strips_of(H, self.batch)[0]
        return 8 * strips * count * padded(F) <= H * W * (padded(C) + padded(F)) and W >= NARROW

    def bias_gradient(self, name: str, bias: str, dy: str) -> None:
        sums = self.add_sums(f"d {bias}/sums", padded(self.shapes[dy][2]))
        self.emit(Op.BIAS_SUMS, name, x=dy, sums=sums)
        self.later.append(Instruction(Op.SUMS_END, name, Mode.SPREAD, x=dy, sums=sums,
                                      fields={Field.PARAM: self.offsets[bias]}))

    def pass_back(self, name: str, kernel: str, x: str, dy: str, taps: tuple[Taps, Taps], first: int = 0,
                  channels: int | None = None) -> None:
        """The input's gradient: a convolution with the kernel turned round, inputs and filters exchanged."""
        if x == self.graph.input:
            return
        turned = (taps[0].flipped(), taps[1].flipped())
        weights = self.pack(kernel, taps, first, channels, transpose=True)
        self.contribute(x, Part(adds=True, emit=lambda target, adding: self.emit(
            Op.CONV, name, x=dy, y=target, taps=turned, weights=weights,
            fields={Field.FLAGS: Flag.CONTINUE if adding else 0})))

    # weights in the kernels' order

    def pack(self, kernel: str, taps: tuple[Taps, Taps], first: int = 0, channels: int | None = None,
             transpose: bool = False) -> str:
        _, KW, C, F = self.graph.weights[kernel].shape
        channels = C - first if channels is None else channels
        a, b = KW * C * F, C * F
        start = self.offsets[kernel] + taps[0].skipped * a + taps[1].skipped * b + first * F
        rows, columns, r, c = channels, F, F, 1
        if transpose:
            start += (taps[0].count - 1) * a + (taps[1].count - 1) * b
            rows, columns, r, c, a, b = F, channels, 1, F, -a, -b
        name = f"{kernel} from {first}{' turned' * transpose}"
        return self.add_pack(name, start, taps, rows, columns, (a, b, r, c), 0)

    def pack_depthwise(self, kernel: str, taps: tuple[Taps, Taps], flip: bool) -> str:
        _, KW, C, _ = self.graph.weights[kernel].shape
        a, b = KW * C, C
        start = self.offsets[kernel] + taps[0].skipped * a + taps[1].skipped * b
        if flip:
            start += (taps[0].count - 1) * a + (taps[1].count - 1) * b
            a, b = -a, -b
        return self.add_pack(f"{kernel}{' turned' * flip}", start, taps, 1, C, (a, b, 0, 1), Flag.WHOLE)

    def pack_bias(self, bias: str) -> str:
        (size,) = self.graph.weights[bias].shape
        return self.add_pack(bias, self.offsets[bias], (POINT, POINT), 1, size, (0, 0, 0, 1), Flag.WHOLE)

    def add_pack(self, name: str, start: int, taps: tuple[Taps, Taps], rows: int, columns: int,
                 steps: tuple[int, int, int, int], flags: int) -> str:
        self.regions[name] = taps[0].count * taps[1].count * rows * padded(columns)
        fields = {Field.PARAM: start, Field.CHANNELS: rows, Field.SIZE: columns,
                  Field.VECTORS: padded(columns) // LANES, Field.FLAGS: flags}
        fields |= dict(zip((Field.STEP_A, Field.STEP_B, Field.STEP_R, Field.STEP_C), steps, strict=True))
        self.packs.append(Instruction(Op.PACK, name, Mode.SPREAD, weights=name, taps=taps, fields=fields))
        return name

    # the loss

    def emit_loss(self) -> None:
        logits, d = self.place(self.logits), self.new(f"d {self.logits}", self.shapes[self.place(self.logits)])
        if self.loss == DICE:
            sums = self.add_sums("overlap", 2)
            self.emit(Op.PROBABILITIES, "loss", x=logits, sums=sums)
            self.end(Op.DICE_END, "loss", x=logits, sums=sums)
        sums = self.add_sums("loss", 1)
        self.emit(Op.LOSS, "loss", x=logits, y=d, sums=sums, fields={Field.KIND: self.loss})
        if self.loss != DICE:
            self.later.append(Instruction(Op.LOSS_END, "loss", Mode.SPREAD, x=logits, sums=sums))
        self.gradients[self.logits] = d


def padded(channels: int) -> int:
    """Channels in whole vectors."""
    return -(-channels // LANES) * LANES


def strips_of(rows: int, batch: int) -> tuple[int, int]:
    """(strips in a sample, rows of a strip): fixed by the shape of the batch, so that threads change no sum."""
    wanted = min(rows, max(1, -(-STRIPS // batch)))
    each = -(-rows // wanted)
    return -(-rows // each), each

"""From a network to the instructions of a training step: forward in the graph's order, then each layer's backward.

Fused: batch norm with its activation; the residual's 1x1 convolution with the addition; the last softmax with the loss;
and conv1x1(concat(up(a), skip)), whose first half is done at low resolution, forward and backward. A gradient with
several readers is gathered when its layer's turn comes: what cannot add to a tensor writes it first, convolutions add.
"""

from __future__ import annotations

from npunet.engine.plan.opcodes import ACTIVATION_KINDS, bits_of
from npunet.engine.plan.refusals import TRAINING
from npunet.engine.training.plan.instructions import Instruction, Part, padded
from npunet.engine.training.plan.step_convolutions import Convolutions
from npunet.engine.training.plan.step_opcodes import BOUNDED, DICE, LINEAR, NORM_ROWS, Field, Mode, Op
from npunet.graph import Node


class Lowering(Convolutions):
    """One pass over a graph as trained, an operator a method. After run(), see Emitter."""

    def run(self) -> Lowering:
        TRAINING.check(self.graph)
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

    # forward, one method an operator; each puts its backward on the tape

    def lower(self, node: Node) -> None:
        method = getattr(self, f"lower_{node.op}", None)
        if node.op in ACTIVATION_KINDS:
            self.lower_activation(node)
        elif method is None:
            TRAINING.refuse(node.name, f"has no {node.op!r} in this place")
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
            TRAINING.refuse(node.name, f"adds only convolutions that nothing else reads, not {side}")
        source = self.producer(residual.inputs[0])
        if source is not None and source.op == "concat":
            TRAINING.refuse(node.name, f"adds no convolution of a concat, as {side} is")
        self.conv(node.name, residual.inputs[0], residual.weights, residual, node.shape, addend=self.place(main))
        self.tape.append(lambda: self.contribute(main, Part(alias=self.gradient(node.name))))

    def lower_concat(self, node: Node) -> None:
        reader, up = self.only_reader(node.name), self.producer(node.inputs[0])
        fits = (reader is not None and reader.op == "conv2d"
                and self.graph.weights[reader.weights[0]].shape[:2] == (1, 1))
        if not fits or len(node.inputs) != 2 or up is None or up.op != "upsample_nearest2d":
            TRAINING.refuse(node.name, "joins only an upsampled and another tensor, for one 1x1 convolution")

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
        fields = {Field.PARAM: self.offsets[node.weights[0]], Field.TERMS: self.batch * H * W, Field.KIND: kind,
                  Field.EPS: bits_of(node.attrs["eps"])}
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
            z = "" if kind in BOUNDED else y  # the others' slope is told from their output
            self.emit(Op.NORM_SUMS, node.name, x=dy, z=z, u=u, norm=norm, sums=sums, fields=fields)
            self.end(Op.NORM_END, node.name, x=u, norm=norm, sums=sums, fields=fields)
            dx = dy if dy == f"d {result}" else self.new(f"d {x}", node.shape)  # in place where nothing else reads it
            self.emit(Op.NORM_DX, node.name, x=dy, y=dx, z=z, u=u, norm=norm, fields=fields)
            self.contribute(x, Part(alias=dx))

        self.tape.append(backward)

    def lower_layer_norm(self, node: Node) -> None:
        (x,) = node.inputs
        result, kind = self.with_activation(node)
        gamma, beta = (self.offsets[name] for name in node.weights)
        fields = {Field.PARAM: gamma, Field.PARAM_2: beta, Field.EPS: bits_of(node.attrs["eps"])}
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
        """An activation without a norm: in the memory of its input, unless something else needs that, such as the
        activation that it is the output of."""
        (x,), kind, source = node.inputs, ACTIVATION_KINDS[node.op], self.producer(node.inputs[0])
        if self.only_reader(x) is node and (source is None or source.op not in ACTIVATION_KINDS):
            self.home[node.name] = y = self.place(x)
        else:
            y = self.new(node.name, node.shape)
        self.emit(Op.ACTIVATE, node.name, x=self.place(x), y=y, fields={Field.KIND: kind})

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

    # the loss

    def emit_loss(self) -> None:
        logits, d = self.place(self.logits), self.new(f"d {self.logits}", self.shapes[self.place(self.logits)])
        if self.loss == DICE:
            sums = self.add_sums("overlaps", 2 * self.shapes[logits][2])
            self.emit(Op.PROBABILITIES, "loss", x=logits, y=d, sums=sums)
            self.end(Op.DICE_END, "loss", x=logits, sums=sums)
        sums = self.add_sums("loss", 1)
        self.emit(Op.LOSS, "loss", x=logits, y=d, sums=sums, fields={Field.KIND: self.loss})
        if self.loss != DICE:
            self.later.append(Instruction(Op.LOSS_END, "loss", Mode.SPREAD, x=logits, sums=sums))
        self.gradients[self.logits] = d

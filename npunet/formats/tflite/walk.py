"""The layers of a U-Net in a float file's graph, found by what reads what, as unet.build draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NoReturn

from npunet.formats.tflite.floats import FloatFile
from npunet.geometry import Pair
from npunet.graph import Node
from npunet.ops.table import ACTIVATIONS
from npunet.params import UNetBlockParams, UNetParams

OTHER_NETWORK = "npunet reads this architecture alone"


@dataclass(frozen=True)
class Unit:
    """A convolution with its norm and activation: conv_norm_act of unet, or norm_act behind the merge."""

    depthwise: Node | None
    conv: Node
    norm: Node | None
    act: Node


@dataclass(frozen=True)
class Encoder:
    """encoder_block of unet."""

    units: Sequence[Unit]
    residual: Node
    add: Node
    pool: Node | None


@dataclass
class Decoder:
    """decoder_block of unet."""

    units: list[Unit]
    up: Node | None = None
    concat: Node | None = None
    merge: Unit | None = None
    last: Unit | None = None
    residual: Node | None = None
    add: Node | None = None


@dataclass
class Found:
    """The nodes of a file by the layers that they are."""

    file: FloatFile
    layers: dict[str, Node] = field(default_factory=dict)

    def unit(self, name: str, unit: Unit) -> None:
        self.layers[f"{name}_conv"], self.layers[f"{name}_act"] = unit.conv, unit.act
        if unit.depthwise:
            self.layers[f"{name}_conv/depthwise"] = unit.depthwise
        if unit.norm:
            self.layers[f"{name}.ln"] = unit.norm


class Walk:
    """A file's graph while it is read from its input to its output."""

    def __init__(self, file: FloatFile) -> None:
        self.file = file
        self.readers = file.graph.consumers()

    def network(self, name: str) -> tuple[Found, UNetParams, int | None]:
        """The layers that the nodes are, and the arguments of the network."""
        found, x, encoders = Found(self.file), self.file.graph.input, []
        while len(self.ahead(x)) == 2:
            encoders.append(self.encoder(x))
            x = (encoders[-1].pool or encoders[-1].add).name
            name_encoder(found, f"ENC{len(encoders)}", encoders[-1])
        decoders = []
        for encoder in reversed(encoders):
            decoders.append(self.decoder(x))
            assert decoders[-1].add is not None
            x = decoders[-1].add.name
            name_decoder(found, f"DEC{len(decoders)}", decoders[-1], len(encoder.units))
        top = softmax = None
        if self.readers[x]:
            found.layers["NECK_conv"] = top = self.only(x, "the convolution of its top", "conv2d")
            x = top.name
        if top and self.readers[x]:
            found.layers["softmax"] = softmax = self.only(x, "its softmax", "softmax")
            x = softmax.name
        if self.readers[x]:
            self.refuse(self.readers[x][0], "its end")
        if self.file.graph.output != x:
            raise ValueError(f"its output is another tensor than the one that this U-Net ends in; {OTHER_NETWORK}")
        blocks = [self.block(*pair) for pair in zip(encoders, reversed(decoders), strict=True)]
        kernel = self.kernel(top) if top else 3
        params = UNetParams(blocks=tuple(blocks), include_top=top is not None, use_logits=softmax is None, name=name,
                            output_kernel_size=kernel)
        return found, params, top.shape[2] if top else None

    def block(self, encoder: Encoder, decoder: Decoder) -> UNetBlockParams:
        """The arguments that a block's layers speak of."""
        first, depth = encoder.units[0], len(encoder.units)
        window = encoder.pool.attrs if encoder.pool else {"window": (1, 1), "stride": (1, 1)}
        dilation = (encoder.units[1].depthwise or encoder.units[1].conv).attrs["dilation"] if depth > 1 else (1, 1)
        ddepth = len(decoder.units)
        return UNetBlockParams(
            filters=encoder.residual.shape[2], depth=depth, ddepth=None if ddepth == depth else ddepth,
            kernel=self.kernel(first.depthwise or first.conv), pool=window["window"], strides=window["stride"],
            skip=decoder.concat is not None, seperable=first.depthwise is not None,
            norm="layer" if first.norm else None, dilation=None if dilation == (1, 1) else dilation,
            activation=first.act.op)

    def kernel(self, node: Node) -> Pair:
        height, width = self.file.weights[node.weights[0]].shape[:2]
        return height, width

    def ahead(self, x: str) -> list[Node]:
        """What reads a tensor on the way forward: not the concatenation to whose end it is a skip."""
        return [node for node in self.readers[x] if node.op != "concat" or node.inputs[0] == x]

    def only(self, x: str, what: str, *ops: str) -> Node:
        """The only reader of a tensor, which must be one of these operators."""
        ahead = self.ahead(x)
        if len(ahead) != 1 or ahead[0].op not in ops:
            self.refuse(next((node for node in ahead if node.op not in ops), ahead[-1] if ahead else None), what)
        return ahead[0]

    def refuse(self, node: Node | None, wanted: str) -> NoReturn:
        """Raise ValueError: there the network has something else."""
        where = self.file.where[node.name] if node else "its output"
        raise ValueError(f"{where} stands where this U-Net has {wanted}; {OTHER_NETWORK}")

    def unit(self, x: str, first: Node | None = None) -> Unit:
        """conv_norm_act behind a tensor; first : the reader that it begins with, where there are two."""
        first = first or self.only(x, "a convolution", "conv2d", "depthwise_conv2d")
        depthwise = first if first.op == "depthwise_conv2d" else None
        conv = self.only(first.name, "the 1x1 half of a separable convolution", "conv2d") if depthwise else first
        after = self.only(conv.name, "a norm or an activation", "layer_norm", *ACTIVATIONS)
        norm = after if after.op == "layer_norm" else None
        act = self.only(norm.name, "an activation", *ACTIVATIONS) if norm else after
        return Unit(depthwise, conv, norm, act)

    def branches(self, x: str) -> tuple[Node, Node]:
        """Of the two readers of a tensor, the first layer of the main way and the 1x1 residual."""
        one, other = self.ahead(x)
        for main, residual in ((one, other), (other, one)):
            if residual.op == "conv2d" and [node.op for node in self.readers[residual.name]] == ["add"]:
                if main.op not in ("conv2d", "depthwise_conv2d"):
                    self.refuse(main, "a convolution")
                return main, residual
        self.refuse(one, "a block with a residual convolution")

    def encoder(self, x: str) -> Encoder:
        main, residual = self.branches(x)
        units = [self.unit(x, main)]
        ways_on = "conv2d", "depthwise_conv2d", "add"
        node = self.only(units[-1].act.name, "a convolution or a block's addition", *ways_on)
        while node.op != "add":
            units.append(self.unit(units[-1].act.name, node))
            node = self.only(units[-1].act.name, "a convolution or a block's addition", *ways_on)
        self.sum_of(node, units[-1].act, residual)
        pools = [reader for reader in self.ahead(node.name) if reader.op == "max_pool2d"]
        if pools and len(self.ahead(node.name)) > 1:
            self.refuse(self.ahead(node.name)[-1], "a pooling alone")
        return Encoder(units, residual, node, pools[0] if pools else None)

    def decoder(self, x: str) -> Decoder:
        block = Decoder([])
        while len(self.ahead(x)) == 1 and self.ahead(x)[0].op not in ("upsample_nearest2d", "concat"):
            block.units.append(self.unit(x))
            x = block.units[-1].act.name
        if len(self.ahead(x)) == 1 and self.ahead(x)[0].op == "upsample_nearest2d":
            block.up = self.ahead(x)[0]
            x = block.up.name
        if len(self.ahead(x)) == 1:
            block.concat = self.only(x, "a concatenation, or two convolutions", "concat")
            block.merge = self.unit(block.concat.name)
            x = block.merge.act.name
        if len(self.ahead(x)) != 2 or not block.units:
            self.refuse(self.ahead(x)[-1] if self.ahead(x) else None, "the last two convolutions of a decoder block")
        main, block.residual = self.branches(x)
        block.last = self.unit(x, main)
        block.add = self.only(block.last.act.name, "the addition of a decoder block", "add")
        self.sum_of(block.add, block.last.act, block.residual)
        return block

    def sum_of(self, node: Node, main: Node, residual: Node) -> None:
        if set(node.inputs) != {main.name, residual.name}:
            self.refuse(node, "the sum of a block's convolutions and its residual")


def name_encoder(found: Found, name: str, block: Encoder) -> None:
    """The layers of an encoder block by their names."""
    for number, unit in enumerate(block.units, start=1):
        found.unit(f"{name}_D{number}", unit)
    found.layers |= {f"{name}_skip": block.residual, f"{name}_add": block.add}
    if block.pool:
        found.layers[f"{name}_pool"] = block.pool


def name_decoder(found: Found, name: str, block: Decoder, depth: int) -> None:
    """The same of a decoder block; depth : of the encoder block that it mirrors."""
    for number, unit in enumerate(block.units, start=1):
        found.unit(f"{name}_D{number}", unit)
    if block.up:
        found.layers[f"{name}_D{len(block.units)}_unpool"] = block.up
    if block.concat and block.merge:
        found.layers[f"{name}_D{depth + 1}_cat"] = block.concat
        found.unit(f"{name}_D{depth + 1}", block.merge)
    assert block.last and block.residual and block.add
    found.unit(f"{name}_D{depth + 2}", block.last)
    found.layers |= {f"{name}_skip": block.residual, f"{name}_add": block.add}

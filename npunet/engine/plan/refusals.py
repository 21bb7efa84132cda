"""What the engine refuses: which operators its prediction and its training have, and with which attributes."""

from __future__ import annotations

from npunet.graph import Graph, Node
from npunet.limits import (
    Limits,
    Rule,
    inputs_are,
    multiplier_one,
    over_height_and_width,
    same_size,
    stride_one,
    without_bias,
)
from npunet.ops.table import ACTIVATIONS, OPERATORS


def last(node: Node, graph: Graph) -> str:
    """Only the loss reads it."""
    return "" if node.name == graph.output else f"has no {node.op!r} but before the loss"


CONVOLUTION: tuple[Rule, ...] = (stride_one, same_size)
BOTH: dict[str, tuple[Rule, ...]] = {
    "conv2d": CONVOLUTION,
    "max_pool2d": (),
    "upsample_nearest2d": (),
    "layer_norm": (over_height_and_width,),
    "concat": (inputs_are(2),),
    "add": (inputs_are(2),),
    "softmax": (),
}

# of a deployed graph: batch norm is folded, separable convolutions are split, dropout is gone
PREDICTION = Limits("the engine", "use backend='numpy'", {
    **BOTH,
    **dict.fromkeys(ACTIVATIONS, ()),
    "depthwise_conv2d": (*CONVOLUTION, multiplier_one, without_bias),
})
# of a graph as trained
TRAINING = Limits("the engine's training", "use NumpyStep", {
    **BOTH,
    **{name: () for name in ACTIVATIONS if OPERATORS[name].slope_from == "output"},
    "separable_conv2d": (*CONVOLUTION, multiplier_one),
    "batch_norm_inference": (),
    "dropout_inference": (),
    "softmax": (last,),
})

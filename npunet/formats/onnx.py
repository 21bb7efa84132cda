"""ONNX: a network as an inference graph, one node a layer and named like it.

The user's layout stands at both ends, (N, L, C) or (N, H, W, C); a transpose behind the input and one before the output
are the only ones, and everything between is (N, C, H, W), a signal with H = 1. Layers that ONNX has no operator for are
a few nodes "<layer>/<step>", the last of them "<layer>".
Source: ONNX operators, https://onnx.ai/onnx/operators/, opset 13.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npunet.deploy import check_level, deploy
from npunet.extras import extra
from npunet.files import atomic_write
from npunet.graph import Graph, Node
from npunet.limits import Limits, inputs_are, over_height_and_width
from npunet.ops.activation import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE

OPSET = 13
IR_VERSION = 8
INPUT, OUTPUT = "input", "output"
AXES = {1: ("L",), 2: ("H", "W")}


def write_onnx(path: str | os.PathLike[str], graph: Graph, weights: Mapping[str, np.ndarray],
               input_shape: tuple[int | None, ...], **how: Any) -> None:
    """Write a network as an .onnx file, atomically; the same network gives the same bytes. Arguments as to_onnx's."""
    content = to_onnx(graph, weights, input_shape, **how).SerializeToString(deterministic=True)
    with atomic_write(path) as file:
        file.write(content)


def to_onnx(graph: Graph, weights: Mapping[str, np.ndarray], input_shape: tuple[int | None, ...], *,
            level: str = "deploy", batch: int | None = None, name: str = "UNet") -> Any:
    """A network as an onnx.ModelProto in float32, checked.

    graph       : as trained, at any size that fits
    input_shape : of one sample, (L, C) or (H, W, C); sizes that are None stay open
    level       : "trained", or "deploy" with batch norm folded and dropout gone
    batch       : samples a call; None leaves it open

    Raises ValueError for an unknown level, Unsupported (also a ValueError) for a layer that has no node, MissingExtra.
    """
    if batch is not None and (isinstance(batch, bool) or not hasattr(batch, "__index__") or batch < 1):
        raise ValueError(f"batch={batch} must be at least 1, or None to leave it open")
    onnx = extra("onnx", "onnx")
    extra("onnx.shape_inference", "onnx")
    check_level(level)
    if level == "deploy":
        graph, weights = deploy(graph, weights)
    rank = len(input_shape) - 1
    LIMITS.check(graph)
    drawing = Drawing(onnx, weights)
    draw_ends(drawing, graph, rank)
    axes = AXES[rank]
    opened = [name if size is None else size for name, size in zip(axes, input_shape, strict=False)]
    before, after = (graph.shape(name)[2 - rank : 2] for name in (graph.input, graph.output))
    result = [size if same == other else f"{name}_out" if size is name else other
              for name, size, same, other in zip(axes, opened, before, after, strict=True)]
    samples = "N" if batch is None else batch
    ends = [onnx.helper.make_tensor_value_info(end, onnx.TensorProto.FLOAT, [samples, *sizes, channels])
            for end, sizes, channels in ((INPUT, opened, input_shape[-1]),
                                         (OUTPUT, result, graph.shape(graph.output)[2]))]
    body = onnx.helper.make_graph(drawing.nodes, name, ends[:1], ends[1:], drawing.constants)
    model = onnx.helper.make_model(body, opset_imports=[onnx.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION,
                                   producer_name="npunet")
    onnx.helper.set_model_props(model, {"level": level})
    model = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True)
    onnx.checker.check_model(model, full_check=True)
    return model


@dataclass
class Drawing:
    """An ONNX graph while it is being drawn; a node's output has the node's name."""

    onnx: Any
    weights: Mapping[str, np.ndarray]
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)
    known: set[str] = field(default_factory=set)

    def add(self, op: str, name: str, *inputs: str, **attributes: Any) -> str:
        """Append a node and return its name."""
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), [name], name, **attributes))
        return name

    def constant(self, name: str, values: np.ndarray) -> str:
        """Append a constant, once, and return its name."""
        if name not in self.known:
            self.known.add(name)
            self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def floats(self, name: str, values: Any) -> str:
        return self.constant(name, np.asarray(values, np.float32))

    def filters(self, name: str) -> str:
        """A kernel (KH, KW, C, F) as ONNX has it: (F, C, KH, KW)."""
        return self.floats(name, self.weights[name].transpose(3, 2, 0, 1))

    def depthwise_filters(self, name: str) -> str:
        """A depthwise kernel (KH, KW, C, M) as ONNX has it: (C * M, 1, KH, KW)."""
        KH, KW, C, M = self.weights[name].shape
        return self.floats(name, self.weights[name].transpose(2, 3, 0, 1).reshape(C * M, 1, KH, KW))


def draw_ends(drawing: Drawing, graph: Graph, rank: int) -> None:
    """The whole network between the user's layouts."""
    names = {graph.input: "input/channels_first"}
    if rank == 1:
        between = drawing.add("Transpose", "input/channels_before_time", INPUT, perm=[0, 2, 1])
        drawing.add("Unsqueeze", names[graph.input], between, height_axis(drawing))
    else:
        drawing.add("Transpose", names[graph.input], INPUT, perm=[0, 3, 1, 2])
    for node in graph:
        names[node.name] = DRAWN[node.op](drawing, node, *(names[name] for name in node.inputs))
    result = names[graph.output]
    if rank == 1:
        flat = drawing.add("Squeeze", "output/channels_before_time", result, height_axis(drawing))
        drawing.add("Transpose", OUTPUT, flat, perm=[0, 2, 1])
    else:
        drawing.add("Transpose", OUTPUT, result, perm=[0, 2, 3, 1])


def height_axis(drawing: Drawing) -> str:
    return drawing.constant("height_axis", np.array([2], np.int64))


def window_attributes(node: Node) -> dict[str, Any]:
    """Strides and pads as ONNX lists them: top, left, bottom, right."""
    (top, bottom), (left, right) = node.attrs["pads"]
    return {"strides": node.attrs["stride"], "pads": [top, left, bottom, right]}


def draw_conv(drawing: Drawing, node: Node, x: str) -> str:
    kernel, *bias = node.weights
    biases = [drawing.floats(name, drawing.weights[name]) for name in bias]
    return drawing.add("Conv", node.name, x, drawing.filters(kernel), *biases, dilations=node.attrs["dilation"],
                       kernel_shape=drawing.weights[kernel].shape[:2], **window_attributes(node))


def draw_depthwise(drawing: Drawing, node: Node, x: str) -> str:
    return depthwise(drawing, node, x, node.name, node.weights[1:])


def depthwise(drawing: Drawing, node: Node, x: str, name: str, bias: Sequence[str] = ()) -> str:
    kernel = node.weights[0]
    biases = [drawing.floats(each, drawing.weights[each]) for each in bias]
    return drawing.add("Conv", name, x, drawing.depthwise_filters(kernel), *biases,
                       dilations=node.attrs["dilation"], group=drawing.weights[kernel].shape[2],
                       kernel_shape=drawing.weights[kernel].shape[:2], **window_attributes(node))


def draw_separable(drawing: Drawing, node: Node, x: str) -> str:
    _, pointwise, *bias = node.weights
    between = depthwise(drawing, node, x, f"{node.name}/depthwise")
    biases = [drawing.floats(name, drawing.weights[name]) for name in bias]
    return drawing.add("Conv", node.name, between, drawing.filters(pointwise), *biases, kernel_shape=(1, 1))


def draw_batch_norm(drawing: Drawing, node: Node, x: str) -> str:
    statistics = [drawing.floats(name, drawing.weights[name]) for name in node.weights]
    return drawing.add("BatchNormalization", node.name, x, *statistics, epsilon=node.attrs["eps"])


def draw_layer_norm(drawing: Drawing, node: Node, x: str) -> str:
    """Over height and width of every channel, which ONNX calls instance normalisation; then gamma and beta (H, W)."""
    channels = node.shape[2]
    one = drawing.floats(f"ones_{channels}", np.ones(channels))
    zero = drawing.floats(f"zeros_{channels}", np.zeros(channels))
    gamma, beta = (drawing.floats(name, drawing.weights[name]) for name in node.weights)
    normal = drawing.add("InstanceNormalization", f"{node.name}/normalise", x, one, zero, epsilon=node.attrs["eps"])
    scaled = drawing.add("Mul", f"{node.name}/scale", normal, gamma)
    return drawing.add("Add", node.name, scaled, beta)


def draw_max_pool(drawing: Drawing, node: Node, x: str) -> str:
    return drawing.add("MaxPool", node.name, x, kernel_shape=node.attrs["window"], **window_attributes(node))


def draw_upsample(drawing: Drawing, node: Node, x: str) -> str:
    """Position i of the result is i // factor of x: asymmetric coordinates, rounded down."""
    fy, fx = node.attrs["factor"]
    scales = drawing.floats(f"scales_{fy}_{fx}", [1, 1, fy, fx])
    return drawing.add("Resize", node.name, x, "", scales, mode="nearest", nearest_mode="floor",
                       coordinate_transformation_mode="asymmetric")


def draw_relu6(drawing: Drawing, node: Node, x: str) -> str:
    return drawing.add("Clip", node.name, x, drawing.floats("zero", 0), drawing.floats("six", 6))


def draw_as(op: str, **attributes: Any) -> Callable[..., str]:
    """A layer that is one ONNX operator without weights."""
    return lambda drawing, node, *inputs: drawing.add(op, node.name, *inputs, **attributes)


DRAWN: dict[str, Callable[..., str]] = {
    "conv2d": draw_conv,
    "depthwise_conv2d": draw_depthwise,
    "separable_conv2d": draw_separable,
    "batch_norm_inference": draw_batch_norm,
    "layer_norm": draw_layer_norm,
    "max_pool2d": draw_max_pool,
    "upsample_nearest2d": draw_upsample,
    "relu6": draw_relu6,
    "relu": draw_as("Relu"),
    "leaky_relu": draw_as("LeakyRelu", alpha=LEAKY_SLOPE),
    "elu": draw_as("Elu", alpha=1.0),
    "selu": draw_as("Selu", alpha=SELU_ALPHA, gamma=SELU_SCALE),
    "add": draw_as("Add"),
    "concat": draw_as("Concat", axis=1),
    "dropout_inference": draw_as("Dropout"),
    "softmax": draw_as("Softmax", axis=1),
}
RULES = {"layer_norm": (over_height_and_width,), "add": (inputs_are(2),)}
LIMITS = Limits("ONNX", "leave the layer out, or run the network with npunet", {op: RULES.get(op, ()) for op in DRAWN})

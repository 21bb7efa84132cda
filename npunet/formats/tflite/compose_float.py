"""From a float network to a FlatModel of float32: the deployed network, batch norm folded, ReLU and ReLU6 fused.

SELU and layer norm have no operator in TensorFlow Lite and are written as several, whose last has the layer's name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npunet.formats.tflite.flat import DESCRIPTION, SAME, FlatModel, FlatOperator, FlatTensor
from npunet.graph import Graph
from npunet.integer.quantization.plan import Plan, PlannedOperator, make_plan
from npunet.limits import refuse_other_pads
from npunet.ops.activation import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE

FUSED = {None: 0, "relu": 1, "relu6": 3}
FLOAT32 = np.dtype(np.float32)


@dataclass
class Composition:
    """Tensors and operators of a file while it is being made."""

    plan: Plan
    tensors: list[FlatTensor] = field(default_factory=list)
    operators: list[FlatOperator] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    def tensor(self, name: str, shape: tuple[int, ...], data: np.ndarray | None = None) -> int:
        """Add a tensor, float32 or a constant of its own type; its number."""
        self.tensors.append(FlatTensor(name, shape, FLOAT32 if data is None else data.dtype, data))
        return len(self.tensors) - 1

    def constant(self, name: str, data: Any, dtype: Any = np.float32) -> int:
        """Add a constant; its number."""
        values = np.ascontiguousarray(np.asarray(data, dtype))
        return self.tensor(name, values.shape, values)

    def operator(self, code: str, inputs: list[int], output: int, version: int = 1, **options: Any) -> int:
        """Add an operator; the number of its output."""
        self.operators.append(FlatOperator(code, tuple(inputs), (output,), options, version))
        return output

    def between(self, planned: PlannedOperator, what: str, code: str, inputs: list[int],
                shape: tuple[int, ...] | None = None, **options: Any) -> int:
        """Add an operator on the way to a layer's output, "<layer>/<what>"; the number of what it gives."""
        made = self.tensor(f"{planned.name}/{what}", (1, *planned.node.shape) if shape is None else shape)
        return self.operator(code, inputs, made, **options)

    def weight(self, planned: PlannedOperator, position: int) -> np.ndarray | None:
        """A weight of an operator, or None where it has none there."""
        names = planned.node.weights
        return self.plan.weights[names[position]] if position < len(names) else None


def compose_float(graph: Graph, weights: Mapping[str, np.ndarray], input_shape: tuple[int, ...], *, name: str,
                  metadata: Mapping[str, str] | None = None) -> FlatModel:
    """The file of a network at one size.

    graph       : as trained, at that size
    input_shape : of one sample as the user has it, (L, C) or (H, W, C)

    Raises ValueError for an operator that the format does not have.
    """
    rank = len(input_shape) - 1
    made = Composition(make_plan(graph, weights, rank))
    first = last = made.tensor(graph.input, (1, *input_shape))
    if rank == 1:
        wanted = made.constant(f"{graph.input}/shape", (1, *graph.input_shape), np.int32)
        last = made.operator("RESHAPE", [first, wanted], made.tensor(f"{graph.input}/image", (1, *graph.input_shape)))
    made.numbers[graph.input] = last
    for planned in made.plan:
        write = WRITERS.get(planned.node.op)
        if write is None:
            raise ValueError(f"{planned.name}: no operator of .tflite is known for {planned.node.op!r}; there are "
                             f"{', '.join(sorted(WRITERS))}")
        refuse_other_pads(planned.node, made.plan.graph, ".tflite", "write ONNX")
        made.numbers[planned.name] = made.tensor(planned.name, (1, *planned.node.shape))
        write(made, planned, [made.numbers[source] for source in planned.inputs], made.numbers[planned.name])
    last = made.numbers[made.plan.output]
    if rank == 1:
        shape = (1, *made.tensors[last].shape[2:])
        wanted = made.constant("output/shape", shape, np.int32)
        last = made.operator("RESHAPE", [last, wanted], made.tensor("output", shape))
    texts = {f"npunet.{key}": value.encode() for key, value in {"name": name, **(metadata or {})}.items()}
    return FlatModel(tuple(made.tensors), tuple(made.operators), (first,), (last,), name, DESCRIPTION, texts)


def _convolution(made: Composition, planned: PlannedOperator, inputs: list[int], y: int) -> None:
    kernel, depthwise = made.weight(planned, 0), planned.node.op == "depthwise_conv2d"
    assert kernel is not None
    KH, KW, C, F = kernel.shape
    channels = C * F if depthwise else F
    stored = kernel.reshape(1, KH, KW, channels) if depthwise else kernel.transpose(3, 0, 1, 2)
    bias = made.weight(planned, 1)
    constants = [made.constant(f"{planned.name}/weights", stored),
                 made.constant(f"{planned.name}/bias", np.zeros(channels) if bias is None else bias)]
    stride, dilation = planned.node.attrs["stride"], planned.node.attrs["dilation"]
    options = {"padding": SAME, "stride_h": stride[0], "stride_w": stride[1], "dilation_h_factor": dilation[0],
               "dilation_w_factor": dilation[1], "fused_activation_function": FUSED[planned.clamp]}
    if depthwise:
        options["depth_multiplier"] = F
    made.operator("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [*inputs, *constants], y, 2 if depthwise else 1,
                  **options)


def _pool(made: Composition, planned: PlannedOperator, inputs: list[int], y: int) -> None:
    (fy, fx), (sy, sx) = planned.node.attrs["window"], planned.node.attrs["stride"]
    made.operator("MAX_POOL_2D", inputs, y, padding=SAME, stride_h=sy, stride_w=sx, filter_height=fy, filter_width=fx,
                  fused_activation_function=0)


def _add(made: Composition, planned: PlannedOperator, inputs: list[int], y: int) -> None:
    made.operator("ADD", inputs, y, fused_activation_function=0, pot_scale_int16=0)


def _concat(made: Composition, planned: PlannedOperator, inputs: list[int], y: int) -> None:
    made.operator("CONCATENATION", inputs, y, axis=3, fused_activation_function=0)


def _upsample(made: Composition, planned: PlannedOperator, inputs: list[int], y: int) -> None:
    size = made.constant(f"{planned.name}/size", planned.node.shape[:2], np.int32)
    made.operator("RESIZE_NEAREST_NEIGHBOR", [*inputs, size], y, 3, align_corners=0, half_pixel_centers=1)


def _softmax(made: Composition, planned: PlannedOperator, inputs: list[int], y: int) -> None:
    made.operator("SOFTMAX", inputs, y, beta=1.0)


def _leaky_relu(made: Composition, planned: PlannedOperator, inputs: list[int], y: int) -> None:
    made.operator("LEAKY_RELU", inputs, y, alpha=LEAKY_SLOPE)


def _plain(code: str) -> Callable[[Composition, PlannedOperator, list[int], int], None]:
    def write(made: Composition, planned: PlannedOperator, inputs: list[int], y: int) -> None:
        made.operator(code, inputs, y)

    return write


def _selu(made: Composition, planned: PlannedOperator, inputs: list[int], y: int) -> None:
    """scale * relu(x) + scale * alpha * min(elu(x), 0)."""
    scale = made.constant(f"{planned.name}/scale", [SELU_SCALE])
    scale_alpha = made.constant(f"{planned.name}/scale_alpha", [SELU_SCALE * SELU_ALPHA])
    zero = made.constant(f"{planned.name}/zero", [0.0])
    positive = made.between(planned, "relu", "RELU", inputs)
    positive = made.between(planned, "positive", "MUL", [positive, scale], fused_activation_function=0)
    negative = made.between(planned, "elu", "ELU", inputs)
    negative = made.between(planned, "below", "MINIMUM", [negative, zero])
    negative = made.between(planned, "negative", "MUL", [negative, scale_alpha], fused_activation_function=0)
    made.operator("ADD", [positive, negative], y, fused_activation_function=0, pot_scale_int16=0)


def _layer_norm(made: Composition, planned: PlannedOperator, inputs: list[int], y: int) -> None:
    """(x - mean) / sqrt(mean of (x - mean)^2 + eps) * gamma + beta over height and width."""
    gamma, beta = made.weight(planned, 0), made.weight(planned, 1)
    assert gamma is not None and beta is not None
    axes = made.constant(f"{planned.name}/axes", (1, 2), np.int32)
    eps = made.constant(f"{planned.name}/eps", [planned.node.attrs["eps"]])
    gammas = made.constant(f"{planned.name}/gamma", gamma[None, :, :, None])
    betas = made.constant(f"{planned.name}/beta", beta[None, :, :, None])
    small = 1, 1, 1, planned.node.shape[2]
    plain: dict[str, Any] = {"fused_activation_function": 0}
    mean = made.between(planned, "mean", "MEAN", [*inputs, axes], small, keep_dims=1)
    centred = made.between(planned, "centred", "SUB", [*inputs, mean], **plain)
    squared = made.between(planned, "squared", "MUL", [centred, centred], **plain)
    variance = made.between(planned, "variance", "MEAN", [squared, axes], small, keep_dims=1)
    safe = made.between(planned, "safe", "ADD", [variance, eps], small, **plain, pot_scale_int16=0)
    inverse = made.between(planned, "inverse", "RSQRT", [safe], small)
    scaled = made.between(planned, "scaled", "MUL", [centred, inverse], **plain)
    scaled = made.between(planned, "weighted", "MUL", [scaled, gammas], **plain)
    made.operator("ADD", [scaled, betas], y, fused_activation_function=FUSED[planned.clamp], pot_scale_int16=0)


WRITERS: dict[str, Callable[[Composition, PlannedOperator, list[int], int], None]] = {
    "conv2d": _convolution, "depthwise_conv2d": _convolution, "max_pool2d": _pool, "add": _add, "concat": _concat,
    "upsample_nearest2d": _upsample, "softmax": _softmax, "leaky_relu": _leaky_relu, "elu": _plain("ELU"),
    "relu": _plain("RELU"), "relu6": _plain("RELU6"), "selu": _selu, "layer_norm": _layer_norm,
}

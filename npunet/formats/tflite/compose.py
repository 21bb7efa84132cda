"""From an integer network to a FlatModel.

A signal is reshaped to an image at the input and back at the output, as the reference does. Upsampling is
RESIZE_NEAREST_NEIGHBOR, which TFLite-Micro can run. Tensors carry the layers' names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npunet.formats.tflite.flat import DESCRIPTION, SAME, VALID, FlatModel, FlatOperator, FlatTensor
from npunet.geometry import Pair, same_pads_2d
from npunet.integer.network import Network, Node, Tensor


@dataclass
class Composition:
    """Tensors and operators of a file while it is being made."""

    network: Network
    tensors: list[FlatTensor] = field(default_factory=list)
    operators: list[FlatOperator] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)

    @property
    def wide(self) -> bool:
        """Whether activations have 16 bits."""
        return self.network.scheme == "int16x8"

    def tensor(self, tensor: FlatTensor) -> int:
        """Add a tensor; its number."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def constant(self, name: str, data: np.ndarray, scales: np.ndarray | None = None, axis: int = 0) -> int:
        """Add a constant; its number."""
        if scales is None:
            return self.tensor(FlatTensor(name, data.shape, data.dtype, data))
        zero_points = np.zeros(len(scales), np.int64)
        return self.tensor(FlatTensor(name, data.shape, data.dtype, data, scales, zero_points, axis))

    def activation(self, tensor: Tensor, name: str, shape: tuple[int, ...]) -> int:
        """Add an activation; its number."""
        scale, zero_point = np.array([tensor.scale], np.float32), np.array([tensor.zero_point], np.int64)
        return self.tensor(FlatTensor(name, (1, *shape), np.dtype(tensor.dtype), None, scale, zero_point))

    def operator(self, code: str, inputs: list[int], output: int, version: int, **options: Any) -> None:
        self.operators.append(FlatOperator(code, tuple(inputs), (output,), options, version))

    def reshape(self, source: int, target: int) -> None:
        shape = self.tensors[target].shape
        wanted = self.constant(f"{self.tensors[target].name}/shape", np.array(shape, np.int32))
        self.operator("RESHAPE", [source, wanted], target, 1)


def compose(network: Network) -> FlatModel:
    """The file of a network. Raises ValueError for an operator or a rounding that the format does not have."""
    if network.rounding != "D":
        raise ValueError(f"the network rounds by profile {network.rounding}, but whoever runs a .tflite rounds by its "
                         "own, which is D for TFLite-Micro and the reference kernels; quantise with rounding='D'")
    made = Composition(network)
    source, result = network.tensors[network.input], network.tensors[network.output]
    ends = {network.input_shape: source.shape, network.output_shape: result.shape}
    first = made.activation(source, network.input, network.input_shape)
    made.numbers[network.input] = first
    if network.input_shape != source.shape:
        made.numbers[network.input] = made.activation(source, f"{network.input}/image", source.shape)
        made.reshape(first, made.numbers[network.input])
    for node in network:
        write = WRITERS.get(node.op)
        if write is None:
            what = node.attrs.get("function", node.op)
            raise ValueError(f"{node.name}: .tflite has no integer operator for {what} as it is defined here; save the "
                             "network as .npz, or train with relu, relu6 or leaky_relu and batch norm")
        tensor = network.tensors[node.name]
        made.numbers[node.name] = made.activation(tensor, node.name, tensor.shape)
        write(made, node)
    last = made.numbers[network.output]
    if ends[network.output_shape] != network.output_shape:
        reshaped = made.activation(result, "output", network.output_shape)
        made.reshape(last, reshaped)
        last = reshaped
    metadata = {f"npunet.{key}": value.encode() for key, value in {"name": network.name, **network.metadata}.items()}
    return FlatModel(tuple(made.tensors), tuple(made.operators), (first,), (last,), network.name, DESCRIPTION, metadata)


def _inputs(made: Composition, node: Node) -> list[int]:
    return [made.numbers[name] for name in node.inputs]


def _fused(made: Composition, node: Node) -> int:
    """Number of the fused activation that gives an operator's clamp. Raises ValueError for a clamp of another kind."""
    from npunet.integer.parameters import clamp_limits

    y = made.network.tensors[node.name]
    for number, clamp in ((0, None), (1, "relu"), (3, "relu6")):
        if clamp_limits(clamp, y) == {key: node.attrs[key] for key in ("act_min", "act_max")}:
            return number
    raise ValueError(f"{node.name}: .tflite has no activation that clamps to {node.attrs['act_min']} ... "
                     f"{node.attrs['act_max']}")


def _window(made: Composition, node: Node, kernel: Pair) -> dict[str, int]:
    """Padding and stride. Raises ValueError for pads that are neither SAME's nor none."""
    stride, same = node.attrs["stride"], node.attrs["padding"] == "same"
    height, width, _ = made.network.tensors[node.inputs[0]].shape
    pads = same_pads_2d((height, width), kernel, stride, node.attrs.get("dilation", (1, 1)))
    wanted = pads if same else ((0, 0), (0, 0))
    if tuple(map(tuple, node.attrs["pads"])) != wanted:
        raise ValueError(f"{node.name}: .tflite has no pads {node.attrs['pads']}, only {wanted}; save the network as "
                         ".npz")
    return {"padding": SAME if same else VALID, "stride_h": stride[0], "stride_w": stride[1]}


def _convolution(made: Composition, node: Node) -> None:
    weights, depthwise = node.arrays["weights"], node.op == "depthwise_conv2d"
    KH, KW, C, F = weights.shape
    stored = weights.reshape(1, KH, KW, C * F) if depthwise else weights.transpose(3, 0, 1, 2)
    kernel = made.constant(f"{node.name}/weights", np.ascontiguousarray(stored), node.scales["weights"],
                           3 if depthwise else 0)
    bias = made.constant(f"{node.name}/bias", node.arrays["bias"], node.scales["bias"])
    dilation = node.attrs["dilation"]
    options = {**_window(made, node, (KH, KW)), "fused_activation_function": _fused(made, node),
               "dilation_h_factor": dilation[0], "dilation_w_factor": dilation[1]}
    if depthwise:
        options["depth_multiplier"] = F
    version = (5 if depthwise else 4) if made.wide else 3
    made.operator("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", [*_inputs(made, node), kernel, bias],
                  made.numbers[node.name], version, **options)


def _pool(made: Composition, node: Node) -> None:
    window = node.attrs["window"]
    options = {**_window(made, node, window), "filter_height": window[0], "filter_width": window[1]}
    made.operator("MAX_POOL_2D" if node.op == "max_pool2d" else "AVERAGE_POOL_2D", _inputs(made, node),
                  made.numbers[node.name], 3 if made.wide else 2, **options,
                  fused_activation_function=_fused(made, node))


def _add(made: Composition, node: Node) -> None:
    made.operator("ADD", _inputs(made, node), made.numbers[node.name], 3 if made.wide else 2,
                  fused_activation_function=_fused(made, node), pot_scale_int16=0)


def _concat(made: Composition, node: Node) -> None:
    made.operator("CONCATENATION", _inputs(made, node), made.numbers[node.name], 3 if made.wide else 2, axis=3,
                  fused_activation_function=0)


def _upsample(made: Composition, node: Node) -> None:
    size = made.constant(f"{node.name}/size", np.array(made.network.tensors[node.name].shape[:2], np.int32))
    made.operator("RESIZE_NEAREST_NEIGHBOR", [*_inputs(made, node), size], made.numbers[node.name],
                  4 if made.wide else 3, align_corners=0, half_pixel_centers=1)


def _rescale(made: Composition, node: Node) -> None:
    made.operator("QUANTIZE", _inputs(made, node), made.numbers[node.name], 2 if made.wide else 1)


def _leaky_relu(made: Composition, node: Node) -> None:
    made.operator("LEAKY_RELU", _inputs(made, node), made.numbers[node.name], 2, alpha=node.attrs["slope"])


def _softmax(made: Composition, node: Node) -> None:
    made.operator("SOFTMAX", _inputs(made, node), made.numbers[node.name], 3 if made.wide else 2, beta=1.0)


WRITERS: dict[str, Callable[[Composition, Node], None]] = {
    "conv2d": _convolution, "depthwise_conv2d": _convolution, "max_pool2d": _pool, "avg_pool2d": _pool, "add": _add,
    "concat": _concat, "upsample_nearest2d": _upsample, "rescale": _rescale, "leaky_relu": _leaky_relu,
    "softmax": _softmax, "softmax16": _softmax,
}

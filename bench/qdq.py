"""An integer network as ONNX with QuantizeLinear and DequantizeLinear around every operator, as ONNX Runtime takes it:
activations of 8 bits without a sign (q + 128), weights with one, channels first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from npunet.integer.network import Network, Node

SHIFT = 128  # from int8 to uint8


def write(path: Path, network: Network) -> None:
    """Raises NotImplementedError for an operator that has no such form here."""
    import onnx

    writer = Writer(network)
    for node in network:
        writer.add(node)
    helper, kind = onnx.helper, onnx.TensorProto.UINT8
    height, width, channels = network.tensors[network.input].shape
    outputs = network.tensors[network.output].shape
    graph = helper.make_graph(
        writer.nodes, network.name,
        [helper.make_tensor_value_info(network.input, kind, ["batch", channels, height, width])],
        [helper.make_tensor_value_info(network.output, kind, ["batch", outputs[2], *outputs[:2]])], writer.constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    onnx.checker.check_model(model)
    onnx.save(model, path)


class Writer:
    """The nodes and constants of a graph while they are collected."""

    def __init__(self, network: Network) -> None:
        self.network, self.nodes, self.constants = network, [], []
        self.real: set[str] = set()  # tensors whose real numbers are there

    def constant(self, name: str, values: Any) -> str:
        import onnx

        self.constants.append(onnx.numpy_helper.from_array(np.asarray(values), name))
        return name

    def node(self, op: str, inputs: list[str], output: str, **attrs: Any) -> str:
        import onnx

        self.nodes.append(onnx.helper.make_node(op, inputs, [output], name=f"{op} {output}", **attrs))
        return output

    def scale(self, name: str, suffix: str) -> list[str]:
        tensor = self.network.tensors[name]
        return [self.constant(f"{name} scale {suffix}", np.float32(tensor.scale)),
                self.constant(f"{name} zero {suffix}", np.uint8(tensor.zero_point + SHIFT))]

    def real_of(self, name: str) -> str:
        """A tensor's real numbers."""
        if name not in self.real:
            self.real.add(name)
            self.node("DequantizeLinear", [name, *self.scale(name, "of input")], f"{name} real")
        return f"{name} real"

    def add(self, node: Node) -> None:
        """One operator between real numbers, clamped where its integers are, and quantised."""
        inputs = [self.real_of(name) for name in node.inputs]
        y = getattr(self, f"of_{node.op}", self.unknown)(node, inputs, f"{node.name} before")
        tensor = self.network.tensors[node.name]
        low, high = node.attrs.get("act_min", -128), node.attrs.get("act_max", 127)
        if (low, high) != (-128, 127):
            limits = [self.constant(f"{node.name} {end}", np.float32(tensor.scale * (limit - tensor.zero_point)))
                      for end, limit in (("low", low), ("high", high))]
            y = self.node("Clip", [y, *limits], f"{node.name} clamped")
        self.node("QuantizeLinear", [y, *self.scale(node.name, "of output")], node.name)

    def unknown(self, node: Node, inputs: list[str], y: str) -> str:
        raise NotImplementedError(f"{node.name}: no QDQ form of {node.op}")

    def of_conv2d(self, node: Node, inputs: list[str], y: str) -> str:
        groups, weights = 1, node.arrays["weights"].transpose(3, 2, 0, 1)
        if node.op == "depthwise_conv2d":
            kh, kw, groups, _ = node.arrays["weights"].shape
            weights = node.arrays["weights"].transpose(2, 3, 0, 1).reshape(-1, 1, kh, kw)
        parts = []
        for name, values in (("weights", weights), ("bias", node.arrays["bias"])):
            scales = self.constant(f"{node.name} {name} scale", node.scales[name].astype(np.float32))
            zero = self.constant(f"{node.name} {name} zero", np.zeros(len(values), values.dtype))
            raw = self.constant(f"{node.name} {name}", values)
            parts.append(self.node("DequantizeLinear", [raw, scales, zero], f"{node.name} {name} real", axis=0))
        (top, bottom), (left, right) = node.attrs["pads"]
        return self.node("Conv", [*inputs, *parts], y, strides=node.attrs["stride"], dilations=node.attrs["dilation"],
                         pads=[top, left, bottom, right], group=groups, kernel_shape=weights.shape[2:])

    of_depthwise_conv2d = of_conv2d

    def of_max_pool2d(self, node: Node, inputs: list[str], y: str) -> str:
        (top, bottom), (left, right) = node.attrs["pads"]
        return self.node("MaxPool", inputs, y, kernel_shape=node.attrs["window"], strides=node.attrs["stride"],
                         pads=[top, left, bottom, right])

    def of_upsample_nearest2d(self, node: Node, inputs: list[str], y: str) -> str:
        scales = self.constant(f"{node.name} factor", np.array([1, 1, *node.attrs["factor"]], np.float32))
        return self.node("Resize", [*inputs, "", scales], y, mode="nearest", nearest_mode="floor",
                         coordinate_transformation_mode="asymmetric")

    def of_add(self, node: Node, inputs: list[str], y: str) -> str:
        return self.node("Add", inputs, y)

    def of_concat(self, node: Node, inputs: list[str], y: str) -> str:
        return self.node("Concat", inputs, y, axis=1)

    def of_rescale(self, node: Node, inputs: list[str], y: str) -> str:
        return self.node("Identity", inputs, y)

    def of_softmax(self, node: Node, inputs: list[str], y: str) -> str:
        return self.node("Softmax", inputs, y, axis=1)

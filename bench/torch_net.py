"""A network as a PyTorch module: the deployed graph, one call a layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch.nn import functional

from npunet.graph import Graph, Node
from npunet.ops.activation import LEAKY_SLOPE

ACTIVATIONS = {
    "relu6": functional.relu6,
    "relu": torch.relu,
    "leaky_relu": lambda x: functional.leaky_relu(x, LEAKY_SLOPE),
    "elu": functional.elu,
    "selu": functional.selu,
}


class TorchNet(torch.nn.Module):
    """Takes and gives (N, L, C) or (N, H, W, C).

    graph, weights : deployed (lower.deploy), without layer norm
    layout : torch.contiguous_format or torch.channels_last, of everything between
    """

    def __init__(self, graph: Graph, weights: Mapping[str, np.ndarray], rank: int, layout: torch.memory_format) -> None:
        super().__init__()
        self.graph, self.rank, self.layout = graph, rank, layout
        self.tensors = {}
        for node in graph:
            for name in node.weights:
                value = weights[name]
                if value.ndim == 4:  # (KH, KW, C, F) as (F, C, KH, KW), depthwise (KH, KW, C, 1) as (C, 1, KH, KW)
                    value = value.transpose((2, 3, 0, 1) if node.op == "depthwise_conv2d" else (3, 2, 0, 1))
                tensor = torch.from_numpy(np.ascontiguousarray(value, np.float32))
                self.tensors[name] = tensor.contiguous(memory_format=layout) if tensor.dim() == 4 else tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = (x[:, None] if self.rank == 1 else x).permute(0, 3, 1, 2)  # (N, C, H, W)
        trace = {self.graph.input: x.contiguous(memory_format=self.layout)}
        for node in self.graph:
            trace[node.name] = self.apply_node(node, [trace[name] for name in node.inputs])
        y = trace[self.graph.output].permute(0, 2, 3, 1).contiguous()
        return y[:, 0] if self.rank == 1 else y

    def apply_node(self, node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
        x, attrs = inputs[0], node.attrs
        if node.op in ("conv2d", "depthwise_conv2d"):
            x, pads = padded(x, attrs["pads"], 0.0)
            kernel, *bias = (self.tensors[name] for name in node.weights)
            groups = x.shape[1] if node.op == "depthwise_conv2d" else 1
            return functional.conv2d(x, kernel, *bias, padding=pads, dilation=attrs["dilation"], groups=groups)
        return weightless(node, inputs)


def weightless(node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
    """An operator without weights."""
    x, attrs = inputs[0], node.attrs
    if node.op == "max_pool2d":
        x, pads = padded(x, attrs["pads"], -torch.inf, most=[size // 2 for size in attrs["window"]])
        return functional.max_pool2d(x, attrs["window"], attrs["stride"], pads)
    if node.op == "upsample_nearest2d":
        return functional.interpolate(x, scale_factor=[float(factor) for factor in attrs["factor"]])
    if node.op == "concat":
        return torch.cat(inputs, 1)
    if node.op == "add":
        return inputs[0] + inputs[1]
    if node.op == "softmax":
        return torch.softmax(x, 1)
    return ACTIVATIONS[node.op](x)


def padded(x: torch.Tensor, pads: tuple, fill: float, most: list[int] | None = None) -> tuple[torch.Tensor, list[int]]:
    """x and the pads that are left for the operator: its own where they are even, else x is padded here."""
    (top, bottom), (left, right) = pads
    if top == bottom and left == right and (most is None or (top <= most[0] and left <= most[1])):
        return x, [top, left]
    return functional.pad(x, (left, right, top, bottom), value=fill), [0, 0]

"""A network as a PyTorch module that trains: batch norm by batch statistics, the reference's L2."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional
from torch_net import padded, weightless

from npunet import UNet
from npunet.graph import Node
from npunet.layers import BATCH_NORM_MOMENTUM, L2_FACTOR


class TrainingNet(torch.nn.Module):
    """Takes (N, L, C) or (N, H, W, C) and labels, gives the loss.

    layout : torch.contiguous_format or torch.channels_last, of everything between
    """

    def __init__(self, model: UNet, layout: torch.memory_format) -> None:
        super().__init__()
        self.graph, self.rank, self.layout = model.graph, model.sizes.rank, layout
        self.named: dict[str, torch.Tensor] = {}
        for name, spec in model.graph.weights.items():
            value = np.array(model.weights[name])
            if value.ndim == 4:  # (KH, KW, C, F) as (F, C, KH, KW), depthwise (KH, KW, C, 1) as (C, 1, KH, KW)
                value = value.transpose((2, 3, 0, 1) if name.endswith("depthwise_kernel") else (3, 2, 0, 1))
            tensor = torch.from_numpy(np.ascontiguousarray(value))
            tensor = tensor.contiguous(memory_format=layout) if tensor.dim() == 4 else tensor
            self.named[name] = torch.nn.Parameter(tensor) if spec.trainable else tensor
            if spec.trainable:
                self.register_parameter(name.replace(".", "_").replace("/", "_"), self.named[name])
        self.kernels = [self.named[name] for name, spec in model.graph.weights.items() if spec.regularized]

    def forward(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = (x[:, None] if self.rank == 1 else x).permute(0, 3, 1, 2)  # (N, C, H, W)
        trace = {self.graph.input: x.contiguous(memory_format=self.layout)}
        for node in self.graph:
            trace[node.name] = self.apply_node(node, [trace[name] for name in node.inputs])
        y = trace[self.graph.output]
        loss = functional.cross_entropy(y[:, :, 0] if self.rank == 1 else y, labels)
        return loss + L2_FACTOR * sum((kernel * kernel).sum() for kernel in self.kernels)

    def apply_node(self, node: Node, inputs: list[torch.Tensor]) -> torch.Tensor:
        x, attrs = inputs[0], node.attrs
        weights = [self.named[name] for name in node.weights]
        if node.op in ("conv2d", "separable_conv2d"):
            x, pads = padded(x, attrs["pads"], 0.0)
            if node.op == "conv2d":
                return functional.conv2d(x, *weights, padding=pads, dilation=attrs["dilation"])
            depthwise, *rest = weights
            x = functional.conv2d(x, depthwise, padding=pads, dilation=attrs["dilation"], groups=x.shape[1])
            return functional.conv2d(x, *rest)
        if node.op == "batch_norm_inference":
            gamma, beta, mean, variance = weights
            return functional.batch_norm(x, mean, variance, gamma, beta, True, 1 - BATCH_NORM_MOMENTUM, attrs["eps"])
        return weightless(node, inputs)

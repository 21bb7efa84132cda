"""A network by PyTorch's own operators, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from npunet import run
from npunet.audit.runtime import Parity, absent, compared, installed
from npunet.audit.subject import Subject
from npunet.graph import Node
from npunet.limits import entry_of
from npunet.model import UNet
from npunet.ops.activation import LEAKY_SLOPE


def pytorch(model: UNet, shown: Subject) -> Parity:
    """Every operator by PyTorch's own, float64."""
    if not installed("torch"):
        return absent("PyTorch", "not installed")
    import torch

    graph = model.sizes.graph(shown.x.shape[:2])
    weights = {name: value.astype(np.float64) for name, value in model.weights.read_only.items()}
    x = shown.x[None].astype(np.float64)
    expected = run.infer(graph, weights, x)
    tensors = {graph.input: torch.from_numpy(x).permute(0, 3, 1, 2)}
    with torch.no_grad():
        for node in graph:
            named = [torch.from_numpy(weights[name]) for name in node.weights]
            layer = entry_of(TORCH, node, "the comparison with PyTorch", "leave it out")
            tensors[node.name] = layer(torch, node, [tensors[name] for name in node.inputs], named)
    got = tensors[graph.output].permute(0, 2, 3, 1).numpy()
    return compared("PyTorch", torch.__version__, "as trained, float64, every operator its own", got, expected, 1e-10)


def _padded(torch: Any, x: Any, node: Node, value: float = 0.0) -> Any:
    (top, bottom), (left, right) = node.attrs["pads"]
    return torch.nn.functional.pad(x, (left, right, top, bottom), value=value)


def _conv(torch: Any, node: Node, inputs: list[Any], weights: list[Any]) -> Any:
    w, *bias = weights
    attrs = {"stride": node.attrs["stride"], "dilation": node.attrs["dilation"]}
    x = _padded(torch, inputs[0], node)
    return torch.nn.functional.conv2d(x, w.permute(3, 2, 0, 1), *bias, **attrs)


def _depthwise(torch: Any, node: Node, inputs: list[Any], weights: list[Any]) -> Any:
    w, *bias = weights
    channels = w.shape[2]
    kernel = w.permute(2, 3, 0, 1).reshape(-1, 1, *w.shape[:2])  # (C*M, 1, KH, KW)
    attrs = {"stride": node.attrs["stride"], "dilation": node.attrs["dilation"], "groups": channels}
    return torch.nn.functional.conv2d(_padded(torch, inputs[0], node), kernel, *bias, **attrs)


def _separable(torch: Any, node: Node, inputs: list[Any], weights: list[Any]) -> Any:
    first, second, *bias = weights
    between = _depthwise(torch, node, inputs, [first])
    return torch.nn.functional.conv2d(between, second.permute(3, 2, 0, 1), *bias)


def _max_pool(torch: Any, node: Node, inputs: list[Any], weights: list[Any]) -> Any:
    x = _padded(torch, inputs[0], node, -np.inf)
    return torch.nn.functional.max_pool2d(x, node.attrs["window"], node.attrs["stride"])


def _upsample(torch: Any, node: Node, inputs: list[Any], weights: list[Any]) -> Any:
    fy, fx = node.attrs["factor"]
    return inputs[0].repeat_interleave(fy, 2).repeat_interleave(fx, 3)


def _batch_norm(torch: Any, node: Node, inputs: list[Any], weights: list[Any]) -> Any:
    gamma, beta, mean, variance = weights
    return torch.nn.functional.batch_norm(inputs[0], mean, variance, gamma, beta, eps=node.attrs["eps"])


def _layer_norm(torch: Any, node: Node, inputs: list[Any], weights: list[Any]) -> Any:
    gamma, beta = weights
    return torch.nn.functional.layer_norm(inputs[0], tuple(gamma.shape), gamma, beta, eps=node.attrs["eps"])


def _elementwise(name: str, **options: Any) -> Callable[..., Any]:
    return lambda torch, node, inputs, weights: getattr(torch.nn.functional, name)(inputs[0], **options)


TORCH: dict[str, Callable[..., Any]] = {
    "conv2d": _conv, "depthwise_conv2d": _depthwise, "separable_conv2d": _separable, "max_pool2d": _max_pool,
    "upsample_nearest2d": _upsample, "batch_norm_inference": _batch_norm, "layer_norm": _layer_norm,
    "relu6": _elementwise("relu6"), "relu": _elementwise("relu"), "elu": _elementwise("elu"),
    "selu": _elementwise("selu"), "leaky_relu": _elementwise("leaky_relu", negative_slope=LEAKY_SLOPE),
    "softmax": _elementwise("softmax", dim=1),
    "concat": lambda torch, node, inputs, weights: torch.cat(inputs, 1),
    "add": lambda torch, node, inputs, weights: inputs[0] + inputs[1],
    "dropout_inference": lambda torch, node, inputs, weights: inputs[0],
}

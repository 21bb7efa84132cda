"""A network's training step in JAX: forward with batch statistics, the reference's L2, gradients, SGD with momentum."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from npunet import UNet
from npunet.graph import Node
from npunet.layers import L2_FACTOR

LAYOUT = ("NHWC", "HWIO", "NHWC")
ACTIVATIONS = {"relu": jax.nn.relu, "relu6": jax.nn.relu6, "elu": jax.nn.elu, "selu": jax.nn.selu,
               "leaky_relu": jax.nn.leaky_relu, "softmax": jax.nn.softmax}


def make_step(model: UNet, rate: float, momentum: float) -> Callable[[np.ndarray, np.ndarray], float]:
    """A function (x, labels) -> loss that moves its weights by one step, compiled at its first call."""
    graph, rank = model.graph, model.sizes.rank
    weights = {name: jnp.asarray(model.weights[name]) for name, spec in graph.weights.items() if spec.trainable}
    kernels = [name for name, spec in graph.weights.items() if spec.regularized]

    def loss_of(weights: dict[str, jax.Array], x: jax.Array, labels: jax.Array) -> jax.Array:
        trace = {graph.input: x[:, None] if rank == 1 else x}
        for node in graph:
            trace[node.name] = apply_node(node, [trace[name] for name in node.inputs],
                                          [weights.get(name) for name in node.weights])
        logits = trace[graph.output]
        labels = labels.reshape(logits.shape[:-1])
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), labels[..., None], -1)
        return -chosen.mean() + L2_FACTOR * sum((weights[name] ** 2).sum() for name in kernels)

    @jax.jit
    def move(weights, velocity, x, labels):
        loss, gradients = jax.value_and_grad(loss_of)(weights, x, labels)
        velocity = jax.tree.map(lambda v, g: momentum * v - rate * g, velocity, gradients)
        return jax.tree.map(jnp.add, weights, velocity), velocity, loss

    state = [weights, jax.tree.map(jnp.zeros_like, weights)]

    def step(x: np.ndarray, labels: np.ndarray) -> float:
        *state[:], loss = move(*state, x, labels)
        return float(loss)

    return step


def apply_node(node: Node, inputs: list[jax.Array], weights: list[jax.Array]) -> jax.Array:
    x, attrs = inputs[0], node.attrs
    if node.op == "conv2d":
        return convolved(x, weights[0], attrs) + (weights[1] if len(weights) > 1 else 0)
    if node.op == "separable_conv2d":
        depthwise, pointwise, *bias = weights
        KH, KW, C, M = depthwise.shape
        x = convolved(x, depthwise.reshape(KH, KW, 1, C * M), attrs, groups=C)
        return x @ pointwise[0, 0] + (bias[0] if bias else 0)
    if node.op == "batch_norm_inference":
        mean, variance = x.mean((0, 1, 2)), x.var((0, 1, 2))
        return (x - mean) * (lax.rsqrt(variance + attrs["eps"]) * weights[0]) + weights[1]
    if node.op == "max_pool2d":
        window, stride = (1, *attrs["window"], 1), (1, *attrs["stride"], 1)
        return lax.reduce_window(x, -jnp.inf, lax.max, window, stride, ((0, 0), *attrs["pads"], (0, 0)))
    if node.op == "upsample_nearest2d":
        return x.repeat(attrs["factor"][0], 1).repeat(attrs["factor"][1], 2)
    if node.op == "concat":
        return jnp.concatenate(inputs, -1)
    if node.op == "add":
        return inputs[0] + inputs[1]
    return ACTIVATIONS[node.op](x)


def convolved(x: jax.Array, kernel: jax.Array, attrs: dict, groups: int = 1) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (1, 1), attrs["pads"], rhs_dilation=attrs["dilation"],
                                    dimension_numbers=LAYOUT, feature_group_count=groups)

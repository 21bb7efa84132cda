"""The float network that rounds as its integer form does: for training with the errors that integers make.

The deployed network, with fake quantisation where the integer network has integers: kernels by output channel, and
every activation that a clamp has already been fused into. Not rounded are the biases, whose steps are some 1e-9 of the
accumulator's range, and the softmax at the end, whose steps the loss's logarithm could not stand.

Source: Jacob et al. 2018, arXiv:1712.05877, section 3; Krishnamoorthi 2018, arXiv:1806.08342, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from npunet.graph import Graph, Node
from npunet.integer.network import DTYPES, LIMITS
from npunet.integer.quantization import scales as rules
from npunet.integer.quantization.calibrate import Range
from npunet.integer.quantization.plan import Plan
from npunet.integer.quantization.ranges import KEEPING
from npunet.integer.quantization.scales import Quantisation
from npunet.ops.fake_quantize import fake_quantize_forward

SUFFIX = "/quantized"
COPYING = (*KEEPING, "concat")  # operators whose output has no other values than their inputs


def fake_quantized(plan: Plan, ranges: Mapping[str, Range], scheme: str) -> Graph:
    """The plan's graph with a node "fake_quantize" behind every activation that becomes integers.

    ranges : as the scales are made from, of quantize.settle
    """
    dtype, graph = DTYPES[scheme], plan.graph
    meanings = {name: rules.activation_quantisation(whole, dtype) for name, whole in ranges.items()}
    rounded = {planned.name for planned in plan if planned.node.op not in (*COPYING, "softmax")}
    source = {graph.input: f"{graph.input}{SUFFIX}"}
    nodes = [_rounding(source[graph.input], graph.input, meanings[graph.input], dtype, graph.input_shape)]
    for node in graph:
        inputs = [source[name] for name in node.inputs]
        if node.op == "concat":                               # int16x8: each input is requantised to its output's scale
            for i, name in enumerate(node.inputs):
                if meanings[name] != meanings[node.name]:
                    between = f"{name}_requantized{SUFFIX}"
                    nodes.append(_rounding(between, inputs[i], meanings[node.name], dtype, graph.shape(name)))
                    inputs[i] = between
        nodes.append(replace(node, inputs=tuple(inputs)))
        source[node.name] = node.name
        if node.name in rounded:
            source[node.name] = f"{node.name}{SUFFIX}"
            nodes.append(_rounding(source[node.name], node.name, meanings[node.name], dtype, node.shape))
    return replace(graph, nodes=tuple(nodes), output=source[graph.output])


def _rounding(name: str, source: str, meaning: Quantisation, dtype: str, shape: tuple[int, int, int]) -> Node:
    low, high = LIMITS[dtype]
    attrs = {"scale": meaning.scale, "zero_point": meaning.zero_point, "low": low, "high": high}
    return Node(name, "fake_quantize", (source,), (), attrs, shape)


def fake_quantized_weights(plan: Plan) -> dict[str, np.ndarray]:
    """The plan's weights with every kernel as its integers hold it. No kernel is clipped, so that its gradient is that
    of the rounded one."""
    made = dict(plan.weights)
    for planned in plan:
        if planned.node.op in ("conv2d", "depthwise_conv2d"):
            name = planned.node.weights[0]
            w = plan.weights[name]
            flat = w.reshape(*w.shape[:2], 1, -1) if planned.node.op == "depthwise_conv2d" else w
            found = rules.weight_scales(flat)
            made[name] = fake_quantize_forward(flat, scale=found, zero_point=0, low=-127, high=127).reshape(w.shape)
    return made

"""The integer network of a plan and its ranges."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from npunet.integer import parameters
from npunet.integer.network import DTYPES, Network, Node, Tensor
from npunet.integer.ops.norm import layer_norm_parameters
from npunet.integer.ops.table import table_of
from npunet.integer.quantization import scales as rules
from npunet.integer.quantization.calibrate import Range
from npunet.integer.quantization.plan import Plan, PlannedOperator
from npunet.integer.quantization.scales import Quantisation
from npunet.limits import refuse_other_pads
from npunet.ops.activation import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE


class Builder:
    """Tensors and nodes of an integer network while it is being made."""

    def __init__(self, plan: Plan, ranges: dict[str, Range], scheme: str) -> None:
        self.plan, self.dtype = plan, DTYPES[scheme]
        self.tensors: dict[str, Tensor] = {}
        self.nodes: list[Node] = []
        self.exact = {name: rules.activation_quantisation(whole, self.dtype) for name, whole in ranges.items()}
        for planned in plan:
            if planned.node.op == "softmax":
                self.exact[planned.name] = Quantisation(*parameters.softmax_output(self.dtype))

    def tensor(self, name: str, shape: tuple[int, int, int], meaning: Quantisation | None = None) -> Tensor:
        """A new tensor, with the scale that its range gives it."""
        meaning = meaning or self.exact[name]
        self.tensors[name] = Tensor(name, shape, self.dtype, meaning.scale, meaning.zero_point)
        return self.tensors[name]

    def add(self, planned: PlannedOperator) -> None:
        """The node of an operator."""
        y = self.tensor(planned.name, planned.node.shape)
        make = MAKERS.get(planned.node.op)
        if make is None:
            raise ValueError(f"{planned.name}: the operator {planned.node.op!r} has no integer form; there are "
                             f"{', '.join(sorted(MAKERS))}")
        refuse_other_pads(planned.node, self.plan.graph, "an integer network", "leave it in float")
        try:
            self.nodes.append(make(self, planned, tuple(self.tensors[name] for name in planned.inputs), y))
        except ValueError as error:
            if str(error).startswith(f"{planned.name}: "):
                raise
            raise ValueError(f"{planned.name}: {error}; calibrate with inputs such as the network will see, prepared "
                             "as for predict") from None


def build(plan: Plan, ranges: dict[str, Range], scheme: str, rounding: str, *, name: str,
          input_shape: tuple[int, ...], output_shape: tuple[int, ...]) -> Network:
    """The integer network."""
    builder = Builder(plan, ranges, scheme)
    builder.tensor(plan.graph.input, plan.graph.input_shape)
    for planned in plan:
        builder.add(planned)
    return Network(scheme, rounding, plan.graph.input, plan.output, builder.tensors, tuple(builder.nodes),
                   input_shape, output_shape, name=name)


def _convolution(builder: Builder, planned: PlannedOperator, xs: tuple[Tensor, ...], y: Tensor) -> Node:
    (x,), node = xs, planned.node
    w = builder.plan.weights[node.weights[0]]
    depthwise = node.op == "depthwise_conv2d"
    channels = w.shape[2] * w.shape[3] if depthwise else w.shape[3]
    b = builder.plan.weights[node.weights[1]] if len(node.weights) > 1 else np.zeros(channels, w.dtype)
    flat = w.reshape(*w.shape[:2], 1, channels) if depthwise else w
    exact = builder.exact[x.name].exact
    found = rules.weight_scales(flat)
    if builder.dtype == "int8":
        found = rules.widened_for_bias(found, b, exact)
        bias = rules.quantise_bias(b, found, exact)
    else:
        found = rules.widened_for_bias(found, b, exact, rules.LARGEST_BIAS_64)
        bias = rules.quantise_bias_64(b, found, exact)
    weights = rules.quantise_weights(flat, found).reshape(w.shape)
    return parameters.convolution(
        node.op, x, y, weights, bias, found, stride=node.attrs["stride"], pads=node.attrs["pads"],
        dilation=node.attrs["dilation"], padding="same", clamp=planned.clamp, layers=planned.layers)


def _pool(builder: Builder, planned: PlannedOperator, xs: tuple[Tensor, ...], y: Tensor) -> Node:
    attrs = planned.node.attrs
    return parameters.pooling(planned.node.op, xs[0], y, window=attrs["window"], stride=attrs["stride"],
                              pads=attrs["pads"], padding="same", layers=planned.layers)


def _add(builder: Builder, planned: PlannedOperator, xs: tuple[Tensor, ...], y: Tensor) -> Node:
    return parameters.addition(xs[0], xs[1], y, layers=planned.layers)


def _concat(builder: Builder, planned: PlannedOperator, xs: tuple[Tensor, ...], y: Tensor) -> Node:
    """Inputs of another scale are requantised before it."""
    inputs = []
    for x in xs:
        if (x.scale, x.zero_point) != (y.scale, y.zero_point):
            between = builder.tensor(f"{x.name}_requantized", x.shape, builder.exact[planned.name])
            builder.nodes.append(parameters.rescaling(x, between))
            x = between
        inputs.append(x)
    return parameters.concatenation(tuple(inputs), y, planned.layers)


def _upsample(builder: Builder, planned: PlannedOperator, xs: tuple[Tensor, ...], y: Tensor) -> Node:
    return parameters.upsampling(xs[0], y, planned.node.attrs["factor"], planned.layers)


def _softmax(builder: Builder, planned: PlannedOperator, xs: tuple[Tensor, ...], y: Tensor) -> Node:
    return parameters.softmaxing(xs[0], y, layers=planned.layers)


def _layer_norm(builder: Builder, planned: PlannedOperator, xs: tuple[Tensor, ...], y: Tensor) -> Node:
    (x,), node = xs, planned.node
    if node.attrs["axes"] != (1, 2):
        raise ValueError(f"{planned.name}: layer norm over axes {node.attrs['axes']} has no integer form, only (1, 2)")
    gamma, beta = (builder.plan.weights[name] for name in node.weights)
    try:
        attrs, arrays, scales = layer_norm_parameters(gamma, beta, node.attrs["eps"], x.scale, y.scale, y.dtype)
    except ValueError as error:
        raise ValueError(f"{planned.name}: {error}") from None
    limits = {"output_offset": y.zero_point, **parameters.clamp_limits(planned.clamp, y)}
    return Node(y.name, "layer_norm", (x.name,), attrs | limits, arrays, scales, planned.layers)


def _leaky_relu(builder: Builder, planned: PlannedOperator, xs: tuple[Tensor, ...], y: Tensor) -> Node:
    return parameters.leaky_relu(xs[0], y, LEAKY_SLOPE, planned.layers)


def _table(function: Callable[[float], float], builder: Builder, planned: PlannedOperator, xs: tuple[Tensor, ...],
           y: Tensor) -> Node:
    (x,) = xs
    entries = table_of(function, x.scale, x.zero_point, y.scale, y.zero_point, y.dtype)
    return Node(y.name, "table", (x.name,), {"function": planned.node.op}, {"table": entries}, layers=planned.layers)


def elu(x: float) -> float:
    """x for x > 0, exp(x) - 1 otherwise."""
    return x if x > 0 else float(np.expm1(x))


def selu(x: float) -> float:
    """SELU_SCALE * x for x > 0, SELU_SCALE * SELU_ALPHA * (exp(x) - 1) otherwise."""
    return SELU_SCALE * x if x > 0 else SELU_SCALE * SELU_ALPHA * float(np.expm1(x))


MAKERS: dict[str, Callable[[Builder, PlannedOperator, tuple[Tensor, ...], Tensor], Node]] = {
    "conv2d": _convolution,
    "depthwise_conv2d": _convolution,
    "max_pool2d": _pool,
    "add": _add,
    "concat": _concat,
    "upsample_nearest2d": _upsample,
    "softmax": _softmax,
    "layer_norm": _layer_norm,
    "leaky_relu": _leaky_relu,
    "elu": partial(_table, elu),
    "selu": partial(_table, selu),
}

"""How far a correct float32 port may lie from the golden value, element by element, when it sums in another order.

Let g be golden and p the port's, x golden and x' the port's input with |x' - x| <= d. For a convolution

    |p - g| <= |p - W x'| + |W x' - W x| + |W x - g| <= B(|x| + d) + |W| d + B(|x|)

with B of ops.bounds. With d = 0 this is the local bound, of a layer fed with golden inputs; carrying it on from layer
to layer gives the bound of the network. Where a function is monotone, d passes as the widest of f(x + d) - f(x) and
f(x) - f(x - d). Infinity means that nothing is promised: NaN, infinities, and sums that may overflow.

Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, chapters 3 and 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from npunet.graph import Node
from npunet.limits import entry_of
from npunet.ops.activation import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE
from npunet.ops.bounds import SUBNORMAL, UNIT, conv2d_bound, depthwise_conv2d_bound, gamma
from npunet.ops.conv import conv2d_forward
from npunet.ops.depthwise import depthwise_conv2d_forward
from npunet.ops.table import OPERATORS

LARGEST = float(np.finfo(np.float32).max)
KEPT_BITS = 6  # of a bound's significand, rounded up: so that a stored bound does not depend on the machine


@dataclass(frozen=True)
class Port:
    """What is assumed of a port.

    exp_ulp   : error of its exponential in units in the last place
    subnormal : error of an operation whose result is subnormal; 2^-126 where these are flushed to zero
    """

    exp_ulp: float = 4.0
    subnormal: float = SUBNORMAL


Arrays = Sequence[np.ndarray]
CORRECT = Port()


def output_bound(node: Node, inputs: Arrays, deltas: Arrays, weights: Mapping[str, np.ndarray],
                 port: Port = CORRECT) -> np.ndarray:
    """Bound on |port - golden| for every element of a layer's output, float64, infinite where nothing is promised.

    inputs : golden inputs, (N, H, W, C) float32
    deltas : bounds on the port's inputs, same shapes; zeros for the local bound
    """
    flushed = port.subnormal if port.subnormal > SUBNORMAL else 0.0  # also when it is read, not only when it results
    deltas = [np.asarray(delta, np.float64) + flushed for delta in deltas]
    tensors = [value.astype(np.float64) for value in inputs]
    parameters = [weights[name].astype(np.float64) for name in node.weights]
    with np.errstate(all="ignore"):
        bound = bound_of(node)(node, tensors, deltas, parameters, port)
    bound = bound * (1 + 2.0**-20) + flushed  # for float64's own roundings here
    return np.where(bound <= LARGEST, bound, np.inf)


def accumulator_bound(node: Node, inputs: Arrays, deltas: Arrays, weights: Mapping[str, np.ndarray],
                      port: Port = CORRECT) -> np.ndarray:
    """output_bound of what a convolution has before its bias."""
    kernels = tuple(name for name in node.weights if weights[name].ndim == 4)
    return output_bound(Node(node.name, node.op, node.inputs, kernels, node.attrs, node.shape), inputs, deltas, weights,
                        port)


def rounded_up(bound: np.ndarray) -> np.ndarray:
    """The bound as float32 with KEPT_BITS significant bits, never smaller."""
    fraction, exponent = np.frexp(bound * (1 + 2.0**-40))
    steps = np.ceil(fraction * (1 << KEPT_BITS)) / (1 << KEPT_BITS)
    with np.errstate(over="ignore"):
        return np.maximum(np.ldexp(steps, exponent), (bound > 0) * 2.0**-149).astype(np.float32)


def _linear(forward: Callable, rounding: Callable, x: np.ndarray, d: np.ndarray, w: np.ndarray, b: np.ndarray | None,
            attrs: Mapping, port: Port) -> np.ndarray:
    """B(|x| + d) + |W| d + B(|x|), infinite where |W| |x| might overflow."""
    size = np.abs(x)
    most = forward(size + d, np.abs(w), None if b is None else np.abs(b), **attrs)
    own = rounding(size, w, b, **attrs, subnormal=port.subnormal)
    others = rounding(size + d, w, b, **attrs, subnormal=port.subnormal)
    bound = others + forward(d, np.abs(w), None, **attrs) + own
    return np.where(most + bound <= LARGEST, bound, np.inf)


def _conv2d(node: Node, tensors: Arrays, deltas: Arrays, parameters: Arrays, port: Port) -> np.ndarray:
    w, b = _with_bias(parameters)
    return _linear(conv2d_forward, conv2d_bound, tensors[0], deltas[0], w, b, node.attrs, port)


def _depthwise(node: Node, tensors: Arrays, deltas: Arrays, parameters: Arrays, port: Port) -> np.ndarray:
    w, b = _with_bias(parameters)
    return _linear(depthwise_conv2d_forward, depthwise_conv2d_bound, tensors[0], deltas[0], w, b, node.attrs, port)


def _separable(node: Node, tensors: Arrays, deltas: Arrays, parameters: Arrays, port: Port) -> np.ndarray:
    first, *rest = parameters
    d = _depthwise(node, tensors, deltas, [first], port)
    x = depthwise_conv2d_forward(tensors[0], first, **node.attrs)
    return _linear(conv2d_forward, conv2d_bound, np.abs(x) + d, d, *_with_bias(rest), {}, port)


def _with_bias(parameters: Arrays) -> tuple[np.ndarray, np.ndarray | None]:
    return parameters[0], parameters[1] if len(parameters) > 1 else None


def _monotone(function: Callable[[np.ndarray], np.ndarray], x: np.ndarray, d: np.ndarray) -> np.ndarray:
    """The widest that a growing function can be off when its argument is off by d."""
    up, here, down = function(x + d), function(x), function(x - d)
    return np.where(up == down, 0, np.maximum(up - here, here - down))


def _exact(node: Node, tensors: Arrays, deltas: Arrays, parameters: Arrays, port: Port) -> np.ndarray:
    """Clamps and max-pooling: they grow with every input and round nothing."""
    x, d = tensors[0], deltas[0]
    up, here, down = (OPERATORS[node.op].forward(value, **node.attrs) for value in (x + d, x, x - d))
    return np.where(up == down, 0, np.maximum(up - here, here - down))


def _moved(node: Node, tensors: Arrays, deltas: Arrays, parameters: Arrays, port: Port) -> np.ndarray:
    """Concatenation, upsampling, dropout at inference: values are moved, and so are their bounds."""
    return OPERATORS[node.op].forward(*deltas, **node.attrs)


def _add(node: Node, tensors: Arrays, deltas: Arrays, parameters: Arrays, port: Port) -> np.ndarray:
    d = deltas[0] + deltas[1]
    return d + UNIT * (2 * np.abs(tensors[0] + tensors[1]) + d) * (1 + 2.0**-20) + 2 * port.subnormal


def _leaky(node: Node, tensors: Arrays, deltas: Arrays, parameters: Arrays, port: Port) -> np.ndarray:
    x, d = tensors[0], deltas[0]
    below = LEAKY_SLOPE * np.maximum(d - x, 0)  # largest size on the side that is rounded
    return _monotone(lambda v: np.where(v > 0, v, LEAKY_SLOPE * v), x, d) + _rounded(gamma(5) * below, below, port)


def _elu(node: Node, tensors: Arrays, deltas: Arrays, parameters: Arrays, port: Port) -> np.ndarray:
    x, d = tensors[0], deltas[0]
    bend = np.where(x - d < 0, np.exp(np.minimum(x + d, 0)), 0)  # exp(x) - 1 is off by exp's error, however small it is
    below = -np.expm1(np.minimum(x - d, 0))
    rounding = (2 * port.exp_ulp * bend + 12 * below) * UNIT * (1 + 2.0**-20)
    return _monotone(lambda v: np.where(v > 0, v, np.expm1(np.minimum(v, 0))), x, d) + _rounded(rounding, below, port)


def _selu(node: Node, tensors: Arrays, deltas: Arrays, parameters: Arrays, port: Port) -> np.ndarray:
    x, d = tensors[0], deltas[0]
    inside = _elu(node, [np.minimum(x, 0)], deltas, parameters, port)
    below, above = SELU_SCALE * SELU_ALPHA * -np.expm1(np.minimum(x - d, 0)), SELU_SCALE * np.maximum(x + d, 0)
    steepest = SELU_SCALE * SELU_ALPHA
    return steepest * (np.maximum(inside, d)) + gamma(6) * (below + above) + _rounded(0, below + above, port)


def _rounded(rounding: np.ndarray | float, size: np.ndarray, port: Port) -> np.ndarray:
    """A rounding error with its floor among the subnormals, where there is anything to round."""
    return np.where(size > 0, rounding + 4 * port.subnormal, 0)


def _batch_norm(node: Node, tensors: Arrays, deltas: Arrays, parameters: Arrays, port: Port) -> np.ndarray:
    """Any of the usual forms: (x - mean) * inv + beta, x * inv + shift, gamma * (x - mean) / sqrt(var + eps) + beta."""
    scale, beta, mean, var = parameters
    inv = np.abs(scale) / np.sqrt(var + node.attrs["eps"])
    size = inv * (np.abs(tensors[0]) + deltas[0] + np.abs(mean)) + np.abs(beta)
    bound = inv * deltas[0] + 2 * gamma(10) * size + 20 * port.subnormal * (1 + inv)
    return np.where(size <= LARGEST, bound, np.inf)


def _layer_norm(node: Node, tensors: Arrays, deltas: Arrays, parameters: Arrays, port: Port) -> np.ndarray:
    """Means in two passes, in float32 or wider; c = x - mean, s = sqrt(mean(c^2) + eps), h = c / s.

    With c off by dc and s by at most r = rms(dc):  |h' - h| <= (dc + |h| r) / (s - r), and always <= |h| + sqrt(n).
    """
    (x, d), axes, eps = (tensors[0], deltas[0]), node.attrs["axes"], node.attrs["eps"]
    others = tuple(axis for axis in range(4) if axis not in {axis % 4 for axis in axes})
    scale, beta = (np.expand_dims(np.abs(parameter), others) for parameter in parameters)
    n = int(np.prod([x.shape[axis] for axis in axes]))

    def mean(values: np.ndarray) -> np.ndarray:
        return values.mean(axes, keepdims=True)

    c = x - mean(x)
    s = np.sqrt(mean(c * c) + eps)
    size = mean(np.abs(x) + d)
    dc = d + mean(d) + 2 * (gamma(n + 2) * size + UNIT * (np.abs(c) + d + mean(d)))  # twice: the golden one's too
    r = np.sqrt(mean(dc * dc))
    h = np.abs(c) / s
    dh = np.minimum((dc + h * r) / np.maximum(s - r, np.sqrt(eps) / 2), h + np.sqrt(n))  # no h exceeds sqrt(n)
    most = scale * (h + dh)
    bound = scale * dh + 2 * gamma(n + 10) * most + 2 * UNIT * (most + beta) + 8 * port.subnormal * (1 + scale)
    return np.where(mean((c + dc) ** 2) * n <= LARGEST, bound, np.inf)


def _softmax(node: Node, tensors: Arrays, deltas: Arrays, parameters: Arrays, port: Port) -> np.ndarray:
    """p (exp(2 d) - 1) for the inputs; and for rounding the exponential, its argument, the sum and the quotient."""
    x, d = tensors[0], deltas[0].max(-1, keepdims=True)
    below = x.max(-1, keepdims=True) - x
    p = np.exp(-below)
    p /= p.sum(-1, keepdims=True)
    argument = UNIT * (below + 2 * d + (p * (below + 2 * d)).sum(-1, keepdims=True))
    relative = 2 * (2 * port.exp_ulp * UNIT * 2 + argument + gamma(x.shape[-1] + 3)) * (1 + 2.0**-20)
    return p * np.expm1(2 * d) + p * np.exp(2 * d) * np.expm1(relative) + 2.0**-124


Bound = Callable[[Node, Arrays, Arrays, Arrays, Port], np.ndarray]
BOUNDS: dict[str, Bound] = {
    "conv2d": _conv2d,
    "depthwise_conv2d": _depthwise,
    "separable_conv2d": _separable,
    "max_pool2d": _exact,
    "relu": _exact,
    "relu6": _exact,
    "upsample_nearest2d": _moved,
    "concat": _moved,
    "dropout_inference": _moved,
    "add": _add,
    "leaky_relu": _leaky,
    "elu": _elu,
    "selu": _selu,
    "batch_norm_inference": _batch_norm,
    "layer_norm": _layer_norm,
    "softmax": _softmax,
}


def bound_of(node: Node) -> Bound:
    """How far a node's output may be off. Raises Unsupported where nobody derived it."""
    return entry_of(BOUNDS, node, "npunet.golden.bounds", "there are no golden vectors of this network")

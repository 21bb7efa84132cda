"""Float32 against float64: npunet's and Keras' outputs within the bound that the network's own rounding allows.

The bound is carried through the network layer by layer (one layer, any order: gamma(K+1) * (sum|x||w| + |b|);
then |W| * delta): for every tensor it says how far any float32 evaluation may be from the exact one.
"""

import numpy as np
import pytest
from test_reference import NAMES, group, masks_of, model_of, stored

from npunet.ops.table import OPERATORS

U = 2.0**-24
TINY = float(np.finfo(np.float32).tiny)  # what a subnormal result may lose, a term
SELU_SLOPE = 1.7580993408473766  # scale * alpha, the steepest that SELU gets

pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")


def gamma(n):
    """Higham's bound for n roundings."""
    return n * U / (1 - n * U)


def convolution(node, x, delta, weights):
    """|W| * (|x| + delta) with K + 1 roundings more, and |W| * delta handed on."""
    forward, *kernels = OPERATORS[node.op].forward, *[abs(w) for w in weights]
    terms = sum(int(np.prod(w.shape[:2] if node.weights[i].endswith("depthwise_kernel") else w.shape[:3]))
                for i, w in enumerate(weights) if w.ndim == 4)
    linear = kernels[: sum(w.ndim == 4 for w in weights)]
    passed = forward(delta, *linear, **node.attrs)
    return passed + (gamma(terms + 2)) * (forward(abs(x) + delta, *kernels, **node.attrs)) + terms * TINY


def batch_norm(node, x, delta, weights):
    """The scale, 4 roundings of its own, times delta; then 8 roundings of everything that is added up."""
    scale, shift, mean, variance = weights
    inverse = abs(scale) / np.sqrt(variance + node.attrs["eps"])
    return inverse * delta * (1 + gamma(4)) + gamma(8) * (inverse * (abs(x) + delta + abs(mean)) + abs(shift))


def layer_norm(node, x, delta, weights):
    """y = gamma * (x - mean) / s + beta, where s = sqrt(mean((x - mean)^2) + eps) is a norm of x - mean.

    Hence s moves by no more than the root mean square of what x - mean moves by.
    """
    axes, n = (1, 2), x.shape[1] * x.shape[2]
    scale, shift = (w[None, :, :, None] for w in weights)
    centred = x - x.mean(axes, keepdims=True)
    s = np.sqrt((centred**2).mean(axes, keepdims=True) + node.attrs["eps"])
    rounding = gamma(n + 2) * (abs(x) + delta).mean(axes, keepdims=True)
    moved = delta + delta.mean(axes, keepdims=True) + rounding + U * (abs(x) + delta)
    ds = np.sqrt((moved**2).mean(axes, keepdims=True)) + gamma(n + 6) * s
    least = np.maximum(s - ds, 0.9 * np.sqrt(node.attrs["eps"]))
    normed = moved / least + abs(centred) * ds / (s * least)
    return abs(scale) * normed + gamma(6) * (abs(scale) * (abs(centred) / s + normed) + abs(shift))


def activation(node, y, delta):
    """The steepest slope times delta, and the roundings of an exponential, at most 8 of values up to |y| + 2."""
    slope = {"selu": SELU_SLOPE}.get(node.op, 1.0)
    own = {"relu": 0.0, "relu6": 0.0, "leaky_relu": U}.get(node.op)
    return slope * delta + (own * abs(y) if own is not None else gamma(8) * (abs(y) + 2))


def bound_of(node, inputs, deltas, weights, y):
    """How far a float32 y may be from the exact one when each input is within its delta of the exact one."""
    if node.op in ("conv2d", "separable_conv2d"):
        return convolution(node, inputs[0], deltas[0], weights)
    if node.op == "batch_norm_inference":
        return batch_norm(node, inputs[0], deltas[0], weights)
    if node.op == "layer_norm":
        return layer_norm(node, inputs[0], deltas[0], weights)
    if node.op == "add":
        return sum(deltas) * (1 + U) + U * abs(y)
    if node.op == "softmax":
        return y * np.expm1(2 * deltas[0].max(-1, keepdims=True)) + gamma(y.shape[-1] + 10) * y + TINY
    if node.op in ("max_pool2d", "upsample_nearest2d", "concat", "dropout_inference"):
        result = OPERATORS[node.op].forward(*deltas, **node.attrs)
        return result[0] if isinstance(result, tuple) else result
    return activation(node, y, deltas[0])


def bound(graph, weights, trace):
    """Carry the bounds from the exact input to the output, in execution order."""
    deltas = {graph.input: np.zeros_like(trace[graph.input])}
    for node in graph:
        inputs, passed = [trace[name] for name in node.inputs], [deltas[name] for name in node.inputs]
        own = [weights[name] for name in node.weights]
        deltas[node.name] = bound_of(node, inputs, passed, own, trace[node.name])
    return deltas[graph.output]


@pytest.mark.parametrize("name", NAMES)
def test_float32_outputs_stay_within_the_derived_bound(name, record_property):
    case, arrays = stored(name)
    exact = model_of(case, arrays)
    x = arrays["x"].astype(np.float64)
    images = x[:, None] if x.ndim == 3 else x
    graph = exact.graph
    allowed = bound(graph, exact.weights, {graph.input: images, **exact.trace(x)})
    allowed = allowed.reshape(arrays["inference/float64/y"].shape)
    ours = model_of(case, arrays, "float32").predict(arrays["x"], backend="numpy", arithmetic="any")
    assert ours.dtype == np.float32
    for runtime, y in {"npunet": ours, "Keras": arrays["inference/float32/y"]}.items():
        share = float((np.abs(y - arrays["inference/float64/y"]) / allowed).max())
        record_property(f"{runtime} share of the bound", f"{share:.2g}")
        print(f"{name}: {runtime} uses {share:.2%} of the bound")
        assert share <= 1, f"{runtime} is {share:.2g} times the bound away"


def local_bound(node, inputs, weights, y):
    """What one layer may add to exact inputs."""
    none = [np.zeros_like(x) for x in inputs]
    return bound_of(node, inputs, none, weights, y)


@pytest.mark.parametrize("name", NAMES)
def test_every_float32_layer_stays_within_its_own_bound(name, record_property):
    case, arrays = stored(name)
    model = model_of(case, arrays, "float32")
    x = arrays["x"][:, None] if arrays["x"].ndim == 3 else arrays["x"]
    trace, worst = {model.graph.input: x, **model.trace(arrays["x"])}, 0.0
    for node in model.graph:
        inputs = [trace[name].astype(np.float64) for name in node.inputs]
        weights = [model.weights[name].astype(np.float64) for name in node.weights]
        result = OPERATORS[node.op].forward(*inputs, *weights, **node.attrs)
        exact = result[0] if isinstance(result, tuple) else result
        error, allowed = np.abs(trace[node.name] - exact), local_bound(node, inputs, weights, exact)
        assert (error <= allowed).all(), f"{node.name} ({node.op}): {(error / (allowed + TINY)).max():.2g} of its bound"
        if node.op != "add":  # one rounding each, so the largest of many always comes close
            worst = max(worst, float((error / (allowed + TINY)).max()))
    record_property("largest share of a layer's bound", f"{worst:.2g}")
    print(f"{name}: a layer uses at most {worst:.0%} of its bound")


# A gradient in float32 has no useful worst case (a kink that rounding crosses is a jump), so this one is measured:
# npunet is off by 1.4e-4 of a gradient's largest entry, Keras by 2.1e-4, both where four levels shrink it to 4e-5.
GRADIENT = 5e-4


@pytest.mark.parametrize("name", NAMES)
def test_float32_gradients_follow_float64(name):
    case, arrays = stored(name)
    model = model_of(case, arrays, "float32")
    masks = masks_of(case, arrays, "float32")
    _, grads, dx = model.gradients(arrays["x"], arrays["labels"], loss=case["loss"], masks=masks)
    expected = group(arrays, "training/float64/grad/") | {"dx": arrays["training/float64/dx"]}
    keras = group(arrays, "training/float32/grad/") | {"dx": arrays["training/float32/dx"]}
    for tensor, want in expected.items():
        if tensor in case["vanishing"]:
            continue
        for runtime, got in {"npunet": (grads | {"dx": dx})[tensor], "Keras": keras[tensor]}.items():
            assert got.dtype == np.float32
            off = float(np.abs(got - want).max() / np.abs(want).max())
            assert off <= GRADIENT, f"{runtime}, {tensor}: off by {off:.1e} of its largest entry"

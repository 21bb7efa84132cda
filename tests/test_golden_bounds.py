"""The error bounds against what ports may do: thousands of random orders, other formulas, perturbed inputs."""

import numpy as np
import pytest
from golden_cases import NAMES, stored

from npunet import run
from npunet.golden import bounds
from npunet.golden.draws import Draws
from npunet.golden.layer_run import run_layer, run_network
from npunet.graph import Node
from npunet.ops.accumulate import fma32
from npunet.ops.table import OPERATORS
from npunet.ops.windows import windows

CONV = {"stride": (1, 2), "pads": ((1, 0), (2, 1)), "dilation": (2, 1)}
POOL = {"window": (3, 2), "stride": (2, 1), "pads": ((1, 1), (0, 1))}
ORDERS = 3000
LAYERS = ["d2_activations", "d2_norms_mixed", "d1_softmax", "d2_separable_mixed"]


def convolution(rng):
    x = rng.standard_normal((2, 7, 11, 3)).astype("f4")
    x[0, 2] *= 1e4       # cancellation between sizes far apart
    weights = {"w": rng.standard_normal((3, 4, 3, 2)).astype("f4"), "b": rng.standard_normal(2).astype("f4")}
    return Node("conv", "conv2d", ("x",), ("w", "b"), CONV, (0, 0, 0)), x, weights


def products(x, w, attrs):
    """Every term of every output's sum, (terms, N, OH, OW, F) float32 factors as (x, w)."""
    taps = windows(x, w.shape[:2], attrs["stride"], attrs["pads"], attrs["dilation"])
    pairs = [(taps[tap][..., c, None], w[tap][c]) for tap in taps for c in range(w.shape[2])]
    return [np.broadcast_arrays(*pair) for pair in pairs]


def summed(pairs, bias, order, way):
    """A sum in some order: one by one, fused, by halves, or with the bias first."""
    if way == "halves":
        parts = [pairs[k][0] * pairs[k][1] for k in order]
        while len(parts) > 1:
            parts = [sum(parts[k : k + 2][1:], parts[k]) for k in range(0, len(parts), 2)]
        return parts[0] + bias
    total = np.zeros_like(pairs[0][0]) + (bias if way == "bias first" else np.float32(0))
    for k in order:
        x, w = pairs[k]
        total = fma32(x, w, total) if way == "fused" else total + x * w
    return total if way == "bias first" else total + bias


def test_no_order_of_a_convolution_exceeds_the_bound(rng, capsys):
    node, x, weights = convolution(rng)
    x = x[:1, :4, :4]       # few outputs, many orders: 36 products each
    pairs = products(x, weights["w"], CONV)
    golden = run_layer(node, [x], weights, "seq_fma").out
    bound = bounds.output_bound(node, [x], [np.zeros(x.shape)], weights)
    worst, met = 0.0, 0
    for number in range(ORDERS):
        way = ("plain", "halves", "bias first", "fused")[number % 4 if number % 40 == 3 else number % 3]
        got = summed(pairs, weights["b"], rng.permutation(len(pairs)), way)
        share = np.max(np.abs(got.astype("f8") - golden) / bound)
        worst, met = max(worst, float(share)), met + int((got != golden).any())
    with capsys.disabled():
        print(f"\nconvolution of 36 products, {ORDERS} orders: at most {worst:.2f} of the bound")
    assert 0.01 < worst <= 1 and met > ORDERS // 2


def test_the_bound_of_a_convolution_can_be_met_to_half():
    """1 first, then 35 terms of just under half an ulp: summed from the front all are lost, from the back none."""
    x = np.full((1, 1, 36, 1), 2.0**-24 - 2.0**-48, "f4")
    x[0, 0, 0] = 1
    weights, attrs = {"w": np.ones((1, 36, 1, 1), "f4")}, CONV | {"pads": ((0, 0), (0, 0)), "stride": (1, 1)}
    node = Node("conv", "conv2d", ("x",), ("w",), attrs, (1, 1, 1))
    golden = run_layer(node, [x], weights, "seq_fma").out
    got = np.float32(0)
    for value in x.ravel()[::-1]:
        got = got + value
    bound = bounds.output_bound(node, [x], [np.zeros(x.shape)], weights)
    assert golden.item() == 1 and 0.4 < abs(float(got) - 1) / bound.item() <= 1


@pytest.mark.parametrize("op", sorted(bounds.BOUNDS.keys() - {"dropout_inference"}))
@pytest.mark.parametrize("size", [1e-6, 1e-2, 1.0])
def test_no_perturbed_input_exceeds_the_bound(op, size, rng):
    """Inputs off by up to d, at its ends or anywhere between; arithmetic in float64, so that all of it is due to d."""
    tensors = [rng.standard_normal((2, 7, 6, 3)).astype("f4") * 3 for _ in range(2 if op in ("add", "concat") else 1)]
    scale = np.abs(rng.standard_normal((4, 3))).astype("f4")
    weights, attrs = {
        "conv2d": ([(2, 3, 3, 4), (4,)], CONV), "depthwise_conv2d": ([(2, 3, 3, 2), (6,)], CONV),
        "separable_conv2d": ([(2, 3, 3, 1), (1, 1, 3, 4)], CONV), "max_pool2d": ([], POOL),
        "layer_norm": ([(7, 6), (7, 6)], {"axes": (1, 2), "eps": 1e-3}), "upsample_nearest2d": ([], {"factor": (2, 1)}),
        "batch_norm_inference": ([], {"eps": 1e-3}),
    }.get(op, ([], {}))
    values = [rng.standard_normal(shape).astype("f4") for shape in weights]
    values = list(scale) if op == "batch_norm_inference" else values
    named = {f"w{k}": value for k, value in enumerate(values)}
    node = Node("n", op, ("x",), tuple(named), attrs, (0, 0, 0))
    deltas = [np.abs(rng.standard_normal(x.shape)) * size for x in tensors]
    bound = bounds.output_bound(node, tensors, deltas, named)
    wide = [value.astype("f8") for value in values]
    exact = OPERATORS[op].forward(*(x.astype("f8") for x in tensors), *wide, **attrs)
    worst = 0.0
    for number in range(60):
        off = [d * rng.uniform(-1, 1, d.shape) for d in deltas]
        off = [np.copysign(d, o) for d, o in zip(deltas, off, strict=True)] if number % 2 else off
        moved = [x + o for x, o in zip(tensors, off, strict=True)]
        got = OPERATORS[op].forward(*moved, *wide, **attrs)
        worst = max(worst, float(np.max(np.abs(got - exact)[bound > 0] / bound[bound > 0])))
        assert not (got != exact)[bound == 0].any()
    assert 1e-4 < worst <= 1, f"{op}: {worst} of the bound"


def random_orders(graph, weights, x, rng):
    """A port of the network that sums every convolution in an order of its own."""
    trace = {graph.input: x}
    for node in graph:
        operands = list(run.operands(node, trace, weights))
        if node.op == "conv2d":
            pairs = products(*operands[:2], node.attrs)
            bias = operands[2] if len(operands) > 2 else np.float32(0)
            trace[node.name] = summed(pairs, bias, rng.permutation(len(pairs)), "plain")
        else:
            trace[node.name], _ = run.apply(node, iter(operands), "any")       # NumPy's exp, its own sums
    return trace


@pytest.mark.parametrize("name", LAYERS)
def test_no_port_of_a_network_exceeds_the_bound(name, rng, capsys):
    """Chained and alone, with every sum in a random order, and NumPy's exponential for the declared one."""
    subject, x = stored(name)
    graph, weights, x = subject.graph, subject.weights, x[:1]
    delta = {graph.input: np.zeros(x.shape)}
    local, golden = {}, {graph.input: x}
    for step in run_network(graph, weights, x, "seq_fma"):
        still = [np.zeros(value.shape) for value in step.inputs]
        local[step.node.name] = bounds.output_bound(step.node, step.inputs, still, weights)
        reach = bounds.output_bound(step.node, step.inputs, [delta[key] for key in step.node.inputs], weights)
        delta[step.node.name] = bounds.rounded_up(reach).astype("f8")
        golden[step.node.name] = step.out
    shares = []
    for _ in range(12):
        trace = random_orders(graph, weights, x, rng)
        for node in graph:
            off = np.abs(trace[node.name].astype("f8") - golden[node.name])
            assert (off <= delta[node.name]).all(), node.name
            alone = run.apply(node, run.operands(node, golden, weights), "any")[0]
            assert (np.abs(alone.astype("f8") - golden[node.name]) <= local[node.name]).all(), node.name
        shares.append(np.max(off / np.maximum(delta[graph.output], 1e-300)))
    with capsys.disabled():
        print(f"\n{name}: the output uses {max(shares):.1e} of the network's bound")
    assert 0 < max(shares) <= 1


@pytest.mark.parametrize("name", NAMES)
def test_every_stored_network_has_a_bound(name):
    subject, x = stored(name)
    for step in run_network(subject.graph, subject.weights, x[:1], "seq"):
        bound = bounds.output_bound(step.node, step.inputs, [np.zeros(v.shape) for v in step.inputs], subject.weights)
        assert bound.shape == step.out.shape and np.isfinite(bound).all() and (bound >= 0).all()
        if step.node.op in ("concat", "upsample_nearest2d", "max_pool2d", "relu6"):
            assert not bound.any()


def test_nothing_is_promised_where_numbers_end(rng):
    node, x, weights = convolution(rng)
    x[0, 3, 5, 1] = np.nan
    x[1, 3, 5, 1] = 3e38
    bound = bounds.output_bound(node, [x], [np.zeros(x.shape)], weights)
    assert np.isinf(bound).any() and np.isfinite(bound).any()
    assert not np.isnan(bound).any()


def test_an_accumulator_s_bound_is_without_the_bias(rng):
    node, x, weights = convolution(rng)
    still = [np.zeros(x.shape)]
    acc, out = bounds.accumulator_bound(node, [x], still, weights), bounds.output_bound(node, [x], still, weights)
    assert (acc < out).all()


def test_rounding_up_never_shrinks_and_costs_little():
    values = np.concatenate([Draws(3, "up").spread((5000,), -140, 100).astype("f8"), [0.0, 2.0**-170, np.inf, 1.0]])
    values = np.abs(values)
    up = bounds.rounded_up(values)
    assert (up >= values).all() and up[-4] == 0 and up[-1] < 1.04
    normal = (values > 2.0**-126) & np.isfinite(values)
    assert (up[normal] <= values[normal] * (1 + 2.0**-4)).all()
    again = bounds.rounded_up(values * (1 - 2.0**-50))       # another machine's last bits
    np.testing.assert_array_equal(again, up)

"""Graphs made by hand: what does not fit is refused in a line with the layer's name, whoever is to run it."""

from dataclasses import replace

import numpy as np
import pytest
from random_graphs import draw, weights_of

from npunet import UNet, presets, run
from npunet.deploy import deploy
from npunet.differentiate import differentiate
from npunet.engine.runtime.engine import Engine
from npunet.formats.onnx import to_onnx
from npunet.golden import cgen
from npunet.graph import GraphBuilder, Node, WeightSpec
from npunet.graph_check import SHAPES, check_graph
from npunet.limits import Unsupported
from npunet.ops.table import OPERATORS
from npunet.weights import WeightStore

SEEDS = range(40)


def users(graph, weights, x):
    """Everything that takes a graph."""
    return {
        "infer": lambda: run.infer(graph, weights, x), "forward": lambda: run.forward(graph, weights, x),
        "deploy": lambda: deploy(graph, weights),
        "differentiate": lambda: differentiate(graph, weights, x, np.zeros(x.shape[:3], int),
                                               loss="sparse_categorical_crossentropy", l2=False),
        "engine": lambda: Engine(graph, WeightStore(weights, np.dtype(np.float32)), "seq_fma", 1),
        "onnx": lambda: to_onnx(graph, weights, (None, None, graph.input_shape[2])),
        "c": lambda: cgen.LIMITS.check(graph),
    }


def changed(graph, at, **fields):
    nodes = list(graph.nodes)
    nodes[at] = replace(nodes[at], **fields)
    return replace(graph, nodes=tuple(nodes))


def wrong(graph, rng):
    """The graph with one thing that does not fit, and the layer that must be named."""
    at = int(rng.integers(len(graph.nodes)))
    node, kind = graph.nodes[at], int(rng.integers(7))
    if kind == 0:
        axis = int(rng.integers(3))
        return changed(graph, at, shape=tuple(size + (place == axis) for place, size in enumerate(node.shape))), node
    if kind == 1 and node.weights:
        name = node.weights[int(rng.integers(len(node.weights)))]
        spec = graph.weights[name]
        axis = int(rng.integers(len(spec.shape)))
        shape = tuple(size + 1000 * (place == axis) for place, size in enumerate(spec.shape))
        return replace(graph, weights={**graph.weights, name: spec._replace(shape=shape)}), None
    if kind == 2:
        return changed(graph, at, inputs=(*node.inputs[:-1], "nowhere")), node
    if kind == 3:
        return changed(graph, at, op="convolve"), node
    if kind == 4 and node.attrs:
        first = min(node.attrs)
        return changed(graph, at, attrs={key: value for key, value in node.attrs.items() if key != first}), node
    if kind == 5:
        return changed(graph, at, shape=(*node.shape[:2], 0)), node
    return replace(graph, output="nowhere"), None


@pytest.mark.parametrize("seed", SEEDS)
def test_a_graph_with_one_thing_that_does_not_fit_is_refused_by_everybody(seed):
    graph, _, x = draw(seed)
    check_graph(graph)
    broken, node = wrong(graph, np.random.default_rng(seed))
    given = weights_of(broken, np.random.default_rng(1))
    unknown = any(node.op not in OPERATORS for node in broken)
    for name, use in users(broken, given, x).items():
        if unknown and name == "deploy":                                     # which leaves it as it is
            continue
        with pytest.raises(ValueError) as error:
            use()
        told = str(error.value)
        assert "\n" not in told and len(told) < 500, name
        assert node is None or node.name in told or isinstance(error.value, Unsupported), f"{name}: {told}"


def one(op, shapes, weights=(), shape=None, **attrs):
    """A graph of one layer on inputs that convolutions make of the graph's input."""
    net = GraphBuilder((6, 7, 3))
    for number, (height, width, channels) in enumerate(shapes):
        net.add(f"x{number}", "conv2d", (net.input,), (height, width, channels),
                (WeightSpec(f"x{number}/kernel", (7 - height, 8 - width, 3, channels), "zeros"),), stride=(1, 1),
                pads=((0, 0), (0, 0)), dilation=(1, 1))
    specs = tuple(WeightSpec(f"y/{number}", each, "zeros") for number, each in enumerate(weights))
    net.add("y", op, tuple(f"x{number}" for number in range(len(shapes))), shape, specs, **attrs)
    return net.build("y")


PLAIN = {"stride": (1, 1), "pads": ((0, 0), (0, 0)), "dilation": (1, 1)}


@pytest.mark.parametrize(("graph", "told"), [
    (one("conv2d", [(5, 5, 2)], [(3, 3, 4, 2)], (3, 3, 2), **PLAIN),
     r"its kernel has shape \(3, 3, 4, 2\), and it takes"),
    (one("conv2d", [(5, 5, 2)], [(3, 3, 2, 2)], (5, 5, 2), **PLAIN),
     r"its shape is \(5, 5, 2\), and conv2d of .* gives"),
    (one("conv2d", [(5, 5, 2)], [(3, 3, 2, 2), (3,)], (3, 3, 2), **PLAIN),
     r"its bias has shape \(3,\), and it takes \(2\)"),
    (one("conv2d", [(5, 5, 2)], [(7, 7, 2, 2)], (1, 1, 2), **PLAIN), "spans 7 positions, but the padded input has 5"),
    (one("conv2d", [(5, 5, 2)], [(3, 3, 2, 2)], (3, 3, 2), **{**PLAIN, "stride": (0, 1)}), "must be from 1 on"),
    (one("conv2d", [(5, 5, 2)], [(3, 3, 2, 2)], (3, 3, 2), **{**PLAIN, "pads": 1}), "its attributes do not fit"),
    (one("conv2d", [(5, 5, 2)], [], (3, 3, 2), **PLAIN), "conv2d with 0 weights; it takes 1 to 2"),
    (one("depthwise_conv2d", [(5, 5, 2)], [(1, 1, 2, 3)], (5, 5, 2), **PLAIN), "gives \\(5, 5, 6\\)"),
    (one("separable_conv2d", [(5, 5, 2)], [(1, 1, 2, 1), (1, 1, 3, 4)], (5, 5, 4), **PLAIN), "its pointwise kernel"),
    (one("add", [(5, 5, 2), (5, 5, 3)], [], (5, 5, 2)), "their shapes must be equal"),
    (one("add", [(5, 5, 2)], [], (5, 5, 2)), "add of 1 tensors; it takes 2"),
    (one("concat", [(5, 5, 2), (5, 4, 2)], [], (5, 5, 4)), "their heights and widths must be equal"),
    (one("concat", [(5, 5, 2), (5, 5, 2)], [], (5, 5, 3)), "gives \\(5, 5, 4\\)"),
    (one("max_pool2d", [(5, 5, 2)], [], (2, 2, 2), window=(2, 2), stride=(1, 1), pads=((0, 0), (0, 0))), "gives"),
    (one("upsample_nearest2d", [(5, 5, 2)], [], (10, 5, 2), factor=(2, 2)), "gives \\(10, 10, 2\\)"),
    (one("batch_norm_inference", [(5, 5, 2)], [(3,)] * 4, (5, 5, 2), eps=1e-3), "a weight has shape \\(3,\\)"),
    (one("layer_norm", [(5, 5, 2)], [(5, 2)] * 2, (5, 5, 2), axes=(1, 2), eps=1e-3), "a weight has shape \\(5, 2\\)"),
    (one("relu", [(5, 5, 2)], [], (5, 5, 3)), "gives \\(5, 5, 2\\)"),
    (one("relu", [(5, 5, 2)], [], (5, 5)), "must be \\(H, W, C\\)"),
    (one("relu", [(5, 5, 2)], [], (5, 5, 2.0)), "three whole numbers"),
])
def test_the_line_says_what_does_not_fit(graph, told):
    with pytest.raises(ValueError, match=rf"^y: .*{told}"):
        check_graph(graph)


def test_an_operator_that_is_not_there_is_refused():
    with pytest.raises(ValueError, match="y: there is no operator 'rely'; the nearest is 'relu'"):
        run.infer(one("rely", [(5, 5, 2)], [], (5, 5, 2)), {"x0/kernel": np.zeros((2, 3, 3, 2))},
                  np.zeros((1, 6, 7, 3)))


def test_weights_and_inputs_of_other_shapes_are_refused():
    graph, weights, x = draw(3)
    run.infer(graph, weights, x)
    name = next(iter(weights))
    node = next(node.name for node in graph if name in node.weights)
    for given, told in (({**weights, name: weights[name][None]}, f"{node}: its weight '{name}' has shape"),
                        ({key: value for key, value in weights.items() if key != name}, "is not given")):
        with pytest.raises(ValueError, match=told):
            run.infer(graph, given, x)
    for other in (x[0], x[:, :-1], x[..., :0], x[:, None]):
        with pytest.raises(ValueError, match="the input has shape"):
            run.infer(graph, weights, other)


def test_a_layer_may_not_be_called_twice_nor_read_what_comes_later():
    net = GraphBuilder((4, 4, 1))
    net.add("a", "relu", ("input",), (4, 4, 1))
    graph = net.build("a")
    twice = replace(graph, nodes=(*graph.nodes, Node("a", "relu", ("a",), (), {}, (4, 4, 1))))
    later = replace(graph, nodes=(Node("b", "relu", ("a",), (), {}, (4, 4, 1)), *graph.nodes))
    lacking = replace(graph, nodes=(Node("a", "layer_norm", ("input",), ("g", "b"), {"axes": (1, 2), "eps": 1e-3},
                                         (4, 4, 1)),))
    for broken, told in ((twice, "a: two layers are called so"), (later, "b: it reads 'a', which no layer before"),
                         (lacking, "a: it reads the weight 'g', which the graph does not have")):
        with pytest.raises(ValueError, match=told):
            check_graph(broken)


def test_every_operator_has_a_rule_and_every_preset_keeps_it():
    assert set(SHAPES) == set(OPERATORS)
    for name in presets.names():
        description = presets.load(name)
        model = UNet(description["architecture"]["params"], description["input_shape"], description["num_classes"])
        for graph in (model.graph, model.graph.for_training(), deploy(model.graph, model.weights.read_only)[0]):
            unmarked = replace(graph)  # who draws or lowers a network says that it is right
            assert not unmarked.checked
            check_graph(unmarked)

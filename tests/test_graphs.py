"""Random graphs of all operators: the engine gives the bits of the definition, or refuses with the layer's name."""

import os
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from engine_cases import ARITHMETICS, assert_same_bits
from random_graphs import draw, weights_of

from npunet import run
from npunet.deploy import deploy
from npunet.differentiate import differentiate
from npunet.engine.runtime import engine as runtime
from npunet.graph import GraphBuilder, WeightSpec
from npunet.limits import Unsupported
from npunet.ops.table import OPERATORS
from npunet.train.engine_step import EngineStep
from npunet.train.optimise import SGD
from npunet.weights import WeightStore

pytest.importorskip("numba")

CHUNK = 50
CHUNKS = range(60 if "NPUNET_THOROUGH" in os.environ else 6)
GRADIENTS = 5e-4  # as test_engine_step's
# Biases before a batch norm have no gradient but rounding errors of others': these are measured by the largest of all.
VANISHING = 1e-2
ROUNDING = 4  # times what NumPy is off in float32, anywhere: norms of norms cancel nearly all


@pytest.fixture(autouse=True)
def every_thread_works(monkeypatch):
    """Threads share whatever there is, however small."""
    monkeypatch.setattr("npunet.engine.runtime.runner.WORTH_A_THREAD", 1)


def engine_of(graph, weights, arithmetic="seq_fma", threads=1):
    return runtime.Engine(graph, WeightStore(weights, np.dtype(np.float32)), arithmetic, threads)


def assert_names_a_layer(error, graph, way_out):
    """A refusal begins with a layer's name and ends with the way out."""
    name = str(error).partition(": ")[0].removesuffix("/depthwise")
    assert name in {graph.input, *(node.name for node in graph)}, f"no layer is named: {error}"
    assert str(error).endswith(way_out), f"no way out: {error}"


@pytest.mark.parametrize("chunk", CHUNKS)
def test_the_engine_gives_the_bits_of_the_definition_or_refuses(chunk):
    right = 0
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        graph, weights, x = draw(seed)
        deployed = deploy(graph, weights)
        for arithmetic in ARITHMETICS:
            try:
                engine = engine_of(graph, weights, arithmetic, 1 + seed % 3)
            except Unsupported as error:
                assert_names_a_layer(error, graph, "use backend='numpy'")
                continue
            expected = run.infer(*deployed, x, arithmetic=arithmetic)
            assert_same_bits(engine(x), np.ascontiguousarray(expected), f"graph {seed}, {arithmetic} ")
            right += 1
    assert right >= CHUNK * len(ARITHMETICS) // 2, "most graphs are to be run"


@pytest.mark.parametrize("chunk", CHUNKS)
def test_a_deployed_graph_is_the_graph(chunk):
    """But for rounding: in float64 there is little of it."""
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        graph, weights, x = draw(seed)
        wide = {name: value.astype(np.float64) for name, value in weights.items()}
        x = x.astype(np.float64)
        expected, got = run.infer(graph, wide, x), run.infer(*deploy(graph, wide), x)
        np.testing.assert_allclose(got, expected, 1e-9, 1e-9 * np.abs(expected).max(), err_msg=f"graph {seed}")


def test_every_operator_is_drawn():
    """So that engine, C, ONNX and files of all of them are compared on graphs that hold it: see random_graphs."""
    drawn = {node.op for seed in range(600) for node in draw(seed)[0]}
    of_training = {"batch_norm_train", "dropout", "fake_quantize"}
    assert drawn == set(OPERATORS) - of_training, "tests/random_graphs.py does not draw all of npunet/ops/table.py"


class OneSize:
    """A model of one graph, as far as a training step asks."""

    def __init__(self, graph, weights):
        self.graph, self.weights, self.dtype = graph, weights, "float32"
        self.trainable = [name for name, spec in graph.weights.items() if spec.trainable]
        self.sizes = SimpleNamespace(graph=lambda size: graph, admit=lambda x, dtype: (x, None),
                                     admit_labels=lambda labels, images: labels)


def gaps(gradients, expected):
    """How far each tensor is off."""
    return {name: np.abs(value - expected[name]).max() for name, value in gradients.items()}


@pytest.mark.parametrize("chunk", CHUNKS)
def test_the_gradients_of_the_engine_are_near_or_refused(chunk):
    done = 0
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        graph, weights, x = draw(seed, trainable=True)
        rng = np.random.default_rng(seed)
        height, width, classes = graph.shape(graph.output)
        labels = rng.integers(0, classes, (len(x), height, width))
        masks = run.draw_masks(graph, len(x), rng, x.dtype)
        loss = "sparse_categorical_crossentropy"
        try:
            step = EngineStep(OneSize(graph, weights), SGD(), loss, l2=False, threads=1 + seed % 3)
            value = step.step(x, labels, 0.0, rng, masks=masks)
        except Unsupported as error:
            assert_names_a_layer(error, graph, "use NumpyStep")
            continue
        tensors = {**weights, **masks}
        wide = {name: value.astype(np.float64) for name, value in tensors.items()}
        narrow, expected = (differentiate(graph.for_training(), *given, labels, loss=loss, l2=False)
                            for given in ((tensors, x), (wide, x.astype(np.float64))))
        assert abs(value - expected.loss) <= 1e-5 * abs(expected.loss), f"graph {seed}"
        off = {name: gaps(gradients, expected.dweights) for name, gradients in
               (("engine", step.last_gradients()), ("numpy", narrow.dweights))}
        largest = max((np.abs(gradient).max() for gradient in expected.dweights.values()), default=0)
        rounding = ROUNDING * max(off["numpy"].values(), default=0)
        for name, gap in off["engine"].items():
            scale = max(np.abs(expected.dweights[name]).max(), VANISHING * largest)
            assert gap <= GRADIENTS * scale + rounding, f"graph {seed}, {name}: off by {gap:.2e} of {scale:.2e}"
        done += 1
    assert done >= CHUNK // 2, "most graphs are to be trained"


# graphs that ran to wrong numbers without a word, and their like


def one_layer(op, weights=(), shape=(5, 6, 3), out=None, inputs=("input",), **attrs):
    """(graph, weights) of one layer called "odd"; weights: shapes by name."""
    net = GraphBuilder(shape)
    specs = tuple(WeightSpec(f"odd/{name}", size, "he_normal") for name, size in weights)
    graph = net.build(net.add("odd", op, inputs, out or shape, specs, **attrs))
    return graph, weights_of(graph, np.random.default_rng(4))


CONV = {"stride": (1, 1), "pads": ((1, 1), (1, 1)), "dilation": (1, 1)}
KERNEL = ("kernel", (3, 3, 3, 4))


@pytest.mark.parametrize(("graph", "reason"), [
    (one_layer("conv2d", [KERNEL], out=(3, 3, 4), **{**CONV, "stride": (2, 2)}), r"'conv2d' with stride \(2, 2\)"),
    (one_layer("conv2d", [KERNEL], out=(3, 4, 4), **{**CONV, "pads": ((0, 0), (0, 0))}), "pads .* to .3, 4"),
    (one_layer("conv2d", [KERNEL], out=(5, 6, 4), **CONV, groups=3), "does not know the attribute 'groups'"),
    (one_layer("concat", inputs=("input",) * 3, out=(5, 6, 9)), "'concat' of 3 tensors"),
    (one_layer("layer_norm", [("gamma", (3,)), ("beta", (3,))], axes=(3,), eps=1e-3), r"over axes \(3,\)"),
    (one_layer("depthwise_conv2d", [("depthwise_kernel", (3, 3, 3, 2))], out=(5, 6, 6), **CONV), "multiplier of 2"),
    (one_layer("depthwise_conv2d", [("depthwise_kernel", (3, 3, 3, 1)), ("bias", (3,))], **CONV), "with a bias"),
    (one_layer("avg_pool2d", window=(1, 1), stride=(1, 1), pads=((0, 0), (0, 0))), "'avg_pool2d'"),
    (one_layer("max_pool2d", window=(1, 1), stride=(1, 1), pads=((0, 0), (0, 0)), ceil=True), "attribute 'ceil'"),
    (one_layer("upsample_nearest2d", factor=(1, 1), mode="bilinear"), "attribute 'mode'"),
    (one_layer("no_such"), "has no 'no_such'"),
    (one_layer("batch_norm_inference", [(name, (3,)) for name in "abcd"], eps=1e-3), "'batch_norm_inference'"),
])
def test_what_the_engine_cannot_do_it_refuses(graph, reason):
    with pytest.raises(Unsupported, match=rf"^odd: the engine .*{reason}.*; use backend='numpy'$"):
        engine_of(*graph)


def test_training_is_refused_before_anything_is_compiled(monkeypatch):
    monkeypatch.setattr("npunet.train.engine_step.TRAIN", lambda: pytest.fail("compiled"))
    graph, weights = one_layer("avg_pool2d", window=(1, 1), stride=(1, 1), pads=((0, 0), (0, 0)))
    with pytest.raises(Unsupported, match=r"^odd: the engine's training has no 'avg_pool2d'; use NumpyStep$"):
        EngineStep(OneSize(graph, weights), SGD(), "sparse_categorical_crossentropy", l2=False)


@pytest.mark.parametrize("eps", [1e-3, 1e-6, 0.5])
def test_every_constant_of_a_layer_norm(eps, rng):
    graph, weights = one_layer("layer_norm", [("gamma", (5, 6)), ("beta", (5, 6))], axes=(1, 2), eps=eps)
    x = 1e-2 * rng.standard_normal((2, 5, 6, 3)).astype(np.float32)
    assert_same_bits(engine_of(graph, weights)(x), run.infer(graph, weights, x, arithmetic="seq_fma"))


def test_one_tap_beside_its_own_position_waits_for_the_row_that_it_reads(rng):
    """A kernel of which a small image leaves one tap: no 1x1 convolution, though it has one tap."""
    net = GraphBuilder((2, 40, 9))
    unit = {"stride": (1, 1), "pads": ((0, 0), (0, 0)), "dilation": (1, 1)}
    net.add("a", "conv2d", ("input",), (2, 40, 16), (WeightSpec("a/kernel", (1, 1, 9, 16), ""),), **unit)
    below = {**unit, "pads": ((2, 1), (0, 0)), "dilation": (3, 1)}
    net.add("b", "conv2d", ("a",), (2, 40, 16), (WeightSpec("b/kernel", (2, 1, 16, 16), ""),), **below)
    graph = net.build("b")
    weights, x = weights_of(graph, rng), rng.standard_normal((1, 2, 40, 9)).astype(np.float32)
    for threads in (1, 2):
        assert_same_bits(engine_of(graph, weights, threads=threads)(x),
                         run.infer(graph, weights, x, arithmetic="seq_fma"))


def test_a_norm_is_folded_only_into_a_convolution_that_it_alone_reads(rng):
    net = GraphBuilder((3, 4, 2))
    unit = {"stride": (1, 1), "pads": ((0, 0), (0, 0)), "dilation": (1, 1)}
    net.add("conv", "conv2d", ("input",), (3, 4, 2), (WeightSpec("conv/kernel", (1, 1, 2, 2), ""),), **unit)
    names = ("gamma", "beta", "moving_mean", "moving_variance")
    net.add("bn", "batch_norm_inference", ("conv",), (3, 4, 2),
            tuple(WeightSpec(f"bn/{name}", (2,), "") for name in names), eps=1e-3)
    graph = net.build(net.add("sum", "add", ("bn", "conv"), (3, 4, 2)))
    weights, x = weights_of(graph, rng), rng.standard_normal((1, 3, 4, 2)).astype(np.float32)
    np.testing.assert_array_equal(run.infer(*deploy(graph, weights), x), run.infer(graph, weights, x))
    alone = replace(graph, nodes=graph.nodes[:2], output="bn")
    assert [node.op for node in deploy(alone, weights)[0]] == ["conv2d"]

"""Whoever adds an operator finds here what is missing: each is known to everybody, or listed as refused.

ops.table.Operator.without is the list. A failure names the operator and the file where its entry is missing.
"""

import importlib
import inspect
import pkgutil
import re
from typing import get_args

import numpy as np
import pytest
from engine_cases import assert_same_bits
from random_graphs import weights_of
from random_integers import random_network
from test_graphs import OneSize, engine_of, one_layer

from npunet import ops, run
from npunet.audit import bundle, drawing, explain_integer, parity_torch, rules
from npunet.differentiate import differentiate
from npunet.engine.plan.refusals import PREDICTION, TRAINING
from npunet.formats import keras_config, onnx
from npunet.formats.tflite.compose import WRITERS as TFLITE_INTEGERS
from npunet.formats.tflite.compose_float import WRITERS as TFLITE_FLOATS
from npunet.formats.tflite.compose_float import compose_float
from npunet.golden import backward, backward_bounds, cgen
from npunet.golden.bounds import BOUNDS
from npunet.golden.integer import readme, templates
from npunet.graph import GraphBuilder, WeightSpec
from npunet.graph_check import SHAPES
from npunet.inference import integer_receptive
from npunet.integer import check
from npunet.integer.ops import table_of_operators as integers
from npunet.integer.quantization.build import MAKERS, build
from npunet.integer.quantization.plan import CLAMPS, make_plan
from npunet.limits import Unsupported, entry_of
from npunet.ops.table import ACTIVATIONS, LOSSES, OPERATORS, Way
from npunet.params import UNetBlockParams
from npunet.train.engine_step import EngineStep
from npunet.train.optimise import SGD
from npunet.verify.diagnose import HYPOTHESES

KNOWN = {  # who knows which operators, and the file that says so
    "bound": ("npunet/golden/bounds.py", set(BOUNDS)),
    "gradients": ("npunet/golden/backward_bounds.py, or of backward.py for one that sums,", {
        name for name in backward_bounds.SIZES if not OPERATORS[name].sums or name in backward.DECLARED}),
    "C": ("LIMITS of npunet/golden/cgen.py, or in npunet/golden/templates/kernels.c", {
        name for name in cgen.LIMITS.rules if set(cgen.KERNELS.get(name, (name,))) <= set(cgen.sections())}),
    "ONNX": ("npunet/formats/onnx.py", set(onnx.LIMITS.rules)),
    "Keras": ("npunet/formats/keras_config.py", set(keras_config.KINDS)),
    "TFLite": ("npunet/formats/tflite/compose_float.py", set(TFLITE_FLOATS)),
    "engine": ("npunet/engine/plan/refusals.py", set(PREDICTION.rules)),
    "training": ("npunet/engine/plan/refusals.py", set(TRAINING.rules)),
    "integers": ("npunet/integer/quantization/build.py", {*MAKERS, *CLAMPS}),
    "diagnosis": ("npunet/verify/diagnose/", {name for each in HYPOTHESES.values() for name in each.ops}),
    "explain": ("npunet/audit/rules.py", set(rules.RULES)),
    "page": ("npunet/audit/web/network.js", set(bundle.operators("network", "OPERATORS"))),
    "PyTorch": ("npunet/audit/parity_torch.py", set(parity_torch.TORCH)),
}


# Lists that hold every operator, without exception: shapes are checked before anything runs, every layer is drawn.
WHOLE = {"npunet/graph_check.py": set(SHAPES), "npunet/audit/drawing.py": set(drawing.KINDS)}
# What the page's other scripts say of an operator of its list.
SCRIPTS = {"apart": "APART", "formulas": "FORMULAS", "wide": "WIDE"}
WITHOUT_TFLITE = {"table", "layer_norm"}  # of integers, which .tflite has not as they are defined here
OF_INTEGERS = {
    "npunet/integer/check.py": set(check.SHAPES),
    "npunet/inference/integer_receptive.py": set(integer_receptive.READS),
    "npunet/audit/explain_integer.py": set(explain_integer.RULES),
    "npunet/audit/web/integers.js (OF_ARRAYS)": set(bundle.operators("integers", "OF_ARRAYS")),
    "npunet/audit/web/integers.js (INTEGERS_MADE_OF)": set(bundle.operators("integers", "INTEGERS_MADE_OF")),
    "npunet/golden/integer/readme.py": set(readme.FORMULAS),
    "npunet/golden/integer/templates/kernels.c": {re.sub(r"_(8|16|32|64)$", "", name) for name in templates.sections()},
    "npunet/formats/tflite/compose.py": {*TFLITE_INTEGERS, *WITHOUT_TFLITE},
}


def test_every_way_is_asked():
    assert set(KNOWN) == set(get_args(Way))


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("way", KNOWN)
def test_everybody_knows_an_operator_or_refuses_it(way, name):
    (file, names), refused = KNOWN[way], way in OPERATORS[name].without
    assert name in names or refused, (
        f"{name!r} has no entry in {file}: write one, or list {way!r} in its `without` in npunet/ops/table.py")
    assert not (name in names and refused), (
        f"{name!r} has an entry in {file}: take {way!r} out of its `without` in npunet/ops/table.py")


@pytest.mark.parametrize("way", KNOWN)
def test_nobody_knows_an_operator_that_is_none(way):
    file, names = KNOWN[way]
    assert names <= set(OPERATORS), f"{file} knows {sorted(names - set(OPERATORS))}, npunet/ops/table.py does not"


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("file", WHOLE)
def test_no_list_leaves_an_operator_out(file, name):
    assert name in WHOLE[file], f"{name!r} has no entry in {file}"


@pytest.mark.parametrize("file", SCRIPTS)
def test_the_scripts_of_the_page_know_the_same_operators(file):
    known = KNOWN["page"][1]
    missing = known ^ set(bundle.operators(file, SCRIPTS[file]))
    assert not missing, f"npunet/audit/web/{file}.js and network.js do not both have {sorted(missing)}"


@pytest.mark.parametrize("name", integers.OPERATORS)
@pytest.mark.parametrize("file", OF_INTEGERS)
def test_everybody_knows_an_operator_of_integers(file, name):
    assert name in OF_INTEGERS[file], f"the operator {name!r} of integers has no entry in {file}"
    assert name in drawing.KINDS, f"the operator {name!r} of integers has no entry in npunet/audit/drawing.py"


def test_every_operator_of_integers_is_drawn():
    """So that engine, C and definition are compared on networks that hold it: see random_integers."""
    drawn = {node.op for seed in range(120) for node in random_network(seed)[0]}
    assert drawn == set(integers.OPERATORS), "tests/random_integers.py does not draw all integer operators"


def test_who_has_no_entry_refuses_with_the_name():
    node = one_layer("relu6")[0]["odd"]
    assert entry_of({"relu6": 6}, node, "the page", "see trace") == 6
    with pytest.raises(Unsupported, match=r"^odd: the page has no 'relu6'; see trace$"):
        entry_of({"relu": 6}, node, "the page", "see trace")


@pytest.mark.parametrize("pads", [((0, 2), (1, 1)), ((1, 1), (2, 0))])
def test_other_pads_are_refused_where_only_same_can_be_said(pads):
    attrs = {"stride": (1, 1), "pads": pads, "dilation": (1, 1)}
    graph, weights = one_layer("conv2d", [("kernel", (3, 3, 3, 4))], out=(5, 6, 4), **attrs)
    plan = make_plan(graph, weights, 2)
    ways = (lambda: keras_config.layers_of(graph, (5, 6, 3)), lambda: compose_float(graph, weights, (5, 6, 3), name=""),
            lambda: build(plan, dict.fromkeys(("input", "odd"), (-1.0, 1.0)), "int8", "D", name="",
                          input_shape=(5, 6, 3), output_shape=(5, 6, 4)))
    for way in ways:
        with pytest.raises(Unsupported, match=r"^odd: .* has no 'conv2d' with pads .*, only with SAME's .*; "):
            way()


def test_every_function_of_the_operators_is_in_the_table():
    listed = {op.forward for op in OPERATORS.values()} | {forward for forward, _ in LOSSES.values()}
    for found in pkgutil.iter_modules(ops.__path__):
        module = importlib.import_module(f"npunet.ops.{found.name}")
        for name, function in inspect.getmembers(module, inspect.isfunction):
            entry_point = name.endswith("1d_forward") or name == "l2_forward"
            if name.endswith("_forward") and function.__module__ == module.__name__ and not entry_point:
                assert function in listed, f"{name} of npunet/ops/{found.name}.py has no row in npunet/ops/table.py"


def test_every_operator_has_the_functions_of_its_name():
    for name, op in OPERATORS.items():
        assert (op.forward.__name__, op.backward.__name__) == (f"{name}_forward", f"{name}_backward")
        assert (op.slope_from is not None) == op.activation, f"{name}: slope_from is said of activations alone"


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_activation_has_its_kernel_in_the_engine(name, rng):
    assert UNetBlockParams(filters=3, activation=name).activation == name
    graph, weights = one_layer(name)
    x = 4 * rng.standard_normal((2, 5, 6, 3)).astype(np.float32)
    assert_same_bits(engine_of(graph, weights)(x), run.infer(graph, weights, x, arithmetic="seq_fma"),
                     f"npunet/engine/kernels/pointwise.py, {name} ")


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if "training" not in OPERATORS[name].without])
def test_every_activation_has_its_slope_in_the_engine(name, rng):
    net = GraphBuilder((5, 6, 3))
    net.add("conv", "conv2d", ("input",), (5, 6, 3), (WeightSpec("conv/kernel", (1, 1, 3, 3), "he_normal"),),
            stride=(1, 1), pads=((0, 0), (0, 0)), dilation=(1, 1))
    graph = net.build(net.add("act", name, ("conv",), (5, 6, 3)))
    weights = weights_of(graph, rng)
    x, labels = rng.standard_normal((2, 5, 6, 3)).astype(np.float32), rng.integers(0, 3, (2, 5, 6))
    loss = "sparse_categorical_crossentropy"
    step = EngineStep(OneSize(graph, weights), SGD(), loss, l2=False, threads=1)
    step.step(x, labels, 0.0, rng, masks={})
    wanted = differentiate(graph, weights, x, labels, loss=loss, l2=False).dweights["conv/kernel"]
    np.testing.assert_allclose(step.last_gradients()["conv/kernel"], wanted, rtol=1e-4, atol=1e-6,
                               err_msg=f"npunet/engine/training/kernels/activation_rows.py, {name}")

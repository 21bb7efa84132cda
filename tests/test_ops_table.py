"""Every operator can be called by name, in the one way that an executor knows."""

from types import SimpleNamespace

import numpy as np
import pytest

from npunet.graph import Node
from npunet.graph_check import SHAPES
from npunet.inference.receptive import read_by
from npunet.ops.table import OPERATORS

POOL = {"window": (3, 2), "stride": (2, 1), "pads": ((1, 1), (0, 1))}
CONV = {"stride": (2, 1), "pads": ((1, 0), (2, 1)), "dilation": (1, 3)}
X = (2, 7, 11, 3)
CALLS = {  # shapes of tensors and weights, attributes
    "conv2d": ([X, (3, 2, 3, 4), (4,)], CONV),
    "depthwise_conv2d": ([X, (3, 2, 3, 2), (6,)], CONV),
    "separable_conv2d": ([X, (3, 2, 3, 2), (1, 1, 6, 4), (4,)], CONV),
    "max_pool2d": ([X], POOL),
    "avg_pool2d": ([X], POOL),
    "upsample_nearest2d": ([X], {"factor": (2, 3)}),
    "batch_norm_inference": ([X, (3,), (3,), (3,), (3,)], {"eps": 1e-3}),
    "batch_norm_train": ([X, (3,), (3,)], {"eps": 1e-3}),
    "layer_norm": ([X, (7, 11), (7, 11)], {"axes": (1, 2), "eps": 1e-3}),
    "relu6": ([X], {}),
    "relu": ([X], {}),
    "leaky_relu": ([X], {}),
    "elu": ([X], {}),
    "selu": ([X], {}),
    "concat": ([X, (2, 7, 11, 2)], {}),
    "add": ([X, X], {}),
    "dropout": ([X, X], {}),
    "dropout_inference": ([X], {"rate": 0.25}),
    "fake_quantize": ([X], {"scale": 0.1, "zero_point": -3, "low": -128, "high": 127}),
    "softmax": ([X], {}),
}
CONVOLUTIONS = ["conv2d", "depthwise_conv2d", "separable_conv2d"]


def test_every_operator_is_called_here():
    assert set(CALLS) == set(OPERATORS)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex128])
def test_generic_call_keeps_shapes_and_dtype(rng, name, dtype):
    op, (shapes, attrs) = OPERATORS[name], CALLS[name]
    arrays = [rng.uniform(0.5, 2, shape).astype(dtype) for shape in shapes]
    result = op.forward(*arrays, **attrs, **({"arithmetic": "any"} if op.sums else {}))
    y, saves = result if isinstance(result, tuple) else (result, {})
    assert y.dtype == dtype
    gradients = op.backward(np.ones_like(y), *arrays, **attrs, **saves)
    assert len(gradients) == len(arrays)
    for gradient, array in zip(gradients, arrays, strict=True):
        assert gradient is None or (gradient.shape == array.shape and gradient.dtype == dtype)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_bias_may_be_left_out(rng, name):
    op, (shapes, attrs) = OPERATORS[name], CALLS[name]
    arrays = [rng.standard_normal(shape) for shape in shapes[:-1]]
    y = op.forward(*arrays, **attrs)
    assert np.array_equal(y, op.forward(*arrays, None, **attrs))
    gradients = op.backward(np.ones_like(y), *arrays, **attrs)
    assert gradients[-1] is None


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_costs_take_shapes(rng, name):
    op, (shapes, attrs) = OPERATORS[name], CALLS[name]
    y = op.forward(*(rng.standard_normal(shape) for shape in shapes), **attrs)
    cost = op.macs(y.shape[1:], *shapes[1:])
    assert cost == op.macs(y.shape[1:], *shapes[1:-1]) > y[0].size


def called(name, rng):
    """(operator, arrays, how many of them are tensors of a network, attributes)."""
    shapes, attrs = CALLS[name]
    tensors = sum(shape[:3] == X[:3] for shape in shapes)
    arrays = [rng.uniform(0.5, 2, shape) for shape in shapes]
    return OPERATORS[name], arrays, min(tensors, SHAPES[name][1][1]), attrs


def output_of(op, arrays, attrs):
    result = op.forward(*arrays, **attrs)
    return result if isinstance(result, tuple) else (result, {})


@pytest.mark.parametrize("name", OPERATORS)
def test_the_check_of_a_graph_knows_the_shape(rng, name):
    op, arrays, inputs, attrs = called(name, rng)
    rule, (fewest, most), least_weights, most_weights = SHAPES[name]
    assert fewest <= inputs <= most and least_weights <= len(arrays) - inputs <= most_weights
    found = rule(attrs, [a.shape[1:] for a in arrays[:inputs]], [a.shape for a in arrays[inputs:]])
    assert tuple(found) == output_of(op, arrays, attrs)[0].shape[1:], f"npunet/graph_check.py, {name}"


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("axis", [0, 1])
def test_what_an_output_reads_is_what_the_table_says(rng, name, axis):
    """A NaN in one row or column of the input reaches the outputs that depend on it, and no other."""
    op, arrays, inputs, attrs = called(name, rng)
    names = [f"w{number}" for number in range(len(arrays) - inputs)]
    graph = SimpleNamespace(shape=lambda tensor: arrays[0].shape[1:], weights={
        weight: SimpleNamespace(shape=array.shape) for weight, array in zip(names, arrays[inputs:], strict=True)})
    node = Node("odd", name, ("x",) * inputs, tuple(names), attrs, ())
    reached = []
    for at in range(arrays[0].shape[1 + axis]):
        x = arrays[0].copy()
        x[(slice(None),) * (1 + axis) + (at,)] = np.nan
        with np.errstate(invalid="ignore"):
            y, _ = output_of(op, [x, *arrays[1:]], attrs)
        reached.append(np.isnan(y).any((0, 2 - axis, 3)))
    for output, touched in enumerate(np.array(reached).T):
        read = read_by(node, axis, np.array([output]), graph)
        wanted = sorted({at for at in read if 0 <= at < len(touched)})
        assert list(np.flatnonzero(touched)) == wanted, f"npunet/ops/table.py, reads of {name}; output {output}"


@pytest.mark.parametrize("name", [name for name in OPERATORS if name != "fake_quantize"])  # whose gradient is declared
def test_gradients_are_those_of_the_forward(rng, name):
    """The derivative along a random direction, by a complex step, is the gradients' product with it."""
    op, arrays, _, attrs = called(name, rng)
    y, saves = output_of(op, arrays, attrs)
    dy = rng.standard_normal(y.shape)
    gradients = op.backward(dy, *arrays, **attrs, **saves)
    for number, (array, gradient) in enumerate(zip(arrays, gradients, strict=True)):
        if gradient is not None:
            direction = rng.standard_normal(array.shape)
            stepped = [other.astype(complex) for other in arrays]
            stepped[number] += 1e-30j * direction
            slope = output_of(op, stepped, attrs)[0].imag / 1e-30
            np.testing.assert_allclose((gradient * direction).sum(), (dy * slope).sum(), rtol=1e-9, atol=1e-9,
                                       err_msg=f"{op.backward.__module__}, operand {number} of {name}")


@pytest.mark.parametrize("name", OPERATORS)
def test_what_rounds_nothing_is_said_to(rng, name):
    """Values are moved and clamped only: in float32 they are what they are in float64."""
    op, arrays, _, attrs = called(name, rng)
    narrow = [8 * (array.astype(np.float32) - 1) for array in arrays]
    wide = [array.astype(np.float64) for array in narrow]
    if op.exact:
        np.testing.assert_array_equal(output_of(op, narrow, attrs)[0], output_of(op, wide, attrs)[0])
    assert (op.macs is not None) == any(len(shape) == 4 and shape[:3] != X[:3] for shape in CALLS[name][0]), (
        f"npunet/ops/table.py: macs are said of operators with kernels, {name}")

"""Every operator can be called by name, in the one way that an executor knows."""

import numpy as np
import pytest

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

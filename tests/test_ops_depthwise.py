"""Depthwise and separable convolution against their index-loop definitions and their own adjoints."""

import naive
import numpy as np
import pytest
from checks import check_adjoint, check_gradient, integers

from npunet.geometry import same_pads_2d
from npunet.ops.conv import conv2d_forward
from npunet.ops.depthwise import (
    depthwise_conv1d_backward,
    depthwise_conv1d_forward,
    depthwise_conv2d_backward,
    depthwise_conv2d_forward,
    depthwise_conv2d_macs,
    separable_conv2d_backward,
    separable_conv2d_forward,
    separable_conv2d_macs,
)

N, H, W, C, F = 2, 7, 11, 3, 4
AWKWARD = [  # kernel, multiplier, attributes
    ((3, 2), 1, {}),
    ((2, 5), 2, {"stride": (3, 2), "pads": ((0, 1), (3, 0)), "dilation": (2, 1)}),
    ((3, 5), 1, {"stride": (2, 3), "pads": same_pads_2d((H, W), (3, 5), (2, 3), (1, 2)), "dilation": (1, 2)}),
]


def arrays(rng, kernel, M, dtype):
    return [rng.standard_normal(shape).astype(dtype) for shape in ((N, H, W, C), (*kernel, C, M), (C * M,))]


def separable_arrays(rng, kernel, M, dtype):
    x, depthwise, _ = arrays(rng, kernel, M, dtype)
    return x, depthwise, rng.standard_normal((1, 1, C * M, F)).astype(dtype), rng.standard_normal(F).astype(dtype)


@pytest.mark.parametrize("kernel, M, attrs", AWKWARD)
@pytest.mark.parametrize("arithmetic", ["seq", "seq_fma"])
def test_declared_orders_are_the_definition(rng, kernel, M, attrs, arithmetic):
    x, w, b = arrays(rng, kernel, M, np.float32)
    expected = naive.depthwise_conv2d(x, w, b, **attrs, arithmetic=arithmetic)
    assert np.array_equal(depthwise_conv2d_forward(x, w, b, **attrs, arithmetic=arithmetic), expected)


@pytest.mark.parametrize("kernel, M, attrs", AWKWARD)
@pytest.mark.parametrize("arithmetic", ["seq", "seq_fma"])
def test_separable_declared_orders_are_the_definition(rng, kernel, M, attrs, arithmetic):
    inputs = separable_arrays(rng, kernel, M, np.float32)
    expected = naive.separable_conv2d(*inputs, **attrs, arithmetic=arithmetic)
    assert np.array_equal(separable_conv2d_forward(*inputs, **attrs, arithmetic=arithmetic), expected)


@pytest.mark.parametrize("kernel, M, attrs", AWKWARD)
@pytest.mark.parametrize("arithmetic", ["any", "seq", "seq_fma"])
def test_whole_numbers_are_exact_in_every_order(rng, kernel, M, attrs, arithmetic):
    x, w, b = (integers(rng, a.shape, np.float32) for a in arrays(rng, kernel, M, np.float32))
    got = depthwise_conv2d_forward(x, w, b, **attrs, arithmetic=arithmetic)
    assert np.array_equal(got, naive.depthwise_conv2d(x, w, b, **attrs))
    inputs = [integers(rng, a.shape, np.float32) for a in separable_arrays(rng, kernel, M, np.float32)]
    got = separable_conv2d_forward(*inputs, **attrs, arithmetic=arithmetic)
    assert np.array_equal(got, naive.separable_conv2d(*inputs, **attrs))


@pytest.mark.parametrize("kernel, M, attrs", AWKWARD)
def test_depthwise_is_a_dense_convolution_with_a_sparse_kernel(rng, kernel, M, attrs):
    x, w, b = arrays(rng, kernel, M, np.float64)
    dense = np.zeros((*kernel, C, C * M))
    for c in range(C):
        dense[:, :, c, c * M : (c + 1) * M] = w[:, :, c]
    expected = conv2d_forward(x, dense, b, **attrs)
    np.testing.assert_allclose(depthwise_conv2d_forward(x, w, b, **attrs), expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("kernel, M, attrs", AWKWARD)
def test_gradients(rng, kernel, M, attrs):
    named = dict(zip("xwb", arrays(rng, kernel, M, np.float64), strict=True))
    check_gradient(depthwise_conv2d_forward, depthwise_conv2d_backward, named, rng, **attrs)
    for name in named:
        check_adjoint(depthwise_conv2d_forward, depthwise_conv2d_backward, named, name, rng, **attrs)


@pytest.mark.parametrize("kernel, M, attrs", AWKWARD)
def test_separable_gradients(rng, kernel, M, attrs):
    inputs = separable_arrays(rng, kernel, M, np.float64)
    named = dict(zip(("x", "depthwise_kernel", "pointwise_kernel", "bias"), inputs, strict=True))
    check_gradient(separable_conv2d_forward, separable_conv2d_backward, named, rng, **attrs)
    for name in named:
        check_adjoint(separable_conv2d_forward, separable_conv2d_backward, named, name, rng, **attrs)


def test_gradients_without_bias(rng):
    x, depthwise, pointwise, _ = separable_arrays(rng, (3, 2), 2, np.float64)
    named = {"x": x, "depthwise_kernel": depthwise, "pointwise_kernel": pointwise, "bias": None}
    check_gradient(separable_conv2d_forward, separable_conv2d_backward, named, rng)
    check_gradient(depthwise_conv2d_forward, depthwise_conv2d_backward, {"x": x, "w": depthwise, "b": None}, rng)


def test_1d_is_2d_with_one_row(rng):
    x, w, b = rng.standard_normal((2, 11, 3)), rng.standard_normal((4, 3, 2)), rng.standard_normal(6)
    attrs = {"stride": 2, "pads": (3, 1), "dilation": 3}
    x32, w32, b32 = (a.astype(np.float32) for a in (x, w, b))
    flat = {"stride": (1, 2), "pads": ((0, 0), (3, 1)), "dilation": (1, 3), "arithmetic": "seq_fma"}
    expected = naive.depthwise_conv2d(x32[:, None], w32[None], b32, **flat)[:, 0]
    assert np.array_equal(depthwise_conv1d_forward(x32, w32, b32, **attrs, arithmetic="seq_fma"), expected)
    named = {"x": x, "w": w, "b": b}
    check_gradient(depthwise_conv1d_forward, depthwise_conv1d_backward, named, rng, **attrs)


def test_cost_counts_every_product():
    assert depthwise_conv2d_macs((5, 6, 14), (3, 2, 7, 2), (14,)) == 5 * 6 * 14 * 3 * 2
    assert separable_conv2d_macs((5, 6, 4), (3, 2, 7, 2), (1, 1, 14, 4), (4,)) == 5 * 6 * (14 * 3 * 2 + 14 * 4)


def test_channels_that_differ_are_named(rng):
    x, w, _ = arrays(rng, (3, 2), 1, np.float32)
    with pytest.raises(ValueError, match=r"x \(2, 7, 11, 2\) and w \(3, 2, 3, 1\) do not fit"):
        depthwise_conv2d_forward(x[..., :2], w)

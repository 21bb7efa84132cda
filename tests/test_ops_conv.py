"""Dense convolution against its index-loop definition, SciPy, and its own adjoint."""

import naive
import numpy as np
import pytest
from checks import check_adjoint, check_gradient, integers
from scipy.signal import correlate

from npunet.geometry import same_pads_2d
from npunet.ops.conv import (
    conv1d_backward,
    conv1d_forward,
    conv2d_backward,
    conv2d_forward,
    conv2d_macs,
)

N, H, W, C, F = 2, 7, 11, 3, 4
AWKWARD = [  # kernel, attributes
    ((3, 2), {}),
    ((2, 5), {"stride": (3, 2), "pads": ((0, 1), (3, 0)), "dilation": (2, 1)}),
    ((3, 1), {"stride": (1, 2), "pads": ((2, 1), (0, 1)), "dilation": (3, 2)}),
    ((3, 5), {"stride": (2, 3), "pads": same_pads_2d((H, W), (3, 5), (2, 3), (1, 2)), "dilation": (1, 2)}),
    ((9, 4), {"pads": same_pads_2d((H, W), (9, 4))}),
    ((1, 1), {}),
    ((1, 1), {"stride": (2, 3)}),
]


def arrays(rng, kernel, dtype, draw=None):
    draw = draw or (lambda shape: rng.standard_normal(shape).astype(dtype))
    return draw((N, H, W, C)), draw((*kernel, C, F)), draw((F,))


@pytest.mark.parametrize("kernel, attrs", AWKWARD)
@pytest.mark.parametrize("arithmetic", ["seq", "seq_fma"])
def test_declared_orders_are_the_definition(rng, kernel, attrs, arithmetic):
    x, w, b = arrays(rng, kernel, np.float32)
    expected = naive.conv2d(x, w, b, **attrs, arithmetic=arithmetic)
    got = conv2d_forward(x, w, b, **attrs, arithmetic=arithmetic)
    assert got.dtype == np.float32
    assert np.array_equal(got, expected)


def test_the_declared_orders_differ(rng):
    """Otherwise the tests above could not tell them apart."""
    x, w, b = arrays(rng, (3, 2), np.float32)
    results = [conv2d_forward(x, w, b, arithmetic=arithmetic) for arithmetic in ("seq", "seq_fma")]
    assert np.mean(results[0] != results[1]) > 0.1


@pytest.mark.parametrize("kernel, attrs", AWKWARD)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_numbers_are_exact_in_every_order(rng, kernel, attrs, dtype):
    x, w, b = arrays(rng, kernel, dtype, lambda shape: integers(rng, shape, dtype))
    expected = naive.conv2d(x, w, b, **attrs)
    for arithmetic in ("any", "seq", "seq_fma")[: 3 if dtype == np.float32 else 2]:
        assert np.array_equal(conv2d_forward(x, w, b, **attrs, arithmetic=arithmetic), expected)


@pytest.mark.parametrize("kernel, attrs", AWKWARD)
@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_any_agrees_with_scipy(rng, kernel, attrs, dtype):
    x, w, b = arrays(rng, kernel, dtype)
    if dtype == np.complex128:
        x, w = x + 1j * rng.standard_normal(x.shape), w * (1 - 2j)
    stride, dilation = attrs.get("stride", (1, 1)), attrs.get("dilation", (1, 1))
    padded = np.pad(x, ((0, 0), *attrs.get("pads", ((0, 0), (0, 0))), (0, 0)))
    spread = np.zeros((*((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)), C, F), dtype)
    spread[:: dilation[0], :: dilation[1]] = w
    # SciPy conjugates its second argument, convolution as defined here does not
    planes = [[correlate(image, spread[..., f].conj(), "valid")[..., 0] for f in range(F)] for image in padded]
    expected = np.moveaxis(np.array(planes), 1, 3)[:, :: stride[0], :: stride[1]] + b
    got = conv2d_forward(x, w, b, **attrs)
    assert got.dtype == dtype
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel, attrs", AWKWARD)
def test_gradients(rng, kernel, attrs):
    named = dict(zip("xwb", arrays(rng, kernel, np.float64), strict=True))
    check_gradient(conv2d_forward, conv2d_backward, named, rng, **attrs)
    for name in named:
        check_adjoint(conv2d_forward, conv2d_backward, named, name, rng, **attrs)


def test_gradients_without_bias(rng):
    x, w, _ = arrays(rng, (3, 2), np.float64)
    check_gradient(conv2d_forward, conv2d_backward, {"x": x, "w": w, "b": None}, rng, stride=(2, 1))


def test_weight_gradients_of_float32_are_rounded_once(rng):
    x, w, b = arrays(rng, (3, 2), np.float32)
    dy = rng.standard_normal(conv2d_forward(x, w).shape).astype(np.float32)
    wide = conv2d_backward(*(a.astype(np.float64) for a in (dy, x, w, b)))
    narrow = conv2d_backward(dy, x, w, b)
    assert [g.dtype for g in narrow] == [np.float32] * 3
    for got, exact in zip(narrow[1:], wide[1:], strict=True):
        # half a unit in the last place and a breath of float64
        np.testing.assert_array_less(np.abs(got - exact), 0.500001 * np.spacing(np.abs(got)))


def test_inputs_are_left_alone(rng):
    x, w, b = arrays(rng, (3, 2), np.float32)
    copies = [a.copy() for a in (x, w, b)]
    for arithmetic in ("any", "seq", "seq_fma"):
        dy = conv2d_forward(x, w, b, arithmetic=arithmetic)
        conv2d_backward(dy, x, w, b)
    assert all(np.array_equal(a, c) for a, c in zip((x, w, b), copies, strict=True))


@pytest.mark.parametrize("arithmetic", ["any", "seq", "seq_fma"])
def test_1d_is_2d_with_one_row(rng, arithmetic):
    x, w, b = (integers(rng, shape, np.float32) for shape in ((2, 11, 3), (4, 3, 2), (2,)))
    got = conv1d_forward(x, w, b, stride=2, pads=(3, 1), dilation=3, arithmetic=arithmetic)
    attrs = {"stride": (1, 2), "pads": ((0, 0), (3, 1)), "dilation": (1, 3)}
    assert np.array_equal(got, naive.conv2d(x[:, None], w[None], b, **attrs)[:, 0])


def test_1d_gradients(rng):
    named = {"x": rng.standard_normal((2, 11, 3)), "w": rng.standard_normal((4, 3, 2)), "b": rng.standard_normal(2)}
    check_gradient(conv1d_forward, conv1d_backward, named, rng, stride=2, pads=(3, 1), dilation=3)


def test_cost_counts_every_product():
    assert conv2d_macs((5, 6, 4), (3, 2, 7, 4), (4,)) == 5 * 6 * 4 * 3 * 2 * 7


def test_channels_that_differ_are_named(rng):
    x, w, _ = arrays(rng, (3, 2), np.float32)
    with pytest.raises(ValueError, match=r"x \(2, 7, 11, 2\) and w \(3, 2, 3, 4\) do not fit"):
        conv2d_forward(x[..., :2], w)


def test_a_kernel_larger_than_the_image_is_named(rng):
    x, w, _ = arrays(rng, (3, 2), np.float32)
    with pytest.raises(ValueError, match="spans 9 positions, but the padded input has 8"):
        conv2d_forward(x, w, dilation=(4, 1), pads=((1, 0), (0, 0)))

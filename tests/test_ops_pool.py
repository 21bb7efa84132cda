"""Max and average pooling: values, gradients, ties, padding, NaN."""

import naive
import numpy as np
import pytest
from checks import assert_close, check_adjoint, check_gradient

from npunet.geometry import same_pads_2d
from npunet.ops.pool import (
    avg_pool1d_backward,
    avg_pool1d_forward,
    avg_pool2d_backward,
    avg_pool2d_forward,
    max_pool1d_backward,
    max_pool1d_forward,
    max_pool2d_backward,
    max_pool2d_forward,
)

N, H, W, C = 2, 7, 11, 3
AWKWARD = [
    {"window": (2, 3), "stride": (2, 1)},
    {"window": (3, 2), "stride": (1, 2), "pads": ((2, 1), (0, 1))},
    {"window": (1, 3), "stride": (2, 3), "pads": ((0, 0), (2, 1))},
    {"window": (3, 4), "stride": (2, 3), "pads": same_pads_2d((H, W), (3, 4), (2, 3))},
    {"window": (9, 2), "stride": (4, 1), "pads": same_pads_2d((H, W), (9, 2), (4, 1))},
]


@pytest.mark.parametrize("attrs", AWKWARD)
def test_values_are_the_definition(rng, attrs):
    x = rng.standard_normal((N, H, W, C)).astype(np.float32) - 3  # below 0: padding of 0 would show
    attrs = {"pads": ((0, 0), (0, 0)), **attrs}
    assert np.array_equal(max_pool2d_forward(x, **attrs), naive.max_pool2d(x, **attrs))
    assert np.array_equal(avg_pool2d_forward(x, **attrs), naive.avg_pool2d(x, **attrs))


@pytest.mark.parametrize("attrs", AWKWARD)
def test_gradients(rng, attrs):
    x = {"x": rng.standard_normal((N, H, W, C))}
    check_gradient(max_pool2d_forward, max_pool2d_backward, x, rng, **attrs)
    check_gradient(avg_pool2d_forward, avg_pool2d_backward, x, rng, **attrs)
    check_adjoint(avg_pool2d_forward, avg_pool2d_backward, x, "x", rng, **attrs)


def test_ties_go_to_the_first_in_window_order():
    """Row by row, so the right of the upper row comes before the left of the lower one."""
    x = np.array([[0.0, 5, 0], [5, 5, 0]]).reshape(1, 2, 3, 1)
    (dx,) = max_pool2d_backward(np.full((1, 1, 2, 1), 2.0), x, window=(2, 2), stride=(1, 1))
    assert np.array_equal(dx[0, :, :, 0], [[0, 4, 0], [0, 0, 0]])


@pytest.mark.parametrize("attrs", AWKWARD)
def test_every_gradient_goes_to_one_place(attrs):
    """With all values equal, and at minus infinity as well: padding takes nothing."""
    for constant in (6.0, -np.inf):
        x = np.full((N, H, W, C), constant)
        dy = np.ones_like(max_pool2d_forward(x, **attrs))
        (dx,) = max_pool2d_backward(dy, x, **attrs)
        assert dx.sum() == dy.sum()


def test_padding_never_wins():
    x = np.full((1, 1, 3, 1), -1e30, np.float32)
    attrs = {"window": (1, 3), "stride": (1, 2), "pads": ((0, 0), (1, 1))}
    assert np.all(max_pool2d_forward(x, **attrs) == np.float32(-1e30))
    assert np.all(avg_pool2d_forward(np.ones_like(x), **attrs) == 1)


def test_nan_wins_and_takes_the_gradient():
    x = np.array([1.0, np.nan, 9, 2, 3, 4]).reshape(1, 1, 6, 1)
    attrs = {"window": (1, 3), "stride": (1, 3)}
    y = max_pool2d_forward(x, **attrs)
    assert np.isnan(y[0, 0, 0, 0]) and y[0, 0, 1, 0] == 4
    (dx,) = max_pool2d_backward(np.ones_like(y), x, **attrs)
    assert np.array_equal(dx.ravel(), [0, 1, 0, 0, 0, 1])


def test_1d_is_2d_with_one_row(rng):
    x = rng.standard_normal((2, 11, 3))
    attrs, flat = {"window": 4, "stride": 3, "pads": (1, 2)}, {"window": (1, 4), "stride": (1, 3)}
    flat["pads"] = ((0, 0), (1, 2))
    assert np.array_equal(max_pool1d_forward(x, **attrs), naive.max_pool2d(x[:, None], **flat)[:, 0])
    assert_close("y", avg_pool1d_forward(x, **attrs), naive.avg_pool2d(x[:, None], **flat)[:, 0])
    check_gradient(max_pool1d_forward, max_pool1d_backward, {"x": x}, rng, **attrs)
    check_gradient(avg_pool1d_forward, avg_pool1d_backward, {"x": x}, rng, **attrs)


@pytest.mark.parametrize("forward", [max_pool2d_forward, avg_pool2d_forward])
def test_a_window_of_padding_alone_is_refused(forward):
    with pytest.raises(ValueError, match="a pad of 3 leaves a window of 3 with nothing inside"):
        forward(np.ones((1, 4, 5, 1)), window=(2, 3), stride=(1, 1), pads=((0, 1), (0, 3)))

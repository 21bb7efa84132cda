"""The error bounds hold for every order, and are not so wide as to hold for a wrong result."""

import numpy as np
import pytest

from npunet.ops.bounds import conv2d_bound, depthwise_conv2d_bound, gamma
from npunet.ops.conv import conv2d_forward
from npunet.ops.depthwise import depthwise_conv2d_forward

ATTRS = {"stride": (2, 1), "pads": ((1, 0), (2, 1)), "dilation": (1, 3)}
DENSE, DEPTHWISE = (conv2d_forward, conv2d_bound, 4), (depthwise_conv2d_forward, depthwise_conv2d_bound, 3)


def arrays(rng, F, biased):
    b = rng.standard_normal(F).astype(np.float32) if biased else None
    last = 4 if F == 4 else 1
    w = rng.standard_normal((3, 2, 3, last)).astype(np.float32)
    return rng.standard_normal((2, 7, 11, 3)).astype(np.float32), w, b


@pytest.mark.parametrize("forward, bound, F", [DENSE, DEPTHWISE])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("arithmetic", ["any", "seq", "seq_fma"])
def test_every_order_is_inside(rng, forward, bound, F, biased, arithmetic):
    inputs = arrays(rng, F, biased)
    exact = forward(*(None if a is None else a.astype(np.float64) for a in inputs), **ATTRS)
    error = np.abs(forward(*inputs, **ATTRS, arithmetic=arithmetic) - exact)
    limit = bound(*inputs, **ATTRS)
    assert limit.shape == exact.shape
    share = np.max(error / limit)
    assert 0.02 < share <= 1


@pytest.mark.parametrize("forward, bound, F", [DENSE, DEPTHWISE])
def test_one_product_left_out_is_outside(rng, forward, bound, F):
    x, w, b = arrays(rng, F, True)
    less = w.copy()
    less[1, 1, 2] = 0
    error = np.abs(forward(x, less, b, **ATTRS) - forward(x, w, b, **ATTRS))
    assert np.mean(error > bound(x, w, b, **ATTRS)) > 0.25


def test_subnormal_results_are_inside(rng):
    x, w, _ = arrays(rng, 4, False)
    x, w = x * np.float32(2.0**-70), w * np.float32(2.0**-76)
    exact = conv2d_forward(x.astype(np.float64), w.astype(np.float64), **ATTRS)
    for arithmetic in ("seq", "seq_fma"):
        error = np.abs(conv2d_forward(x, w, **ATTRS, arithmetic=arithmetic) - exact)
        assert np.max(error) > 0 and np.all(error <= conv2d_bound(x, w, **ATTRS))


def test_gamma():
    assert gamma(0) == 0
    assert gamma(1) == 2.0**-24 / (1 - 2.0**-24)

"""The declared exponential: its bits, its error, its limits."""

import naive
import numpy as np
import pytest

from npunet.ops.exponential import HIGHEST, LOWEST, exp32, expm1_32


def largest_ulp(got, exact):
    """Largest error in units of the last place of the exact result."""
    return float(np.max(np.abs(got - exact) / np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)))


@pytest.mark.parametrize("low, high", [(-87.3365, 0), (0, 88.7228), (-0.4, 0.4)])
def test_exp_is_within_one_ulp(low, high):
    x = np.linspace(low, high, 1_000_001).astype(np.float32)
    assert largest_ulp(exp32(x), np.exp(x.astype(np.float64))) <= 1.0


def test_expm1_is_within_two_ulp():
    near_zero = np.geomspace(1e-37, 1, 200_000)
    x = np.concatenate([np.linspace(-30, 30, 1_000_001), near_zero, -near_zero]).astype(np.float32)
    x = x[x != 0]
    assert largest_ulp(expm1_32(x), np.expm1(x.astype(np.float64))) <= 2.0


def test_bits_are_the_definition(rng):
    x = np.concatenate([rng.uniform(-90, 90, 2000), rng.standard_normal(1000), [LOWEST, HIGHEST, 0]]).astype(np.float32)
    assert np.array_equal(exp32(x), np.array([naive.exp32(v) for v in x], np.float32))
    assert np.array_equal(expm1_32(x), np.array([naive.expm1_32(v) for v in x], np.float32))


def test_limits():
    below, above = np.nextafter(LOWEST, np.float32(-100)), np.nextafter(HIGHEST, np.float32(100))
    x = np.array([-np.inf, below, LOWEST, 0, HIGHEST, above, np.inf], np.float32)
    y = exp32(x)
    assert np.array_equal(y[[0, 1, 3, 5, 6]], [0, 0, 1, np.inf, np.inf])
    assert 2.0**-126 <= y[2] < 1.00001 * 2.0**-126, "LOWEST is the last normal result"
    assert 3.4e38 < y[4] < np.inf
    assert np.exp(float(below)) < 2.0**-126 and np.exp(float(above)) > np.finfo(np.float32).max
    z = expm1_32(x)
    assert np.array_equal(z[[0, 1, 2, 3, 5, 6]], [-1, -1, -1, 0, np.inf, np.inf])
    assert z[4] == y[4]


def test_nan_stays_nan():
    assert np.isnan(exp32(np.float32([np.nan]))).all() and np.isnan(expm1_32(np.float32([np.nan]))).all()


@pytest.mark.parametrize("function", [exp32, expm1_32])
def test_other_dtypes_are_refused(function):
    with pytest.raises(TypeError, match="float32, not float64"):
        function(np.zeros(3))

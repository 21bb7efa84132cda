"""Activations: values, smooth gradients, kinks pinned exactly."""

import naive
import numpy as np
import pytest
from checks import assert_close, check_gradient

from npunet.ops import activation as act

SLOPE = float.fromhex("0x1.99999ap-3")  # 0.2 in float32, which the reference uses in float64 too
SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772
PAIRS = {
    name: (getattr(act, f"{name}_forward"), getattr(act, f"{name}_backward"))
    for name in ("relu6", "relu", "leaky_relu", "elu", "selu")
}
FORMULAS = {
    "relu6": lambda v: min(max(v, 0), 6),
    "relu": lambda v: max(v, 0),
    "leaky_relu": lambda v: v if v > 0 else SLOPE * v,
    "elu": lambda v: v if v > 0 else np.expm1(v),
    "selu": lambda v: SCALE * (v if v > 0 else ALPHA * np.expm1(v)),
}
# the gradient at every kink, as the reference has it
KINKS = [
    ("relu6", 0.0, 0.0),
    ("relu6", 6.0, 0.0),
    ("relu", 0.0, 0.0),
    ("leaky_relu", 0.0, SLOPE),
    ("elu", 0.0, 1.0),
    ("selu", 0.0, SCALE),
]


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values(rng, name, dtype):
    x = (rng.standard_normal((2, 7, 11, 3)) * 5).astype(dtype)
    expected = np.array([FORMULAS[name](v) for v in x.astype(np.float64).ravel()]).reshape(x.shape)
    y = PAIRS[name][0](x)
    assert y.dtype == dtype
    assert_close("y", y, expected, 1e-6 if dtype == np.float32 else 1e-15)


@pytest.mark.parametrize("name", PAIRS)
def test_gradients(rng, name):
    x = rng.standard_normal((2, 3, 5, 4)) * 5
    assert (x > 6).any() and (x < 0).any()
    check_gradient(*PAIRS[name], {"x": x}, rng)


@pytest.mark.parametrize("name, place, slope", KINKS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_kinks(name, place, slope, dtype):
    for zero in {place, -place} if place == 0 else {place}:
        x = np.array([zero], dtype)
        (dx,) = PAIRS[name][1](np.array([3], dtype), x)
        assert dx.dtype == dtype
        assert dx[0] == dtype(slope) * dtype(3)


@pytest.mark.parametrize("name", ["relu6", "relu"])
def test_zeros_come_out_positive(name):
    y = PAIRS[name][0](np.float32([-0.0, 0.0, -1.0]))
    assert not np.signbit(y).any()


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [np.float32, np.complex128])
def test_nan_stays_nan_and_extremes_stay_quiet(name, dtype):
    y = PAIRS[name][0](np.array([np.nan, 1e30, -1e30], dtype))
    assert np.isnan(y[0]) and np.isfinite(y[1:].real).all()


@pytest.mark.parametrize("arithmetic", ["seq", "seq_fma"])
def test_declared_elu_and_selu_are_bit_defined(rng, arithmetic):
    x = (rng.standard_normal(500) * 5).astype(np.float32)
    bent = np.array([naive.expm1_32(v) for v in x], np.float32)
    assert np.array_equal(act.elu_forward(x, arithmetic=arithmetic), np.where(x > 0, x, bent))
    expected = np.where(x > 0, np.float32(SCALE) * x, np.float32(SCALE * ALPHA) * bent)
    assert np.array_equal(act.selu_forward(x, arithmetic=arithmetic), expected)

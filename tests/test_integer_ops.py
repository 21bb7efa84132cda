"""The integer operators against a second writing of them, and fixed point against its definition."""

import math
from fractions import Fraction

import integer_naive as naive
import numpy as np
import pytest

from npunet.integer import fixed_point
from npunet.integer.ops import norm, softmax, softmax16, table
from npunet.integer.ops.table_of_operators import OPERATORS, ROUNDED
from npunet.ops.norm import layer_norm_forward

CLAMP = {"act_min": -100, "act_max": 90}
ROUNDINGS = fixed_point.ROUNDINGS


def factors(rng, count=None):
    """Multipliers of 31 bits and shifts about where a convolution's are; one left shift among them."""
    multiplier = rng.integers(2**30, 2**31, count)
    shift = rng.integers(-12, -4, count)
    return {"multiplier": multiplier.astype(np.int32) if count else int(multiplier),
            "shift": shift.astype(np.int32) if count else int(shift)}


def bits(rng, shape, dtype="int8"):
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max + 1
    return rng.integers(low, high, shape).astype(np.int64)


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_requantize_is_its_formula(rounding, rng):
    x = np.concatenate([rng.integers(-(2**24), 2**24, 4000), [0, 1, -1, 2, -2, 3, -3]])
    for shift in (-31, -17, -8, -2, -1, 0, 1, 5):
        for multiplier in (0, 2**30, 2**30 + 1, 3 * 2**29, 2**31 - 1, int(rng.integers(2**30, 2**31))):
            got = fixed_point.requantize(x, multiplier, shift, rounding)
            expected = [naive.requantize(int(value), multiplier, shift, rounding) for value in x]
            np.testing.assert_array_equal(got, expected)


def test_the_two_roundings_differ_as_they_should():
    """3 * 2^30 * 2^-32 is 0.75 exactly: both give 1. -1.5 / 2: doubly rounded -1, then away from zero."""
    assert fixed_point.requantize(-1, 2**30, 0, "D") == 0 and fixed_point.requantize(-1, 2**30, 0, "S") == 0
    assert fixed_point.requantize(-3, 2**30, -1, "D") == -1 and fixed_point.requantize(-3, 2**30, -1, "S") == -1
    assert fixed_point.requantize(-6, 2**30, -1, "D") == -2 and fixed_point.requantize(-6, 2**30, -1, "S") == -1
    with pytest.raises(ValueError, match="rounding='X' must be one of D, S"):
        fixed_point.requantize(1, 2**30, 0, "X")


def test_requantize_64_is_its_formula(rng):
    x = np.concatenate([rng.integers(-(2**46), 2**46, 3000), [0, 1, -1]])
    for shift in (-31, -20, -9, -1, 0, 3):
        for multiplier in (0, 2**30, 0x7FFEFFFF, 0x7FFF0000, 2**31 - 1, int(rng.integers(2**30, 2**31))):
            got = fixed_point.requantize_64(x, multiplier, shift)
            np.testing.assert_array_equal(got, [naive.requantize_64(int(value), multiplier, shift) for value in x])


def test_a_multiplier_is_within_half_a_unit_of_its_factor(rng):
    for scale in [*np.exp(rng.uniform(-20, 6, 500)), 1.0, 0.5, 1 - 2.0**-33, 2.0**-31, 2.0**-32]:
        multiplier, shift = fixed_point.quantize_multiplier(float(scale))
        assert 2**30 <= multiplier < 2**31
        stored = Fraction(multiplier) * Fraction(2) ** (shift - 31)
        assert abs(stored - Fraction(float(scale))) <= Fraction(2) ** (shift - 32)
    assert fixed_point.quantize_multiplier(0.0) == fixed_point.quantize_multiplier(2.0**-34) == (0, 0)
    for bad in (-1.0, math.nan, math.inf, 2.0**31):
        with pytest.raises(ValueError, match="a factor of"):
            fixed_point.quantize_multiplier(bad)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "pads", "dilation"), [
    ((3, 2), (1, 1), ((1, 1), (0, 1)), (1, 1)),
    ((2, 3), (2, 1), ((0, 1), (2, 2)), (1, 2)),
    ((1, 5), (1, 3), ((0, 0), (0, 0)), (1, 1)),
    ((4, 4), (1, 1), ((4, 5), (1, 2)), (3, 1)),
])
def test_convolutions(kernel, stride, pads, dilation, wide, rounding, rng):
    x = bits(rng, (2, 7, 11, 3), "int16" if wide else "int8")
    for op, shape, channels in (("conv2d", (*kernel, 3, 4), 4), ("depthwise_conv2d", (*kernel, 3, 2), 6)):
        arrays = {"weights": rng.integers(-127, 128, shape).astype(np.int8), **factors(rng, channels),
                  "bias": rng.integers(-(2**16), 2**16, channels).astype(np.int64 if wide else np.int32)}
        arrays["shift"][0] = 1 if not wide else -3  # a left shift
        attrs = {"stride": stride, "pads": pads, "dilation": dilation, "input_offset": 0 if wide else 17,
                 "output_offset": 0 if wide else -5, "rounding": rounding, **CLAMP}
        got = OPERATORS[op](x, **arrays, **attrs)
        np.testing.assert_array_equal(got, getattr(naive, op)(x, **arrays, **attrs), err_msg=op)


@pytest.mark.parametrize("op", ["max_pool2d", "avg_pool2d"])
@pytest.mark.parametrize(("window", "stride", "pads"), [
    ((3, 2), (2, 1), ((1, 1), (0, 1))), ((1, 5), (1, 2), ((0, 0), (2, 2))), ((2, 2), (3, 2), ((0, 0), (0, 1))),
])
def test_pooling(op, window, stride, pads, rng):
    x = bits(rng, (2, 7, 11, 3))
    attrs = {"window": window, "stride": stride, "pads": pads, **CLAMP}
    np.testing.assert_array_equal(OPERATORS[op](x, **attrs), getattr(naive, op)(x, **attrs))


@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_elementwise_operators(rounding, rng):
    a, b = bits(rng, (2, 3, 50, 7)), bits(rng, (2, 3, 50, 7))
    left = {"left_shift": 20, "input1_offset": 3, "input2_offset": -20, "output_offset": 11}
    pairs = {f"{name}_{key}": value for name, low in (("input1", -2), ("input2", -1), ("output", -19))
             for key, value in (("multiplier", int(rng.integers(2**30, 2**31))), ("shift", low))}
    cases = {
        "add": ((a, b), {**left, **pairs}),
        "rescale": ((a,), {"input_offset": 9, "output_offset": -3, "multiplier": 2**30 + 12345, "shift": 1}),
        "leaky_relu": ((a,), {"input_offset": 5, "output_offset": 2, "positive_multiplier": 2**30 + 999,
                              "positive_shift": 1, "negative_multiplier": 1717986918, "negative_shift": -2}),
    }
    assert set(cases) < set(ROUNDED)
    for op, (inputs, attrs) in cases.items():
        got = OPERATORS[op](*inputs, **attrs, **CLAMP, rounding=rounding)
        np.testing.assert_array_equal(got, getattr(naive, op)(*inputs, **attrs, **CLAMP, rounding=rounding), err_msg=op)


def test_concat_and_upsampling_copy(rng):
    a, b = bits(rng, (2, 3, 4, 2)), bits(rng, (2, 3, 4, 3))
    np.testing.assert_array_equal(OPERATORS["concat"](a, b)[..., 2:], b)
    y = OPERATORS["upsample_nearest2d"](a, factor=(3, 2))
    for i, j in np.ndindex(9, 8):
        np.testing.assert_array_equal(y[:, i, j], a[:, i // 3, j // 2])


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_tables(dtype, rng):
    """Every entry is the nearest integer; between the 513 entries of 16 bits a line is off by less than two units."""
    entries = table.table_of(math.tanh, 0.02 if dtype == "int8" else 1e-4, 0 if dtype == "int16" else 9,
                             1 / 120 if dtype == "int8" else 1 / 32000, 0 if dtype == "int16" else -4, dtype)
    x = np.arange(-128, 128) if dtype == "int8" else np.arange(-32768, 32768, 7)
    got = OPERATORS["table"](x, table=entries)
    np.testing.assert_array_equal(got, naive.table(x, table=entries))
    if dtype == "int8":
        exact = np.tanh(0.02 * (x - 9)) * 120 - 4
        assert np.abs(got - exact).max() <= 0.5
    else:
        assert np.abs(got - np.tanh(1e-4 * x) * 32000).max() < 2


def test_softmax_is_near_the_real_one(rng):
    """TFLite-Micro says that the integers are right; this says that the operator is a softmax."""
    for scale in (0.01, 0.1, 0.5):
        x = bits(rng, (50, 1, 1, 6))
        y = softmax.softmax(x, **softmax.softmax_parameters(scale))
        real = np.exp(scale * (x - x.max(-1, keepdims=True)))
        assert np.abs((y + 128) / 256 - real / real.sum(-1, keepdims=True)).max() < 1 / 128
    with pytest.raises(ValueError, match="at least 2\\^-27"):
        softmax.softmax_parameters(2.0**-29)
    x = bits(rng, (50, 1, 1, 6), "int16")
    attrs = {**softmax16.softmax16_parameters(1e-4), "rounding": "D"}
    y = softmax16.softmax16(x, **attrs, **softmax16.softmax16_tables("f32"))
    real = np.exp(1e-4 * (x - x.max(-1, keepdims=True)))
    assert np.abs(y / 32768 - real / real.sum(-1, keepdims=True)).max() < 2e-4


@pytest.mark.parametrize("dtype", ["int8", "int16"])
@pytest.mark.parametrize("shape", [(1, 50), (6, 7)])
def test_layer_norm(dtype, shape, rng):
    """Bit for bit the second writing; within 0.6 steps of the real layer norm for 8 bits, 4 of 65,536 for 16."""
    gamma, beta = rng.uniform(-2, 2, shape), rng.normal(size=shape)
    s_in = 0.05 if dtype == "int8" else 3e-4
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    spread = rng.normal(rng.normal(0, 20, (3, 1, 1, 4)), 25, (3, *shape, 4)) * (1 if dtype == "int8" else 200)
    x = np.clip(np.rint(spread), low, high).astype(np.int64)
    x[0, :, :, 0] = 77  # a constant channel: only epsilon is left of its variance
    real = layer_norm_forward(x * s_in, gamma, beta, axes=(1, 2), eps=1e-3)
    s_out = np.abs(real).max() / high
    attrs, arrays, _ = norm.layer_norm_parameters(gamma, beta, 1e-3, s_in, s_out, dtype)
    attrs |= {"output_offset": 0, "act_min": low, "act_max": high}
    y = norm.layer_norm(x, **attrs, **arrays)
    np.testing.assert_array_equal(y, naive.layer_norm(x, **attrs, **arrays))
    off = np.abs(y * s_out - real) / s_out
    assert off.max() <= (0.6 if dtype == "int8" else 4.0), off.max()


def test_layer_norm_refuses_what_leaves_its_bits():
    with pytest.raises(ValueError, match="leaves 64 bits"):
        norm.layer_norm_parameters(np.ones((300, 300)), np.zeros((300, 300)), 1e-3, 0.1, 0.1, "int16")
    with pytest.raises(ValueError, match="beta reaches 1e\\+06"):
        norm.layer_norm_parameters(np.ones((3, 3)), np.full((3, 3), 1e6), 1e-3, 0.1, 0.1, "int16")


def test_square_roots_and_bits_are_exact():
    values = [1, 2, 3, 4, 2**30, 2**52 + 1, 2**60 - 1, 2**61, 2**62 - 1, (2**31 - 1) ** 2, (2**31 - 1) ** 2 - 1]
    v = np.array(values, np.int64)
    assert norm.integer_sqrt(v).tolist() == [math.isqrt(value) for value in values]
    assert norm.bit_length_64(v).tolist() == [value.bit_length() for value in values]

"""The order of summation and the fused multiply-add."""

import naive
import numpy as np
import pytest

from npunet.ops.accumulate import accumulate, accumulate_depthwise, check_arithmetic, fma32, sequential_sum

A, B = np.float32(1 + 2.0**-12), np.float32(-(1 + 2.0**-11))


def random_bits(rng, count):
    """float32 of every kind: all bit patterns are equally likely, infinities, NaN and subnormals among them."""
    return rng.integers(0, 2**32, count, dtype=np.uint32).view(np.float32)


def fma_cases(rng):
    """Triples that between them reach every branch of a fused multiply-add."""
    count = 60_000
    ordinary = rng.standard_normal((3, count)).astype(np.float32)
    tiny = (rng.standard_normal((3, count)) * 2.0 ** rng.integers(-80, -60, (3, count))).astype(np.float32)
    tiny[2] = (rng.standard_normal(count) * 2.0 ** rng.integers(-152, -124, count)).astype(np.float32)
    huge = (rng.standard_normal((3, count)) * 2.0 ** rng.integers(55, 66, (3, count))).astype(np.float32)
    huge[2] = (rng.standard_normal(count) * 2.0 ** rng.integers(115, 127, count)).astype(np.float32)
    cancelling = ordinary.copy()
    cancelling[2] = -(ordinary[0] * ordinary[1])
    # products of few bits, so that many sums are ties, and a far smaller addend that settles them
    ties = np.stack([integer_powers(rng, count, 13), integer_powers(rng, count, 13), integer_powers(rng, count, 3)])
    ties[2] *= (2.0 ** rng.integers(-60, 30, count)).astype(np.float32)
    return np.concatenate([ordinary, tiny, huge, cancelling, ties, random_bits(rng, 3 * count).reshape(3, -1)], axis=1)


def integer_powers(rng, count, bits):
    return (rng.integers(-(2**bits), 2**bits, count) * 2.0 ** rng.integers(-4, 4, count)).astype(np.float32)


def same_bits(got, expected):
    """Equal to the last bit, the sign of zero included; one NaN is as good as another."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.dtype == expected.dtype
    alike = (got.view(np.uint32) == expected.view(np.uint32)) | (np.isnan(got) & np.isnan(expected))
    return bool(alike.all())


def test_fma32_is_the_c_librarys(rng):
    a, b, c = fma_cases(rng)
    expected = np.array([naive._fmaf(*case) for case in zip(a, b, c, strict=True)], np.float32)
    assert a.size >= 300_000
    # the cases mean something only if two roundings would get many of them wrong
    with np.errstate(all="ignore"):
        assert np.sum(a * b + c != expected) > 50_000
        twice = (a.astype(np.float64) * b + c).astype(np.float32)
    assert np.sum((twice != expected) & ~np.isnan(expected)) > 100, "rounding through float64 is not enough"
    assert same_bits(fma32(a, b, c), expected)


def test_fma32_of_special_values():
    values = np.float32([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0, 2.0**-149, -(2.0**-149), 3.4028235e38])
    a, b, c = (part.ravel() for part in np.meshgrid(values, values, values))
    expected = np.array([naive._fmaf(*case) for case in zip(a, b, c, strict=True)], np.float32)
    assert same_bits(fma32(a, b, c), expected)


def test_fma32_refuses_float64():
    with pytest.raises(TypeError, match="not float64"):
        fma32(np.float32(1), np.float64(1), np.float32(1))


@pytest.mark.parametrize("arithmetic", ["seq", "seq_fma"])
@pytest.mark.parametrize("kind", ["ordinary", "tiny", "ties"])
def test_accumulate_follows_the_order(rng, arithmetic, kind):
    """The fast chain takes its short cuts only where they are right: below 2^-120 and on ties as elsewhere."""
    P, C, F = 700, 5, 3
    x, w, y = rng.standard_normal((P, C)), rng.standard_normal((C, F)), rng.standard_normal((P, F))
    if kind == "tiny":
        x, y = x * 2.0**-70, y * 2.0**-140
        w = w * 2.0 ** rng.integers(-80, -50, w.shape)
    if kind == "ties":
        x, w, y = np.rint(x * 2**13), np.rint(w * 2**13), y * 2.0 ** rng.integers(-30, 30, y.shape)
    x, w, y = x.astype(np.float32), w.astype(np.float32), y.astype(np.float32)
    expected = y.copy()
    for p, f in np.ndindex(P, F):
        for c in range(C):
            expected[p, f] = naive.multiply_add(expected[p, f], x[p, c], w[c, f], arithmetic)
    assert same_bits(accumulate(y.copy(), x, w, arithmetic), expected)


@pytest.mark.parametrize("side", [-1, 1])
def test_ties_between_subnormals(side):
    """The product is off a tie by less than float64 can hold next to the total: only rounding to odd sees it."""
    x, w = (2.0**-75 * (1 + side * 2.0**-11), 2.0**-75 * (1 - side * 2.0**-11 + 2.0**-22))
    x, w = np.float32([[x]]), np.float32([[w]])
    excess = float(x[0, 0]) * float(w[0, 0]) * 2.0**150 - 1
    assert 0 < side * excess < 2.0**-30
    total = np.float32(2.0**-127 + np.arange(8)[:, None] * 2.0**-149)
    expected = np.float32([[naive.fma(x[0, 0], w[0, 0], value)] for value in total[:, 0]])
    assert np.array_equal(expected - total, np.full_like(total, 2.0**-149 if side > 0 else 0))
    assert same_bits(accumulate(total, x.repeat(8, 0), w, "seq_fma"), expected)


@pytest.mark.parametrize("arithmetic", ["any", "seq", "seq_fma"])
def test_accumulate_depthwise_follows_the_order(rng, arithmetic):
    P, C, M = 50, 5, 2
    x, w, y = (rng.standard_normal(shape).astype(np.float32) for shape in ((1, P, C), (C, M), (1, P, C, M)))
    expected = y.copy()
    for _, p, c, m in np.ndindex(y.shape):
        expected[0, p, c, m] = naive.multiply_add(y[0, p, c, m], x[0, p, c], w[c, m], arithmetic)
    assert same_bits(accumulate_depthwise(y.copy(), x, w, arithmetic), expected)


def test_blocks_do_not_show(rng, monkeypatch):
    x, w, y = (rng.standard_normal(shape).astype(np.float32) for shape in ((301, 7), (7, 5), (301, 5)))
    whole = [accumulate(y.copy(), x, w, arithmetic) for arithmetic in ("seq", "seq_fma")]
    spread = x * (2.0 ** rng.integers(-25, 3, x.shape)).astype(np.float32)
    total = sequential_sum(spread, (0,))
    monkeypatch.setattr("npunet.ops.accumulate._BLOCK", 64)
    parts = [accumulate(y.copy(), x, w, arithmetic) for arithmetic in ("seq", "seq_fma")]
    assert all(same_bits(a, b) for a, b in zip(whole, parts, strict=True))
    assert np.array_equal(sequential_sum(spread, (0,)), total)


def test_probe_tells_fused_from_separate():
    """a*a + c is 0 with two roundings and 2^-24 with one."""
    x, w = np.array([[1, A]], np.float32), np.array([[B], [A]], np.float32)
    y = np.zeros((1, 1), np.float32)
    assert accumulate(y.copy(), x, w, "seq") == 0
    assert accumulate(y.copy(), x, w, "seq_fma") == np.float32(2.0**-24)


@pytest.mark.parametrize("arithmetic", ["seq", "seq_fma"])
def test_probe_shows_the_order(arithmetic):
    """2^24 + 1 + 1 stays 2^24 from left to right and reaches 2^24 + 2 from right to left."""
    ones = np.ones((3, 1), np.float32)
    y = np.zeros((1, 1), np.float32)
    assert accumulate(y.copy(), np.array([[2.0**24, 1, 1]], np.float32), ones, arithmetic) == 2.0**24
    assert accumulate(y.copy(), np.array([[1, 1, 2.0**24]], np.float32), ones, arithmetic) == 2.0**24 + 2


@pytest.mark.parametrize("arithmetic", ["seq", "seq_fma"])
def test_nothing_is_flushed_to_zero(arithmetic):
    x, w = np.array([[2.0**-126]], np.float32), np.array([[0.5]], np.float32)
    assert accumulate(np.zeros((1, 1), np.float32), x, w, arithmetic) == np.float32(2.0**-127)


@pytest.mark.parametrize("arithmetic", ["seq", "seq_fma"])
def test_overflow_is_infinite_without_a_warning(arithmetic):
    x, w = np.array([[3e38, 3e38, -3e38]], np.float32), np.full((3, 1), 3e38, np.float32)
    assert accumulate(np.zeros((1, 1), np.float32), x[:, :2], w[:2], arithmetic) == np.inf
    zero_times_infinity = accumulate(np.zeros((1, 1), np.float32), x * 0, w * np.float32(np.inf), arithmetic)
    assert np.isnan(zero_times_infinity)


@pytest.mark.parametrize("dtype", [np.float64, np.complex128])
def test_seq_in_a_wider_dtype(rng, dtype):
    x, w = rng.standard_normal((4, 9)).astype(dtype), rng.standard_normal((9, 1)).astype(dtype)
    expected = np.zeros((4, 1), dtype)
    for c in range(9):
        expected = expected + x[:, c : c + 1] * w[c]
    assert np.array_equal(accumulate(np.zeros((4, 1), dtype), x, w, "seq"), expected)


def test_wrong_arithmetic_is_named():
    with pytest.raises(ValueError, match="'fast' is not one of any, seq, seq_fma"):
        check_arithmetic("fast", np.dtype(np.float32))
    with pytest.raises(ValueError, match="float32, not for float64"):
        check_arithmetic("seq_fma", np.dtype(np.float64))


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2), (0, 3), (1,), (0, 1, 2, 3)])
def test_sequential_sum_is_row_major(rng, axes):
    x = (rng.standard_normal((2, 7, 11, 3)) * 2.0 ** rng.integers(-25, 3, (2, 7, 11, 3))).astype(np.float32)
    kept = [axis for axis in range(4) if axis not in axes]
    terms = x.transpose([*axes, *kept]).reshape(-1, *(x.shape[axis] for axis in kept))
    expected = np.zeros(terms.shape[1:])
    for term in terms:
        expected = expected + term
    got = sequential_sum(x, axes)
    assert got.dtype == np.float64
    assert np.array_equal(got, expected)

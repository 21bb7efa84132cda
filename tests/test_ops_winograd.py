"""Winograd's algorithm against the convolution, its own definition by scalars, and its bound."""

import naive
import numpy as np
import pytest

from npunet.ops import winograd
from npunet.ops.accumulate import accumulate
from npunet.ops.bounds import conv2d_bound, conv2d_winograd_bound
from npunet.ops.conv import conv2d_forward

SAME, VALID, UNEVEN = ((1, 1), (1, 1)), ((0, 0), (0, 0)), ((0, 1), (2, 1))
AWKWARD = [  # N, H, W, C, F, pads
    (2, 7, 11, 3, 5, SAME),
    (1, 4, 4, 17, 9, SAME),
    (2, 9, 6, 8, 8, VALID),
    (1, 5, 13, 33, 10, UNEVEN),
]


def arrays(rng, N, H, W, C, F):
    shapes = (N, H, W, C), (3, 3, C, F), (F,)
    return [rng.standard_normal(shape).astype(np.float32) for shape in shapes]


def exact(x, w, b, pads):
    return conv2d_forward(*(None if a is None else a.astype(np.float64) for a in (x, w, b)), pads=pads)


def test_the_matrices_are_an_algorithm(rng):
    """A' [(G g G') * (B' d B)] A is the convolution of a patch, but for float64's rounding."""
    d, g = rng.standard_normal((6, 6)), rng.standard_normal((3, 3))
    U, V = winograd.G @ g @ winograd.G.T, winograd.B_T @ d @ winograd.B_T.T
    direct = conv2d_forward(d[None, :, :, None], g[:, :, None, None])[0, :, :, 0]
    np.testing.assert_allclose(winograd.A_T @ (U * V) @ winograd.A_T.T, direct, rtol=0, atol=1e-13)


def test_the_matrices_are_exact_in_float32():
    for matrix in (winograd.A_T, winograd.B_T):
        assert np.array_equal(matrix.astype(np.float32), matrix)


@pytest.mark.parametrize("transform, matrix", [(winograd.transform_input, winograd.B_T),
                                               (winograd.transform_output, winograd.A_T)])
def test_transforms_are_their_matrices(transform, matrix):
    """On whole multiples of 64 every step is exact."""
    values = 64 * np.arange(-7, 5, dtype=np.float32).reshape(6, 2) ** 2
    assert np.array_equal(transform(values), matrix @ values)


def one_output(x, U, pads, n, i, j, f):
    """The output at (n, i, j, f) by scalars, C's fmaf and nothing vectorised."""
    def b_t(d):
        def odd_even(inner, outer):
            even, odd = naive.fma(-inner * inner, d[2], d[4]), naive.fma(-inner * inner, d[1], d[3])
            return [naive.fma(outer, odd, even), naive.fma(-outer, odd, even)]

        ends = [naive.fma(1.265625, d[k], naive.fma(-2.8125, d[k + 2], d[k + 4])) for k in (0, 1)]
        return [ends[0], *odd_even(1.5, 0.75), *odd_even(0.75, 1.5), ends[1]]

    def a_t(m):
        s1, d1, s2, d2 = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
        return [(m[0] + s1) + s2, naive.fma(1.5, d2, np.float32(0.75) * d1),
                naive.fma(2.25, s2, np.float32(0.5625) * s1), naive.fma(3.375, d2, naive.fma(0.421875, d1, m[5]))]

    def both(transform, rows):
        columns = [transform(column) for column in zip(*rows, strict=True)]
        return [transform(row) for row in zip(*columns, strict=True)]

    def pixel(row, column, c):
        inside = 0 <= row < x.shape[1] and 0 <= column < x.shape[2]
        return x[n, row, column, c] if inside else np.float32(0)

    top, left = i // 4 * 4 - pads[0][0], j // 4 * 4 - pads[1][0]
    M = np.zeros((6, 6), np.float32)
    for c in range(x.shape[3]):
        V = both(b_t, [[pixel(top + a, left + b, c) for b in range(6)] for a in range(6)])
        for a, b in np.ndindex(6, 6):
            M[a, b] = naive.fma(V[a][b], U[a, b, c, f], M[a, b])
    return both(a_t, M)[i % 4][j % 4]


@pytest.mark.parametrize("case", AWKWARD)
def test_the_declared_order_by_scalars(rng, case):
    *sizes, pads = case
    x, w, b = arrays(rng, *sizes)
    y, U = winograd.conv2d_winograd(x, w, b, pads=pads), winograd.transform_kernel(w)
    assert y.dtype == np.float32 and y.shape == exact(x, w, b, pads).shape
    corners = [(0, 0), (-1, -1), (0, -1), (-1, 0)]
    for i, j in corners:
        at = (len(x) - 1, i % y.shape[1], j % y.shape[2], 3)
        assert one_output(x, U, pads, *at) + b[3] == y[at]


@pytest.mark.parametrize("case", AWKWARD)
@pytest.mark.parametrize("biased", [True, False])
def test_results_are_inside_the_bound(rng, case, biased):
    *sizes, pads = case
    x, w, b = arrays(rng, *sizes)
    b = b if biased else None
    error = np.abs(winograd.conv2d_winograd(x, w, b, pads=pads) - exact(x, w, b, pads))
    share = np.max(error / conv2d_winograd_bound(x, w, b, pads=pads))
    print(f"{sizes}: {share:.4f} of the bound used")
    assert 0.002 < share <= 1


def test_one_product_left_out_is_outside_the_bound(rng):
    x, w, b = arrays(rng, 2, 7, 11, 3, 5)
    less = w.copy()
    less[1, 1, 2] = 0
    error = np.abs(winograd.conv2d_winograd(x, less, b, pads=SAME) - exact(x, w, b, SAME))
    assert np.mean(error > conv2d_winograd_bound(x, w, b, pads=SAME)) > 0.25


def test_subnormal_results_are_inside_the_bound(rng):
    x, w, _ = arrays(rng, 1, 7, 6, 3, 5)
    x, w = x * np.float32(2.0**-70), w * np.float32(2.0**-76)
    error = np.abs(winograd.conv2d_winograd(x, w, pads=SAME) - exact(x, w, None, SAME))
    assert np.max(error) > 0 and np.all(error <= conv2d_winograd_bound(x, w, pads=SAME))


def test_the_bound_is_wider_than_that_of_a_sum(rng):
    x, w, b = arrays(rng, 1, 7, 6, 9, 8)
    ratio = conv2d_winograd_bound(x, w, b, pads=SAME) / conv2d_bound(x, w, b, pads=SAME)
    assert np.min(ratio) > 1 and np.max(ratio) < 100


def test_tiles_begin_at_the_first_output(rng):
    """More rows and columns of zeros behind the image change no bit of what is there."""
    x, w, b = arrays(rng, 1, 7, 10, 9, 8)
    larger = np.pad(x, ((0, 0), (0, 6), (0, 5), (0, 0)))
    whole = winograd.conv2d_winograd(larger, w, b, pads=SAME)
    assert np.array_equal(whole[:, :7, :10], winograd.conv2d_winograd(x, w, b, pads=SAME))


@pytest.mark.parametrize("output, w, stride, dilation, expected", [
    ((4, 4), (3, 3, 8, 8), (1, 1), (1, 1), True),
    ((2, 4), (3, 3, 8, 8), (1, 1), (1, 1), True),
    ((4, 2), (3, 3, 8, 8), (1, 1), (1, 1), True),
    ((1, 8), (3, 3, 8, 8), (1, 1), (1, 1), False),
    ((5, 5), (3, 3, 8, 8), (1, 1), (1, 1), False),
    ((6, 6), (3, 3, 8, 8), (1, 1), (1, 1), True),
    ((4, 4), (3, 3, 7, 8), (1, 1), (1, 1), False),
    ((4, 4), (3, 3, 8, 2), (1, 1), (1, 1), True),
    ((4, 4), (3, 3, 8, 1), (1, 1), (1, 1), False),
    ((4, 4), (3, 5, 8, 8), (1, 1), (1, 1), False),
    ((4, 4), (3, 3, 8, 8), (2, 1), (1, 1), False),
    ((4, 4), (3, 3, 8, 8), (1, 1), (1, 2), False),
])
def test_where_it_applies(output, w, stride, dilation, expected):
    assert winograd.applies(output, w, stride, dilation) is expected


def test_the_forward_chooses(rng):
    """By shapes alone; and a convolution that it does not apply to is summed as in seq_fma."""
    x, w, b = arrays(rng, 2, 6, 7, 8, 9)
    got = conv2d_forward(x, w, b, pads=SAME, arithmetic="winograd")
    assert np.array_equal(got, winograd.conv2d_winograd(x, w, b, pads=SAME))
    assert not np.array_equal(got, conv2d_forward(x, w, b, pads=SAME, arithmetic="seq_fma"))
    x, w, b = arrays(rng, 2, 6, 7, 7, 9)
    sums = [conv2d_forward(x, w, b, pads=SAME, arithmetic=name) for name in ("winograd", "seq_fma", "seq")]
    assert np.array_equal(sums[0], sums[1]) and not np.array_equal(sums[0], sums[2])


def test_it_is_for_float32(rng):
    x, w, b = (a.astype(np.float64) for a in arrays(rng, 1, 6, 7, 8, 9))
    for attempt in (lambda: conv2d_forward(x, w, b, pads=SAME, arithmetic="winograd"),
                    lambda: accumulate(np.zeros((2, 3)), np.ones((2, 4)), np.ones((4, 3)), "winograd")):
        with pytest.raises(ValueError, match='"winograd" is defined for float32, not for float64'):
            attempt()

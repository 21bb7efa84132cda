"""Softmax: formula, declared bits, gradient."""

import naive
import numpy as np
import pytest
from checks import assert_close, check_gradient

from npunet.ops.softmax import softmax_backward, softmax_forward


def test_formula(rng):
    x = rng.standard_normal((2, 7, 11, 5)) * 4
    expected = np.array([naive.probabilities(z) for z in x.reshape(-1, 5)]).reshape(x.shape)
    assert_close("y", softmax_forward(x), expected)
    assert_close("y", softmax_forward(x, arithmetic="seq"), expected)


@pytest.mark.parametrize("arithmetic", ["seq", "seq_fma"])
def test_declared_bits_are_the_definition(rng, arithmetic):
    x = (rng.standard_normal((2, 3, 11, 5)) * 20).astype(np.float32)
    assert np.array_equal(softmax_forward(x, arithmetic=arithmetic), naive.softmax(x))


def test_declared_agrees_with_any(rng):
    x = (rng.standard_normal((500, 5)) * 3).astype(np.float32)
    assert_close("y", softmax_forward(x, arithmetic="seq"), softmax_forward(x.astype(np.float64)), 1e-6)


@pytest.mark.parametrize("arithmetic", ["any", "seq"])
def test_large_scores_do_not_overflow(arithmetic):
    y = softmax_forward(np.float32([[1e30, -1e30, 1e30], [-200, 0, -50]]), arithmetic=arithmetic)
    assert np.array_equal(y[0], [0.5, 0, 0.5])
    assert y[1, 1] == 1


def test_gradient(rng):
    check_gradient(softmax_forward, softmax_backward, {"x": rng.standard_normal((2, 7, 5))}, rng)

"""Batch norm and layer norm: bits in float32, formulas and gradients in float64."""

import naive
import numpy as np
import pytest
from checks import assert_close, check_gradient

from npunet.ops.norm import (
    batch_norm_inference_backward,
    batch_norm_inference_forward,
    batch_norm_train_backward,
    batch_norm_train_forward,
    layer_norm_backward,
    layer_norm_forward,
    moving_statistics,
)

N, H, W, C = 2, 7, 11, 3
EPS = 1e-3


def channel_arrays(rng, dtype):
    x = rng.standard_normal((N, H, W, C)) * [0.1, 3, 20] + [5, -2, 0]
    weights = [rng.standard_normal(C) for _ in range(3)]
    return [a.astype(dtype) for a in (x, *weights, rng.uniform(0.1, 4, C))]


def image_arrays(rng, shape, axes, dtype):
    x = rng.standard_normal(shape) * rng.uniform(0.1, 9, shape[-1]) + rng.uniform(-5, 5, shape[-1])
    sizes = [shape[axis] for axis in axes]
    return [a.astype(dtype) for a in (x, rng.standard_normal(sizes), rng.standard_normal(sizes))]


def test_batch_norm_bits_are_the_definition(rng):
    x, gamma, beta, mean, var = channel_arrays(rng, np.float32)
    expected = naive.batch_norm_inference(x, gamma, beta, mean, var, eps=EPS)
    assert np.array_equal(batch_norm_inference_forward(x, gamma, beta, mean, var, eps=EPS), expected)
    expected, statistics = naive.batch_norm_train(x, gamma, beta, eps=EPS)
    y, saves = batch_norm_train_forward(x, gamma, beta, eps=EPS)
    assert y.dtype == saves["mean"].dtype == saves["var"].dtype == np.float32
    assert np.array_equal(y, expected)
    assert all(np.array_equal(saves[name], statistics[name]) for name in ("mean", "var"))


def test_batch_norm_formula(rng):
    x, gamma, beta, mean, var = channel_arrays(rng, np.float64)
    expected = gamma * (x - mean) / np.sqrt(var + EPS) + beta
    assert_close("y", batch_norm_inference_forward(x, gamma, beta, mean, var, eps=EPS), expected)
    y, saves = batch_norm_train_forward(x, gamma, beta, eps=EPS)
    assert_close("mean", saves["mean"], x.mean((0, 1, 2)))
    assert_close("var", saves["var"], x.var((0, 1, 2)))
    assert_close("y", y, gamma * (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + EPS) + beta)


def test_batch_norm_gradients(rng):
    named = dict(zip(("x", "gamma", "beta", "mean", "var"), channel_arrays(rng, np.float64), strict=True))
    gradients = check_gradient(batch_norm_inference_forward, batch_norm_inference_backward, named, rng, eps=EPS)
    assert gradients[3:] == (None, None)
    trained = {name: named[name] for name in ("x", "gamma", "beta")}
    check_gradient(batch_norm_train_forward, batch_norm_train_backward, trained, rng, eps=EPS)


def test_batch_norm_over_nothing_is_refused():
    one = np.ones(3)
    with pytest.raises(ValueError, match=r"\(0, 7, 11, 3\) has no positions"):
        batch_norm_train_forward(np.ones((0, 7, 11, 3)), one, one, eps=EPS)


def test_moving_statistics():
    moving, batch = np.float32([1, 2]), np.float32([3, -5])
    got = moving_statistics(moving, batch, 0.99)
    assert got.dtype == np.float32
    expected = np.float32(0.99) * moving + np.float32(1 - 0.99) * batch
    assert np.array_equal(got, expected)


def test_layer_norm_bits_are_the_definition(rng):
    x, gamma, beta = image_arrays(rng, (N, H, W, C), (1, 2), np.float32)
    x[..., 0] = x[..., 0] * 0.05 + 1e5  # here a mean rounded too early shows in the variance
    expected = naive.layer_norm(x, gamma, beta, axes=(1, 2), eps=EPS)
    got = layer_norm_forward(x, gamma, beta, axes=(1, 2), eps=EPS)
    assert got.dtype == np.float32
    assert np.array_equal(got, expected)


@pytest.mark.parametrize("axes", [(1, 2), (3,), (-1,), (1, 2, 3), (2,)])
def test_layer_norm_formula_and_gradients(rng, axes):
    shape = (2, 3, 5, 4)
    x, gamma, beta = image_arrays(rng, shape, axes, np.float64)
    kept = [1 if axis not in {a % 4 for a in axes} else shape[axis] for axis in range(4)]
    mean, var = x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
    expected = (x - mean) / np.sqrt(var + EPS) * gamma.reshape(kept) + beta.reshape(kept)
    assert_close("y", layer_norm_forward(x, gamma, beta, axes=axes, eps=EPS), expected)
    named = {"x": x, "gamma": gamma, "beta": beta}
    check_gradient(layer_norm_forward, layer_norm_backward, named, rng, axes=axes, eps=EPS)


def test_layer_norm_weights_of_the_wrong_shape_are_named(rng):
    x, gamma, beta = image_arrays(rng, (N, H, W, C), (1, 2), np.float32)
    with pytest.raises(ValueError, match=r"beta has shape \(3,\), but axes \(1, 2\) of x .* need \(7, 11\)"):
        layer_norm_forward(x, gamma, beta[0, :3], axes=(1, 2), eps=EPS)

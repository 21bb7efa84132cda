"""Concat, add, dropout."""

import numpy as np
import pytest
from checks import check_adjoint, check_gradient

from npunet.ops.merge import (
    add_backward,
    add_forward,
    concat_backward,
    concat_forward,
    dropout_backward,
    dropout_forward,
    dropout_inference_backward,
    dropout_inference_forward,
)


def test_concat_keeps_the_order(rng):
    a, b, c = (rng.standard_normal((2, 3, 5, channels)) for channels in (4, 1, 2))
    y = concat_forward(a, b, c)
    assert np.array_equal(y[..., :4], a) and np.array_equal(y[..., 4:5], b) and np.array_equal(y[..., 5:], c)
    check_gradient(concat_forward, concat_backward, {"a": a, "b": b, "c": c}, rng)
    check_adjoint(concat_forward, concat_backward, {"a": a, "b": b, "c": c}, "b", rng)


def test_concat_names_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"\(1, 2, 3, 4\), \(1, 2, 5, 4\) differ in more than the last axis"):
        concat_forward(np.ones((1, 2, 3, 4)), np.ones((1, 2, 5, 4)))


def test_add(rng):
    named = {"a": rng.standard_normal((2, 3, 5, 4)), "b": rng.standard_normal((2, 3, 5, 4))}
    assert np.array_equal(add_forward(*named.values()), named["a"] + named["b"])
    check_gradient(add_forward, add_backward, named, rng)


def test_add_does_not_broadcast():
    with pytest.raises(ValueError, match=r"\(2, 3, 5, 4\) and \(2, 3, 5, 1\): they must be equal"):
        add_forward(np.ones((2, 3, 5, 4)), np.ones((2, 3, 5, 1)))


def test_dropout(rng):
    x = rng.standard_normal((2, 3, 5, 4))
    mask = (rng.random(x.shape) > 0.25) / 0.75
    y = dropout_forward(x, mask)
    assert np.array_equal(y == 0, mask == 0)
    assert np.array_equal(y[mask > 0], x[mask > 0] * (1 / 0.75))
    gradients = check_gradient(dropout_forward, dropout_backward, {"x": x, "mask": mask}, rng)
    assert gradients[1] is None


def test_dropout_outside_training_is_nothing(rng):
    x = rng.standard_normal((2, 3, 5, 4))
    assert np.array_equal(dropout_inference_forward(x, rate=0.25), x)
    check_gradient(dropout_inference_forward, dropout_inference_backward, {"x": x}, rng, rate=0.25)


def test_dropout_names_a_mask_that_does_not_fit():
    with pytest.raises(ValueError, match=r"mask of shape \(2, 1, 4\) does not fit x of shape \(2, 3, 4\)"):
        dropout_forward(np.ones((2, 3, 4)), np.ones((2, 1, 4)))

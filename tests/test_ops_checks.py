"""The gradient checker itself: it must fail on a gradient that is wrong."""

import numpy as np
import pytest
from checks import assert_close, check_adjoint, check_gradient

from npunet.ops.conv import conv2d_backward, conv2d_forward

ATTRS = {"stride": (2, 1), "pads": ((1, 0), (2, 1)), "dilation": (1, 3)}


def arguments(rng):
    return {name: rng.standard_normal(shape) for name, shape in (("x", (2, 4, 7, 3)), ("w", (3, 2, 3, 2)), ("b", (2,)))}


def flipped_kernel(dy, x, w, b, **attrs):
    """A plausible fault: the kernel turned round in dx, as in a true convolution."""
    _, dw, db = conv2d_backward(dy, x, w, b, **attrs)
    return conv2d_backward(dy, x, w[::-1, ::-1], b, **attrs)[0], dw, db


def one_entry_off(dy, x, w, b, **attrs):
    dx, dw, db = conv2d_backward(dy, x, w, b, **attrs)
    dw[1, 0, 2, 1] *= 1 + 1e-9
    return dx, dw, db


def test_right_gradient_passes(rng):
    check_gradient(conv2d_forward, conv2d_backward, arguments(rng), rng, **ATTRS)


def test_wrong_dx_fails_and_is_named(rng):
    with pytest.raises(AssertionError, match=r"dx\[\d, \d, \d, \d\]: got .*, expected "):
        check_gradient(conv2d_forward, flipped_kernel, arguments(rng), rng, **ATTRS)


def test_one_slightly_wrong_entry_fails_and_is_named(rng):
    with pytest.raises(AssertionError, match=r"dw\[1, 0, 2, 1\]: .*1 of 36 entries"):
        check_gradient(conv2d_forward, one_entry_off, arguments(rng), rng, **ATTRS)


def test_adjoint_fails_on_wrong_dx(rng):
    with pytest.raises(AssertionError, match="dx: <dy, A v>"):
        check_adjoint(conv2d_forward, flipped_kernel, arguments(rng), "x", rng, **ATTRS)


def test_missing_gradient_fails(rng):
    with pytest.raises(AssertionError, match="one gradient for every argument"):
        check_gradient(conv2d_forward, lambda *a, **k: conv2d_backward(*a, **k)[:2], arguments(rng), rng, **ATTRS)


def test_nan_is_never_close():
    with pytest.raises(AssertionError, match=r"dx\[1\]"):
        assert_close("dx", np.array([0.0, np.nan]), np.zeros(2))

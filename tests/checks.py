"""Gradient checks: a backward against its own forward, by complex step and by the adjoint identity."""

import numpy as np

# Relative to the largest entry. Both checks are exact but for float64's rounding: a few hundred terms of 1e-16.
TOLERANCE = 1e-12
STEP = 1e-30  # a complex step has no cancellation, so it can be this small


def value(result):
    """y of a forward that returns y or (y, saves)."""
    return result[0] if isinstance(result, tuple) else result


def assert_close(name, got, expected, tolerance=TOLERANCE):
    """Fail with the array's name, the worst index, got and expected."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"{name} has shape {got.shape}, expected {expected.shape}"
    scale = max(1.0, float(np.max(np.abs(expected), initial=0)))
    error = np.abs(got - expected) / scale
    error = np.where(np.isnan(error), np.inf, error)
    if np.max(error, initial=0) > tolerance:
        worst = tuple(int(i) for i in np.unravel_index(np.argmax(error), error.shape))
        raise AssertionError(
            f"{name}{list(worst)}: got {got[worst]!r}, expected {expected[worst]!r}, "
            f"off by {error[worst]:.3g} of the largest entry {scale:.3g}, allowed {tolerance:g}; "
            f"{int(np.sum(error > tolerance))} of {error.size} entries are off"
        )


def check_gradient(forward, backward, arguments, rng, **attrs):
    """Compare every gradient of a smooth operator, entry by entry, with the complex step of a random covector.

    d<dy, y>/da[i] = Im <dy, forward(..., a + i*h*e_i, ...)> / h

    arguments : {name: float64 array or None}, in the order of the forward. A gradient of None is a constant's.
    Returns the gradients.
    Source: Squire & Trapp 1998, Using complex variables to estimate derivatives of real functions.
    """
    arrays = list(arguments.values())
    result = forward(*arrays, **attrs)
    saves = result[1] if isinstance(result, tuple) else {}
    dy = rng.standard_normal(value(result).shape)
    gradients = backward(dy, *arrays, **attrs, **saves)
    assert isinstance(gradients, tuple) and len(gradients) == len(arrays), "one gradient for every argument"
    for position, (name, gradient) in enumerate(zip(arguments, gradients, strict=True)):
        if arrays[position] is None:
            assert gradient is None, f"d{name} must be None: there is no {name}"
        elif gradient is not None:
            assert_close(f"d{name}", gradient, complex_step(forward, arrays, position, dy, attrs))
    return gradients


def complex_step(forward, arrays, position, dy, attrs):
    """The gradient of <dy, forward(*arrays)> for arrays[position]."""
    stepped = [None if a is None else a.astype(np.complex128) for a in arrays]
    expected = np.empty(arrays[position].shape)
    for index in np.ndindex(expected.shape):
        stepped[position][index] += 1j * STEP
        expected[index] = np.sum(dy * value(forward(*stepped, **attrs))).imag / STEP
        stepped[position][index] -= 1j * STEP
    return expected


def check_adjoint(forward, backward, arguments, name, rng, **attrs):
    """Check <dy, A v> = <A' dy, v> for the linear map that the forward is in one argument, the others fixed.

    A v = forward(..., v, ...) - forward(..., 0, ...), and A' dy is that argument's gradient.
    """
    position = list(arguments).index(name)
    arrays = list(arguments.values())

    def forward_at(v):
        return value(forward(*arrays[:position], v, *arrays[position + 1 :], **attrs))

    v = rng.standard_normal(arrays[position].shape)
    image = forward_at(v) - forward_at(np.zeros_like(v))
    dy = rng.standard_normal(image.shape)
    gradient = backward(dy, *arrays, **attrs)[position]
    left, right = np.sum(dy * image), np.sum(gradient * v)
    size = np.linalg.norm(dy) * np.linalg.norm(image)
    assert abs(left - right) <= TOLERANCE * size, f"d{name}: <dy, A v> is {left!r} but <A' dy, v> is {right!r}"


def integers(rng, shape, dtype, low=-4, high=5):
    """Small whole numbers: every sum of their products is exact, whatever its order."""
    return rng.integers(low, high, shape).astype(dtype)

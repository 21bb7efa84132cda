"""Patterns of other activations by functions of a C library, which differ in the last bits from one to another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npunet.ops.activation import SELU_SCALE
from npunet.ops.table import ACTIVATIONS
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern

NEAR = 8 * 2.0**-24  # of the result, and of what it is made of: 1, and x


def curves() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    """Activations of other networks by their words, float64."""
    from scipy.special import erf, expit  # half a second, for those who look for a cause only

    return {
        "tanh(x)": np.tanh,
        "the sigmoid of x": expit,
        "swish, x times its sigmoid": lambda x: x * expit(x),
        "softplus, log(1 + exp(x))": lambda x: np.logaddexp(0, x),
        "mish, x tanh(softplus(x))": lambda x: x * np.tanh(np.logaddexp(0, x)),
        "gelu": lambda x: x * 0.5 * (1 + erf(x / np.sqrt(2))),
        "gelu by tanh": lambda x: x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
        "softsign, x / (1 + |x|)": lambda x: x / (1 + np.abs(x)),
        "arctan(x)": np.arctan,
        "sin(x)": np.sin,
        "x squared": np.square,
    }


@pattern(*ACTIVATIONS, rank=2)
def activation_by_library(s: Sight) -> Guesses:
    """Another function, for all x or where x is negative, up to a few bits."""
    x = s.inputs[0].astype(np.float64)
    rising = SELU_SCALE * x if s.recipe.op == "selu" else x
    for words, curve in curves().items():
        y = curve(x)
        near = NEAR * (np.abs(y) + np.minimum(1, np.abs(x)))
        yield Guess(f"{words} instead of {s.recipe.op}", y, near, name="activation_other")
        if s.recipe.op not in ("relu", "relu6"):
            yield Guess(f"{words} where x is negative, instead of {s.recipe.op}'s own",
                        np.where(x > 0, rising, y), near, name="activation_other")

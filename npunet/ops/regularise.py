"""The penalty that the reference adds to its loss for every kernel."""

from __future__ import annotations

import numpy as np

from npunet.ops.accumulate import sequential_sum


def l2_forward(w: np.ndarray, factor: float = 1e-3) -> np.floating:
    """Penalty on the size of one kernel: factor * sum(w^2), without a half.

    w : any shape, any float dtype

    Returns a scalar of w's dtype; summed in float64 in row-major order and rounded once.
    Source: Keras API, keras.regularizers.L2.
    """
    wide = w.astype(np.promote_types(w.dtype, np.float64))
    return w.dtype.type(factor * sequential_sum(wide * wide, tuple(range(w.ndim))))


def l2_backward(w: np.ndarray, factor: float = 1e-3) -> np.ndarray:
    """Gradient of l2_forward: 2 * factor * w."""
    return 2 * factor * w

"""Nearest-neighbour upsampling: integers are copied."""

from __future__ import annotations

import numpy as np

from npunet.geometry import Pair
from npunet.ops.upsample import upsample_nearest2d_forward


def upsample_nearest2d(x: np.ndarray, *, factor: Pair) -> np.ndarray:
    """Repeat every position fy times down and fx times across; scale and zero point stay.

    x : (N, H, W, C) int64

    Returns y : (N, H*fy, W*fx, C). Source: TensorFlow Lite, RESIZE_NEAREST_NEIGHBOR for whole factors.
    """
    return upsample_nearest2d_forward(x, factor=factor)

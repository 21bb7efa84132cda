"""Nearest upsampling: values and adjoint."""

import naive
import numpy as np
import pytest
from checks import check_adjoint, check_gradient

from npunet.ops.upsample import (
    upsample_nearest1d_backward,
    upsample_nearest1d_forward,
    upsample_nearest2d_backward,
    upsample_nearest2d_forward,
)


@pytest.mark.parametrize("factor", [(1, 1), (1, 2), (3, 2), (2, 5)])
def test_values_and_gradient(rng, factor):
    x = rng.standard_normal((2, 3, 5, 4))
    assert np.array_equal(upsample_nearest2d_forward(x, factor=factor), naive.upsample_nearest2d(x, factor=factor))
    check_gradient(upsample_nearest2d_forward, upsample_nearest2d_backward, {"x": x}, rng, factor=factor)
    check_adjoint(upsample_nearest2d_forward, upsample_nearest2d_backward, {"x": x}, "x", rng, factor=factor)


def test_1d_is_2d_with_one_row(rng):
    x = rng.standard_normal((2, 5, 3)).astype(np.float32)
    got = upsample_nearest1d_forward(x, factor=3)
    assert np.array_equal(got, naive.upsample_nearest2d(x[:, None], factor=(1, 3))[:, 0])
    check_gradient(upsample_nearest1d_forward, upsample_nearest1d_backward, {"x": x.astype(float)}, rng, factor=3)

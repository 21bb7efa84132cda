"""Which sums the taps of a convolution can make: against all of them, listed."""

import numpy as np
import pytest
from integer_ports import integer_network

from npunet.golden import golden
from npunet.golden.integer.reach import alive, reachable
from npunet.verify.integer.proofs import OF_NOTHING
from npunet.verify.integer.score import score


@pytest.mark.parametrize("largest", [1, 3, 12])
def test_reachable_sums_are_those_that_some_values_make(largest, rng):
    """Few values for large weights, where sums leave gaps, and many for small ones, where only the ends do."""
    for _ in range(60):
        most, low = int(rng.integers(0, 40)), int(rng.integers(-20, 5))
        weights = rng.integers(-largest, largest + 1, rng.integers(1, 5)) * rng.integers(1, 4)
        sums = {0}
        for weight in weights.tolist():
            sums = {total + weight * v for total in sums for v in range(low, low + most + 1)}
        have, found = np.array(sorted(sums)), reachable(weights.astype(np.int64), (low, low + most))
        asked = np.arange(have[0] - 3, have[-1] + 4)
        above = have[np.minimum(np.searchsorted(have, asked), len(have) - 1)]
        below = have[np.maximum(np.searchsorted(have, asked, "right") - 1, 0)]
        np.testing.assert_array_equal(found.above(asked), above, f"{weights} {low} {most}")
        np.testing.assert_array_equal(found.below(asked), below, f"{weights} {low} {most}")


def test_convolutions_without_any_tap_inside(tmp_path):
    """Even kernels with a dilation over images of one row or column: every tap lies outside, the bias is all there is.

    Their bundle could not be made once.
    """
    model = integer_network("d2_kernel_over_image")
    outside = [node.name for node in model.network if "weights" in node.arrays and not alive(node, model.network).any()]
    assert outside
    golden(model, tmp_path / "b", formats=("bin",))
    told = score(tmp_path / "b")
    assert told["score"] == 1 and any(OF_NOTHING in row["equivalent"] for row in told["table"])

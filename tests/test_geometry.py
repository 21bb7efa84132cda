"""SAME pads and output sizes, against the count of windows that really fit."""

import pytest

from npunet.geometry import output_size, same_output, same_pads


@pytest.mark.parametrize("size", [1, 2, 7, 11])
@pytest.mark.parametrize("kernel", [1, 2, 3, 6])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
@pytest.mark.parametrize("dilation", [1, 2, 4])
def test_same_pads_give_one_window_a_stride(size, kernel, stride, dilation):
    before, after = same_pads(size, kernel, stride, dilation)
    starts = [
        start for start in range(0, before + size + after, stride)
        if start + (kernel - 1) * dilation < before + size + after
    ]
    assert len(starts) >= same_output(size, stride) == len(range(0, size, stride))
    assert before <= after <= before + 1
    if before + after:  # padded: no window too many
        assert output_size(size, kernel, stride, (before, after), dilation) == same_output(size, stride)


def test_the_odd_pad_goes_after():
    assert same_pads(7, 4) == (1, 2)
    assert same_pads(8, 3, stride=2) == (0, 1)


def test_a_kernel_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="spans 9 positions, but the padded input has 7"):
        output_size(5, 5, 1, (1, 1), dilation=2)

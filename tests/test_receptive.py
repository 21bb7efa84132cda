"""Receptive fields against probing: a NaN at one input position reaches exactly the outputs that depend on it."""

import numpy as np
import pytest
from test_reference import NAMES, model_of, stored

from npunet import UNet, presets, run
from npunet.inference import receptive

pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")


def probed(model, axis):
    """reads[o, i]: whether the output at o depends on the input at i, along one axis, found by a NaN for every i."""
    graph = model.graph
    H, W, C = graph.input_shape
    x = np.full((H * W, H, W, C), 0.5, np.float64)
    for n, (i, j) in enumerate(np.ndindex(H, W)):
        x[n, i, j] = np.nan
    with np.errstate(invalid="ignore"):
        y = run.infer(graph, model.weights, x)
    touched = np.isnan(y).any(-1).reshape(H, W, *y.shape[1:3])       # [input row, input column, row, column]
    others = (1, 3) if axis == 0 else (0, 2)
    return touched.any(others).T


@pytest.mark.parametrize("name", NAMES)
def test_every_output_of_the_stored_configurations(name):
    case, arrays = stored(name)
    model = model_of(case, arrays)
    for axis in (0, 1):
        reads = probed(model, axis)
        for output, expected in enumerate(reads):
            found = receptive.dependencies(model.graph, axis, [output]).get(model.graph.input, np.array([], np.int64))
            assert list(found) == list(np.flatnonzero(expected)), f"{name}, axis {axis}, output {output}"


@pytest.mark.parametrize("name", ["d1_pool_under_stride", "d1_dilation_int", "d2_even_kernels", "d2_kernel_over_image"])
def test_intervals(name):
    case, arrays = stored(name)
    model = model_of(case, arrays)
    for axis in (0, 1):
        reads = probed(model, axis)
        for first in range(0, len(reads), 2):
            for last in range(first, len(reads), 3):
                expected = np.flatnonzero(reads[first : last + 1].any(0))
                assert receptive.input_interval(model.graph, axis, first, last) == (expected[0], expected[-1])


def test_inner_layers():
    """By hand: two convolutions of three taps, the second dilated, see 1 + 2 + 4 positions; pooling by 2 doubles."""
    model = UNet({"blocks": [{"filters": 2, "depth": 2, "kernel": (1, 3), "dilation": 2, "pool": (1, 2),
                              "strides": (1, 2)}], "output_kernel_size": 1}, (64, 1), 2)

    def read(layer, *positions):
        return list(receptive.dependencies(model.graph, 1, positions, of=layer)["input"])

    assert read("ENC1_D1_conv", 10) == [9, 10, 11]
    assert read("ENC1_D2_conv", 10) == [7, 8, 9, 10, 11, 12, 13]
    assert read("ENC1_D2_conv", 0) == [0, 1, 2, 3]
    assert read("ENC1_pool", 10) == list(range(17, 25))
    assert read("ENC1_D2_conv", 10, 20) == [*range(7, 14), *range(17, 24)]
    reached = receptive.dependencies(model.graph, 1, [10], of="ENC1_D1_conv")
    assert set(reached) == {"ENC1_D1_conv", "input"}


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("d1_")])
def test_context_holds_far_from_the_borders(name):
    """Outputs one period apart read what is one period apart, as probing a long signal shows."""
    case, arrays = stored(name)
    model = model_of(case, arrays)
    period = model.sizes.multiple[1]
    if model.sizes.fixed:
        with pytest.raises(ValueError, match="normalises over the whole input"):
            receptive.context(model.graph, 1, period)
        return
    context = receptive.context(model.graph, 1, period)
    periods = 2 * (context.size // period + 2) + 2
    long = model.sizes.graph((1, periods * period))
    middle = periods // 2 * period
    for k in range(period):
        for output in (middle + k, middle + period + k):
            assert receptive.input_interval(long, 1, output, output) == (output - context.before[k],
                                                                         output + context.after[k])


def test_size_of_the_presets():
    for name, size in (("tiny", 30), ("ecg", 343)):
        preset = presets.load(name)
        model = UNet(preset["architecture"], tuple(preset["input_shape"]), preset["num_classes"])
        assert receptive.context(model.graph, 1, model.sizes.multiple[1]).size == size


def test_refuses_positions_that_are_not_there():
    graph = UNet({"blocks": []}, (8, 9, 1), 2).graph
    for first, last in ((-1, 3), (3, 9), (4, 3)):
        with pytest.raises(ValueError, match="of the 9 along axis 1"):
            receptive.input_interval(graph, 1, first, last)

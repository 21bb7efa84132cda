"""Draws that never change, and corner cases that are where they claim to be."""

import numpy as np
import pytest
from golden_cases import NAMES, stored

from npunet import UNet
from npunet.golden import corners, probes
from npunet.golden.cases import NETWORK_CASES, network_input
from npunet.golden.draws import Draws
from npunet.golden.layer_run import run_layer


def test_draws_are_pinned():
    """These words belong to the format: a change here changes every bundle."""
    draws = Draws(0, "network random")
    assert [int(word) for word in draws.words(2)] == [14961212629206855904, 12701050160824649034]
    want = [2.842525005340576, -3.18328857421875, -3.6553549766540527]
    assert Draws(0, "a").uniform((3,), 4.0).tolist() == want
    assert Draws(0, "a").words(1) != Draws(0, "b").words(1) != Draws(1, "b").words(1)


def test_draws_keep_their_ranges():
    values = Draws(7, "range")
    uniform, spread = values.uniform((9000,), 4.0), values.spread((9000,), -3, 5)
    whole = values.integers((9000,), -2, 4)
    assert uniform.min() < -3.9 and uniform.max() > 3.9 and np.abs(uniform).max() < 4 and abs(uniform.mean()) < 0.1
    assert np.abs(spread).min() >= 2.0**-3 and np.abs(spread).max() < 2.0**5
    assert (spread < 0).mean() == pytest.approx(0.5, abs=0.05)
    assert set(whole.tolist()) == set(range(-2, 4))
    np.testing.assert_array_equal(np.unique(np.floor(np.log2(np.abs(spread)))), np.arange(-3, 5))


def test_network_cases_are_what_they_are_called():
    model = UNet({"blocks": [{"filters": 3, "kernel": [2, 3], "pool": 1, "strides": 1}]}, (3, 14, 2), 2, seed=1)
    made = {kind: network_input(kind, model.graph, model.weights, 0) for kind in NETWORK_CASES}
    assert all(x.shape == (1, 3, 14, 2) and x.dtype == np.float32 for x in made.values())
    assert not made["zeros"].any() and not np.signbit(made["zeros"]).any()
    assert np.argwhere(made["impulse"]).tolist() == [[0, 0, 0, 0], [0, 1, 7, 1], [0, 2, 13, 0]]
    assert set(np.unique(made["saturate"])) == {-64, 64}


@pytest.mark.parametrize("name", NAMES)
def test_layer_cases_reach_what_they_aim_at(name):
    subject, _ = stored(name)
    graph, weights = subject.graph, subject.weights
    for node in graph:
        samples, inputs = corners.layer_inputs(node, graph, weights, 3)
        again = corners.layer_inputs(node, graph, weights, 3)[1]
        for source, value, repeated in zip(node.inputs, inputs, again, strict=True):
            assert value.shape == (len(samples), *graph.shape(source)) and value.dtype == np.float32
            assert value.tobytes() == repeated.tobytes()
        out = run_layer(node, inputs, weights, "seq_fma").out
        if "conv2d" in node.op and (out == out[0]).all():
            continue       # a dilation so large that every tap falls outside
        if node.op in ("concat", "upsample_nearest2d"):
            every = np.concatenate([value.ravel() for value in inputs])
            assert len(np.unique(every)) >= every.size * 3 // 4     # every fourth may be a special value
            continue
        assert np.isnan(out).any() and np.isfinite(out).any(), node.name
        if "conv2d" in node.op:
            assert np.isinf(out).any(), node.name
            sums = run_layer(node, inputs, weights, "seq")
            products = weights[node.weights[0]][..., 0, 0].size * inputs[0].shape[3]
            assert products < 4 or (sums.out != out).any(), node.name
        if node.op in ("relu6", "relu"):
            assert (out == 0).any() and not np.signbit(out[out == 0]).any()
            assert (out == 6).any() or node.op == "relu"


def test_a_convolution_meets_subnormal_sums():
    subject, _ = stored("d2_plain")
    node = next(node for node in subject.graph if node.op == "conv2d")
    samples, inputs = corners.layer_inputs(node, subject.graph, subject.weights, 3)
    bare = {name: np.zeros_like(v) if v.ndim == 1 else v for name, v in subject.weights.items()}
    out = np.abs(run_layer(node, inputs, bare, "seq_fma").out)
    assert any("subnormal" in sample for sample in samples)
    assert ((out > 0) & (out < 2.0**-126)).any()


def test_isolated_values_are_isolated():
    image = corners._isolated(np.ones(1, "f4"), np.zeros((9, 14, 3), "f4"), (3, 4), Draws(0, "i"))
    at = np.argwhere(image)
    apart = np.abs(at[:, None, :2] - at[None, :, :2])
    assert len(at) > 5 and all((apart[i, j] >= (3, 4)).any() for i in range(len(at)) for j in range(i))
    assert set(at[:, 2]) == {0, 1, 2}


def test_softmax_rows_have_a_dominant_and_an_equal_one():
    rows = probes.logit_rows(4)[:, 0]
    assert any((row == row[0]).all() for row in rows) and any(row.max() >= 1e30 for row in rows)


def test_additions_meet_ties_of_both_signs():
    a, b = probes.pairs().T
    with np.errstate(all="ignore"):
        exact = a.astype("f8") + b.astype("f8")
        rounded = (a + b).astype("f8")
        gap = np.spacing(np.abs(rounded).astype("f4")).astype("f8")
        tie = np.abs(exact - rounded) == gap / 2
    assert (tie & (exact > 0)).any() and (tie & (exact < 0)).any()

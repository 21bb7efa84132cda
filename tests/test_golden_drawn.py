"""Described networks: drawn weights hide no fault, the bundle says where they come from and what it cannot see."""

import json

import numpy as np
import pytest

from npunet import UNet, cli, pretrained
from npunet.golden import Bundle, blind, golden
from npunet.golden.drawn import drawn_weights
from npunet.verify import equivalence, mutants
from npunet.verify.diagnose import recipe
from npunet.verify.diagnose.attempts import variants
from npunet.verify.diagnose.sums import Order

WAVE = {"kernel": [1, 3], "pool": [1, 3], "strides": [1, 2]}
NORMED = {"blocks": [{"filters": 3, "norm": "layer", **WAVE}, {"filters": 4, "depth": 2, **WAVE}],
          "output_kernel_size": [1, 5]}


def test_no_drawn_weight_is_neutral():
    graph = UNet(NORMED, (44, 2), 3).graph
    drawn = drawn_weights(graph, 0)
    assert list(drawn) == list(graph.weights)
    for name, value in drawn.items():
        role = name.rpartition("/")[2]
        assert value.dtype == np.float32 and len(np.unique(value)) >= max(1, value.size - 1), name
        if role in ("beta", "bias", "moving_mean"):
            assert np.count_nonzero(value) == value.size - (value.size > 1)
        if role == "moving_variance":
            assert value.min() >= 0.5
    again, other = drawn_weights(graph, 0), drawn_weights(graph, 1)
    assert all(value.tobytes() == again[name].tobytes() != other[name].tobytes() for name, value in drawn.items())


def test_a_described_network_is_drawn_and_a_given_one_is_kept(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.json").write_text(json.dumps(NORMED | {"input_shape": [44, 2], "num_classes": 3}))
    assert cli.main(["golden", "net.json", "-o", "described", "--cases", "random", "--formats", "npz"]) == 0
    assert "weights drawn from the bundle's seed" in capsys.readouterr().out
    described = Bundle("described").manifest
    assert described["model"]["weights_are"] == "drawn" and described["cannot_see"] == []
    UNet(NORMED, (44, 2), 3, seed=2).save("fresh.npz")
    assert cli.main(["golden", "fresh.npz", "-o", "given", "--cases", "random", "--formats", "npz"]) == 0
    said = capsys.readouterr().out
    assert "cannot see: its bias left out or misplaced (the bias is 0 in every channel): L" in said
    bundle = Bundle("given")
    assert bundle.manifest["model"]["weights_are"] == "given"
    assert {spot["fault"] for spot in bundle.manifest["cannot_see"]} >= {
        "its bias left out or misplaced", "the norm's gamma left out or misplaced",
        "the norm's moving variance left out or misplaced"}
    assert "CANNOT SEE" in (tmp_path / "given/README.txt").read_text().upper()
    with pytest.raises(ValueError, match="weights='trained' must be one of drawn, given"):
        golden("tiny", tmp_path / "b", weights="trained")


def test_a_trained_network_hides_nothing():
    from npunet.golden.subject import resolve

    assert blind.blind_spots(resolve(pretrained.load("ecg"), "deploy", None, "full", 0)) == []


def test_what_only_these_weights_hide_is_not_equivalent(tmp_path):
    """A bias of 0: nothing tells a port that forgets it, and the score says so instead of proving it right."""
    golden(UNet(NORMED, (44, 2), 3, seed=2), tmp_path / "b", formats=("npz",))
    told = mutants.score(tmp_path / "b")
    rows = {row["mutant"]: row for row in told["table"]}
    assert rows["bias_missing"]["hidden"] and not rows["bias_missing"]["equivalent"]
    assert told["hidden"] > 50 and told["killed"] + told["equivalent"] + told["hidden"] == told["instances"]
    assert all(left["because"] for row in told["table"] for left in row["hidden"])
    golden(UNet(NORMED, (44, 2), 3), tmp_path / "b", formats=("npz",), weights="drawn")
    told = mutants.score(tmp_path / "b")
    assert told["survived"] == told["hidden"] == 0 and told["score"] == 1 and told["killed"] > 3000


@pytest.mark.parametrize(("shape", "least"), [((1, 3, 2, 4), 1), ((1, 1, 1, 3), 4), ((1, 2, 1, 2), 4)])
def test_equivalent_means_whatever_the_weights(shape, least):
    """Mutants that are called equivalent give the same bits with weights that the proof has not seen."""
    left = (shape[1] - 1) // 2
    attrs = {"stride": (1, 1), "pads": ((0, 0), (left, shape[1] - 1 - left)), "dilation": (1, 1)}

    def drawn(seed, biased):
        rng = np.random.default_rng(seed)
        x, kernel = rng.standard_normal((1, 1, 9, shape[2])).astype("f4"), rng.standard_normal(shape).astype("f4")
        bias = rng.standard_normal(shape[3]).astype("f4") * np.float32(biased)
        return recipe.Recipe("conv2d", (x,), (kernel,), bias, attrs, (1, 9, shape[3]), Order(fused=True))

    without = drawn(0, 0)
    proofs, met = equivalence.AnyWeights(without), 0
    others = [(right, {(n, w): wrong for n, w, wrong in variants(right)}) for right in (drawn(1, 1), drawn(2, 1))]
    for name, words, wrong in variants(without):
        if proofs.equivalent(name, words):
            met += 1
            for right, wrongs in others:
                np.testing.assert_array_equal(recipe.run(wrongs[name, words]), recipe.run(right), f"{name}: {words}")
        elif name == "bias_missing":
            assert "weighs them the same" in equivalence.hidden(name, words, without, wrong)
    assert met >= least

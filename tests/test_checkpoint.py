"""Checkpoints: whole, atomic, resumed to the same bits; foreign and damaged files are refused."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import npunet
from npunet.train.checkpoint import Keeper, read_checkpoint, write_checkpoint
from npunet.train.config import make_config
from npunet.train.diagnose import Diverged
from npunet.train.progress import Progress
from npunet.train.run import begin, resume

# Dropout, batch norm, momentum, averages, augmentations: everything that has a state takes part. 3 epochs of 16 steps.
SETTINGS = {
    "architecture": {"name": "unet", "params": {"blocks": [
        {"filters": 4, "depth": 1, "kernel": [1, 5], "pool": [1, 3], "strides": [1, 2], "dropout": 0.2},
        {"filters": 6, "depth": 1, "kernel": [1, 3], "pool": [1, 2], "strides": [1, 2]}],
        "output_kernel_size": [1, 3]}},
    "frame_size": 64, "num_classes": 4, "epochs": 3, "steps_per_epoch": 16, "batch_size": 5, "lr_rate": 0.01,
    "batch_norm_momentum": 0.9, "average": 0.95, "datasets": [{"name": "synthetic", "params": {"count": 5}}],
    "augmentations": [{"name": "baseline_wander"}, {"name": "lead_noise"}], "val_patients": 1, "test_patients": 1,
}
ROOT = Path(__file__).parent.parent

# Trains as a run does, with a checkpoint after every step, and says when the first is there.
SCRIPT = """
import json, sys
from npunet.train import checkpoint, run
from npunet.train.config import make_config
from npunet.train.fit import Stopped
checkpoint.Keeper.due = True
folder, settings = sys.argv[1], make_config(json.loads(sys.argv[2]))[0]
try:
    run.resume(folder, backend="numpy") if sys.argv[3] == "resume" else run.begin(settings, folder, backend="numpy")
except Stopped:
    sys.exit(130)
"""


def weights_of(folder, name="last.npz"):
    """One sha256 of all arrays of a checkpoint, and its step."""
    arrays, told = read_checkpoint(Path(folder) / name)
    found = hashlib.sha256()
    for key in sorted(arrays):
        found.update(key.encode() + arrays[key].tobytes())
    return found.hexdigest(), told["progress"]["step"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that was never stopped."""
    folder = tmp_path_factory.mktemp("whole")
    begin(make_config(SETTINGS)[0], folder, backend="numpy")
    return folder


def launch(folder, how="begin", settings=SETTINGS):
    """A run in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder), json.dumps(settings), how],
                            env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_step(folder, step, process):
    """Wait until the checkpoint has come to a step; every checkpoint on the way must load."""
    end = time.monotonic() + 30
    while time.monotonic() < end and process.poll() is None:
        if (Path(folder) / "last.npz").exists() and weights_of(folder)[1] >= step:
            return
        time.sleep(0.002)
    raise AssertionError(f"the run did not come to step {step}")


def test_a_run_that_is_killed_goes_on_to_the_same_bits(whole, tmp_path):
    for how, step in (("begin", 3), ("resume", 21)):                         # in the first epoch, then in the second
        process = launch(tmp_path, how)
        wait_for_step(tmp_path, step, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert step <= weights_of(tmp_path)[1] < 48
    (tmp_path / ".0123456789abcdef.npunet.tmp").write_bytes(b"half")  # as a kill while writing leaves it
    progress = resume(tmp_path, backend="numpy")
    assert progress.ended == "all epochs are done"
    assert weights_of(tmp_path) == weights_of(whole) and weights_of(whole)[1] == 48
    assert weights_of(tmp_path, "best.npz") == weights_of(whole, "best.npz")
    assert (tmp_path / "model.npz").read_bytes() == (whole / "model.npz").read_bytes()
    rows = [[{**row, "seconds": 0} for row in json.loads((folder / "history.json").read_text())]
            for folder in (whole, tmp_path)]
    assert rows[0] == rows[1] and len(rows[0]) == 3
    assert not list(tmp_path.glob(".*.tmp"))


@pytest.mark.skipif(os.name == "nt", reason="signals of another kind")
def test_ctrl_c_writes_a_checkpoint_that_goes_on_to_the_same_bits(whole, tmp_path):
    process = launch(tmp_path)
    wait_for_step(tmp_path, 5, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == 130
    assert weights_of(tmp_path)[1] < 48
    labels = npunet.load(tmp_path / "model.npz").segment(np.sin(np.arange(500.0)), 100)
    assert labels.shape == (500,), "the best network so far can be used"
    resume(tmp_path, backend="numpy")
    assert weights_of(tmp_path) == weights_of(whole)


def test_the_same_settings_give_the_same_bits_and_another_seed_others(whole, tmp_path):
    begin(make_config(SETTINGS)[0], tmp_path / "again", backend="numpy")
    begin(make_config({**SETTINGS, "seed": 1})[0], tmp_path / "other", backend="numpy")
    assert weights_of(tmp_path / "again") == weights_of(whole) != weights_of(tmp_path / "other")


def test_a_folder_with_a_run_is_not_overwritten(whole):
    before = weights_of(whole)
    with pytest.raises(FileExistsError, match="already holds a run; go on with it by --resume"):
        begin(make_config(SETTINGS)[0], whole)
    resume(whole, backend="numpy")                                           # it is over: nothing happens
    assert weights_of(whole) == before


def test_other_settings_and_other_data_are_refused(whole, tmp_path):
    with pytest.raises(ValueError, match="begun with other settings: lr_rate differ"):
        resume(whole, config=make_config({**SETTINGS, "lr_rate": 0.02})[0])
    arrays, told = read_checkpoint(whole / "last.npz")
    told["parts"]["train"][0] = "somebody else"
    write_checkpoint(tmp_path / "last.npz", arrays, told)
    with pytest.raises(ValueError, match=r"is not that of the run .* other subjects"):
        resume(tmp_path)
    told["parts"]["train"][0] = read_checkpoint(whole / "last.npz")[1]["parts"]["train"][0]
    told["progress"]["ended"] = ""
    del arrays["weights/ENC1_skip/bias"]
    write_checkpoint(tmp_path / "last.npz", arrays, told)
    with pytest.raises(ValueError, match="missing: weights/ENC1_skip/bias"):
        resume(tmp_path)


def test_damaged_and_foreign_files_are_refused(whole, tmp_path):
    good = (whole / "last.npz").read_bytes()
    path = tmp_path / "last.npz"
    for size in (0, 10, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:size])
        with pytest.raises(ValueError, match="not a whole checkpoint"):
            read_checkpoint(path)
    spoiled = bytearray(good)
    spoiled[len(good) // 3] ^= 1
    path.write_bytes(spoiled)
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        read_checkpoint(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match=r"no entry checkpoint\.json"):
        read_checkpoint(path)
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        read_checkpoint(tmp_path / "array.npy")
    with pytest.raises(ValueError, match="not a whole checkpoint"):
        read_checkpoint(whole / "model.npz")
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        read_checkpoint(tmp_path / "nothing.npz")


def test_weights_that_are_not_finite_do_not_replace_the_good_ones(tmp_path):
    keeper, progress = Keeper(tmp_path, {}), Progress(np.random.default_rng(0))
    keeper.save({"weights/a": np.ones(2)}, progress)
    good = weights_of(tmp_path)
    with pytest.raises(Diverged, match="weights/a is not finite"):
        keeper.save({"weights/a": np.array([1, np.nan])}, progress)
    assert weights_of(tmp_path) == good


def test_progress_survives_json_exactly():
    progress = Progress(np.random.default_rng(3), 7, [0.1 + 0.2, 1e-300], [{"epoch": 1, "val_f1": None, "loss": 1 / 3}])
    progress.generator.random(5)
    again = Progress.from_dict(json.loads(json.dumps(progress.to_dict())))
    assert again.to_dict() == progress.to_dict()
    assert again.generator.random() == progress.generator.random()

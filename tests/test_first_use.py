"""The first predictions on a new machine: small ones do not wait for the compiler, and have the engine's bits."""

import io
import sys
import time

import numpy as np
import pytest

from npunet import UNet, cli, presets
from npunet.deploy import deploy
from npunet.engine.runtime import first_use, installed, native
from npunet.engine.runtime.entry_points import INTEGER, SEQ_FMA, TRAIN
from npunet.engine.runtime.notice import Notice


class Compiling(BaseException):
    """Somebody asked the compiler. No Exception, which would become EngineUnavailable and be remembered."""


@pytest.fixture
def new_machine(monkeypatch, tmp_path):
    """As if nothing were compiled and nothing had been run; whoever compiles is caught."""
    def compile_entry(self):
        raise Compiling(self.name)

    monkeypatch.setattr(native, "folders", lambda: iter([tmp_path / "cache"]))
    monkeypatch.setattr(native.Entry, "_compile", compile_entry)
    for entry in (SEQ_FMA, TRAIN, INTEGER):
        monkeypatch.setattr(entry, "_native", None)
        monkeypatch.setattr(entry, "_looked", -1e9)
    monkeypatch.setattr(first_use, "ALLOWED", 20.0)
    monkeypatch.setattr(first_use._Account, "spent", 0.0)
    monkeypatch.setattr(first_use._Account, "said", False)


@pytest.fixture
def tiny():
    description = presets.load("tiny")
    return UNet(description["architecture"]["params"], description["input_shape"], description["num_classes"])


def test_a_small_first_job_runs_in_numpy_with_the_engines_bits(new_machine, tiny, rng):
    x = rng.standard_normal((3, *tiny.input_shape)).astype(np.float32)
    expected = tiny.predict(x, backend="numpy", arithmetic="seq_fma")
    assert not np.array_equal(expected, tiny.predict(x, backend="numpy", arithmetic="any")), "the test can tell"
    np.testing.assert_array_equal(tiny.predict(x).view(np.int32), expected.view(np.int32))
    assert not tiny._engines.kept


def test_who_names_the_engine_gets_it(new_machine, tiny, rng):
    with pytest.raises(Compiling):
        tiny.predict(rng.standard_normal((1, *tiny.input_shape)), backend="engine")


class Processor:
    """A processor whose time passes by a second whenever it is asked for."""

    def __init__(self):
        self.seconds = 0.0

    def thread_time(self):
        self.seconds += 1.0
        return self.seconds


def test_jobs_add_up_until_compiling_pays(new_machine, tiny, rng, monkeypatch, capsys):
    x = rng.standard_normal((4, *tiny.input_shape)).astype(np.float32)
    monkeypatch.setattr(first_use, "time", Processor())
    layers = len(list(deploy(tiny.graph, tiny.weights.read_only)[0]))
    monkeypatch.setattr(first_use, "ALLOWED", 3.0 * layers)
    monkeypatch.setattr(first_use, "MENTIONED", 1.0 * layers)
    tiny.predict(x)
    assert first_use._Account.spent == layers and capsys.readouterr().err == ""
    tiny.predict(x)
    assert first_use._Account.spent == 2 * layers
    assert "NumPy runs small jobs, with the same bits; 'npunet warmup'" in capsys.readouterr().err
    tiny.predict(x)
    assert capsys.readouterr().err == "", "it is said once"
    with pytest.raises(Compiling, match="seq_fma"):
        tiny.predict(x)


def test_a_job_that_takes_longer_than_was_thought_is_handed_to_the_engine(new_machine, tiny, rng, monkeypatch):
    x = rng.standard_normal((4, *tiny.input_shape)).astype(np.float32)
    monkeypatch.setattr(first_use, "time", Processor())
    monkeypatch.setattr(first_use, "ALLOWED", 5.0)
    with pytest.raises(Compiling, match="seq_fma"):
        tiny.predict(x)
    assert first_use._Account.spent == 6, "it was begun in NumPy, and given up as soon as its time was over"


def test_the_engine_that_takes_over_gives_the_same_bits(tiny, rng, monkeypatch):
    x = rng.standard_normal((4, *tiny.input_shape)).astype(np.float32)
    monkeypatch.setattr(first_use, "ALLOWED", 5.0)
    monkeypatch.setattr(first_use._Account, "spent", 0.0)
    monkeypatch.setattr(first_use, "pays_in_numpy", lambda *_: first_use._Account.spent < first_use.ALLOWED)
    monkeypatch.setattr(first_use, "time", Processor())
    tiny._engines.kept.clear()
    y = tiny.predict(x)
    assert tiny._engines.kept, "the engine did it"
    np.testing.assert_array_equal(y, tiny.predict(x, backend="numpy", arithmetic="seq_fma"))


def test_where_the_engine_cannot_take_over_numpy_ends_the_job(new_machine, tiny, rng, monkeypatch):
    def fail(self):
        raise RuntimeError("no compiler")

    monkeypatch.setattr(native.Entry, "_compile", fail)
    monkeypatch.setattr(installed, "_failures", [])
    monkeypatch.setattr(first_use, "time", Processor())
    monkeypatch.setattr(first_use, "ALLOWED", 5.0)
    x = rng.standard_normal((4, *tiny.input_shape)).astype(np.float32)
    with pytest.warns(RuntimeWarning, match="no compiler"):
        y = tiny.predict(x)
    np.testing.assert_array_equal(y, tiny.predict(x, backend="numpy"))


def test_a_large_first_job_compiles_at_once(new_machine, tiny, rng, monkeypatch):
    monkeypatch.setattr(first_use, "RATE", 10)
    with pytest.raises(Compiling):
        tiny.predict(rng.standard_normal((1, *tiny.input_shape)))
    assert first_use._Account.spent == 0


def test_a_compiled_engine_is_taken_at_once(new_machine, tiny, rng, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(first_use, "ALLOWED", 20.0)
    tiny.predict(rng.standard_normal((1, *tiny.input_shape)), backend="engine")
    tiny._engines.kept.clear()
    tiny.predict(rng.standard_normal((1, *tiny.input_shape)))
    assert len(tiny._engines.kept) == 1


def test_the_demo_and_the_command_that_it_suggests_do_not_compile(new_machine, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NPUNET_DATA", raising=False)
    assert cli.main(["demo"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    suggested = next(line[1:] for line in lines if line[:2] == ["npunet", "predict"])
    assert cli.main(suggested) == 0


def test_warmup_compiles_training_too(new_machine, monkeypatch, capsys):
    compiled = []
    made = type("Made", (), {"path": None, "found": False})()
    monkeypatch.setattr(native.Entry, "_compile", lambda self: compiled.append(self.name) or made)
    assert cli.main(["warmup"]) == 0
    assert compiled == ["seq_fma", "train", "integer"]
    assert cli.main(["warmup", "--for", "predict", "--arithmetic", "seq"]) == 0
    assert "training" in capsys.readouterr().out


def test_compiling_shows_its_progress(monkeypatch):
    for terminal, wanted in ((False, "\nnpunet: 0 s of about 100 s (0 %)\n"),
                             (True, "\r\033[Knpunet: 1 s of about 100 s")):
        err = io.StringIO()
        err.isatty = lambda terminal=terminal: terminal
        monkeypatch.setattr(sys, "stderr", err)
        monkeypatch.setattr("npunet.engine.runtime.notice.EVERY", 0.05)
        with Notice("the engine", 100, 0.0):
            time.sleep(0.7 if terminal else 0.2)
        assert "compiling the engine for this machine; this happens once and takes about 2 minutes" in err.getvalue()
        assert wanted in err.getvalue() and "npunet: compiled the engine after" in err.getvalue()
    quiet = io.StringIO()
    monkeypatch.setattr(sys, "stderr", quiet)
    with Notice("the engine", 100, 60):
        pass
    assert quiet.getvalue() == ""


def test_a_small_first_job_of_integers_runs_in_numpy(new_machine, tiny, rng):
    from npunet import quantize

    model = quantize(tiny, rng.standard_normal((5, *tiny.input_shape)))
    x = model.quantize_input(rng.standard_normal((3, *tiny.input_shape)))
    np.testing.assert_array_equal(model.predict(x), model.predict(x, backend="numpy"))
    assert not model._engines.kept and first_use._Account.spent > 0
    with pytest.raises(Compiling):
        model.predict(x, backend="engine")

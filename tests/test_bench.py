"""The benchmark: it runs with what is installed, checks before it times, and its figures are what was measured."""

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("numba")
BENCH = Path(__file__).parent.parent / "bench"
if not BENCH.is_dir():
    pytest.skip("bench/ is not here", allow_module_level=True)


@pytest.fixture(scope="module")
def bench():
    """A function that imports a script of bench/ by name."""
    sys.path.append(str(BENCH))
    yield importlib.import_module
    sys.path.remove(str(BENCH))


def run_script(name, *arguments):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.run([sys.executable, str(BENCH / name), *arguments], capture_output=True, text=True, timeout=200,
                          env=environment)


def test_a_quick_run(tmp_path):
    """One small model, with ONNX Runtime where it is installed."""
    done = run_script("run.py", "--quick", "--models", "tiny", "--peers",
                      "npunet,npunet session,npunet numpy,onnxruntime,litert", "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "results.json").read_text())
    peers = {row["peer"] for row in result["rows"]}
    assert {"npunet", "npunet session", "npunet numpy"} <= peers and not result["wrong"]
    assert ("onnxruntime" in peers) != any(name.startswith("onnxruntime") for name in result["missing"])
    assert any(name.startswith("litert") for name in result["missing"])  # the tiny model has no .tflite anywhere
    for row in result["rows"]:
        assert row["ms"] > 0 and row["error"] < 1e-4 and len(row["round_ms"]) == 3
        assert row["gflops"] == pytest.approx(2 * result["subjects"]["tiny"]["macs"] / row["ms"] / 1e6)
    assert (tmp_path / "results.md").read_text() in done.stdout and "**tiny**, 32 x 1, 560 parameters" in done.stdout
    assert all(size > 0 for size in result["installed_bytes"].values()) and result["peak"]["1"]["fma_gflops"] > 0
    pytest.importorskip("matplotlib")
    assert (tmp_path / "results.png").read_bytes().startswith(b"\x89PNG")


def test_kernels(tmp_path):
    done = run_script("kernels.py", "--quick", "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    (found,) = json.loads((tmp_path / "kernels.json").read_text())["models"]
    assert sum(row["macs"] for row in found["instructions"]) > 0 and found["sum_us"] > 0 < found["whole_us"]
    numbers = [int(number) for row in found["instructions"] for number in row["numbers"].split("+")]
    assert numbers == list(range(len(numbers)))
    assert "| copy_out | output | 1x32x2 |" in done.stdout


@pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="this system does not tell peaks of memory")
def test_sizes(tmp_path):
    done = run_script("sizes.py", "--sizes", "48,512", "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    small, large = json.loads((tmp_path / "sizes.json").read_text())["sizes"]
    assert large["arena"] > 50 * small["arena"] and 0.9 < large["share"] < 1.15
    assert large["input"] == 4 * 512 * 512 and large["output"] == 2 * large["input"]


def test_threads(tmp_path):
    done = run_script("threads.py", "--quick", "--threads", "1,3", "--rounds", "1", "--seconds", "0.001", "-o",
                      str(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "threads.json").read_text())["rows"]
    assert len(rows) == 3 and all(row["same"] and row["speedup"]["1"] == 1 and row["seconds"]["3"] > 0 for row in rows)
    assert "| FMA peak" in done.stdout and "| times one thread | one thread, ms | 3 |" in done.stdout


class TestChecks:
    """A peer that computes something else is not timed."""

    def subject(self, folder, rng):
        x = rng.standard_normal((2, 6, 1)).astype(np.float32)
        np.save(folder / "x.npy", x)
        np.save(folder / "y.npy", 2.0 * x.astype(np.float64))
        return folder

    def peer(self, bench, call, **how):
        return bench("peers").Peer("fake", lambda folder, batch, threads: call, ("numpy",), **how)

    def test_right_and_wrong_outputs(self, bench, tmp_path, rng):
        worker, folder = bench("worker"), self.subject(tmp_path, rng)
        _, given, error = worker.opened(self.peer(bench, lambda x: 2 * x), folder, 5, 1)
        assert given.shape == (5, 6, 1) and np.array_equal(given[0], given[4]) and error == 0
        for call, told in ((lambda x: 2.001 * x, r"is off by 5\.00e-04"), (lambda x: np.nan * x, "is off by nan"),
                           (lambda x: 2 * x[:, :5], r"gives \(2, 5, 1\)")):
            with pytest.raises(worker.WrongOutput, match=told):
                worker.opened(self.peer(bench, call), folder, 2, 1)

    def test_int8_is_given_int8(self, bench, tmp_path, rng):
        worker, folder = bench("worker"), self.subject(tmp_path, rng)
        how = {"encoded": lambda folder, x: np.rint(x * 16).astype(np.int8),
               "decoded": lambda folder, y: y.astype(np.float32) / 8}
        _, given, error = worker.opened(self.peer(bench, lambda x: x, **how), folder, 2, 1)
        assert given.dtype == np.int8 and 0 < error < 0.1
        with pytest.raises(worker.WrongOutput):
            worker.opened(self.peer(bench, lambda x: -x, **how), folder, 2, 1)

    def test_integers_are_compared_with_tflite_micros(self, bench, tmp_path, rng):
        worker, folder = bench("worker"), self.subject(tmp_path, rng)
        given = np.rint(np.load(folder / "x.npy") * 16).astype(np.int8)
        assert worker.steps_off(folder, given) is None
        np.save(folder / "y_int8.npy", given)
        assert worker.steps_off(folder, given + np.int8(3)) == 3
        as_images = (given.astype(np.int16) + 128).astype(np.uint8)[:, None].transpose(0, 3, 1, 2)  # of the QDQ model
        assert worker.steps_off(folder, as_images) == 0
        how = {"encoded": lambda folder, x: np.rint(x * 16).astype(np.int8), "exact": True,
               "decoded": lambda folder, y: y.astype(np.float32) / 8}
        assert worker.opened(self.peer(bench, lambda x: x, **how), folder, 2, 1)[2] < 0.1
        with pytest.raises(worker.WrongOutput, match="is off by 1 steps from TFLite-Micro's integers"):
            worker.opened(self.peer(bench, lambda x: x + np.int8(1), **how), folder, 2, 1)

    def test_wrong_and_missing_peers_are_told(self, bench, tmp_path):
        run, subjects = bench("run"), bench("subjects")

        class Fake(run.Seat):
            def ask(self, request, *arguments):
                trouble = {"wrong": "WrongOutput: is off by 1", "bare": "FileNotFoundError: x is not there",
                           "broken": "OSError: told"}.get(self.name)
                if trouble:
                    raise RuntimeError(trouble)
                return [1.0, 2.0, 3.0] if request == "time" else 0.0

        seats = [Fake(name, None, None) for name in ("npunet", "wrong", "bare", "broken")]
        result = {"wrong": [], "missing": {}, "peak": {"1": {"fma_gflops": 10.0}}}
        plan = run.Plan([], [], [1], [1], 2, 0.0, 0, False, tmp_path)
        rows = run.compare(seats, subjects.Subject("net", tmp_path, 10**9, 1), 2, 1, plan, result)
        assert [row["peer"] for row in rows] == ["npunet"]
        assert (rows[0]["ms"], rows[0]["calls"], rows[0]["ratio"], rows[0]["gflops"]) == (1000.0, 6, 1.0, 2.0)
        assert result["wrong"] == ["wrong, net, batch 2, 1 thread: WrongOutput: is off by 1"]
        assert list(result["missing"]) == ["bare, net", "broken, net, batch 2, 1 thread"]

    def test_wrong_outputs_fail_the_run(self, bench, tmp_path, monkeypatch, capsys):
        run = bench("run")
        monkeypatch.setattr(run, "measure", lambda plan: {"wrong": ["torch: is off"]})
        monkeypatch.setattr(run, "write", lambda result, out: "")
        assert run.main(["--quick", "-o", str(tmp_path)]) == 1
        assert "WRONG: torch: is off" in capsys.readouterr().err
        with pytest.raises(SystemExit):
            run.main(["--peers", "caffe"])
        assert "no such peer: caffe" in capsys.readouterr().err


def test_a_drift_of_the_machine_cancels_in_ratios(bench):
    """The machine halves its speed in the second round: medians move, ratios of rounds do not."""
    base = [[1.0, 1.0, 1.1], [2.0, 2.0, 2.2], [1.0, 1.2, 1.0]]
    row = bench("tables").condensed([[3.0], [6.0], [3.0]], base, 2)
    assert row["ratio"] == 3.0 and row["ms"] == 1500.0 and row["ms_best"] == 1500.0 and row["calls"] == 3


def test_timing_counts_calls_not_their_warming_up(bench):
    seen = []
    taken = bench("worker").durations(lambda x: seen.append(x), np.zeros(1), 0.0)
    assert len(taken) == 3 == len(seen) - 1


def test_cores_and_sizes_of_this_machine(bench):
    machine = bench("machine")
    assert len(machine.cores(1)) == 1 and set(machine.describe()) >= {"processor", "features", "cores"}
    with pytest.raises(ValueError, match="100000 threads were asked for"):
        machine.cores(100_000)
    assert machine.installed_bytes(("numba",)) > machine.installed_bytes(("numpy",)) > 10**7  # numba requires numpy


@pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")
def test_torch_network_is_the_network(bench, rng):
    torch = pytest.importorskip("torch")
    from test_reference import NAMES, model_of, stored

    from npunet.deploy import deploy

    for name in NAMES:
        case, arrays = stored(name)
        model = model_of(case, arrays, "float32")
        if model.sizes.fixed:
            continue
        x = arrays["x"].astype(np.float32)
        for layout in (torch.contiguous_format, torch.channels_last):
            net = bench("torch_net").TorchNet(*deploy(model.graph, model.weights), model.sizes.rank, layout)
            assert np.allclose(net(torch.from_numpy(x)).numpy(), model.predict(x, backend="numpy"), 1e-4, 1e-4), name

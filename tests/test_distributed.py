"""Many cores: blocks with the bits of one piece, and databases that lose nothing."""

import csv
import io
import logging
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from engine_cases import assert_same_bits
from test_reference import NAMES, model_of, stored

from npunet import UNet, pretrained
from npunet.cli import main, many
from npunet.distributed import Halo, halos, map_blocks, map_zarr, tasks
from npunet.distributed.cluster import SETTINGS

da = pytest.importorskip("dask.array")
dask = pytest.importorskip("dask")
distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")


def cut_at_random(size, rng, parts):
    """A size as the sum of at most so many random ones, some of which may be 1."""
    at = np.unique(rng.integers(1, max(2, size), parts - 1))
    return tuple(int(length) for length in np.diff([0, *at[at < size], size]))


@pytest.fixture(scope="module")
def ecg():
    return pretrained.load("ecg-trained").network


@pytest.mark.parametrize("name", [name for name in NAMES if "layer_norm" not in name])
def test_stored_configurations(name, rng):
    case, arrays = stored(name)
    model = model_of(case, arrays, "float32")
    if model.sizes.fixed:
        pytest.skip("layer norm")
    rank, channels = model.sizes.rank, model.sizes.channels
    for _ in range(2):
        size = tuple(int(rng.integers(1, 6 * multiple + 9)) for multiple in model.sizes.multiple[2 - rank :])
        x = rng.standard_normal((3, *size, channels)).astype(np.float32)
        expected = model.predict(x, "numpy", "seq_fma", pad=True)
        chunks = ((2, 1), *(cut_at_random(length, rng, 4) for length in size), cut_at_random(channels, rng, 2))
        blocks = map_blocks(model, da.from_array(x, chunks=chunks), backend="numpy")
        assert blocks.chunks[:-1] == chunks[:-1]
        assert blocks.shape == expected.shape
        assert blocks.dtype == expected.dtype
        assert_same_bits(blocks.compute(scheduler="sync"), expected, f"{name}, {size} in {chunks}")


def test_the_halo_of_the_ecg_network(ecg):
    halo, = halos(ecg.sizes)
    assert (halo.period, halo.before, halo.after) == (16, 160, 176)


@pytest.mark.parametrize(("scheduler", "backend"), [("sync", "numpy"), ("threads", "auto"), ("processes", "numpy")])
def test_ecg(ecg, scheduler, backend, rng):
    """16,000 samples and a ragged tail, in blocks that begin anywhere, some shorter than the halo."""
    x = rng.standard_normal((16_003, 1)).astype(np.float32)
    expected = ecg.predict(x[None], "numpy", arithmetic="seq_fma", pad=True)[0]
    ways = (cut_at_random(len(x), rng, 20), (1000,) * 16 + (3,))
    for chunks in ways[: 1 if scheduler == "processes" else 2]:
        array = da.from_array(x, chunks=(chunks, 1))
        with dask.config.set(num_workers=2):
            found = map_blocks(ecg, array, backend=backend).compute(scheduler=scheduler)
            assert_same_bits(found, expected, f"{chunks}")
            labels = map_blocks(ecg, array[:, 0], output="labels", backend=backend)[5000:5010]
            np.testing.assert_array_equal(labels.compute(scheduler=scheduler), expected.argmax(-1)[5000:5010])


@pytest.mark.parametrize("side", ["before", "after"])
def test_one_stride_less_of_halo_is_wrong(ecg, side, rng, monkeypatch):
    """On either side: what the test above finds equal, it would find different."""
    x = rng.standard_normal((16_000, 1)).astype(np.float32)
    expected = ecg.predict(x[None], "numpy", arithmetic="seq_fma")[0]
    whole = Halo.window

    def narrow(halo, first, stop, size):
        start, end = whole(halo, first, stop, size)
        if side == "before":
            return start + halo.period if start else 0, end
        return start, end - halo.period if end < size else size

    array = da.from_array(x, chunks=(4000, 1))
    assert_same_bits(map_blocks(ecg, array, backend="numpy").compute(scheduler="sync"), expected, "the whole halo")
    monkeypatch.setattr(Halo, "window", narrow)
    assert (map_blocks(ecg, array, backend="numpy").compute(scheduler="sync") != expected).any()


def test_weights_are_as_they_were(rng):
    model = UNet({"blocks": [{"filters": 4, "kernel": (1, 3), "pool": (1, 2), "strides": (1, 2)}],
                  "output_kernel_size": (1, 3)}, (None, 1), 2)
    x = rng.standard_normal((50,)).astype(np.float32)
    expected = model.predict(x[None, :, None], "numpy", arithmetic="seq_fma")[0]
    blocks = map_blocks(model, da.from_array(x, chunks=7), backend="numpy")
    name = next(iter(model.weights))
    model.weights[name] = model.weights[name] + 1
    assert_same_bits(blocks.compute(scheduler="sync"), expected, "before the change")
    assert (map_blocks(model, da.from_array(x, chunks=7), backend="numpy").compute(scheduler="sync") != expected).any()


def test_refusals(ecg):
    normed = UNet({"blocks": [{"filters": 4, "norm": "layer"}]}, (64, 1), 2)
    x = da.zeros((64, 1), chunks=16)
    with pytest.raises(ValueError, match=r"block 1 \(ENC1\): norm='layer' looks at the whole input.*run it whole"):
        map_blocks(normed, x)
    for array, told in ((np.zeros((64, 1)), "takes a dask.array, not ndarray"), (da.zeros((4, 64, 2)), "L, 1"),
                        (da.zeros((64, 1), dtype=complex), "real numbers"), (da.zeros((0, 1)), "no samples"),
                        (x[x[:, 0] > 0], "compute_chunk_sizes")):
        with pytest.raises(ValueError, match=told):
            map_blocks(ecg, array)
    for how in ({"arithmetic": "any"}, {"arithmetic": "winograd"}, {"output": "masks"}, {"backend": "gpu"}):
        with pytest.raises(ValueError, match=next(iter(how))):
            map_blocks(ecg, x, **how)


@pytest.mark.parametrize("name", ["d2_plain", "d1_ecg_small"])
def test_zarr_in_and_out(name, cluster, rng, tmp_path):
    """One chunk a task, of the source's shape, and nothing under the target's name before it is whole."""
    zarr = pytest.importorskip("zarr")
    case, arrays = stored(name)
    model = model_of(case, arrays, "float32")
    shape = ((101, 77) if model.sizes.rank == 2 else (1003,)) + (model.sizes.channels,)
    chunks = tuple(-(-size // 3) for size in shape[:-1])
    x = rng.standard_normal(shape).astype(np.float32)
    source, target = tmp_path / "x.zarr", tmp_path / "y.zarr"
    zarr.create_array(source, shape=shape, chunks=(*chunks, 1), dtype="f4")[...] = x
    expected = model.predict(x[None], "numpy", "seq_fma", pad=True)[0]
    with distributed.Client(cluster) as client:
        assert map_zarr(model, source, target, client=client, block=chunks, backend="numpy") == expected.shape
    written = zarr.open(target, mode="r")
    assert written.chunks[:-1] == chunks
    assert_same_bits(written[...], expected, name)
    map_zarr(model, source, tmp_path / "labels.zarr", backend="numpy", output="labels", block=chunks)
    np.testing.assert_array_equal(zarr.open(tmp_path / "labels.zarr", mode="r")[...], expected.argmax(-1))
    with pytest.raises(FileExistsError, match="is there already"):
        map_zarr(model, source, target)
    with pytest.raises(ValueError, match=r"takes .* a worker may take 1.0 kB; .*store it in smaller ones"):
        map_zarr(model, source, tmp_path / "z.zarr", limit=1000)
    with pytest.raises(FileNotFoundError, match="no such file"):
        map_zarr(model, tmp_path / "none.zarr", tmp_path / "z.zarr")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.zarr", "x.zarr", "y.zarr"]


def test_zarr_on_the_command_line(rng, tmp_path, capsys):
    zarr = pytest.importorskip("zarr")
    model = UNet({"blocks": [{"filters": 4, "kernel": 3, "pool": 2, "strides": 2}], "output_kernel_size": 3},
                 (None, None, 1), 2)
    model.save(tmp_path / "model.npz")
    x = rng.standard_normal((75, 50, 1)).astype(np.float32)
    zarr.create_array(tmp_path / "x.zarr", shape=x.shape, chunks=(20, 30, 1), dtype="f4")[...] = x
    command = ["predict", str(tmp_path / "model.npz"), str(tmp_path / "x.zarr")]
    more = ["--dask", "--workers", "2", "--worker-memory", "500MB", "--backend", "numpy", "--arithmetic", "seq_fma",
            "-o", str(tmp_path / "y.zarr")]
    assert main([*command, *more]) == 0
    told = capsys.readouterr().out
    assert "cluster 2 workers, 2 tasks at once, at most 500.0 MB of memory each" in told
    assert "blocks  1 of 75 x 50, which see " in told
    assert "a task takes at most" in told
    assert "labels 75 x 50" in told
    expected = model.predict(x[None], "numpy", "seq_fma", pad=True)[0].argmax(-1)
    np.testing.assert_array_equal(zarr.open(tmp_path / "y.zarr", mode="r")[...], expected)
    for wrong, told in (([], "add --dask"), (["--dask", "--instances"], "--instances does not go"),
                        (["--dask", "--from", "0"], "--from does not go")):
        assert main([*command, *wrong]) == 2
        assert told in capsys.readouterr().err


RECORDS = 6


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Six records of one lead, of which number 4 is cut short, and a model."""
    folder = tmp_path_factory.mktemp("many") / "database"
    folder.mkdir()
    rng = np.random.default_rng(3)
    for number in range(1, RECORDS + 1):
        signal = rng.integers(-400, 400, 3000).astype("<i2")
        signal.tofile(folder / f"{number}.dat")
        (folder / f"{number}.hea").write_text(f"{number} 1 250 3000\n{number}.dat 16 200 16 0 {signal[0]} "
                                              f"{signal.sum() % 65536} 0 II\n")
    with open(folder / "4.dat", "r+b") as file:
        file.truncate(1000)
    return folder


def results_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def one_by_one(database):
    """What a run without Dask writes."""
    out = database.parent / "one_by_one"
    assert main(["predict", "ecg-trained", str(database), "--backend", "engine", "-o", str(out)]) == 2
    return results_of(out)


@pytest.fixture(scope="module")
def cluster():
    with dask.config.set({**SETTINGS, "distributed.scheduler.allowed-failures": 1}), distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL) as cluster:
        yield cluster


def test_a_folder_as_tasks(database, one_by_one, tmp_path, capfd):
    """On a cluster of its own: the same files, the broken record named, and nothing done twice."""
    command = ["predict", "ecg-trained", str(database), "--backend", "engine", "--dask", "--workers", "2",
               "--worker-memory", "500MB", "-o", str(tmp_path / "out")]
    assert main(command) == 2
    told = capfd.readouterr()
    assert "cluster 2 workers, 2 tasks at once, at most 500.0 MB of memory each" in told.out
    assert "1 of 6 inputs could not be run" in told.err
    found = results_of(tmp_path / "out")
    summary = list(csv.DictReader(io.StringIO(found.pop("summary.csv").decode())))
    assert found == one_by_one
    assert [row["status"] for row in summary] == ["done", "done", "done", "broken", "done", "done"]
    assert str(database / "4") in summary[3]["error"]
    assert (summary[0]["rows"], summary[0]["size"], summary[0]["rate"]) == ("1", "3000", "250")


def test_what_is_done_is_skipped(database, one_by_one, cluster, tmp_path, capsys):
    """Unless the input, an option, the model or what was written has changed since."""
    copy, out = shutil.copytree(database, tmp_path / "database"), tmp_path / "out"
    (copy / "4.hea").unlink()
    command = ["predict", "ecg-trained", str(copy), "--backend", "engine", "-o", str(out), "--dask",
               cluster.scheduler_address]

    def ran(*more):
        capsys.readouterr()
        assert main([*command, *more]) == 0
        return sorted(line.split()[1].rstrip(":") for line in capsys.readouterr().out.splitlines()
                      if line.startswith("input "))

    every = [str(copy / number) for number in "12356"]
    assert ran() == every
    summary = (out / "summary.csv").read_bytes()
    assert ran() == []
    assert (out / "summary.csv").read_bytes() == summary
    (out / "2_labels.csv").write_text("mine\n")
    (out / ".done" / "3.json").write_text("{")
    shutil.copy(copy / "6.dat", copy / "5.dat")
    shutil.copy(copy / "6.hea", copy / "5.hea")
    (copy / "5.hea").write_text((copy / "5.hea").read_text().replace("6.dat", "5.dat").replace("6 1", "5 1", 1))
    assert ran() == every[1:4]
    assert (out / "2_labels.csv").read_bytes() == one_by_one["2_labels.csv"]
    assert ran("--from", "1") == every


def test_a_killed_worker_loses_nothing(database, one_by_one, cluster, tmp_path, capsys, monkeypatch):
    """One worker is killed by its process id as soon as the first result is there."""
    with distributed.Client(cluster) as client:
        victims = client.run(os.getpid)
        client.run(slow_down)                                                # so that every worker has a task then
    say = many._say
    killed = []

    def kill_at_first(outcome):
        say(outcome)
        if not killed:
            killed.append(victims.popitem()[1])
            os.kill(killed[0], signal.SIGKILL)

    monkeypatch.setattr(many, "_say", kill_at_first)
    out = tmp_path / "out"
    assert main(["predict", "ecg-trained", str(database), "--backend", "engine", "-o", str(out), "--dask",
                 cluster.scheduler_address]) == 2
    assert killed
    assert "died; " in capsys.readouterr().err
    found = results_of(out)
    del found["summary.csv"]
    assert found == one_by_one


def slow_down():
    """Let every job of this worker take a while longer."""
    from npunet.cli import predict

    run_one = predict._one

    def later(*arguments):
        time.sleep(0.3)
        return run_one(*arguments)

    predict._one = later


def test_an_input_that_kills_its_workers_ends(cluster, tmp_path):
    """Bounded retries, and the others are not lost."""
    deaths = []
    with distributed.Client(cluster) as client:
        outcomes = dict(tasks.each(client, die_of_three, list(range(6)), lambda *death: deaths.append(death)))
    assert [outcomes[number] for number in (0, 1, 2, 4, 5)] == [0, 1, 2, 4, 5]
    assert isinstance(outcomes[3], MemoryError)
    assert "2 workers died while they ran it" in str(outcomes[3])
    assert 1 <= len(deaths) <= 2                                             # the news of the last may come too late


def die_of_three(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_interrupted(database, one_by_one, tmp_path):
    """Ctrl-C: status 130, whole results only, no temporaries; the next run does the rest."""
    out = tmp_path / "out"
    command = [sys.executable, "-m", "npunet", "predict", "ecg-trained", str(database), "--backend", "numpy", "-o",
               str(out), "--dask", "--workers", "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          start_new_session=True) as process:
        for line in process.stdout:
            if line.startswith("classes"):
                os.killpg(process.pid, signal.SIGINT)                        # as a terminal does, its workers too
                break
        rest, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "of 6 inputs are through; the same command goes on from there" in rest
    assert "interrupted" in errors
    left = results_of(out)
    assert left.items() <= one_by_one.items()
    assert not [path for path in out.rglob("*") if path.name.endswith(".tmp")]


def test_what_dask_is_refused_for(database, tmp_path, capsys):
    out = ["-o", str(tmp_path / "out")]
    for more, told in ((["--dask", "nowhere"], "no address of a Dask scheduler"),
                       (["--dask", "--workers", "0"], "at least 1"),
                       (["--dask", "--worker-memory", "much"], "no amount of memory"),
                       (["--dask", "--worker-memory", "1MB"], "too little"),
                       (["--dask", "--worker-memory", "900TB"], "are free"),
                       (["--workers", "2"], "add --dask")):
        assert main(["predict", "ecg-trained", str(database), *out, *more]) == 2
        assert told in capsys.readouterr().err


def test_a_damaged_chunk_is_named(ecg, tmp_path):
    zarr = pytest.importorskip("zarr")
    made = zarr.create_array(tmp_path / "x.zarr", shape=(1000, 1), chunks=(100, 1), dtype="f4")
    made[...] = np.random.default_rng(1).normal(size=(1000, 1))
    chunk = max((path for path in (tmp_path / "x.zarr" / "c").rglob("*") if path.is_file()), key=str)
    chunk.write_bytes(b"damaged")
    with pytest.raises(ValueError, match=r"x.zarr is damaged here: .*; take a whole copy"):
        map_zarr(ecg, tmp_path / "x.zarr", tmp_path / "y.zarr")
    assert not (tmp_path / "y.zarr").exists()

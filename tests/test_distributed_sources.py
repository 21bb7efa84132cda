"""Where a run's inputs come from, and what becomes of them: addresses, long recordings, tables, memory."""

import csv
import functools
import http.server
import os
import signal
import threading

import numpy as np
import pytest

from npunet import UNet, load, memory, pretrained, quantize
from npunet.cli import main
from npunet.distributed import remote, tasks
from npunet.distributed.cluster import workers

pytest.importorskip("dask")
pytest.importorskip("distributed")
fsspec = pytest.importorskip("fsspec")
LENGTHS = {"a": 3000, "b": 2500, "c.1": 2750, "d": 3000}


def write_record(folder, name, length, fs=250):
    rng = np.random.default_rng(length)
    signal = np.cumsum(rng.integers(-40, 41, length)).astype("<i2")
    signal.tofile(folder / f"{name}.dat")
    (folder / f"{name}.hea").write_text(f"{name} 1 {fs} {length}\n{name}.dat 16 200 16 0 {signal[0]} "
                                        f"{int(signal.astype(int).sum()) & 0xFFFF} 0 II\n")


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    """Four records, of which one is cut short, and a list that names a fifth."""
    folder = tmp_path_factory.mktemp("addresses") / "ludb"
    (folder / "data").mkdir(parents=True)
    for name, length in LENGTHS.items():
        write_record(folder / "data", name, length)
    with open(folder / "data" / "d.dat", "r+b") as file:
        file.truncate(1000)
    (folder / "RECORDS").write_text("".join(f"data/{name}\n" for name in (*LENGTHS, "gone")))
    return folder


@pytest.fixture(scope="module")
def expected(database):
    out = database.parent / "expected"
    assert main(["predict", "ecg-trained", str(database), "--backend", "engine", "-o", str(out)]) == 2
    return {path.name: path.read_bytes() for path in out.iterdir()}


@pytest.fixture
def served(database):
    """The database on a web server of this machine."""
    handler = functools.partial(Quiet, directory=str(database.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/ludb"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *message):
        pass


@pytest.fixture
def bucket(database, monkeypatch):
    """The database in a bucket of moto's server."""
    server = pytest.importorskip("moto.server")
    pytest.importorskip("s3fs")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    running = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    monkeypatch.setenv("FSSPEC_S3_ENDPOINT_URL", f"http://{host}:{port}")    # for the workers' processes
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": f"http://{host}:{port}"})
    system = fsspec.filesystem("s3", skip_instance_cache=True)
    system.mkdir("hearts")
    system.put(str(database), "hearts/ludb", recursive=True)
    yield "s3://hearts/ludb"
    running.stop()


@pytest.mark.parametrize("kind", ["served", "bucket"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning",
                            "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_database_at_an_address(kind, request, expected, tmp_path, capsys):
    """The same tables as from a folder; what is broken or not there is named by its address; nothing is done twice."""
    address = request.getfixturevalue(kind)
    out = tmp_path / "out"
    command = ["predict", "ecg-trained", address, "--backend", "engine", "--dask", "--workers", "1", "-o", str(out)]
    assert main(command) == 2
    told = capsys.readouterr()
    assert f"{address}/data/gone: there is no file gone.hea" in told.err
    assert f"{address}/data/d is a WFDB record that cannot be read" in told.err
    assert "2 of 5 inputs could not be run" in told.err
    assert f"input   {address}/data/c.1: 1 lead x 2750 samples at 250 Hz" in told.out
    found = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    rows = list(csv.DictReader(found.pop("summary.csv").decode().splitlines()))
    assert found == expected
    assert [row["status"] for row in rows] == ["done", "done", "done", "broken", "broken"]
    assert float(rows[0]["QRS median ms"] or 0) >= 0
    if kind == "served":
        assert main(command) == 2
        assert "skipped 3 inputs" in capsys.readouterr().out


def test_addresses_that_are_refused(database, tmp_path, capsys):
    out = ["-o", str(tmp_path / "out")]
    for source, more, told in (("s3://hearts/ludb", [], "add --dask"),
                               ("nonsense://x/y", ["--dask"], "no protocol that fsspec knows"),
                               ("http://127.0.0.1:9/ludb", ["--dask"], "cannot be read"),
                               ("memory://nothing", ["--dask"], "nothing is there")):
        assert main(["predict", "ecg-trained", source, *more, *out]) == 2
        assert told in capsys.readouterr().err
    assert main(["predict", "ecg-trained", f"file://{database}/data/a", "--backend", "engine", "-o",
                 str(tmp_path / "a.csv")]) == 0                              # a path in other words


def test_records_in_memory(database, tmp_path):
    """A record of several files and segments is fetched whole, and nothing that lies elsewhere."""
    system = fsspec.filesystem("memory")
    system.pipe("/db/m.hea", b"m/2 1 250 30\nm1 10\nm2 20\n")
    for name, length in (("m1", 10), ("m2", 20)):
        system.pipe(f"/db/{name}.hea", f"{name} 1 250 {length}\n{name}.dat 16 200 16 0 0 0 0 II\n".encode())
        system.pipe(f"/db/{name}.dat", bytes(2 * length))
    with remote.fetched("memory://db/m", record=True) as local:
        names = sorted(path.name for path in (tmp_path / local).parent.iterdir())
    assert names == ["m.hea", "m1.dat", "m1.hea", "m2.dat", "m2.hea"]
    assert remote.named_files("r 3 100\n# note\nr.dat 16\n../x.dat 16\n/etc/passwd 16\n..  8\n~ 0\n") == ["r", "r.dat"]


def test_a_long_recording_in_pieces(tmp_path, capsys):
    """The labels of one process, by as many pieces as it takes; as a table of waves of either kind."""
    write_record(tmp_path, "long", 250 * 900)                                # 90,000 samples for the network
    command = ["predict", "ecg-trained", str(tmp_path / "long"), "--backend", "engine"]
    assert main([*command, "-o", str(tmp_path / "one.csv")]) == 0
    assert main([*command, "--dask", "--workers", "2", "-o", str(tmp_path / "two.csv")]) == 0
    told = capsys.readouterr().out
    assert "pieces  3 of 34,816 samples at most; a task takes at most" in told
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "two.csv").read_bytes()


def test_tables_as_parquet(database, expected, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    assert main(["predict", "ecg-trained", str(database / "data" / "a"), "--backend", "engine", "-o",
                 str(tmp_path / "a.parquet")]) == 0
    table = parquet.read_table(tmp_path / "a.parquet")
    rows = list(csv.DictReader(expected["a_labels.csv"].decode().splitlines()))
    assert table.num_rows == len(rows)
    for name in ("onset_s", "offset_s", "onset_sample", "offset_sample"):
        assert [float(value) for value in table[name].to_pylist()] == [float(row[name]) for row in rows]
    for name in ("class", "lead"):
        assert table[name].to_pylist() == [row[name] for row in rows]


def test_an_integer_network_as_tasks(tmp_path):
    """Run in a worker like a float one."""
    (tmp_path / "db").mkdir()
    write_record(tmp_path / "db", "a", 1000)
    calibration = np.random.default_rng(0).standard_normal((20, 256, 1))
    quantize(pretrained.load("ecg-trained"), calibration).save(tmp_path / "int8.npz")
    assert type(load(tmp_path / "int8.npz")).__name__ == "IntegerModel"
    command = ["predict", str(tmp_path / "int8.npz"), str(tmp_path / "db")]
    assert main([*command, "-o", str(tmp_path / "one")]) == 0
    assert main([*command, "--dask", "--workers", "1", "-o", str(tmp_path / "many")]) == 0
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "many" / path.name).read_bytes()


def test_workers_at_their_limit(tmp_path):
    """A task that takes more than a worker has: the worker is ended, a few others try, and the rest is not lost."""
    deaths = []
    with workers(None, 1, 2, "350MB") as (client, told):
        assert "at most 350.0 MB of memory each" in told
        outcomes = dict(tasks.each(client, greedy, list(range(12)), lambda *death: deaths.append(death)))
    assert [outcomes.pop(number) for number in range(12) if number != 5] == [n for n in range(12) if n != 5]
    assert isinstance(outcomes[5], MemoryError)
    assert "3 workers died while they ran it, most likely of its memory" in str(outcomes[5])
    assert len(deaths) <= 3


def greedy(number):
    if number != 5:
        return number
    taken = []
    while True:
        taken.append(np.ones(2**21))                                         # 16 MiB at a time


def test_nothing_but_deaths_ends(monkeypatch):
    """Rather than a death for every one of thousands of tasks."""
    monkeypatch.setattr(tasks, "DEATHS", 3)
    with workers(None, 1, 1, "350MB") as (client, _), pytest.raises(MemoryError, match=r"\d workers died, one after"):
        list(tasks.each(client, die, list(range(1000)), lambda *death: None))


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_bound_of_a_process():
    free = memory.available()
    with memory.bounded(10**7):
        assert memory.available() < 10**7
        with pytest.raises(ValueError, match=r"needs 100\.0 MB of memory"):
            memory.require(10**8, "it", "take less")
    assert memory.available() > free // 2


def test_a_single_input_that_is_run_whole(tmp_path, capsys):
    UNet({"blocks": [{"filters": 4, "kernel": 3}]}, (None, None, 1), 2).save(tmp_path / "m.npz")
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 16, 16, 1), np.float32))
    assert main(["predict", str(tmp_path / "m.npz"), str(tmp_path / "x.npz"), "--dask"]) == 2
    assert "leave --dask out" in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "m.npz"), str(tmp_path / "x.npz"), "--block", "16"]) == 2
    assert "--block and --level are for an array that is run in blocks" in capsys.readouterr().err

"""What Windows and macOS do otherwise, as far as it can be had here; reference/PLATFORMS.md lists the rest."""

import multiprocessing
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from board_ports import make
from engine_cases import batch_for, small

from npunet import cli, files
from npunet.cli import predict
from npunet.golden import golden, place
from npunet.golden.manifest import layer_id

RESERVED = {"con", "prn", "aux", "nul", *(f"{name}{n}" for name in ("com", "lpt") for n in range(10))}
FORBIDDEN = re.compile(r'[<>:"\\|?*\x00-\x1f]|[. ]$')
LONGEST_PATH = 200  # Windows takes 260 with the folder before it


def assert_fit_for_windows(paths):
    """Every part of every path may stand on a disk of Windows, and no two paths differ in case alone."""
    for path in paths:
        assert len(path) <= LONGEST_PATH, path
        for part in PurePosixPath(path).parts:
            assert not FORBIDDEN.search(part) and part.partition(".")[0].lower() not in RESERVED, path
    assert len({path.casefold() for path in paths}) == len(paths)


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_the_names_in_a_bundle(kind, tmp_path):
    bundle = make("tiny", kind, "cortex-m4", tmp_path / "b")
    listed = [path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()]
    assert len(listed) > 50
    assert_fit_for_windows(listed)


def test_names_of_layers_that_no_file_could_have():
    names = ["con", "aux", "CON", "Aux", "nul.", "a" * 300, "a" * 299 + "b", "x:y*?/z", "end..."]
    ids = [layer_id(number, name) for number, name in enumerate(names)]
    assert_fit_for_windows([f"f32/{name}/{name}.out.bin" for name in ids])


def test_results_of_inputs_that_differ_in_case_alone(tmp_path):
    for path in ("one/A.npy", "two/a.npy", "two/b.npy"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        np.save(tmp_path / path, np.zeros(3))
    names = predict._names(str(tmp_path), [str(path) for path in sorted(tmp_path.rglob("*.npy"))])
    assert names == ["one_A.npy", "two_a.npy", "b"]


def test_help_is_ascii():
    """So that every console shows it."""
    for verb in cli.VERBS:
        top = cli.Parser(prog="npunet")
        verb.add(top.add_subparsers())
        for parser in top._subparsers._group_actions[0].choices.values():
            parser.format_help().encode("ascii")


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "cp437"])
def test_a_console_that_lacks_letters(encoding, tmp_path):
    """The command does its work, and shows what it can."""
    command = [sys.executable, "-m", "npunet", "golden", "tiny", "--formats", "npz", "--cases", "random", "-o", "σ"]
    root = str(Path(__file__).parents[1])
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False,
                          env=os.environ | {"PYTHONIOENCODING": encoding, "PYTHONPATH": root, "PYTHONUTF8": "0"})
    assert done.returncode == 0, done.stderr
    assert ("wrote   σ" if encoding == "cp437" else "wrote   \\u03c3") in done.stdout.decode(encoding)
    assert (tmp_path / "σ" / "SHA256SUMS").is_file()


def test_text_has_plain_line_feeds_and_git_leaves_it_alone(tmp_path):
    bundle = make("tiny", "float", "cortex-m4", tmp_path / "b")
    there = {path.relative_to(bundle).as_posix(): path.read_bytes() for path in bundle.rglob("*") if path.is_file()}
    texts = [name for name in there if not name.endswith((".bin", ".npz"))]
    assert len(texts) > 20 and not any(b"\r" in there[name] for name in texts)
    if shutil.which("git") is None:
        pytest.skip("no git on this machine")
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "core.autocrlf=true"]
    for words in (["init", "-q", "."], ["add", "."], ["commit", "-qm", "a bundle"]):
        subprocess.run(["git", *who, *words], cwd=bundle, check=True, capture_output=True)
    subprocess.run(["git", *who, "clone", "-q", bundle, tmp_path / "c"], check=True, capture_output=True)
    assert {name: (tmp_path / "c" / name).read_bytes() for name in there} == there


@pytest.fixture
def without_locks(monkeypatch):
    """As on Windows: no locks, no exchange of names, and no renaming of what is open."""
    replace = os.replace

    def refusing(source, target):
        opened = [os.readlink(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")
                  if os.path.islink(f"/proc/self/fd/{number}")]
        if any(path == str(source) or path.startswith(f"{source}/") for path in opened):
            raise PermissionError(13, "it is open", str(source))
        replace(source, target)

    for module in (files, place):
        monkeypatch.setattr(module, "fcntl", None)
        monkeypatch.setattr(module, "exchanged", lambda one, other: False)
    monkeypatch.setattr(os, "replace", refusing)


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="what is open is read from /proc")
def test_files_are_replaced_where_nothing_open_can_be(without_locks, tmp_path):
    for text in ("one", "two"):
        files.write_text(tmp_path / "a.txt", text)
        assert (tmp_path / "a.txt").read_text() == text
    with pytest.raises(KeyError), files.atomic_write(tmp_path / "a.txt") as file:
        file.write(b"half")
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"] and (tmp_path / "a.txt").read_text() == "two"
    for seed in (0, 1):
        golden("tiny", tmp_path / "b", cases=("random",), formats=("npz",), seed=seed)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b"]


@pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="what is open is read from /proc")
def test_another_save_s_temporary_is_left_alone_until_it_is_old(without_locks, tmp_path):
    other = tmp_path / f".{'0' * 16}.npunet.tmp"
    other.write_text("being written")
    files.write_text(tmp_path / "a.txt", "one")
    assert other.exists()
    os.utime(other, (0, 0))
    files.write_text(tmp_path / "a.txt", "two")
    assert not other.exists()


def predicted(model, x):
    return model.predict(x, backend="engine", threads=1)


def test_processes_that_are_spawned(rng):
    """As they are on Windows and macOS: nothing is inherited, the model is pickled."""
    pytest.importorskip("numba")
    model = small()
    x = batch_for(model, rng, 4)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        there = pool.apply(predicted, (model, x))
    assert np.array_equal(there, predicted(model, x))

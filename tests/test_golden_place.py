"""Where a bundle is put: nothing of the user's is lost, and a run that is killed leaves a whole bundle."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from golden_cases import files_of

from npunet import cli
from npunet.golden import golden, place
from npunet.verify import mutants

SMALL = {"cases": ("zeros",), "formats": ("bin",)}


def whole(folder):
    """Whether a folder holds all that its SHA256SUMS lists, and nothing else."""
    listed = {line[66:]: line[:64] for line in (folder / "SHA256SUMS").read_text().splitlines()}
    there = {path: hashlib.sha256(raw).hexdigest() for path, raw in files_of(folder).items() if path != "SHA256SUMS"}
    return listed == there and bool(there)


@pytest.fixture
def old(tmp_path):
    golden("tiny", tmp_path / "b", **SMALL)
    return tmp_path / "b"


def test_an_old_bundle_is_replaced(old, tmp_path):
    before = (old / "manifest.json").read_text()
    golden("tiny", old, seed=1, **SMALL)
    assert whole(old) and (old / "manifest.json").read_text() != before
    (tmp_path / "link").symlink_to(old)
    golden("tiny", tmp_path / "link", **SMALL)
    assert (tmp_path / "link").is_symlink() and (old / "manifest.json").read_text() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "link"]


@pytest.mark.parametrize(("change", "message"), [
    (lambda b: (b / "notes.txt").write_text("mine"), r"holds notes\.txt, which is not the bundle's"),
    (lambda b: (b / "model/check").write_bytes(b"\x7fELF"), "holds model/check, which is not the bundle's"),
    (lambda b: (b / "README.txt").write_text("edited"), r"holds README\.txt, which was changed"),
    (lambda b: (b / "out").mkdir() or (b / "out/case.bin").write_bytes(b"1"), r"holds out/case\.bin"),
    (lambda b: (b / "also").symlink_to("README.txt"), "holds also, which is not the bundle's"),
    (lambda b: (b / "SHA256SUMS").unlink(), "is no golden bundle"),
    (lambda b: (b / "manifest.json").write_text("{}"), "is no golden bundle"),
    (lambda b: shutil.rmtree(b) or b.write_text("a file"), "is no folder"),
])
def test_what_is_the_user_s_is_refused_and_kept(change, message, old, tmp_path):
    change(old)
    before = files_of(old) if old.is_dir() else old.read_bytes()
    with pytest.raises(FileExistsError, match=message):
        golden("tiny", old, seed=1, **SMALL)
    assert (files_of(old) if old.is_dir() else old.read_bytes()) == before
    assert [path.name for path in tmp_path.iterdir()] == ["b"]


def test_a_folder_of_another_tool_is_refused_by_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("web").mkdir()
    for name, text in (("manifest.json", json.dumps({"name": "an extension"})), ("app.js", "years of work")):
        (Path("web") / name).write_text(text)
    before = files_of("web")
    assert cli.main(["golden", "tiny", "-o", "web"]) == 2
    assert "is no golden bundle" in capsys.readouterr().err and files_of("web") == before


def test_a_score_makes_no_file_the_bundle_s(old):
    (old / "notes.txt").write_text("mine")
    mutants.score(old)
    assert "notes.txt" not in (old / "SHA256SUMS").read_text()
    (old / "notes.txt").unlink()
    assert whole(old)


def test_what_changes_while_a_bundle_is_made_is_kept(old):
    def meddle(done, total, what):
        (old / "notes.txt").write_text("written meanwhile")

    with pytest.raises(FileExistsError, match=r"notes\.txt"):
        golden("tiny", old, seed=1, progress=meddle, **SMALL)
    assert (old / "notes.txt").read_text() == "written meanwhile"
    assert [path.name for path in old.parent.iterdir()] == ["b"]


def test_a_system_that_cannot_exchange_renames(old, monkeypatch):
    monkeypatch.setattr(place, "exchanged", lambda one, other: False)
    golden("tiny", old, seed=1, **SMALL)
    assert whole(old) and json.loads((old / "manifest.json").read_text())["seed"] == 1
    assert [path.name for path in old.parent.iterdir()] == ["b"]


def test_what_a_killed_run_left_is_removed_and_what_it_put_aside_comes_back(old, tmp_path):
    left = tmp_path / ".b.npunet-killed"
    for name in ("new", "old"):
        (left / name).mkdir(parents=True)
    before = files_of(old)
    shutil.rmtree(left / "old")
    old.rename(left / "old")                                  # killed between the two renames
    mine = tmp_path / ".b.backup"
    mine.mkdir()
    place.clean(old)
    assert files_of(old) == before and not left.exists() and mine.exists()
    if place.fcntl is None:
        return
    busy = tmp_path / ".b.npunet-alive"
    busy.mkdir()
    lock = place._lock(busy, wait=True)
    place.clean(old)
    assert busy.exists()                                      # another run still works there
    os.close(lock)
    place.clean(old)
    assert not busy.exists()


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
def test_a_kill_at_any_moment_leaves_a_whole_bundle(old):
    """A process that replaces the bundle over and over is killed at moments all over the making and the placing."""
    code = ("import sys; from npunet.golden import golden\nprint('ready', flush=True)\n"
            "for seed in range(1, 999): golden('tiny', sys.argv[1], seed=seed, cases=('zeros',), formats=('bin',))")
    seen = set()
    for number in range(8 if not os.environ.get("NPUNET_THOROUGH") else 60):
        process = subprocess.Popen([sys.executable, "-c", code, str(old)], stdout=subprocess.PIPE)
        process.stdout.readline()
        time.sleep(0.05 + 0.037 * number)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert whole(old)
        seen.add(json.loads((old / "manifest.json").read_text())["seed"])
    golden("tiny", old, **SMALL)
    assert whole(old) and [path.name for path in old.parent.iterdir()] == ["b"] and seen

"""Saving: what a kill leaves goes with the next save, and what is not ours stays."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from npunet import files
from npunet.files import write_npy
from npunet.formats.label_image import write_label_image
from npunet.golden.place import beside

LEFT = ".0123456789abcdef.npunet.tmp"
HOLDS = """
import sys, time
from npunet.files import atomic_write
with atomic_write(sys.argv[1] + "/a.bin") as file:
    file.write(b"half")
    file.flush()
    print("ready", flush=True)
    time.sleep(60)
"""
posix = pytest.mark.skipif(os.name == "nt", reason="locks of another kind")


def hidden(folder):
    return sorted(name for name in os.listdir(folder) if name.startswith("."))


def test_a_save_removes_what_killed_saves_left_and_nothing_else(tmp_path):
    (tmp_path / LEFT).write_bytes(b"half")
    (tmp_path / LEFT.replace("0", "f")).mkdir()
    (tmp_path / LEFT.replace("0", "f") / "half").write_bytes(b"half")
    others = [".0123456789abcdef.tmp", ".a.npunet.tmp", "0123456789abcdef.npunet.tmp", ".0123456789ABCDEF.npunet.tmp",
              f"{LEFT}.bak"]
    for name in others:
        (tmp_path / name).write_bytes(b"not ours")
    files.write_text(tmp_path / "a.txt", "a")
    assert sorted(os.listdir(tmp_path)) == sorted([*others, "a.txt"])


@posix
def test_a_link_that_looks_like_a_leftover_leads_nowhere(tmp_path):
    (tmp_path / "kept").write_bytes(b"kept")
    (tmp_path / LEFT).symlink_to(tmp_path / "kept")
    files.write_text(tmp_path / "a.txt", "a")
    assert (tmp_path / "kept").read_bytes() == b"kept"


@posix
def test_a_save_leaves_the_temporaries_of_saves_under_way(tmp_path):
    process = subprocess.Popen([sys.executable, "-c", HOLDS, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    before = hidden(tmp_path)
    files.write_text(tmp_path / "b.txt", "b")
    assert hidden(tmp_path) == before and len(before) == 1
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert hidden(tmp_path) == before
    files.write_text(tmp_path / "b.txt", "c")
    assert os.listdir(tmp_path) == ["b.txt"]


def test_a_folder_is_replaced_at_once(tmp_path):
    for content in ("one", "two"):
        made = tmp_path / "made"
        made.mkdir()
        (made / content).write_text(content)
        files.replace_folder(made, tmp_path / "target")
        assert os.listdir(tmp_path) == ["target"] and os.listdir(tmp_path / "target") == [content]


def test_the_folder_is_synced_after_the_new_name_stands_in_it(tmp_path, monkeypatch):
    done, sync, replace = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (done.append(os.fstat(descriptor).st_mode >> 12),
                                                         sync(descriptor)))
    monkeypatch.setattr(os, "replace", lambda *names: (done.append("replace"), replace(*names)))
    files.write_text(tmp_path / "a.txt", "a")
    assert done == [8, "replace"] + [4] * (os.name != "nt"), "a regular file, the rename, a folder"


def test_a_long_name_can_be_saved(tmp_path):
    name = "ä" * 120 + ".txt"  # 244 bytes of 255
    files.write_text(tmp_path / name, "a")
    assert os.listdir(tmp_path) == [name]


@posix
def test_saves_at_the_same_time_do_not_take_one_another_for_leftovers(tmp_path):
    script = ("import sys\nfrom npunet.files import write_text\n"
              "for number in range(60):\n    write_text(sys.argv[1] + '/' + sys.argv[2], str(number))\n")
    processes = [subprocess.Popen([sys.executable, "-c", script, str(tmp_path), name]) for name in ("a", "b", "b")]
    end = time.monotonic() + 60
    while any(process.poll() is None for process in processes) and time.monotonic() < end:
        files.write_text(tmp_path / "c", "c")
    assert [process.wait(timeout=60) for process in processes] == [0, 0, 0]
    assert sorted(os.listdir(tmp_path)) == ["a", "b", "c"] and (tmp_path / "b").read_text() == "59"


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a device of Linux")
def test_a_full_disk_is_named_by_what_was_to_be_written(tmp_path, monkeypatch):
    """Every way to write a file ends in a write that the system refuses."""
    def full(descriptor):
        os.write(os.open("/dev/full", os.O_WRONLY), b"x")

    pytest.importorskip("PIL")
    (tmp_path / "a.npy").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    for name, write in (("a.npy", lambda path: write_npy(path, np.zeros(3))),
                        ("a.tif", lambda path: write_label_image(path, np.zeros((2, 9, 9), np.uint8)))):
        with pytest.raises(OSError, match=rf"No space left on device: '.*{name}'"):
            write(tmp_path / name)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"] and (tmp_path / "a.npy").read_bytes() == b"old"
    with pytest.raises(OSError, match=r"No space left on device: '.*bundle'"), beside(tmp_path / "bundle"):
        full(None)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]

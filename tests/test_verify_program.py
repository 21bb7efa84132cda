"""Running a program for its serial log: how it ends, how much it may print, and what is read of it."""

import os
import signal
import subprocess
import sys
import time
import zlib

import pytest

from npunet.verify import program, serial_log

PID = "import os, sys, time; print(os.getpid(), flush=True); "


def ran(tmp_path, code, **limits):
    """The lines that a Python program prints, as the log has them."""
    program.run([sys.executable, "-c", code], tmp_path / "run.log", **limits)
    return (tmp_path / "run.log").read_text().splitlines()


def gone(pid):
    """Whether a process is not there any more, given a moment."""
    for _ in range(50):
        try:
            with open(f"/proc/{pid}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "Z":
                    return True
        except OSError:
            return True
        time.sleep(0.1)
    return False


@pytest.mark.parametrize(("code", "told"), [
    ("print('hello'); raise SystemExit(3)", "NPU FAULT it ended with exit status 3; its last line: hello"),
    ("raise SystemExit(4)", "NPU FAULT it ended with exit status 4; it printed nothing"),
])
def test_how_a_program_ends_is_told(code, told, tmp_path):
    assert ran(tmp_path, code)[-1] == told
    assert ran(tmp_path, "print('well')") == ["well"]


@pytest.mark.skipif(os.name != "posix", reason="signals are told apart on POSIX alone")
def test_a_program_that_a_signal_ends(tmp_path):
    assert "ended by SIGABRT" in ran(tmp_path, "import os; os.abort()")[-1]


def test_it_is_over_when_the_log_says_done(tmp_path):
    start = time.monotonic()
    lines = ran(tmp_path, f"{PID} print('NPU DONE 0', flush=True); time.sleep(100)")
    assert lines[1:] == ["NPU DONE 0"] and time.monotonic() - start < 60 and gone(int(lines[0]))


def test_time_and_size_are_bounded(tmp_path):
    lines = ran(tmp_path, f"{PID} time.sleep(100)", seconds=2)
    assert lines[1].startswith("NPU FAULT it was not done after 2 s and was ended") and gone(int(lines[0]))
    lines = ran(tmp_path, f"{PID}\nwhile True: print('x' * 1000)", most=100_000)
    assert "NPU FAULT it printed more than 0 MB and was ended" in lines[-1] and gone(int(lines[0]))
    assert (tmp_path / "run.log").stat().st_size < 1_000_000


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX's")
def test_what_a_program_started_ends_with_it(tmp_path):
    code = (f"{PID} import subprocess; child = subprocess.Popen([sys.executable, '-c', "
            "'import time; time.sleep(100)']); print(child.pid, flush=True); time.sleep(100)")
    assert all(gone(int(pid)) for pid in ran(tmp_path, code, seconds=5)[:2])


def test_lines_of_two_streams_do_not_mix(tmp_path):
    code = ("import os\nfor n in range(300):\n for k in (1, 2):\n  for part in (b'abc', b'def', b'ghi\\n'):\n"
            "   os.write(k, part)")
    assert ran(tmp_path, code) == ["abcdefghi"] * 600


@pytest.mark.skipif(os.name != "posix", reason="an interrupt is sent as a signal")
def test_ctrl_c_ends_the_program_too(tmp_path):
    code = (f"from npunet.verify import program; from pathlib import Path; program.run([{sys.executable!r}, '-c', "
            f"{PID + 'time.sleep(100)'!r}], Path({str(tmp_path / 'run.log')!r}))")
    process, log = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL), tmp_path / "run.log"
    while process.poll() is None and not (log.exists() and log.read_text().endswith("\n")):
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.wait(30)
    assert gone(int(log.read_text()))


def tensor(name, values, *sample, width=4):
    raw = b"".join(value.to_bytes(width, "little") for value in values)
    words = " ".join(f"{value:0{2 * width}x}" for value in values)
    head = " ".join(map(str, (f"NPU TENSOR {name}", len(values), *sample)))
    return f"{head}\nNPU DATA {words}\nNPU END {zlib.crc32(raw):08x}\n", raw


def test_samples_are_joined():
    first, a = tensor("c/x", [1, 2, 3], 0, 2)
    other, b = tensor("c/y", [9])
    second, c = tensor("c/x", [4, 5, 0xffffffff], 1, 2)
    entries, faults, _ = serial_log.read_log(first + other + second + "NPU DONE 0\n")
    assert dict(entries) == {"c/x": a + c, "c/y": b} and not faults


def test_words_are_as_long_as_a_bundle_s_integers():
    for width in (1, 2, 4, 8):
        text, raw = tensor("c/x", [1, 250, 3], width=width)
        assert serial_log.read_log(text) == ([("c/x", raw)], [], set())
    text, _ = tensor("c/x", [1, 250, 3])
    for broken in (text.replace("000000fa", "fa"), text.replace("000000fa", "0000000fa"), text.replace("fa", "fg")):
        assert "is no 32-bit word" in serial_log.read_log(broken)[1][0][1]


@pytest.mark.parametrize(("parts", "told"), [
    ([0, 1], "2 of its 3 samples are there"), ([0, 2, 1], "sample 2 of 3 where sample 1 of 3 was to come"),
    ([0, 0, 1, 2], "came twice"), ([1], "where sample 0 of 3 was to come"),
])
def test_lost_samples_are_told(parts, told):
    entries, faults, _ = serial_log.read_log("".join(tensor("c/x", [k], k, 3)[0] for k in parts))
    assert any(told in what for _, what in faults)
    assert bool(entries) == (len(parts) == 4)


def test_what_is_no_log_is_told_once():
    text, _ = tensor("c/x", [1, 2])
    for broken in (text.replace(" 2\n", "\n"), text.replace(" 2\n", " 2 3\n"), text.replace(" 2\n", " 2 3 3\n"),
                   text.partition("\n")[2] + "NPU DATA 00000001\n"):
        entries, faults, _ = serial_log.read_log(broken)
        assert not entries and len(faults) == 1
    for line, told in (("NPU FAULT lost power", "lost power"), ("NPU DONE 3", "exit status 3")):
        assert serial_log.read_log(text + line)[1] == [("the program", told)]

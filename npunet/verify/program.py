"""Running a program that prints a serial log: its lines kept in a file until it is done, too long, or too much.

What is run is not npunet's: the command that a user gives, or a program that is built from a bundle's own C. It gets
no input, and every process that it starts itself ends with it.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO

SECONDS = 600.0
SPARE = 16 << 20  # bytes of a log besides its tensors
A_BYTE_AS_TEXT = 4  # bytes of a log for a byte of a tensor: at most two digits, a space, and the lines' heads
CHUNK = 1 << 16
LONGEST_LINE = 1 << 20  # bytes after which a line is cut
KEPT = 2048  # bytes of the end from which the last line is told
POLL = 0.5  # seconds of one wait: between two, Ctrl-C is seen on every system
GRACE = 2.0  # seconds between asking a program to end and ending it
DONE = re.compile(rb"NPU DONE -?\d{1,9}\s*\n")


def words_of(command: str) -> list[str] | str:
    """A command line as a list, or as it is on Windows, where every program splits its own.

    Raises ValueError when a quotation mark is open or there is nothing.
    """
    try:
        words = shlex.split(command) if os.name == "posix" else command.strip()
    except ValueError as error:
        raise ValueError(f"--run {command!r}: {error}") from None
    if not words:
        raise ValueError("--run has an empty command; give one, or --run alone for a bundle that has a target")
    return words


def run(command: Sequence[str] | str, log: Path, *, seconds: float = SECONDS, most: int = SPARE) -> None:
    """Run a command until it ends or prints NPU DONE; the lines that it prints, errors too, stand in the file then.

    command : program and arguments; no shell is between
    seconds : after which it is ended;  most : bytes after which it is ended

    What went wrong is the log's last line, NPU FAULT ..., which the log's readers understand. Raises ValueError when
    the program cannot be started. Ctrl-C ends the program too.
    """
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   start_new_session=os.name == "posix")
    except OSError as error:
        name = command if isinstance(command, str) else command[0]
        raise ValueError(f"cannot run {name}: {error.strerror or error}") from None
    try:
        with open(log, "wb", buffering=0) as file:
            wrong = _collect(process, file, seconds, most)
            if wrong:
                file.write(f"NPU FAULT {wrong}\n".encode())
    finally:
        _end(process)


def _collect(process: subprocess.Popen, file: IO[bytes], seconds: float, most: int) -> str | None:
    """Copy the lines that a process prints into a file; what went wrong, in words."""
    pieces: SimpleQueue[bytes] = SimpleQueue()
    streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
    for stream in streams:  # two pipes: QEMU makes its standard output non-blocking, and would lose errors in the same
        threading.Thread(target=_read, args=(stream, pieces), daemon=True).start()
    until, size, ended, last = time.monotonic() + seconds, 0, 0, b""
    while ended < len(streams):
        try:
            piece = pieces.get(timeout=min(POLL, max(0.0, until - time.monotonic())))
        except Empty:
            if time.monotonic() < until:
                continue
            return f"it was not done after {seconds:g} s and was ended; allow more with --run-seconds{_last(last)}"
        ended += not piece
        size += len(piece)
        file.write(piece)
        last = piece[-KEPT:] or last
        if DONE.search(piece):
            return None
        if size > most:
            return f"it printed more than {most / 1e6:.0f} MB and was ended: a log of this bundle has less{_last(last)}"
    try:
        status = process.wait(max(GRACE, until - time.monotonic()))
    except subprocess.TimeoutExpired:
        return f"it closed its output and went on for {seconds:g} s; it was ended"
    return None if status == 0 else f"{_ended(status)}{_last(last)}"


def _read(stream: IO[bytes], pieces: SimpleQueue[bytes]) -> None:
    """Pass on whole lines as soon as they are there, so that those of two streams do not mix; nothing is the end."""
    left = b""
    try:
        while chunk := os.read(stream.fileno(), CHUNK):
            whole, newline, left = (left + chunk).rpartition(b"\n")
            if newline:
                pieces.put(whole + newline)
            elif len(left) > LONGEST_LINE:
                pieces.put(left + b"\n")
                left = b""
    except (OSError, ValueError):  # the pipe was closed meanwhile
        pass
    if left:
        pieces.put(left + b"\n")
    pieces.put(b"")


def _ended(status: int) -> str:
    if status < 0:
        try:
            return f"it was ended by {signal.Signals(-status).name}"
        except ValueError:
            return f"it was ended by signal {-status}"
    return f"it ended with exit status {status}"


def _last(tail: bytes) -> str:
    """The last line that a program printed, in words."""
    lines = [line.strip() for line in tail.decode("utf-8", "replace").splitlines() if line.strip()]
    return f"; its last line: {lines[-1][-160:]}" if lines else "; it printed nothing"


def _end(process: subprocess.Popen) -> None:
    """End a process and what it started, if they are still there."""
    group = os.name == "posix"
    for how in (signal.SIGTERM, getattr(signal, "SIGKILL", signal.SIGTERM)):
        try:
            if group:
                os.killpg(process.pid, how)
            elif process.poll() is None:
                process.terminate()
        except (ProcessLookupError, PermissionError):
            break
        try:
            process.wait(GRACE)
            if not group:
                break
        except subprocess.TimeoutExpired:
            continue
    process.wait()
    for stream in (process.stdout, process.stderr):
        if stream is not None:
            stream.close()

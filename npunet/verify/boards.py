"""npunet verify --run: a program's lines as the outputs of a port, for every kind of bundle."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from npunet.golden.boards import Target, commands, target_called
from npunet.golden.boards.cases import cases_of
from npunet.reading import json_object
from npunet.verify import program
from npunet.verify.bundles import listed_files

COMPILING = 300.0  # seconds
LOG = "run.log"

Told = Callable[[str], None]


@contextmanager
def outputs_of(folder: str | PathLike[str], command: str | None, *, log: str | PathLike[str] | None = None,
               seconds: float = program.SECONDS, told: Told = print) -> Iterator[Path]:
    """The log of a program that runs a bundle's cases: a file, there until the block ends, or for good where log says.

    folder  : the bundle; its manifest, and every file of c/, must be those that SHA256SUMS lists, before anything runs
    command : what to run, in this folder, as the user who calls it. None: the bundle's own C is built for the target
              that it was made for, outside of the bundle, and run in the target's emulator
    log     : where to keep what was printed
    seconds : that the program may take
    told    : called with what is run

    Raises ValueError when the bundle is not whole, has no target, when a tool is missing (and in which Debian package
    it is) or fails.
    """
    root = Path(folder)
    manifest = _manifest(root)
    most = program.SPARE + program.A_BYTE_AS_TEXT * sum(int(record["bytes"]) for record in manifest["tensors"])
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / LOG if log is None else Path(log)
        if command is None:
            target = target_of(root)
            built = _built(root, target, manifest, Path(scratch), told)
            words: list[str] | str = commands.running(target, str(built))
        else:
            listed_files(root, "c")
            words = program.words_of(command)
        told(f"run     {words if isinstance(words, str) else ' '.join(words)}  (foreign code, run as you)")
        program.run(words, path, seconds=seconds, most=most)
        yield path


def _manifest(root: Path) -> Mapping[str, Any]:
    """The manifest, which SHA256SUMS lists."""
    try:
        raw = (root / "manifest.json").read_bytes()
    except OSError as error:
        raise ValueError(f"{root} is no golden bundle: cannot read manifest.json ({error.strerror})") from None
    listed_files(root, "manifest.json", ["manifest.json"])
    manifest = json_object(raw)
    if not all(isinstance(manifest.get(key), list) for key in ("cases", "tensors", "layers")):
        raise ValueError(f"{root}/manifest.json is damaged; make the bundle again")
    return manifest


def target_of(root: Path) -> Target:
    """The target that a bundle was made for. Raises ValueError when there is none."""
    try:
        name = json.loads((root / "c/board/target.json").read_text(encoding="utf-8"))["name"]
    except FileNotFoundError:
        raise ValueError(f"{root} was made for no target; make it again with npunet golden ... --target cortex-m4, or "
                         "give the command: --run \"qemu-system-arm ...\"") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise ValueError(f"{root}/c/board/target.json is damaged; make the bundle again") from None
    return target_called(name if isinstance(name, str) else "")


def missing(target: Target) -> str | None:
    """What is not installed for a target, and how to install it, or None."""
    need = {f"{target.prefix}gcc": target.packages, target.emulator: (target.emulator_package,)}
    lacking = [tool for tool in need if shutil.which(tool) is None]
    if not lacking:
        return None
    packages = " ".join(name for tool in lacking for name in need[tool])
    return f"{' and '.join(lacking)} {'is' if len(lacking) == 1 else 'are'} missing: apt-get install {packages}"


def _built(root: Path, target: Target, manifest: Mapping[str, Any], scratch: Path, told: Told) -> Path:
    """Compile the bundle's C from copies of what was checked; the program."""
    lacking = missing(target)
    if lacking:
        raise ValueError(f"{lacking} (or run on a board, and give its serial log)")
    inputs = {file for case in cases_of(manifest) for file in case.files}
    copy = scratch / "bundle"
    for name, raw in listed_files(root, "c", inputs).items():
        place = copy / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(raw)
    built = scratch / "net.elf"
    command = commands.compiling(target, commands.outputs(target)[0], str(built))
    told(f"build   {root / 'c'} for {target.words}, by {command[0]}")
    try:
        done = subprocess.run(command, cwd=copy, capture_output=True, text=True, errors="replace", timeout=COMPILING,
                              check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"cannot run {command[0]}: {error}") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or [done.stderr.strip()]
        raise ValueError(f"{command[0]} fails: {lines[0][:300] or done.returncode}; are {' '.join(target.packages)} "
                         "whole?")
    return built

"""Building the C that a bundle carries, running it and verifying it: what an engineer does with a port, in one call."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from dataclasses import replace
from os import PathLike
from pathlib import Path

from npunet.golden.integer.reader import is_integer_bundle, open_bundle
from npunet.verify.bundles import checked_files
from npunet.verify.results import Result
from npunet.verify.verdict import verify

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O1", "-ffp-contract=off")
SECONDS = 60


def compiler() -> str | None:
    """The first C compiler that is there."""
    return next((name for name in COMPILERS if shutil.which(name)), None)


def verify_c(folder: str | PathLike[str]) -> Result:
    """Compile the bundle's own c/net.c, run it on every network and layer case, verify every layer.

    This runs code that stands in the bundle, as the user who calls it. So every file of c/ must be one that SHA256SUMS
    lists, unchanged, and no other may stand there; that proves no more than that the bundle is whole, so call it for a
    bundle that you made or whose maker you trust. The result's notes say that it was run.

    Raises ValueError when there is no compiler, when it fails, when the bundle lacks "c" or "bin", when a file was
    changed or added.
    """
    bundle, name = open_bundle(folder), compiler()
    if name is None:
        raise ValueError(f"no C compiler: none of {', '.join(COMPILERS)} is there")
    if not {"c", "bin"} <= set(bundle.manifest["formats"]):
        raise ValueError(f"{folder} lacks the formats c and bin")
    sources = checked_files(bundle, "c")
    with tempfile.TemporaryDirectory() as scratch:
        copied = Path(scratch) / "c"  # what was checked is what is compiled
        copied.mkdir()
        for path, raw in sources.items():
            (copied / Path(path).name).write_bytes(raw)
        result = verify(bundle, run_c(bundle.root, copied, Path(scratch)))
    told = f"ran the bundle's own code, {bundle.root / 'c' / 'net.c'}, compiled by {name}"
    return replace(result, notes=(told, *result.notes))


def run_c(bundle: Path, sources: Path, scratch: Path) -> Path:
    """Compile net.c and net_dump.c of a folder and run them on every case of a bundle, of floats or of integers.

    Returns the folder of the outputs, scratch/out. Raises ValueError when there is no compiler, and when it or the
    program fails.
    """
    name = compiler()
    if name is None:
        raise ValueError(f"no C compiler: none of {', '.join(COMPILERS)} is there")
    program, out = scratch / "net_dump", scratch / "out"
    observed = ["-DNET_OBSERVE"] if is_integer_bundle(bundle) else []  # accumulators and values before the clamps
    _run([name, *FLAGS, *observed, str(sources / "net_dump.c"), str(sources / "net.c"), "-lm", "-o", str(program)])
    _run([str(program), "--all", str(bundle), str(out)])
    return out


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"cannot run {command[0]}: {error}") from None
    if done.returncode:
        raise ValueError(f"{command[0]} fails: {done.stderr.strip()[:200] or done.returncode}")

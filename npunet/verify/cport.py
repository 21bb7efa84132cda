"""Building the C that a bundle carries, running it and verifying it: what an engineer does with a port, in one call."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from os import PathLike
from pathlib import Path

from npunet.golden.reader import Bundle
from npunet.verify.results import Result
from npunet.verify.verdict import verify

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O1", "-ffp-contract=off")
SECONDS = 60


def compiler() -> str | None:
    """The first C compiler that is there."""
    return next((name for name in COMPILERS if shutil.which(name)), None)


def verify_c(folder: str | PathLike[str]) -> Result:
    """Compile c/net.c, run it on the bundle's network cases, verify every layer.

    Raises ValueError when there is no compiler, when it fails or when the bundle lacks "c" or "bin".
    """
    bundle, name = Bundle(folder), compiler()
    if name is None:
        raise ValueError(f"no C compiler: none of {', '.join(COMPILERS)} is there")
    if not {"c", "bin"} <= set(bundle.manifest["formats"]):
        raise ValueError(f"{folder} lacks the formats c and bin")
    with tempfile.TemporaryDirectory() as scratch:
        program = Path(scratch) / "net_dump"
        sources = [str(bundle.root / "c" / file) for file in ("net_dump.c", "net.c")]
        _run([name, *FLAGS, *sources, "-lm", "-o", str(program)])
        for case in bundle.cases.values():
            if case["scope"] == "network":
                (Path(scratch) / "out" / case["id"]).mkdir(parents=True)
                record = bundle.tensors[f"{case['id']}/in"]
                _run([str(program), str(bundle.root / record["files"]["bin"]), str(Path(scratch) / "out" / case["id"])])
        return verify(bundle, Path(scratch) / "out")


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(f"cannot run {command[0]}: {error}") from None
    if done.returncode:
        raise ValueError(f"{command[0]} fails: {done.stderr.strip()[:200] or done.returncode}")

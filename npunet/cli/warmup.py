"""npunet warmup: compile the engine now, so that no prediction has to wait for it."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from npunet.cli import models
from npunet.engine.runtime.entry_points import ENTRIES, INTEGER, TRAIN
from npunet.engine.runtime.installed import engine_installed
from npunet.extras import MissingExtra

JOBS = ("predict", "train", "integer")


def add(verbs: Any) -> None:
    """Arguments of `npunet warmup`."""
    parser = models.verb(verbs, "warmup", warmup, "compile the engine for this machine, or load what is compiled: for "
                         "prediction, for training and for integer networks",
                         "npunet warmup --for predict --arithmetic seq_fma seq")
    parser.add_argument("--arithmetic", nargs="+", choices=tuple(ENTRIES), default=["seq_fma"],
                        help="of predictions (default seq_fma)")
    parser.add_argument("--for", nargs="+", choices=JOBS, default=JOBS, dest="jobs",
                        help="what it is to do (default: all)")


def warmup(arguments: Namespace) -> None:
    """Say for each function how long it took and where the result is kept."""
    if not engine_installed():
        raise MissingExtra("the engine needs Numba: pip install numba")
    wanted = {ENTRIES[name]: name for name in arguments.arithmetic if "predict" in arguments.jobs}
    if "train" in arguments.jobs:
        wanted[TRAIN] = "training"
    if "integer" in arguments.jobs:
        wanted[INTEGER] = "integer networks"
    for entry, name in wanted.items():
        start = time.perf_counter()
        native = entry()
        seconds = time.perf_counter() - start
        print(f"{'loaded  ' if native.found else 'compiled'} {name} in {seconds:.2f} s")
        print(f"kept in  {kept_in(native.path)}", flush=True)


def kept_in(path: Path | None) -> str:
    """Where a compiled function is kept, in words."""
    if path is None:
        return "nowhere: no folder can be written to; set NUMBA_CACHE_DIR to one that can"
    return f"{path} ({path.stat().st_size / 1e6:.1f} MB; NUMBA_CACHE_DIR chooses another folder)"

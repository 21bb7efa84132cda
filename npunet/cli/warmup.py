"""npunet warmup: compile the engine now, so that no prediction has to wait for it."""

from __future__ import annotations

import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from npunet.cli import models
from npunet.engine.runtime.engine import ENTRIES
from npunet.engine.runtime.installed import engine_installed
from npunet.extras import MissingExtra


def add(verbs: Any) -> None:
    """Arguments of `npunet warmup`."""
    parser = models.verb(verbs, "warmup", warmup, "compile the engine for this machine, or load what is compiled",
                         "npunet warmup --arithmetic seq_fma seq")
    parser.add_argument("--arithmetic", nargs="+", choices=tuple(ENTRIES), default=["seq_fma"],
                        help="which (default seq_fma)")


def warmup(arguments: Namespace) -> None:
    """Say for each arithmetic how long it took and where the result is kept."""
    if not engine_installed():
        raise MissingExtra("the engine needs Numba: pip install numba")
    for arithmetic in dict.fromkeys(arguments.arithmetic):
        start = time.perf_counter()
        native = ENTRIES[arithmetic]()
        seconds = time.perf_counter() - start
        print(f"{'loaded  ' if native.found else 'compiled'} {arithmetic} in {seconds:.2f} s")
        print(f"kept in  {kept_in(native.path)}")


def kept_in(path: Path | None) -> str:
    """Where a compiled function is kept, in words."""
    if path is None:
        return "nowhere: no folder can be written to; set NUMBA_CACHE_DIR to one that can"
    return f"{path} ({path.stat().st_size / 1e6:.1f} MB; NUMBA_CACHE_DIR chooses another folder)"

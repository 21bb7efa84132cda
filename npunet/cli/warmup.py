"""npunet warmup: compile the engine now, so that no prediction has to wait for it."""

from __future__ import annotations

import os
import time
from argparse import Namespace
from typing import Any

from npunet.cli import models
from npunet.engine.sessions import engine_installed
from npunet.extras import MissingExtra

ENGINE_ARITHMETICS = ("seq_fma", "seq")


def add(verbs: Any) -> None:
    """Arguments of `npunet warmup`."""
    parser = models.verb(verbs, "warmup", warmup, "compile the engine for this machine, or load what is compiled",
                         "npunet warmup --arithmetic seq_fma seq")
    parser.add_argument("--arithmetic", nargs="+", choices=ENGINE_ARITHMETICS, default=["seq_fma"],
                        help="which (default seq_fma)")


def warmup(arguments: Namespace) -> None:
    """Say for each arithmetic how long it took and where the result is kept."""
    if not engine_installed():
        raise MissingExtra("the engine needs Numba: pip install numba")
    start = time.perf_counter()
    from npunet.engine.entry import ENTRIES

    print(f"loaded   Numba in {time.perf_counter() - start:.2f} s")
    for arithmetic in dict.fromkeys(arguments.arithmetic):
        start = time.perf_counter()
        compiled = ENTRIES[arithmetic]()
        seconds = time.perf_counter() - start
        print(f"{'loaded  ' if was_kept(compiled) else 'compiled'} {arithmetic} in {seconds:.2f} s")
        print(f"kept in  {kept_in(compiled)}")


def was_kept(compiled: Any) -> bool:
    """Whether a compiled function came from disk."""
    return sum(compiled.stats.cache_hits.values()) > 0


def kept_in(compiled: Any) -> str:
    """Where a compiled function is kept, in words."""
    folder = compiled.stats.cache_path
    if folder is None or not os.path.isdir(folder):
        return "nowhere: no folder can be written to; set NUMBA_CACHE_DIR to one that can"
    size = sum(entry.stat().st_size for entry in os.scandir(folder) if entry.name.endswith((".nbi", ".nbc")))
    return f"{folder} ({size / 1e6:.1f} MB; NUMBA_CACHE_DIR chooses another place)"

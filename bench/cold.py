"""Cold start: a fresh process from its start to its first output, and the most memory that it held by then.

    python bench/cold.py PEER FOLDER        # prints when the output was there, and the peak, as JSON
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SLOW = 5.0  # seconds; of a start that takes longer, one is enough


def first_output(name: str, folder: Path) -> dict[str, Any]:
    """In a fresh process: open one peer on one thread and call it once."""
    import numpy as np
    from peers import PEERS
    from worker import batch_of

    peer = PEERS[name]
    x = batch_of(np.load(folder / "x.npy"), 1)
    call = peer.open(folder, 1, 1)
    call(peer.encoded(folder, x) if peer.encoded else x)
    return {"at": time.time(), "peak": peak_memory()}


def peak_memory() -> int:
    """The most bytes of memory that this process has held."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        import resource

        usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return usage if sys.platform == "darwin" else 1024 * usage


def measure(names: list[str], folder: Path, rounds: int, core: int) -> dict[str, dict[str, Any]]:
    """Median seconds to the first output and bytes, of every peer; rounds go over all of them in turn."""
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "OMP_NUM_THREADS": "1"}
    for _ in range(rounds + 1):  # the first one fills the caches of the file system and of the engine
        for name in names:
            if taken[name] and taken[name][-1]["seconds"] > SLOW:
                continue
            start = time.time()
            done = subprocess.run([sys.executable, __file__, name, str(folder), str(core)], env=environment,
                                  capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"{name} failed in a fresh process:\n{done.stderr[-800:]}")
            told = json.loads(done.stdout.splitlines()[-1])
            taken[name].append({"seconds": told["at"] - start, "peak": told["peak"]})
    counted = {name: runs[1:] or runs for name, runs in taken.items()}
    return {name: {"seconds": statistics.median(run["seconds"] for run in runs),
                   "peak_bytes": statistics.median(run["peak"] for run in runs)} for name, runs in counted.items()}


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, [int(sys.argv[3])])
    print(json.dumps(first_output(sys.argv[1], Path(sys.argv[2]))))

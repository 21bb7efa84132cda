"""Memory and time of one prediction over the size of the image: both should grow with its pixels and nothing else.

    python bench/sizes.py [--model separable-2d] [--sizes 256,512,1024,2048] [--threads 1] [-o DIR] [--quick]

Each size runs in a fresh process, which first predicts a small image, so that engine and weights are there. Then it
makes the input and predicts once; what its memory grows to above that is compared with

    weights + arena + input + output

and at the largest size may be 1.15 times as much, else the exit status is 1 (a small image cannot hide the megabyte
that a program and its graph take besides). Then it predicts a few times more for the time. Writes sizes.json and, with
matplotlib, sizes.png.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))  # npunet, where it is not installed

import machine
import numpy as np
import subjects
import worker

ALLOWED = 1.15
SIZES = (256, 384, 512, 768, 1024, 1536, 2048)
QUICK = (64, 96)
RESULTS = Path(__file__).resolve().parent / "results"
SLOW = 0.5  # seconds; of a prediction that takes longer, two more are enough


def one_size(name: str, size: int, threads: int) -> dict[str, Any]:
    """In this process: growth of memory and seconds of a size x size image."""
    model = subjects.build(name)
    smallest = model.sizes.multiple
    model.predict(np.zeros((1, *smallest, model.input_shape[-1]), np.float32), backend="engine", threads=threads)
    forget_peak()
    before = memory("VmRSS")
    x = np.random.default_rng(0).standard_normal((1, size, size, model.input_shape[-1]), np.float32)
    y = model.predict(x, backend="engine", threads=threads)
    grown = memory("VmHWM") - before
    program = model._engines.get(model.sizes.graph((size, size)), "seq_fma", threads).program
    owed = {"weights": program.constants.nbytes, "arena": 4 * program.arena.size, "input": x.nbytes, "output": y.nbytes}
    seconds = []
    while len(seconds) < (2 if seconds and seconds[0] > SLOW else 9):
        start = time.perf_counter()
        model.predict(x, backend="engine", threads=threads)
        seconds.append(time.perf_counter() - start)
    return {"size": size, "seconds": statistics.median(seconds), "grown": grown, **owed,
            "share": grown / sum(owed.values())}


def memory(which: str) -> int:
    """Bytes of memory that this process holds (VmRSS), or has held at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(f"{which}:"))


def forget_peak() -> None:
    """Let VmHWM begin anew."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(name: str, sizes: list[int], threads: int) -> list[dict[str, Any]]:
    """Every size in a process of its own."""
    found = []
    for size in sizes:
        command = [sys.executable, __file__, "--model", name, "--sizes", str(size), "--threads", str(threads), "--one"]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if done.returncode:
            raise RuntimeError(f"size {size} failed:\n{done.stderr[-800:]}")
        found.append(json.loads(done.stdout.splitlines()[-1]))
        print(text(found[-1]), flush=True)
    return found


def text(row: dict[str, Any]) -> str:
    owed = ", ".join(f"{key} {row[key] / 1e6:.1f}" for key in ("weights", "arena", "input", "output"))
    return (f"{row['size']:5} x {row['size']:<5} {1e3 * row['seconds']:9.1f} ms  "
            f"{1e9 * row['seconds'] / row['size'] ** 2:7.1f} ns a pixel  memory {row['grown'] / 1e6:8.1f} MB = "
            f"{row['share']:.3f} of ({owed})")


def picture(found: list[dict[str, Any]], name: str, threads: int, path: Path) -> None:
    """Time and memory over pixels, on straight axes, with the line through the largest size and the origin."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    pixels = np.array([row["size"] ** 2 / 1e6 for row in found])
    most = [ALLOWED * sum(row[key] for key in ("weights", "arena", "input", "output")) / 1e6 for row in found]
    for axes, values, label in zip(figure.subplots(1, 2), ([row["seconds"] for row in found],
                                   [row["grown"] / 1e6 for row in found]), ("s", "MB"), strict=True):
        axes.plot([0, pixels[-1]], [0, values[-1]], color="#bbbbbb", label="proportional to the largest")
        axes.plot(pixels, values, "o", color="#0072B2", label="measured")
        axes.set(xlabel="megapixels", ylabel=label, xlim=(0, None), ylim=(0, None))
    figure.axes[1].plot(pixels, most, color="#D55E00", label=f"{ALLOWED} (weights + arena + input + output)")
    figure.axes[0].set_title(f"{name}, {threads} thread{'s' * (threads > 1)}: one prediction")
    figure.axes[1].set_title("memory that it needs")
    for axes in figure.axes:
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="separable-2d")
    parser.add_argument("--sizes", help=f"default {','.join(map(str, SIZES))}")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help=f"only {' and '.join(map(str, QUICK))}, without the check")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS, metavar="DIR", help="default bench/results")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    sizes = [int(size) for size in given.sizes.split(",")] if given.sizes else list(QUICK if given.quick else SIZES)
    worker.pin(machine.cores(given.threads))
    if given.one:
        print(json.dumps(one_size(given.model, sizes[0], given.threads)))
        return 0
    found = measure(given.model, sizes, given.threads)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "sizes.json").write_text(json.dumps({"model": given.model, "threads": given.threads,
                                                      "sizes": found}, indent=1) + "\n")
    try:
        picture(found, given.model, given.threads, given.out / "sizes.png")
    except ImportError:
        print("no picture: matplotlib is not installed", file=sys.stderr)
    over = found[-1]["share"] > ALLOWED and not given.quick
    if over:
        print(f"{found[-1]['size']}: more than {ALLOWED} times the memory", file=sys.stderr)
    return int(over)


if __name__ == "__main__":
    raise SystemExit(main())

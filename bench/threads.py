"""How far more threads help: npunet with 1, 2, 4 ... threads, inference and training, turn by turn in one process.

    python bench/threads.py                        # as many threads as there are cores; about 3 minutes on 16
    python bench/threads.py --threads 1,2 --quick  # a few seconds

A row is one piece of work; its columns say how many times as fast it is as on one thread, and the row `FMA peak` how
much the machine itself gives (a core's clock falls when its neighbours work, and two threads of one physical core share
its arithmetic). Every result is compared: its bits may not depend on the number of threads, else the exit status is 1.

Writes threads.json and threads.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))  # npunet, where it is not installed

import machine
import numpy as np
import peak
import subjects
import training

RESULTS = Path(__file__).resolve().parent / "results"
QUICK = (("ecg-docstring", 32, None), ("separable-2d", 2, 64))
INFERENCE = (("ecg-docstring", 256, None), ("separable-2d", 1, None), ("separable-2d", 32, None),
             ("separable-2d", 1, 2048), ("dense-2d", 1, None), ("dense-2d", 32, None))


@dataclass
class Work:
    """What is done with so many threads: `open(threads)` gives a function that does it and returns what came out."""

    name: str
    open: Callable[[int], Callable[[], bytes]]


def inference(preset: str, batch: int, size: int | None) -> Work:
    model = subjects.build(preset)
    shape = model.input_shape if size is None else (size, size, model.input_shape[-1])
    x = np.random.default_rng(0).standard_normal((batch, *shape), np.float32)

    def opened(threads: int) -> Callable[[], bytes]:
        session = model.compile(shape, batch=batch, threads=threads)
        return lambda: session(x)

    return Work(f"{preset}, {' x '.join(map(str, shape[:-1]))}, batch {batch}", opened)


def training_step(preset: str) -> Work:
    return Work(f"training step, {preset}, batch {training.BATCHES[preset]}",
                lambda threads: training.open_npunet(preset, threads))


def measure(work: Work, counts: list[int], rounds: int, seconds: float) -> dict[str, object]:
    """Median seconds for each number of threads, and whether all gave the same bits."""
    calls = {count: work.open(count) for count in counts}
    digests = {count: hashlib.sha256(np.asarray(call()).tobytes()).hexdigest() for count, call in calls.items()}
    found: dict[int, list[float]] = {count: [] for count in counts}
    for turn in range(rounds):
        for count in counts[turn % len(counts) :] + counts[: turn % len(counts)]:
            found[count].append(statistics.median(durations(calls[count], seconds)))
    return {"name": work.name, "seconds": {count: statistics.median(each) for count, each in found.items()},
            "speedup": {count: statistics.median(one / many for one, many in zip(found[counts[0]], each, strict=True))
                        for count, each in found.items()}, "same": len(set(digests.values())) == 1}


def durations(call: Callable[[], object], seconds: float) -> list[float]:
    """Of calls for about so many seconds, one before them not counted."""
    call()
    taken: list[float] = []
    while sum(taken) < seconds or len(taken) < 3:
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return taken


def markdown(found: list[dict[str, object]], peaks: dict[int, float], counts: list[int]) -> str:
    lines = ["| times one thread | one thread, ms | " + " | ".join(map(str, counts[1:])) + " |",
             "|---|---|" + "---|" * (len(counts) - 1)]
    for row in found:
        speedups = " | ".join(f"{row['speedup'][count]:.2f}" for count in counts[1:])
        lines.append(f"| {row['name']} | {1e3 * row['seconds'][counts[0]]:.4g} | {speedups} |")
    machine_gives = " | ".join(f"{peaks[count] / peaks[counts[0]]:.2f}" for count in counts[1:])
    return "\n".join([*lines, f"| FMA peak, {peaks[counts[0]]:.0f} GFLOP/s on one | | {machine_gives} |", ""])


def main() -> int:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", help="numbers of threads (default 1, 2, 4 ... as many as there are cores)")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="of each number of threads in one round")
    parser.add_argument("--quick", action="store_true", help="two small networks and the ECG model's training step")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS, metavar="DIR", help="default bench/results")
    given = parser.parse_args()
    counts = [int(count) for count in given.threads.split(",")] if given.threads else \
        [1 << power for power in range(cores.bit_length()) if 1 << power <= cores]
    works = [lambda case=case: inference(*case) for case in (QUICK if given.quick else INFERENCE)]
    works += [lambda preset=preset: training_step(preset)
              for preset in list(training.BATCHES)[: 1 if given.quick else 3]]
    found = []
    for make in works:
        found.append(measure(make(), counts, given.rounds, given.seconds))
        print(f"{found[-1]['name']}: " + ", ".join(f"{count}: {found[-1]['speedup'][count]:.2f}" for count in counts),
              file=sys.stderr, flush=True)
    peaks = {count: peak.fma_peak(count, rounds=10) for count in counts}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "threads.json").write_text(json.dumps(
        {"machine": machine.describe(), "fma_gflops": peaks, "rows": found}, indent=1) + "\n")
    (given.out / "threads.md").write_text(text := markdown(found, peaks, counts))
    print(text)
    different = [row["name"] for row in found if not row["same"]]
    for name in different:
        print(f"{name}: the bits depend on the number of threads", file=sys.stderr)
    return int(bool(different))


if __name__ == "__main__":
    raise SystemExit(main())

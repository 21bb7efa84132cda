"""npunet and every installed peer in one run: the same inputs, the same cores, turn by turn.

    python bench/run.py                                  # everything; about 15 minutes on two quiet cores
    python bench/run.py --quick                          # half a minute: two models, batch 1, one thread
    python bench/run.py --models ecg-docstring --peers npunet,onnxruntime,litert --threads 1

Every runtime stands in a process of its own, pinned to its cores. Before anything is timed its outputs are compared
with the definition, and the engine's bits with NumPy's; one that is wrong is not timed, and the exit status is 1. Then
rounds go over all runtimes, each time for a fraction of a second, so that a drift of the machine hits all alike.

Writes results.json, results.md and, with matplotlib, results.png.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))  # npunet, where it is not installed

import cold
import machine
import peak
import peers
import subjects
import tables
import worker

import npunet

MODELS = ("ecg-docstring", "separable-2d", "dense-2d")
RESULTS = Path(__file__).resolve().parent / "results"
COLD_SLOW = ("torch compile",)  # compiling for a minute is not starting
TELL = 3.0  # seconds after which a wait is explained


@dataclass
class Plan:
    """What is measured and for how long."""

    models: list[str]
    peers: list[str]
    batches: list[int]
    threads: list[int]
    rounds: int
    seconds: float  # of one runtime in one round
    cold: int       # fresh processes of each runtime; 0 for none
    export: bool
    cache: Path


@dataclass
class Seat:
    """A runtime's process and the line to it."""

    name: str
    process: Any
    line: Any
    rounds: list[list[float]] = field(default_factory=list)

    def ask(self, *request: Any) -> Any:
        """Send a request and wait. Raises RuntimeError with what the runtime says when it fails."""
        try:
            self.line.send(request)
            good, answer = self.line.recv()
        except (EOFError, BrokenPipeError):
            raise RuntimeError(f"its process ended with status {self.process.exitcode}") from None
        if not good:
            raise RuntimeError(answer)
        return answer


def measure(plan: Plan) -> dict[str, Any]:
    """Run the plan; everything that was found."""
    missing = {name: f"{', '.join(gone)} not installed" for name in plan.peers if (gone := peers.PEERS[name].missing())}
    names = [name for name in plan.peers if name not in missing]
    prepared = [subjects.prepare(name, plan.cache, plan.export) for name in plan.models]
    say("measuring the machine")
    result: dict[str, Any] = {
        "machine": machine.describe(), "npunet": npunet.__version__, "time": time.strftime("%Y-%m-%dT%H:%M:%S"),
        "versions": {name: peers.PEERS[name].version for name in names}, "wrong": [], "missing": missing,
        "peak": {str(count): best_of_machine(count, quick=not plan.cold) for count in plan.threads},
        "installed_bytes": {name: machine.installed_bytes(peers.PEERS[name].packages) for name in names},
        "subjects": {subject.name: json.loads((subject.folder / "about.json").read_text())
                     | {"parameters": subject.parameters} for subject in prepared}, "rows": [], "cold": {},
    }
    for threads in plan.threads:
        seats = seated(names, machine.cores(threads))
        try:
            for subject in prepared:
                for batch in plan.batches:
                    result["rows"] += compare(seats, subject, batch, threads, plan, result)
        finally:
            for seat in seats:
                seat.line.close()
                seat.process.join(10)
                seat.process.terminate()
    if plan.cold:
        starters = [name for name in names if name not in COLD_SLOW]
        for subject in prepared[:1]:
            able = [name for name in starters if any(row["peer"] == name and row["subject"] == subject.name
                                                     for row in result["rows"])]
            say(f"cold starts of {subject.name}")
            result["cold"][subject.name] = cold.measure(able, subject.folder, plan.cold, machine.cores(1)[0])
    return result


def best_of_machine(threads: int, quick: bool) -> dict[str, float]:
    size, rounds = (1 << 25, 3) if quick else (peak.COPIED, peak.ROUNDS)
    return {"fma_gflops": peak.fma_peak(threads, rounds=rounds), "copy_gbytes": peak.bandwidth(threads, size, rounds)}


def seated(names: list[str], cores: list[int]) -> list[Seat]:
    """A process for every runtime, told by its environment how many threads it has."""
    count = str(len(cores))
    os.environ.update(peers.ENVIRONMENT)
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), count))
    context, seats = multiprocessing.get_context("spawn"), []
    for name in names:
        here, there = context.Pipe()
        process = context.Process(target=worker.serve, args=(there, name, cores), daemon=True)
        process.start()
        there.close()
        seats.append(Seat(name, process, here))
    return seats


def compare(seats: list[Seat], subject: subjects.Subject, batch: int, threads: int, plan: Plan,
            result: dict[str, Any]) -> list[tables.Row]:
    """One subject at one batch size on every seat, as rows."""
    where = f"{subject.name}, batch {batch}, {threads} thread{'s' * (threads > 1)}"
    say(where)
    ready, errors = [], {}
    for seat in seats:
        start = time.perf_counter()
        try:
            errors[seat.name] = seat.ask("open", subject.folder, batch)
            seat.rounds = []
            ready.append(seat)
            if (seconds := time.perf_counter() - start) > TELL:
                say(f"  {seat.name} was ready after {seconds:.0f} s")
        except RuntimeError as trouble:
            if str(trouble).startswith(worker.WrongOutput.__name__):
                result["wrong"].append(f"{seat.name}, {where}: {trouble}")
            elif not str(trouble).startswith("FileNotFoundError"):
                result["missing"][f"{seat.name}, {where}"] = str(trouble)[:300]
            else:
                result["missing"][f"{seat.name}, {subject.name}"] = str(trouble)
    for turn in range(plan.rounds):
        for seat in ready[turn % len(ready):] + ready[: turn % len(ready)]:
            seat.rounds.append(seat.ask("time", plan.seconds))
    base = next((seat.rounds for seat in ready if seat.name == tables.BASE), None)
    rows = []
    for seat in ready:
        whole = seat.name in peers.PEERS and peers.PEERS[seat.name].encoded
        row = {"subject": subject.name, "peer": seat.name, "batch": batch, "threads": threads,
               "error": errors[seat.name], "steps_off": seat.ask("steps_off", subject.folder) if whole else None,
               **tables.condensed(seat.rounds, base, batch)}
        row["gflops"] = 2 * subject.macs / row["ms"] / 1e6
        row["peak_share"] = row["gflops"] / result["peak"][str(threads)]["fma_gflops"]
        rows.append(row)
    return rows


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def write(result: dict[str, Any], out: Path) -> str:
    """The three files; the Markdown."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    text = tables.markdown(result)
    (out / "results.md").write_text(text)
    try:
        tables.picture(result, out / "results.png")
    except ImportError:
        say("no picture: matplotlib is not installed")
    return text


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two models, batch 1, one thread, no cold start")
    parser.add_argument("--models", type=listed, help=f"presets (default {','.join(MODELS)})")
    parser.add_argument("--peers", type=listed, help=f"of {','.join(peers.PEERS)} (default: all that are installed)")
    parser.add_argument("--batches", type=numbers, help="batch sizes (default 1,32)")
    parser.add_argument("--threads", type=numbers, help="numbers of threads (default 1,2)")
    parser.add_argument("--rounds", type=int, help="turns over all runtimes (default 9)")
    parser.add_argument("--seconds", type=float, help="of one runtime in one round (default 0.25)")
    parser.add_argument("--cache", type=Path, help="keep models and .tflite files here (default: in DIR)")
    parser.add_argument("-o", "--out", type=Path, default=RESULTS, metavar="DIR", help="default bench/results")
    given = parser.parse_args(argv)
    unknown = [name for name in given.peers or () if name not in peers.PEERS]
    if unknown:
        parser.error(f"no such peer: {', '.join(unknown)} (known: {', '.join(peers.PEERS)})")
    quick = given.quick
    plan = Plan(
        given.models or list(MODELS[: 2 if quick else 3]),
        given.peers or [name for name, peer in peers.PEERS.items() if not (quick and peer.slow)],
        given.batches or ([1] if quick else [1, 32]), given.threads or ([1] if quick else [1, 2]),
        given.rounds or (3 if quick else 9), given.seconds or (0.05 if quick else 0.25), 0 if quick else 5,
        not quick, given.cache or given.out / "subjects",
    )
    result = measure(plan)
    print(write(result, given.out))
    for wrong in result["wrong"]:
        print(f"WRONG: {wrong}", file=sys.stderr)
    return 1 if result["wrong"] else 0


def listed(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str) -> list[int]:
    return [int(number) for number in listed(text)]


if __name__ == "__main__":
    raise SystemExit(main())

"""Time of every instruction of a program, over the layer shapes of the presets.

    python bench/kernels.py [--models ecg-docstring,separable-2d,dense-2d] [--arithmetic seq_fma] [--quick]

Each instruction (or group of instructions that run piece by piece together) is repeated in a table of its own, so that
one call of the interpreter runs it many times; what it reads is then as close as the caches can hold it. The sum over
all of them therefore lies a little below the time of the whole program, which is measured too. Copies to and from the
user's arrays are repeated like everything else.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))  # npunet, where it is not installed

import machine
import numpy as np
import peak
import subjects
import tables
import worker

from npunet.engine.plan import report
from npunet.engine.plan.program import compile_program
from npunet.engine.runtime.engine import Engine
from npunet.engine.runtime.native import Call

SHARE = 3e-4  # seconds that one call of the interpreter should take
ROUNDS = 25
QUICK = ("tiny",)
ALL_AT_ONCE = 1 << 62  # elements: no image is so large that instructions take turns


@dataclass(frozen=True)
class Timing:
    """One instruction or group: its microseconds, and what that is of the machine's best."""

    numbers: str
    op: str
    layer: str
    shape: str
    weights: str
    macs: int
    us: float
    gflops: float
    share: float
    gbytes: float


def measure(name: str, arithmetic: str, peak_gflops: float, rounds: int = ROUNDS) -> dict[str, Any]:
    """Every instruction of a preset's program on one thread, and the program as a whole."""
    model = subjects.build(name)
    engine = Engine(model.graph, model.weights, arithmetic, 1)
    engine.program = compile_program(model.graph, model.weights, arithmetic=arithmetic, large=ALL_AT_ONCE)
    x = np.random.default_rng(0).standard_normal((1, int(np.prod(model.graph.input_shape)))).astype(np.float32)
    y, arena = np.zeros((1, int(np.prod(engine.program.output_shape))), np.float32), engine.take_call().arguments[2]

    def prepared(table: np.ndarray) -> Call:
        return Call(engine.native, table, engine.program.constants, arena, x, y, 0, 1, np.zeros(3, np.int64))

    def run(call: Call) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    prediction = prepared(engine.program.table)
    run(prediction)
    whole = statistics.median(run(prediction) for _ in range(rounds))
    timings = []
    for rows in groups(report.instructions(engine.program)):
        table = engine.program.table[rows[0].number : rows[-1].number + 1]
        repeats = max(2, int(SHARE / run(prepared(table))))
        repeated = prepared(np.tile(table, (repeats, 1)))
        run(prediction)  # values as they are in one
        seconds = statistics.median(run(repeated) for _ in range(rounds)) / repeats
        timings.append(described(rows, seconds, peak_gflops))
    return {"model": name, "arithmetic": arithmetic, "whole_us": 1e6 * whole, "sum_us": sum(t.us for t in timings),
            "instructions": [asdict(timing) for timing in timings]}


def groups(rows: list[report.ProgramRow]) -> Iterator[list[report.ProgramRow]]:
    """Instructions that run together."""
    for head in sorted({row.head for row in rows}):
        yield [row for row in rows if row.head == head]


def described(rows: list[report.ProgramRow], seconds: float, peak_gflops: float) -> Timing:
    macs, moved = sum(row.macs for row in rows), sum(row.moved for row in rows)
    shape = (rows[-1].writes or rows[-1].reads)[0].shape
    gflops = 2 * macs / seconds / 1e9
    return Timing("+".join(str(row.number) for row in rows), " ".join(dict.fromkeys(row.op for row in rows)),
                  " ".join(dict.fromkeys(row.layer for row in rows)), "x".join(map(str, shape)),
                  " ".join("x".join(map(str, w)) for row in rows for w in row.weights if len(w) == 4), macs,
                  1e6 * seconds, gflops, gflops / peak_gflops, moved / seconds / 1e9)


def text(found: dict[str, Any]) -> str:
    """One model's timings as a Markdown table."""
    lines = [[t["numbers"], t["op"], t["layer"], t["shape"], t["weights"], f"{t['us']:.2f}",
              f"{100 * t['us'] / found['sum_us']:.1f} %", f"{t['gflops']:.1f}", f"{100 * t['share']:.0f} %",
              f"{t['gbytes']:.1f}"] for t in found["instructions"]]
    head = ["#", "instruction", "layer", "output", "kernels", "us", "of the sum", "GFLOP/s", "of the FMA peak", "GB/s"]
    return "\n".join([f"**{found['model']}**, {found['arithmetic']}: {found['whole_us']:.1f} us as a whole, "
                      f"{found['sum_us']:.1f} us summed", "", *tables.table(head, lines)])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", help="presets (default ecg-docstring,separable-2d,dense-2d)")
    parser.add_argument("--arithmetic", default="seq_fma", choices=("seq_fma", "seq", "winograd"))
    parser.add_argument("--quick", action="store_true", help="one small model, few rounds")
    parser.add_argument("-o", "--out", type=Path, metavar="DIR", help="write kernels.json and kernels.md there")
    given = parser.parse_args(argv)
    worker.pin(machine.cores(1))
    rounds = 3 if given.quick else ROUNDS
    best = peak.fma_peak(rounds=rounds)
    names = given.models.split(",") if given.models else QUICK if given.quick else ("ecg-docstring", "separable-2d",
                                                                                    "dense-2d")
    found = [measure(name, given.arithmetic, best, rounds) for name in names]
    told = f"FMA peak {best:.0f} GFLOP/s on one thread\n\n" + "\n\n".join(map(text, found)) + "\n"
    print(told)
    if given.out:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "kernels.json").write_text(json.dumps({"fma_gflops": best, "models": found}, indent=1) + "\n")
        (given.out / "kernels.md").write_text(told)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

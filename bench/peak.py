"""What this machine can do at best: fused multiply-adds a second, and bytes copied a second.

    python bench/peak.py [--threads N]

The multiply-adds run in a loop over 12 accumulators that do not wait for one another, in vectors of 8 and of 16 lanes;
the faster of the two is the peak. Nothing is loaded or stored inside the loop.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

ACCUMULATORS = 12
WIDTHS = (8, 16)
STEPS = 400_000
ROUNDS = 60
COPIED = 1 << 27  # bytes, more than any cache holds


def make_spin(lanes: int) -> Callable[[int], float]:
    """A compiled function that does `steps` multiply-adds on each lane of each accumulator."""
    from llvmlite import ir
    from numba import njit, types
    from numba.core import cgutils
    from numba.extending import intrinsic

    from npunet.engine.codegen.emit import FLOAT, INT64, repeat

    vector = ir.VectorType(FLOAT, lanes)

    @intrinsic
    def multiply_add(typing, steps):
        def generate(context, builder, signature, arguments):
            kind = ir.FunctionType(vector, [vector] * 3)
            fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{lanes}f32")
            factor = ir.Constant(vector, [0.999] * lanes)
            carried = [ir.Constant(vector, [float(k + 1)] * lanes) for k in range(ACCUMULATORS)]
            carried = repeat(builder, arguments[0], carried,
                             lambda sums: [builder.call(fma, [total, factor, total]) for total in sums])
            total = carried[0]
            for other in carried[1:]:
                total = builder.fadd(total, other)
            return builder.extract_element(total, INT64(0))

        return types.float32(types.int64), generate

    @njit(nogil=True)
    def spin(steps):
        return multiply_add(steps)

    spin(1)
    return spin


def fma_peak(threads: int = 1, steps: int = STEPS, rounds: int = ROUNDS) -> float:
    """The most float32 operations a second, two a multiply-add, that so many threads reached together, in 1e9."""
    best = 0.0
    for lanes in WIDTHS:
        spin = make_spin(lanes)
        jobs = [lambda spin=spin: spin(steps)] * threads
        seconds = min(seconds_together(jobs) for _ in range(rounds))
        best = max(best, 2 * ACCUMULATORS * lanes * steps * threads / seconds / 1e9)
    return best


def bandwidth(threads: int = 1, size: int = COPIED, rounds: int = ROUNDS) -> float:
    """Bytes read and written a second when so many threads copy, in 1e9."""
    pairs = [(np.ones(size, np.uint8), np.zeros(size, np.uint8)) for _ in range(threads)]
    jobs = [lambda source=source, target=target: np.copyto(target, source) for source, target in pairs]
    return 2 * size * threads / min(seconds_together(jobs) for _ in range(rounds)) / 1e9


def seconds_together(jobs: Sequence[Callable[[], object]]) -> float:
    """How long the jobs take when all begin at once, each in a thread of its own."""
    gate = threading.Barrier(len(jobs))

    def wait_and_work(job: Callable[[], object]) -> None:
        gate.wait()
        job()

    helpers = [threading.Thread(target=wait_and_work, args=(job,)) for job in jobs[1:]]
    for helper in helpers:
        helper.start()
    start = time.perf_counter()
    wait_and_work(jobs[0])
    for helper in helpers:
        helper.join()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    threads = parser.parse_args().threads
    print(json.dumps({"threads": threads, "fma_gflops": fma_peak(threads), "copy_gbytes": bandwidth(threads)}))


if __name__ == "__main__":
    main()

"""What Python calls: the interpreter of training steps, compiled once for this machine and kept on disk."""

from __future__ import annotations

import hashlib
from pathlib import Path

from numba import types

from npunet.engine.jit import kept_on_disk, source_fingerprint
from npunet.engine.training.execute import walk

FLOATS = types.Array(types.float32, 1, "C")
DOUBLES = types.Array(types.float64, 1, "C")
LABELS = types.Array(types.int32, 1, "C")
TABLE = types.Array(types.int64, 2, "C")
INTEGERS = types.Array(types.int64, 1, "C")
SIGNATURE = types.void(TABLE, FLOATS, FLOATS, FLOATS, FLOATS, FLOATS, DOUBLES, DOUBLES, FLOATS, LABELS,
                       DOUBLES, FLOATS, types.int64, types.int64, types.int64, INTEGERS)


def fingerprint() -> int:
    """A number that changes with any source file of the engine or of this package; never 0."""
    digest = hashlib.sha256(str(source_fingerprint()).encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return int.from_bytes(digest.digest()[:6], "little") + 1


def make_entry(fingerprint: int):
    """The entry; the fingerprint of the sources, being part of it, is part of its key on disk."""

    def train(program, arena, params, gradients, state, velocities, sums, numbers, batch, labels, targets, masks,
              samples, thread, threads, barrier):
        """Run a step's program, as thread `thread` of `threads` that all call this with the same arrays.

        program : int64 (instructions, FIELDS)
        arena, params, gradients, state, velocities : float32, aligned to 64 bytes;  sums, numbers : float64
        batch : float32, N*H*W*C;  labels : int32, N*H*W;  targets : float64, N*H*W*K;  masks : float32
        samples : N;  barrier : int64 (2,) of zeros
        """
        if fingerprint:
            walk(program, arena, params, gradients, state, velocities, sums, numbers, batch, labels, targets,
                 masks, samples, thread, threads, barrier)

    return kept_on_disk(train, SIGNATURE)


ENTRY = make_entry(fingerprint())

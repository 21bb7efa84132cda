"""Run as a program: prints a sha256 of predictions, and what the engine was compiled for.

    python engine_digest.py seq_fma [seq winograd]
"""

import hashlib
import os
import sys

import numpy as np
from engine_cases import any_size, batch_for, small, strided, tiled


def digest(arithmetics):
    """sha256 of the outputs of four networks in each of the arithmetics."""
    sha = hashlib.sha256()
    rng = np.random.default_rng(3)
    for model, size in ((small(), (48,)), (any_size(), (7, 13)), (strided(), (8, 15)), (tiled(), (6, 9))):
        x = batch_for(model, rng, 2, size)
        for arithmetic in arithmetics:
            sha.update(model.predict(x, backend="engine", arithmetic=arithmetic, threads=1).tobytes())
    return sha.hexdigest()


if __name__ == "__main__":
    print(digest(sys.argv[1:]), os.environ.get("NUMBA_CPU_NAME", "this machine"))

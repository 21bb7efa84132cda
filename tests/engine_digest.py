"""Run as a program: prints a sha256 of predictions, and what the engine was compiled for.

    python engine_digest.py [two-fma] seq_fma [seq winograd]

two-fma : the kernels of a machine with two 512-bit FMA units, of which LLVM makes what this one has
"""

import hashlib
import os
import sys

import numpy as np
from engine_cases import any_size, batch_for, small, strided, three_vectors, tiled


def digest(arithmetics):
    """sha256 of the outputs of five networks in each of the arithmetics."""
    sha = hashlib.sha256()
    rng = np.random.default_rng(3)
    for model, size in ((small(), (48,)), (any_size(), (7, 13)), (strided(), (8, 15)), (tiled(), (6, 9)),
                        (three_vectors(), (4, 44))):
        x = batch_for(model, rng, 2, size)
        for arithmetic in arithmetics:
            sha.update(model.predict(x, backend="engine", arithmetic=arithmetic, threads=1).tobytes())
    return sha.hexdigest()


def as_with_two_units():
    """Compile what follows for such a machine."""
    from npunet.engine import target

    chosen = target.AVX512_TWO_FMA._replace(dot="")
    target.this_target = lambda: chosen
    from npunet.engine.codegen import emit

    emit.at_this_place = lambda builder, value: value  # names a register, of which this machine has none so large


if __name__ == "__main__":
    if sys.argv[1] == "two-fma":
        as_with_two_units()
        sys.argv.pop(1)
    print(digest(sys.argv[1:]), os.environ.get("NUMBA_CPU_NAME", "this machine"))

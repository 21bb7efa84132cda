"""Run as a program: prints a sha256 of what the integer engine gives for random networks, and for which target it was
compiled.

    python integer_digest.py [wide] [without | bytes]

without : as for a machine whose dot products LLVM has to find by itself
bytes   : as for one with dot products of bytes, which LLVM has to find by itself
wide    : as for one with 32 registers of 512 bits, of which LLVM makes what there is
"""

import hashlib
import sys

import numpy as np
from random_integers import random_network

NETWORKS = 60


def digest(predict):
    """sha256 of the outputs of some networks; predict(network, x) gives those of one."""
    sha = hashlib.sha256()
    for seed in range(NETWORKS):
        network, x = random_network(seed)
        sha.update(np.ascontiguousarray(predict(network, x)).tobytes())
    return sha.hexdigest()


def main(how):
    from npunet.engine import target

    if how:
        chosen = target.this_target()
        if "wide" in how:
            chosen = target.AVX512_TWO_FMA._replace(dot="")
        if "without" in how:
            chosen = chosen._replace(dot="", byte_dot="")
        if "bytes" in how:
            chosen = target.with_byte_dots(chosen, "plain")
        target.this_target = lambda: chosen
    from npunet.engine.integer.engine import IntegerEngine

    got = digest(lambda network, x: IntegerEngine(network, 1)(x))
    told = target.this_target()
    print(got, told.name, told.dot or "none", told.byte_dot or "pairs")


if __name__ == "__main__":
    main(sys.argv[1:])

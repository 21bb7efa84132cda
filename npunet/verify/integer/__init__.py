"""Verifying an integer port against a golden bundle of integers: which layer is wrong first, and why.

Outputs are a folder or a file. Tensors are called as in the bundle: `<case>/<layer id>.out`, `.acc`, `.pre`, `.fed`, by
the layer's id or its name, or `output_0` for the network's output; without a role `.out` is meant, without a case the
first one. Parts may be missing, but PASS is said only of every layer in every case. Exit statuses are those of
npunet.verify.

    .npz    one member a tensor        .npy    one array        .bin    little-endian two's complement, row-major
    .mem .hex   words of hex digits in two's complement, // comments, as $readmemh reads them
    .log .txt   what a board prints, see npunet.verify.serial_log; two hex digits a byte of the tensor's type

Every integer has to be equal. A wrong output is asked twice: is it the golden one (chained), and is it what the layer
gives for what the port itself had before it (own)? So a layer that only inherits is told from one that errs.
"""

from npunet.verify.integer.results import IntegerResult
from npunet.verify.integer.verdict import verify_integer

__all__ = ["IntegerResult", "verify_integer"]

"""What may be wrong with a layer of an integer port. Importing this package registers every hypothesis."""

from npunet.verify.integer.hypotheses import (
    factors,
    families,
    finishes,
    functions,
    geometry,
    limits,
    loops,
    norms,
    offsets,
    pools,
    rounding,
    steps_cut,
    tensors,
)
from npunet.verify.integer.hypotheses.registry import HYPOTHESES, RARE

__all__ = ["HYPOTHESES", "RARE", "factors", "families", "finishes", "functions", "geometry", "limits", "loops", "norms",
           "offsets", "pools", "rounding", "steps_cut", "tensors"]

"""What may be wrong with a layer of an integer port. Importing this package registers every hypothesis."""

from npunet.verify.integer.hypotheses import (
    factors,
    functions,
    geometry,
    limits,
    loops,
    norms,
    offsets,
    rounding,
)
from npunet.verify.integer.hypotheses.registry import HYPOTHESES

__all__ = ["HYPOTHESES", "factors", "functions", "geometry", "limits", "loops", "norms", "offsets", "rounding"]

"""Why a layer is wrong: hypotheses are run on what the layer read until one gives what the port gave.

A hypothesis is a small named function over a Recipe (see registry; the files beside it list them) or over the finished
output (see wholes). Convolutions are first computed at a few positions in float64, which rules nearly all of them out,
then at these positions bit by bit, and what survives everywhere. When none explains all, pairs are tried, and numbers
are read off the output (fitted). Behind a layer whose predecessors were not dumped, unseen looks at these.
"""

from npunet.verify.diagnose import (
    accumulators,
    affine,
    bits,
    borders,
    curves,
    elsewhere,
    functions,
    geometry,
    joined,
    levels,
    library,
    loops,
    memory,
    moved,
    normals,
    norms,
    norms_more,
    pointwise,
    pointwise_more,
    pooling,
    precision,
    rare_geometry,
    rare_sums,
    rare_weighting,
    resampling,
    some_channels,
    statistics,
    storage,
    weighting,
    window_taps,
    wholes,
)
from npunet.verify.diagnose.causes import Cause, Diagnosis, Evidence
from npunet.verify.diagnose.patterns import PATTERNS, Pattern
from npunet.verify.diagnose.registry import HYPOTHESES, Hypothesis
from npunet.verify.diagnose.search import diagnose
from npunet.verify.diagnose.wholes import WHOLES

__all__ = [
    "HYPOTHESES",
    "PATTERNS",
    "WHOLES",
    "Cause",
    "Diagnosis",
    "Evidence",
    "Hypothesis",
    "Pattern",
    "accumulators",
    "affine",
    "bits",
    "borders",
    "curves",
    "diagnose",
    "elsewhere",
    "functions",
    "geometry",
    "joined",
    "levels",
    "library",
    "loops",
    "memory",
    "moved",
    "normals",
    "norms",
    "norms_more",
    "pointwise",
    "pointwise_more",
    "pooling",
    "precision",
    "rare_geometry",
    "rare_sums",
    "rare_weighting",
    "resampling",
    "some_channels",
    "statistics",
    "storage",
    "weighting",
    "window_taps",
    "wholes",
]

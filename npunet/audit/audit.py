"""Everything that can be counted, checked and shown of one model, in one value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from npunet.audit.claims import Claim
from npunet.audit.costs import Costs, costs
from npunet.audit.fields import Field, Sizes, fields, sizes
from npunet.audit.gradient_check import GradientCheck, gradient_check
from npunet.audit.memory import Memory, memory
from npunet.audit.oddities import Oddity, oddities
from npunet.audit.parity import parity
from npunet.audit.provenance import Provenance, provenance
from npunet.audit.ranges import Range, ranges
from npunet.audit.runtime import Parity
from npunet.audit.subject import Subject, example, subject
from npunet.model import UNet

CHECKED_SIDE = 64    # an image is differentiated on a part of about this side,
CHECKED_LENGTH = 512  # a signal on about so many samples: the formulas are the same


@dataclass(frozen=True)
class Audit:
    """One model's audit; each part is also a function of its own, in the module of its name."""

    title: str
    shown: Subject
    told: str
    costs: Costs
    memory: Memory
    fields: Sequence[Field]
    sizes: Sizes
    ranges: Sequence[Range]
    gradients: GradientCheck
    oddities: Sequence[Oddity]
    parity: Sequence[Parity]
    claims: Sequence[Claim]
    provenance: Provenance

    @property
    def passed(self) -> bool:
        """Whether no check failed. A claim that differs is a finding, not a failed check."""
        return self.gradients.passed and all(each.passed is not False for each in self.parity)


def audit(model: UNet, data: np.ndarray | None = None, *, rate: float | None = None, told: str = "",
          claims: Sequence[Claim] = ()) -> Audit:
    """Audit a model.

    data : (B, L, C) or (B, H, W, C), what ranges are taken on; None for a sample made by formulas
    rate : samples per second, for the delay in milliseconds
    told : what the data is, in words

    Raises ValueError for data that does not fit.
    """
    x = np.asarray(example(model)[None] if data is None else data, np.float32)
    shown = subject(model, x[:1])
    part = subject(model, checked_part(model, x[:1]))
    return Audit(
        model.params.name, shown, told or "a sample made by formulas", costs(shown.graph), memory(shown.graph),
        fields(shown), sizes(model, rate), ranges(model, x), gradient_check(part),
        oddities(model.params, shown.graph, model.sizes.rank), parity(model, part), claims, provenance(shown),
    )


def checked_part(model: UNet, x: np.ndarray) -> np.ndarray:
    """The part of a sample (1, ..., C) on which gradients are checked: all of it, where the size is fixed or small."""
    if model.sizes.fixed:
        return x
    limit = CHECKED_LENGTH if model.sizes.rank == 1 else CHECKED_SIDE
    multiples = model.sizes.multiple[2 - model.sizes.rank:]
    kept = [slice(min(size, max(multiple, limit // multiple * multiple)))
            for size, multiple in zip(x.shape[1:-1], multiples, strict=True)]
    return x[(slice(None), *kept)]

"""Patterns of sums that are not there: a part of a convolution's output is its bias on what its memory held."""

from __future__ import annotations

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.compare import same
from npunet.verify.diagnose.memory import LEAST, anything_in, remainder
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.places import places
from npunet.verify.diagnose.sources import others

ZERO = np.float32(0)


@pattern(*CONVOLUTIONS)
def part_not_summed(s: Sight) -> Guesses:
    """The bias alone in a part of the output: its memory held zero when the bias was added, or the sum is zero."""
    bias = s.recipe.bias
    if bias is None or not bias.any() or np.count_nonzero(s.differs) < LEAST:
        return
    alone = np.broadcast_to(bias, s.right.shape) + ZERO
    blank = same(alone, s.got + ZERO)
    if not blank[s.differs].all():
        return
    y = np.where(blank, s.got, alone)
    for place in places(s.differs):
        if "channel" not in place.words:  # filters_not_summed tells those
            words = (f"{place.words}: the bias alone, no sum stands there: not computed, or what is read for these is "
                     f"not there (zero){remainder(place.words, s)}")
            yield Guess(words, np.where(place.mask, y, s.right), of_sums=True, again=anything_in(place.mask))


@pattern(*CONVOLUTIONS)
def part_stale_below_bias(s: Sight) -> Guesses:
    """In a part of the output the bias was added to what another tensor had left in its memory."""
    bias, size = s.recipe.bias, s.right[0].size
    if bias is None or np.count_nonzero(s.differs) < LEAST:
        return
    for name, value in others(s):
        if value is s.evidence.acc or value.ndim != 4 or len(value) != len(s.right) or value[0].size < size:
            continue
        held = value.reshape(len(value), -1)[:, :size].reshape(s.right.shape)
        y = held + bias
        if same(y, s.got)[s.differs].all() and len(np.unique(held[s.differs])) >= LEAST:
            for place in list(places(s.differs))[:1]:
                words = (f"{place.words}: {name} with the bias added to it: no sum is computed there, what its memory "
                         f"held is left{remainder(place.words, s)}")
                yield Guess(words, np.where(place.mask, y, s.right), of_sums=True, name="stale_part",
                            again=anything_in(place.mask))
            return

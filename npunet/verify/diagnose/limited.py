"""What happens in a part of the output only: causes that explain all that is wrong, and contradict what is right."""

from __future__ import annotations

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.attempts import Attempts, Part
from npunet.verify.diagnose.causes import Cause
from npunet.verify.diagnose.memory import COMMON
from npunet.verify.diagnose.places import places
from npunet.verify.diagnose.registry import HYPOTHESES, RARE
from npunet.verify.diagnose.rule import Score, hits
from npunet.verify.diagnose.trial import Trial

VARIED_RARE = 2  # values that differ and do not stand in many tensors: fewer are no evidence for a part
MOST_ALIKE = 2  # causes that explain a part equally well and are told
CONTRADICTED = 0.5  # share of what is wrong in another case; what gives less of it is another cause
LAST = ("input_changed", "input_beyond", "output_limited")  # of what explains a part: told after others


class InAPart(Attempts):
    """The stage of a search that looks at parts.

    limited : how many of what may hold in a part were tried there
    """

    limited = 0

    def _limited(self) -> None:
        """What explains all that is wrong when it happens in a part of the output only: a loop's remainder, a tile."""
        first = self.first
        telling = first.got[~first.equal & ~self._blank(first)]
        if np.count_nonzero(~np.isin(np.unique(telling), COMMON)) < VARIED_RARE:
            return
        kept = len(self.causes)
        new, self.limited = self.parts_of[self.limited :], len(self.parts_of)
        for part in new:
            for place in places(~first.equal):
                self._next()
                found = first.judge(np.where(place.mask, part.y.astype(np.float32), first.right))
                for trial in self.trials[1:]:  # in others the part may be another, but what is wrong is wrong alike
                    found += self._wherever(part, trial)
                if found.told and (part.of_sums or first.sums_agree_in(part.recipe, place.mask)):
                    self._keep((part.name,), f"{place.words}: {part.words}; elsewhere right", found, True)
        listed = sorted(self.causes[kept:], key=_plainness)
        self.causes[kept:] = listed[:MOST_ALIKE]  # a part of few numbers is explained by much

    @staticmethod
    def _blank(trial: Trial) -> np.ndarray:
        """Where nothing but zero, or a convolution's bias alone, stands: any sum of nothing would explain it."""
        blank = trial.got == 0
        if trial.recipe.op in CONVOLUTIONS and trial.recipe.bias is not None:
            blank |= trial.got == trial.recipe.bias
        return blank

    def _wherever(self, part: Part, trial: Trial) -> Score:
        """What may hold in a part, in another case: whether it gives all that is wrong there, if it can be run."""
        wrong = trial.size - trial.unchanged
        parts = ((part.name, part.words),)
        listed = parts[0][0] in HYPOTHESES | RARE or parts in self.seen_by or parts in self.fixed
        changed = self._again(trial, part.recipe, parts) if part.recipe is not None and listed else None
        if changed is None:
            return Score(trial.size, wrong, wrong, 0)
        y = recipes.run(changed)
        gained = int(np.count_nonzero(hits(y, trial.got) & ~trial.equal)) if y.shape == trial.got.shape else 0
        return Score(trial.size, wrong, wrong if gained >= CONTRADICTED * wrong else gained, 0)


def _plainness(cause: Cause) -> tuple[bool, bool]:
    """Of what explains a part: hypotheses first, what can be had in many variants last."""
    return cause.names[0] not in HYPOTHESES, cause.names[0] in LAST

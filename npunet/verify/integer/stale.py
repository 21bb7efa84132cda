"""Elements that nobody wrote, or that another tensor was written over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from npunet.verify.diagnose.regions import runs
from npunet.verify.integer.evidence import Evidence

Suspect = tuple[str, Callable[[Evidence], np.ndarray]]
AXES = {3: "channel", 2: "column", 1: "row"}
ENOUGH = 4  # elements of a sample that must lie together to be another tensor's
KEPT = 0.5  # share of the right values that must be others from sample to sample, where what stands there is not


def unwritten(evidence: Sequence[Evidence]) -> Iterator[Suspect]:
    """What is wrong is wrong at the same places in every sample, and holds the same there whatever the input is.

    Of cases of one layer, between whose samples nothing else runs: what was not written stays.
    """
    cases = [e for e in evidence if not e.others and len(e.got) > 1]
    if not cases or any(e.got.shape[1:] != cases[0].got.shape[1:] for e in evidence):
        return
    at = np.any([(e.got != e.right).any(0) for e in evidence], 0)                          # (H, W, C)
    stays = all((e.got[:, at] == e.got[:1, at]).all() for e in cases)
    moves = np.concatenate([e.right[:, at] != e.right[:1, at] for e in cases])
    if at.all() or not stays or moves[1:].mean() < KEPT:
        return
    values = np.unique(np.concatenate([e.got[:, at].ravel() for e in evidence]))
    stand = f"{values[0]} stands there" if len(values) == 1 else "what stood there before stays"

    def apply(e: Evidence) -> np.ndarray:
        return np.where(at, e.got, e.right)

    yield f"does not write {_where(at)} of its output: {stand}", apply


def _where(at: np.ndarray) -> str:
    """(H, W, C) in words."""
    flat = np.flatnonzero(at)
    whole = np.ones(at.shape, bool)
    said = []
    for axis, name in AXES.items():
        extent = at.shape[axis - 1]
        part = np.flatnonzero(at.any(tuple(k - 1 for k in (1, 2, 3) if k != axis)))
        if len(part) < extent:
            whole &= np.isin(np.arange(extent), part).reshape([-1 if k == axis else 1 for k in (1, 2, 3)])
            said.append(f"{name} {runs(part)} of {extent}" if len(part) == 1 else f"{name}s {runs(part)} of {extent}")
    if len(flat) > 1 and flat[-1] - flat[0] + 1 == len(flat) < whole.sum():
        return f"elements {flat[0]} to {flat[-1]} of the {at.size}"
    if said:
        return " in ".join(said)
    steps = np.unique(np.diff(flat))
    if len(steps) == 1:
        return f"every element from {flat[0]} on in steps of {steps[0]}"
    return f"{len(flat)} of {at.size} elements, {runs(flat)},"


def overwritten(evidence: Sequence[Evidence]) -> Iterator[Suspect]:
    """All that is wrong holds what another tensor of the same run holds, in its order."""
    wrong = [e for e in evidence if e.wrong]
    if not all(e.others for e in wrong):
        return
    for name in wrong[0].others:
        places = [_offsets(e, name) for e in wrong if name in e.others]
        if len(places) == len(wrong) and None not in places and len(set(places)) == 1:
            first = places[0]
            assert first is not None

            def apply(e: Evidence, name: str = name, first: int = first) -> np.ndarray:
                return _over(e, name, first) if e.wrong else e.right

            where = "from its beginning" if first == 0 else (f"from its element {first} on" if first > 0 else
                                                              f"from element {-first} of {name} on")
            all_of_it = first <= 0 and first + wrong[0].others[name][0].size >= wrong[0].got[0].size
            yield (f"holds what {name} gave, {where}: it was not run, or that was written over it" if all_of_it else
                   f"has its output overwritten by that of {name}, {where}"), apply


def _offsets(e: Evidence, name: str) -> int | None:
    """At which element of a sample's output the other tensor begins; None where it does not stand there."""
    other, got, right = (x.reshape(len(x), -1) for x in (e.others[name], e.got, e.right))
    if len(other) != len(got):
        return None
    sample = int(np.flatnonzero((got != right).any(1))[0])
    at = np.flatnonzero(got[sample] != right[sample])
    if len(at) < ENOUGH:
        return None
    probe = at[:: max(1, len(at) // 12)]
    for first in range(int(at[-1]) - other.shape[1] + 1, int(at[0]) + 1):
        if (other[sample, probe - first] == got[sample, probe]).all() and np.array_equal(_over(e, name, first), e.got):
            return first
    return None


def _over(e: Evidence, name: str, first: int) -> np.ndarray:
    other, y = e.others[name].reshape(len(e.got), -1), e.right.reshape(len(e.got), -1).copy()
    last = min(y.shape[1], first + other.shape[1])
    y[:, max(0, first) : last] = other[:, max(0, -first) : last - first]
    return y.reshape(e.got.shape)

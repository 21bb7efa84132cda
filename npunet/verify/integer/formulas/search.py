"""Which changes of an operator's text give the integers of a port, everywhere or in a part of its output."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from npunet.integer.fixed_point import INT32_MIN
from npunet.verify.diagnose.causes import check_time
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.formulas.edits import Edit, edits
from npunet.verify.integer.formulas.forms import FAR_FETCHED
from npunet.verify.integer.formulas.machine import BY_ELEMENT, NOTED, Machine, in_chunks
from npunet.verify.integer.parts import Shown, part

ASKED = 40  # wrong elements of which a change is asked first
AT_ONCE = 2**20  # values of a sum that are computed at once
SHOWN = 4
BEYOND_WRONG = 0.5  # of the elements that read beyond must be wrong
BEYOND_AT_MOST = 0.5  # of all elements may read beyond: what stands there explains anything
BEYOND = ", and reads beyond its array where it is wrong"
FEWEST, FEWEST_IN_A_PART = 3, 12  # elements that differ: by fewer a change of a text is not known
FAULTS = (ValueError, TypeError, NameError, IndexError, OverflowError, AttributeError, ZeroDivisionError,
          FloatingPointError, UnboundLocalError, MemoryError)


@dataclass(frozen=True)
class Found:
    """A change, and where it stands ("" everywhere)."""

    words: str
    where: str
    simple: int


def search(evidence: Sequence[Evidence], deadline: float = inf) -> tuple[list[Found], int]:
    """The changes that reproduce all of the evidence, the likeliest first, and how many were tried.

    Raises TimeIsUp.
    """
    try:
        task = _Task(evidence)
    except ValueError:
        return [], 0
    found: list[Found] = []
    tried = 0
    for far_fetched in (False, True):
        for edit in edits(task.functions, task.machine.space, far_fetched):
            check_time(deadline)
            tried += 1
            where = task.try_now(edit)
            if where is not None:
                found.append(Found(edit.words(), where, edit.simple + task.guessed))
        if any(each.where == "" for each in found):
            break
    found.sort(key=lambda each: each.simple)
    parts = [each for each in found if each.where != BEYOND]
    best = [each for each in found if each.where == ""] or parts or found
    return list({each.words: each for each in best}.values())[:SHOWN], tried


class _Task:
    """What a port made of a layer in all cases, as one."""

    def __init__(self, evidence: Sequence[Evidence]) -> None:
        node, network = evidence[0].node, evidence[0].network
        inputs = tuple(np.concatenate(each) for each in zip(*(e.inputs for e in evidence), strict=True))
        self.samples = [(len(e.got), not e.others) for e in evidence]  # and whether it is a case of the layer alone
        self.machine = Machine(node, network, inputs)
        joined = {role: np.concatenate([e.shown[role] for e in evidence]) for role in ("acc", "pre", "out")
                  if all(role in e.shown for e in evidence)}
        widest = max(x[0, ..., 0].size if node.op == "layer_norm" else x.shape[3] for x in inputs)
        self.rows = max(1, AT_ONCE // widest)  # elements that are computed at once
        everything = np.arange(int(np.prod(self.machine.shape)))
        right = self._run(everything)
        acc = right.get("acc")
        sums_shown = "acc" in joined and acc is not None
        self.sums_wrong = acc is not None and "acc" in joined and not np.array_equal(joined["acc"].ravel(), acc)
        self.given = acc if sums_shown and not self.sums_wrong else None
        self.role = "acc" if self.sums_wrong else "out" if "out" in joined else "pre"
        self.got, self.right = joined[self.role].ravel(), right[self.role]
        alone = node.op in BY_ELEMENT and len(inputs) == 1
        self.sums = inputs[0].ravel() if alone else acc if acc is not None else right.get("pre")
        self.marks = (network.tensors[node.inputs[0]].zero_point,)
        differ = np.flatnonzero(self.got != self.right)
        if not differ.size:
            raise ValueError("nothing differs")
        if differ.size < FEWEST:
            raise ValueError("too little differs")
        self.differing, self.guessed = differ.size, False  # whether what was found last has elements that are unknown
        self.wrong_ones = _spread(differ, ASKED)
        names = [name for name in reversed(self.machine.tree) if not self._is_done(name)]  # the operator first
        self.functions = [self.machine.tree[name] for name in names]

    def _is_done(self, name: str) -> bool:
        """Whether a function of the text comes after, or before, what is looked at."""
        if self.sums_wrong:
            return name in ("finish", "clamp") or (self.machine.node.op != "add" and name != "accumulate")
        return self.given is not None and name == "accumulate"

    def _run(self, elements: np.ndarray) -> dict[str, np.ndarray]:
        parts = [self.machine.run(each)[0] for each in in_chunks(elements, self.rows)]
        return {role: np.concatenate([each[role] for each in parts]) for role in parts[0]}

    def _now(self, elements: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        given = None if self.given is None else self.given[elements]
        made, unknown = self.machine.run(elements, given, self.sums_wrong)
        return made[self.role], unknown

    def try_now(self, edit: Edit) -> str | None:
        """Where the text as it stands now gives the port's output; None if nowhere."""
        function = edit.function.name
        before = self.machine.space[function]
        try:
            self.machine.put(self.machine.compile(edit.function))
            values, unknown = self._now(self.wrong_ones)
            if (values != self.got[self.wrong_ones])[~unknown].any():
                return None
            where = self._everywhere()
            likely = self.differing >= FEWEST_IN_A_PART and edit.simple < FAR_FETCHED
            return where if where in ("", BEYOND) or likely else None
        except FAULTS:
            return None
        finally:
            self.machine.space[function] = before

    def _everywhere(self) -> str | None:
        everything = np.arange(len(self.got))
        made = [self._now(each) for each in in_chunks(everything, self.rows)]
        values, unknown = (np.concatenate(each) for each in zip(*made, strict=True))
        wrong = self.got != self.right
        if unknown.mean() > 0.5 or (wrong & ~unknown).sum() < FEWEST or not (values != self.right)[~unknown].any():
            return self._beyond(values, unknown, wrong)
        self.guessed = bool(unknown.any())
        shape = self.machine.shape
        sums = None if self.sums is None else self.sums.reshape(shape)
        return part([Shown(self.got.reshape(shape), self.right.reshape(shape), values.reshape(shape),
                           ~unknown.reshape(shape), sums, self.marks)])


    def _beyond(self, values: np.ndarray, unknown: np.ndarray, wrong: np.ndarray) -> str | None:
        """Whether all that is wrong needs what lies beyond an input, and that is the same for all samples of a case.

        Of an operator with a border, in its own cases, between whose samples nothing else runs: a sum is then off by
        the same in all of them, and a maximum is what lies there or what it should be.
        """
        if (self.machine.node.op not in ("conv2d", "depthwise_conv2d", "max_pool2d") or NOTED.of_parameters
                or not 0 < unknown.mean() <= BEYOND_AT_MOST or (values != self.got)[~unknown].any()
                or wrong[unknown].mean() < BEYOND_WRONG
                or (self.machine.node.op != "max_pool2d" and self.role != "acc")):
            return None
        shape, first, told = self.machine.shape, 0, False
        got, right, at = (x.reshape(shape) for x in (self.got, self.right, unknown))
        for samples, alone in self.samples:
            mine, first = slice(first, first + samples), first + samples
            if not alone or samples < 2:
                continue
            told = True
            where = at[mine][0]
            if self.role == "acc":
                off = (got[mine] - right[mine])[:, where]
                if (off != off[:1]).any():
                    return None
            else:
                most = np.where(got[mine] != right[mine], got[mine], INT32_MIN).max(0)
                if (np.maximum(right[mine], most) != got[mine])[:, where].any():
                    return None
        return BEYOND if told else None


def _spread(elements: np.ndarray, count: int) -> np.ndarray:
    """Some of them, from all over."""
    if len(elements) <= count:
        return elements
    return elements[np.unique(np.linspace(0, len(elements) - 1, count).astype(int))]


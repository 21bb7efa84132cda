"""Right values at wrong places: the index at which an operator writes is changed as its formula is."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from math import inf, prod
from types import SimpleNamespace

import numpy as np

from npunet.verify.diagnose.causes import check_time
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.formulas.edits import edits
from npunet.verify.integer.formulas.machine import MAPS
from npunet.verify.integer.formulas.values import FUNCTIONS

TEXT = """
def place(i, j, f):
    n = (i * s.ow + j) * s.f + f
    return n
"""
EXTENTS = {"i": "s.oh", "j": "s.ow", "f": "s.f", "n": "s.size"}
MOST_UNKNOWN = 0.6  # of the elements may never be written
ENOUGH = 4
SHOWN = 3


def misplaced(evidence: Sequence[Evidence], deadline: float = inf) -> tuple[list[str], int]:
    """Words of the changes after which everything that is written is what the port has, and how many were tried.

    Where nothing is written anything may stand. Raises TimeIsUp.
    """
    got, right = (np.concatenate(each) for each in zip(*((e.got, e.right) for e in evidence), strict=True))
    N, OH, OW, F = got.shape
    x = evidence[0].inputs[0].shape
    space = {**FUNCTIONS, "KNOWN": {}, "INDEX": {}, "EXTENTS": EXTENTS, "MAPS": {"n": {
        words: text.replace("p.", "s.") for words, text in MAPS.items()}}, "s": SimpleNamespace(
            oh=OH, ow=OW, f=F, h=x[1], w=x[2], c=x[3], size=OH * OW * F)}
    space["MAPS"]["n"] = {words: text.replace("s.c", "s.f").replace("s.w", "s.ow").replace("s.h", "s.oh")
                          for words, text in space["MAPS"]["n"].items()}
    function = ast.parse(TEXT).body[0]
    assert isinstance(function, ast.FunctionDef)
    at = np.unravel_index(np.arange(prod(got.shape[1:])), got.shape[1:])
    got, right = got.reshape(N, -1), right.reshape(N, -1)
    wrong = got != right
    found: dict[str, None] = {}
    tried = 0
    for far_fetched in (False, True):
        for edit in edits([function], space, far_fetched):
            check_time(deadline)
            tried += 1
            if _fits(_places(function, space, at), got, right, wrong):
                found[edit.words().replace("computes", "writes to", 1)] = None
    return list(found)[:SHOWN], tried


def _places(function: ast.FunctionDef, space: dict[str, object], at: tuple[np.ndarray, ...]) -> np.ndarray | None:
    try:
        exec(compile(ast.Module([function], []), "<place>", "exec"), space)
        with np.errstate(all="ignore"):
            return np.broadcast_to(np.asarray(space["place"](*at), np.int64), at[0].shape)  # type: ignore[operator]
    except (ValueError, TypeError, NameError, ZeroDivisionError, AttributeError, OverflowError):
        return None


def _fits(places: np.ndarray | None, got: np.ndarray, right: np.ndarray, wrong: np.ndarray) -> bool:
    if places is None:
        return False
    size = got.shape[1]
    inside = (places >= 0) & (places < size)
    source = np.full(size, -1)
    source[places[inside]] = np.flatnonzero(inside)                       # what is written last stays
    written = np.flatnonzero(source >= 0)
    if len(written) < (1 - MOST_UNKNOWN) * size or (source[written] == written).all():
        return False
    told = wrong[:, written]
    return int(told.sum()) >= ENOUGH and np.array_equal(got[:, written], right[:, source[written]])

"""One tensor of a port: chained against the golden one, and by itself for what the port had before it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from npunet.golden.bounds import accumulator_bound, output_bound
from npunet.golden.layer_run import LayerRun
from npunet.ops.table import CONVOLUTIONS
from npunet.run import apply
from npunet.verify.compare import Comparison, compare, same
from npunet.verify.feeds import Feeds
from npunet.verify.layouts import LAYOUTS, from_layout
from npunet.verify.results import FAIL, INHERITED, NOT_JUDGED, PASS, Check

TOLERATED = 0.01  # share of a network case's elements that may stay without a judgement; a layer case has corners
SUMS = (*CONVOLUTIONS, "layer_norm")
Deltas = Mapping[str, np.ndarray]


def check(feeds: Feeds, case: Mapping[str, Any], layer: str, role: str, deltas: Deltas, layout: str) -> Check:
    """Compare one tensor of a network or layer case.

    role   : "out", "acc", or of integers "pre", what stands before the clamp
    deltas : bounds of the whole network by tensor name, for a network case that is compared with bounds
    layout : in which the tensor was read
    """
    name, scope, key = case["id"], case["scope"], f"{layer}.{role}"
    got, want = feeds.values[name, key], feeds.bundle.tensor(name, key)
    own: Comparison | None = None
    unseen: tuple[str, ...] = ()
    status = PASS
    if feeds.bounded:
        inputs = feeds.bundle.inputs(name, layer)
        sources = feeds.node(layer).inputs
        off = [np.zeros(x.shape) for x in inputs] if scope == "layer" else [deltas[source] for source in sources]
        chained = within(feeds, layer, role, got, want, inputs, off)
        if scope == "network":
            own, unseen, _ = by_itself(feeds, name, layer, role, got)
            status = FAIL if own.wrong else INHERITED if chained.wrong else PASS
            if status == PASS and own.unjudged > TOLERATED * _ordinary(own, want):
                status = NOT_JUDGED
        elif chained.wrong:
            status = FAIL
        elif chained.unjudged == chained.size:
            status = NOT_JUDGED
    else:
        chained = compare(got, want)
        if chained.differ and scope == "network":
            own, unseen, changed = by_itself(feeds, name, layer, role, got)
            status = INHERITED if changed and not own.differ else FAIL
        elif chained.differ:
            status = FAIL
    other = moved_layout(got, want) if status == FAIL else None
    note = cause = ""
    if other:
        note = f"if {other} is the port's way throughout, add --layout {other}"
        cause = f"transposed: the golden numbers in {other} order"
    return Check(name, scope, layer, role, chained, own, status, unseen, layout, note, cause)


def _ordinary(found: Comparison, want: np.ndarray) -> int:
    """How many elements a bound could say something about: NaN and infinities are judged apart."""
    return max(1, found.size - int(np.count_nonzero(~np.isfinite(want))))


def by_itself(
    feeds: Feeds, case: str, layer: str, role: str, got: np.ndarray
) -> tuple[Comparison, tuple[str, ...], bool]:
    """A tensor against its layer run on the port's own inputs; who was not seen; whether these inputs err."""
    inputs, unseen = feeds.inputs(case, layer)
    want = _tensor(feeds.bundle.run_layer(layer, inputs), role)
    golden = feeds.bundle.inputs(case, layer)
    changed = any(not same(x, other).all() for x, other in zip(inputs, golden, strict=True))
    if not feeds.bounded:
        return compare(got, want), unseen, changed
    slacks = feeds.slacks(case, layer, inputs)
    return within(feeds, layer, role, got, want, inputs, slacks), unseen, changed


def within(
    feeds: Feeds,
    layer: str,
    role: str,
    got: np.ndarray,
    want: np.ndarray,
    inputs: list[np.ndarray],
    deltas: list[np.ndarray],
) -> Comparison:
    """Against the bound for a layer's inputs that may be off by deltas."""
    node, weights = feeds.node(layer), feeds.bundle.weights
    bound_of = accumulator_bound if role == "acc" else output_bound
    bound = bound_of(node, inputs, deltas, weights, feeds.port)
    classes = None
    if not np.isfinite(want).all():
        with np.errstate(all="ignore"):
            wide = [x.astype(np.float64) for x in (*inputs, *(weights[name] for name in node.weights))]
            classes = ~np.isfinite(apply(node, iter(wide), "any")[0])  # not for want of float32's range
    return compare(got, want, bound, classes, node.op in SUMS)


def moved_layout(got: np.ndarray, want: np.ndarray) -> str | None:
    """The other layout in which the numbers stand where they are right but for that."""
    if want.ndim != 4:
        return None
    for name in list(LAYOUTS)[1:]:
        moved = from_layout(got.ravel(), want.shape, name)
        if not np.array_equal(moved, got, equal_nan=True) and same(moved, want).all():
            return name
    return None


def _tensor(layer_run: LayerRun, role: str) -> np.ndarray:
    value = getattr(layer_run, role, None)
    return layer_run.out if value is None else value

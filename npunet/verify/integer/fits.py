"""What is read off a port's output where no hypothesis gives it: an order, lost bits, limits, other weights.

A fit sees all of the evidence and yields what it suspects: words, and what a case's output would be then. It is told
only if that is the port's output in every element of every case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from npunet.golden.integer.stages import before_clamp, has_pre
from npunet.verify.diagnose.regions import runs
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses.factors import HIGHEST, LOWEST
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS
from npunet.verify.integer.multipliers import multipliers
from npunet.verify.integer.probes import ELEMENTWISE
from npunet.verify.integer.reordered import orders
from npunet.verify.integer.stale import overwritten, unwritten

Suspect = tuple[str, Callable[[Evidence], np.ndarray]]
Fit = Callable[[Sequence[Evidence]], Iterator[Suspect]]
AXES = {3: "channel", 2: "column", 1: "row", 0: "sample"}
MOST = 0.5  # of the elements of a part that was not computed differ: others are right by chance, at a clamp
SHOWN = 3


def order(evidence: Sequence[Evidence]) -> Iterator[Suspect]:
    """The right channels, columns, rows or samples in another order; some of them hold one value."""
    first = evidence[0]
    for axis, words in AXES.items():
        right, got = (np.moveaxis(y, axis, 0).reshape(y.shape[axis], -1) for y in (first.right, first.got))
        place = {row.tobytes(): k for k, row in reversed(list(enumerate(np.ascontiguousarray(right))))}
        found = [k if np.array_equal(row, right[k]) else place.get(row.tobytes())
                 for k, row in enumerate(np.ascontiguousarray(got))]
        value = [int(row[0]) if (row == row[0]).all() else None for row in got]
        moved = [k for k, source in enumerate(found) if source != k]
        if len(got) < 2 or any(found[k] is None and value[k] is None for k in moved):
            continue
        if all(found[k] is None for k in range(len(got))):
            continue                                                       # which is one value everywhere
        told = [f"{words} {k} holds {value[k]} throughout" if found[k] is None else
                f"{words} {k} holds what belongs in {words} {found[k]}" for k in moved]
        steps = {(k - source) % len(got) for k, source in enumerate(found) if source is not None}
        if len(steps) == 1 and None not in found:
            step = steps.pop()
            told = [f"its {words}s stand {step} later, around the end" if step <= len(got) / 2 else
                    f"its {words}s stand {len(got) - step} earlier, around the end"]

        def apply(e: Evidence, axis: int = axis, found: list[int | None] = found,
                  value: list[int | None] = value) -> np.ndarray:
            y = e.right.take([0 if k is None else k for k in found], axis)
            for k, source in enumerate(found):
                if source is None:
                    np.moveaxis(y, axis, 0)[k] = value[k]
            return y

        more = f", and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        if axis or all(each.right.shape[0] == len(found) for each in evidence):
            yield f"has its output in another order: {'; '.join(told[:SHOWN])}{more}", apply


def late(evidence: Sequence[Evidence]) -> Iterator[Suspect]:
    """The right values, some elements later or earlier in memory; at the end stands anything."""
    _, H, W, C = evidence[0].right.shape
    for step in sorted({step for step in (1, 2, 4, C, W * C) if step < H * W * C}):
        for by in (step, -step):
            def apply(e: Evidence, by: int = by) -> np.ndarray:
                y, right = e.got.reshape(len(e.got), -1).copy(), e.right.reshape(len(e.right), -1)
                if by > 0:
                    y[:, by:] = right[:, :-by]
                else:
                    y[:, :by] = right[:, -by:]
                return y.reshape(e.got.shape)

            yield f"writes every value {step} element{'s' if step > 1 else ''} {'late' if by > 0 else 'early'}", apply


def parts_late(evidence: Sequence[Evidence]) -> Iterator[Suspect]:
    """One input of a concat at another channel, over its neighbour; what it leaves free may hold anything."""
    if evidence[0].node.op != "concat":
        return
    first, channels = 0, evidence[0].right.shape[3]
    for number, x in enumerate(evidence[0].inputs):
        size = x.shape[3]
        for at in sorted(set(range(1 - size, channels)) - {first}, key=lambda k: abs(k - first)):
            def apply(e: Evidence, number: int = number, first: int = first, at: int = at) -> np.ndarray:
                y, x = e.right.copy(), e.inputs[number].astype(np.int64)
                free, size = slice(first, first + x.shape[3]), x.shape[3]
                y[..., free] = e.got[..., free]
                kept = slice(max(0, -at), size - max(0, at + size - channels))
                y[..., at + kept.start : at + kept.stop] = x[..., kept]
                return y

            yield f"has its input {number} at channel {at}, not at channel {first}", apply
        first += size


def bits(evidence: Sequence[Evidence]) -> Iterator[Suspect]:
    """Bits of the output that are always 0, or always 1."""
    low, high = evidence[0].network.tensors[evidence[0].node.name].limits
    span = high - low
    for words, always in (("0", True), ("1", False)):
        seen, right = 0, 0
        for e in evidence:
            got, want = (values & span if always else ~values & span for values in (e.got, e.right))
            seen, right = seen | int(np.bitwise_or.reduce(got.ravel())), right | int(np.bitwise_or.reduce(want.ravel()))
        stuck = right & ~seen
        if stuck:
            def apply(e: Evidence, stuck: int = stuck, always: bool = always) -> np.ndarray:
                y = e.right & span
                y = y & ~stuck if always else y | stuck
                return ((y - low) & span) + low

            which = runs(np.flatnonzero([(stuck >> k) & 1 for k in range(span.bit_length())]))
            yield f"has bits of its output that are always {words}: {which} of {span.bit_length()}", apply


def limits(evidence: Sequence[Evidence]) -> Iterator[Suspect]:
    """Another clamp, and every value so much more."""
    if not has_pre(evidence[0].node):
        return
    a = evidence[0].node.attrs
    pairs = [(before_clamp(e.node, e.inputs, e.network), e.got) for e in evidence]
    low, high = min(int(got.min()) for _, got in pairs), max(int(got.max()) for _, got in pairs)
    between = [(got - whole)[(got > low) & (got < high)] for whole, got in pairs]
    offs = np.concatenate(between) if between else np.zeros(0, np.int64)
    more = int(offs[0]) if offs.size and (offs == offs[0]).all() else 0
    told = [f"is {abs(more)} too {'large' if more > 0 else 'small'} before the clamp"] if more else []
    for words, now, was in (("below", low, a["act_min"]), ("above", high, a["act_max"])):
        if now != was:
            told.append(f"is clamped {words} at {now}, not at {was}")
    if told:
        yield " and ".join(told), lambda e: np.clip(before_clamp(e.node, e.inputs, e.network) + more, low, high)


def function(evidence: Sequence[Evidence]) -> Iterator[Suspect]:
    """Of an operator of single elements, other results for some values."""
    if evidence[0].node.op not in ELEMENTWISE:
        return
    known: dict[int, tuple[int, int]] = {}
    for e in evidence:
        x = e.inputs[0].astype(np.int64).ravel()
        at, first = np.unique(x, return_index=True)
        known |= {int(value): (int(e.got.ravel()[k]), int(e.right.ravel()[k])) for value, k in zip(at, first,
                                                                                                   strict=True)}
    wrong = {x: both for x, both in sorted(known.items()) if both[0] != both[1]}
    if not wrong:
        return
    read, (got, right) = next(iter(wrong.items()))

    def apply(e: Evidence) -> np.ndarray:
        y = e.right.ravel().copy()
        for place, value in enumerate(e.inputs[0].astype(np.int64).ravel().tolist()):
            if value in known:
                y[place] = known[value][0]
        return y.reshape(e.got.shape)

    steps = {both[0] - both[1] for both in wrong.values()}
    more = f": {abs(step := steps.pop())} {'more' if step > 0 else 'less'} for each" if len(steps) == 1 else ""
    values = runs(np.array(list(wrong)))
    yield (f"gives other results for {len(wrong)} of the {len(known)} values that it read ({values}){more}, such as "
           f"{got} for {read}, not {right}"), apply


def shifts(evidence: Sequence[Evidence]) -> Iterator[Suspect]:
    """Of a convolution, other shifts in some channels."""
    node = evidence[0].node
    if node.op not in CONVOLUTIONS:
        return
    right = node.arrays["shift"]
    made, outputs = right.copy(), {}
    for step in (-1, 1, -2, 2):
        if right.min() + step >= LOWEST and right.max() + step <= HIGHEST:
            outputs[step] = [e.run(arrays={"shift": right + step}) for e in evidence]
    for f in range(len(right)):
        if all(np.array_equal(e.got[..., f], e.right[..., f]) for e in evidence):
            continue
        found = [step for step, ys in outputs.items()
                 if all(np.array_equal(e.got[..., f], y[..., f]) for e, y in zip(evidence, ys, strict=True))]
        if not found:
            return
        made[f] += found[0]
    off = np.flatnonzero(made != right)
    if len(off):
        told = ", ".join(f"{int(made[f])} in channel {f}, not {int(right[f])}" for f in off[:SHOWN].tolist())
        yield (f"has another shift in {len(off)} of {len(right)} channels: {told}",
               lambda e: e.run(arrays={"shift": made}))


def not_computed(evidence: Sequence[Evidence]) -> Iterator[Suspect]:
    """All that is wrong lies at one end of an axis, and most there is wrong.

    Where a layer's own case has two samples, `unwritten` knows better.
    """
    if any(len(e.got) > 1 and not e.others for e in evidence):
        return
    wrong = [e for e in evidence if e.wrong]
    for axis, words in AXES.items():
        extent = evidence[0].right.shape[axis]
        if axis == 0 or extent < 2:
            continue
        others = tuple(k for k in range(4) if k != axis)
        at = np.flatnonzero(np.any([(e.got != e.right).any(others) for e in wrong], 0))
        at_end = at[-1] - at[0] + 1 == len(at) <= extent / 2 and (at[0] == 0 or at[-1] == extent - 1)
        share = [np.count_nonzero(e.got != e.right) / e.got.take(at, axis).size for e in wrong]
        if at_end and min(share) >= MOST:
            def apply(e: Evidence, axis: int = axis, at: np.ndarray = at) -> np.ndarray:
                y = e.right.copy()
                np.moveaxis(y, axis, 0)[at] = np.moveaxis(e.got, axis, 0)[at]
                return y

            named = f"{words} {runs(at)}" if len(at) == 1 else f"{words}s {runs(at)}"
            border = ", or wrong at the border" if axis in (1, 2) and "pads" in wrong[0].node.attrs else ""
            yield f"is right but for {named} of {extent}: not computed, so that anything stands there{border}", apply


FIRST: dict[str, Fit] = {"order": order, "not written": unwritten, "overwritten": overwritten}
FITS: dict[str, Fit] = {"late": late, "parts late": parts_late, "bits": bits, "limits": limits,
                        "shifts": shifts, "multipliers": multipliers, "function": function,
                        "orders": orders}
LAST: dict[str, Fit] = {"not computed": not_computed}

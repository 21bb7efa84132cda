"""What a port of integers made of its first wrong layer, and why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import inf

import numpy as np

from npunet.golden.integer.reader import IntegerBundle
from npunet.verify.diagnose import Cause, Diagnosis
from npunet.verify.diagnose.regions import fallback
from npunet.verify.feeds import Feeds
from npunet.verify.integer.diagnose import diagnose
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.fits import FIRST, FITS, LAST, Fit
from npunet.verify.integer.formulas.aliased import aliased
from npunet.verify.integer.formulas.search import search
from npunet.verify.integer.formulas.writes import misplaced
from npunet.verify.integer.observed import shown_wrongly
from npunet.verify.integer.solved import solved
from npunet.verify.layouts import LAYOUTS, stored_as
from npunet.verify.results import FAIL, Check, LayerVerdict

MOST = 2**21  # values of evidence: enough for any cause, and no longer a search than a person waits for
SHOWN = 4
ROLES = ("acc", "pre", "out")
Variant = tuple[str, np.ndarray]


def with_its_integers(check: Check, bundle: IntegerBundle, feeds: Feeds) -> Check:
    """The check with a note: accumulator, value before the clamp, multiplier and shift of its first wrong element."""
    first, node = check.told.first, bundle.network[bundle.layers[check.layer]["name"]]
    if first is None:
        return check
    made = bundle.run_layer(check.layer, _inputs(check, feeds))
    told = {"acc": made.acc, "before the clamp": made.pre}
    parts = [f"{words} {int(values[first])}" for words, values in told.items() if values is not None]
    for key in ("multiplier", "shift"):
        if key in node.arrays:
            parts.append(f"{key} {int(node.arrays[key][first[3]])}")
        elif f"output_{key}" in node.attrs or key in node.attrs:
            parts.append(f"{key} {node.attrs.get(key, node.attrs.get(f'output_{key}'))}")
    note = f"right is: {', '.join(parts)}" if parts else ""
    return replace(check, note="; ".join(words for words in (note, check.note) if words))


def explain_integers(bundle: IntegerBundle, feeds: Feeds, first: LayerVerdict | None,
                     deadline: float = inf) -> Diagnosis | None:
    """The causes that reproduce every element of the first wrong layer in every case shown, or None without one.

    deadline : of time.perf_counter(), at which the search ends with what it has
    """
    if first is None or not first.checks or first.status != FAIL:
        return None
    if first.number < 0:
        return _of_input(bundle, feeds, first)
    roles = {check.role for check in first.checks if check.status == FAIL}
    if "out" not in roles:
        told = shown_wrongly(bundle, feeds, first)
        if told is not None:
            return told
    evidence = _evidence(bundle, feeds, first, next(role for role in ("out", "pre", "acc") if role in roles))
    wrong = sorted((each for each in evidence if each.wrong), key=lambda each: -len(each.got))
    if not wrong:
        return None
    size = sum(each.got.size for each in evidence)
    unchanged = sum(int(np.count_nonzero(each.got == each.right)) for each in evidence)
    sums = _evidence(bundle, feeds, first, "acc") if roles == {"acc", "pre", "out"} else []
    fits: dict[str, Fit] = {**FITS, "weights": partial(solved, sums=sums), **LAST}
    read_first: dict[str, Fit] = {**FIRST, "places": partial(_places, deadline=deadline)}
    ordered = [*wrong, *(each for each in evidence if not each.wrong)]
    found, tried, cut = diagnose(ordered, fits, deadline, _changes, read_first)
    in_network = [each for each in ordered if each.others]
    if not found and not cut and len(in_network) < len(ordered) and all(each.others for each in wrong):
        found, more, cut = diagnose(in_network, fits, deadline, None, {})
        tried += more
        found = [(name, f"{words}, in the network alone: its own case is right") for name, words in found]
    causes = tuple(Cause((name,), f"the layer {words}", size, size, True) for name, words in found)
    if not causes:
        width = 1 if bundle.network.scheme == "int8" else 2
        causes = (fallback(wrong[0].got != wrong[0].right, unchanged, size, tried, width),)
    return Diagnosis(first.record["name"], causes, unchanged, size, tried, cut)


def _changes(evidence: Sequence[Evidence], deadline: float) -> tuple[list[tuple[str, str]], int]:
    """What the search of formulas finds."""
    found, tried = search(evidence, deadline)
    return [(each.words, each.where) for each in found], tried


def _places(evidence: Sequence[Evidence], deadline: float) -> Iterator[tuple[str, Callable[[Evidence], np.ndarray]]]:
    """Where else it was written, found whole: so that what comes out is what the port has."""
    for words in (*misplaced(evidence, deadline)[0], *aliased(evidence, deadline)):
        yield words, lambda e: e.got


def _inputs(check: Check, feeds: Feeds) -> list[np.ndarray]:
    """What a layer read in a case: of a network case what the port had."""
    if check.scope == "layer":
        return feeds.bundle.inputs(check.case, check.layer)
    return feeds.inputs(check.case, check.layer)[0]


def _evidence(bundle: IntegerBundle, feeds: Feeds, first: LayerVerdict, role: str) -> list[Evidence]:
    """Of every case shown, up to MOST values: outputs, values before the clamp or accumulators."""
    node, layer, network = bundle.network[first.record["name"]], first.record["id"], bundle.network
    found: list[Evidence] = []
    for check in sorted(first.checks, key=lambda check: check.status != FAIL):
        if check.role != role or sum(each.got.size for each in found) > MOST:
            continue
        shown = {each: feeds.values[check.case, f"{layer}.{each}"].astype(np.int64) for each in ROLES
                 if (check.case, f"{layer}.{each}") in feeds.values}
        got = shown[role]
        given = Evidence(node, network, tuple(_inputs(check, feeds)), got, shown=shown, others=_others(check, feeds),
                         samples=max(len(feeds.values[each.case, f"{layer}.{role}"]) for each in first.checks
                                     if each.role == role))
        found.append(given.unclamped(got) if role == "pre" else given.summed(got) if role == "acc" else given)
    return found


def _others(check: Check, feeds: Feeds) -> dict[str, np.ndarray]:
    """The outputs of all layers of a network case, and its input, as the port showed them; of a layer case nothing."""
    if check.scope == "layer":
        return {}
    found = {"the network's input": feeds.values.get((check.case, "in"), feeds.bundle.tensor(check.case, "in"))}
    for layer, record in feeds.bundle.layers.items():
        if (check.case, f"{layer}.out") in feeds.values and layer != check.layer:
            found[record["name"]] = feeds.values[check.case, f"{layer}.out"]
    return {name: values.astype(np.int64) for name, values in found.items()}


def _of_input(bundle: IntegerBundle, feeds: Feeds, first: LayerVerdict) -> Diagnosis:
    """What was done to the input of a network case."""
    checks = [check for check in first.checks if check.status == FAIL]
    pairs = [(bundle.tensor(check.case, _key(check)).astype(np.int64), feeds.values[check.case, _key(check)])
             for check in checks]
    others = {case: bundle.tensor(case, "in") for case, told in bundle.cases.items() if told["scope"] == "network"}
    tensor = bundle.network.tensors[bundle.network.input]
    left: dict[str, None] | None = None
    tried = 0
    for want, got in pairs:
        made = dict(_readings(want, tensor.zero_point, tensor.limits, others if len(pairs) == 1 else {}))
        tried = tried or len(made)
        same = [words for words, values in made.items() if values.shape == got.shape and np.array_equal(values, got)]
        left = dict.fromkeys(same if left is None else [words for words in left if words in same])
    size = sum(got.size for _, got in pairs)
    causes = tuple(Cause(("input",), f"the input {words}", size, size, True) for words in list(left or ())[:SHOWN])
    unchanged = sum(int(np.count_nonzero(got == want)) for want, got in pairs)
    return Diagnosis("in", causes, unchanged, size, tried)


def _key(check: Check) -> str:
    return "in" if check.layer == "in" else f"{check.layer}.{check.role}"


def _readings(x: np.ndarray, zero_point: int, limits: tuple[int, int],
              others: dict[str, np.ndarray]) -> Iterator[Variant]:
    """What a port may have done to the input: int64 (N, H, W, C)."""
    low, high = limits
    span = high - low + 1
    for axis, words in ((0, "samples"), (1, "rows"), (2, "columns"), (3, "channels")):
        yield f"has its {words} in reverse order", np.flip(x, axis)
    for layout in list(LAYOUTS)[1:]:
        yield f"is stored as {layout}", stored_as(x, layout)
    for words, moved in (("less its zero point", x - zero_point), ("plus its zero point", x + zero_point),
                         (f"plus {span // 2}: unsigned", x + span // 2), ("one more", x + 1), ("one less", x - 1),
                         ("negated", -x), ("negated around its zero point", 2 * zero_point - x)):
        yield f"is {words}", moved
        yield f"is {words}, clamped", np.clip(moved, low, high)
        yield f"is {words}, and wraps", (moved - low) % span + low
    yield "has the bytes of its words in the other order", x.astype(f"<i{span.bit_length() // 8}").byteswap().astype(
        np.int64)
    for step in (-1, 1):
        yield f"is shifted by {step:+d} column around the end", np.roll(x, step, 2)
    yield "is 0 everywhere: it was never filled", np.zeros_like(x)
    yield "is the zero point everywhere", np.full_like(x, zero_point)
    yield "repeats the first sample", np.repeat(x[:1], len(x), 0)
    for case, other in others.items():
        yield f"is that of {case}", other.astype(np.int64)

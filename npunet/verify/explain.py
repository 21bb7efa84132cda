"""Where the first divergence is known: gathering the evidence, and asking what explains it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from npunet.golden.reader import Bundle
from npunet.verify import inputs
from npunet.verify.compare import same
from npunet.verify.diagnose import Cause, Diagnosis, Evidence, diagnose
from npunet.verify.diagnose.shelter import sheltered
from npunet.verify.diagnose.unseen import before
from npunet.verify.feeds import Feeds, Values
from npunet.verify.results import ERROR, WORST, Check, LayerVerdict

CASES_OF_EVIDENCE = 3


class Explainer:
    """What a port has, and what is asked about it; values : its tensors by (case, key); deadline : of a search."""

    def __init__(self, bundle: Bundle, feeds: Feeds, values: Values, bounded: bool, deadline: float) -> None:
        self.bundle, self.feeds, self.values, self.bounded, self.deadline = bundle, feeds, values, bounded, deadline

    def explain(self, first: LayerVerdict | None) -> Diagnosis | None:
        """The cause of the first divergence, or None where there is none or nothing to look at."""
        with np.errstate(all="ignore"):  # corner cases overflow in whatever is tried
            return self._explained(first)

    def _explained(self, first: LayerVerdict | None) -> Diagnosis | None:
        if first is None or first.status == ERROR:
            return None
        if first.number < 0:
            return self._of_input(first)
        layer = first.record["id"]
        by_status = sorted(first.checks, key=lambda check: WORST.index(check.status))
        of_sums = by_status[0].role == "acc" and not any(
            check.role == "out" and check.status == by_status[0].status for check in by_status)
        checks = [check for check in by_status if check.role == ("acc" if of_sums else "out")][:CASES_OF_EVIDENCE]
        if not checks:
            return None
        if checks[0].cause:
            size = checks[0].chained.size
            cause = Cause((checks[0].cause.partition(":")[0],), checks[0].cause, size, size, True)
            return Diagnosis(first.record["name"], (cause,), size - checks[0].chained.differ, size, 1)
        evidence = [self._evidence(check) for check in checks]
        told = diagnose(self.bundle, self.feeds.node(layer), evidence, self.bounded, self.deadline, of_sums)
        if of_sums:
            return told
        with sheltered():
            told = self._or_of_input(layer, checks, told)
        if checks[0].unseen and not (told.causes and told.causes[0].whole):
            with sheltered():
                told = before(self.feeds, checks[0], evidence[0], told, self.deadline)
        return told

    def _of_input(self, first: LayerVerdict) -> Diagnosis:
        """Why the input is not the bundle's: what was done to it."""
        checks = [check for check in first.checks if check.scope == first.checks[0].scope]
        keys = [(check.case, "in" if check.layer == "in" else f"{check.layer}.{check.role}") for check in checks]
        pairs = [(self.bundle.tensor(*key), self.values[key]) for key in keys]
        alone = keys[0][1] == "in" and checks[0].scope == "network"
        others = inputs.inputs_of_other_cases(self.bundle, keys[0][0]) if alone else []
        return inputs.explain("in", pairs, others, deadline=self.deadline)

    def _or_of_input(self, layer: str, checks: list[Check], told: Diagnosis) -> Diagnosis:
        """A layer that reads an input which the port does not show: the fault may lie in that."""
        sources = self.bundle.layers[layer]["inputs"]
        cases = [check.case for check in checks if check.scope == "network" and (check.case, "in") not in self.values]
        if "in" not in sources or not cases:
            return told

        def through(x: np.ndarray, number: int) -> np.ndarray:
            fed = [x if name == "in" else value
                   for name, value in zip(sources, self.feeds.inputs(cases[number], layer)[0], strict=True)]
            return self.bundle.run_layer(layer, fed).out

        pairs = [(self.bundle.tensor(case, "in"), self.values[case, f"{layer}.out"]) for case in cases]
        others = inputs.inputs_of_other_cases(self.bundle, cases[0])
        found = inputs.explain(told.layer, pairs, others, through, self.deadline)
        exact = any(cause.whole and cause.exact for cause in told.causes)
        if not found.causes or (exact and not found.causes[0].exact):
            return replace(told, tried=told.tried + found.tried, cut="" if exact else told.cut or found.cut)
        listed = [cause for cause in told.causes if cause.whole and cause.exact]
        total = told.total
        causes = tuple(Cause(cause.names, cause.words, total, total, cause.exact) for cause in found.causes)
        return replace(told, causes=(*causes, *listed), tried=told.tried + found.tried, cut="")

    def _evidence(self, check: Check) -> Evidence:
        """What a layer read and gave in the case of a check, and what else the port had there, by layer name."""
        if check.scope == "layer":
            inputs, others = self.bundle.inputs(check.case, check.layer), {}
        else:
            inputs = self.feeds.inputs(check.case, check.layer)[0]
            order = list(self.bundle.layers)
            earlier = set(order[: order.index(check.layer)])  # a later one was made from this very output
            others = {
                self.feeds.names[key.removesuffix(".out")]: value
                for (case, key), value in self.values.items()
                if case == check.case and key.endswith(".out") and key.removesuffix(".out") in earlier
            }
        around = self._around(check) if check.scope == "network" else {}
        acc = self.values.get((check.case, f"{check.layer}.acc")) if check.role == "out" else None
        got = self.values[check.case, f"{check.layer}.{check.role}"]
        reader = self._right_reader(check) if check.scope == "network" and check.role == "out" else ""
        return Evidence(check.case, inputs, got, others, acc, reader=reader, **around)

    def _right_reader(self, check: Check) -> str:
        """A layer that read this output, gave what it has to, and would not have with what was dumped; "" without."""
        for layer, record in self.bundle.layers.items():
            shown = self.values.get((check.case, f"{layer}.out"))
            if check.layer not in record["inputs"] or shown is None:
                continue
            golden = self.bundle.tensor(check.case, f"{layer}.out")
            fed = self.bundle.run_layer(layer, self.feeds.inputs(check.case, layer)[0]).out
            if same(shown, golden).all() and not same(fed, golden).all():
                return self.feeds.names[layer]
        return ""

    def _around(self, check: Check) -> dict[str, dict[str, np.ndarray]]:
        """What a buffer may hold instead of a layer's output: later layers as they should be, other cases."""
        order, names = list(self.bundle.layers), self.feeds.names
        golden = {
            names[layer]: self.bundle.tensor(check.case, f"{layer}.out")
            for layer in order[order.index(check.layer) + 1 :]
            if (check.case, f"{layer}.out") in self.values
        }
        cases = {
            f"{names[key.removesuffix('.out')]} of {case}": value
            for (case, key), value in self.values.items()
            if case != check.case and key.endswith(".out") and key.removesuffix(".out") in names
            and self.bundle.cases[case]["scope"] == "network"
        }
        later = {name: self.values[check.case, f"{self.feeds.ids[name]}.out"] for name in golden}
        return {"golden": golden, "cases": cases, "later": later}

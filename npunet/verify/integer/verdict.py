"""verify_integer(): every tensor of an integer port against the bundle, and the cause of the first divergence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from os import PathLike

import numpy as np

from npunet.golden.integer.reader import IntegerBundle
from npunet.golden.integer.stages import Stages, stages
from npunet.golden.names import unknown
from npunet.integer.network import Node
from npunet.verify.integer.diagnose import diagnose
from npunet.verify.integer.dumps import ROLES, Dump, read
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.results import Difference, IntegerCause, IntegerCheck, IntegerResult, LayerResult
from npunet.verify.results import FAIL, INHERITED, PASS, SKIPPED

Progress = Callable[[int, int, str], None]
WORST = (FAIL, INHERITED, PASS)


def verify_integer(bundle: str | PathLike[str] | IntegerBundle, outputs: str | PathLike[str], *,
                   layers: Iterable[str] | None = None, case: str | None = None, explain: bool = True,
                   progress: Progress | None = None) -> IntegerResult:
    """Compare a port's integers with a golden bundle of integers.

    bundle  : folder, or an IntegerBundle that was opened
    outputs : file or folder; forms are in npunet.verify.integer's docstring
    layers  : names or ids of the layers that the port shows; all by default
    case    : of tensors whose names tell none
    explain : look for the cause of the first divergence

    Raises ValueError for a damaged bundle, a bundle of floats, outputs with nothing in them; FileNotFoundError.
    """
    opened = bundle if isinstance(bundle, IntegerBundle) else IntegerBundle(bundle)
    asked = _asked(opened, layers)
    found = _Run(opened, read(outputs, opened, case))
    return found.result(asked, explain, progress or (lambda done, total, what: None))


def _asked(bundle: IntegerBundle, layers: Iterable[str] | None) -> set[str]:
    """Ids of the layers that a user names by id or name."""
    if layers is None:
        return set(bundle.layers)
    by_name = {layer["name"]: key for key, layer in bundle.layers.items()}
    asked = {by_name.get(layer, layer) for layer in layers}
    if not asked:
        raise ValueError("there is no layer to check: layers= (--layers) is empty")
    if asked - set(bundle.layers):
        raise ValueError(unknown("layer", asked - set(bundle.layers), [*by_name, *bundle.layers]))
    return asked


class _Run:
    """One verification while it runs."""

    def __init__(self, bundle: IntegerBundle, dump: Dump) -> None:
        self.bundle, self.dump, self.network = bundle, dump, bundle.network
        self.checks: dict[str, list[IntegerCheck]] = {layer: [] for layer in bundle.layers}
        self.inputs: list[IntegerCheck] = []
        self.evidence: dict[str, list[Evidence]] = {layer: [] for layer in bundle.layers}

    def result(self, asked: set[str], explain: bool, progress: Progress) -> IntegerResult:
        """Check every case, then look for the cause."""
        shown = [case for case in self.bundle.cases if any(key[0] == case for key in self.dump.values)]
        for number, case in enumerate(shown):
            progress(number, len(shown), case)
            self._check_case(case)
        layers = tuple(self._layer(layer) for layer in self.bundle.layers if layer in asked)
        unchecked = tuple((case, layer) for case in self.bundle.cases for layer in self.bundle.layers
                          if layer in asked and (case, f"{layer}.out") not in self.dump.values)
        first = next((layer.id for layer in layers if layer.status == FAIL), None)
        causes: tuple[IntegerCause, ...] = ()
        tried = 0
        if explain and first is not None:
            progress(len(shown), len(shown), "cause")
            causes, tried = diagnose(self.evidence[first])
        progress(len(shown), len(shown), "done")
        return IntegerResult(str(self.bundle.root), layers, tuple(self.inputs), tuple(self.bundle.cases), unchecked,
                             tuple(self.dump.faults), tuple(self.dump.ignored), causes, tried,
                             self.bundle.manifest["profile"])

    def _check_case(self, case: str) -> None:
        """Walk through the network; `own` holds what the port had, the reference's own where it shows nothing."""
        golden = self.bundle.tensor(case, "in")
        given = self.dump.values.get((case, "in"))
        if given is not None:
            self.inputs.append(_check(case, "in", "in", given, golden, golden))
        own = {self.network.input: golden if given is None else given.astype(golden.dtype)}
        for node in self.network:
            layer = self.bundle.ids[node.name]
            made = stages(node, [own[name] for name in node.inputs], self.network)
            wrong = []
            for role in ROLES:
                got = self.dump.values.get((case, f"{layer}.{role}"))
                if got is not None:
                    check = self._check_role(case, layer, role, got, made)
                    self.checks[layer].append(check)
                    wrong += [role] * (check.status == FAIL)
            out = self.dump.values.get((case, f"{layer}.out"))
            self._collect(case, layer, node, made, wrong)
            own[node.name] = made.out if out is None else _within(out, made.out)

    def _check_role(self, case: str, layer: str, role: str, got: np.ndarray, made: Stages) -> IntegerCheck:
        golden = self.bundle.tensor(case, f"{layer}.{'out' if role == 'fed' else role}")
        mine = golden if role == "fed" else getattr(made, role)
        return _check(case, layer, role, got, golden, mine, made if role != "fed" else None)

    def _collect(self, case: str, layer: str, node: Node, made: Stages, wrong: list[str]) -> None:
        """Keep what a diagnosis needs of a layer's case: its inputs and what the port made of them."""
        given = Evidence(node, self.network, made.inputs, made.out.astype(np.int64))
        if "out" in wrong:
            given = replace(given, got=self.dump.values[case, f"{layer}.out"])
        elif "pre" in wrong:
            given = given.unclamped(self.dump.values[case, f"{layer}.pre"])
        elif "fed" in wrong:
            inputs = tuple(self._golden(case, name) for name in node.inputs)
            given = replace(given, inputs=inputs, got=self.dump.values[case, f"{layer}.fed"])
        elif (case, f"{layer}.out") not in self.dump.values:
            return
        self.evidence[layer].append(given)
        self.evidence[layer].sort(key=lambda each: not each.wrong)

    def _golden(self, case: str, name: str) -> np.ndarray:
        return self.bundle.tensor(case, "in" if name == self.network.input else f"{self.bundle.ids[name]}.out")

    def _layer(self, layer: str) -> LayerResult:
        checks = tuple(self.checks[layer])
        status = min((check.status for check in checks), key=WORST.index, default=SKIPPED)
        return LayerResult(layer, self.bundle.layers[layer], status, checks)


def _within(out: np.ndarray, like: np.ndarray) -> np.ndarray:
    """The port's output as the next layer reads it; what does not fit the type is clamped."""
    limits = np.iinfo(like.dtype)
    return np.clip(out, limits.min, limits.max).astype(like.dtype)


def _check(case: str, layer: str, role: str, got: np.ndarray, golden: np.ndarray, own: np.ndarray,
           made: Stages | None = None) -> IntegerCheck:
    """PASS when all are golden, INHERITED when all are what the layer gives for the port's inputs, else FAIL."""
    if np.array_equal(got, golden):
        return IntegerCheck(case, layer, role, PASS, 0, got.size, 0)
    inherited = made is not None and np.array_equal(got, own)
    want = golden if inherited else own
    off = got != want
    index = tuple(int(k) for k in np.argwhere(off)[0])
    first = _difference(index, got, want, None if inherited else made)
    largest = int(np.abs(got - want.astype(np.int64)).max())
    return IntegerCheck(case, layer, role, INHERITED if inherited else FAIL, int(off.sum()), got.size, largest, first)


def _difference(index: tuple[int, ...], got: np.ndarray, want: np.ndarray, made: Stages | None) -> Difference:
    told: dict[str, int] = {}
    if made is not None:
        told |= {role: int(values[index]) for role, values in made.items() if role != "out"}
        for key in ("multiplier", "shift"):
            if key in made.node.arrays:
                told[key] = int(made.node.arrays[key][index[3]])
            elif f"output_{key}" in made.node.attrs or key in made.node.attrs:
                told[key] = int(made.node.attrs.get(key, made.node.attrs.get(f"output_{key}")))
    return Difference(index, int(got[index]), int(want[index]), **told)

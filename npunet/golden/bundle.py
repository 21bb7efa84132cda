"""golden(): make a bundle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

import npunet
from npunet import IntegerModel, UNet
from npunet.deploy import check_level
from npunet.files import write_npz
from npunet.golden import boards, cases, constants, cport, graphs, hexbench, manifest, texts
from npunet.golden.backward import backward_case
from npunet.golden.blind import blind_spots
from npunet.golden.bounds import output_bound, rounded_up
from npunet.golden.collect import Collector
from npunet.golden.corners import layer_inputs
from npunet.golden.draws import RANDOM
from npunet.golden.integer.bundle import MAX_SIZE as MAX_SIZE_OF_INTEGERS
from npunet.golden.integer.bundle import golden_integer, integer_model, is_integer, refuse_for_integers
from npunet.golden.layer_run import run_layer, run_network
from npunet.golden.names import unknown
from npunet.golden.place import beside
from npunet.golden.subject import WORD, Subject, checked_size, has_accumulator, payload, resolve
from npunet.golden.writers import FORMATS, check_formats, write_sums, write_text
from npunet.graph import Graph, Node
from npunet.values import natural, words

ORDERS = ("seq", "seq_fma")
MAX_SIZE = 18 << 20
EXP = "npunet exp32/expm1_32, version 1 (npunet/ops/exponential.py)"
LAYER_NORM = "two passes, sums in float64 row-major, mean and inverse rounded once"

Progress = Callable[[int, int, str], None]


def golden(model: UNet | IntegerModel | str | PathLike[str], out: str | PathLike[str], *,
           inputs: np.ndarray | None = None, level: str = "deploy", arithmetic: str = "seq_fma",
           cases: Sequence[str] | None = None, formats: Sequence[str] = FORMATS, backward: bool = False,
           bounds: bool = False, layers: Iterable[str] | None = None, size: str | tuple[int, ...] = "auto",
           max_size: int = MAX_SIZE, seed: int = 0, weights: str | None = None, target: str | None = None,
           progress: Progress | None = None) -> dict[str, Any]:
    """Write a golden bundle: what a port of a network has to reproduce; its form is in npunet.golden's docstring.

    model      : a float32 UNet, the path of a saved one, or a preset's name
    out        : folder to write; an old bundle there is replaced whole or not at all, anything else is refused, as is
                 a bundle with a file in it that is not its own or was changed (golden.place)
    inputs     : real inputs (B, L, C) or (B, H, W, C): one more network case, and the size of all others
    level      : "deploy" (batch norm folded, separable convolutions split) or "trained"
    arithmetic : "seq" or "seq_fma", the declared order of summation
    cases      : kinds from cases.KINDS; all by default
    formats    : of "npz", "bin", "c", "hex"
    backward   : also gradients, batch-norm statistics and one SGD step of a training batch
    bounds     : also the error bound of every element for ports with another order
    layers     : names of the layers whose tensors are stored; all by default
    size       : (L,) or (H, W) to run at, "full" for the model's own, "auto" for a smaller one where the network's
                 tensors would not fit into a quarter of max_size
    max_size   : bytes of tensors, each counted once; those of backward come on top. The first network case and the real
                 input are stored in full if they fit, other network cases never; single layers as long as there is
                 room, the small ones first
    seed       : of the random values
    weights    : "given": the model's own; "drawn": drawn from the seed so that every fault shows (see golden.drawn).
                 By default drawn for a preset's name, which has none, and given for a model
    target     : a processor of boards.TARGETS: c/board/ is what a board with it needs to run every case
    progress   : called as progress(done, total, what)

    An integer network (an IntegerModel, or the path of one) gets a bundle of integers, of which npunet.golden.integer
    is the form: it takes inputs, cases (integer.cases.KINDS), formats, max_size, seed, target and progress.

    Returns the manifest. Raises ValueError for arguments that do not fit, FileExistsError for a folder in use.
    """
    if is_integer(model):
        refuse_for_integers(level=level != "deploy", arithmetic=arithmetic != "seq_fma", backward=backward,
                            bounds=bounds, layers=layers is not None, size=size != "auto", weights=weights == "drawn")
        return golden_integer(integer_model(model), out, inputs=inputs, kinds=cases, formats=formats, seed=seed,
                              max_size=MAX_SIZE_OF_INTEGERS if max_size == MAX_SIZE else max_size, target=target,
                              progress=progress)
    assert not isinstance(model, IntegerModel), "is_integer says so"
    check_level(level)
    formats, layers = words("formats", formats), None if layers is None else words("layers", layers)
    seed, max_size, size = natural("seed", seed), natural("max_size", max_size), checked_size(size)
    if arithmetic not in ORDERS:
        raise ValueError(f"arithmetic={arithmetic!r} must be one of {', '.join(ORDERS)}: a bundle's order is declared")
    check_formats(formats)
    if not _kinds(cases) and inputs is None and not backward:
        raise ValueError("there is no case to store: choose cases, give real inputs, or add backward")
    board = None if target is None else boards.target_called(target)
    if board is not None:
        boards.check(board, formats)
    subject = resolve(model, level, inputs, size, max_size, weights, seed)
    with beside(Path(out)) as root:
        maker = _Maker(root, subject, level, arithmetic, formats, bounds, layers, max_size, seed,
                       board, progress or (lambda done, total, what: None))
        return maker.make(_kinds(cases), inputs, backward)


def _kinds(kinds: Sequence[str] | None) -> tuple[str, ...]:
    chosen = cases.KINDS if kinds is None else words("cases", kinds)
    cases.check_kinds(chosen)
    return chosen


class _Maker:
    """One bundle while it is made; see golden for the arguments."""

    def __init__(self, root: Path, subject: Subject, level: str, arithmetic: str, formats: tuple[str, ...],
                 bounds: bool, layers: Iterable[str] | None, max_size: int, seed: int, target: boards.Target | None,
                 progress: Progress) -> None:
        self.root, self.subject, self.level, self.arithmetic, self.formats = root, subject, level, arithmetic, formats
        self.bounds, self.seed, self.progress, self.room = bounds, seed, progress, max_size
        self.target = target
        self.graph, self.weights = subject.graph, subject.weights
        self.ids = manifest.layer_ids(self.graph)
        self.chosen = self._chosen(layers)
        self.covering = covering(self.graph)
        self.layers = {record["id"]: record
                       for record in manifest.layer_records(self.graph, subject.folded, self.covering)}
        self.cases: list[tuple[dict[str, Any], list[dict[str, Any]]]] = []
        self.network: dict[str, Collector] = {}
        self.left_out: list[str] = []

    def make(self, kinds: tuple[str, ...], inputs: np.ndarray | None, backward: bool) -> dict[str, Any]:
        """Run every case and write every file; returns the manifest."""
        images = self._images(kinds, inputs)
        alone = [node for node in self.graph if "layers" in kinds and self.covering[node.name] == self.ids[node.name]]
        self.total = len(images) + len(alone) + backward + 1
        for number, (kind, x) in enumerate(images.items()):
            size = (payload(self.graph) + self._bounds_size()) * len(x)
            full = (number == 0 or kind == "input") and size <= self.room
            self.room -= size * full
            self._network_case(f"case{number:02d}_{kind}", kind, x, full, hexed=number == 0)
        for node in sorted(alone, key=self._size_alone):  # the small ones first: so that most of them fit
            self._layer_case(node)
        made = {case["id"] for case, _ in self.cases}
        for record in self.layers.values():
            record["case"] = record["case"] if record["case"] in made else None
        described = self._backward() if backward else None
        self._model()
        if "c" in self.formats:
            of_layers = [case["id"] for case, _ in self.cases if case["scope"] == "layer"]
            cport.write(self.root / "c", self.graph, self.weights, self.layers, self.arithmetic, self.network,
                        sorted(of_layers))
        if "hex" in self.formats:
            hexbench.write(self.root / "hex", self.layers, self.network)
        return self._finish(described)

    def _images(self, kinds: tuple[str, ...], inputs: np.ndarray | None) -> dict[str, np.ndarray]:
        """Inputs of the network cases by kind, (N, H, W, C) float32."""
        images = {kind: cases.network_input(kind, self.graph, self.weights, self.seed)
                  for kind in kinds if kind in cases.NETWORK_CASES}
        if inputs is not None:
            images["input"], _ = self.subject.model.sizes.admit(inputs, "float32")
        return images

    def _bounds_size(self) -> int:
        """Bytes of one sample's bounds, where they are asked for: two an output."""
        return 2 * WORD * sum(prod(node.shape) for node in self.graph) * self.bounds

    def _size_alone(self, node: Node) -> int:
        return sum(prod(self.graph.shape(name)) for name in (*node.inputs, node.name))

    def _network_case(self, name: str, kind: str, x: np.ndarray, full: bool, hexed: bool) -> None:
        samples = [f"sample {number}" for number in range(len(x))]
        case = Collector(name, "network", kind, samples, f"f32/{name}", self.layers)
        case.add("in", "in", x, None, True)
        deltas = {self.graph.input: np.zeros(x.shape)}
        for layer_run in run_network(self.graph, self.weights, x, self.arithmetic):
            layer = self.ids[layer_run.node.name]
            store = full and (self.chosen is None or layer_run.node.name in self.chosen)
            if layer_run.acc is not None:
                case.add(f"{layer}.acc", "acc", layer_run.acc, layer, store)
            case.add(f"{layer}.out", "out", layer_run.out, layer, store or layer_run.node.name == self.graph.output)
            if self.bounds and full:
                still = [np.zeros(value.shape) for value in layer_run.inputs]
                local = output_bound(layer_run.node, layer_run.inputs, still, self.weights)
                case.add(f"{layer}.local", "local", rounded_up(local), layer, store)
                carried = [deltas[key] for key in layer_run.node.inputs]
                onward = output_bound(layer_run.node, layer_run.inputs, carried, self.weights)
                deltas[layer_run.node.name] = rounded_up(onward)
                case.add(f"{layer}.bound", "bound", deltas[layer_run.node.name], layer, store)
        self.network[name] = case
        self._keep(case, hexed)

    def _layer_case(self, node: Node) -> None:
        layer = self.ids[node.name]
        if self.chosen is not None and node.name not in self.chosen:
            return
        samples, inputs = layer_inputs(node, self.graph, self.weights, self.seed)
        outputs = len(inputs[0]) * prod(node.shape) * (1 + has_accumulator(node, self.graph) + self.bounds)
        size = WORD * (outputs + sum(value.size for value in inputs))
        if size > self.room:
            self.left_out.append(layer)
            return
        self.room -= size
        layer_run = run_layer(node, inputs, self.weights, self.arithmetic)
        case = Collector(layer, "layer", node.op, samples, f"f32/{layer}", self.layers)
        for number, value in enumerate(inputs):
            case.add(f"{layer}.in{number}", "in", value, layer, True)
        if layer_run.acc is not None:
            case.add(f"{layer}.acc", "acc", layer_run.acc, layer, True)
        case.add(f"{layer}.out", "out", layer_run.out, layer, True)
        if self.bounds:
            local = output_bound(node, inputs, [np.zeros(value.shape) for value in inputs], self.weights)
            case.add(f"{layer}.local", "local", rounded_up(local), layer, True)
        self._keep(case, hexed=False)

    def _backward(self) -> dict[str, Any]:
        case, described = backward_case(self.subject, self.arithmetic, self.seed)
        self._keep(case, hexed=False)
        return described

    def _keep(self, case: Collector, hexed: bool) -> None:
        self.cases.append(case.finish(self.root, self.formats, hexed))
        self.progress(len(self.cases), self.total, case.case)

    def _chosen(self, layers: Iterable[str] | None) -> set[str] | None:
        """Names of the layers to store, with those that they read; ids are understood too."""
        if layers is None:
            return None
        by_id = {key: name for name, key in self.ids.items()}
        names = {by_id.get(layer, layer) for layer in layers}
        if not names:
            raise ValueError("there is no layer to store: layers= (--layers) is empty")
        if names - set(self.ids):
            raise ValueError(unknown("layer", names - set(self.ids), list(self.ids)[1:]))
        return names | {name for layer in names - {self.graph.input} for name in self.graph[layer].inputs}

    def _model(self) -> None:
        folder = self.root / "model"
        folder.mkdir()
        self.subject.model.save(folder / "model.npz")
        write_npz(folder / "weights.npz", self.weights)
        (folder / "weights.bin").write_bytes(b"".join(manifest.canonical(v).tobytes() for v in self.weights.values()))
        write_text(folder / "graph.json", json.dumps(graphs.to_json(self.graph), indent=1, sort_keys=True) + "\n")

    def _finish(self, backward: dict[str, Any] | None) -> dict[str, Any]:
        scopes = ("network", "layer", "backward")
        ordered = sorted(self.cases, key=lambda made: (scopes.index(made[0]["scope"]), made[0]["id"]))
        described = {
            "schema": manifest.SCHEMA,
            "generator": "npunet",
            "version": npunet.__version__,
            "seed": self.seed,
            "random": RANDOM,
            "licence": "CC0-1.0",
            "endianness": "little",
            "model": self._describe_model(),
            "profile": {
                "precision": "f32", "level": self.level, "float_order": self.arithmetic,
                "fma": self.arithmetic == "seq_fma", "exp": EXP, "layer_norm": LAYER_NORM, "requant": None,
                "accumulator_bits": None, "bias_bits": None, "table_precision": None,
            },
            "constants": {"exp": constants.of_exponential()},
            "formats": list(self.formats),
            "layers": list(self.layers.values()),
            "weights": manifest.weight_records(self.weights, self.graph, raw=True),
            "cases": [case for case, _ in ordered],
            "tensors": [tensor for _, tensors in ordered for tensor in tensors],
            "backward": backward,
            "mutation_score": None,
            "cannot_see": blind_spots(self.subject),
        }
        manifest.check(described)
        write_text(self.root / "manifest.json", manifest.dumps(described))
        write_text(self.root / "README.txt", texts.readme(described, self.left_out))
        write_text(self.root / "REFERENCE.md", texts.reference(described))
        write_text(self.root / "manifest.schema.json", manifest.schema_text())
        write_text(self.root / "LICENSE-DATA", texts.LICENCE)
        if self.target is not None:
            boards.write(self.root, self.target, described, "float32")
        write_sums(self.root)
        self.progress(self.total, self.total, "done")
        return described

    def _describe_model(self) -> dict[str, Any]:
        model, weights = self.subject.model, hashlib.sha256()
        for value in model.weights.values():
            weights.update(manifest.canonical(value).tobytes())
        config = json.dumps(model.params.to_dict(), sort_keys=True)
        return {
            "name": model.params.name,
            "weights_are": self.subject.origin,
            "config_sha256": hashlib.sha256(config.encode()).hexdigest(),
            "weights_sha256": weights.hexdigest(),
            "file": "model/model.npz", "graph": "model/graph.json", "weights": "model/weights.npz",
            "raw_weights": "model/weights.bin",
            "input_shape": list(self.graph.input_shape), "own_input_shape": list(model.input_shape),
            "output_shape": list(self.graph.shape(self.graph.output)), "output": self.ids[self.graph.output],
            "rank": model.sizes.rank, "class_names": self.subject.class_names,
        }


def covering(graph: Graph) -> dict[str, str]:
    """For every layer the id of the layer case that covers it: its own, or that of the first equal weightless one."""
    ids = manifest.layer_ids(graph)
    first: dict[tuple, str] = {}
    return {
        node.name: ids[node.name] if node.weights else first.setdefault(
            (node.op, tuple(graph.shape(name) for name in node.inputs), repr(sorted(node.attrs.items()))),
            ids[node.name],
        )
        for node in graph
    }

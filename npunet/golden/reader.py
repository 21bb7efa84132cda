"""Reading a bundle: its manifest, its tensors, and the tensors that it names without storing them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cached_property
from math import prod
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from npunet.damage import told
from npunet.golden import graphs, manifest
from npunet.golden.cases import NETWORK_CASES, network_input
from npunet.golden.corners import layer_inputs
from npunet.golden.layer_run import LayerRun, run_layer, run_network, tensors_of
from npunet.graph import Graph
from npunet.reading import Stored, json_object, npz, reading

RUN_ERRORS = (ArithmeticError, AttributeError, IndexError, KeyError, MemoryError, TypeError, ValueError)
AGAIN = "make the bundle again"
SPARE = 1 << 16  # bytes of comments in a file of words
DECIDED = ("folded", "case")  # of a layer's record: what its graph does not tell


class Bundle:
    """A golden bundle in a folder.

    manifest : as schema.json has it
    cases, layers, tensors : its records by id; a tensor's is "<case>/<key>"

    Raises ValueError when the folder holds no bundle or a damaged one; so does every method for a damaged file.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.root = Path(folder)
        self.manifest: dict[str, Any] = self._load()
        self.cases = {case["id"]: case for case in self.manifest["cases"]}
        self.layers = {layer["id"]: layer for layer in self.manifest["layers"]}
        self.tensors = {tensor["id"]: tensor for tensor in self.manifest["tensors"]}
        for kind in ("cases", "layers", "tensors"):
            if len(getattr(self, kind)) != len(self.manifest[kind]):
                raise ValueError(f"{self.root}: two {kind} of the manifest have one id; make the bundle again")
        for layer in self.layers.values():
            if layer["case"] is not None and self.cases.get(layer["case"], {}).get("scope") != "layer":
                raise ValueError(f"{self.root}: layer {layer['id']} names the case {layer['case']}, which is none")
        for case in self.cases.values():
            missing = [key for key in case["tensors"] if f"{case['id']}/{key}" not in self.tensors]
            if missing:
                raise ValueError(f"{self.root}: case {case['id']} lists tensors without a record: {', '.join(missing)}")
        self._again: tuple[str, dict[str, np.ndarray]] = ("", {})

    def _load(self) -> dict[str, Any]:
        return manifest.load(self.root)

    @property
    def arithmetic(self) -> str:
        """The declared order of summation."""
        return self.manifest["profile"]["float_order"]

    @cached_property
    def fingerprint(self) -> str:
        """What tells this bundle from others: a digest of its manifest without the mutation score."""
        return manifest.fingerprint(self.manifest)

    @cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """Weights by name, each checked against its SHA-256."""
        path = self.inside(self.manifest["model"]["weights"])
        with reading(path, "is damaged", AGAIN), npz(path) as archive:
            weights = {record["name"]: of_record(archive[record["name"]], record).read()
                       for record in self.manifest["weights"]}
        for record in self.manifest["weights"]:
            check_digest(weights[record["name"]], record, f"weight {record['name']}")
        return weights

    @cached_property
    def graph(self) -> Graph:
        """The network whose layers the bundle holds."""
        path = self.inside(self.manifest["model"]["graph"])
        with reading(path, "is damaged", AGAIN):
            graph = graphs.from_json(json_object(path.read_bytes()), self.weights)
        try:
            records = manifest.layer_records(graph, {}, {})
            ids = manifest.layer_ids(graph)
        except RUN_ERRORS as error:
            raise ValueError(f"{path} is no network: {told(error):.200}") from None
        listed = [layer | {key: record[key] for key in DECIDED}
                  for record, layer in zip(self.layers.values(), records, strict=False)]
        if len(records) != len(self.layers) or listed != list(self.layers.values()):
            raise ValueError(f"{path} describes other layers than manifest.json; make the bundle again")
        if self.manifest["model"]["output"] != ids[graph.output]:
            raise ValueError(f"{path} ends in another layer than manifest.json says; make the bundle again")
        return graph

    def tensor(self, case: str, key: str) -> np.ndarray:
        """A tensor of the bundle: from its file, or run again when it has none; its SHA-256 is checked."""
        record = self.tensors.get(f"{case}/{key}")
        if record is None:
            raise ValueError(f"{self.root} has no tensor {case}/{key}")
        value = self.read(record) if record["files"] else self.run_again(case).get(key)
        if value is None:
            raise ValueError(f"{record['id']} has no file and cannot be computed again; make the bundle again")
        check_digest(value, record, record["id"])
        return value

    def inputs(self, case: str, layer: str) -> list[np.ndarray]:
        """What a layer is fed with in a case."""
        record = self.layers[layer]
        if self.cases[case]["scope"] == "layer":
            return [self.tensor(case, f"{layer}.in{number}") for number in range(len(record["inputs"]))]
        return [self.tensor(case, "in" if name == "in" else f"{name}.out") for name in record["inputs"]]

    def read(self, record: Mapping[str, Any]) -> np.ndarray:
        """A tensor from its bin, its npz or its mem, whichever there is first."""
        form, name = next((form, record["files"][form]) for form in ("bin", "npz", "hex") if form in record["files"])
        path = self.inside(name)
        dtype, shape = np.dtype(record["dtype"]).newbyteorder("<"), tuple(record["shape"])
        with reading(path, "is damaged", AGAIN):
            if form == "npz":
                with npz(path, only=record["key"]) as archive:
                    return of_record(archive[record["key"]], record).read()
            size = prod(shape) * dtype.itemsize
            if path.stat().st_size > (size if form == "bin" else 16 * size + SPARE):
                raise ValueError(f"it has {path.stat().st_size} bytes, far more than {dtype} {shape} in the manifest")
            if form == "bin":
                return np.frombuffer(path.read_bytes(), dtype).reshape(shape)
            return read_words(path.read_text(encoding="utf-8"), dtype).reshape(shape)

    def run_again(self, case: str) -> dict[str, np.ndarray]:
        """The tensors of a network or layer case, computed from the model; the last case is remembered."""
        if self._again[0] != case:
            if self.cases[case]["scope"] == "backward":
                raise ValueError(f"case {case} lacks files; make the bundle again with the format npz or bin")
            try:
                with np.errstate(all="ignore"):
                    made = self._network(case) if self.cases[case]["scope"] == "network" else self._layer(case)
            except RUN_ERRORS as error:
                raise ValueError(f"{self.root}: case {case} cannot be run again: {told(error):.200}") from None
            self._again = (case, {key: manifest.canonical(value) for key, value in made.items()})
        return self._again[1]

    def _network(self, case: str) -> dict[str, np.ndarray]:
        """A network case from its input, and that from its file or, where it was drawn, drawn again."""
        record, kind = self.tensors[f"{case}/in"], self.cases[case]["kind"]
        if record["files"]:
            x = self.tensor(case, "in")
        elif kind in NETWORK_CASES:
            x = network_input(kind, self.graph, self.weights, self.manifest["seed"])
        else:
            raise ValueError("its input was given and has no file; make the bundle again with the format npz or bin")
        made, names = {"in": x}, manifest.layer_ids(self.graph)
        for layer_run in run_network(self.graph, self.weights, x, self.arithmetic):
            made |= tensors_of(layer_run, names[layer_run.node.name])
        return made

    def _layer(self, case: str) -> dict[str, np.ndarray]:
        """A layer case from inputs that are drawn again."""
        node = self.graph[self.layers[case]["name"]]
        _, inputs = layer_inputs(node, self.graph, self.weights, self.manifest["seed"])
        made = {f"{case}.in{number}": value for number, value in enumerate(inputs)}
        return made | tensors_of(run_layer(node, inputs, self.weights, self.arithmetic), case)

    def run_layer(self, layer: str, inputs: Sequence[np.ndarray]) -> LayerRun:
        """One layer on given inputs, in the declared arithmetic. Raises ValueError for a graph that is damaged."""
        try:
            return run_layer(self.graph[self.layers[layer]["name"]], inputs, self.weights, self.arithmetic)
        except RUN_ERRORS as error:
            raise ValueError(f"{self.root}: layer {layer} cannot be run: {told(error):.200}") from None

    def inside(self, name: str) -> Path:
        """A file's path; the schema has refused what leaves the bundle, this refuses links that do."""
        return inside(self.root, name)


def inside(root: Path, name: str) -> Path:
    """The path of a file in a folder. Raises ValueError for one that leaves it, also by a link."""
    path = (root / name).resolve()
    if root.resolve() not in path.parents:
        raise ValueError(f"{name} leaves the bundle {root}")
    return path


def of_record(array: Stored, record: Mapping[str, Any]) -> Stored:
    """The array, which its record describes. Raises ValueError, before it is read, where it does not."""
    if array.shape != tuple(record["shape"]) or array.dtype != np.dtype(record["dtype"]).newbyteorder("<"):
        raise ValueError(f"an array is {array.dtype} {array.shape}, in the manifest {record['dtype']} "
                         f"{tuple(record['shape'])}")
    return array


def check_digest(value: np.ndarray, record: Mapping[str, Any], what: str) -> None:
    """Raise ValueError when an array is not the one that its record was made of."""
    if hashlib.sha256(manifest.canonical(value).tobytes()).hexdigest() != record["sha256"]:
        raise ValueError(f"{what} is not what the manifest describes (SHA-256 differs); make the bundle again")


def read_words(text: str, dtype: np.dtype) -> np.ndarray:
    """The words of a $readmemh file. Raises ValueError for anything but hex words and // comments."""
    words = [word for line in text.splitlines() for word in line.partition("//")[0].split()]
    return np.array([int(word, 16) for word in words], np.dtype(f"<u{dtype.itemsize}")).view(dtype)

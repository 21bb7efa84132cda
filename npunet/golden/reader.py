"""Reading a bundle: its manifest, its tensors, and the tensors that it names without storing them."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from npunet.golden import graphs, manifest
from npunet.golden.execute import Step, run_layer, run_network, tensors_of
from npunet.graph import Graph

READ_ERRORS = (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, AttributeError,
               TypeError)


class Bundle:
    """A golden bundle in a folder.

    manifest : as schema.json has it
    cases, layers, tensors : its records by id; a tensor's is "<case>/<key>"

    Raises ValueError when the folder holds no bundle or a damaged one; so does every method for a damaged file.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.root = Path(folder)
        self.manifest: dict[str, Any] = manifest.load(folder)
        self.cases = {case["id"]: case for case in self.manifest["cases"]}
        self.layers = {layer["id"]: layer for layer in self.manifest["layers"]}
        self.tensors = {tensor["id"]: tensor for tensor in self.manifest["tensors"]}
        for case in self.cases.values():
            missing = [key for key in case["tensors"] if f"{case['id']}/{key}" not in self.tensors]
            if missing:
                raise ValueError(f"{self.root}: case {case['id']} lists tensors without a record: {', '.join(missing)}")
        self._again: tuple[str, dict[str, np.ndarray]] = ("", {})

    @property
    def arithmetic(self) -> str:
        """The declared order of summation."""
        return self.manifest["profile"]["float_order"]

    @cached_property
    def fingerprint(self) -> str:
        """What tells this bundle from others: a digest of its manifest without the mutation score."""
        text = json.dumps({**self.manifest, "mutation_score": None}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """Weights by name, each checked against its SHA-256."""
        path = self._inside(self.manifest["model"]["weights"])
        try:
            with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                weights = {record["name"]: archive[record["name"]] for record in self.manifest["weights"]}
        except READ_ERRORS as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        for record in self.manifest["weights"]:
            check_digest(weights[record["name"]], record, f"weight {record['name']}")
        return weights

    @cached_property
    def graph(self) -> Graph:
        """The network whose layers the bundle holds."""
        path = self._inside(self.manifest["model"]["graph"])
        try:
            description = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        graph = graphs.from_json(description, self.weights)
        if [node.name for node in graph] != [layer["name"] for layer in self.layers.values()]:
            raise ValueError(f"{path} has other layers than manifest.json")
        return graph

    def tensor(self, case: str, key: str) -> np.ndarray:
        """A tensor of the bundle: from its file, or run again when it has none; its SHA-256 is checked."""
        record = self.tensors.get(f"{case}/{key}")
        if record is None:
            raise ValueError(f"{self.root} has no tensor {case}/{key}")
        value = self.read(record) if record["files"] else self.run_again(case)[key]
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
        path = self._inside(name)
        dtype, shape = np.dtype(record["dtype"]).newbyteorder("<"), tuple(record["shape"])
        try:
            if form == "npz":
                with open(path, "rb") as file, np.load(file, allow_pickle=False) as archive:
                    value = archive[record["key"]]
            elif form == "bin":
                value = np.frombuffer(path.read_bytes(), dtype).reshape(shape)
            else:
                value = read_words(path.read_text(), dtype).reshape(shape)
        except READ_ERRORS as error:
            raise ValueError(f"{path} is damaged: {error}") from None
        if value.shape != shape or value.dtype != dtype:
            found = f"{value.dtype} {value.shape}"
            raise ValueError(f"{path}: {record['key']} is {found}, in the manifest {dtype} {shape}")
        return value

    def run_again(self, case: str) -> dict[str, np.ndarray]:
        """Every tensor of a network case, computed from the model and the stored input; the last case is remembered."""
        if self.cases[case]["scope"] != "network":
            raise ValueError(f"case {case} lacks files; make the bundle again")
        if self._again[0] != case:
            x, tensors = self.tensor(case, "in"), {}
            names = manifest.layer_ids(self.graph)
            for step in run_network(self.graph, self.weights, x, self.arithmetic):
                for key, value in tensors_of(step, names[step.node.name]).items():
                    tensors[key] = manifest.canonical(value)
            self._again = (case, tensors)
        return self._again[1]

    def run_layer(self, layer: str, inputs: Sequence[np.ndarray]) -> Step:
        """One layer on given inputs, in the declared arithmetic."""
        return run_layer(self.graph[self.layers[layer]["name"]], inputs, self.weights, self.arithmetic)

    def _inside(self, name: str) -> Path:
        """A file's path; the schema has refused what leaves the bundle, this refuses links that do."""
        path = (self.root / name).resolve()
        if self.root.resolve() not in path.parents:
            raise ValueError(f"{name} leaves the bundle {self.root}")
        return path


def check_digest(value: np.ndarray, record: Mapping[str, Any], what: str) -> None:
    """Raise ValueError when an array is not the one that its record was made of."""
    if hashlib.sha256(manifest.canonical(value).tobytes()).hexdigest() != record["sha256"]:
        raise ValueError(f"{what} is not what the manifest describes (SHA-256 differs); make the bundle again")


def read_words(text: str, dtype: np.dtype) -> np.ndarray:
    """The words of a $readmemh file. Raises ValueError for anything but hex words and // comments."""
    words = [word for line in text.splitlines() for word in line.partition("//")[0].split()]
    return np.array([int(word, 16) for word in words], np.dtype(f"<u{dtype.itemsize}")).view(dtype)

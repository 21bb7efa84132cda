"""Reading the bundle of an integer network."""

from __future__ import annotations

import hashlib
import json
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from npunet.golden.integer.names import layer_ids
from npunet.golden.integer.records import SCHEMA, digest
from npunet.golden.integer.stages import run_network
from npunet.golden.manifest import fingerprint
from npunet.integer.network import Network
from npunet.integer_model import IntegerModel
from npunet.reading import json_object

AGAIN = "make the bundle again"


class IntegerBundle:
    """A golden bundle of integers in a folder.

    manifest : as records and bundle made it
    network  : the integer network, from model/model.npz
    layers, cases, tensors : records by id; a tensor's is "<case>/<key>"

    Raises ValueError when the folder holds no such bundle or a damaged one.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        self.root = Path(folder)
        self.manifest = _manifest(self.root)
        try:
            self.layers = {layer["id"]: layer for layer in self.manifest["layers"]}
            self.cases = {case["id"]: case for case in self.manifest["cases"]}
            self.tensors = {tensor["id"]: tensor for tensor in self.manifest["tensors"]}
            self._check_sums()
            self.network: Network = IntegerModel.load(self.root / self.manifest["model"]["file"]).network
        except (KeyError, TypeError, OSError) as error:
            raise ValueError(f"{self.root} is damaged: {error!r:.120}; {AGAIN}") from None
        self.ids = layer_ids(self.network)
        if list(self.layers) != [self.ids[node.name] for node in self.network]:
            raise ValueError(f"{self.root}: the layers of the manifest are not those of its model; {AGAIN}")
        self._computed: dict[str, dict[str, np.ndarray]] = {}

    @cached_property
    def fingerprint(self) -> str:
        """What tells this bundle from others."""
        return fingerprint(self.manifest)

    def tensor(self, case: str, key: str) -> np.ndarray:
        """A golden tensor, computed from the bundle's model and input and checked against its SHA-256."""
        if case not in self._computed:
            self._computed[case] = self._run(case)
        return self._computed[case][key]

    def _run(self, case: str) -> dict[str, np.ndarray]:
        tensors = {"in": self._input(case)}
        for stage in run_network(self.network, tensors["in"]):
            tensors |= {f"{self.ids[stage.node.name]}.{role}": values for role, values in stage.items()}
        for key, value in tensors.items():
            if digest(value) != self.tensors.get(f"{case}/{key}", {}).get("sha256"):
                raise ValueError(f"{self.root}: {case}/{key} is not what this npunet computes from the bundle's model; "
                                 f"{AGAIN}")
        return tensors

    def _input(self, case: str) -> np.ndarray:
        record = self.tensors[f"{case}/in"]
        try:
            if "bin" in record["files"]:
                raw = (self.root / record["files"]["bin"]).read_bytes()
                x = np.frombuffer(raw, np.dtype(record["dtype"]).newbyteorder("<")).reshape(record["shape"])
            elif "npz" in record["files"]:
                with np.load(self.root / record["files"]["npz"], allow_pickle=False) as archive:
                    x = archive["in"]
            else:
                raise ValueError("it has neither the format npz nor bin")
        except (OSError, KeyError, ValueError) as error:
            raise ValueError(f"{self.root}: cannot read the input of {case} ({error}); {AGAIN}") from None
        return x.astype(record["dtype"])

    def _check_sums(self) -> None:
        lines = (self.root / "SHA256SUMS").read_text(encoding="utf-8", errors="replace").splitlines()
        listed = {line[66:]: line[:64] for line in lines}
        for name in ("manifest.json", self.manifest["model"]["file"]):
            if hashlib.sha256((self.root / name).read_bytes()).hexdigest() != listed.get(name):
                raise ValueError(f"{self.root}/{name} is not the file that SHA256SUMS lists; {AGAIN}")


def is_integer_bundle(folder: str | PathLike[str]) -> bool:
    """Whether a folder's manifest says that it is a bundle of integers."""
    try:
        told = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(told, dict) and str(told.get("schema", "")).startswith(SCHEMA.partition("/")[0])


def _manifest(root: Path) -> dict[str, Any]:
    path = root / "manifest.json"
    try:
        manifest = json_object(path.read_bytes())
    except OSError as error:
        raise ValueError(f"{root} is no golden bundle: cannot read manifest.json ({error.strerror})") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); {AGAIN}") from None
    if manifest.get("schema") != SCHEMA:
        raise ValueError(f"{path} has schema {manifest.get('schema')!r:.80}, a bundle of integers has {SCHEMA}; verify "
                         "a float bundle with npunet.verify.verify, or make the bundle again")
    return manifest

"""Reading the bundle of an integer network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from npunet.golden.integer.cases import NETWORK_CASES, network_input
from npunet.golden.integer.corners import layer_inputs
from npunet.golden.integer.names import layer_ids
from npunet.golden.integer.records import SCHEMA
from npunet.golden.integer.stages import Stages, run_network, stages
from npunet.golden.reader import AGAIN, Bundle
from npunet.integer.network import Network
from npunet.integer_model import IntegerModel
from npunet.reading import json_object


class IntegerBundle(Bundle):
    """A golden bundle of integers in a folder; all else is as in Bundle.

    manifest : as records and bundle made it

    Raises ValueError when the folder holds no such bundle or a damaged one.
    """

    def __init__(self, folder: str | PathLike[str]) -> None:
        try:
            super().__init__(folder)
        except (KeyError, TypeError) as error:
            raise ValueError(f"{folder} is damaged: {error!r:.120}; {AGAIN}") from None

    def _load(self) -> dict[str, Any]:
        path = self.root / "manifest.json"
        try:
            manifest = json_object(path.read_bytes())
        except OSError as error:
            raise ValueError(f"{self.root} is no golden bundle: cannot read manifest.json ({error.strerror})") from None
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}); {AGAIN}") from None
        if manifest.get("schema") != SCHEMA:
            raise ValueError(f"{path} has schema {manifest.get('schema')!r:.80}, this npunet reads {SCHEMA}; {AGAIN}")
        return manifest

    @property
    def arithmetic(self) -> str:
        """The scheme and the profile of its requantisations."""
        model, profile = self.manifest["model"], self.manifest["profile"]
        return f"{model['scheme']}, requantised by profile {profile['requant']} ({profile['requant_name']})"

    @cached_property
    def network(self) -> Network:
        """The integer network, from model/model.npz."""
        path = self.inside(self.manifest["model"]["file"])
        network = IntegerModel.load(path).network
        if list(self.layers) != [key for name, key in layer_ids(network).items() if name != network.input]:
            raise ValueError(f"{path}: the layers of the manifest are not those of this model; {AGAIN}")
        return network

    @property
    def graph(self) -> Network:  # type: ignore[override]
        """The same: nodes in the order in which they run, by name."""
        return self.network

    def run_layer(self, layer: str, inputs: Sequence[np.ndarray]) -> Stages:  # type: ignore[override]
        """One layer on given inputs, (N, H, W, C) integers."""
        return stages(self.network[self.layers[layer]["name"]], inputs, self.network)

    def _network(self, case: str) -> dict[str, np.ndarray]:
        kind = self.cases[case]["kind"]
        if self.tensors[f"{case}/in"]["files"]:
            x = self.tensor(case, "in")
        elif kind in NETWORK_CASES:
            x = network_input(kind, self.network, self.manifest["seed"])
        else:
            raise ValueError("its input was given and has no file; make the bundle again with the format npz or bin")
        made, ids = {"in": x}, layer_ids(self.network)
        for stage in run_network(self.network, x):
            made |= {f"{ids[stage.node.name]}.{role}": values for role, values in stage.items()}
        return made

    def _layer(self, case: str) -> dict[str, np.ndarray]:
        node = self.network[self.layers[case]["name"]]
        inputs = layer_inputs(node, self.network, self.manifest["seed"])
        made = {f"{case}.in{k}": x for k, x in enumerate(inputs)}
        return made | {f"{case}.{role}": values for role, values in stages(node, inputs, self.network).items()}


def open_bundle(folder: str | PathLike[str]) -> Bundle:
    """A bundle of floats or of integers, as its manifest says. Raises ValueError for what is none."""
    return IntegerBundle(folder) if is_integer_bundle(folder) else Bundle(folder)


def is_integer_bundle(folder: str | PathLike[str]) -> bool:
    """Whether a folder's manifest says that it is a bundle of integers."""
    try:
        told = json.loads((Path(folder) / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(told, dict) and str(told.get("schema", "")).startswith(SCHEMA.partition("/")[0])

"""Collecting a case: tensors come one by one, each leaves its record, and those to be stored are written at the end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npunet.golden.manifest import UNROUNDED, canonical, tensor_record
from npunet.golden.writers import readmemh, write_case, write_text

TOLERANCE = {"kind": "tolerance", "local": None, "network": None}
EDGE = 4  # words at either end of a tensor, for a port that stores none: 16 bytes


class Collector:
    """One case of a bundle while it is made.

    folder : where its files go, relative to the bundle
    layers : layer records by id
    """

    def __init__(self, case: str, scope: str, kind: str, samples: list[str], folder: str,
                 layers: Mapping[str, Mapping[str, Any]]) -> None:
        self.case, self.scope, self.kind, self.samples, self.folder = case, scope, kind, samples, folder
        self.layers = layers
        self.records: dict[str, dict[str, Any]] = {}
        self.kept: dict[str, np.ndarray] = {}
        self.edges: dict[str, tuple[list[int], list[int]]] = {}

    def add(self, key: str, role: str, array: np.ndarray, layer: str | None, store: bool) -> None:
        """Take one tensor; layer : id of its producer, or of the layer that it is fed to."""
        value = canonical(array)
        told = None if layer is None else self.layers.get(layer)
        record = tensor_record(self.case, key, role, value, told, self._bound(role, layer), {})
        self.records[key] = record
        if value.dtype.itemsize == 4:
            words = value.view("<u4").ravel()
            self.edges[key] = (words[:EDGE].tolist(), words[-EDGE:].tolist())
        if store:
            self.kept[key] = value

    def _bound(self, role: str, layer: str | None) -> dict[str, Any]:
        if self.scope == "backward":
            return TOLERANCE
        exact = role in ("in", "local", "bound")
        if not exact:
            assert layer is not None, "every accumulator and every output has its layer"
            exact = self.layers[layer]["operator"] in UNROUNDED
        return {"kind": "exact" if exact else "any_order", "local": None, "network": None}

    def finish(self, root: Path, formats: tuple[str, ...], hexed: bool) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Write what is kept; returns the case's record and those of its tensors.

        hexed : also as $readmemh, where that format is asked for
        """
        places = write_case(root, self.folder, self.kept, formats)
        for key, value in self.kept.items():
            if hexed and "hex" in formats and self.records[key]["role"] in ("in", "out"):
                places[key]["hex"] = f"hex/{self.case}/{key}.mem"
                write_text(root / places[key]["hex"], readmemh(value, f"{self.case} {key}"))
            self.records[key]["files"] = places[key]
        for key, record in self.records.items():
            if record["role"] == "out":
                for which, role in (("local", "local"), ("network", "bound")):
                    bound = f"{key.removesuffix('out')}{role}"
                    record["bound"][which] = f"{self.case}/{bound}" if bound in self.records else None
        full = len(self.kept) == len(self.records)
        case = {"id": self.case, "scope": self.scope, "kind": self.kind, "precision": "f32", "samples": self.samples,
                "stored": "full" if full else "ends", "folder": self.folder, "tensors": list(self.records)}
        return case, list(self.records.values())

"""What a page lays over the drawn network: another model's weights, or what a verification found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from npunet.audit.subject import Subject
from npunet.deploy import deploy
from npunet.golden.manifest import fit_for_files
from npunet.model import UNet
from npunet.reading import json_object, reading


@dataclass(frozen=True)
class Comparison:
    """One of the two.

    title   : what is compared, in words
    verdict : of a verification, "" for a model
    first   : the first layer that a verification found wrong, or None
    layers  : of a verification {layer: {"status", "told", "ulp"}}
    weights : of a model, in the level that is shown
    """

    title: str
    verdict: str = ""
    first: str | None = None
    layers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    weights: Mapping[str, np.ndarray] = field(default_factory=dict)


def with_model(shown: Subject, other: UNet, title: str) -> Comparison:
    """Another model of the same architecture. Raises ValueError that names the first weight that does not fit."""
    weights = {name: value.astype(np.float32) for name, value in other.weights.read_only.items()}
    if shown.level == "deploy":
        _, weights = deploy(other.sizes.graph(shown.x.shape[:2]), weights)
    for name in sorted({*weights, *shown.weights}):
        mine, theirs = (tuple(each[name].shape) if name in each else "missing" for each in (shown.weights, weights))
        if mine != theirs:
            raise ValueError(f"{title} is another architecture: {name} is {theirs} there and {mine} here")
    return Comparison(title, weights=weights)


def with_verification(shown: Subject, text: str, title: str) -> Comparison:
    """What `npunet verify --json` wrote, its layers by the names of the network. Raises ValueError for another file."""
    names = {fit_for_files(node.name): node.name for node in shown.graph}

    def layer_name(identity: str) -> str:  # "L005_ENC2_D1_conv"
        bare = identity.partition("_")[2]
        return names.get(bare, identity)

    with reading(title, "is not what npunet verify --json writes", "take its file as it was written"):
        found = json_object(text)
        layers = {layer_name(layer["id"]): layer_of(layer) for layer in found["layers"]}
        first = found["first_divergence"]
        return Comparison(title, str(found["verdict"]), None if first is None else layer_name(first), layers)


def layer_of(layer: Mapping[str, Any]) -> dict[str, Any]:
    """One layer's status, and the worst of its checks in words."""
    checks = [check["chained"] for check in layer["checks"] if check.get("chained")]
    worst = max(checks, key=lambda check: check["max_ulp"] or 0, default=None)
    if worst is None:
        return {"status": str(layer["status"]), "told": "not compared", "ulp": 0}
    share = worst.get("share")
    told = f"{worst['differ']:,} of {worst['size']:,} values differ, by up to {worst['max_ulp']:,} ULP" + \
        ("" if share is None else f", {share:.3g} of the bound")
    return {"status": str(layer["status"]), "told": told, "ulp": int(worst["max_ulp"] or 0)}

"""What a bundle cannot show because of the weights that its network has: a bias of 0 may be left out unseen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from npunet.golden.layer_run import split_bias
from npunet.golden.manifest import layer_ids
from npunet.golden.subject import Subject

NORMS = ("batch_norm_inference", "layer_norm")
NEUTRAL = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}


def blind_spots(subject: Subject) -> list[dict[str, Any]]:
    """Faults that change no number of this network: {"fault", "because", "layers"}, each with the layers it is about.

    Those of a batch norm that was folded into a layer are that layer's.
    """
    found: dict[tuple[str, str], list[str]] = {}
    ids = layer_ids(subject.graph)
    for node in subject.graph:
        if node.weights and not any(subject.weights[name].any() for name in node.weights[:1]) and node.op not in NORMS:
            found.setdefault(("anything done to its input", "its kernel is 0"), []).append(ids[node.name])
        _, bias = split_bias(node, subject.weights)
        if bias is not None and not bias.any():
            found.setdefault(("its bias left out or misplaced", "the bias is 0 in every channel"), []).append(
                ids[node.name])
        for norm in (node.name, *subject.folded.get(node.name, [])):
            _norm(subject, norm, ids[node.name], found)
    return [{"fault": fault, "because": because, "layers": layers} for (fault, because), layers in found.items()]


def _norm(subject: Subject, name: str, layer: str, found: dict[tuple[str, str], list[str]]) -> None:
    """Add what a norm's neutral parameters hide."""
    node = next((node for node in subject.trained if node.name == name and node.op in NORMS), None)
    for weight in node.weights if node is not None else ():
        role = weight.rpartition("/")[2]
        value: np.ndarray = subject.model.weights.read_only[weight]
        if (value == NEUTRAL[role]).all():
            words = role.replace("_", " ")
            told = f"the norm's {words} left out or misplaced", f"{words} is {NEUTRAL[role]:g} throughout"
            found.setdefault(told, []).append(layer)


def in_words(spot: Mapping[str, Any], most: int = 4) -> str:
    """One line: the fault, why, and where."""
    layers = spot["layers"]
    more = f" and {len(layers) - most} more" if len(layers) > most else ""
    return f"{spot['fault']} ({spot['because']}): {', '.join(layers[:most])}{more}"

"""The manifest of an integer bundle: every quantisation field, every tensor's digest."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from npunet.golden.integer.names import layer_ids
from npunet.golden.integer.stages import ACCUMULATED, has_pre, wide_type
from npunet.golden.manifest import canonical, digests
from npunet.integer.network import Network, Node
from npunet.integer.ops.table_of_operators import ROUNDED

SCHEMA = "npunet-golden-integer/2"
ROUNDING_RULES = {
    "D": "h = ((x << l) * m + 2^30) >> 31; mask = 2^r - 1; y = (h >> r) + [(h & mask) > (mask >> 1) + (h < 0)]",
    "S": "y = (x * m + 2^(30 - s)) >> (31 - s)",
}
RULE_64 = "m' = (m + 2^15) >> 16 for m < 0x7FFF0000, else 0x7FFF; y = (x * m' + 2^(14 - s)) >> (15 - s)"


def layer_records(network: Network, cases: Collection[str] = ()) -> list[dict[str, Any]]:
    """One record a layer, with all its integers; arrays per channel as lists.

    cases : ids of the layers that have a case of their own
    """
    ids, readers = layer_ids(network), network.consumers()
    offsets, size = {}, 0  # in model/weights.bin
    for node in network:
        for key, array in node.arrays.items():
            offsets[node.name, key] = size
            size += array.nbytes
    return [_layer(number, node, network, ids, offsets) | {
                "consumers": [ids[reader.name] for reader in readers[node.name]],
                "case": ids[node.name] if ids[node.name] in cases else None,
            } for number, node in enumerate(network)]


def _layer(number: int, node: Node, network: Network, ids: Mapping[str, str],
           offsets: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    y = network.tensors[node.name]
    attrs = {key: _plain(value) for key, value in node.attrs.items()}
    per_channel = {key: node.arrays[key].tolist() for key in ("multiplier", "shift", "bias") if key in node.arrays}
    kernel = list(node.arrays["weights"].shape[:2]) if "weights" in node.arrays else attrs.get("window")
    return {
        "id": ids[node.name], "number": number, "name": node.name, "operator": node.op,
        "stands_for": list(node.layers), "inputs": [ids[name] for name in node.inputs],
        "input_shapes": [list(network.tensors[name].shape) for name in node.inputs],
        "input_quantisation": [quantisation(network, name) for name in node.inputs],
        "shape": list(y.shape), "dtype": y.dtype, "scale": y.scale, "zero_point": y.zero_point,
        "kernel": kernel, **{key: attrs.get(key) for key in ("stride", "dilation", "factor")},
        "attributes": attrs, "per_channel": per_channel,
        "arrays": {key: {"shape": list(array.shape), "dtype": array.dtype.name, "offset": offsets[node.name, key],
                         "bytes": array.nbytes, "sha256": digest(array)}
                   for key, array in node.arrays.items()},
        "scales": {key: [float(value) for value in values.ravel()] for key, values in node.scales.items()},
        "accumulator": wide_type(node, network) if node.op in ACCUMULATED else None,
        "before_clamp": wide_type(node, network) if has_pre(node) else None,
        "requantisation": requantisation(node, network),
    }


def requantisation(node: Node, network: Network) -> str | None:
    """Which rule of the profile a layer's requantisation follows: "D", "S", "64", or None."""
    if node.op == "layer_norm" or ("bias" in node.arrays and node.arrays["bias"].dtype == np.int64):
        return "64"
    return network.rounding if node.op in ROUNDED else None


def quantisation(network: Network, name: str) -> dict[str, Any]:
    """What a tensor's integers mean."""
    tensor = network.tensors[name]
    return {"scale": tensor.scale, "zero_point": tensor.zero_point, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def tensor_record(case: str, key: str, array: np.ndarray, layer: Mapping[str, Any] | None,
                  meaning: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """One stored tensor.

    layer   : the record of the layer that makes it, or is fed with it; None for the network's input
    meaning : quantisation of an "in" or "out"; a sum has none
    """
    role = key.rpartition(".")[2]
    role = "in" if role.startswith("in") else role
    exact = role in ("in", "out")
    return {
        "id": f"{case}/{key}", "case": case, "key": key, "role": role,
        "operator": layer["operator"] if layer else None,
        "producer": layer["id"] if layer and role != "in" else None,
        "consumers": list(layer["consumers"]) if layer and role == "out" else [],
        "dtype": array.dtype.name, "shape": list(array.shape), "layout": "NHWC",
        "scale": meaning["scale"] if exact else None, "zero_point": meaning["zero_point"] if exact else None,
        "axis": None, "files": dict(files), **digests(array),
        "statistics": _statistics(array, meaning["zero_point"] if exact else 0,
                                  layer["attributes"] if layer and role == "out" else {}),
    }


def _statistics(array: np.ndarray, zero_point: int, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Smallest and largest value, how many mean 0, the share at the clamp's limits."""
    limits = [attributes[key] for key in ("act_min", "act_max") if key in attributes]
    saturated = sum(int(np.count_nonzero(array == limit)) for limit in limits if limit != zero_point)
    return {"min": int(array.min()), "max": int(array.max()), "zeros": int(np.count_nonzero(array == zero_point)),
            "saturated": saturated / array.size, "nans": 0, "infs": 0}


def digest(array: np.ndarray) -> str:
    """SHA-256 of an array's little-endian bytes."""
    return hashlib.sha256(canonical(array).tobytes()).hexdigest()


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value

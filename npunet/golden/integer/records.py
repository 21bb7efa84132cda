"""The manifest of an integer bundle: every quantisation field, every tensor's digest."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from npunet.golden.integer.names import layer_ids
from npunet.golden.integer.stages import ACCUMULATED, has_pre, wide_type
from npunet.golden.manifest import canonical
from npunet.integer.network import Network, Node

SCHEMA = "npunet-golden-integer/1"
ROUNDING_RULES = {
    "D": "h = ((x << l) * m + 2^30) >> 31; mask = 2^r - 1; y = (h >> r) + [(h & mask) > (mask >> 1) + (h < 0)]",
    "S": "y = (x * m + 2^(30 - s)) >> (31 - s)",
}
RULE_64 = "m' = (m + 2^15) >> 16 for m < 0x7FFF0000, else 0x7FFF; y = (x * m' + 2^(14 - s)) >> (15 - s)"


def layer_records(network: Network) -> list[dict[str, Any]]:
    """One record a layer, with all its integers; arrays per channel as lists."""
    ids = layer_ids(network)
    return [_layer(number, node, network, ids) for number, node in enumerate(network)]


def _layer(number: int, node: Node, network: Network, ids: Mapping[str, str]) -> dict[str, Any]:
    y = network.tensors[node.name]
    attrs = {key: _plain(value) for key, value in node.attrs.items()}
    per_channel = {key: node.arrays[key].tolist() for key in ("multiplier", "shift", "bias") if key in node.arrays}
    return {
        "id": ids[node.name], "number": number, "name": node.name, "operator": node.op,
        "stands_for": list(node.layers), "inputs": [ids[name] for name in node.inputs],
        "input_quantisation": [quantisation(network, name) for name in node.inputs],
        "shape": list(y.shape), "dtype": y.dtype, "scale": y.scale, "zero_point": y.zero_point,
        "attributes": attrs, "per_channel": per_channel,
        "arrays": {key: {"shape": list(array.shape), "dtype": array.dtype.name, "sha256": digest(array)}
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
    takes = ("conv2d", "depthwise_conv2d", "add", "rescale", "leaky_relu", "softmax16")
    return network.rounding if node.op in takes else None


def quantisation(network: Network, name: str) -> dict[str, Any]:
    """What a tensor's integers mean."""
    tensor = network.tensors[name]
    return {"scale": tensor.scale, "zero_point": tensor.zero_point, "dtype": tensor.dtype, "shape": list(tensor.shape)}


def tensor_record(case: str, key: str, array: np.ndarray, files: Mapping[str, str]) -> dict[str, Any]:
    """One stored tensor."""
    raw = canonical(array).tobytes()
    return {
        "id": f"{case}/{key}", "key": key, "shape": list(array.shape), "dtype": array.dtype.name, "bytes": len(raw),
        "sha256": hashlib.sha256(raw).hexdigest(), "crc32": f"{zlib.crc32(raw):08x}", "files": dict(files),
        "minimum": int(array.min()), "maximum": int(array.max()),
    }


def digest(array: np.ndarray) -> str:
    """SHA-256 of an array's little-endian bytes."""
    return hashlib.sha256(canonical(array).tobytes()).hexdigest()


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    return value.item() if isinstance(value, np.generic) else value

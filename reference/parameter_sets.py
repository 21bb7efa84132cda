"""Seeded random parameter sets, most of them near the edge of what Keras builds; needs nothing but NumPy."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

SEED, COUNT = 7411, 640
ACTIVATIONS = ["relu", "relu6", "leaky_relu", "elu", "selu"]


def one_of(rng: np.random.Generator, values: list) -> Any:
    return values[int(rng.integers(len(values)))]


def window(rng: np.random.Generator, flat: bool, values: list[int]) -> int | list[int]:
    """An int or a pair; in 1-D mostly a pair whose first entry is 1."""
    if rng.random() < (0.15 if flat else 0.5):
        return one_of(rng, values)
    return [1 if flat else one_of(rng, values), one_of(rng, values)]


def sound_block(rng: np.random.Generator, flat: bool) -> dict[str, Any]:
    """A block that is usually built: each argument is given or left to its default."""
    strides = [1 if flat else one_of(rng, [1, 2]), one_of(rng, [1, 2, 2, 3])]
    depth = one_of(rng, [1, 1, 2, 3])
    given = {
        "depth": depth,
        "ddepth": one_of(rng, [None, 0, *range(1, depth + 1)]),
        "kernel": window(rng, flat, [1, 2, 3, 5]),
        "pool": window(rng, flat, [1, 2, 3, 4]),
        "skip": bool(rng.random() < 0.75),
        "seperable": bool(rng.random() < 0.4),
        "dropout": one_of(rng, [None, 0.0, 0.25, 0.9]),
        "norm": one_of(rng, ["batch", "batch", "layer", None]),
        "activation": one_of(rng, ACTIVATIONS),
        "dilation": one_of(rng, [None, 1, 2, [1, 2], [2, 1]]),
    }
    kept = {key: value for key, value in given.items() if rng.random() < 0.6}
    return {"filters": one_of(rng, [1, 2, 3, 5]), **kept, "strides": strides}


def sound(rng: np.random.Generator) -> dict[str, Any]:
    """A whole set whose sizes are divided by the strides."""
    flat = bool(rng.random() < 0.5)
    blocks = [sound_block(rng, flat) for _ in range(one_of(rng, [0, 1, 1, 2, 2, 3]))]
    factor = np.prod([block["strides"] for block in blocks], axis=0, dtype=int) if blocks else np.array([1, 1])
    height, width = (int(f) * int(rng.integers(1, 4)) for f in factor)
    params: dict[str, Any] = {"blocks": blocks}
    if rng.random() < 0.5:
        params["output_kernel_size"] = window(rng, flat, [1, 2, 3, 5])
    if rng.random() < 0.2:
        params["output_kernel_stride"] = window(rng, flat, [1, 2])
    for key in ("include_top", "use_logits"):
        if rng.random() < 0.3:
            params[key] = bool(rng.random() < 0.5)
    if rng.random() < 0.2:
        params["name"] = "net"
    channels = one_of(rng, [1, 2, 3])
    shape = [width, channels] if flat else [height, width, channels]
    return {"params": params, "input_shape": shape, "num_classes": one_of(rng, [1, 2, 3, 5]), "twists": []}


# Each twist is (where, key, values): one argument of one block, of the network, of the shape, or the class count.
TWISTS: list[tuple[str, str | int, list]] = [
    ("block", "filters", [0, -1, -4, None, 4.0, 2.5, "4", "four", True]),
    ("block", "depth", [0, -1, 4, 1.0, None]),
    ("block", "ddepth", [2, 3, 4, 5, -1, 0]),
    ("block", "ddepth", [2, 3, 4]),
    ("block", "kernel", [0, -1, [0, 3], [3, 0], [3], [1, 3, 3], "3", None, [1, 9], 9]),
    ("block", "pool", [0, -2, [0, 2], [2, 0], [1, 9], 9, [2], 2, 3]),
    ("block", "strides", [0, -1, [0, 1], [1, 0], 2, 3, [2, 1], [1, 4], [1, 5], [3, 2], [2], None]),
    ("block", "strides", [2, 3, [2, 1], [1, 4], [1, 5], [3, 2]]),
    ("block", "dropout", [1.0, 1, -0.1, 1.5, 0, "0.3", 0.999]),
    ("block", "dilation", [0, -1, [0, 1], [1, 0], [2], 3, [1, 3], "2"]),
    ("block", "norm", ["group", "none", "Batch", "layer", "layer"]),
    ("block", "activation", ["gelu", "ReLU", None, "softmax"]),
    ("block", "skip", ["yes", 0, None, "maybe"]),
    ("block", "seperable", [1, "no", None]),
    ("block", "separable", [True, False]),
    ("block", "padding", ["valid"]),
    ("network", "model_name", ["unet", "other"]),
    ("network", "name", ["", 5, None]),
    ("network", "output_kernel_size", [0, -1, [0, 3], [3, 0], [3], None, [1, 9]]),
    ("network", "output_kernel_stride", [0, -1, [2], None, 3]),
    ("network", "include_top", [None, "no", 0]),
    ("network", "use_logit", [False]),
    ("shape", 0, [0, None, 1, 7, 5]),
    ("shape", -2, [0, None, 1, 7, 11]),
    ("shape", -1, [0, None, 4]),
    ("classes", "", [0, -1, None, 2.5, "3"]),
    ("rank", "", [[8], [4, 4, 4, 2], []]),
    ("missing", "filters", [None]),
    ("missing", "blocks", [None]),
]


def twisted(row: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    """The row with one argument changed; a twist that finds no block to change leaves the row as it is."""
    where, key, values = one_of(rng, TWISTS)
    value = copy.deepcopy(one_of(rng, values))
    blocks = row["params"].get("blocks")
    if where in ("block", "missing") and not blocks:
        return row
    target = one_of(rng, blocks) if blocks else {}
    if where == "block":
        target[key] = value
    elif where == "network":
        row["params"][key] = value
    elif where == "shape" and len(row["input_shape"]) > 1:
        row["input_shape"][key] = value
    elif where == "classes":
        row["num_classes"] = value
    elif where == "rank":
        row["input_shape"] = value
    elif key == "filters":
        target.pop("filters", None)
    elif key == "blocks":
        del row["params"]["blocks"]
    row["twists"].append(f"{where} {key} = {value}")
    return row


def parameter_set(number: int) -> dict[str, Any]:
    """Set `number`: none, one or two twists on a sound one."""
    rng = np.random.default_rng([SEED, number])
    row = sound(rng)
    for _ in range(one_of(rng, [0, 1, 1, 1, 1, 2])):
        row = twisted(row, rng)
    return row

"""TFLite-Micro's layer-by-layer data as JSON: what flatc makes of the file that its layer_by_layer_output_tool writes.

    flatc --json --strict-json --raw-binary layer_by_layer_schema.fbs -- DUMP

    {"input_data": [{"shape": [1, 1, 256, 1], "data": [0, 0, 128, 63, ...], "num_bytes": 1024}],
     "subgraph_data": [{"outputs": [
        {"input_index": 4294967295, "tensor_index": 17, "shape": [1, 1, 256, 12], "data": [...], "num_bytes": 12288,
         "layer_number": 2}]}],
     "tensors": {"17": "ENC1_D1_conv"}, "bundle": "<digest>"}

flatc leaves out what is 0 (a dtype of 0 is FLOAT32; INT8, INT16, INT32 and INT64 are 9, 7, 2 and 4), and quotes of
names without --strict-json; both are read. The file has no names: "tensors" is the port's addition and says which
layer an index of the model is ("name" beside "data" does too). "bundle" may state the fingerprint of the bundle. An
output without a name is passed over, and said to be.
What is in "input_data" must be the bundle's input: the tool draws its own unless that is changed.

Source: tensorflow/tflite-micro, tensorflow/lite/micro/tools/layer_by_layer_schema.fbs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from math import prod
from typing import Any

import numpy as np

Entries = list[tuple[str, np.ndarray]]
Faults = list[tuple[str, str]]
BARE_NAME = re.compile(r"^(\s*)([A-Za-z_]\w*):", re.MULTILINE)  # flatc writes one field a line
TYPES = {0: "FLOAT32", 2: "INT32", 4: "INT64", 7: "INT16", 9: "INT8"}  # TensorType of TensorFlow Lite
WORDS = {"FLOAT32": "<u4", "INT32": "<i4", "INT64": "<i8", "INT16": "<i2", "INT8": "<i1"}  # floats as their bits
NOTHING = np.empty(0, "<u4")  # of a tensor without a name, which nobody looks at


def read_tflm(text: str) -> tuple[Entries, Faults, set[str]]:
    """The outputs by name, what was wrong (place, reason), and the bundle digests stated.

    Raises ValueError for another structure.
    """
    described = _parsed(text)
    names, digests = described.get("tensors", {}), described.get("bundle")
    if not isinstance(names, dict):
        raise ValueError('"tensors" must map indices to layers')
    entries, faults = [], []
    for name, tensor in _listed(described, names):
        try:
            entries.append((name, _value(tensor) if tensor is not None else NOTHING))
        except ValueError as error:
            faults.append((name, str(error)))
    return entries, faults, {str(digests)} if digests is not None else set()


def _parsed(text: str) -> dict[str, Any]:
    try:
        described = json.loads(text)
    except ValueError:
        described = json.loads(BARE_NAME.sub(r'\1"\2":', text))
    if not isinstance(described, dict) or not isinstance(described.get("subgraph_data"), list):
        raise ValueError('is no TFLite-Micro dump: there is no list "subgraph_data"')
    return described


def _listed(described: Mapping[str, Any], names: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any] | None]]:
    """(name, entry) of the input and of every output; the entry is None where nothing says which layer it is."""
    inputs = described.get("input_data", [])
    if not isinstance(inputs, list):
        raise ValueError('"input_data" must be a list')
    for tensor in inputs:
        yield str(_entry(tensor).get("name", "in")), tensor
    for subgraph in described["subgraph_data"]:
        outputs = subgraph.get("outputs", []) if isinstance(subgraph, dict) else None
        if not isinstance(outputs, list):
            raise ValueError('a subgraph has no list "outputs"')
        number = subgraph.get("subgraph_index", 0)
        for tensor in outputs:
            index = str(_entry(tensor).get("tensor_index", 0))
            name = tensor.get("name", names.get(index) if number == 0 else None)  # other subgraphs count anew
            yield (str(name), tensor) if name is not None else (f"tensor {index:.20}", None)


def _entry(tensor: Any) -> Mapping[str, Any]:
    if not isinstance(tensor, dict):
        raise ValueError("a tensor is no object")
    return tensor


def _value(tensor: Mapping[str, Any]) -> np.ndarray:
    """The tensor's integers, or the bits of its floats, in its shape where it has one. Raises ValueError."""
    data, shape = tensor.get("data", []), tensor.get("shape")
    if not isinstance(data, list) or not all(type(byte) is int and -128 <= byte <= 255 for byte in data):
        raise ValueError('"data" must be a list of bytes')
    if tensor.get("num_bytes", len(data)) != len(data):
        raise ValueError(f"has {len(data)} bytes, its num_bytes says {tensor['num_bytes']!r:.40}")
    told = tensor.get("dtype", 0)
    kind = TYPES.get(told) if isinstance(told, int) else told
    if not isinstance(kind, str) or kind not in WORDS:
        raise ValueError(f"is {told!r:.40}, expected is one of {', '.join(WORDS)}")
    word = np.dtype(WORDS[kind])
    if len(data) % word.itemsize:
        raise ValueError(f"is truncated: {len(data)} bytes are no whole number of words")
    words = np.frombuffer(bytes(byte & 255 for byte in data), word)
    if shape is None:
        return words
    if not isinstance(shape, list) or not all(type(extent) is int and extent >= 0 for extent in shape):
        raise ValueError(f"has the shape {shape!r:.80}")
    if prod(shape) != len(words):
        raise ValueError(f"has the shape {shape!r:.80} but {len(words)} words")
    return words.reshape(shape)

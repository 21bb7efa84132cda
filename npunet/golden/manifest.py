"""The manifest: one record for every layer, weight, case and tensor, and the check against schema.json."""

from __future__ import annotations

import hashlib
import json
import re
import zlib
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from npunet.golden import constants
from npunet.graph import Graph, Node
from npunet.ops.table import OPERATORS
from npunet.reading import parse_json, reading

SCHEMA = 2
LONGEST_NAME = 80  # letters of a layer's name in its id: it stands twice in a path, and Windows takes 260 in all
CANONICAL_NAN = np.uint32(0x7FC00000)
CLAMPS = {"relu": (0.0, None), "relu6": (0.0, 6.0)}
UNROUNDED = tuple(name for name, op in OPERATORS.items() if op.exact)
JSON_TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float),
                              "boolean": bool, "null": type(None)}


def layer_id(number: int, name: str) -> str:
    """Id of a layer, fit for the names of files and folders: L003_ENC1_D1_conv_depthwise."""
    return f"L{number:03d}_{fit_for_files(name)[:LONGEST_NAME]}".rstrip(".")


def weight_id(number: int, name: str) -> str:
    """Id of a weight, fit for file names: W004_ENC1_D1_conv_kernel."""
    return f"W{number:03d}_{fit_for_files(name)}"


def fit_for_files(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)


def layer_ids(graph: Graph) -> dict[str, str]:
    """Id by tensor name: layers by number, the graph's input as "in"."""
    return {graph.input: "in"} | {node.name: layer_id(number, node.name) for number, node in enumerate(graph)}


def canonical(array: np.ndarray) -> np.ndarray:
    """The array as it is stored: row-major, little-endian, every NaN the same one."""
    stored = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if stored.dtype.kind == "f" and np.isnan(stored).any():
        stored = stored.copy()
        stored.view("<u4")[np.isnan(stored)] = CANONICAL_NAN
    return stored


def fingerprint(manifest: Mapping[str, Any]) -> str:
    """What tells a bundle from others: a digest of its manifest without the mutation score."""
    text = json.dumps({**manifest, "mutation_score": None}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def digests(array: np.ndarray) -> dict[str, Any]:
    """Size, SHA-256 and CRC-32 of a stored array."""
    raw = canonical(array).tobytes()
    return {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest(), "crc32": f"{zlib.crc32(raw):08x}"}


def layer_records(graph: Graph, folded: Mapping[str, list[str]], cases: Mapping[str, str]) -> list[dict[str, Any]]:
    """One record a layer.

    folded : names of the batch norms folded into a layer
    cases  : id of the layer case that covers a layer
    """
    ids, readers = layer_ids(graph), graph.consumers()
    numbers = {name: number for number, name in enumerate(graph.weights)}
    return [
        {
            "id": ids[node.name],
            "name": node.name,
            "operator": node.op,
            "inputs": [ids[name] for name in node.inputs],
            "consumers": [ids[reader.name] for reader in readers[node.name]],
            "weights": [weight_id(numbers[name], name) for name in node.weights if name in numbers],
            "input_shapes": [list(graph.shape(name)) for name in node.inputs],
            "shape": list(node.shape),
            **_attributes(node, graph),
            "clamp": list(CLAMPS[node.op]) if node.op in CLAMPS else None,
            "constants": constants.of_node(node),
            "multipliers": None,
            "shifts": None,
            "folded": folded.get(node.name, []),
            "case": cases.get(node.name),
        }
        for node in graph
    ]


def _attributes(node: Node, graph: Graph) -> dict[str, Any]:
    attrs, kernel = node.attrs, node.attrs.get("window")
    if node.weights and "conv2d" in node.op:
        kernel = graph.weights[node.weights[0]].shape[:2]
    pads = attrs.get("pads")
    if pads is not None:
        (top, bottom), (left, right) = pads
        pads = {"top": top, "left": left, "bottom": bottom, "right": right}
    listed = {key: list(attrs[key]) if key in attrs else None for key in ("stride", "dilation", "factor", "axes")}
    return {"kernel": None if kernel is None else list(kernel), "pads": pads, "eps": attrs.get("eps"), **listed}


def weight_records(weights: Mapping[str, np.ndarray], graph: Graph, raw: bool = False) -> list[dict[str, Any]]:
    """One record a weight; the graph says which kernels are depthwise.

    raw : whether they stand in this order in weights.bin, so that each has its offset
    """
    depthwise = {node.weights[0] for node in graph if node.op in ("depthwise_conv2d", "separable_conv2d")}
    records: list[dict[str, Any]] = []
    offset = 0
    for number, (name, value) in enumerate(weights.items()):
        layout = "HWCM" if name in depthwise else {4: "HWIO", 2: "HW", 1: "C"}[value.ndim]
        records.append({"id": weight_id(number, name), "name": name, "dtype": value.dtype.name,
                        "shape": list(value.shape), "layout": layout, "offset": offset if raw else None,
                        **digests(value)})
        offset += value.nbytes
    return records


def tensor_record(case: str, key: str, role: str, array: np.ndarray, layer: Mapping[str, Any] | None,
                  bound: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """One tensor of a case.

    layer : its producer's record; None for inputs and weights
    files : format -> path of the file that holds it
    """
    made = layer if role in ("acc", "out", "dout", "local", "bound") else None
    return {
        "id": f"{case}/{key}", "case": case, "key": key, "role": role,
        "operator": layer["operator"] if layer else None,
        "producer": made["id"] if made else None,
        "consumers": list(made["consumers"]) if made else [],
        "dtype": array.dtype.name, "shape": list(array.shape), "layout": "NHWC" if array.ndim == 4 else "row-major",
        "scale": None, "zero_point": None, "axis": None,
        "files": dict(files), **digests(array),
        "statistics": statistics(array, made["clamp"] if made else None),
        "bound": dict(bound),
    }


def statistics(array: np.ndarray, clamp: Sequence[float | None] | None) -> dict[str, Any]:
    """Smallest and largest finite value, zeros, share at the clamp's limits, NaNs and infinities."""
    values = array.ravel()
    finite = values[np.isfinite(values)]
    limits = [limit for limit in clamp or () if limit is not None]
    saturated = sum(int(np.count_nonzero(values == limit)) for limit in limits)
    return {
        "min": finite.min().item() if finite.size else None,
        "max": finite.max().item() if finite.size else None,
        "zeros": int(np.count_nonzero(values == 0)),
        "saturated": saturated / max(1, values.size),
        "nans": int(np.count_nonzero(np.isnan(values))),
        "infs": int(np.count_nonzero(np.isinf(values))),
    }


def dumps(manifest: Mapping[str, Any]) -> str:
    """The manifest as JSON: keys sorted, one line for every element of a top-level list."""
    lines = []
    for key in sorted(manifest):
        value = manifest[key]
        if isinstance(value, list) and value:
            inner = ",\n  ".join(json.dumps(element, sort_keys=True, allow_nan=False) for element in value)
            text = f"[\n  {inner}\n ]"
        else:
            text = json.dumps(value, sort_keys=True, allow_nan=False)
        lines.append(f' "{key}": {text}')
    return "{\n" + ",\n".join(lines) + "\n}\n"


def load(folder: str | PathLike[str]) -> dict[str, Any]:
    """Read and check a bundle's manifest.

    Raises ValueError, with the way out, when there is none, when it is damaged, of another version, or names a file
    outside of the bundle.
    """
    path = Path(folder) / "manifest.json"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ValueError(f"{folder} is no golden bundle: cannot read manifest.json ({error.strerror})") from None
    with reading(path, "is damaged", "make the bundle again"):
        manifest = parse_json(text)
    if isinstance(manifest, dict) and manifest.get("schema") != SCHEMA:
        found = f"{manifest.get('schema')!r:.80}"
        if found.startswith("'npunet-golden-integer/"):
            raise ValueError(f"{path} has schema {found}: a bundle of integers, which npunet.golden.open_bundle opens")
        raise ValueError(f"{path} has schema {found}, this npunet reads {SCHEMA}. Make the bundle again")
    check(manifest, str(path))
    return manifest


def check(manifest: Any, where: str = "manifest.json") -> None:
    """Raise ValueError when the manifest breaks its schema, naming the first place that does."""
    fault = find_fault(manifest, schema(), "")
    if fault:
        raise ValueError(f"{where}: {fault}")


@cache
def schema() -> dict[str, Any]:
    """The JSON schema of the manifest."""
    return json.loads(schema_text())


def schema_text() -> str:
    """The same as it is written."""
    return files("npunet.golden").joinpath("schema.json").read_text(encoding="utf-8")


def find_fault(value: Any, rule: Mapping[str, Any], where: str) -> str | None:
    """The first fault of a value under the parts of JSON Schema that schema.json uses, or None."""
    if "$ref" in rule:
        return find_fault(value, schema()["$defs"][rule["$ref"].rpartition("/")[2]], where)
    place = where or "/"
    if "enum" in rule and not any(value == choice and type(value) is type(choice) for choice in rule["enum"]):
        return f"{place} is {value!r:.80}, not one of {rule['enum']}"
    names = rule.get("type", [])
    names = [names] if isinstance(names, str) else names
    if names and not any(_is(value, name) for name in names):
        return f"{place} is {value!r:.80}, not of type {' or '.join(names)}"
    if isinstance(value, str) and "pattern" in rule and not re.search(rule["pattern"].replace("$", r"\Z"), value):
        return f"{place} is {value!r:.80}, which does not match {rule['pattern']}"
    if "minimum" in rule and _is(value, "number") and value < rule["minimum"]:
        return f"{place} is {value!r}, less than {rule['minimum']}"
    if isinstance(value, dict):
        return _find_fault_in_object(value, rule, where)
    if isinstance(value, list) and "items" in rule:
        faults = (find_fault(element, rule["items"], f"{where}/{number}") for number, element in enumerate(value))
        return next((fault for fault in faults if fault), None)
    return None


def _find_fault_in_object(value: dict, rule: Mapping[str, Any], where: str) -> str | None:
    place, known = where or "/", rule.get("properties", {})
    missing = [key for key in rule.get("required", ()) if key not in value]
    if missing:
        return f"{place} lacks {', '.join(missing)}"
    surplus = [key for key in value if key not in known]
    if surplus and rule.get("additionalProperties", True) is False:
        return f"{place} has the unknown {', '.join(map(repr, surplus))}"
    faults = (find_fault(value[key], known[key], f"{where}/{key}") for key in value if key in known)
    return next((fault for fault in faults if fault), None)


def _is(value: Any, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, JSON_TYPES[name])

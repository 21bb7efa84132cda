"""Files that come out the same byte for byte: npz with fixed dates, and the manifest."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib
import zipfile

import numpy as np

EPOCH = (1980, 1, 1, 0, 0, 0)


def write_npz(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """A compressed npz whose members keep their order and carry no date."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, value in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asanyarray(value, order="C"), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", EPOCH)
            archive.writestr(entry, buffer.getvalue(), zipfile.ZIP_DEFLATED, 9)


def probes(trace: dict[str, np.ndarray]) -> np.ndarray:
    """Three sums of every activation, (layers, 3) float64: of a, of a * a, and of a * cos(index)."""
    sums = [(a.sum(), (a * a).sum(), (a.ravel() * np.cos(np.arange(a.size))).sum()) for a in trace.values()]
    return np.array(sums, np.float64).reshape(-1, 3)


def selected(case: dict, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What is kept of a run: activations, L2 gradients and inference gradients only where the case asks for them."""
    kept = {}
    for key, value in arrays.items():
        mode, _, group = (*key.split("/"), "", "")[:3]
        if group == "grad_l2" and not (case["l2_gradients"] and mode == "training" and "/float64/" in key):
            continue
        if mode == "inference" and group in ("dx", "grad") and not case["inference_gradients"]:
            continue
        if group == "trace" and not case["trace"]:
            continue
        kept[key] = value
    if not case["trace"]:
        for mode in ("inference", "training"):
            prefix = f"{mode}/float64/trace/"
            kept[f"{mode}/float64/probes"] = probes({k: v for k, v in arrays.items() if k.startswith(prefix)})
    return kept


def write_json(path: pathlib.Path, value) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")


def hashes(folder: pathlib.Path, besides: str) -> dict[str, dict]:
    """Size and sha256 of every file under `folder` but the one named."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != besides)
    return {
        str(p.relative_to(folder)): {"bytes": p.stat().st_size, "sha256": hashlib.sha256(p.read_bytes()).hexdigest()}
        for p in files
    }

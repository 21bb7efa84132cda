"""Makes everything under reference/stored: run `python reference/generate.py`.

Where the reference's packages are missing it makes its own virtual environment in reference/.venv from requirements.txt
and runs itself again inside. Exits with 1 when Keras and the PyTorch twin disagree.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import subprocess
import sys
import venv

HERE = pathlib.Path(__file__).resolve().parent
STORED = HERE / "stored"
PACKAGES = ["neuralspot-edge", "keras", "tensorflow", "torch", "numpy", "ai-edge-litert", "onnx", "onnxruntime"]
NEEDED = ["neuralspot_edge", "torch", "onnx", "ai_edge_litert"]


def enter_environment() -> None:
    """Replace this process by one in reference/.venv, made first where it is not there."""
    folder = HERE / ".venv"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not python.exists():
        venv.create(folder, with_pip=True)
    subprocess.check_call([python, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"])
    raise SystemExit(subprocess.call([python, *sys.argv]))


def make_cases(names: list[str]) -> tuple[dict, dict]:
    """Run and store the configurations; returns the manifest's rows and the twin's deviations."""
    import agreement
    import keras_run
    import numpy as np
    import store
    import torch
    import torch_twin
    from configurations import CASES

    keras_run.single_threaded()
    torch.set_num_threads(1)
    rows, agreed = {}, {}
    for case in CASES:
        if names and case["name"] not in names:
            continue
        description, arrays = keras_run.run(case, "float64")
        arrays |= keras_run.run(case, "float32")[1]
        description["traced"] = [k.split("/")[3] for k in arrays if k.startswith("inference/float64/trace/")]
        description["vanishing"] = agreement.vanishing(arrays)
        agreed[case["name"]] = agreement.deviations(arrays, torch_twin.run(description, arrays))
        rows[case["name"]] = {
            "parameters": description["parameters"],
            "twin": {kind: float(f"{value:.1e}") for kind, value in agreed[case["name"]].items()},
            "float32": float(f"{agreement.float32_deviation(arrays):.1e}"),
            "saturated": round(agreement.saturated(arrays), 3),
        }
        stored = {"case": np.array(json.dumps(description)), **store.selected(case, arrays)}
        store.write_npz(STORED / f"{case['name']}.npz", stored)
        print(f"{case['name']:28}{description['parameters']:7} parameters", flush=True)
    print(agreement.table(agreed))
    return rows, agreed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", default=[], metavar="CASE", help="only these configurations")
    chosen = parser.parse_args()
    if any(importlib.util.find_spec(name) is None for name in NEEDED):
        enter_environment()
    sys.path.insert(0, str(HERE))
    STORED.mkdir(exist_ok=True)
    import agreement

    rows, agreed = make_cases(chosen.only)
    if not chosen.only:
        finish(rows)
    apart = [name for name, row in agreed.items() if max(row.values()) > agreement.BOUND]
    if apart:
        print(f"Keras and the twin differ by more than {agreement.BOUND}: {', '.join(apart)}", file=sys.stderr)
    return 1 if apart else 0


def finish(rows: dict) -> None:
    """The verdicts, the real files, and the manifest over everything."""
    import draw
    import store

    for script in (["verdicts.py", "--store"], ["export.py", "--store"], ["keras_files.py"]):
        subprocess.check_call([sys.executable, HERE / script[0], *script[1:]])
    manifest = {
        "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
        "python": sys.version.split()[0],
        "seed": draw.SEED,
        "cases": rows,
        "files": store.hashes(STORED, besides="manifest.json"),
    }
    store.write_json(STORED / "manifest.json", manifest)
    print(f"{sum(f['bytes'] for f in manifest['files'].values()):,} bytes in {len(manifest['files'])} files")


if __name__ == "__main__":
    sys.exit(main())

"""Every preset's exported .tflite through Arm's compiler for Ethos-U: what it places on the NPU, and what it leaves.

    python -m venv VENV && VENV/bin/pip install ethos-u-vela     # in an environment of its own
    python reference/integer_vela.py VENV/bin/vela               # with npunet: writes stored/integer_vela.json

The networks are the presets with the weights of seed 0, calibrated by `inputs`, and the trained one that comes along,
in both schemes. Ends with exit status 1 when a file is refused or an operator is left to the CPU.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import pathlib
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator

import numpy as np

from npunet import UNet, presets, pretrained, quantize

STORED = pathlib.Path(__file__).resolve().parent / "stored" / "integer_vela.json"
SCHEMES = ("int8", "int16x8")
ACCELERATORS = ("ethos-u55-128", "ethos-u65-256", "ethos-u85-256")
FIGURES = {"cpu_operators": r"CPU operators = (\d+)", "npu_operators": r"NPU operators = (\d+)",
           "sram_kib": r"Total SRAM used +([\d.]+)", "macs": r"Neural network macs +(\d+)"}


def inputs(shape: tuple[int, ...]) -> np.ndarray:
    """Calibration data of a preset, (4, *shape) float32."""
    return np.random.default_rng(0).normal(size=(4, *shape)).astype(np.float32)


def export(name: str, scheme: str, path: pathlib.Path) -> None:
    """Write the network of that name as .tflite."""
    if name in pretrained.names():
        pretrained.quantized(name, scheme).export_tflite(path)
        return
    described = presets.load(name)
    shape = tuple(described["input_shape"])
    model = UNet(described["architecture"], shape, described["num_classes"], seed=0)
    quantize(model, inputs(shape), scheme).export_tflite(path)


def networks() -> Iterator[tuple[str, str]]:
    """(name, scheme) of all that are compiled."""
    yield from ((name, scheme) for name in (*presets.names(), *pretrained.names()) for scheme in SCHEMES)


def compiled(vela: str, path: pathlib.Path, accelerator: str) -> dict[str, float]:
    """The compiler's figures for a file. Raises SystemExit with its words where it refuses."""
    done = subprocess.run([vela, "--accelerator-config", accelerator, "--output-dir", str(path.parent), str(path)],
                          capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{path.name}, {accelerator}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    found = {name: re.search(pattern, done.stdout) for name, pattern in FIGURES.items()}
    return {name: float(match[1]) for name, match in found.items() if match}


def main() -> None:
    """Compile everything and store the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("vela", help="the compiler's command")
    vela = parser.parse_args().vela
    version = subprocess.run([vela, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    rows: dict[str, dict] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name, scheme in networks():
            path = pathlib.Path(scratch, f"{name}.{scheme}.tflite")
            export(name, scheme, path)
            figures = {accelerator: compiled(vela, path, accelerator) for accelerator in ACCELERATORS}
            rows[path.name] = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **figures}
            left = {accelerator: int(row["cpu_operators"]) for accelerator, row in figures.items()}
            print(f"{path.name}: operators left to the CPU {left}", flush=True)
    STORED.write_text(json.dumps({"vela": version, "files": rows}, indent=1, sort_keys=True) + "\n")
    if any(row[accelerator]["cpu_operators"] for row in rows.values() for accelerator in ACCELERATORS):
        sys.exit("operators were left to the CPU")


if __name__ == "__main__":
    main()

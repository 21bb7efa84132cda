"""What is written is a function of what is asked: the same bytes from every process, whatever order its sets have."""

import hashlib
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from npunet import UNet, quantize
from npunet.data.prepare import Preparation
from npunet.data.synthetic import synthetic_ecg
from npunet.segment import Segmenter

pytest.importorskip("onnx")
pytest.importorskip("h5py")
pytest.importorskip("flatbuffers")
pytest.importorskip("safetensors")
BLOCK = {"filters": 3, "kernel": [1, 3], "pool": [1, 2], "strides": [1, 2]}
PARAMS = {"blocks": [BLOCK, {**BLOCK, "seperable": True, "activation": "relu6"}], "output_kernel_size": [1, 3]}
VERBS = [
    ["page", "m.npz", "-o", "OUT/page.html"], ["page", "q.npz", "-o", "OUT/integer_page.html"],
    ["audit", "m.npz", "-o", "OUT/audit.html"], ["audit", "m.npz", "-o", "OUT/audit.json"],
    ["audit", "q.npz", "-o", "OUT/integer_audit.html"], ["draw", "m.npz", "-o", "OUT/drawn.svg"],
    ["quantize", "m.npz", "--calibrate", "x.npy", "-o", "OUT/q.npz", "--report", "OUT/q.json"],
    ["quantize", "m.npz", "--calibrate", "x.npy", "-o", "OUT/q.tflite"],
    ["golden", "m.npz", "-o", "OUT/golden", "--backward", "--bounds"],
    ["golden", "q.npz", "-o", "OUT/golden_of_integers", "--target", "cortex-m4"],
    ["predict", "s.npz", "x.csv", "-o", "OUT/y.csv", "--picture", "OUT/y.svg", "--backend", "numpy"],
    ["predict", "s.npz", "x.csv", "-o", "OUT/y.npz", "--annotations", "atr", "--backend", "numpy"],
    ["trace", "m.npz", "x.npy", "-o", "OUT/trace.npz"],
    *(["convert", "m.npz", f"OUT/m.{suffix}"] for suffix in ("keras", "weights.h5", "safetensors", "onnx", "tflite")),
]
RUN = """
import sys
from npunet.cli import main
for words in {verbs}:
    assert main([word.replace("OUT", sys.argv[1]) for word in words]) in (0, 1), words
"""


@pytest.mark.slow
def test_everything_that_is_written_is_the_same_in_every_process(tmp_path):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3, 64, 1)).astype(np.float32)
    model = UNet(PARAMS, (64, 1), 4, seed=1)
    model.save(tmp_path / "m.npz")
    Segmenter(model, ["none", "P", "QRS", "T"], Preparation(rate=100.0)).save(tmp_path / "s.npz")
    quantize(model, x).save(tmp_path / "q.npz")
    np.save(tmp_path / "x.npy", x)
    lead, _ = synthetic_ecg(4, 100, seed=3)
    (tmp_path / "x.csv").write_text("time,II\n" + "".join(f"{k / 100},{value:.4f}\n" for k, value in enumerate(lead)))
    made = []
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", RUN.format(verbs=VERBS), seed], cwd=tmp_path,
                              env={**os.environ, "PYTHONHASHSEED": seed, "OMP_NUM_THREADS": "1",
                                   "PYTHONPATH": str(pathlib.Path(__file__).parents[1])},
                              capture_output=True, text=True, timeout=280, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        made.append({str(path.relative_to(tmp_path / seed)): hashlib.sha256(path.read_bytes()).hexdigest()
                     for path in (tmp_path / seed).rglob("*") if path.is_file()})
    assert len(made[0]) > 60 and {name for name in made[0].keys() | made[1].keys()
                                  if made[0].get(name) != made[1].get(name)} == set()

"""What is measured: a preset with weights, inputs, the outputs that its definition gives, and its files for the peers.

A subject is a folder. Peers only see the folder, so that each can run in a process that knows nothing of npunet:

    model.npz     npunet's own file                x.npy     two inputs, float32
    model.onnx    npunet's export, batch open      y.npy     what the definition gives for them, in float64
    int8.npz, int8.tflite, int8.onnx, y_int8.npy              the integer network, and TFLite-Micro's integers for x
    NAME.float.tflite, NAME.int8.tflite, tf2onnx.onnx         where reference/export.py or the stored files give them
    about.json    name, params, input_shape, num_classes, multiply-accumulates a sample
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from npunet import IntegerModel, UNet, presets, quantize, run, summary
from npunet.deploy import deploy
from npunet.extras import MissingExtra
from npunet.formats.onnx import write_onnx

REFERENCE = Path(__file__).resolve().parent.parent / "reference"
STORED = REFERENCE / "stored" / "files"
EXPORTED = {"float.tflite": "float.tflite", "int8.tflite": "int8.tflite", "onnx": "tf2onnx.onnx"}  # suffix -> our name
CROP = 32  # height and width on which an image network's bits are compared


@dataclass(frozen=True)
class Subject:
    """A prepared subject: its name, where it stands, multiply-accumulates a sample, seconds of the bit check."""

    name: str
    folder: Path
    macs: int
    parameters: int


def prepare(name: str, cache: Path, export: bool) -> Subject:
    """Make a subject's folder, or find it there.

    export : run reference/export.py for the .tflite files if they are not stored and TensorFlow is installed

    Raises AssertionError when the engine does not give the definition's bits.
    """
    folder = cache / name
    folder.mkdir(parents=True, exist_ok=True)
    arrays = take_exports(name, folder, export)
    model = build(name)
    if arrays:
        model.load_weights({key[8:]: value for key, value in arrays.items() if key.startswith("weights/")})
    x = arrays.get("x")
    if x is None:
        x = np.random.default_rng(0).standard_normal((2, *model.input_shape)).astype(np.float32)
    check_bits(model, x)
    model.save(folder / "model.npz")
    try:
        write_onnx(folder / "model.onnx", model.graph, model.weights, model.input_shape, name=name)
    except MissingExtra as missing:
        print(f"{name}: {missing}; no peer gets an .onnx", file=sys.stderr)
    write_integers(folder, model, x)
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", exact(model, x))
    rows = summary.rows(model.graph)
    about = {"name": name, "params": model.params.to_dict(), "input_shape": model.input_shape,
             "num_classes": model.num_classes, "macs": sum(row.macs for row in rows)}
    (folder / "about.json").write_text(json.dumps(about))
    return Subject(name, folder, about["macs"], sum(row.parameters for row in rows))


def write_integers(folder: Path, model: UNet, x: np.ndarray) -> None:
    """int8.npz: of the exported int8.tflite where there is one, else quantised here, with a .tflite of its own; the
    QDQ form of it; and what TFLite-Micro gives for the inputs, which the definition gives too.

    Raises AssertionError where the two differ, or the engine from them.
    """
    import peers
    import qdq

    path = folder / "int8.tflite"
    try:
        if not path.exists():
            made = quantize(model, np.random.default_rng(1).standard_normal((8, *model.input_shape)))
            made.save(folder / "int8.npz")
            made.export_tflite(path)
        made = IntegerModel.load(path)
    except MissingExtra as missing:
        print(f"{folder.name}: {missing}; no peer gets integers", file=sys.stderr)
        return
    made.save(folder / "int8.npz")
    given = peers.to_int8(folder, x)
    expected = made.predict(given, backend="numpy")
    np.save(folder / "y_int8.npy", expected)
    assert np.array_equal(made.predict(given, backend="engine"), expected), f"{folder.name}: integers of the engine"
    if not peers.PEERS["tflite-micro"].missing():
        judged = peers.open_tflite_micro(folder, 1, 1)(given[:1])
        assert np.array_equal(judged, expected[:1]), f"{folder.name}: not TFLite-Micro's integers"
    try:
        qdq.write(folder / "int8.onnx", made.network)
    except ImportError as missing:
        print(f"{folder.name}: {missing}; no QDQ model", file=sys.stderr)


def build(name: str) -> UNet:
    """A preset as a model with weights from seed 0."""
    preset = presets.load(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return UNet(preset["architecture"], tuple(preset["input_shape"]), preset["num_classes"])


def take_exports(name: str, folder: Path, export: bool) -> dict[str, np.ndarray]:
    """Bring the files of reference/export.py into the folder; its arrays, empty where there are none."""
    made = folder / f"{name}.npz"
    if (STORED / f"{name}.npz").exists():
        for suffix in ("npz", *EXPORTED):
            shutil.copyfile(STORED / f"{name}.{suffix}", folder / f"{name}.{suffix}")
    elif export and not made.exists() and find_spec("tensorflow") and find_spec("neuralspot_edge"):
        print(f"{name}: writing .tflite files with reference/export.py", file=sys.stderr)
        command = [sys.executable, str(REFERENCE / "export.py"), "--preset", name, "--out", str(folder)]
        done = subprocess.run(command, cwd=REFERENCE, capture_output=True, text=True)
        if done.returncode:
            print(f"{name}: no .tflite files, reference/export.py failed:\n{done.stderr[-500:]}", file=sys.stderr)
    if not made.exists():
        return {}
    for suffix, ours in EXPORTED.items():
        shutil.copyfile(folder / f"{name}.{suffix}", folder / ours)
    with np.load(made) as archive:
        return {key: archive[key] for key in archive.files}


def exact(model: UNet, x: np.ndarray) -> np.ndarray:
    """The network as trained, in float64."""
    weights = {name: value.astype(np.float64) for name, value in model.weights.items()}
    images, _ = model.sizes.admit(x, "float64")
    return model.sizes.release(run.infer(model.sizes.graph(images.shape[1:3]), weights, images), None)


def check_bits(model: UNet, x: np.ndarray) -> None:
    """The engine's bits on one input (a crop of an image) are those of the NumPy definition."""
    part = x[:1] if x.ndim == 3 else np.ascontiguousarray(x[:1, :CROP, :CROP])
    images, _ = model.sizes.admit(part, "float32")
    graph, weights = deploy(model.sizes.graph(images.shape[1:3]), model.weights)
    for arithmetic in ("seq_fma", "winograd"):
        expected = model.sizes.release(run.infer(graph, weights, images, arithmetic=arithmetic), None)
        got = model.predict(part, backend="engine", arithmetic=arithmetic)
        assert got.tobytes() == expected.tobytes(), (
            f"{model.params.name}, {arithmetic}: the engine's bits are not the definition's")

"""Models as .tflite (float and int8) and .onnx, with their weights, for comparing and for the bench.

    python reference/export.py --preset dense-2d --out DIR      # any of npunet/presets, or a .json of that form
    python reference/export.py --store                          # the ECG model of the docstring, into stored/

Needs reference/requirements.txt. Writes NAME.float.tflite, NAME.int8.tflite, NAME.onnx and NAME.npz, the last with the
weights by npunet's names, two inputs, and what Keras, LiteRT and ONNX Runtime gave for them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib

import draw
import keras
import keras_run
import numpy as np
import store
import tensorflow as tf
import tf2onnx
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

HERE = pathlib.Path(__file__).resolve().parent
PRESETS = HERE.parent / "npunet" / "presets"
OPSET, CALIBRATION = 13, 24


@contextlib.contextmanager
def upsampling_as_resize():
    """RESIZE_NEAREST_NEIGHBOR for nearest upsampling, where Keras writes RESHAPE, TILE, RESHAPE: the same bits."""
    original = keras.layers.UpSampling2D.call

    def call(self, x):
        size = [x.shape[1] * self.size[0], x.shape[2] * self.size[1]]
        return tf.raw_ops.ResizeNearestNeighbor(images=x, size=size)

    keras.layers.UpSampling2D.call = call
    try:
        yield
    finally:
        keras.layers.UpSampling2D.call = original


def sample(case: dict, number: int) -> np.ndarray:
    """An ECG-like or blob-like input: Gaussian bumps of both signs on a slow drift with noise.

    Returns (1, L, C) or (1, H, W, C) float32 of about unit spread.
    """
    rng = draw.generator(case["name"], "sample", str(number))
    *sizes, channels = case["input_shape"]
    grid = np.meshgrid(*(np.arange(size) for size in sizes), indexing="ij")
    x = 0.3 * np.sin(2 * np.pi * (grid[-1] / sizes[-1] * rng.uniform(0.5, 2.0) + rng.random()))
    for _ in range(max(3, sizes[-1] // 20)):
        width = rng.uniform(1.0, 8.0)
        squares = sum(((axis - rng.uniform(0, size)) / width) ** 2 for axis, size in zip(grid, sizes, strict=True))
        x = x + rng.uniform(-1.0, 3.0) * np.exp(-squares / 2)
    noise = rng.normal(0.0, 0.1, (*sizes, channels))
    return (x[..., None] + noise)[None].astype(np.float32)


def frozen(model: keras.Model, input_shape: tuple) -> tf.types.experimental.ConcreteFunction:
    """The model at batch 1 with its weights as constants."""
    signature = tf.TensorSpec((1, *input_shape), tf.float32, name="x")
    traced = tf.function(lambda x: model(x, training=False)).get_concrete_function(signature)
    return convert_variables_to_constants_v2(traced)


def tflite(function: tf.types.experimental.ConcreteFunction, calibration: list[np.ndarray] | None) -> bytes:
    """A .tflite file: float without calibration inputs, else all int8 with per-channel weights."""
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function])
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: ([x] for x in calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def run_tflite(content: bytes, inputs: list[np.ndarray]) -> np.ndarray:
    """Outputs of LiteRT's reference kernels, one input at a time; inputs already have the file's type."""
    interpreter = Interpreter(model_content=content, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    outputs = []
    for x in inputs:
        interpreter.set_tensor(source["index"], x)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(target["index"]))
    return np.concatenate(outputs)


def quantised(content: bytes, x: np.ndarray) -> np.ndarray:
    """x as the file's int8 input: round half away from zero of x / scale, plus the zero point."""
    scale, zero = Interpreter(model_content=content).get_input_details()[0]["quantization"]
    steps = x / np.float32(scale)
    return np.clip(np.trunc(steps + np.copysign(np.float32(0.5), steps)) + zero, -128, 127).astype(np.int8)


def run_onnx(content: bytes, inputs: list[np.ndarray]) -> np.ndarray:
    """Outputs of ONNX Runtime on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {session.get_inputs()[0].name: x})[0] for x in inputs])


def onnx(model: keras.Model, input_shape: tuple, name: str) -> bytes:
    """The model at batch 1 as ONNX."""
    function = tf.function(lambda x: model(x, training=False))
    signature = [tf.TensorSpec((1, *input_shape), tf.float32, name="x")]
    proto, _ = tf2onnx.convert.from_function(function, input_signature=signature, opset=OPSET)
    proto.graph.name = name
    return proto.SerializeToString(deterministic=True)


def export(name: str, preset: dict, out: pathlib.Path) -> None:
    """Write the four files of one model into `out`, and print how far the runtimes are from Keras."""
    params = preset["architecture"]["params"]
    case = {"name": name, "params": params, "input_shape": preset["input_shape"], "num_classes": preset["num_classes"]}
    with upsampling_as_resize():
        model, layers = keras_run.build(params, case["input_shape"], case["num_classes"], "float32")
        named = keras_run.variables(layers)
        weights = {key: draw.weight(case, key, tuple(v.shape)) for key, v in named.items()}
        keras_run.assign(named, weights)
        function = frozen(model, case["input_shape"])
        files = {
            "float.tflite": tflite(function, None),
            "int8.tflite": tflite(function, [sample(case, number) for number in range(CALIBRATION)]),
            "onnx": onnx(model, case["input_shape"], name),
        }
    inputs = [sample(case, CALIBRATION + number) for number in range(2)]
    int8 = [quantised(files["int8.tflite"], x) for x in inputs]
    arrays = {
        "case": np.array(json.dumps(case)),
        "x": np.concatenate(inputs),
        **{f"weights/{key}": value for key, value in weights.items()},
        "keras/float32/y": model(np.concatenate(inputs), training=False).numpy(),
        "litert/float32/y": run_tflite(files["float.tflite"], inputs),
        "litert/int8/x": np.concatenate(int8),
        "litert/int8/y": run_tflite(files["int8.tflite"], int8),
        "onnxruntime/float32/y": run_onnx(files["onnx"], inputs),
    }
    out.mkdir(parents=True, exist_ok=True)
    for suffix, content in files.items():
        (out / f"{name}.{suffix}").write_bytes(content)
    store.write_npz(out / f"{name}.npz", arrays)
    for peer in ("litert", "onnxruntime"):
        expected = arrays["keras/float32/y"]
        apart = np.abs(arrays[f"{peer}/float32/y"] - expected).max()
        print(f"{name}: {peer} differs from Keras by at most {apart:.1e}, outputs up to {np.abs(expected).max():.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", metavar="NAME", help="a preset of npunet, or a .json of that form")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("."), metavar="DIR")
    parser.add_argument("--store", action="store_true", help="write the ECG model and the Keras files into stored/")
    chosen = parser.parse_args()
    if chosen.store == bool(chosen.preset):
        parser.error("give either --preset NAME or --store")
    keras_run.single_threaded()
    name, out = ("ecg-docstring", HERE / "stored" / "files") if chosen.store else (chosen.preset, chosen.out)
    path = pathlib.Path(name) if name.endswith(".json") else PRESETS / f"{name}.json"
    export(path.stem, json.loads(path.read_text(encoding="utf-8")), out)


if __name__ == "__main__":
    main()

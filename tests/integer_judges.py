"""Who judges integers: TFLite-Micro, LiteRT's reference kernels, and what both are asked to run."""

import functools
import importlib
import json
import pathlib
import sys
import warnings

import numpy as np
import pytest

from npunet import UNet
from npunet.formats import tflite

REFERENCE = pathlib.Path(__file__).resolve().parents[1] / "reference"
STORED = REFERENCE / "stored"
ARENA = 64 << 20  # bytes
SCHEMES = ("int8", "int16x8")
FOREIGN = ("elu", "selu")  # tables of our own


def load_draw():
    """reference/draw.py, which makes the weights and calibration data of the stored cases."""
    sys.path.insert(0, str(REFERENCE))
    try:
        import configurations
        import draw
    finally:
        sys.path.remove(str(REFERENCE))
    return draw, {case["name"]: case for case in configurations.ONE_D + configurations.TWO_D}


def load_reference(name):
    """A script of reference/."""
    sys.path.insert(0, str(REFERENCE))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(str(REFERENCE))


DRAW, CASES = load_draw()


def has_operators(case):
    """Whether TensorFlow Lite has an integer operator for every layer of a case."""
    return all(block.get("norm", "batch") != "layer" and block.get("activation") not in FOREIGN
               for block in case["params"]["blocks"])


JUDGED = [name for name, case in CASES.items() if has_operators(case)]


@functools.cache
def float_model(name):
    """The stored network of a case."""
    case = CASES[name]
    with np.load(STORED / f"{name}.npz") as arrays, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of weights that an int kernel wastes
        model = UNet(case["params"], case["input_shape"], case["num_classes"])
        return model.load_weights({key[8:]: arrays[key] for key in arrays.files if key.startswith("weights/")})


def calibration(name):
    return DRAW.calibration(CASES[name])


def integers(model, count, rng):
    """Inputs over the whole range of the type: (count, *input_shape)."""
    low, high = (-128, 128) if model.dtype == "int8" else (-32768, 32768)
    return rng.integers(low, high, (count, *model.input_shape)).astype(model.dtype)


def tflite_micro(content, x):
    """Every tensor that TFLite-Micro computes for a file: {name: (B, ...)}."""
    runtime = pytest.importorskip("tflite_micro.python.tflite_micro.runtime", reason="TFLite-Micro is not installed")
    config = runtime.InterpreterConfig.kPreserveAllTensors
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=ARENA, intrepreter_config=config)
    numbers, results = activations(content), {}
    for sample in x:
        interpreter.set_input(sample[None], 0)
        interpreter.invoke()
        for name, number in numbers.items():
            results.setdefault(name, []).append(interpreter.GetTensor(number, 0)["tensor_data"].copy())
    return {name: np.concatenate(values) for name, values in results.items()}


def litert(content, x, resolver="BUILTIN_REF"):
    """Every tensor that LiteRT's kernels compute for a file, by default its reference kernels: {name: (B, ...)}."""
    module = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is not installed")
    interpreter = module.Interpreter(
        model_content=content, experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=getattr(module.OpResolverType, resolver))
    interpreter.allocate_tensors()
    source, numbers, results = interpreter.get_input_details()[0]["index"], activations(content), {}
    for sample in x:
        interpreter.set_tensor(source, sample[None])
        interpreter.invoke()
        for name, number in numbers.items():
            results.setdefault(name, []).append(interpreter.get_tensor(number))
    return {name: np.concatenate(values) for name, values in results.items()}


def activations(content):
    """The activations of a file, neither constants nor shapes: {name: number}."""
    flat = tflite.read_flat(content)
    return {tensor.name: number for number, tensor in enumerate(flat.tensors)
            if tensor.data is None and tensor.dtype != np.int32}


def tile_of_version_2(content):
    """The file with TILE's version lowered, which only tells an interpreter what it must know: int8 needs no 3."""
    import dataclasses

    flat = tflite.read_flat(content)
    operators = tuple(dataclasses.replace(operator, version=2) if operator.code == "TILE" else operator
                      for operator in flat.operators)
    return tflite.write_flat(dataclasses.replace(flat, operators=operators))


def assert_same(trace, judged):
    """0 differences in every tensor that the judge has; returns how many values were compared."""
    count = 0
    for name, expected in judged.items():
        got = trace[name].reshape(expected.shape)
        assert got.dtype == expected.dtype, name
        if not np.array_equal(got, expected):
            off = np.argwhere(got != expected)
            at = tuple(off[0].tolist())
            raise AssertionError(f"{name}{list(at)}: got {got[at]}, the judge has {expected[at]}; {len(off):,} of "
                                 f"{got.size:,} values differ")
        count += got.size
    return count


def manifest():
    """What reference/integer_tflite.py stored: {file: {"case", "scheme", "form", "sha256"}}."""
    return json.loads((STORED / "integer" / "manifest.json").read_text())["files"]

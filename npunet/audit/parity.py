"""The same network in other people's runtimes, with whichever of them is installed."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable

import numpy as np

from npunet import run
from npunet.audit.parity_tflite import litert, quantised
from npunet.audit.parity_torch import pytorch
from npunet.audit.runtime import Parity, absent, compared, installed
from npunet.audit.subject import Subject
from npunet.graph import Graph
from npunet.limits import Unsupported
from npunet.model import UNet

KERAS_UNETS = ("neuralspot_edge", "helia_edge")  # packages that hold the reference; the second is its successor


def parity(model: UNet, shown: Subject) -> list[Parity]:
    """Run a network on the sample of `shown` in every runtime that is here, and say which is not.

    LiteRT and TFLite-Micro run it once more in int8, quantised on that sample; there nothing may differ.
    """
    floats = {"Keras": keras, "PyTorch": pytorch, "ONNX Runtime": onnx_runtime, "LiteRT": litert}
    return [*(compared_with(*each, model, shown) for each in floats.items()), *quantised(model, shown)]


def compared_with(runtime: str, against: Callable[[UNet, Subject], Parity], model: UNet, shown: Subject) -> Parity:
    """One runtime, which may not have all operators."""
    try:
        return against(model, shown)
    except Unsupported as error:
        return absent(runtime, f"not compared: {error}")


def onnx_runtime(model: UNet, shown: Subject) -> Parity:
    """The ONNX file that npunet writes, as deployed, float32."""
    missing = [module for module in ("onnx", "onnxruntime") if not installed(module)]
    if missing:
        return absent("ONNX Runtime", f"{' and '.join(missing)} not installed")
    import onnxruntime

    from npunet.deploy import deploy
    from npunet.formats.onnx import to_onnx

    graph: Graph = model.sizes.graph(shown.x.shape[:2])
    weights = {name: value.astype(np.float32) for name, value in model.weights.read_only.items()}
    size = shown.x.shape[1:] if model.sizes.rank == 1 else shown.x.shape
    written = to_onnx(graph, weights, size)
    session = onnxruntime.InferenceSession(written.SerializeToString(), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {session.get_inputs()[0].name: shown.x.reshape(1, *size)})
    expected = run.infer(*deploy(graph, weights), shown.x[None], arithmetic="seq_fma")
    return compared("ONNX Runtime", onnxruntime.__version__, "as deployed, float32, its own order of sums",
                    got.reshape(expected.shape), expected, 1e-4)


def keras(model: UNet, shown: Subject) -> Parity:
    """The reference itself, built from the same parameters and given the same weights; as trained, float32."""
    package = next((name for name in KERAS_UNETS if installed(name)), None)
    if package is None or not installed("keras"):
        return absent("Keras", "keras and neuralspot-edge are not both installed; stored results of theirs are "
                               "compared by tests/test_reference.py")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        keras_module = importlib.import_module("keras")
        reference = importlib.import_module(f"{package}.models.unet")
    except ImportError as error:
        return absent("Keras", f"installed, but cannot be imported: {str(error).splitlines()[0]}")
    size = shown.x.shape[1:] if model.sizes.rank == 1 else shown.x.shape
    params = reference.UNetParams(**model.params.to_dict())
    built = reference.UNetModel.model_from_params(keras_module.Input(size), params, model.num_classes)
    weights = model.weights.read_only
    taken = set()
    for layer in built.layers:
        for variable in layer.variables:
            name = f"{underscored(layer.name)}/{variable.name}"
            if name in weights:
                variable.assign(weights[name].astype(np.float32))
                taken.add(name)
    if taken != set(weights):
        return absent("Keras", f"its layers have other names: it has none for {sorted(set(weights) - taken)[0]}")
    got = np.asarray(built(shown.x.reshape(1, *size), training=False))
    expected = model.trace(shown.x.reshape(1, *size))[model.graph.output] if model.graph.nodes else shown.x[None]
    version = f"{keras_module.__version__}, {package}"
    return compared("Keras", version, "as trained, float32, its own order of sums", got.reshape(expected.shape),
                    expected, 1e-4)


def underscored(layer: str) -> str:
    """Our name of a Keras layer: every dot becomes an underscore, but for the one before bn or ln."""
    return re.sub(r"\.(?!(bn|ln)$)", "_", layer)

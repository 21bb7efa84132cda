"""The runtimes that are measured: each turns a subject's folder into a function from x to y.

A function keeps whatever a user would keep between calls. What it is given is float32 (B, L, C) or (B, H, W, C), and
what it gives lies in the same layout; int8 peers are given int8 and what they give is read by `decoded`.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Call = Callable[[np.ndarray], np.ndarray]
ENVIRONMENT = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "1", "CUDA_VISIBLE_DEVICES": "-1",
               "KERAS_BACKEND": "tensorflow", "GLOG_minloglevel": "3"}
FLOAT_LIMIT = 1e-4  # of the largest output: float32 sums in any order. Measured below 1e-5
INT8_LIMIT = 0.5    # of the outputs' root mean square: eight bits on random weights. Measured 0.1 to 0.3


@dataclass(frozen=True)
class Peer:
    """One runtime in one form.

    open     : (folder, batch, threads) -> function; raises FileNotFoundError where the folder lacks its file
    packages : distributions that it needs, the first of which gives the version
    encoded, decoded : between float32 and what the function takes and gives; None for float32
    slow     : left out of --quick
    exact    : must give TFLite-Micro's integers
    saturates : sums pairs of int8 products in 16 bits where the machine has no VNNI (vpmaddubsw), which is wrong for
               large weights: shown, whatever it gives
    """

    name: str
    open: Callable[[Path, int, int], Call]
    packages: tuple[str, ...]
    encoded: Callable[[Path, np.ndarray], np.ndarray] | None = None
    decoded: Callable[[Path, np.ndarray], np.ndarray] | None = None
    slow: bool = False
    exact: bool = False
    saturates: bool = False

    def missing(self) -> list[str]:
        """Packages that are not installed; npunet itself may stand beside this file."""
        return [name for name in self.packages if name != "npunet" and version_of(name) is None]

    @property
    def version(self) -> str:
        return version_of(self.packages[0]) or "here"


def version_of(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def open_predict(folder: Path, batch: int, threads: int) -> Call:
    model = npunet_model(folder)
    return lambda x: model.predict(x, backend="engine", threads=threads)


def open_session(folder: Path, batch: int, threads: int) -> Call:
    return npunet_model(folder).compile(batch=batch, threads=threads)


def open_winograd(folder: Path, batch: int, threads: int) -> Call:
    """A session in the arithmetic "winograd", where a layer of the network is one that it computes its own way."""
    from npunet.engine.plan.opcodes import Op

    session = npunet_model(folder).compile(batch=batch, threads=threads, arithmetic="winograd")
    if all(step.op != Op.WINOGRAD for step in session.engine.program.instructions):
        raise FileNotFoundError("no layer for Winograd's algorithm is there")
    return session


def open_numpy(folder: Path, batch: int, threads: int) -> Call:
    model = npunet_model(folder)
    return lambda x: model.predict(x, backend="numpy")


def npunet_model(folder: Path) -> Any:
    from npunet import UNet

    return UNet.load(folder / "model.npz")


def open_onnxruntime(file: str) -> Callable[[Path, int, int], Call]:
    def open_it(folder: Path, batch: int, threads: int) -> Call:
        import onnxruntime

        present(folder / file)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = onnxruntime.InferenceSession(str(folder / file), options, providers=["CPUExecutionProvider"])
        name, size = session.get_inputs()[0].name, session.get_inputs()[0].shape[0]
        if size == 1 and batch > 1:
            return one_by_one(lambda x: session.run(None, {name: x})[0])
        return lambda x: session.run(None, {name: x})[0]

    return open_it


def open_openvino(folder: Path, batch: int, threads: int) -> Call:
    import openvino

    core = openvino.Core()
    model = core.read_model(present(folder / "model.onnx"))
    model.reshape([batch, *(size.get_length() for size in list(model.input().partial_shape)[1:])])
    request = core.compile_model(model, "CPU", {
        "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": "f32",
    }).create_infer_request()
    return lambda x: request.infer([x], share_inputs=True)[0]


def open_litert(suffix: str) -> Callable[[Path, int, int], Call]:
    """One sample at a time: the stored files are made for batch 1."""

    def open_it(folder: Path, batch: int, threads: int) -> Call:
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(present(folder / suffix)), num_threads=threads)
        interpreter.allocate_tensors()
        source, target = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

        def call(x: np.ndarray) -> np.ndarray:
            interpreter.set_tensor(source, x)
            interpreter.invoke()
            return interpreter.get_tensor(target)

        return call if batch == 1 else one_by_one(call)

    return open_it


def open_integer_session(folder: Path, batch: int, threads: int) -> Call:
    return integer_model(folder).compile(batch=batch, threads=threads)


def open_integer_predict(folder: Path, batch: int, threads: int) -> Call:
    model = integer_model(folder)
    return lambda x: model.predict(x, backend="engine", threads=threads)


def integer_model(folder: Path) -> Any:
    from npunet import IntegerModel

    return IntegerModel.load(present(folder / "int8.npz"))


def open_openvino_int8(folder: Path, batch: int, threads: int) -> Call:
    """One sample at a time: the file is made for batch 1."""
    import openvino

    core = openvino.Core()
    model = core.read_model(present(folder / "int8.tflite"))
    request = core.compile_model(model, "CPU", {
        "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads,
    }).create_infer_request()

    def call(x: np.ndarray) -> np.ndarray:
        return request.infer([x], share_inputs=True)[0]

    return call if batch == 1 else one_by_one(call)


def open_tflite_micro(folder: Path, batch: int, threads: int) -> Call:
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(present(folder / "int8.tflite").read_bytes(), arena_size=64 << 20)

    def call(x: np.ndarray) -> np.ndarray:
        interpreter.set_input(x, 0)
        interpreter.invoke()
        return interpreter.get_output(0)

    return call if batch == 1 else one_by_one(call)


def to_uint8(folder: Path, x: np.ndarray) -> np.ndarray:
    """For the QDQ model: 128 higher, (B, C, H, W)."""
    x = (to_int8(folder, x).astype(np.int16) + 128).astype(np.uint8)
    x = x[:, None] if x.ndim == 3 else x
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def from_uint8(folder: Path, y: np.ndarray) -> np.ndarray:
    return from_int8(folder, as_int8(y, len(json.loads((folder / "about.json").read_text())["input_shape"])))


def as_int8(y: np.ndarray, rank: int) -> np.ndarray:
    """What an int8 peer gives as (B, L, K) or (B, H, W, K) int8."""
    if y.dtype != np.uint8:
        return y
    y = (y.astype(np.int16) - 128).astype(np.int8).transpose(0, 2, 3, 1)
    return y[:, 0] if rank == 2 else y


def int8_scale(folder: Path, end: str) -> tuple[np.float32, int]:
    model = integer_model(folder)
    scale, zero = model.input_qparams if end == "input" else model.output_qparams
    return np.float32(scale), int(zero)


def to_int8(folder: Path, x: np.ndarray) -> np.ndarray:
    scale, zero = int8_scale(folder, "input")
    return np.clip(np.rint(x / scale) + zero, -128, 127).astype(np.int8)


def from_int8(folder: Path, y: np.ndarray) -> np.ndarray:
    scale, zero = int8_scale(folder, "output")
    return (y.astype(np.float32) - zero) * scale


def open_torch(layout: str, compiled: bool = False) -> Callable[[Path, int, int], Call]:
    def open_it(folder: Path, batch: int, threads: int) -> Call:
        import torch
        from torch_net import TorchNet

        from npunet.deploy import deploy

        torch.set_num_threads(threads)
        model = npunet_model(folder)
        deployed = deploy(model.graph, model.weights)
        net: Any = TorchNet(*deployed, model.sizes.rank, getattr(torch, layout)).eval()
        if compiled:
            torch._dynamo.reset()
            net = torch.compile(net, dynamic=False)

        def call(x: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return net(torch.from_numpy(x)).numpy()

        return call

    return open_it


def open_keras(folder: Path, batch: int, threads: int) -> Call:
    """The published network with the same weights, as a tf.function."""
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"  # before reference/keras_run, which leaves oneDNN out
    sys.path.append(str(Path(__file__).resolve().parent.parent / "reference"))
    import keras_run
    import tensorflow as tf

    if not tf.config.threading.get_intra_op_parallelism_threads():
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    about = json.loads((folder / "about.json").read_text())
    params = keras_params(about["params"])
    model, layers = keras_run.build(params, about["input_shape"], about["num_classes"], "float32")
    with np.load(folder / "model.npz") as archive:
        keras_run.assign(keras_run.variables(layers), {name: archive[name] for name in archive.files if "/" in name})
    signature = tf.TensorSpec((batch, *about["input_shape"]), tf.float32)
    function = tf.function(lambda x: model(x, training=False), input_signature=[signature])
    return lambda x: function(tf.constant(x)).numpy()


def keras_params(params: dict) -> dict:
    """The reference's spelling of the arguments."""
    known = dict(params)
    known["model_name"] = known.pop("name", "UNet")
    return known


def one_by_one(call: Call) -> Call:
    return lambda x: np.concatenate([call(x[n : n + 1]) for n in range(len(x))])


def present(path: Path) -> Path:
    """The path. Raises FileNotFoundError when there is no such file."""
    if not path.exists():
        raise FileNotFoundError(f"{path.name} is not there")
    return path


NUMBA = ("npunet", "numpy", "numba")
KERAS = ("keras", "tensorflow", "neuralspot-edge")
PEERS = {peer.name: peer for peer in (
    Peer("npunet", open_predict, NUMBA),
    Peer("npunet session", open_session, NUMBA),
    Peer("npunet winograd", open_winograd, NUMBA),
    Peer("npunet numpy", open_numpy, NUMBA[:2]),
    Peer("onnxruntime", open_onnxruntime("model.onnx"), ("onnxruntime",)),
    Peer("onnxruntime tf2onnx", open_onnxruntime("tf2onnx.onnx"), ("onnxruntime",)),
    Peer("openvino", open_openvino, ("openvino",)),
    Peer("litert", open_litert("float.tflite"), ("ai-edge-litert",)),
    Peer("npunet int8", open_integer_predict, NUMBA, to_int8, from_int8, exact=True),
    Peer("npunet int8 session", open_integer_session, NUMBA, to_int8, from_int8, exact=True),
    Peer("onnxruntime int8", open_onnxruntime("int8.onnx"), ("onnxruntime",), to_uint8, from_uint8, saturates=True),
    Peer("openvino int8", open_openvino_int8, ("openvino",), to_int8, from_int8, saturates=True),
    Peer("tflite-micro", open_tflite_micro, ("tflite-micro",), to_int8, from_int8, slow=True, exact=True),
    Peer("litert int8", open_litert("int8.tflite"), ("ai-edge-litert",), to_int8, from_int8),
    Peer("torch", open_torch("contiguous_format"), ("torch",), slow=True),
    Peer("torch channels-last", open_torch("channels_last"), ("torch",), slow=True),
    Peer("torch compile", open_torch("contiguous_format", compiled=True), ("torch",), slow=True),
    Peer("keras", open_keras, KERAS, slow=True),
)}

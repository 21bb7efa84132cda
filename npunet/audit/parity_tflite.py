"""A network in the runtimes of .tflite files: LiteRT, in float and in integers, and TFLite-Micro, in integers."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from npunet import run
from npunet.audit.runtime import Parity, absent, compared, installed
from npunet.audit.subject import Subject
from npunet.deploy import deploy
from npunet.integer_model import IntegerModel, quantize
from npunet.model import UNet

ARENA = 2**28  # bytes that TFLite-Micro may use: it is told what there is, and takes what it needs
Runner = Callable[[bytes, np.ndarray], np.ndarray]


def litert(model: UNet, shown: Subject) -> Parity:
    """The float .tflite that npunet writes, as deployed, by LiteRT's default kernels."""
    if (why := missing("ai_edge_litert")) is not None:
        return absent("LiteRT", why)
    from npunet.formats.tflite.compose_float import compose_float
    from npunet.formats.tflite.writer import write_flat

    graph = model.sizes.graph(shown.x.shape[:2])
    weights = {name: value.astype(np.float32) for name, value in model.weights.read_only.items()}
    size = shown.x.shape[1:] if model.sizes.rank == 1 else shown.x.shape
    try:
        content = write_flat(compose_float(graph, weights, size, name=model.params.name))
    except ValueError as error:
        return absent("LiteRT", f"not written as .tflite: {error}")
    got = run_litert(content, shown.x.reshape(1, *size))
    expected = run.infer(*deploy(graph, weights), shown.x[None], arithmetic="seq_fma")
    return compared("LiteRT", of_package("ai-edge-litert"), "as deployed, float32, its own order of sums",
                    got.reshape(expected.shape), expected, 1e-4)


def quantised(model: UNet, shown: Subject) -> list[Parity]:
    """A float network quantised to int8 on the sample, in the integer runtimes."""
    x = shown.x[None, 0] if model.sizes.rank == 1 else shown.x[None]
    try:
        made = quantize(model, x)
    except ValueError as error:
        return [absent(f"{runtime} int8", f"not quantised: {error}") for runtime in ("LiteRT", "TFLite-Micro")]
    return integers(made, made.quantize_input(x))


def integers(model: IntegerModel, x: np.ndarray) -> list[Parity]:
    """An integer network on integers x (1, ...): every one of its outputs, of which none may differ."""
    return [integer_parity("LiteRT", "ai_edge_litert", "ai-edge-litert", run_litert_reference, model, x),
            integer_parity("TFLite-Micro", "tflite_micro", "tflite-micro", run_micro, model, x)]


def integer_parity(runtime: str, module: str, package: str, runner: Runner, model: IntegerModel,
                   x: np.ndarray) -> Parity:
    """One runtime on one integer network."""
    called = f"{runtime} {model.scheme}"
    if (why := missing(module)) is not None:
        return absent(called, why)
    from npunet.formats.tflite.compose import compose
    from npunet.formats.tflite.writer import write_flat

    network, _ = model.admit(x)
    try:
        content = write_flat(compose(network))
    except ValueError as error:
        return absent(called, f"not written as .tflite: {error}")
    try:
        got = runner(content, x)
    except (RuntimeError, ValueError) as error:
        return absent(called, f"cannot run it: {str(error).strip().splitlines()[0]}")
    expected = model.predict(x, backend="numpy")
    told = f"integers, rounding {model.rounding}, its reference kernels: {(got != expected).sum():,} of " \
           f"{expected.size:,} outputs differ"
    return compared(called, of_package(package), told, got.astype(np.float64).reshape(expected.shape),
                    expected.astype(np.float64), 0.0)


def missing(module: str) -> str | None:
    """Why a runtime cannot be asked; None where it can."""
    absent_ones = [name for name in (module, "flatbuffers") if not installed(name)]
    return f"{' and '.join(absent_ones)} not installed" if absent_ones else None


def of_package(name: str) -> str:
    """The version of an installed package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "of unknown version"


def run_litert(content: bytes, x: np.ndarray, resolver: str = "AUTO") -> np.ndarray:
    """A file's output by LiteRT."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(model_content=content, num_threads=1,
                              experimental_op_resolver_type=getattr(OpResolverType, resolver))
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def run_litert_reference(content: bytes, x: np.ndarray) -> np.ndarray:
    """The same by the kernels that define the integers; its fast ones round otherwise."""
    return run_litert(content, x, "BUILTIN_REF")


def run_micro(content: bytes, x: np.ndarray) -> np.ndarray:
    """A file's output by TFLite-Micro."""
    from tflite_micro.python.tflite_micro import runtime

    interpreter = runtime.Interpreter.from_bytes(content, arena_size=ARENA)
    interpreter.set_input(x, 0)
    interpreter.invoke()
    return np.array(interpreter.get_output(0))

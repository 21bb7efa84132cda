"""npunet predict: run a model on a file, write what it says, and draw it."""

from __future__ import annotations

import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from npunet import UNet
from npunet.cli import inputs, models
from npunet.evaluate import plots
from npunet.extras import MissingExtra, extra
from npunet.files import write_npy
from npunet.model import BACKENDS
from npunet.ops.accumulate import ARITHMETICS
from npunet.ops.softmax import softmax_forward
from npunet.segment import Segmenter

PIECE = 2**22  # input values that are run at once


def add(verbs: Any) -> None:
    """Arguments of `npunet predict`."""
    parser = models.verb(verbs, "predict", predict, "run a model on a signal or image; write the result and a picture",
                         "npunet predict model.npz ludb/data/1 --picture 1.svg")
    parser.add_argument("model", help=models.HELP)
    parser.add_argument("input", help=inputs.HELP)
    parser.add_argument("-o", "--out", metavar="FILE", help="result, .npy (default: <input>_<output>.npy right here)")
    parser.add_argument("--output", choices=("labels", "probabilities", "logits"), default="labels",
                        help="what is written: classes (B, ...) or one number a class (B, ..., K) (default labels)")
    parser.add_argument("--picture", metavar="FILE", help="draw the result as .svg or .png")
    parser.add_argument("--class-names", metavar="NAME,...", help="names of the classes, for the picture")
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help="what computes (default auto)")
    parser.add_argument("--arithmetic", choices=ARITHMETICS, help="order of summation (default: the backend's own)")
    parser.add_argument("--threads", type=int, metavar="N", help="threads of the engine (default: one per core)")
    inputs.add_arguments(parser)


def predict(arguments: Namespace) -> None:
    """Read, run, write, draw, and say so."""
    out = Path(arguments.out or f"{Path(arguments.input).stem}_{arguments.output}.npy")
    opened = models.with_float_face(models.open_model(arguments.model))
    model = opened if isinstance(opened, UNet) else opened.network
    meaning = meaning_of(opened, arguments.class_names)
    _refuse_impossible(model, arguments)
    batch = inputs.read(arguments.input, opened, meaning, arguments)
    print(f"input   {arguments.input}: {batch.told}")
    start = time.perf_counter()
    y = run(model, batch.x, backend=arguments.backend, arithmetic=arguments.arithmetic, threads=arguments.threads)
    print(f"ran     {models.size_of(model)}, in {time.perf_counter() - start:.2f} s")
    labels = classes(y)
    result = labels if arguments.output == "labels" else y if arguments.output == "logits" else probabilities(model, y)
    write_npy(out, result)
    print(f"wrote   {out}: {arguments.output}, {result.dtype} {' x '.join(map(str, result.shape))}")
    if models.is_described(arguments.model):
        print(f"note    the weights are random: {arguments.model} describes a network and is not a trained one")
    if model.params.include_top:
        print(f"classes {shares(labels, meaning.class_names)}")
    if arguments.picture:
        title = f"{Path(arguments.input).name}: network {model.params.name!r}"
        draw(arguments.picture, batch, labels, title, meaning.class_names)
        print(f"drew    {arguments.picture}")


def meaning_of(model: UNet | Segmenter, class_names: str | None = None) -> models.Meaning:
    """models.meaning, by the model's own description where it has one."""
    if isinstance(model, UNet) or class_names:
        return models.meaning(models.network_of(model), class_names)
    return models.Meaning(model.class_names, None if model.preparation is None else model.preparation.rate)


def run(model: UNet, x: np.ndarray, **how: Any) -> np.ndarray:
    """model.predict in pieces of a bounded size, padded to fit; progress goes to a terminal's stderr."""
    pieces = [model.predict(x[part], fit="pad", **how) for part in _progress(_pieces(x))]
    return np.concatenate(pieces)


def classes(y: np.ndarray) -> np.ndarray:
    """The likeliest class of every position (B, ...), as the smallest integers that hold it."""
    return y.argmax(-1).astype(np.uint8 if y.shape[-1] <= 256 else np.uint16)


def probabilities(model: UNet, y: np.ndarray) -> np.ndarray:
    """The network's output as probabilities, whether it ends in a softmax or not."""
    return y if not model.params.use_logits else softmax_forward(y)


def shares(labels: np.ndarray, class_names: tuple[str, ...]) -> str:
    """How much of a result each class takes, in words."""
    counts = np.bincount(labels.ravel(), minlength=len(class_names))
    return ", ".join(f"{name} {100 * count / max(labels.size, 1):.1f} %"
                     for name, count in zip(class_names, counts, strict=True))


def draw(path: str, batch: inputs.Batch, labels: np.ndarray, title: str, class_names: tuple[str, ...]) -> None:
    """Draw a signal with its segments shaded, or images under their masks."""
    shown = batch.x if batch.shown is None else batch.shown
    if shown.ndim == 4:
        plots.save_mask(path, shown, labels, title=title, class_names=class_names)
        return
    picture = plots.signal_picture(shown[..., 0], labels, title=title, names=batch.names, class_names=class_names,
                                   rate=batch.rate, reference=batch.reference)
    plots.save_signal(path, picture)


def _refuse_impossible(model: UNet, arguments: Namespace) -> None:
    top = model.params.include_top
    if not top and (arguments.output != "logits" or arguments.picture):
        raise ValueError("the network has no top, so it gives no classes; use --output logits, without --picture")
    if top and arguments.output == "logits" and not model.params.use_logits:
        raise ValueError("the network ends in a softmax and gives no logits; use --output probabilities")
    if arguments.threads is not None and arguments.threads < 1:
        raise ValueError(f"--threads {arguments.threads} must be at least 1")
    if arguments.picture:
        _refuse_undrawable(arguments.picture, len(model.input_shape) == 2)


def _refuse_undrawable(path: str, signal: bool) -> None:
    """Say before the work starts that a picture cannot be drawn."""
    if plots.suffix(path) == ".png" and signal:
        try:
            extra("matplotlib.figure", "plot")
        except MissingExtra as error:
            raise MissingExtra(f"{error}, or draw an .svg, which needs nothing") from None


def _pieces(x: np.ndarray) -> list[slice]:
    step = max(1, PIECE // max(1, int(np.prod(x.shape[1:]))))
    return [slice(start, start + step) for start in range(0, max(len(x), 1), step)]


def _progress(pieces: list[slice]) -> Iterator[slice]:
    shown = len(pieces) > 1 and sys.stderr.isatty()
    for number, piece in enumerate(pieces):
        if shown:
            print(f"\rnpunet: {100 * number // len(pieces)} %", end="", file=sys.stderr, flush=True)
        yield piece
    if shown:
        print("\r\033[K", end="", file=sys.stderr, flush=True)

"""npunet trace: every layer's output on an input, in one file."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np

from npunet import IntegerModel, UNet
from npunet.cli import inputs, models, outputs, predict, sources
from npunet.deploy import LEVELS
from npunet.files import write_npz
from npunet.segment import Segmenter


def add(verbs: Any) -> None:
    """Arguments of `npunet trace`."""
    parser = models.verb(verbs, "trace", trace, "write every layer's output on an input, one array a layer",
                         "npunet trace model.npz ludb/data/1 --leads ii -o trace.npz")
    parser.add_argument("model", help=models.HELP)
    parser.add_argument("input", help=f'{inputs.HELP}; "-" for a sample made by formulas')
    parser.add_argument("-o", "--out", metavar="FILE", default="trace.npz", help="file to write (default trace.npz)")
    parser.add_argument("--level", choices=LEVELS,
                        help="every layer by itself, or batch norm folded as deployed (default trained)")
    parser.add_argument("--training", action="store_true", help="batch statistics and dropout, as in training")
    inputs.add_arguments(parser)


def trace(arguments: Namespace) -> None:
    """Read, run, write."""
    outputs.refuse_all(arguments)
    opened = models.open_model(arguments.model)
    if isinstance(opened, IntegerModel):
        trace_integers(opened, arguments)
        return
    model = models.network_of(opened)
    batch = batch_of(opened, arguments)
    x = padded(model, batch.x)
    layers = model.trace(x, training=arguments.training, level=arguments.level or "trained")
    write_npz(arguments.out, layers)
    print(f"input   {arguments.input}: {batch.told}")
    print(f"ran     {models.called(arguments.model)}: {models.size_of(model)}")
    if x.shape != batch.x.shape:
        print(f"padded  {batch.x.shape[1:-1]} to {x.shape[1:-1]} with zeros at the end, so that the strides divide it")
    print(f"wrote   {arguments.out}: {len(layers)} layers, each (B, H, W, C)")


def trace_integers(model: IntegerModel, arguments: Namespace) -> None:
    """The same of an integer network: the integers of every layer, on the input in its integers."""
    for given, option in ((arguments.training, "--training"), (arguments.level, "--level")):
        if given:
            raise ValueError(f"{option} is for float networks; {arguments.model} is an integer one: leave it out")
    face = models.with_float_face(model)
    batch = batch_of(face, arguments)
    network: Any = models.network_of(face)
    layers = model.trace(model.quantize_input(network.padded(batch.x)))
    write_npz(arguments.out, layers)
    print(f"input   {arguments.input}: {batch.told}, in integers of scale {model.input_qparams[0]:.6g} and zero point "
          f"{model.input_qparams[1]}")
    print(f"ran     {models.called(arguments.model)}: {models.size_of(model)}")
    print(f"wrote   {arguments.out}: {len(layers)} layers of {model.dtype}, each (B, H, W, C)")


def batch_of(model: UNet | Segmenter, arguments: Namespace) -> inputs.Batch:
    """What a float network, or the float face of an integer one, is run on."""
    if arguments.input != "-":
        return sources.batch(arguments.input, model, predict.meaning_of(model), arguments)
    from npunet.audit.subject import example

    inputs.refuse_options(arguments, "there is no input file")
    told = "a sample made by formulas"
    return inputs.Batch(example(models.network_of(model))[None], (told,), told, None)


def padded(model: UNet, x: np.ndarray) -> np.ndarray:
    """A batch with zeros at its end where the strides do not divide its size."""
    images, _ = model.sizes.admit(x, model.dtype, pad=True)
    return model.sizes.release(images, None)

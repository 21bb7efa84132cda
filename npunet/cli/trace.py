"""npunet trace: every layer's output on an input, in one file."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import numpy as np

from npunet import UNet
from npunet.cli import inputs, models, predict
from npunet.deploy import LEVELS
from npunet.files import write_npz


def add(verbs: Any) -> None:
    """Arguments of `npunet trace`."""
    parser = models.verb(verbs, "trace", trace, "write every layer's output on an input, one array a layer",
                         "npunet trace model.npz ludb/data/1 --leads ii -o trace.npz")
    parser.add_argument("model", help=models.HELP)
    parser.add_argument("input", help=inputs.HELP)
    parser.add_argument("-o", "--out", metavar="FILE", default="trace.npz", help="file to write (default trace.npz)")
    parser.add_argument("--level", choices=LEVELS, default="trained",
                        help="every layer as trained, or batch norm folded as deployed (default trained)")
    parser.add_argument("--training", action="store_true", help="batch statistics and dropout, as in training")
    inputs.add_arguments(parser)


def trace(arguments: Namespace) -> None:
    """Read, run, write."""
    opened = models.open_float(arguments.model)
    model = models.network_of(opened)
    batch = inputs.read(arguments.input, opened, predict.meaning_of(opened), arguments)
    x = padded(model, batch.x)
    layers = model.trace(x, training=arguments.training, level=arguments.level)
    write_npz(arguments.out, layers)
    print(f"input   {arguments.input}: {batch.told}")
    print(f"ran     {models.called(arguments.model)}: {models.size_of(model)}")
    if x.shape != batch.x.shape:
        print(f"padded  {batch.x.shape[1:-1]} to {x.shape[1:-1]} with zeros at the end, so that the strides divide it")
    print(f"wrote   {arguments.out}: {len(layers)} layers, each (B, H, W, C)")


def padded(model: UNet, x: np.ndarray) -> np.ndarray:
    """A batch with zeros at its end where the strides do not divide its size."""
    images, _ = model.sizes.admit(x, model.dtype, "pad")
    return model.sizes.release(images, None)

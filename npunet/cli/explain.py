"""npunet explain: one number of a network and everything that it was made from."""

from __future__ import annotations

import re
from argparse import Namespace
from typing import Any

import numpy as np

from npunet import IntegerModel
from npunet.cli import inputs, models, values
from npunet.cli.page import inputs_of, integers_of
from npunet.deploy import LEVELS
from npunet.ops.table import LOSSES
from npunet.reading import read_npy

LOSS = "sparse_categorical_crossentropy"


def add(verbs: Any) -> None:
    """Arguments of `npunet explain`."""
    parser = models.verb(verbs, "explain", explain, "take one number of a network apart, product by product",
                         'npunet explain tiny x.npy "ENC1_D1_conv[12, 2]"')
    parser.epilog = f"""{parser.epilog}

The index counts from 0: [position, channel] of a signal, [row, column, channel] of an image; [0, row, column, channel],
as in an array of npunet trace, will do.
"<layer>/depthwise" is the first half of a separable convolution. npunet summary lists the layers."""
    parser.add_argument("model", help=models.HELP)
    parser.add_argument("input", help=f'{inputs.HELP}; "-" for a sample made by formulas')
    parser.add_argument("number", metavar="LAYER[INDEX]", help='such as "DEC2_D3_conv[12, 2]" or "NECK_conv[3, 4, 0]"')
    parser.add_argument("--level", choices=LEVELS, default="trained",
                        help="every layer by itself, or batch norm folded as deployed (default trained)")
    parser.add_argument("--arithmetic", choices=("seq", "seq_fma"), default="seq_fma",
                        help="each product and sum rounded, or fused multiply-adds (default seq_fma)")
    parser.add_argument("--gradient", action="store_true",
                        help="also its gradient in float64, and which numbers hand how much of it back")
    parser.add_argument("--loss", choices=tuple(LOSSES),
                        help=f"what is differentiated (default {LOSS})")
    parser.add_argument("--labels", metavar="FILE", help="classes as .npy, (L,) or (H, W), for the loss (default: the "
                        "network's own likeliest classes)")
    parser.add_argument("--seed", type=values.seed, default=0,
                        help="of the weights of a network that has none (default 0)")
    inputs.add_arguments(parser)


def explain(arguments: Namespace) -> None:
    """Parse, run, tell."""
    from npunet.audit import backprop, explain_text
    from npunet.audit.explain import explain as take_apart

    layer, index = parsed(arguments.number)
    for name in ("loss", "labels"):
        if getattr(arguments, name) is not None and not arguments.gradient:
            raise ValueError(f"--{name} is for --gradient; add that, or leave it out")
    arguments.input = None if arguments.input == "-" else arguments.input
    if (integers := models.open_integer(arguments.model)) is not None:
        explain_whole_numbers(integers, layer, index, arguments)
        return
    shown, told, *_ = inputs_of(arguments)
    print(f"{shown.title}, level {shown.level}, on {told}")
    print(explain_text.text(take_apart(shown, layer, index, arguments.arithmetic)))
    if arguments.gradient:
        labels = None if arguments.labels is None else read_labels(arguments.labels, shown.x.shape[:2])
        print(explain_text.gradient(backprop.explain_gradient(shown, layer, index, labels,
                                                        arguments.loss or LOSS)))


def explain_whole_numbers(model: IntegerModel, layer: str, index: list[int], arguments: Namespace) -> None:
    """The same for an integer network."""
    from npunet.audit import explain_integer

    if arguments.gradient:
        raise ValueError(f"{arguments.model} is an integer network, which has no gradients; leave --gradient out")
    x, told = integers_of(model, arguments)
    network, images = model.admit(x)
    print(f"{network.name}, {network.scheme}, rounding {network.rounding}, on {told}")
    print(explain_integer.text(explain_integer.explain_integer(network, images[0], layer, index)))


def parsed(number: str) -> tuple[str, list[int]]:
    """"NAME[1, 2]" as a name and numbers, without a leading 0 of four, the sample. ValueError for anything else."""
    found = re.fullmatch(r"\s*(.+?)\s*\[\s*(\d+(?:\s*,\s*\d+){1,3})\s*\]\s*", number)
    if found is None:
        raise ValueError(f"{number!r} names no number: write LAYER[position, channel] or LAYER[row, column, channel]")
    index = [int(part) for part in found[2].split(",")]
    if len(index) == 4 and index[0]:
        raise ValueError(f"{number!r} is of sample {index[0]}, and one is taken apart, number 0; --index {index[0]} "
                         "takes another")
    return found[1], index[-3:]


def read_labels(path: str, size: tuple[int, ...]) -> np.ndarray:
    """Classes (H, W) of one sample. Raises ValueError when they do not fit."""
    labels = read_npy(path)
    if labels.size != size[0] * size[1]:
        raise ValueError(f"{path} holds labels of shape {labels.shape}; the input has {size[0]} x {size[1]} positions")
    return labels.reshape(size)

"""npunet draw: the architecture as a picture."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from npunet import IntegerModel, UNet
from npunet.cli import models, outputs


def add(verbs: Any) -> None:
    """Arguments of `npunet draw`."""
    parser = models.verb(verbs, "draw", draw, "draw the architecture to scale: height by resolution, width by channels",
                         "npunet draw ecg -o u.svg")
    parser.add_argument("model", help=models.HELP)
    parser.add_argument("-o", "--out", metavar="FILE", default="u.svg",
                        help="file to write, .svg or, with matplotlib, .png (default u.svg)")
    parser.add_argument("--title", help="what to write over it (default: the model's name)")


def draw(arguments: Namespace) -> None:
    """Draw into the file."""
    from npunet.audit import draw as drawings

    outputs.refuse_all(arguments)
    opened = models.open_model(arguments.model)
    if isinstance(opened, IntegerModel):
        from npunet.audit.integer_page import drawn

        model: UNet | IntegerModel = opened
        graph, name = drawn(opened.network), f"{opened.network.name}, {opened.scheme}"
    else:
        model = models.network_of(opened)
        graph, name = model.graph, model.params.name
    drawings.save(arguments.out, graph, name if arguments.title is None else arguments.title)
    print(f"wrote   {arguments.out}: {models.size_of(model)}")

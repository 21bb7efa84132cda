"""npunet draw: the architecture as a picture."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from npunet.cli import models


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

    model = models.open_network(arguments.model)
    title = model.params.name if arguments.title is None else arguments.title
    drawings.save(arguments.out, model.graph, title)
    print(f"wrote   {arguments.out}: {models.size_of(model)}")

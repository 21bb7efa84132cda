"""npunet summary: the layer table of a model."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

from npunet.cli import models


def add(verbs: Any) -> None:
    """Arguments of `npunet summary`."""
    parser = models.verb(verbs, "summary", summary, "print the layers of a model: shapes, parameters, MACs",
                         "npunet summary ecg")
    parser.add_argument("model", help=models.HELP)


def summary(arguments: Namespace) -> None:
    """Print the table."""
    print(models.open_model(arguments.model).summary())

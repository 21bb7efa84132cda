"""npunet presets: the networks that come with npunet."""

from __future__ import annotations

import json
from argparse import Namespace
from typing import Any

from npunet import presets as stored
from npunet.cli import models


def add(verbs: Any) -> None:
    """Arguments of `npunet presets`."""
    parser = models.verb(verbs, "presets", presets, "list the networks that come with npunet, or print one as JSON",
                         "npunet presets ecg > mine.json")
    parser.add_argument("name", nargs="?", help="preset to print")


def presets(arguments: Namespace) -> None:
    """Print the list or one description."""
    if arguments.name:
        print(json.dumps(stored.load(arguments.name), indent=4))
        return
    for name in stored.names():
        description = stored.load(name)
        print(f"{name:14} {description['description']}\n{'':14} {models.size_of(models.build(description))}")

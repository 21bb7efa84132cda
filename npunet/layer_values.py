"""One array a layer, by the layer's name."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NoReturn

import numpy as np


class LayerValues(dict[str, np.ndarray]):
    """{layer: array}; asking for a layer that is not there names those with the nearest names."""

    def __missing__(self, name: object) -> NoReturn:
        raise KeyError(unknown_layer(str(name), self))


def unknown_layer(name: str, known: Iterable[str]) -> str:
    """What to say where a layer is not there."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.0)
    return f"there is no layer {name!r}; the nearest are {', '.join(near) or 'none'} (model.summary() lists all)"

"""One array a layer, by the layer's name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import NamedTuple, NoReturn, Protocol

import numpy as np


class LayerValues(dict[str, np.ndarray]):
    """{layer: array}; asking for a layer that is not there names those with the nearest names."""

    def __missing__(self, name: object) -> NoReturn:
        raise KeyError(unknown_layer(str(name), self))


def unknown_layer(name: str, known: Iterable[str]) -> str:
    """What to say where a layer is not there."""
    near = get_close_matches(name, list(known), n=3, cutoff=0.0)
    return f"there is no layer {name!r}; the nearest are {', '.join(near) or 'none'} (model.summary() lists all)"


class OtherName(Protocol):
    """Another name in a trace: of a layer's values, or of what is computed from them."""

    @property
    def layer(self) -> str: ...

    def of(self, values: np.ndarray) -> np.ndarray | None: ...


class Alias(NamedTuple):
    """Another name for a layer's values, such as that of a tensor in the file that the network came from.

    layer  : whose values they are
    shape  : of one sample, any rank
    factor : how often every row and every column stands there, for an upsampling that is half done
    """

    layer: str
    shape: tuple[int, ...]
    factor: tuple[int, int] = (1, 1)

    def of(self, values: np.ndarray) -> np.ndarray | None:
        """The layer's values (B, H, W, C) as (B, *shape); None where they are of another size."""
        height, width = self.factor
        values = np.repeat(np.repeat(values, height, axis=1), width, axis=2) if self.factor != (1, 1) else values
        size = 1
        for extent in self.shape:
            size *= extent
        return values.reshape(len(values), *self.shape) if values[:1].size in (0, size) else None


def with_aliases(values: LayerValues, known: Mapping[str, np.ndarray], aliases: Mapping[str, OtherName]) -> LayerValues:
    """The values of layers, and behind them those that have other names; `known` are all that there are."""
    made = {name: alias.of(known[alias.layer]) for name, alias in aliases.items() if name not in values}
    return LayerValues(values | {name: value for name, value in made.items() if value is not None})

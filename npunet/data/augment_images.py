"""Disturbances of images with their labels: pure functions of image, labels and a generator.

Every function takes an image (H, W, C) and its labels (H, W) and returns both anew; labels move with their pixels.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from npunet.values import refuse_unknown

Pair = tuple[np.ndarray, np.ndarray]
Augmentation = Callable[[np.ndarray, np.ndarray, np.random.Generator], Pair]


def flips(image: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> Pair:
    """Mirror left to right, and top to bottom, each for half of the images."""
    upright, sideways = (1 if keep else -1 for keep in generator.random(2) < 0.5)
    return image[::upright, ::sideways].copy(), labels[::upright, ::sideways].copy()


def rotations(image: np.ndarray, labels: np.ndarray, generator: np.random.Generator) -> Pair:
    """Turn by 0, 90, 180 or 270 degrees; an image that is not square by 0 or 180."""
    quarters = int(generator.integers(4)) if labels.shape[0] == labels.shape[1] else 2 * int(generator.integers(2))
    return np.rot90(image, quarters).copy(), np.rot90(labels, quarters).copy()


def elastic(image: np.ndarray, labels: np.ndarray, generator: np.random.Generator, *,
            distance: tuple[float, float] = (0.0, 6.0), spacing: float = 32.0) -> Pair:
    """Move every pixel by a smooth random field, as of tissue that is stretched.

    distance : (low, high) pixels, standard deviation of the displacement of a grid's knots
    spacing  : pixels between the knots, which cubic B-splines join

    The image is read between pixels linearly, the labels at the nearest one; outside, both are mirrored.
    Source: Simard, Steinkraus & Platt 2003, ICDAR, section 2; Ronneberger et al. 2015, arXiv:1505.04597, section 3.1.
    """
    ndimage = importlib.import_module("scipy.ndimage")
    H, W = labels.shape
    rows, columns = spline_basis(H, spacing), spline_basis(W, spacing)       # (H, knots), (W, knots)
    knots = generator.normal(0, generator.uniform(*distance), (2, rows.shape[1], columns.shape[1]))
    at = np.mgrid[:H, :W] + rows @ knots @ columns.T                         # (2, H, W)
    moved = [ndimage.map_coordinates(image[..., c], at, order=1, mode="reflect") for c in range(image.shape[2])]
    return np.stack(moved, -1), ndimage.map_coordinates(labels, at, order=0, mode="reflect")


def spline_basis(size: int, spacing: float) -> np.ndarray:
    """(size, knots): the uniform cubic B-splines of knots `spacing` apart, at every pixel; rows sum to 1."""
    along = np.arange(size) / spacing
    first = np.floor(along).astype(int)
    t = along - first
    weights = ((1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3)
    basis = np.zeros((size, int(first[-1]) + 4))
    for offset, weight in enumerate(weights):
        basis[np.arange(size), first + offset] = weight / 6
    return basis


def intensity(image: np.ndarray, labels: np.ndarray, generator: np.random.Generator, *,
              gain: tuple[float, float] = (0.7, 1.4), offset: tuple[float, float] = (-0.3, 0.3),
              noise: tuple[float, float] = (0.0, 0.1)) -> Pair:
    """Change contrast and brightness, and add a camera's noise: image * gain + offset + noise * normal."""
    factor, shift, grain = (generator.uniform(*between) for between in (gain, offset, noise))
    drawn = generator.standard_normal(image.shape)
    return (image * factor + shift + grain * drawn).astype(image.dtype), labels.copy()


AUGMENTATIONS: dict[str, Callable[..., Pair]] = {
    "flips": flips, "rotations": rotations, "elastic": elastic, "intensity": intensity,
}


def make_augmentations(steps: Sequence[Mapping[str, Any]]) -> list[Augmentation]:
    """The functions of a list such as [{"name": "elastic", "params": {"distance": [0, 6]}}]. Raises ValueError."""
    made: list[Augmentation] = []
    for step in steps:
        name, params = str(step.get("name")), dict(step.get("params", {}))
        refuse_unknown("the augmentation list", [name], list(AUGMENTATIONS))
        known = list(inspect.signature(AUGMENTATIONS[name]).parameters)[3:]
        if params and not known:
            raise ValueError(f"augmentation {name!r} takes no parameters, not {', '.join(params)}")
        refuse_unknown(f"augmentation {name!r}", list(params), known)
        made.append(partial(AUGMENTATIONS[name], **params))
    return made

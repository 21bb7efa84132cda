"""Images in, the class of every pixel out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from npunet.model import UNet

VIEWS = 8  # ways in which a square can lie


def segment_images(network: UNet, images: np.ndarray, views: int = VIEWS, **how: Any) -> np.ndarray:
    """The class of every pixel of images; see Segmenter.mask."""
    return image_logits(network, images, views, **how).argmax(-1).astype(np.uint8)


def image_logits(network: UNet, images: np.ndarray, views: int = VIEWS, **how: Any) -> np.ndarray:
    """The network's output (B, H, W, K) for images (B, H, W, C): its mean over the views; see Segmenter.mask."""
    if views not in (1, VIEWS):
        raise ValueError(f"views={views!r} must be 1 or {VIEWS}")
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(f"the images have shape {images.shape}; they must be (B, H, W, C)")
    total = np.zeros((), np.float32)
    for turned, back in turns(images)[:views]:
        total = total + back(network.predict(np.ascontiguousarray(turned), pad=True, **how))
    return total / np.float32(views)


def turns(images: np.ndarray) -> list[tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]]:
    """Images (B, H, W, C) in the eight ways that a square can lie, each with what turns a result back."""
    def back(y: np.ndarray, mirror: int, quarters: int) -> np.ndarray:
        return np.rot90(y, -quarters, axes=(1, 2))[:, :, ::mirror]

    ways = [(mirror, quarters) for mirror in (1, -1) for quarters in range(4)]
    return [(np.rot90(images[:, :, :: way[0]], way[1], axes=(1, 2)), partial(back, mirror=way[0], quarters=way[1]))
            for way in ways]

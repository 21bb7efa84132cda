"""Images as arrays: PNG, TIFF and .npy files, and the nuclei data set."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from npunet.data import data_folder
from npunet.extras import extra

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
NUCLEI = "nuclei_256.npz"
EPSILON = 0.01
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


def read_image(path: str | os.PathLike[str], channels: int = 1) -> np.ndarray:
    """Read an image file, every page of it.

    channels : 1 for grey values (colours become their luminance), 3 for red, green and blue; alpha is dropped

    Returns (pages, H, W, channels) float32; integer pixels are divided by the largest value of their type, so that
    they lie in [0, 1], and float pixels are kept.
    Raises FileNotFoundError, ValueError for a file that is no image or another number of channels, MissingExtra.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no such file: {path}")
    image_module = extra("PIL.Image", "image")
    sequence = extra("PIL.ImageSequence", "image")
    try:
        with image_module.open(path) as image:
            pages = [_pixels(page) for page in sequence.Iterator(image)]
    except (OSError, SyntaxError, image_module.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image: {error}") from None
    if len({page.shape for page in pages}) > 1:
        raise ValueError(f"{path} has pages of different sizes: {', '.join(str(page.shape) for page in pages)}")
    return as_channels(np.stack(pages), channels)


def as_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Grey or colour images (B, H, W, 1 | 3 | 4) with 1 or 3 channels. Raises ValueError for any other number."""
    colours = images[..., :3]
    if channels == 1:
        return colours if colours.shape[-1] == 1 else colours @ np.array(LUMINANCE, images.dtype)[:, None]
    if channels == 3:
        return np.repeat(colours, 3, axis=-1) if colours.shape[-1] == 1 else colours
    raise ValueError(f"an image has 1 or 3 channels, the network takes {channels}; give it a .npy array")


def standardise(images: np.ndarray) -> np.ndarray:
    """(x - mean) / (standard deviation + 0.01) of every image (B, H, W, C) over all its pixels, as float32."""
    axes = tuple(range(1, images.ndim))
    mean, deviation = images.mean(axes, keepdims=True), images.std(axes, keepdims=True)
    return ((images - mean) / (deviation + EPSILON)).astype(np.float32)


def read_nuclei(data: str | os.PathLike[str] | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nuclei data set.

    data : its folder, or the folder above; NPUNET_DATA by default

    Returns images (N, 256, 256, 1) float32 in [0, 1], instances (N, 256, 256) uint16 with 0 for background, ids (N,).
    Raises FileNotFoundError.
    Source: BBBC038, Caicedo et al. 2019, Nature Methods 16, 1247, doi:10.1038/s41592-019-0612-7.
    """
    with np.load(data_folder("nuclei", NUCLEI, data) / NUCLEI, allow_pickle=False) as arrays:
        return arrays["x"][..., None].astype(np.float32) / 255, arrays["inst"], arrays["ids"]


def _pixels(page: Any) -> np.ndarray:
    """One page as (H, W, C) float32."""
    if page.mode in ("P", "PA", "CMYK", "YCbCr", "LAB", "HSV"):
        page = page.convert("RGB")
    elif page.mode in ("LA", "La"):
        page = page.convert("L")
    pixels = np.asarray(page)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels               # (H, W, C)
    if page.mode == "I":                                                     # 16-bit values in 32-bit integers
        return pixels.astype(np.float32) / 65535
    largest = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else 1
    return pixels.astype(np.float32) / np.float32(largest)

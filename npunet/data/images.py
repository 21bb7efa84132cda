"""Images as arrays of numbers from 0 to 1: PNG, TIFF, JPEG and .npy files, and the nuclei data set."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from npunet.data.flat import warn_of_flat
from npunet.data.folders import data_folder
from npunet.data.pixels import MOST_PIXELS, SUFFIXES, read_pixels
from npunet.reading import npz, read_npy, reading
from npunet.values import count

IMAGE_SUFFIXES = (*SUFFIXES, ".npy")
NUCLEI = "nuclei_256.npz"
EPSILON = 0.01
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601
FEWEST_BITS = 8
NARROW = 32  # pixels: of many axes of one array, so short a last one is no width


def read_image(path: str | os.PathLike[str], channels: int = 1, *, max_pixels: int = MOST_PIXELS) -> np.ndarray:
    """Read an image file, every page of it, turned as its EXIF orientation says.

    path       : PNG, TIFF, JPEG, BMP, or .npy of shape (H, W), (H, W, C) with C from 1 to 4, (pages, H, W) or
                 (pages, H, W, C)
    channels   : 1 for grey values (colours become their luminance), 3 for red, green and blue; alpha is dropped
    max_pixels : files that hold more, and far more than their size, are refused as decompression bombs

    Returns (pages, H, W, channels) float32, scaled by `fractions`; a warning tells of an image that is one value.
    Raises FileNotFoundError; ValueError for a file that is no image, pages of different sizes, NaN or infinite pixels,
    another number of channels; MissingExtra.
    """
    count("channels", channels)
    count("max_pixels", max_pixels)
    largest = None
    if Path(path).suffix.lower() == ".npy":
        values = read_npy(path)
        with reading(path, "is no image", "give it the shape (H, W), (H, W, C), (pages, H, W) or (pages, H, W, C)"):
            if values.ndim == 3 and channels > 1 and values.shape[0] == channels and values.shape[-1] > 4:
                raise ValueError(f"its shape {values.shape} may be {channels} grey pages or one picture whose channels "
                                 "stand first; give the pages a last axis of 1, or the picture the shape (H, W, C)")
            values = as_pages(values)
    else:
        pixels = read_pixels(path, max_pixels=max_pixels)
        values, largest = pixels.values, pixels.depth.largest
        if pixels.depth.zero_white.startswith("stored"):
            raise ValueError(f"{path} is no image that can be read: its 0 is white; save it with 0 for black, or as "
                             ".npy")
    with reading(path, "is no image", "mend it"):
        made = as_channels(fractions(values, largest), channels)
        if np.isinf(made).any() or np.isnan(made).any(axis=(1, 2, 3)).sum() > np.isnan(made).all(axis=(1, 2, 3)).sum():
            raise ValueError("it holds NaN or infinite pixels; fill them")
    warn_of_flat(os.fspath(path), made[None], [""], "the image")
    return made


def fractions(values: np.ndarray, largest: int | None = None) -> np.ndarray:
    """Pixels as float32 fractions of what they can be, whatever file they came in.

    largest : the largest value that a pixel can have, where the file says so and is right

    Without that, whole numbers of 8 bits are divided by 255, and deeper ones by 2^n - 1 with the fewest bits n (at
    least 8) that hold all of them: a camera of 12 bits writes files of 16. Floats are kept.
    """
    if values.dtype.kind == "f":
        return values.astype(np.float32)
    if values.dtype.kind == "b":
        return values.astype(np.float32)
    if values.dtype.kind not in "iu":
        raise ValueError(f"it has dtype {values.dtype}; pixels are real numbers")
    if largest is None or values.max(initial=0) > largest:
        widest = max(int(values.max()), -int(values.min())) if values.size and values.dtype.itemsize > 1 else 0
        largest = 2 ** max(FEWEST_BITS, widest.bit_length()) - 1
    return values.astype(np.float32) / np.float32(largest)


def as_pages(array: np.ndarray) -> np.ndarray:
    """An array of one or several images as (pages, H, W, C). Raises ValueError for any other."""
    if array.size and array.dtype.kind in "fiub":
        if array.ndim == 2:
            return array[None, ..., None]
        if array.ndim == 3 and 4 < array.shape[-1] <= NARROW < min(array.shape[:2]):
            raise ValueError(f"its shape {array.shape} has its smallest axis last, and pages stand first; move that "
                             "axis to the front, or give pages so narrow a last axis of 1")
        if array.ndim == 3:
            return array[None] if array.shape[-1] <= 4 else array[..., None]
        if array.ndim == 4:
            return array
    raise ValueError(f"it has shape {array.shape} and dtype {array.dtype}")


def as_channels(images: np.ndarray, channels: int) -> np.ndarray:
    """Grey or colour images (B, H, W, 1 to 4), with or without alpha, as images of 1 or 3 channels.

    Images that have the number of channels already are kept, whatever it is. Raises ValueError for any other number.
    """
    if images.shape[-1] == channels:
        return images
    colours = images[..., :1] if images.shape[-1] == 2 else images[..., :3] if images.shape[-1] == 4 else images
    if colours.shape[-1] in (1, 3):
        if channels == 1:
            return colours if colours.shape[-1] == 1 else colours @ np.array(LUMINANCE, images.dtype)[:, None]
        if channels == 3:
            return np.repeat(colours, 3, axis=-1) if colours.shape[-1] == 1 else colours
    raise ValueError(f"an image has 1 or 3 channels, this one {images.shape[-1]}, and the network takes {channels}; "
                     "give it a .npy array")


def standardise(images: np.ndarray) -> np.ndarray:
    """(x - mean) / (standard deviation + 0.01) of every image (B, H, W, C) over all its pixels, as float32."""
    axes = tuple(range(1, images.ndim))
    mean, deviation = images.mean(axes, keepdims=True), images.std(axes, keepdims=True)
    return ((images - mean) / (deviation + EPSILON)).astype(np.float32)


def read_nuclei(data: str | os.PathLike[str] | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The nuclei data set.

    data : its folder, or the folder above; NPUNET_DATA by default

    Returns images (N, 256, 256, 1) float32 in [0, 1], instances (N, 256, 256) uint16 with 0 for background, ids (N,).
    Raises FileNotFoundError, ValueError.
    Source: BBBC038, Caicedo et al. 2019, Nature Methods 16, 1247, doi:10.1038/s41592-019-0612-7.
    """
    path = data_folder("nuclei", NUCLEI, data) / NUCLEI
    with reading(path, "is not the nuclei data set"), npz(path) as arrays:
        return fractions(arrays["x"].read()[..., None]), arrays["inst"].read(), arrays["ids"].read()

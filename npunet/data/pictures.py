"""Images with the class of every pixel: folders of images and masks, .npz files, nuclei, synthetic ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from npunet.data import VARIABLE, images
from npunet.data.prepare import settled
from npunet.data.synthetic import synthetic_nuclei

MASKS = ("masks", "mask", "labels", "inst", "y")  # arrays of an .npz and folders that may hold what is learnt


@dataclass(frozen=True)
class Picture:
    """One image with its labels.

    x         : (H, W, C) float32, standardised (data.images.standardise)
    labels    : (H, W) uint8 class of each pixel
    instances : (H, W) number of the object that a pixel belongs to, 0 for background; None where objects touch unmarked
    """

    name: str
    subject: str
    x: np.ndarray
    labels: np.ndarray
    instances: np.ndarray | None = None


def read_pictures(data: str | os.PathLike[str] | None, channels: int, classes: int) -> list[Picture]:
    """Read images and masks.

    data : an .npz with `x` (N, H, W) or (N, H, W, C) and masks or instances `inst` (N, H, W), optionally `ids`;
           a folder with images/ and masks/ of the same file names; a folder that holds such an .npz or folder
           `nuclei`; NPUNET_DATA by default

    With two classes every pixel above 0 is class 1; with more, a mask holds the class numbers themselves.
    Raises FileNotFoundError, ValueError for what does not fit, MissingExtra for image files without pillow.
    """
    root = data or os.environ.get(VARIABLE)
    if not root:
        raise FileNotFoundError(f"no images: name their folder or .npz by --data or the variable {VARIABLE}")
    for place in (Path(root), Path(root) / "nuclei"):
        if place.is_file():
            return _from_npz(place, channels, classes)
        if (place / "images").is_dir():
            return _from_folder(place, channels, classes)
        found = sorted(place.glob("*.npz")) if place.is_dir() else []
        if found:
            return _from_npz(place / images.NUCLEI if place / images.NUCLEI in found else found[0], channels, classes)
    raise FileNotFoundError(f"no images in {root}: needed is an .npz with x and masks, or folders images/ and masks/")


def synthetic_pictures(count: int, size: tuple[int, int], seed: int = 0) -> list[Picture]:
    """Images of synthetic nuclei, each a subject of its own."""
    made = []
    for number in range(count):
        image, instances = synthetic_nuclei(size, seed=seed * 100_003 + number)
        made.append(picture(f"synthetic-{number}", f"synthetic-{number}", image[..., None], instances, 2, instances))
    return made


def picture(name: str, subject: str, pixels: np.ndarray, mask: np.ndarray, classes: int,
            instances: np.ndarray | None = None) -> Picture:
    """Standardise an image (H, W, C) and settle what its mask means. Raises ValueError when they do not fit."""
    if mask.shape != pixels.shape[:2]:
        raise ValueError(f"{name}: the mask has shape {mask.shape}, the image {pixels.shape[:2]}")
    labels = (mask > 0).astype(np.uint8) if classes == 2 else mask
    if labels.max(initial=0) >= classes:
        raise ValueError(f"{name}: the mask holds class {labels.max()}, the network has {classes} classes from 0 on")
    return Picture(name, subject, settled(images.standardise(pixels[None])[0]), labels.astype(np.uint8), instances)


def subjects(things: Sequence[Picture]) -> list[str]:
    """The subjects of pictures, each once, in order."""
    return list(dict.fromkeys(thing.subject for thing in things))


def _from_npz(path: Path, channels: int, classes: int) -> list[Picture]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            masks = next((name for name in MASKS if name in arrays.files), None)
            if "x" not in arrays.files or masks is None:
                raise ValueError(f"it holds {', '.join(arrays.files)}; needed are x and one of {', '.join(MASKS)}")
            x, mask = arrays["x"], arrays[masks]
            names = [str(name) for name in arrays["ids"]] if "ids" in arrays.files else [str(i) for i in range(len(x))]
    except (ValueError, EOFError, OSError, AttributeError) as error:
        raise ValueError(f"{path} holds no images with masks: {error}") from None
    if len(x) != len(mask) or len(x) != len(names):
        raise ValueError(f"{path} has {len(x)} images, {len(mask)} masks and {len(names)} ids")
    x = x[..., None] if x.ndim == 3 else x
    scale = np.iinfo(x.dtype).max if x.dtype.kind in "iu" else 1
    pixels = images.as_channels(x.astype(np.float32) / np.float32(scale), channels)
    return [picture(name, name, image, each, classes, each if masks == "inst" else None)
            for name, image, each in zip(names, pixels, mask, strict=True)]


def _from_folder(folder: Path, channels: int, classes: int) -> list[Picture]:
    masks = next((folder / name for name in MASKS if (folder / name).is_dir()), None)
    if masks is None:
        raise FileNotFoundError(f"{folder} has images/ but no masks/ beside it")
    marked = {path.stem: path for path in sorted(masks.iterdir()) if path.suffix.lower() in (*images.SUFFIXES, ".npy")}
    made = []
    for path in sorted((folder / "images").iterdir()):
        if path.suffix.lower() not in (*images.SUFFIXES, ".npy"):
            continue
        if path.stem not in marked:
            raise FileNotFoundError(f"{path} has no mask: {masks} holds no file {path.stem}.*")
        pixels = _pixels(path, channels)
        mask = _pixels(marked[path.stem], 1)[..., 0]
        mask = np.rint(mask * 255).astype(np.int64) if marked[path.stem].suffix != ".npy" else mask
        made.append(picture(path.stem, path.stem, pixels, mask, classes))
    if not made:
        raise FileNotFoundError(f"{folder / 'images'} holds no image; known are {', '.join(images.SUFFIXES)}, .npy")
    return made


def _pixels(path: Path, channels: int) -> np.ndarray:
    if path.suffix == ".npy":
        array = np.load(path, allow_pickle=False)
        return array if array.ndim == 3 else array[..., None]
    return images.read_image(path, channels)[0]

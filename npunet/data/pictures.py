"""Images with the class of every pixel: folders of images and masks, .npz files, nuclei, synthetic ones."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npunet.data import images
from npunet.data.folders import VARIABLE
from npunet.data.masks import INSTANCES, OPTIONS, numbered, read_masks, stacked_labels
from npunet.data.prepare import settled
from npunet.data.synthetic import synthetic_nuclei
from npunet.reading import npz, read_all, reading
from npunet.values import refuse_unknown

MASKS = ("masks", "mask", "labels", "inst", "y")  # arrays of an .npz and folders that may hold what is learnt


@dataclass(frozen=True)
class Picture:
    """One image with its labels.

    x         : (H, W, C) float32, standardised (data.images.standardise)
    labels    : (H, W) uint8 class of each pixel, 255 where nobody looked
    instances : (H, W) number of the object that a pixel belongs to, 0 for background; None where objects touch unmarked
    """

    name: str
    subject: str
    x: np.ndarray
    labels: np.ndarray
    instances: np.ndarray | None = None


def read_pictures(data: str | os.PathLike[str] | None, channels: int, classes: int,
                  masks: Mapping[str, Any] | None = None) -> list[Picture]:
    """Read images and masks.

    data  : an .npz with `x` (N, H, W) or (N, H, W, C) and masks or instances `inst` (N, H, W), optionally `ids`;
            a folder with images/ and masks/ of the same file names; a folder that holds such an .npz or folder
            `nuclei`; NPUNET_DATA by default
    masks : options of data.masks.read_mask that say what masks hold (of an .npz: ignore and meaning)

    The numbers of masks mean what data.masks.read_mask says, decided by all masks together. Images are scaled as
    data.images.read_image does, each by itself.
    Raises FileNotFoundError, ValueError for what does not fit, MissingExtra for image files without pillow.
    """
    masks = dict(masks or {})
    refuse_unknown("'masks' of a data set of images", list(masks), OPTIONS)
    root = os.environ.get(VARIABLE) if data is None else os.fspath(data)
    if not root:
        raise FileNotFoundError(f"no images: name their folder or .npz by --data or the variable {VARIABLE}")
    for place in (Path(root), Path(root) / "nuclei"):
        if place.is_file():
            return _from_npz(place, channels, classes, masks)
        if (place / "images").is_dir():
            return _from_folder(place, channels, classes, masks)
        found = sorted(place.glob("*.npz")) if place.is_dir() else []
        if found:
            chosen = place / images.NUCLEI if place / images.NUCLEI in found else found[0]
            return _from_npz(chosen, channels, classes, masks)
    raise FileNotFoundError(f"no images in {root}: needed is an .npz with x and masks, or folders images/ and masks/")


def synthetic_pictures(count: int, size: tuple[int, int], seed: int = 0) -> list[Picture]:
    """Images of synthetic nuclei, each a subject of its own."""
    made = []
    for number in range(count):
        image, instances = synthetic_nuclei(size, seed=seed * 100_003 + number)
        labels, name = (instances > 0).astype(np.uint8), f"synthetic-{number}"
        made.append(picture(name, name, image[..., None], labels, instances))
    return made


def picture(name: str, subject: str, pixels: np.ndarray, labels: np.ndarray,
            instances: np.ndarray | None = None) -> Picture:
    """Standardise an image (H, W, C) with labels (H, W) uint8. Raises ValueError when they do not fit."""
    if labels.shape != pixels.shape[:2]:
        raise ValueError(f"{name}: the mask has shape {labels.shape}, the image {pixels.shape[:2]}")
    return Picture(name, subject, settled(images.standardise(pixels[None])[0]), labels, instances)


def subjects(things: Sequence[Picture]) -> list[str]:
    """The subjects of pictures, each once, in order."""
    return list(dict.fromkeys(thing.subject for thing in things))


def _from_npz(path: Path, channels: int, classes: int, options: dict[str, Any]) -> list[Picture]:
    with reading(path, "holds no images with masks", "see data.pictures.read_pictures"), npz(path) as arrays:
        masks = next((name for name in MASKS if name in arrays), None)
        if "x" not in arrays or masks is None:
            raise ValueError(f"it holds {', '.join(arrays)}; needed are x and one of {', '.join(MASKS)}")
        read = read_all({name: arrays[name] for name in ("x", masks, "ids") if name in arrays})
        x, numbers = read["x"], read[masks]
        names = [str(name) for name in read.get("ids", np.arange(len(x))).ravel()]
        if x.ndim not in (3, 4) or not len(x) == len(numbers) == len(names):
            raise ValueError(f"it has x of shape {x.shape}, {masks} of shape {numbers.shape} and {len(names)} ids")
        x = x[..., None] if x.ndim == 3 else x
        if masks == "inst" and classes == 2:
            options = {"meaning": INSTANCES, **options}
        refuse_unknown(f"'masks' of {path}", list(options), ("ignore", "meaning"))
        labels, instances = stacked_labels(numbers, classes, names, **options)
        return [picture(name, name, images.as_channels(images.fractions(image)[None], channels)[0], each,
                        numbered(objects) if instances else None)
                for name, image, each, objects in zip(names, x, labels, numbers, strict=True)]


def _from_folder(folder: Path, channels: int, classes: int, options: dict[str, Any]) -> list[Picture]:
    masks = next((folder / name for name in MASKS if (folder / name).is_dir()), None)
    if masks is None:
        raise FileNotFoundError(f"{folder} has images/ but no masks/ beside it")
    marked = {path.stem: path for path in sorted(masks.iterdir()) if path.suffix.lower() in images.IMAGE_SUFFIXES}
    paths = [path for path in sorted((folder / "images").iterdir()) if path.suffix.lower() in images.IMAGE_SUFFIXES]
    for path in paths:
        if path.stem not in marked:
            raise FileNotFoundError(f"{path} has no mask: {masks} holds no file {path.stem}.*")
    if not paths:
        raise FileNotFoundError(f"{folder / 'images'} holds no image; known are {', '.join(images.IMAGE_SUFFIXES)}")
    made = []
    read = read_masks([marked[path.stem] for path in paths], classes, **options)
    for path, (labels, instances) in zip(paths, read, strict=True):
        pages = images.read_image(path, channels)
        if len(pages) > 1:
            raise ValueError(f"{path} has {len(pages)} pages and one mask; save each page as an image with a mask of "
                             "its own")
        made.append(picture(path.stem, path.stem, pages[0], labels, instances))
    return made

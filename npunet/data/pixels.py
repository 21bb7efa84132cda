"""The pixels of an image file exactly as they are stored: numbers of any depth, indices of a palette, all pages.

Pillow decodes; around it stands what it would do without a word: lose the low byte of 16-bit colours, spread grey
values of 2 and 4 bits, invert TIFFs whose 0 is white, read one page of an ImageJ stack, decode a bomb.
"""

from __future__ import annotations

import json
import os
import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from npunet import memory
from npunet.extras import extra
from npunet.reading import reading

SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
LOSSY = ("JPEG", "MPO")
MOST_PIXELS = 89_478_485  # Pillow's own bound: a quarter of 2^30 bytes at three bytes a pixel
BOMB = 100  # times its size that a file of more than MOST_PIXELS may hold in pixels' bytes
BITS, SAMPLES, PHOTOMETRIC, DESCRIPTION, LARGEST, STRIPS = 258, 277, 262, 270, 281, 273  # tags of TIFF
SIGNED, FLOAT = 2, 3  # values of TIFF's SampleFormat, tag 339


@dataclass(frozen=True)
class Pixels:
    """The pages of a file.

    values  : (pages, H, W, C); C is 1, or 2 to 4 with colours or alpha; the index where the file has a palette
    kind    : "grey", "palette", "colour"
    alpha   : whether the last channel is alpha
    lossy   : whether values were changed by compression
    largest : the largest value that a pixel can have, where the file says so
    """

    values: np.ndarray
    kind: str
    alpha: bool
    lossy: bool
    largest: int | None


def read_pixels(path: str | os.PathLike[str], *, palette: bool = False, max_pixels: int = MOST_PIXELS) -> Pixels:
    """Read all pages of an image file, turned as its EXIF orientation says.

    palette    : True to keep the indices of a palette; False for its colours
    max_pixels : files that hold more, and far more than their size, are taken for bombs

    Raises FileNotFoundError, ValueError for what is no image, is too large or would lose something, MissingExtra.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    pillow = extra("PIL.Image", "image")
    with reading(path, "cannot be read as an image"), warnings.catch_warnings():
        warnings.simplefilter("ignore")                                      # Pillow's own, of damaged metadata
        try:
            with pillow.open(path) as image:
                return _read(image, path, palette, max_pixels)
        except pillow.DecompressionBombError as error:
            raise ValueError(f"{error} (PIL.Image.MAX_IMAGE_PIXELS)") from None


def _read(image: Any, path: Path, palette: bool, max_pixels: int) -> Pixels:
    size = path.stat().st_size
    pages: list[np.ndarray] = []
    told: list[tuple[str, int | None, int]] = []
    total = 0
    for number, page in enumerate(_pages(image)):
        told.append(_told(page, path))
        if told[-1] != told[0]:
            raise ValueError(f"its pages are of different kinds, {told[0][0]} and {told[-1][0]}; save them one by one")
        bands = len(page.getbands()) * (4 if page.mode in ("I", "F") else 2 if page.mode.startswith("I;16") else 1)
        total += page.width * page.height
        if total > max_pixels and total * bands > BOMB * size:
            raise ValueError(f"its {number + 1} page(s) of up to {page.width} x {page.height} pixels in {size} bytes "
                             f"look like a decompression bomb; allow more by max_pixels={total}")
        memory.require(8 * total * bands, f"an image of {total} pixels", "cut it, or make it smaller")
        pages.append(_page(page, palette))
        if pages[-1].shape != pages[0].shape:
            raise ValueError(f"it has pages of different sizes: {pages[0].shape[:2]} and {pages[-1].shape[:2]} (and "
                             f"{pages[0].shape[2]} and {pages[-1].shape[2]} channels); save them one by one")
    mode, largest, shrink = told[0]
    values = np.stack(pages)
    if shrink > 1:
        values = values // np.array(shrink, values.dtype)
    indexed = palette and mode in ("P", "PA")
    kind = "palette" if indexed else "grey" if values.shape[-1] < 3 else "colour"
    return Pixels(values, kind, values.shape[-1] in (2, 4), image.format in LOSSY, largest)


def _pages(image: Any) -> Iterator[Any]:
    """The pages of an image. A photograph's second picture (MPO) is a preview or a depth map and no page."""
    count = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    _refuse_hidden_pages(image, count)
    for number in range(count):
        if number or count > 1:
            image.seek(number)
        yield image


def _page(page: Any, palette: bool) -> np.ndarray:
    """One page as (H, W, C) of its own dtype."""
    operations = extra("PIL.ImageOps", "image")
    turned = operations.exif_transpose(page)
    if turned.mode == "PA" and palette:
        return np.asarray(turned)                                            # index and alpha
    if turned.mode in ("P", "PA") and not palette:
        turned = turned.convert("RGBA" if turned.mode == "PA" or "transparency" in turned.info else "RGB")
    elif turned.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        turned = turned.convert("RGB")
    elif turned.mode == "La":
        turned = turned.convert("LA")
    elif turned.mode == "RGBa":
        turned = turned.convert("RGBA")
    elif turned.mode == "RGBX":
        turned = turned.convert("RGB")
    values = np.asarray(turned)
    values = values.astype(values.dtype.newbyteorder("=")) if not values.dtype.isnative else values
    return values[..., None] if values.ndim == 2 else values


def _told(image: Any, path: Path) -> tuple[str, int | None, int]:
    """The mode of a page, its largest value where the file says one, and what small grey values were multiplied by.

    Raises ValueError where Pillow would change values.
    """
    if image.format == "PNG":
        depth, colours, significant = _png_depth(path)
        if depth == 16 and colours != 0:
            raise ValueError("it has 16 bits a channel and several channels, of which 8 would be lost; save the "
                             "channels one by one, or as .npy")
        if colours == 0 and depth in (2, 4):
            return image.mode, 2**depth - 1, 255 // (2**depth - 1)
        return image.mode, 2**significant - 1 if colours == 0 and 0 < significant < depth else None, 1
    if image.format == "TIFF":
        return _tiff_depth(image)
    return image.mode, None, 1


def _tiff_depth(image: Any) -> tuple[str, int | None, int]:
    tags = image.tag_v2
    bits, samples = tags.get(BITS, (1,)), int(tags.get(SAMPLES, 1))
    depth = int(bits[0]) if isinstance(bits, tuple) else int(bits)
    if depth > 8 and samples > 1:
        raise ValueError(f"it has {depth} bits a channel and {samples} channels, of which Pillow would lose bits; save "
                         "the channels one by one, or as .npy")
    if tags.get(PHOTOMETRIC, 1) == 0 and depth > 1:
        raise ValueError("its 0 is white (photometric interpretation 0), so that its numbers are inverted; save it "
                         "with 0 for black, or as .npy")
    told = tags.get(LARGEST)
    largest = told[0] if isinstance(told, tuple) and told else told
    largest = largest if isinstance(largest, int) and 0 < largest < 2**depth else None
    if image.mode == "L" and depth in (2, 4):
        return image.mode, 2**depth - 1, 255 // (2**depth - 1)
    return image.mode, largest, 1


def _refuse_hidden_pages(image: Any, count: int) -> None:
    """ImageJ and tifffile write stacks as one page with the rest behind it, and say so in its description."""
    if image.format != "TIFF":
        return
    told = image.tag_v2.get(DESCRIPTION, "")
    told = told if isinstance(told, str) else ""
    found = re.search(r"^images=(\d{1,9})\s*$", told, re.MULTILINE) if told.startswith("ImageJ=") else None
    pages = int(found[1]) if found else 1
    if told.startswith('{"shape":'):
        try:
            shape = json.loads(told)["shape"]
            pages = int(np.prod([int(extent) for extent in shape], dtype=float) /
                        (image.width * image.height * len(image.getbands())))
        except (ValueError, TypeError, KeyError, OverflowError):
            pages = 1
    if pages > count:
        raise ValueError(f"its description speaks of {pages} pages, and {count} can be read; save it as a plain "
                         "multi-page TIFF")


def _png_depth(path: Path) -> tuple[int, int, int]:
    """Bits a channel, colour type, and significant bits (chunk sBIT, 0 without) of a PNG."""
    with path.open("rb") as file:
        head = file.read(33)
        depth, colours, significant = head[24], head[25], 0
        for _ in range(64):                                                  # the chunks before the pixels
            start = file.read(8)
            if len(start) < 8 or start[4:] in (b"IDAT", b"IEND", b"PLTE"):
                break
            length = struct.unpack(">I", start[:4])[0]
            if start[4:] == b"sBIT" and 1 <= length <= 4:
                significant = file.read(1)[0]
                break
            file.seek(length + 4, os.SEEK_CUR)
    return depth, colours, significant

"""The pixels of an image file exactly as they are stored: numbers of any depth, indices of a palette, all pages.

Pillow decodes; around it stands what it would do without a word: lose the low byte of 16-bit colours, spread grey
values of 2 and 4 bits, invert TIFFs whose 0 is white, read one page of an ImageJ stack, decode a bomb.
"""

from __future__ import annotations

import json
import logging
import os
import re
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from npunet import memory
from npunet.data.wide_tiff import read_wide_tiff
from npunet.extras import extra
from npunet.reading import reading
from npunet.values import count

logging.getLogger("PIL").addHandler(logging.NullHandler())  # what it logs of damage is raised as well
SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp")
PNG = b"\x89PNG\r\n\x1a\n"
LOSSY = frozenset(("JPEG", "MPO", "JPEG2000", "WEBP", "AVIF", "jpeg", "tiff_jpeg", "webp"))  # formats, and TIFF's own
WAY_OUT = "save it as a plain PNG or TIFF, or as .npy"
MOST_PIXELS = 89_478_485  # Pillow's own bound: a quarter of 2^30 bytes at three bytes a pixel
BOMB = 100  # times its size that a file of more than MOST_PIXELS may hold in pixels' bytes
BITS, SAMPLES, PHOTOMETRIC, DESCRIPTION, SOFTWARE = 258, 277, 262, 270, 305  # tags of TIFF
SAMPLE_FORMAT, LARGEST, UNSIGNED, SIGNED = 339, 281, 1, 2


@dataclass(frozen=True)
class Depth:
    """What a file says of its numbers, beside them.

    mode       : Pillow's name for them
    largest    : the largest value that a pixel can have, where the file says so
    spread     : what Pillow multiplied grey values of few bits by
    dtype      : what the numbers are, where Pillow takes unsigned for signed or the reverse
    zero_white : whether 0 is white (TIFF): "" for no, "stored" where the numbers are those of the file, "shown" where
                 Pillow turned them round, "array" where the program that wrote the file did not mean white by it
    """

    mode: str
    largest: int | None = None
    spread: int = 1
    dtype: str = ""
    zero_white: str = ""


@dataclass(frozen=True)
class Pixels:
    """The pages of a file.

    values : (pages, H, W, C); C is 1, or 2 to 4 with colours or alpha; the index where the file has a palette
    alpha  : whether the last channel is alpha
    lossy  : whether values were changed by compression
    depth  : what the file says of its numbers
    passed : pictures of the file that are no pages and were not read
    """

    values: np.ndarray
    alpha: bool
    lossy: bool
    depth: Depth
    passed: int = 0


def read_pixels(path: str | os.PathLike[str], *, palette: bool = False, max_pixels: int = MOST_PIXELS) -> Pixels:
    """Read all pages of an image file, turned as its EXIF orientation says.

    palette    : True to keep the indices of a palette; False for its colours
    max_pixels : files that hold more, and far more than their size, are taken for bombs

    Raises FileNotFoundError, ValueError for what is no image, is too large or would lose something, MissingExtra.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    count("max_pixels", max_pixels)
    pillow = extra("PIL.Image", "image")
    with reading(path, "cannot be read as an image", WAY_OUT), warnings.catch_warnings():
        warnings.simplefilter("ignore")                                      # Pillow's own, of damaged metadata
        try:
            # as a stream: Pillow maps a TIFF by name into memory, rows and columns exchanged where it lies on its side
            with path.open("rb") as file, pillow.open(file) as image:
                found = _read(image, path, palette, max_pixels)
        except pillow.DecompressionBombError as error:
            raise ValueError(f"{error} (PIL.Image.MAX_IMAGE_PIXELS)") from None
        except extra("PIL", "image").UnidentifiedImageError:
            if (values := read_wide_tiff(path)) is None:
                raise ValueError("it is no image, or of a kind that Pillow does not read") from None
            found = Pixels(values, False, False, Depth(values.dtype.name))
    if found.passed:
        warnings.warn(f"{path}: the first of its {found.passed + 1} pictures is read; the others of such a photograph "
                      "(MPO) are previews, other views or depths", UserWarning, stacklevel=3)
    return found


def _read(image: Any, path: Path, palette: bool, max_pixels: int) -> Pixels:
    size, total = path.stat().st_size, 0
    pages: list[np.ndarray] = []
    depths: list[Depth] = []
    first = _png_depth(image, path) if image.format == "PNG" else Depth(image.mode)
    for number, page in enumerate(_pages(image)):
        depths.append(_tiff_depth(page) if image.format == "TIFF" else replace(first, mode=page.mode))
        if depths[-1] != depths[0]:
            raise ValueError(f"its pages are of different kinds, {depths[0].mode} and {depths[-1].mode}; save them one "
                             "by one")
        width = len(page.getbands()) * (4 if page.mode in ("I", "F") else 2 if page.mode.startswith("I;16") else 1)
        total += page.width * page.height
        if total > max_pixels and total * width > BOMB * size:
            raise ValueError(f"its {number + 1} page(s) of up to {page.width} x {page.height} pixels in {size} bytes "
                             f"look like a decompression bomb; allow more by max_pixels={total}")
        memory.require(8 * total * width, f"an image of {total} pixels", "cut it, or make it smaller")
        pages.append(_page(page, palette))
        if pages[-1].shape != pages[0].shape:
            raise ValueError(f"it has pages of different sizes: {pages[0].shape[:2]} and {pages[-1].shape[:2]} (and "
                             f"{pages[0].shape[2]} and {pages[-1].shape[2]} channels); save them one by one")
    values, depth = np.stack(pages), depths[0]
    if depth.spread > 1:
        values = values // np.array(depth.spread, values.dtype)
    if depth.dtype:
        values = values.view(depth.dtype)
    lossy = image.format in LOSSY or image.info.get("compression") in LOSSY
    passed = getattr(image, "n_frames", 1) - 1 if image.format == "MPO" else 0
    return Pixels(values, values.shape[-1] in (2, 4), lossy, depth, passed)


def _pages(image: Any) -> Iterator[Any]:
    """The pages of an image. A photograph's second picture (MPO) is a preview or a depth map and no page."""
    pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    _refuse_hidden_pages(image, pages)
    for number in range(pages):
        if number or pages > 1:
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


def _png_depth(image: Any, path: Path) -> Depth:
    """What a PNG says of its numbers, once all its checksums fit: Pillow passes over those of EXIF and others.

    Raises ValueError where a chunk is damaged, or where Pillow would lose numbers.
    """
    depth, colours, significant = 0, 0, 0
    with path.open("rb") as file:
        file.seek(len(PNG))
        while True:
            start = file.read(8)
            length, kind = struct.unpack(">I4s", start) if len(start) == 8 else (0, b"")
            content = file.read(min(length, path.stat().st_size))
            if len(content) != length or file.read(4) != struct.pack(">I", zlib.crc32(kind + content)):
                raise ValueError(f"its part {kind.decode('latin-1')!r} is damaged: its checksum does not fit")
            if kind == b"IHDR":
                depth, colours = content[8], content[9]
            elif kind == b"sBIT" and content:
                significant = content[0]
            elif kind == b"IEND":
                break
    if depth == 16 and colours != 0:
        raise ValueError("it has 16 bits a channel and several channels, of which 8 would be lost; save the channels "
                         "one by one, or as .npy")
    if colours == 0 and depth in (2, 4):
        return Depth(image.mode, 2**depth - 1, 255 // (2**depth - 1))
    return Depth(image.mode, 2**significant - 1 if colours == 0 and 0 < significant < depth else None)


def _tiff_depth(image: Any) -> Depth:
    depth, samples, kind = (_tag(image, number, 1) for number in (BITS, SAMPLES, SAMPLE_FORMAT))
    if depth > 8 and samples > 1:
        raise ValueError(f"it has {depth} bits a channel and {samples} channels, of which Pillow would lose bits; save "
                         "the channels one by one, or as .npy")
    largest = _tag(image, LARGEST, 0)
    spread = 255 // (2**depth - 1) if image.mode == "L" and depth in (2, 4) else 1
    zero_white = ""
    if _tag(image, PHOTOMETRIC, 1) == 0:
        program = image.tag_v2.get(SOFTWARE, "")
        zero_white = "shown" if image.mode in ("1", "L") else "stored"
        zero_white += ", array" if isinstance(program, str) and program.startswith("tifffile") else ""
    return Depth(image.mode, 2**depth - 1 if spread > 1 else largest if 0 < largest < 2**depth else None, spread,
                 "u4" if image.mode == "I" and depth == 32 and kind == UNSIGNED else
                 "i1" if image.mode == "L" and depth == 8 and kind == SIGNED else "", zero_white)


def _tag(image: Any, number: int, default: int) -> int:
    value = image.tag_v2.get(number, default)
    value = value[0] if isinstance(value, tuple) and value else value
    return value if isinstance(value, int) else default


def _refuse_hidden_pages(image: Any, read: int) -> None:
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
    if pages > read:
        raise ValueError(f"its description speaks of {pages} pages, and {read} can be read; save it as a plain "
                         "multi-page TIFF")

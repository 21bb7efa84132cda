"""Label images: a PNG or TIFF whose pixel values are class numbers or object numbers."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np

from npunet.extras import extra
from npunet.files import atomic_write

SUFFIXES = (".png", ".tif", ".tiff")


def write_label_image(path: str | os.PathLike[str], labels: np.ndarray) -> None:
    """Write labels atomically, deflated.

    labels : (B, H, W) of numbers from 0 on; a TIFF has a page for each B, a PNG holds one

    Pixels have 8 bits, or 16 where numbers exceed 255; a TIFF's have 32 where they exceed 65,535.
    Raises ValueError for what the format does not hold, MissingExtra without pillow.
    """
    image = extra("PIL.Image", "image")
    tiff = Path(path).suffix.lower() != ".png"
    largest = int(labels.max(initial=0))
    if not tiff and (len(labels) != 1 or largest > 65535):
        raise ValueError(f"cannot write {path}: a PNG holds one image of numbers up to 65,535, here are {len(labels)} "
                         f"with numbers up to {largest:,}; write a .tif")
    dtype = np.uint8 if largest <= 255 else np.uint16 if largest <= 65535 else np.int32
    pages = [image.fromarray(page.astype(dtype)) for page in labels]
    made = io.BytesIO()                                                      # libtiff prints what a full disk does
    if tiff:
        pages[0].save(made, format="TIFF", save_all=True, append_images=pages[1:], compression="tiff_adobe_deflate")
    else:
        pages[0].save(made, format="PNG")
    with atomic_write(path) as file:
        file.write(made.getbuffer())

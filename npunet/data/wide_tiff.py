"""TIFFs of numbers that Pillow does not read: whole numbers of 64 bits, as NumPy's own are, floats of 16 and 64."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np

from npunet import memory
from npunet.extras import MissingExtra, extra

logging.getLogger("tifffile").addHandler(logging.NullHandler())  # what it logs of damage is raised as well
BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
WIDE = frozenset(("int64", "uint64", "float16", "float64"))
BLACK_IS_ZERO, UPRIGHT = 1, 1
ORIENTATION = 274  # tag of TIFF


def read_wide_tiff(path: Path) -> np.ndarray | None:
    """The pages (pages, H, W, 1) of a TIFF of one number a pixel that Pillow does not read; None for another file.

    Raises ValueError for pages that are not alike or not plain, and without the package tifffile, which decodes.
    """
    with path.open("rb") as file:
        if file.read(4) not in BEGINNINGS:
            return None
    try:
        tifffile = extra("tifffile", "image")
    except MissingExtra as missing:
        raise ValueError(f"it is a TIFF of a kind that Pillow does not read, such as of 64 bits: {missing}") from None
    try:
        with tifffile.TiffFile(path) as tiff:
            pages = list(tiff.pages)
            first = pages[0]
            kinds = {(page.shape, str(page.dtype)) for page in pages}
            if len(kinds) > 1 or sum(series.size for series in tiff.series) != len(pages) * first.size:
                raise ValueError(f"its {len(pages)} pages are not alike, or not all there; save them one by one")
            if len(first.shape) != 2 or first.dtype is None or first.dtype.name not in WIDE:
                raise ValueError(f"it is a TIFF of shape {first.shape} and dtype {first.dtype}, which Pillow does not "
                                 "read")
            turned = first.tags.valueof(ORIENTATION, UPRIGHT)
            if first.photometric != BLACK_IS_ZERO or turned != UPRIGHT:
                raise ValueError("its 0 is not black, or it is turned; save it plainly")
            memory.require(2 * first.nbytes * len(pages), f"an image of {len(pages)} pages of {first.shape}",
                           "cut it, or make it smaller")
            return np.stack([page.asarray() for page in pages])[..., None]
    except tifffile.TiffFileError as error:
        raise ValueError(str(error) or "it is no TIFF") from None

"""A TIFF that is larger than memory, read block by block: memory-mapped where it can be, else tile by tile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from npunet.damage import told
from npunet.distributed.remote import is_address
from npunet.extras import extra
from npunet.reading import FAULTS

SUFFIXES = (".tif", ".tiff", ".btf", ".tf8", ".svs", ".ndpi", ".scn")
DAMAGE = tuple(kind for kind in FAULTS if not issubclass(kind, (OSError, MemoryError, ValueError, Warning)))
SAMPLES = "S"  # tifffile's name of the axis of colours


@dataclass(frozen=True)
class TiffReader:
    """A level of a TIFF's first series; a process opens the file for each part that it reads.

    source : a file, or an address that fsspec knows
    level  : of the pyramid, 0 for the largest
    axes   : by name, "c" for channels and colours
    chunks : of its tiles or strips, which are read whole; None where it is memory-mapped
    """

    source: str
    level: int
    shape: tuple[int, ...]
    dtype: np.dtype
    axes: tuple[str, ...]
    chunks: tuple[int, ...] | None

    def __getitem__(self, part: tuple[slice, ...]) -> np.ndarray:
        if self.chunks is None:
            with decoding(self.source):
                return np.asarray(extra("tifffile", "distributed").memmap(self.source, mode="r", series=0,
                                                                          level=self.level)[part])
        with _series(self.source) as series, decoding(self.source):
            return np.asarray(extra("zarr", "distributed").open(series.aszarr(level=self.level), mode="r")[part])


def opened(source: str, level: int = 0) -> TiffReader:
    """A TIFF's first series. Raises FileNotFoundError, ValueError for what is no TIFF or has no such level."""
    with _series(source) as series:
        if not 0 <= level < len(series.levels):
            raise ValueError(f"{source} has {len(series.levels)} level{'s' if len(series.levels) > 1 else ''}, counted "
                             f"from 0; --level {level} is none of them")
        chosen = series.levels[level]
        axes = tuple("c" if name == SAMPLES else name.lower() for name in chosen.axes)
        if chosen.dtype.kind not in "uifb":
            raise ValueError(f"{source} has pixels of type {chosen.dtype}; they must be real numbers")
        tile = chosen.keyframe.chunks
        mapped = not is_address(source) and chosen.dataoffset is not None and chosen.dtype.isnative
        chunks = None if mapped else (1,) * (len(chosen.shape) - len(tile)) + tuple(tile)
        return TiffReader(source, level, tuple(chosen.shape), chosen.dtype, axes, chunks)


@contextmanager
def _series(source: str) -> Iterator[Any]:
    tifffile = extra("tifffile", "distributed")
    try:
        if is_address(source):
            with extra("fsspec", "distributed").open(source, "rb") as file, tifffile.TiffFile(file) as tiff:
                yield _first(source, tiff)
        else:
            with tifffile.TiffFile(source) as tiff:
                yield _first(source, tiff)
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {source}") from None
    except tifffile.TiffFileError as error:
        raise ValueError(f"{source} is no TIFF that can be read: {error}") from None


def _first(source: str, tiff: Any) -> Any:
    if not tiff.series:
        raise ValueError(f"{source} is a TIFF without an image")
    return tiff.series[0]


@contextmanager
def decoding(source: str) -> Iterator[None]:
    """Say which package a compression needs, and of what array a chunk is damaged, whatever its decoder raises."""
    try:
        yield
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        raise ValueError(f"{source} is compressed: {error}; pip install imagecodecs") from None
    except DAMAGE as error:
        raise ValueError(f"{source} is damaged here: {told(error)}; take a whole copy of it") from None

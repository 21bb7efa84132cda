"""Arrays that are larger than memory, read block by block by any process: zarr, OME-Zarr, TIFF, .npy."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from npunet.distributed import ome, tiff
from npunet.distributed.remote import is_address
from npunet.extras import extra
from npunet.reading import reading

ZARR, NPY = ".zarr", ".npy"


class Reader(Protocol):
    """What reads a part of an array; it is sent to workers, which open the file themselves."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype: ...

    def __getitem__(self, part: tuple[slice, ...]) -> np.ndarray: ...


@dataclass(frozen=True)
class Source:
    """An array in a file or at an address.

    source      : as the user names it
    reader      : of its parts
    chunks      : in which it is stored, each read whole; None where any part is read by itself
    axes        : by name; None for an array that a network takes as it is
    image       : what OME-Zarr says of it, or None
    zarr_format : 2 or 3; of the result too
    files       : what its content is, for a fingerprint
    """

    source: str
    reader: Reader
    chunks: tuple[int, ...] | None
    axes: tuple[str, ...] | None = None
    image: ome.Image | None = None
    zarr_format: int = 3
    files: str = ""


@dataclass(frozen=True)
class ZarrReader:
    """A zarr array at a path or an address."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, part: tuple[slice, ...]) -> np.ndarray:
        with tiff.decoding(self.path):
            return np.asarray(extra("zarr", "distributed").open_array(self.path, mode="r")[part])


@dataclass(frozen=True)
class NpyReader:
    """A .npy file, memory-mapped."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype

    def __getitem__(self, part: tuple[slice, ...]) -> np.ndarray:
        with tiff.decoding(self.path):
            return np.asarray(np.load(self.path, mmap_mode="r", allow_pickle=False)[part])


def is_zarr(source: str) -> bool:
    """Whether a source is a zarr array, or one in a group, by its name."""
    return any(part.lower().endswith(ZARR) for part in source.rstrip("/").split("/"))


def is_array(source: str) -> bool:
    """Whether a source is an array that can be read block by block, by its name."""
    return is_zarr(source) or Path(source).suffix.lower() in (NPY, *tiff.SUFFIXES)


def opened(source: str | os.PathLike[str], level: int | None = None) -> Source:
    """An array that is read block by block.

    source : a zarr array, a group with an OME-Zarr image, a TIFF or a .npy, as a path or an address
    level  : of the pyramid of an OME-Zarr image or a TIFF, 0 (the default) for the largest

    Raises FileNotFoundError, ValueError for what is no array or has no such level, MissingExtra.
    """
    source = os.fspath(source)
    if not is_address(source) and not Path(source).exists():
        raise FileNotFoundError(f"no such file: {source}")
    suffix = Path(source).suffix.lower()
    if suffix in tiff.SUFFIXES:
        read = tiff.opened(source, level or 0)
        return Source(source, read, read.chunks, read.axes, files=source)
    if suffix == NPY:
        if level is not None or is_address(source):
            raise ValueError(f"{source}: a .npy is one array in a local file" + ("" if level is None else
                                                                                  "; leave --level out"))
        with reading(source):
            mapped = np.load(source, mmap_mode="r", allow_pickle=False)
        return Source(source, NpyReader(source, mapped.shape, mapped.dtype), None, files=source)
    return _zarr(source.rstrip("/"), level)


def _zarr(source: str, level: int | None) -> Source:
    zarr = extra("zarr", "distributed")
    node = _node(source)
    if not isinstance(node, zarr.Array):
        image = ome.image(node.attrs.asdict(), source, level or 0)
        if image is None:
            raise ValueError(_unchosen(source, node))
        made = _array(f"{source}/{image.path}", _node(f"{source}/{image.path}"))
        return replace(made, source=source, image=_fitting(image, made), axes=image.names)
    made = _array(source, node)
    if level is not None:
        raise ValueError(f"{source} is one array, without levels; leave --level out, or name the group")
    parent, _, name = source.rpartition("/")
    image = None
    if is_zarr(parent):
        try:
            group = _node(parent)
        except (ValueError, OSError):
            group = None
        image = None if group is None else ome.image(group.attrs.asdict(), parent, path=name)
    return made if image is None else replace(made, image=_fitting(image, made), axes=image.names)


def _node(path: str) -> Any:
    zarr = extra("zarr", "distributed")
    try:
        return zarr.open(path, mode="r")
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"{path} is no zarr array that can be read: {str(error) or type(error).__name__}") from None
    except ImportError as error:
        raise ValueError(f"{path}: {error}") from None


def _array(path: str, node: Any) -> Source:
    zarr = extra("zarr", "distributed")
    if not isinstance(node, zarr.Array):
        raise ValueError(f"{path} is a group, and its OME-Zarr metadata call it an array")
    return Source(path, ZarrReader(path, tuple(node.shape), np.dtype(node.dtype)), tuple(node.chunks),
                  zarr_format=node.metadata.zarr_format, files=path)


def _fitting(image: ome.Image, array: Source) -> ome.Image:
    if len(image.axes) != len(array.reader.shape):
        raise ValueError(f"{array.source} has shape {array.reader.shape}, and its OME-Zarr metadata name "
                         f"{len(image.axes)} axes")
    return image


def _unchosen(source: str, group: Any) -> str:
    """What to name in a group that is no image itself."""
    try:
        arrays, groups = sorted(group.array_keys()), sorted(group.group_keys())
    except (NotImplementedError, OSError):                                   # a server that lists nothing
        arrays, groups = [], []
    names = arrays or [name for name in groups if name not in ("OME", "labels")]
    kind = "zarr arrays" if arrays or not groups else "groups"
    return (f"{source} is a group of {kind}; name one of {', '.join(names[:12]) or 'none'} in it, such as "
            f"{source}/{names[0] if names else '0'}")

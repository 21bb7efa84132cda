"""The zarr arrays that blocks are written into: made before, checked, and put in their place when they are whole."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from npunet import __version__
from npunet.distributed import ome
from npunet.distributed.arrays import Source
from npunet.distributed.layout import Layout
from npunet.distributed.remote import is_address
from npunet.extras import extra
from npunet.files import replace_folder

LABELS = "labels"  # the group of an OME-Zarr image in which its labels lie
OURS = "npunet"  # the attribute that says what a result is made of


def checked_target(target: str | os.PathLike[str]) -> Path:
    """A result's path. Raises ValueError for an address, FileNotFoundError without its folder."""
    if is_address(os.fspath(target)):
        raise ValueError(f"{target}: results are written to a local or shared folder; copy them from there")
    path = Path(target).resolve()
    if not path.parent.is_dir() and not _in_image(path):
        raise FileNotFoundError(f"cannot write {path}: the folder {path.parent} does not exist")
    return path


def _in_image(target: Path) -> bool:
    """Whether a result is to be one of the labels of an OME-Zarr image."""
    folder = target.parent
    return folder.name == LABELS and (folder.parent / "zarr.json").is_file() | (folder.parent / ".zattrs").is_file()


def created(made: Path, source: Source, layout: Layout, block: tuple[int, ...], dtype: np.dtype, mark: str | None,
            target: Path, class_names: Sequence[str] | None) -> str:
    """The zarr array that blocks write, as a path; one that an earlier run left there stays.

    made : the folder that will become the target: the array itself, or the group of an OME-Zarr image
    """
    zarr = extra("zarr", "distributed")
    labels = layout.classes == 0
    own = {OURS: {"version": __version__, "made_of": mark}}
    path = made if source.image is None else made / "0"
    if (made / ABOUT_ARRAY[source.zarr_format]).is_file() or (path / ABOUT_ARRAY[source.zarr_format]).is_file():
        return str(path)
    if source.image is not None:
        axes, steps = list(source.image.axes), list(source.image.transformations)
        if len(layout.order) > len(axes):
            axes, steps = ome.with_axis(source.image, layout.order.index(len(layout.order) - 1),
                                        {"name": "c", "type": ome.CHANNEL})
        label = ome.label_of(class_names or [], _in_image(target)) if labels else None
        told = ome.attributes_of(target.name, axes, steps, source.zarr_format, label)
        zarr.create_group(str(made), zarr_format=source.zarr_format, attributes={**told, **own})
    names = None if source.image is None or source.zarr_format == 2 else [str(axis["name"]) for axis in axes]
    zarr.create_array(str(path), shape=layout.result, chunks=layout.of_result((1,) * len(layout.batch), block),
                      dtype=dtype, zarr_format=source.zarr_format, attributes=own if source.image is None else None,
                      dimension_names=names)
    return str(path)


ABOUT_ARRAY = {2: ".zarray", 3: "zarr.json"}


def write_part(path: str, region: tuple[slice, ...], values: np.ndarray) -> None:
    """Write one chunk of an array."""
    extra("zarr", "distributed").open_array(path, mode="r+")[region] = values


def mark_of(target: Path) -> str | None:
    """What a result says that it is made of; None for anything else."""
    zarr = extra("zarr", "distributed")
    try:
        told: Any = zarr.open(str(target), mode="r").attrs.get(OURS)
    except (ValueError, KeyError, OSError):
        return None
    return told.get("made_of") if isinstance(told, dict) else None


def finished(made: Path, target: Path) -> None:
    """Put a result in its place, and list it where it is one of an OME-Zarr image's labels."""
    beside = _in_image(target)
    target.parent.mkdir(exist_ok=True)
    replace_folder(made, target)
    if beside:
        _listed(target)


def _listed(target: Path) -> None:
    zarr = extra("zarr", "distributed")
    version = 3 if (target.parent.parent / "zarr.json").is_file() else 2
    group = zarr.open_group(str(target.parent), mode="a", zarr_format=version)
    told = dict(group.attrs.get("ome", {})) if version == 3 else group.attrs.asdict()
    names = [*(name for name in told.get(LABELS, []) if name != target.name), target.name]
    if version == 3:
        group.attrs["ome"] = {"version": ome.VERSIONS[3], **told, LABELS: names}
    else:
        group.attrs[LABELS] = names

"""OME-Zarr: an image as a pyramid of zarr arrays whose axes have names, and labels written the same way.

Source: Moore et al. 2021, Nature Methods 18, 1496; NGFF 0.4 (https://ngff.openmicroscopy.org/0.4), whose metadata stand
in the group's own attributes and whose arrays are zarr of version 2, and 0.5, under "ome" and of version 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

BEFORE_AXES = ("t", "c", "z", "y", "x")  # of images of NGFF 0.1 and 0.2
SPACE, CHANNEL, TIME = "space", "channel", "time"
KINDS = {"t": TIME, "c": CHANNEL}  # of axes that have no type; every other is space
VERSIONS = {2: "0.4", 3: "0.5"}  # what is written beside an image, by its zarr format


@dataclass(frozen=True)
class Image:
    """What an OME-Zarr image says of one of its levels.

    level, path     : which of the pyramid, and the array's name in the group
    axes            : {"name", "type", and "unit" where it has one}, one an axis
    transformations : from its indices to physical places, NGFF's own
    """

    level: int
    path: str
    axes: tuple[Mapping[str, Any], ...]
    transformations: tuple[Mapping[str, Any], ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The axes' names."""
        return tuple(str(axis["name"]) for axis in self.axes)


def image(attributes: Mapping[str, Any], source: str, level: int = 0, path: str | None = None) -> Image | None:
    """A level of the image whose group has these attributes; None where it is no image.

    level : counted from 0, the largest
    path  : of the array in the group, in place of a level; None is returned where no level has it

    Raises ValueError for metadata that are none, and for a level that is not there.
    """
    known = attributes.get("ome", attributes)
    several = known.get("multiscales") if isinstance(known, Mapping) else None
    if not several:
        return None
    try:
        first = several[0]
        datasets = first["datasets"]
        paths = [str(dataset["path"]) for dataset in datasets]
        axes = tuple(map(_axis, first.get("axes", BEFORE_AXES)))
    except (KeyError, TypeError, IndexError, AttributeError) as error:
        told = f"{type(error).__name__} {error}"
        raise ValueError(f"{source} has OME-Zarr metadata that cannot be read: {told}") from None
    if path is not None:
        if path not in paths:
            return None
        level = paths.index(path)
    if not 0 <= level < len(paths):
        raise ValueError(f"{source} has {len(paths)} levels, counted from 0; --level {level} is none of them")
    transformations = (*(datasets[level].get("coordinateTransformations") or ()),
                       *(first.get("coordinateTransformations") or ()))
    return Image(level, paths[level], axes, tuple(transformations))


def _axis(axis: str | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(axis, str):                                                # NGFF 0.3
        return {"name": axis, "type": KINDS.get(axis, SPACE)}
    return {"type": KINDS.get(axis["name"], SPACE), **axis}


def attributes_of(name: str, axes: Sequence[Mapping[str, Any]], transformations: Sequence[Mapping[str, Any]],
                  zarr_format: int, label: Mapping[str, Any] | None) -> dict[str, Any]:
    """The attributes of a group that holds one level, the array "0".

    label : the "image-label" of an image of labels, None for another image
    """
    version = VERSIONS[zarr_format]
    scale = [step for step in transformations if step.get("type") in ("scale", "translation")] or \
        [{"type": "scale", "scale": [1.0] * len(axes)}]
    whole: dict[str, Any] = {"name": name, "axes": [dict(axis) for axis in axes],
                             "datasets": [{"path": "0", "coordinateTransformations": _merged(scale, len(axes))}]}
    told: dict[str, Any] = {"multiscales": [whole]}
    if label is not None:
        told["image-label"] = dict(label)
    if zarr_format == 3:
        return {"ome": {"version": version, **told}}
    whole["version"] = version
    if label is not None:
        told["image-label"]["version"] = version
    return told


def _merged(steps: Sequence[Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """Scales and translations, done one after the other, as the one scale and the one translation that NGFF allows."""
    scale, shift = [1.0] * count, [0.0] * count
    for step in steps:
        values = [float(value) for value in step.get(step["type"], [])]
        if len(values) != count:
            raise ValueError(f"an OME-Zarr {step['type']} of {len(values)} numbers does not fit {count} axes")
        if step["type"] == "scale":
            scale = [own * value for own, value in zip(scale, values, strict=True)]
            shift = [own * value for own, value in zip(shift, values, strict=True)]
        else:
            shift = [own + value for own, value in zip(shift, values, strict=True)]
    made: list[dict[str, Any]] = [{"type": "scale", "scale": scale}]
    return [*made, {"type": "translation", "translation": shift}] if any(shift) else made


def with_axis(image: Image, place: int, axis: Mapping[str, Any]) -> tuple[list[Mapping[str, Any]],
                                                                          list[Mapping[str, Any]]]:
    """Axes and transformations with one more axis, which is not scaled."""
    axes = [*image.axes[:place], axis, *image.axes[place:]]
    steps = []
    for step in image.transformations:
        values = step.get(step.get("type", ""))
        if isinstance(values, list):
            values = [*values[:place], 1.0 if step["type"] == "scale" else 0.0, *values[place:]]
            step = {**step, step["type"]: values}
        steps.append(step)
    return axes, steps


def label_of(class_names: Sequence[str], beside: bool) -> dict[str, Any]:
    """The "image-label" of classes, of which 0 is the background.

    beside : whether the labels lie in the group "labels" of their image
    """
    told: dict[str, Any] = {"properties": [{"label-value": number, "class": name}
                                           for number, name in enumerate(class_names)]}
    return {**told, "source": {"image": "../../"}} if beside else told

"""What stands in the file of a mask: its numbers, wherever they hide, before anybody asks what they mean."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from npunet.data.pixels import MOST_PIXELS, Depth, read_pixels
from npunet.reading import read_npy

CHANNELS = ("red", "green", "blue", "alpha", "grey")
IGNORE = 255  # label of pixels that nobody looked at
Colours = Any  # {(red, green, blue): class}, {class: (red, green, blue)}, or the colours of class 0, 1, ...


def raw_mask(path: str | os.PathLike[str], *, colours: Colours | None = None, channel: str | None = None,
             as_shown: bool | None = None, max_pixels: int = MOST_PIXELS) -> tuple[np.ndarray, bool]:
    """The numbers of a mask (H, W) as they are stored, of any dtype, and whether compression has changed them.

    With `colours`, the classes of its colours.
    """
    lossy = False
    if Path(path).suffix.lower() == ".npy":
        values = _plane(read_npy(path))
        alpha = values.ndim == 3 and values.shape[-1] in (2, 4)
    else:
        pixels = read_pixels(path, palette=colours is None, max_pixels=max_pixels)
        if len(pixels.values) > 1:
            raise ValueError(f"it has {len(pixels.values)} pages; a mask has one: save the page that is meant")
        values, alpha, lossy = pixels.values[0], pixels.alpha, pixels.lossy
        if pixels.depth.zero_white:
            values = _of_zero_white(values, pixels.depth, as_shown)
    if values.size == 0:
        raise ValueError(f"it has no pixels: its shape is {values.shape}")
    if colours is not None:
        return _of_colours(values, colours), lossy
    return values if values.ndim == 2 else _one_channel(values, alpha, channel), lossy


def _plane(array: np.ndarray) -> np.ndarray:
    """A .npy array as (H, W) or (H, W, 2 to 4)."""
    if array.dtype.kind not in "fiub":
        raise ValueError(f"it has dtype {array.dtype}; a mask holds numbers")
    if array.ndim == 3 and 1 in (array.shape[0], array.shape[-1]):
        array = array.reshape(array.shape[:2] if array.shape[-1] == 1 else array.shape[1:])
    if array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in (2, 3, 4) and array.dtype == np.uint8):
        return array
    raise ValueError(f"it has shape {array.shape}; a mask has (H, W), and one number a class becomes that by "
                     "argmax(-1)")


def _one_channel(values: np.ndarray, alpha: bool, channel: str | None) -> np.ndarray:
    """The channel (H, W) of (H, W, C) that holds the mask: the only one, or the only one that says anything."""
    if values.shape[-1] == 1:
        return values[..., 0]
    names = {2: ("grey", "alpha"), 3: CHANNELS[:3], 4: CHANNELS[:4]}[values.shape[-1]]
    if channel is not None:
        if channel not in names:
            raise ValueError(f"it has no channel {channel!r}; it has {', '.join(names)}")
        return values[..., names.index(channel)]
    colours = values[..., :-1] if alpha else values
    grey = bool((colours == colours[..., :1]).all())
    if alpha:
        opacity, plain = values[..., -1], bool((colours == colours[:1, :1]).all())
        if plain and opacity.min() != opacity.max():
            return opacity                                                   # the mask is the alpha channel alone
        if opacity.min() != opacity.max() and not (grey and ((opacity > 0) == (colours[..., 0] > 0)).all()):
            raise ValueError("both its colours and its alpha channel vary; say by channel= which holds the mask "
                             "('red', 'alpha'), or give colours=")
    if not grey:
        shown = np.unique(colours.reshape(-1, colours.shape[-1])[:: max(1, colours[..., 0].size // 10_000)], axis=0)
        told = ", ".join(str(tuple(each.tolist())) for each in shown[:8]) + (", ..." if len(shown) > 8 else "")
        raise ValueError(f"it is painted in colours: {told}; say what they are by colours={{(red, green, blue): "
                         "class}, or which channel holds the mask by channel=")
    return colours[..., 0]


def _of_zero_white(values: np.ndarray, depth: Depth, as_shown: bool | None) -> np.ndarray:
    """Numbers of a TIFF whose 0 is white, as they are stored or as they are shown."""
    if as_shown is None and "array" not in depth.zero_white:
        raise ValueError("its 0 is white (photometric interpretation 0), so what is 1 in the file is shown black; say "
                         "by as_shown= which of them is the mask")
    if bool(as_shown) == depth.zero_white.startswith("shown"):
        return values
    if values.dtype.kind not in "bu":
        raise ValueError(f"its 0 is white, and {values.dtype} cannot be turned round; save it with 0 for black")
    return ~values if depth.largest is None else depth.largest - values


def _of_colours(values: np.ndarray, colours: Colours) -> np.ndarray:
    """Classes (H, W) of painted pixels (H, W, 1 to 4)."""
    try:
        pairs = list(colours.items() if isinstance(colours, Mapping) else zip(colours, range(IGNORE), strict=False))
        if pairs and all(isinstance(key, (int, np.integer)) for key, _ in pairs):
            pairs = [(colour, label) for label, colour in pairs]             # written the other way round
        table = {(int(red), int(green), int(blue)): int(label) for (red, green, blue), label in pairs}
    except (TypeError, ValueError):
        raise ValueError("colours= must give every class a colour: {(red, green, blue): class}, or the list of "
                         "colours") from None
    values = values[..., None] if values.ndim == 2 else values
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    if values.dtype != np.uint8:
        raise ValueError(f"colours= is for colours of 8 bits, and the file holds {values.dtype}")
    painted = values[..., :3] if values.shape[-1] > 2 else np.repeat(values[..., :1], 3, axis=-1)
    codes = painted[..., 0].astype(np.int32) << 16 | painted[..., 1].astype(np.int32) << 8 | painted[..., 2]
    labels, known = np.zeros(codes.shape, np.int64), np.zeros(codes.shape, bool)
    for (red, green, blue), label in table.items():
        at = codes == (red << 16 | green << 8 | blue)
        labels[at], known = label, known | at
    if not known.all():
        row, column = (int(each) for each in np.argwhere(~known)[0])
        raise ValueError(f"{np.count_nonzero(~known)} pixels have colours that colours= does not give, the first "
                         f"{tuple(painted[row, column].tolist())} in row {row}, column {column}")
    return labels

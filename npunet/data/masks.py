"""Masks: images whose pixels are classes. Labels are no pictures: they are read as they are stored, never scaled."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from npunet.data.pixels import MOST_PIXELS, Depth, read_pixels
from npunet.reading import read_npy, reading

IGNORE = 255  # label of pixels that nobody looked at
JPEG_THRESHOLD, JPEG_GREY, JPEG_SHARE = 128, 64, 0.25  # of 0 and 255, JPEG leaves few values between 64 and 191
CHANNELS = ("red", "green", "blue", "alpha")
WAY_OUT = "see the options of npunet.data.read_mask"
CHANGED = "JPEG changes the numbers of a mask; from 128 on they are taken for foreground: save masks as PNG"
OPTIONS = ("colours", "channel", "threshold", "ignore", "meaning", "as_shown")
CLASSES, BINARY, INSTANCES = "classes", "binary", "instances"  # what the numbers of a mask can be
Colours = Mapping[tuple[int, int, int], int] | Sequence[tuple[int, int, int]]


def read_mask(path: str | os.PathLike[str], num_classes: int, *, colours: Colours | None = None,
              channel: str | None = None, threshold: float | None = None, ignore: int | None = None,
              meaning: str | None = None, as_shown: bool | None = None, max_pixels: int = MOST_PIXELS) -> np.ndarray:
    """Read the class of every pixel: PNG, TIFF, BMP, JPEG and .npy files.

    num_classes : 2 to 255. With two, 0 is the background, and 1, 255 or any instance number the foreground; with more,
                  pixels hold the classes 0, 1, ... themselves. 255 is "ignored" where every other value is a class
    colours     : of masks painted in colours: {(red, green, blue): class}, or the colours of class 0, 1, ...
    channel     : "red", "green", "blue" or "alpha": the one that holds the mask, where several differ
    threshold   : of two classes, the value from which on a pixel is foreground
    ignore      : another value than 255 for ignored pixels, or 255 to say that it is that
    meaning     : "classes", "binary" (0 and one other value) or "instances", where the values leave a choice
    as_shown    : of a TIFF whose 0 is white: True where the mask is white as a viewer shows it, False where it is 1 in
                  the file

    Palettes count by index, not by colour. JPEG changes values, so that of it only masks of 0 and 255 can be read, at
    the threshold 128 and with a warning.

    Returns (H, W) uint8: classes below num_classes, 255 for ignored pixels.
    Raises FileNotFoundError; ValueError that shows the values found where they are no classes.
    """
    _check_options(num_classes, channel, meaning)
    with reading(path, "is a mask that cannot be read", WAY_OUT):
        values, lossy = raw_mask(path, colours=colours, channel=channel, as_shown=as_shown, max_pixels=max_pixels)
        if colours is not None:
            return _checked_classes(values, num_classes)
        if threshold is None and lossy:
            threshold = _jpeg_threshold(values, num_classes)
            warnings.warn(f"{path}: {CHANGED}", UserWarning, stacklevel=2)
        if threshold is not None:
            return _thresholded(values, num_classes, threshold)
        return labels_of(values, num_classes, ignore=ignore, meaning=meaning)


def read_masks(paths: Sequence[Path], num_classes: int, *, colours: Colours | None = None, channel: str | None = None,
               threshold: float | None = None, ignore: int | None = None, meaning: str | None = None,
               as_shown: bool | None = None) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """Read masks that belong together: what their numbers mean is decided by all of them. The options are read_mask's.

    A mask of 0 and 255 alone may be background and foreground, or background and ignored; beside one of 0, 1 and 255 it
    is the latter.

    Returns for each labels (H, W) uint8, and its instance numbers (H, W) where that is what they are.
    Raises as read_mask does.
    """
    _check_options(num_classes, channel, meaning)
    stored: list[tuple[np.ndarray, str | None]] = []                         # numbers, and what is known of them
    lossy = []
    for path in paths:
        with reading(path, "is a mask that cannot be read", WAY_OUT):
            values, changed = raw_mask(path, colours=colours, channel=channel, as_shown=as_shown)
            if colours is not None:
                stored.append((_checked_classes(values, num_classes), CLASSES))
                continue
            lossy += [path] if changed and threshold is None else []
            limit = _jpeg_threshold(values, num_classes) if changed and threshold is None else threshold
            stored.append((_whole(values), meaning) if limit is None else
                          (_thresholded(values, num_classes, limit), CLASSES))
    if lossy:
        warnings.warn(f"{lossy[0]} (and {len(lossy) - 1} more): {CHANGED}", UserWarning, stacklevel=3)
    found = [np.unique(numbers) for numbers, known in stored if known is None]
    with reading(paths[0].parent, "holds masks that cannot be read", WAY_OUT):
        together = meaning_of(np.unique(np.concatenate(found)), num_classes, ignore) if found else CLASSES
    made = []
    for path, (numbers, known) in zip(paths, stored, strict=True):
        with reading(path, "is a mask that cannot be read", WAY_OUT):
            labels = labels_of(numbers, num_classes, ignore=ignore, meaning=known or together)
            made.append((labels, numbers if (known or together) == INSTANCES else None))
    return made


def stacked_labels(numbers: np.ndarray, num_classes: int, names: Sequence[str], *, ignore: int | None = None,
                   meaning: str | None = None) -> tuple[list[np.ndarray], bool]:
    """Classes of a stack of masks (N, H, W), named in errors, and whether their numbers are instances.

    meaning : of the numbers, where it is known; else all masks together decide
    """
    _check_options(num_classes, None, meaning)
    numbers = _whole(numbers)
    meaning = meaning or meaning_of(np.unique(numbers), num_classes, ignore)
    made = []
    for name, each in zip(names, numbers, strict=True):
        try:
            made.append(labels_of(each, num_classes, ignore=ignore, meaning=meaning))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return made, meaning == INSTANCES


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


def labels_of(values: np.ndarray, num_classes: int, *, ignore: int | None = None,
              meaning: str | None = None) -> np.ndarray:
    """Classes of stored numbers, as read_mask has them; any shape."""
    numbers = _whole(values)
    meaning = meaning or meaning_of(np.unique(numbers), num_classes, ignore)
    ignored = numbers == (IGNORE if ignore is None else ignore)
    if meaning == CLASSES:
        return _checked_classes(np.where(ignored, IGNORE, numbers), num_classes)
    labels = (numbers != 0).astype(np.uint8)
    if ignore is not None:
        labels[ignored] = IGNORE
    return labels


def meaning_of(found: np.ndarray, num_classes: int, ignore: int | None = None) -> str:
    """What the numbers of masks are, by all values that occur. Raises ValueError where these do not tell.

    found : sorted whole numbers, each once
    """
    ignored = IGNORE if ignore is None else ignore
    rest = found[found != ignored]
    if num_classes > 2:
        if ignore is None and len(found) == 2 and found[0] == 0 and found[1] == IGNORE:
            warnings.warn(f"a mask of {num_classes} classes holds only 0 and 255; 255 is taken for ignored pixels",
                          UserWarning, stacklevel=3)
        return CLASSES
    if found.size and found[0] < 0 and ignored >= 0:
        raise ValueError(f"it holds negative numbers: {_told(found)}; say by ignore= which value marks ignored pixels")
    if rest.size and rest[-1] <= 1 and (ignore is not None or rest[-1] == 1 or len(rest) == len(found)):
        return CLASSES                                                       # 0, 1 and perhaps 255
    if ignore is not None:
        return INSTANCES if len(rest) > 2 else BINARY
    if len(found) == 2 and found[0] == 0:
        return BINARY                                                        # 0 and 255, 0 and 65535, ...
    if found[0] != 0 and len(found) > 1:
        raise ValueError(f"it has no background 0 among its values {_told(found)}; say what they are by meaning= "
                         "('instances', 'classes'), colours= or threshold=")
    if found[-1] == IGNORE and len(found) == 1:
        raise ValueError("every pixel is 255, which may be foreground or ignored; say it by meaning='binary' or "
                         "ignore=255")
    if found[-1] == IGNORE and len(found) <= IGNORE:
        raise ValueError(f"its values {_told(found)} may be instances, grey values or have 255 for ignored pixels; say "
                         "it by meaning='instances', threshold=128 or ignore=255")
    return INSTANCES


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
    names = {2: ("red", "alpha"), 3: CHANNELS[:3], 4: CHANNELS}[values.shape[-1]]
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
        pairs = colours.items() if isinstance(colours, Mapping) else ((each, n) for n, each in enumerate(colours))
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


def _whole(values: np.ndarray) -> np.ndarray:
    """Stored numbers as integers. Raises ValueError for fractions."""
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.kind in "iu":
        return values
    if not np.isfinite(values).all():
        raise ValueError("it holds NaN or infinite values; a mask holds whole numbers")
    if (values != np.rint(values)).any():
        raise ValueError(f"it holds fractions from {values.min():g} to {values.max():g}, such as "
                         f"{values[values != np.rint(values)].flat[0]:g}; say by threshold= where the foreground "
                         "begins")
    if (largest := float(max(values.max(), -values.min()))) > 2**53:
        raise ValueError(f"it holds numbers up to {largest:g}, too large for classes")
    return values.astype(np.int64)


def _checked_classes(numbers: np.ndarray, num_classes: int) -> np.ndarray:
    wrong = (numbers < 0) | ((numbers >= num_classes) & (numbers != IGNORE))
    if wrong.any():
        found = np.unique(numbers)
        worst = found[-1] if found[-1] != IGNORE or len(found) < 2 else found[-2]
        told = f"class {worst}" if worst >= num_classes else f"the number {found[0]}"
        raise ValueError(f"the mask holds {told}, the network has {num_classes} classes from 0 on; values found: "
                         f"{_told(found)}; see ignore=, colours= and threshold=")
    return numbers.astype(np.uint8)


def _thresholded(values: np.ndarray, num_classes: int, threshold: float) -> np.ndarray:
    if num_classes != 2:
        raise ValueError(f"threshold={threshold:g} makes two classes, and {num_classes} are asked for")
    if np.isnan(values).any():
        raise ValueError("it holds NaN, which is on neither side of threshold=")
    return (values >= threshold).astype(np.uint8)


def _jpeg_threshold(values: np.ndarray, num_classes: int) -> float:
    """128, where what JPEG left can only have been 0 and 255."""
    if num_classes != 2:
        raise ValueError(f"JPEG changes the numbers of a mask, and {num_classes} classes do not survive that; save it "
                         "as PNG")
    bright = int(np.count_nonzero(values >= JPEG_GREY))
    grey = int(np.count_nonzero((values >= JPEG_GREY) & (values < 256 - JPEG_GREY))) / max(bright, 1)
    if grey > JPEG_SHARE or 0 < values.max() < JPEG_THRESHOLD:
        raise ValueError(f"it is a JPEG of values from {values.min()} to {values.max()}, {100 * grey:.0f} % of the "
                         "bright ones grey; only masks of 0 and 255 survive JPEG: save it as PNG, or give threshold=")
    return JPEG_THRESHOLD


def _check_options(num_classes: int, channel: str | None, meaning: str | None) -> None:
    if not isinstance(num_classes, (int, np.integer)) or not 2 <= num_classes <= IGNORE:
        raise ValueError(f"num_classes={num_classes!r} must be 2 to {IGNORE}; 255 marks ignored pixels")
    if channel is not None and channel not in CHANNELS:
        raise ValueError(f"channel={channel!r} must be one of {', '.join(CHANNELS)}")
    if meaning not in (None, CLASSES, BINARY, INSTANCES):
        raise ValueError(f"meaning={meaning!r} must be {CLASSES}, {BINARY} or {INSTANCES}")


def _told(found: np.ndarray) -> str:
    shown = [str(value) for value in found[:10].tolist()]
    return ", ".join(shown) + (f", ... {found[-1]} ({len(found)} values)" if len(found) > 10 else "")

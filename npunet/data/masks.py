"""Masks: images whose pixels are classes. Labels are no pictures: they are read as they are stored, never scaled."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from npunet.data.mask_numbers import CHANNELS, IGNORE, Colours, raw_mask
from npunet.data.pixels import MOST_PIXELS
from npunet.reading import reading
from npunet.values import count, flag, integer, number

JPEG_THRESHOLD, JPEG_GREY, JPEG_SHARE = 128, 64, 0.25  # of 0 and 255, JPEG leaves few values between 64 and 191
WAY_OUT = "see the options of npunet.data.read_mask"
CHANGED = "JPEG changes the numbers of a mask; from 128 on they are taken for foreground: save masks as PNG"
OPTIONS = ("colours", "channel", "threshold", "ignore", "meaning", "as_shown")
CLASSES, BINARY, INSTANCES = "classes", "binary", "instances"  # what the numbers of a mask can be


def read_mask(path: str | os.PathLike[str], num_classes: int, *, colours: Colours | None = None,
              channel: str | None = None, threshold: float | None = None, ignore: int | None = None,
              meaning: str | None = None, as_shown: bool | None = None, max_pixels: int = MOST_PIXELS) -> np.ndarray:
    """Read the class of every pixel: PNG, TIFF, BMP, JPEG and .npy files.

    num_classes : 2 to 255. With two, 0 is the background, and 1, 255 or any instance number the foreground; with more,
                  pixels hold the classes 0, 1, ... themselves. 255 is "ignored" where every other value is a class
    colours     : of masks painted in colours: {(red, green, blue): class} or the other way round, or the colours of
                  class 0, 1, ...
    channel     : "red", "green", "blue", "grey" or "alpha": the one that holds the mask, where several differ
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
    _check_options(num_classes, channel, meaning, threshold, ignore, as_shown)
    count("max_pixels", max_pixels)
    with reading(path, "is a mask that cannot be read", WAY_OUT):
        values, lossy = raw_mask(path, colours=colours, channel=channel, as_shown=as_shown, max_pixels=max_pixels)
        if colours is not None:
            return _checked_classes(values, num_classes, values == IGNORE)
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
    _check_options(num_classes, channel, meaning, threshold, ignore, as_shown)
    stored: list[tuple[np.ndarray, str | None]] = []                         # numbers, and what is known of them
    lossy = []
    for path in paths:
        with reading(path, "is a mask that cannot be read", WAY_OUT):
            values, changed = raw_mask(path, colours=colours, channel=channel, as_shown=as_shown)
            if colours is not None:
                stored.append((_checked_classes(values, num_classes, values == IGNORE), CLASSES))
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
            made.append((labels, numbered(numbers) if (known or together) == INSTANCES else None))
    return made


def numbered(instances: np.ndarray) -> np.ndarray:
    """Instance numbers as they are, or 1, 2, ... where they are so large that counting them takes memory."""
    if instances.size == 0 or (instances.min() >= 0 and instances.max() < 2**16):
        return instances
    found, places = np.unique(instances, return_inverse=True)
    order = np.concatenate([np.flatnonzero(found == 0), np.flatnonzero(found != 0)])
    new = np.empty(len(found), np.int64)
    new[order] = np.arange(len(found)) + (0 if (found == 0).any() else 1)
    return new[places].reshape(instances.shape)


def stacked_labels(numbers: np.ndarray, num_classes: int, names: Sequence[str], *, ignore: int | None = None,
                   meaning: str | None = None) -> tuple[list[np.ndarray], bool]:
    """Classes of a stack of masks (N, H, W), named in errors, and whether their numbers are instances.

    meaning : of the numbers, where it is known; else all masks together decide
    """
    _check_options(num_classes, None, meaning, None, ignore)
    numbers = _whole(numbers)
    meaning = meaning or meaning_of(np.unique(numbers), num_classes, ignore)
    made = []
    for name, each in zip(names, numbers, strict=True):
        try:
            made.append(labels_of(each, num_classes, ignore=ignore, meaning=meaning))
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return made, meaning == INSTANCES


def labels_of(values: np.ndarray, num_classes: int, *, ignore: int | None = None,
              meaning: str | None = None) -> np.ndarray:
    """Classes of stored numbers, as read_mask has them; any shape."""
    numbers = _whole(values)
    meaning = meaning or meaning_of(np.unique(numbers), num_classes, ignore)
    ignored = numbers == (IGNORE if ignore is None else ignore)
    if meaning == CLASSES:
        return _checked_classes(numbers, num_classes, ignored)
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
    if found[-1] == IGNORE:                                                  # also every value of 8 bits
        raise ValueError(f"its values {_told(found)} may be instances, grey values or have 255 for ignored pixels; say "
                         "it by meaning='instances', threshold=128 or ignore=255")
    return INSTANCES


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


def _checked_classes(numbers: np.ndarray, num_classes: int, ignored: np.ndarray) -> np.ndarray:
    """Numbers as classes, IGNORE where `ignored`. Raises ValueError for a number that is no class."""
    wrong = ((numbers < 0) | (numbers >= num_classes)) & ~ignored
    if wrong.any():
        least, most = numbers[wrong].min(), numbers[wrong].max()
        told = f"class {most}" if most >= num_classes else f"the number {least}"
        raise ValueError(f"the mask holds {told}, the network has {num_classes} classes from 0 on; values found: "
                         f"{_told(np.unique(numbers))}; see ignore=, colours= and threshold=")
    return np.where(ignored, np.uint8(IGNORE), numbers.astype(np.uint8))


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


def _check_options(num_classes: int, channel: str | None, meaning: str | None, threshold: float | None = None,
                   ignore: int | None = None, as_shown: bool | None = None) -> None:
    if not isinstance(num_classes, (int, np.integer)) or not 2 <= num_classes <= IGNORE:
        raise ValueError(f"num_classes={num_classes!r} must be 2 to {IGNORE}; 255 marks ignored pixels")
    if channel is not None and channel not in CHANNELS:
        raise ValueError(f"channel={channel!r} must be one of {', '.join(CHANNELS)}")
    if threshold is not None:
        number("threshold", threshold)
    if ignore is not None:
        integer("ignore", ignore)
    if as_shown is not None:
        flag("as_shown", as_shown)
    if meaning not in (None, CLASSES, BINARY, INSTANCES):
        raise ValueError(f"meaning={meaning!r} must be {CLASSES}, {BINARY} or {INSTANCES}")


def _told(found: np.ndarray) -> str:
    shown = [str(value) for value in found[:10].tolist()]
    return ", ".join(shown) + (f", ... {found[-1]} ({len(found)} values)" if len(found) > 10 else "")

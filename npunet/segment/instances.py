"""Objects in a mask: numbered, counted and measured."""

from __future__ import annotations

import csv
import importlib
import io
from collections.abc import Sequence

import numpy as np

from npunet.values import count

SMALLEST = 10  # pixels of an object
COLUMNS = ("image", "object", "class", "pixels", "row", "column", "top", "left", "bottom", "right")


def objects(mask: np.ndarray, smallest: int = 1) -> np.ndarray:
    """Number the connected regions of a mask (H, W) from 1; those under `smallest` pixels become background.

    Pixels are connected by their four sides: objects that touch are one.
    """
    count("smallest", smallest)
    numbered, found = importlib.import_module("scipy.ndimage").label(mask)
    kept = np.bincount(numbered.ravel(), minlength=found + 1) >= smallest
    kept[0] = False
    return np.where(kept, np.cumsum(kept), 0)[numbered]


def instances(labels: np.ndarray, smallest: int = SMALLEST) -> np.ndarray:
    """The objects of labels (B, H, W): (B, H, W) int32, numbered from 1 in each image, 0 for class 0.

    Regions of different classes are different objects, numbered class by class. `npunet eval` counts the same objects
    where there are two classes.
    """
    count("smallest", smallest)
    out = np.zeros(labels.shape, np.int32)
    for image, numbers in zip(labels, out, strict=True):
        for label in np.unique(image[image > 0]):
            found = objects(image == label, smallest)
            numbers[found > 0] = found[found > 0] + numbers.max()
    return out


def object_table(numbers: np.ndarray, labels: np.ndarray, names: Sequence[str], class_names: Sequence[str]) -> str:
    """Measures of the objects `numbers` (B, H, W) as CSV, a row each.

    names : of the images

    Columns: image, object (its number), class, pixels, row and column of its centre, and the box that holds it: top,
    left, bottom, right, the last two one past its end. All in pixels from the upper left corner.
    """
    ndimage = importlib.import_module("scipy.ndimage")
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(COLUMNS)
    for name, image, classes in zip(names, numbers, labels, strict=True):
        for number, box in enumerate(ndimage.find_objects(image), 1):
            inside = image[box] == number
            rows, columns = np.nonzero(inside)
            top, left = box[0].start, box[1].start
            table.writerow([name, number, class_names[int(classes[box][inside][0])], len(rows),
                            f"{top + rows.mean():.2f}", f"{left + columns.mean():.2f}",
                            top, left, box[0].stop, box[1].stop])
    return text.getvalue()

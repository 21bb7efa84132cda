"""Cutting training batches out of recordings and pictures so that every class is seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from npunet.data import augment, augment_images
from npunet.data.pictures import Picture
from npunet.data.prepare import settled
from npunet.data.recordings import IGNORE, Recording

Batch = tuple[np.ndarray, np.ndarray]


class SignalSampler:
    """Windows of single leads.

    The windows of a batch aim in turn at class 0, 1, ... K-1 and at nothing in particular: a window that aims at a
    class contains the middle of one of its segments, drawn uniformly from all of them. Windows stay inside the
    annotated span where that is long enough; samples outside of it have the label IGNORE.

    frame         : samples of a window
    augmentations : functions of data.augment, applied in order to all windows together
    stretch       : (low, high), range of the samples that a window takes for one of its own: at 2 time runs twice as
                    fast, at 0.5 half as fast, labels with it; None for always 1
    """

    def __init__(self, recordings: Sequence[Recording], frame: int, classes: int,
                 augmentations: Sequence[augment.Augmentation] = (),
                 stretch: tuple[float, float] | None = None) -> None:
        if not recordings:
            raise ValueError("there is no recording to take windows from")
        self.frame, self.augmentations, self.stretch = frame, list(augmentations), stretch
        self.leads = [(recording.x[lead], recording.labels[lead])
                      for recording in recordings for lead in range(len(recording.x))]
        self.spans = np.array([_span(labels) for _, labels in self.leads])   # (leads, 2)
        segments = np.concatenate([_segments(number, labels) for number, (_, labels) in enumerate(self.leads)])
        self.aims = [segments[segments[:, 2] == label, :2] for label in range(classes)]
        missing = [label for label, found in enumerate(self.aims) if not len(found)]
        if missing:
            raise ValueError(f"no training recording has a sample of class {missing[0]}; check class_map")

    def batch(self, size: int, generator: np.random.Generator) -> Batch:
        """x (size, frame, 1) float32 and labels (size, frame) uint8; the same generator gives the same batch."""
        windows = [self._window(row % (len(self.aims) + 1), generator) for row in range(size)]
        x, labels = np.stack([x for x, _ in windows]), np.stack([labels for _, labels in windows])
        for change in self.augmentations:
            x = change(x, generator)
        return settled(x)[..., None], labels

    def _window(self, aim: int, generator: np.random.Generator) -> Batch:
        """One window (frame,) float64 with its labels."""
        pace = generator.uniform(*self.stretch) if self.stretch else 1.0
        long = max(2, round(self.frame * pace))                              # samples that are taken
        lead, start = self._place(aim, long, generator)
        signal, marks = self.leads[lead]
        x, labels = np.zeros(long), np.full(long, IGNORE, np.uint8)
        first, last = max(start, 0), min(start + long, len(signal))
        x[first - start : last - start] = signal[first:last]
        labels[first - start : last - start] = marks[first:last]
        if long == self.frame:
            return x, labels
        at = np.linspace(0, long - 1, self.frame)
        return np.interp(at, np.arange(long), x), labels[np.rint(at).astype(int)]

    def _place(self, aim: int, long: int, generator: np.random.Generator) -> tuple[int, int]:
        """A lead and the first sample of a window of `long` samples in it."""
        if aim < len(self.aims):
            lead, centre = (int(value) for value in self.aims[aim][generator.integers(len(self.aims[aim]))])
        else:
            lead = int(generator.integers(len(self.leads)))
            centre = int(generator.integers(*self.spans[lead]))
        first, last = (int(value) for value in self.spans[lead])
        start, room = centre - int(generator.integers(long)), last - long
        return lead, min(max(start, first), room) if room >= first else min(max(start, room), first)


class PictureSampler:
    """Crops of images, aimed as SignalSampler's windows are: at a random pixel of each class in turn, then anywhere.

    size          : (H, W) of a crop; a smaller image is mirrored at its edges
    augmentations : functions of data.augment_images, applied in order to each crop
    """

    def __init__(self, pictures: Sequence[Picture], size: tuple[int, int], classes: int,
                 augmentations: Sequence[augment_images.Augmentation] = ()) -> None:
        if not pictures:
            raise ValueError("there is no picture to take crops from")
        self.size, self.augmentations = size, list(augmentations)
        self.pictures = [_enlarged(picture, size) for picture in pictures]
        self.aims = [[n for n, (_, labels) in enumerate(self.pictures) if (labels == label).any()]
                     for label in range(classes)]
        missing = [label for label, found in enumerate(self.aims) if not found]
        if missing:
            raise ValueError(f"no training picture has a pixel of class {missing[0]}; check num_classes and the masks")

    def batch(self, size: int, generator: np.random.Generator) -> Batch:
        """x (size, H, W, C) float32 and labels (size, H, W) uint8; the same generator gives the same batch."""
        crops = [self._crop(row % (len(self.aims) + 1), generator) for row in range(size)]
        return np.stack([settled(x) for x, _ in crops]), np.stack([labels for _, labels in crops])

    def _crop(self, aim: int, generator: np.random.Generator) -> Batch:
        among = self.aims[aim] if aim < len(self.aims) else range(len(self.pictures))
        x, labels = self.pictures[among[int(generator.integers(len(among)))]]
        if aim < len(self.aims):
            pixels = np.flatnonzero(labels == aim)
            centre = np.unravel_index(pixels[generator.integers(len(pixels))], labels.shape)
        else:
            centre = tuple(generator.integers(labels.shape))
        corner = [min(max(int(at) - int(generator.integers(side)), 0), whole - side)
                  for at, side, whole in zip(centre, self.size, labels.shape, strict=True)]
        part = tuple(slice(start, start + side) for start, side in zip(corner, self.size, strict=True))
        x, labels = x[part], labels[part]
        for change in self.augmentations:
            x, labels = change(x, labels, generator)
        return x, labels


def class_shares(labels: Sequence[np.ndarray], classes: int) -> np.ndarray:
    """Share of each class among all labels that are not IGNORE: (classes,) float64, sum 1."""
    counts = np.sum([np.bincount(each.ravel(), minlength=256) for each in labels], axis=0)[:classes]
    return counts / counts.sum()


def balanced_weights(shares: np.ndarray) -> list[float]:
    """Class weights 1 / (K * share): every class then counts alike in the loss. Source: King & Zeng 2001."""
    return [1 / (len(shares) * float(share)) for share in shares]


def _span(labels: np.ndarray) -> tuple[int, int]:
    """First and one past the last sample that somebody looked at; the whole signal if nobody did."""
    seen = np.flatnonzero(labels != IGNORE)
    return (int(seen[0]), int(seen[-1]) + 1) if len(seen) else (0, len(labels))


def _segments(lead: int, labels: np.ndarray) -> np.ndarray:
    """(segments, 3): lead, middle and class of every run of one class."""
    starts = np.flatnonzero(np.diff(labels, prepend=np.uint8(254)))          # 254 is no class: a run begins at 0
    stops = np.append(starts[1:], len(labels))
    return np.stack([np.full(len(starts), lead), (starts + stops) // 2, labels[starts].astype(int)], 1)


def _enlarged(picture: Picture, size: tuple[int, int]) -> Batch:
    missing = [max(0, side - have) for side, have in zip(size, picture.labels.shape, strict=True)]
    pads = [(more // 2, more - more // 2) for more in missing]
    if not any(missing):
        return picture.x, picture.labels
    return np.pad(picture.x, [*pads, (0, 0)], mode="symmetric"), np.pad(picture.labels, pads, mode="symmetric")

"""Everything that is said of a trained network on data that it has not seen."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npunet.data.pictures import Picture
from npunet.data.recordings import IGNORE, Recording
from npunet.evaluate import plots
from npunet.evaluate.classes import ClassScores, confusion
from npunet.evaluate.events import EventScores
from npunet.evaluate.objects import Foreground, ObjectScores, otsu_threshold
from npunet.segment import Segmenter
from npunet.segment.images import VIEWS
from npunet.segment.instances import SMALLEST, objects


@dataclass(frozen=True)
class SignalReport:
    """Scores of a segmenter on recordings, sample by sample at their own rate and event by event.

    subjects : weighted F1 and mean IoU of each
    shown    : the recording that the picture shows, and its predicted labels (leads, M)
    """

    class_names: tuple[str, ...]
    classes: ClassScores
    events: EventScores
    subjects: dict[str, dict[str, float]]
    shown: tuple[Recording, np.ndarray]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"subjects": len(self.subjects), **self.classes.to_dict(self.class_names),
                "events": self.events.to_dict(),
                "by_subject": {name: {what: None if np.isnan(value) else round(value, 6)
                                      for what, value in scores.items()} for name, scores in self.subjects.items()}}

    def table(self) -> str:
        """As text."""
        worst = sorted(self.subjects, key=lambda name: self.subjects[name]["weighted_f1"])[:5]
        told = ", ".join(f"{name} {self.subjects[name]['weighted_f1']:.3f}" for name in worst)
        return (f"{self.classes.table(self.class_names)}\n\n{self.events.table()}\n\n"
                f"{len(self.subjects)} subjects; lowest weighted F1: {told}")

    def save_picture(self, path: str | os.PathLike[str], rows: int | None = None, network: str = "network") -> None:
        """Draw one recording: shaded as predicted, bars below as annotated.

        rows    : leads that are drawn, from the first on; None for all
        network : what it is called in the caption

        Raises ValueError for other suffixes than .svg and .png.
        """
        recording, labels = self.shown
        picture = plots.signal_picture(
            recording.raw[:rows], labels[:rows], title=f"{recording.name}: {network} and annotation",
            names=recording.leads[:rows], class_names=self.class_names, rate=recording.fs, unit="mV",
            reference=np.where(recording.marks == IGNORE, 0, recording.marks)[:rows],
        )
        plots.save_signal(path, picture)


def report_signals(model: Segmenter, recordings: Sequence[Recording]) -> SignalReport:
    """Segment recordings as a user would, and compare within the annotated spans."""
    if not recordings:
        raise ValueError("there are no recordings to evaluate on")
    names = model.class_names
    events, segmented = EventScores(names), []
    matrices: dict[str, np.ndarray] = {}
    for recording in recordings:
        labels = model.segment(recording.raw, recording.fs)
        segmented.append(labels)
        matrix = confusion(recording.marks, labels, len(names), IGNORE)
        matrices[recording.subject] = matrix + matrices.get(recording.subject, np.int64(0))
        for marks, said in zip(recording.marks, labels, strict=True):
            events.add(marks, said, recording.fs, IGNORE)
    subjects = {subject: _of(matrix) for subject, matrix in matrices.items()}
    ranked = sorted(range(len(recordings)), key=lambda n: subjects[recordings[n].subject]["weighted_f1"])
    shown = ranked[len(ranked) // 2]                                         # neither the best nor the worst
    return SignalReport(names, ClassScores(np.sum(list(matrices.values()), axis=0)), events, subjects,
                        (recordings[shown], segmented[shown]))


@dataclass(frozen=True)
class ImageReport:
    """Scores of a network on images, pixel by pixel and object by object, beside Otsu's threshold.

    foreground, otsu : IoU of everything but class 0, of the network and of the threshold
    objects          : connected regions of the foreground against the true objects
    shown            : pictures that are drawn, and their predicted labels
    """

    class_names: tuple[str, ...]
    classes: ClassScores
    foreground: Foreground
    otsu: Foreground
    objects: ObjectScores
    shown: list[tuple[Picture, np.ndarray]]

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        means = {f"{name}{of}": round(value, 6) for name, scores in (("", self.foreground), ("otsu_", self.otsu))
                 for of, value in (("foreground_iou", float(scores.each.mean())),
                                   ("foreground_iou_of_all_pixels", scores.together))}
        return {"images": len(self.foreground.counts), **self.classes.to_dict(self.class_names), **means,
                "objects": self.objects.to_dict()}

    def table(self) -> str:
        """As text."""
        found = self.objects.to_dict()
        share = "-" if found["average_precision"] is None else f"{found['average_precision']:.4f}"
        return (f"{self.classes.table(self.class_names, 'pixels')}\n\n"
                f"{'foreground IoU':<20}  mean of {len(self.foreground.counts)} images  of all their pixels\n"
                f"{'network':<20}  {self.foreground.each.mean():>17.4f}  {self.foreground.together:>19.4f}\n"
                f"{'Otsu threshold':<20}  {self.otsu.each.mean():>17.4f}  {self.otsu.together:>19.4f}\n"
                f"objects at IoU 0.5: average precision {share}, {found['found']:,} found, {found['missed']:,} missed, "
                f"{found['made_up']:,} made up")

    def save_picture(self, path: str | os.PathLike[str], rows: int | None = None, network: str = "network") -> None:
        """Draw some images: where prediction and truth agree, and where only one of them is.

        rows    : images that are drawn; None for all four
        network : what it is called in the caption

        Raises ValueError for other suffixes than .svg and .png.
        """
        whole = [(picture, labels) for picture, labels in self.shown if picture.x.shape == self.shown[0][0].x.shape]
        whole = whole[:rows]
        pixels = np.stack([picture.x for picture, _ in whole])
        truth, said = (np.stack(each) > 0 for each in zip(*((p.labels, labels) for p, labels in whole), strict=True))
        marked = np.select([truth & said, said, truth], [1, 2, 3], 0).astype(np.uint8)
        plots.save_mask(path, pixels[..., :3] if pixels.shape[-1] > 2 else pixels[..., :1], marked,
                        title=f"{network} and truth", class_names=("background", "both", "only predicted", "only true"))


def report_images(model: Segmenter, pictures: Sequence[Picture], views: int = VIEWS) -> ImageReport:
    """Run the network on whole images and compare; views : see Segmenter.mask."""
    if not pictures:
        raise ValueError("there are no images to evaluate on")
    names = model.class_names
    matrix, tally, segmented = np.zeros((len(names),) * 2, np.int64), ObjectScores(), []
    foreground, otsu = Foreground(), Foreground()
    for picture in pictures:
        labels = model.mask(picture.x[None], views)[0]
        matrix += confusion(picture.labels, labels, len(names), IGNORE)
        seen, grey = picture.labels != IGNORE, picture.x.mean(-1)            # the rest nobody judges
        truth = (picture.labels > 0) & seen
        foreground.add(truth, (labels > 0) & seen)
        otsu.add(truth, (grey > otsu_threshold(grey)) & seen)
        tally.add(objects(truth) if picture.instances is None else picture.instances * seen,
                  objects((labels > 0) & seen, SMALLEST))
        segmented.append(labels)
    order = np.argsort(foreground.each, kind="stable")
    chosen = [int(order[round(share * (len(order) - 1))]) for share in (0.75, 0.5, 0.25, 0.0)][: len(order)]
    return ImageReport(names, ClassScores(matrix), foreground, otsu, tally,
                       [(pictures[n], segmented[n]) for n in chosen])


def _of(matrix: np.ndarray) -> dict[str, float]:
    found = ClassScores(matrix).summary()
    return {key: found[key] for key in ("weighted_f1", "mean_iou")}

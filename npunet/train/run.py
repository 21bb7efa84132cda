"""A training run in its folder: begin one, go on with one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from npunet import UNet
from npunet.data.pictures import read_pictures
from npunet.data.recordings import read_recordings
from npunet.limits import Unsupported
from npunet.segment import Segmenter
from npunet.segment.taught import Taught
from npunet.train.average import Averaged, judged
from npunet.train.checkpoint import Keeper, read_checkpoint
from npunet.train.config import Config, make_config
from npunet.train.curves import draw_curves
from npunet.train.engine_step import EngineStep
from npunet.train.fit import fit
from npunet.train.progress import Bar, Progress
from npunet.train.quantised_run import Quantised
from npunet.train.step import NumpyStep, TrainStep, refuse_batch
from npunet.train.task import Predict, Task, Thing, load_task

STEPS = {"numpy": NumpyStep, "engine": EngineStep}


def begin(config: Config, folder: str | os.PathLike[str], data: str | os.PathLike[str] | None = None,
          backend: str = "auto", weights: Mapping[str, np.ndarray] | None = None,
          taught: Taught | None = None) -> Progress:
    """Train a network from its first weights.

    folder  : of the run; it must not hold one already
    data    : see task.load_task
    backend : "numpy", or "auto" for the fastest that is there
    weights : to begin with, instead of random ones from the seed
    taught  : the subjects that those weights have learnt from, which the run's network then has too

    Writes last.npz, best.npz (checkpoints), model.npz (the best network, see segment.Segmenter), history.csv,
    history.json, curves.png; after Ctrl-C model.npz is the best network so far. With the setting `quantise` the run is
    a fine-tuning of `weights` with fake quantisation, what is scored is the integer network, and it is written too
    (model_int8.npz).
    Raises ValueError, FileExistsError, Diverged, Stopped.
    """
    if (Path(folder) / "last.npz").exists():
        raise FileExistsError(f"{folder} already holds a run; go on with it by --resume, or choose another folder")
    task = load_task(config, data)
    print(task.told)
    progress = Progress(np.random.default_rng([config.seed, 2**31]))
    return _go(task, folder, data, backend, progress, None, weights, taught)


def resume(folder: str | os.PathLike[str], data: str | os.PathLike[str] | None = None, backend: str = "auto",
           config: Config | None = None) -> Progress:
    """Go on with a run where its last checkpoint stands: the result is bit for bit that of a run never stopped.

    data   : where the data is now, if it has moved
    config : the settings, if they are to be compared with those of the run

    Raises ValueError when settings or data are not those of the run, FileNotFoundError, Diverged, Stopped.
    """
    arrays, told = read_checkpoint(Path(folder) / "last.npz")
    if config is not None and dict(config.given) != told["settings"]:
        given = dict(config.given)
        other = [key for key in {**given, **told["settings"]} if given.get(key) != told["settings"].get(key)]
        raise ValueError(f"the run in {folder} was begun with other settings: {', '.join(other)} differ; leave the "
                         "settings out to go on as it was begun")
    config, _ = make_config(told["settings"])
    progress = Progress.from_dict(told["progress"])
    data = told["data"] if data is None else data
    task = load_task(config, data)
    if task.parts != told["parts"]:
        raise ValueError(f"the data{f' in {data}' if data else ''} is not that of the run in {folder}: other subjects; "
                         "name its folder by --data")
    print(f"{task.told}; going on after step {progress.step} of {config.steps}")
    if progress.ended:
        return _finish(folder, config, progress, Quantised(task, config.quantise) if config.quantise else None)
    return _go(task, folder, data, backend, progress, arrays, None, _taught(told))


def _go(task: Task, folder: str | os.PathLike[str], data: str | os.PathLike[str] | None, backend: str,
        progress: Progress, arrays: Mapping[str, np.ndarray] | None,
        weights: Mapping[str, np.ndarray] | None, taught: Taught | None) -> Progress:
    config = task.config
    model = UNet(config.params, config.input_shape, config.num_classes, seed=config.seed)
    if weights is not None:
        model.load_weights(weights)
    quantised = Quantised(task, config.quantise) if config.quantise else None
    step = make_step(model, task, backend, quantised)
    refuse_batch(step, config.batch_size, prod(config.input_shape))
    if arrays is not None:
        step.restore(arrays)
    keeper = Keeper(folder, {"settings": config.given, "data": os.fspath(Path(data).resolve()) if data else None,
                             "parts": task.parts, "taught": taught.to_dict() if taught else None})
    judge = quantised.judge if quantised else float_judge(backend)
    if quantised and progress.step == 0:
        told, progress.best = quantised.before(model, float_judge(backend))
        keeper.save(step.state(), progress, best=True)                       # until an epoch is better
        print(told)
    bar = Bar(config.steps, config.steps_per_epoch, progress.step)
    try:
        fit(step, model, task, keeper, progress, bar, judge)
    except KeyboardInterrupt:
        if (Path(folder) / "last.npz").exists():
            _write(folder, quantised)
        raise
    return _finish(folder, config, progress, quantised)


def float_judge(backend: str) -> Callable[[UNet], Predict]:
    """Who is scored while a float network trains: the network itself, run by a backend."""
    return lambda model: lambda x: model.predict(x, backend=backend, pad=True)


def _write(folder: str | os.PathLike[str], quantised: Quantised | None) -> None:
    model = write_model(folder)
    if quantised:
        quantised.write(folder, model)


def _finish(folder: str | os.PathLike[str], config: Config, progress: Progress,
            quantised: Quantised | None) -> Progress:
    """Write the best network and the picture of the curves, and say what came out."""
    _write(folder, quantised)
    best = progress.best
    told = f"; best {config.metric} {best[config.metric]:.4f} in epoch {best['epoch']}" if best else ""
    print(f"done: {progress.ended}{told}{quantised.compared(best) if quantised else ''}")
    print(draw_curves(Path(folder) / "curves.png", progress.history))
    return progress


def make_step(model: UNet, task: Task, backend: str = "auto", quantised: Quantised | None = None) -> TrainStep:
    """The training step of a backend, or the one that fake-quantises."""
    config = task.config
    if quantised:
        within = quantised.step(model, backend)
        return Averaged(within, config.average) if config.average else within

    def make(kind: type[NumpyStep] | type[EngineStep]) -> TrainStep:
        step = kind(model, config.optimiser(), config.loss_name, config.l2, task.loss_options(),
                    config.batch_norm_momentum)
        return Averaged(step, config.average) if config.average else step

    if backend != "auto":
        return make(STEPS[backend])
    try:
        return make(EngineStep)
    except (ImportError, Unsupported):
        return make(NumpyStep)


def write_model(folder: str | os.PathLike[str]) -> Segmenter:
    """Make model.npz of a run's best checkpoint (its last one, where no epoch has ended), and return it."""
    best = Path(folder) / "best.npz"
    model = open_run(best if best.exists() else Path(folder) / "last.npz")
    model.save(Path(folder) / "model.npz")
    return model


def open_run(path: str | os.PathLike[str]) -> Segmenter:
    """The network of a checkpoint, with its preparation and class names."""
    arrays, told = read_checkpoint(path)
    config, _ = make_config(told["settings"])
    network = UNet(config.params, config.input_shape, config.num_classes).load_weights(judged(arrays))
    parts, sets = told["parts"], ", ".join(step["name"] for step in config.datasets)
    taught = Taught(sets or "the data of its run", tuple(parts["train"]), tuple(parts["validation"]))
    before = _taught(told)
    if before is not None:
        taught = before.and_then(taught)
    return Segmenter(network, config.class_names, config.preparation if network.sizes.rank == 1 else None, taught)


def _taught(told: Mapping[str, Any]) -> Taught | None:
    """Who taught the weights that a run began with."""
    return Taught.from_dict(told["taught"]) if told.get("taught") else None


def settings_of(folder: str | os.PathLike[str]) -> tuple[Config, dict[str, Any]]:
    """The settings of a run and what else its checkpoint tells: data, parts, progress."""
    _, told = read_checkpoint(Path(folder) / "last.npz")
    return make_config(told["settings"])[0], told


def read_things(model: Segmenter, data: str | os.PathLike[str] | None) -> Sequence[Thing]:
    """All annotated recordings or images of a folder, as a trained network takes them."""
    if model.preparation is not None:
        return read_recordings(data, model.preparation)
    return read_pictures(data, int(model.input_shape[-1] or 1), len(model.class_names))

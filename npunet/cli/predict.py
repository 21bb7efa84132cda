"""npunet predict: run a model on a file or a folder of files, write what it says, and draw it."""

from __future__ import annotations

import os
import sys
import time
import warnings
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from npunet import UNet
from npunet.cli import addresses, inputs, many, many_blocks, many_pieces, models, outputs, results, sources, values
from npunet.distributed.remote import is_address, local_path
from npunet.evaluate import plots
from npunet.extras import MissingExtra, extra
from npunet.model import BACKENDS
from npunet.ops.accumulate import ARITHMETICS
from npunet.ops.softmax import softmax_forward
from npunet.segment import Segmenter
from npunet.segment.images import VIEWS
from npunet.segment.instances import SMALLEST, instances

PIECE = 2**22  # input values that are run at once
COUNTED = ("file", "image", "objects")


def add(verbs: Any) -> None:
    """Arguments of `npunet predict`."""
    parser = models.verb(verbs, "predict", predict, "run a model on a signal or image; write the result and a picture",
                         "npunet predict ecg-trained ludb/data/1 -o waves.csv --picture 1.svg")
    parser.add_argument("model", help=models.HELP)
    parser.add_argument("input", help=f"{inputs.HELP}; a folder of them; with --dask also a large "
                        "array (.zarr, .tif, .npy) or the address of a folder")
    results.add_arguments(parser)
    parser.add_argument("--picture", metavar="FILE", help="draw the result as .svg or .png; for a folder of inputs one "
                        "beside each result, of the kind svg or png")
    parser.add_argument("--class-names", metavar="NAME,...", help="names of the classes, for tables and pictures")
    parser.add_argument("--views", type=int, choices=(1, VIEWS), help="of an image that the result is the mean of: the "
                        f"image alone, or its turns and mirror images too (default {VIEWS} for a trained network)")
    parser.add_argument("--smallest", type=values.counting, metavar="PIXELS",
                        help=f"of an object, for --instances (default {SMALLEST})")
    parser.add_argument("--backend", choices=BACKENDS, default="auto", help="what computes (default auto)")
    parser.add_argument("--arithmetic", choices=ARITHMETICS, help="order of summation (default: the backend's own)")
    parser.add_argument("--threads", type=values.counting, metavar="N",
                        help="threads of the engine (default: one per core, 1 with "
                        "--dask)")
    many.add_arguments(parser)
    inputs.add_arguments(parser)


def predict(arguments: Namespace) -> None:
    """Read, run, write, draw, and say so."""
    arguments.input = local_path(arguments.input)
    opened = models.with_float_face(models.open_model(arguments.model))
    meaning_of(opened, arguments.class_names)                                # refuses names that are too few
    _refuse_impossible(models.network_of(opened), arguments)
    outputs.refuse_twice(arguments)
    if many_blocks.is_blocks(arguments):
        many_blocks.run(opened, arguments, Percent())
        return
    many.refuse_alone(arguments)
    if Path(arguments.input).is_dir() or is_address(arguments.input):
        _folder(opened, arguments)
        return
    if arguments.picture:
        _refuse_undrawable(arguments.picture, len(opened.input_shape) == 2)
        outputs.refuse_unwritable(arguments.picture, arguments.input, arguments.model)
    target = results.target(arguments, arguments.input, len(opened.input_shape) == 3)
    _one(opened, arguments.input, target, arguments.picture, arguments)
    if models.is_described(arguments.model):
        print(f"note    the weights are random: {arguments.model} describes a network and is not a trained one")


def _folder(opened: UNet | Segmenter, arguments: Namespace) -> None:
    """Every input of a folder; what could not be read is listed at the end, and is an error."""
    found, passed = (addresses if is_address(arguments.input) else sources).find(arguments.input, opened)
    images = len(opened.input_shape) == 3
    out = Path(arguments.out or f"{Path(arguments.input).resolve().name}_"
               f"{'instances' if arguments.instances else arguments.output}")
    if out.resolve() == Path(arguments.input).resolve():
        raise ValueError(f"-o {out} is the folder of the inputs; name another for the results")
    if out.is_file() or out.suffix.lower() in results.OF_IMAGES:
        raise ValueError(f"-o {out}: for a folder of inputs it names a folder; --format {out.suffix or 'csv'} chooses "
                         "the kind of file")
    drawn = None if arguments.picture is None else f".{arguments.picture.lower().lstrip('.')}"
    if drawn is not None:
        if drawn not in (".svg", ".png"):
            raise ValueError(f"--picture {arguments.picture}: for a folder of inputs it is svg or png")
        _refuse_undrawable(f"x{drawn}", not images)
    outputs.refuse_unwritable(out / "x") if out.exists() else outputs.refuse_unwritable(out)
    names = _names(arguments.input, found)
    targets = [results.target(arguments, source, images, str(out), name)
               for source, name in zip(found, names, strict=True)]           # refuses what cannot be written
    out.mkdir(exist_ok=True)
    jobs = [many.Job(source, target, str(out / f"{name}{drawn}") if drawn else None,
                     out / many.done.FOLDER / f"{name}.json")
            for source, name, target in zip(found, names, targets, strict=True)]
    try:
        broken, counted = _in_turn(opened, jobs, arguments) if arguments.dask is None else \
            many.run(arguments, jobs, out, run_job, Percent())
    except BaseException:
        with suppress(OSError):
            out.rmdir()                                                      # where nothing was written
        raise
    counts: list[Sequence[Any]] = [COUNTED, *counted]
    if len(counts) > 1:
        results.write_rows(out / "counts.csv", counts)
        print(f"wrote   {out / 'counts.csv'}: the number of objects in each image")
    if models.is_described(arguments.model):
        print(f"note    the weights are random: {arguments.model} describes a network and is not a trained one")
    if passed:
        print(f"passed  {len(passed)} others: {', '.join(passed[:8])}{', ...' if len(passed) > 8 else ''}")
    print(f"done    {len(found) - len(broken)} of {len(found)} inputs, in {out}")
    if broken:
        more = f"; and {len(broken) - 5} more, see above" if len(broken) > 5 else ""
        raise ValueError(f"{len(broken)} of {len(found)} inputs could not be run: {'; '.join(broken[:5])}{more}")


def _in_turn(opened: UNet | Segmenter, jobs: Sequence[many.Job],
             arguments: Namespace) -> tuple[list[str], list[Sequence[Any]]]:
    """Inputs one after the other. Returns why some could not be run, and rows of counted objects."""
    broken: list[str] = []
    counts: list[Sequence[Any]] = []
    for job in jobs:
        try:
            result = _one(opened, job.source, job.target, job.picture, arguments)
        except (ValueError, OSError, MemoryError) as error:
            broken.append(many.named(job.source, error))
            print(f"broken  {broken[-1]}\n")
            continue
        print()
        if result.objects is not None:
            counts += [(Path(job.source).name, page, count) for page, count in enumerate(result.counts)]
    return broken, counts


def run_job(arguments: Namespace, job: many.Job, say: Callable[[str], None]) -> results.Result:
    """One input of a folder, in a worker; `say` takes the lines that would be printed."""
    return _one(_opened(arguments.model, os.stat(arguments.model).st_mtime_ns if Path(arguments.model).exists() else 0),
                job.source, job.target, job.picture, arguments, say)


@lru_cache(1)
def _opened(model: str, _changed: int) -> UNet | Segmenter:
    """A worker's model, opened once, and anew when its file has changed."""
    return models.with_float_face(models.open_model(model))


def _names(folder: str, found: list[str]) -> list[str]:
    """What the results of each input are named after: its stem, or its whole path within the folder where two have the
    same."""
    names = [results.stem(source) for source in found]
    times = Counter(map(str.casefold, names))                      # A and a are one file on Windows and macOS
    return [name if times[name.casefold()] == 1 else "_".join(Path(source).relative_to(folder).parts)
            for name, source in zip(names, found, strict=True)]


def _one(opened: UNet | Segmenter, source: str, target: results.Target, picture: str | None,
         arguments: Namespace, say: Callable[[str], None] = print) -> results.Result:
    """One input: read, run, write, draw, and a line about each."""
    model, meaning = models.network_of(opened), meaning_of(opened, arguments.class_names)
    given = sources.read(source, opened, meaning, arguments)
    say(f"input   {source}: {given.told}")
    results.refuse_misfit(target, 0 if isinstance(given, sources.Signal) else len(given.x))
    start = time.perf_counter()
    if isinstance(given, sources.Signal):
        result, how = _recording(sources.segmenter_of(opened, meaning, arguments.rate), given, arguments)
    else:
        result, how = _batch(opened, source, given, meaning.class_names, arguments)
    say(f"ran     {models.called(arguments.model)}: {models.size_of(model)}, in {time.perf_counter() - start:.2f} s"
        f"{how}")
    for line in results.write(target, result):
        say(f"wrote   {line}")
    if model.params.include_top and result.labels is not None:
        say(f"classes {shares(result.labels, meaning.class_names)}")
    if result.objects is not None:
        counts = result.counts
        say(f"objects {', '.join(map(str, counts))}" + (f", together {sum(counts)}" if len(counts) > 1 else ""))
    if picture is not None and result.labels is not None:
        title = f"{Path(source).name}: {models.called(arguments.model)}"
        draw(picture, given, result.labels, title, meaning.class_names)
        say(f"drew    {picture}")
    return result


def _recording(segmenter: Segmenter, given: sources.Signal, arguments: Namespace) -> tuple[results.Result, str]:
    """A recording by segment(), at its own rate."""
    assert segmenter.preparation is not None
    how = _how(arguments) | ({} if arguments.dask is None else many_pieces.how(arguments))
    values, top = None, segmenter.network.params.include_top
    signal, part = given.with_context()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*labelled class 0")      # the reader has warned, by the lead's name
        if arguments.output == "labels":
            labels = segmenter.segment(signal, given.fs, progress=Percent(), **how)
        else:
            labels, values = segmenter.segment_with_logits(signal, given.fs, progress=Percent(), **how)
    if values is not None:
        values = values.reshape(-1, *values.shape[-2:])[:, part]             # (leads, L, K)
        values = probabilities(segmenter.network, values) if arguments.output == "probabilities" else values
    labels = np.atleast_2d(labels)[:, part]
    leads = given.leads if len(labels) == len(given.leads) else ("all leads",)
    result = results.Result(arguments.output, labels if top else None, leads, segmenter.class_names, values,
                            fs=given.fs, start=given.start, signal=given.values)
    known = segmenter.preparation
    band = "" if known.band is None else f", {known.band[0]:g}-{known.band[1]:g} Hz"
    return result, f" (at {known.rate:g} Hz{band}, normalised; the result at {given.fs:g} Hz)"


def _batch(opened: UNet | Segmenter, source: str, given: inputs.Batch, class_names: tuple[str, ...],
           arguments: Namespace) -> tuple[results.Result, str]:
    """Images, or an array that the network takes as it is."""
    if arguments.dask is not None:
        raise ValueError(f"{source} is run whole, on one processor: leave --dask out")
    model = models.network_of(opened)
    views = 1 if given.x.ndim == 3 else arguments.views or (VIEWS if isinstance(opened, Segmenter) else 1)
    if views > 1:
        images = opened if isinstance(opened, Segmenter) else Segmenter(model, class_names, None)
        y = np.concatenate([images.mask_logits(given.x[part], views, **_how(arguments))
                            for part in _progress(_pieces(given.x))])
    else:
        y = run(model, given.x, **_how(arguments))
    labels = classes(y)
    values = None if arguments.output == "labels" else y if arguments.output == "logits" else probabilities(model, y)
    signal = None if given.x.ndim == 4 else given.x[..., 0]
    smallest = SMALLEST if arguments.smallest is None else arguments.smallest
    objects = instances(labels, smallest) if arguments.instances else None
    rows = (Path(source).name,) if len(given.x) == 1 and given.x.ndim == 4 else given.names
    result = results.Result(arguments.output, labels if model.params.include_top else None, rows, class_names,
                            values, objects, given.rate, signal=signal)
    if given.x.ndim == 3:
        return result, " (values as they are)"
    return result, f" (the mean of {views} views)" if views > 1 else ""


def meaning_of(model: UNet | Segmenter, class_names: str | None = None) -> models.Meaning:
    """models.meaning, by the model's own description where it has one."""
    if isinstance(model, UNet) or class_names:
        return models.meaning(models.network_of(model), class_names)
    return models.Meaning(model.class_names, None if model.preparation is None else model.preparation.rate)


def run(model: UNet, x: np.ndarray, **how: Any) -> np.ndarray:
    """model.predict in pieces of a bounded size, padded to fit; progress goes to a terminal's stderr."""
    pieces = [model.predict(x[part], pad=True, **how) for part in _progress(_pieces(x))]
    return np.concatenate(pieces)


def classes(y: np.ndarray) -> np.ndarray:
    """The likeliest class of every position (B, ...), as the smallest integers that hold it."""
    return y.argmax(-1).astype(np.uint8 if y.shape[-1] <= 256 else np.uint16)


def probabilities(model: UNet, y: np.ndarray) -> np.ndarray:
    """The network's output as probabilities, whether it ends in a softmax or not; NaN stays NaN."""
    return y if not model.params.use_logits else softmax_forward(y)


def shares(labels: np.ndarray, class_names: tuple[str, ...]) -> str:
    """How much of a result each class takes, in words."""
    counts = np.bincount(labels.ravel(), minlength=len(class_names))
    return ", ".join(f"{name} {100 * count / max(labels.size, 1):.1f} %"
                     for name, count in zip(class_names, counts, strict=True))


def draw(path: str, given: inputs.Batch | sources.Signal, labels: np.ndarray, title: str,
         class_names: tuple[str, ...]) -> None:
    """Draw a signal with its segments shaded, or images under their masks."""
    if isinstance(given, sources.Signal):
        every = np.broadcast_to(labels, given.values.shape)
        picture = plots.signal_picture(given.values, every, title=title, names=given.leads, class_names=class_names,
                                       rate=given.fs, reference=given.reference, unit=given.unit, start=given.start)
        plots.save_signal(path, picture)
        return
    shown = given.x if given.shown is None else given.shown
    if shown.ndim == 4:
        plots.save_mask(path, shown, labels, title=title, class_names=class_names)
        return
    picture = plots.signal_picture(shown[..., 0], labels, title=title, names=given.names, class_names=class_names,
                                   rate=given.rate)
    plots.save_signal(path, picture)


def _how(arguments: Namespace) -> dict[str, Any]:
    return {"backend": arguments.backend, "arithmetic": arguments.arithmetic, "threads": arguments.threads}


def _refuse_impossible(model: UNet, arguments: Namespace) -> None:
    top, images = model.params.include_top, len(model.input_shape) == 3
    if not top and (arguments.output != "logits" or arguments.picture):
        raise ValueError("the network has no top, so it gives no classes; use --output logits, without --picture")
    if top and arguments.output == "logits" and not model.params.use_logits:
        raise ValueError("the network ends in a softmax and gives no logits; use --output probabilities")
    if arguments.instances and (not images or arguments.output != "labels"):
        raise ValueError("--instances numbers the objects of images" + (f", it goes with no --output {arguments.output}"
                                                                         if images else "; the network takes signals"))
    if arguments.smallest is not None and not arguments.instances:
        raise ValueError("--smallest is the size of an object, for --instances; leave it out, or add that")
    if arguments.views is not None and not images:
        raise ValueError("--views is for images; the network takes signals: leave it out")


def _refuse_undrawable(path: str, signal: bool) -> None:
    """Say before the work starts that a picture cannot be drawn."""
    if plots.suffix(path) == ".png" and signal:
        try:
            extra("matplotlib.figure", "plot")
        except MissingExtra as error:
            raise MissingExtra(f"{error}, or draw an .svg, which needs nothing") from None


def _pieces(x: np.ndarray) -> list[slice]:
    step = max(1, PIECE // max(1, int(np.prod(x.shape[1:]))))
    return [slice(start, start + step) for start in range(0, max(len(x), 1), step)]


def _progress(pieces: list[slice]) -> Iterator[slice]:
    bar = Percent()
    for number, piece in enumerate(pieces):
        bar(number, len(pieces))
        yield piece
    bar(len(pieces), len(pieces))


class Percent:
    """How much is done, in per cent, on a terminal's stderr; nothing where there is one step only."""

    def __init__(self) -> None:
        self.shown = False

    def __call__(self, done: int, total: int) -> None:
        """done of total steps."""
        if not sys.stderr.isatty() or (done == 0 and total == 1):
            return
        if done < total:
            self.shown = True
            print(f"\rnpunet: {100 * done // total} %", end="", file=sys.stderr, flush=True)
        elif self.shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)

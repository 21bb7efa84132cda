"""One input of many, in a worker: fetched where it is at an address, skipped where it is done, else run and noted."""

from __future__ import annotations

import json
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from npunet import __version__, memory
from npunet.cli import addresses, results
from npunet.distributed import done, remote
from npunet.segment.waves import waves

ASIDE = ("run", "dask", "workers", "worker_memory", "block", "level", "out", "input", "debug", "threads",
         "model")  # of the arguments, what does not change a result, or is told apart by content


@dataclass(frozen=True)
class Job:
    """One input, where its result goes, its picture if one is wanted, and where it is noted as done."""

    source: str
    target: results.Target
    picture: str | None
    note: Path


@dataclass(frozen=True)
class Outcome:
    """What became of one input.

    told    : what would be printed about it
    row     : of the summary, as plain values
    broken  : why there is no result, or None
    skipped : whether an earlier run had done it
    """

    told: list[str]
    row: dict[str, Any] = field(default_factory=dict)
    broken: str | None = None
    skipped: bool = False


Run = Callable[[Namespace, Job, Callable[[str], None]], results.Result]


def perform(arguments: Namespace, threads: int, model: str, one: Run, limit: int | None, job: Job) -> Outcome:
    """One job: what would be printed, its row of the summary, or why it is broken.

    threads : of the engine
    model   : what tells the model from others
    limit   : bytes that this process may take
    """
    said: list[str] = []
    arguments = Namespace(**{**vars(arguments), "threads": threads, "dask": None})
    try:
        with memory.bounded(limit), _local(job) as local:
            outcome = _performed(arguments, model, one, local, said)
            told = [line.replace(local.source, job.source) for line in outcome.told]
            return replace(outcome, told=told)
    except (ValueError, OSError, MemoryError, ImportError) as error:
        return Outcome([], broken=named(job.source, error))


@contextmanager
def _local(job: Job) -> Iterator[Job]:
    """A job whose input is a file here: one at an address is fetched, and goes when the block ends."""
    if not remote.is_address(job.source):
        yield job
        return
    with remote.fetched(job.source, addresses.is_record(job.source)) as source:
        try:
            yield replace(job, source=source)
        except (ValueError, OSError) as error:
            raise type(error)(str(error).replace(source, job.source)) from None


def _performed(arguments: Namespace, model: str, one: Run, job: Job, said: list[str]) -> Outcome:
    settings = {name: value for name, value in sorted(vars(arguments).items()) if name not in ASIDE}
    written = [path for path in (job.target.path, job.target.annotation, job.picture) if path is not None]
    settings["names"] = [Path(path).name for path in written]
    mark = done.fingerprint(done.record_files(job.source), __version__, model, json.dumps(settings))
    known = done.recall(job.note, mark)
    if known is not None:
        return Outcome([], known, skipped=True)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        result = one(arguments, job, said.append)
    said += [f"warning {warning.message}" for warning in warned if issubclass(warning.category, UserWarning)]
    row = _row(result, job.source)
    done.keep(job.note, mark, map(Path, written), row)
    return Outcome(said, row)


def _row(result: results.Result, source: str) -> dict[str, Any]:
    """What the summary says of a result."""
    row: dict[str, Any] = {"rows": len(result.rows), "size": " x ".join(map(str, result.array.shape[1:])),
                           "rate": "" if result.fs is None else f"{result.fs:g}"}
    if result.labels is not None:
        labels = result.labels
        inside = labels.reshape(len(labels), -1)
        begins = np.diff(inside, axis=1, prepend=0) != 0
        for number, name in enumerate(result.class_names):
            row[f"{name} %"] = f"{100 * np.mean(labels == number):.2f}" if labels.size else ""
            if number and result.signal is not None:
                row[f"{name} segments"] = int((begins & (inside == number)).sum())
        if result.signal is not None and result.fs is not None:
            lengths = np.array([(wave.label, wave.offset - wave.onset + 1) for wave in waves(labels)]).reshape(-1, 2)
            for number, name in list(enumerate(result.class_names))[1:]:
                own = lengths[lengths[:, 0] == number, 1]
                row[f"{name} median ms"] = f"{1000 * np.median(own) / result.fs:.1f}" if len(own) else ""
    if result.objects is not None:
        row["objects"] = [(Path(source).name, page, count) for page, count in enumerate(result.counts)]
    return row


def named(source: str, error: BaseException) -> str:
    """An error with the input that it is about."""
    told = str(error) or type(error).__name__
    return told if source in told else f"{source}: {told}"


def absolute(job: Job) -> Job:
    """A job for workers that stand in another folder."""
    path, annotation = job.target.path, job.target.annotation
    target = replace(job.target, path=path and path.resolve(), annotation=annotation and annotation.resolve())
    source = job.source if remote.is_address(job.source) else str(Path(job.source).resolve())
    return Job(source, target, job.picture and str(Path(job.picture).resolve()), job.note.resolve())

"""`npunet predict --dask`: the inputs of a folder as tasks on a Dask cluster."""

from __future__ import annotations

import argparse
import sys
from argparse import Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from npunet.cli import models, results, values
from npunet.cli.many_jobs import Job, Outcome, Run, absolute, named, perform
from npunet.distributed import done, remote
from npunet.distributed.cluster import process_memory, workers
from npunet.distributed.tasks import each
from npunet.files import remove_leftovers

SUMMARY = "summary.csv"


def add_arguments(parser: Any) -> None:
    """The arguments that say where inputs are run that are many or large."""
    group = parser.add_argument_group(
        "running on many cores or machines (needs the extra 'distributed')",
        "A folder, or an address of one that fsspec knows (s3://bucket/ludb, https://...): one task an input, results "
        "in the folder -o with a summary.csv; broken inputs are listed at the end. A recording of hours: one task a "
        "stretch. A .zarr, an OME-Zarr image, a .tif or a .npy: one task a block, with what it sees around itself; "
        "values are fed as they are, the result is a .zarr. The results are those of one process, bit for bit. A "
        "worker that dies loses nothing, and the same command again skips what is done.")
    group.add_argument("--dask", nargs="?", const="", metavar="ADDRESS", help="run on a cluster on this machine, or on "
                       "that of the scheduler at ADDRESS, such as tcp://host:8786, whose workers see the same files")
    group.add_argument("--workers", type=values.counting, metavar="N",
                       help="of the cluster on this machine (default: one for "
                       "every --threads cores, and these are 1)")
    group.add_argument("--worker-memory", metavar="SIZE", help="that each of its workers may take, such as 2GB "
                       "(default: an equal part of what is free)")
    group.add_argument("--block", type=extents, metavar="SIZE", help="of the blocks of an array, such as 4096 or "
                       "1024x2048 (default: as it is stored, and as fits in a worker)")
    group.add_argument("--level", type=values.natural, metavar="N",
                       help="of an OME-Zarr image or a TIFF with several resolutions "
                       "(default 0, the largest)")


def extents(text: str) -> tuple[int, ...]:
    """Read "4096" or "1024x2048"."""
    try:
        sizes = tuple(int(size) for size in text.lower().replace(",", "x").split("x"))
    except ValueError:
        sizes = ()
    if not sizes or min(sizes) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no size of a block; write 4096 or 1024x2048")
    return sizes


def refuse_alone(arguments: Namespace) -> None:
    """Raise ValueError for options that go with others."""
    if arguments.block is not None or arguments.level is not None:
        raise ValueError(f"--block and --level are for an array that is run in blocks, and {arguments.input} is none: "
                         "a .zarr, or with --dask a .tif or .npy")
    if remote.is_address(arguments.input) and arguments.dask is None:
        raise ValueError(f"{arguments.input} is an address, whose files are fetched by workers: add --dask")
    refuse_workers(arguments)


def refuse_workers(arguments: Namespace) -> None:
    """Raise ValueError for workers of no cluster on this machine."""
    if (arguments.workers is not None or arguments.worker_memory is not None) and arguments.dask != "":
        raise ValueError("--workers and --worker-memory are those of a cluster on this machine: add --dask, without an "
                         "address")


def run(arguments: Namespace, jobs: Sequence[Job], out: Path, one: Run, progress: Callable[[int, int], None]
        ) -> tuple[list[str], list[Sequence[Any]]]:
    """Run every job, say what becomes of it, and write the summary.

    one      : runs a job, a function of a module
    progress : told of how much of how much is done

    Returns why the broken ones are, and rows (file, image, objects) of counted objects.
    """
    address = arguments.dask or None
    if address is not None:
        arguments, jobs = _absolute(arguments), [absolute(job) for job in jobs]
    task = partial(perform, arguments, arguments.threads or 1, _digest(arguments.model), one)
    outcomes: dict[int, Outcome] = {}
    skipped = 0
    try:
        with workers(address, arguments.threads or 1, arguments.workers, arguments.worker_memory) as (client, told):
            print(f"cluster {told}", flush=True)
            limited = partial(task, process_memory(client))
            for number, outcome in each(client, limited, jobs, say_lost):
                if isinstance(outcome, BaseException):
                    outcome = Outcome([], broken=named(jobs[number].source, outcome))
                outcomes[number] = outcome
                skipped += outcome.skipped
                progress(len(outcomes), len(jobs))
                _say(outcome)
    except KeyboardInterrupt:
        print(f"stopped {len(outcomes)} of {len(jobs)} inputs are through; the same command goes on from there",
              flush=True)
        raise
    finally:
        remove_leftovers(out)                                                # of workers that were ended
    ordered = [outcomes[number] for number in range(len(jobs))]
    results.write_rows(out / SUMMARY, _summary(jobs, ordered))
    print(f"wrote   {out / SUMMARY}: a row for each input")
    if skipped:
        print(f"skipped {skipped} inputs that an earlier run had done")
    counts = [count for outcome in ordered for count in outcome.row.get("objects", ())]
    broken = [outcome.broken for outcome in ordered if outcome.broken is not None]
    for told in broken:                                               # told above, between thousands of others
        print(f"broken  {told}")
    return broken, counts


def _summary(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> list[Sequence[Any]]:
    columns = list(dict.fromkeys(name for outcome in outcomes for name in outcome.row if name != "objects"))
    rows: list[Sequence[Any]] = [["input", "status", *columns, "error"]]
    for job, outcome in zip(jobs, outcomes, strict=True):
        rows.append([job.source, "broken" if outcome.broken else "done",
                     *(outcome.row.get(name, "") for name in columns), outcome.broken or ""])
    return rows


def _say(outcome: Outcome) -> None:
    if outcome.broken is not None:
        print(f"broken  {outcome.broken}\n", flush=True)
    elif not outcome.skipped:
        print("\n".join(outcome.told), end="\n\n", flush=True)


def say_lost(worker: str, tasks: int) -> None:
    """Say that a worker died, and that its tasks go to others."""
    again = f"{tasks} task{'s' if tasks != 1 else ''} that it had {'run' if tasks != 1 else 'runs'} again elsewhere"
    print(f"npunet: warning: the worker {worker} died; {again}", file=sys.stderr, flush=True)


def _digest(model: str) -> str:
    """What tells one model from another: a file's content, else its name, which means one network in each version."""
    return done.fingerprint([model]) if Path(model).is_file() else models.called(model)


def _absolute(arguments: Namespace) -> Namespace:
    """Arguments for workers that stand in another folder."""
    source = arguments.input if remote.is_address(arguments.input) else str(Path(arguments.input).resolve())
    model = str(Path(arguments.model).resolve()) if Path(arguments.model).exists() else arguments.model
    return Namespace(**{**vars(arguments), "model": model, "input": source})

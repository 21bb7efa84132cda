"""`npunet predict MODEL x.zarr --dask -o y.zarr`: a large array block by block on a Dask cluster."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from npunet import UNet
from npunet.cli import many, models
from npunet.cli.inputs import OF_TABLES
from npunet.distributed import map_zarr
from npunet.distributed.arrays import NPY, is_array, is_zarr
from npunet.distributed.cluster import task_memory, workers
from npunet.segment import Segmenter

IMPOSSIBLE = ("picture", "annotations", "instances", "smallest", "format", "views", "index", "begin", "end", "leads",
              "fs", "rate", "class_names", *OF_TABLES)


def is_blocks(arguments: Namespace) -> bool:
    """Whether an input is run block by block: a zarr array, or with --dask a TIFF or an array without a rate."""
    if is_zarr(arguments.input):
        return True
    plain = Path(arguments.input).suffix.lower() != NPY or arguments.fs is None
    return arguments.dask is not None and plain and is_array(arguments.input) and not Path(arguments.input).is_dir()


def run(opened: UNet | Segmenter, arguments: Namespace, progress: Callable[[int, int], None]) -> None:
    """Run, and say what was written. Raises ValueError for options that do not go with blocks."""
    if arguments.dask is None:
        raise ValueError(f"{arguments.input} is a zarr array, which is run in blocks: add --dask")
    many.refuse_workers(arguments)
    if isinstance(opened, Segmenter) and not arguments.raw:
        raise ValueError(f"the values of {arguments.input} are fed as they are, and this network was trained on "
                         "prepared ones: prepare them and add --raw")
    for name in IMPOSSIBLE:
        given = getattr(arguments, name)
        if given is not None and given is not False:
            option = {"begin": "from", "end": "to"}.get(name, name).replace("_", "-")
            raise ValueError(f"--{option} does not go with an array that is run in blocks; leave it out")
    if arguments.output == "probabilities":
        raise ValueError("--output probabilities: blocks are written as labels or logits, choose one of them")
    out = arguments.out or f"{Path(arguments.input).stem}_{arguments.output}.zarr"
    threads = arguments.threads or 1
    names = opened.class_names if isinstance(opened, Segmenter) else \
        models.meaning(opened, arguments.class_names).class_names
    with workers(arguments.dask or None, threads, arguments.workers, arguments.worker_memory) as (client, told):
        say(f"cluster {told}")
        shape = map_zarr(opened, arguments.input, out, client=client, limit=task_memory(client), level=arguments.level,
                         block=arguments.block, progress=progress, lost=many.say_lost, say=say, class_names=names,
                         output=arguments.output, backend=arguments.backend, arithmetic=arguments.arithmetic,
                         threads=threads)
    say(f"wrote   {out}: {arguments.output} {' x '.join(map(str, shape))}")


def say(line: str) -> None:
    """Print a line at once."""
    print(line, flush=True)

"""`npunet predict MODEL x.zarr --dask -o y.zarr`: a large array block by block on a Dask cluster."""

from __future__ import annotations

import sys
from argparse import Namespace
from pathlib import Path

from npunet import UNet
from npunet.cli import many, models
from npunet.cli.inputs import OF_TABLES
from npunet.distributed import map_zarr
from npunet.distributed.cluster import task_memory, workers
from npunet.extras import extra
from npunet.segment import Segmenter

IMPOSSIBLE = ("picture", "annotations", "instances", "smallest", "format", "views", "index", "begin", "end", "leads",
              "fs", "rate", "class_names", *OF_TABLES)


def is_zarr(source: str) -> bool:
    """Whether an input is a zarr array, or one in a group."""
    return any(part.lower().endswith(".zarr") for part in Path(source).parts)


def run(opened: UNet | Segmenter, arguments: Namespace) -> None:
    """Run, and say what was written. Raises ValueError for options that do not go with blocks."""
    if arguments.dask is None:
        raise ValueError(f"{arguments.input} is a zarr array, which is run in blocks: add --dask")
    if isinstance(opened, Segmenter) and not arguments.raw:
        raise ValueError(f"the values of {arguments.input} are fed as they are, and this network was trained on "
                         "prepared ones: prepare them and add --raw")
    for name in IMPOSSIBLE:
        given = getattr(arguments, name)
        if given is not None and given is not False:
            option = {"begin": "from", "end": "to"}.get(name, name).replace("_", "-")
            raise ValueError(f"--{option} does not go with a zarr array, which is run in blocks; leave it out")
    if arguments.output == "probabilities":
        raise ValueError("--output probabilities: blocks are written as labels or logits, choose one of them")
    out = arguments.out or f"{Path(arguments.input).stem}_{arguments.output}.zarr"
    threads = arguments.threads or 1
    output = "labels" if arguments.output == "labels" else "logits"
    with workers(arguments.dask or None, threads, arguments.workers, arguments.worker_memory) as (client, told):
        print(f"cluster {told}", flush=True)
        watch = extra("distributed", "distributed").progress if sys.stdout.isatty() else None
        shape = map_zarr(models.network_of(opened), arguments.input, out, client=client, limit=task_memory(client),
                         watch=watch, lost=many.say_lost, output=output, backend=arguments.backend,
                         arithmetic=arguments.arithmetic, threads=threads)
    print(f"wrote   {out}: {output} {' x '.join(map(str, shape))}, in the chunks of {arguments.input}")

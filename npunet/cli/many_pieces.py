"""`npunet predict --dask` for one long recording: its pieces as tasks on a Dask cluster."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from npunet import memory
from npunet.cli import many
from npunet.distributed.carried import Carried
from npunet.distributed.cluster import task_memory, workers
from npunet.distributed.networks import blockwise
from npunet.distributed.tasks import each
from npunet.model import UNet
from npunet.segment.signal import Piece

Function = Callable[[Piece, UNet], np.ndarray]


def how(arguments: Namespace) -> dict[str, Any]:
    """The arguments of Segmenter.segment that run its pieces on the cluster that the command line names."""
    return {"over": partial(_over, arguments), "threads": arguments.threads or 1}


def _over(arguments: Namespace, function: Function, pieces: Sequence[Piece],
          network: UNet) -> Iterator[tuple[int, np.ndarray]]:
    if not pieces:
        return
    with workers(arguments.dask or None, arguments.threads or 1, arguments.workers,
                 arguments.worker_memory) as (client, told):
        print(f"cluster {told}", flush=True)
        known, shifts = blockwise(network), network.sizes.multiple[1]
        longest = max(len(pieces[number].x) for number in (0, len(pieces) // 2))
        size = -(-(longest + shifts) // shifts) * shifts
        needed, limit = known.window_bytes((1, size)[2 - known.rank :], shifts), task_memory(client)
        print(f"pieces  {len(pieces):,} of {longest:,} samples at most; a task takes at most {memory.told(needed)}",
              flush=True)
        if limit is not None and needed > limit:
            raise ValueError(f"a piece takes {memory.told(needed)}, and a worker may take {memory.told(limit)}; use "
                             "fewer workers or give them more memory")
        for number, outcome in each(client, partial(_run, function), pieces, many.say_lost, given=Carried(network)):
            if isinstance(outcome, BaseException):
                raise outcome
            yield number, outcome


def _run(function: Function, piece: Piece, carried: Carried) -> np.ndarray:
    return function(piece, carried.network().model)

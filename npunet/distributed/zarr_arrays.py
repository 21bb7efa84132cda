"""A zarr array in, a zarr array out: each chunk of the result is one task's, and none is shared."""

from __future__ import annotations

import os
from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from npunet import footprint, memory
from npunet.distributed.blocks import map_blocks
from npunet.distributed.halo import halos
from npunet.distributed.tasks import deaths_heard, in_words
from npunet.extras import extra
from npunet.files import replace_folder, scratch_folder
from npunet.model import UNet

if TYPE_CHECKING:
    import dask.array

SUFFIX = ".zarr"


def opened(source: str | os.PathLike[str]) -> dask.array.Array:
    """A zarr array in the chunks that it is stored in. Raises FileNotFoundError, ValueError for what is no array."""
    da, zarr = extra("dask.array", "distributed"), extra("zarr", "distributed")
    if "://" not in os.fspath(source) and not Path(source).is_dir():
        raise FileNotFoundError(f"no such file: {source}")
    try:
        stored = zarr.open(os.fspath(source), mode="r")
    except (ValueError, KeyError, OSError) as error:
        raise ValueError(f"{source} is no zarr array that can be read: {error}") from None
    if not isinstance(stored, zarr.Array):
        names = sorted(stored.array_keys())
        raise ValueError(f"{source} is a group of zarr arrays; name one of {', '.join(names) or 'none'} in it, such as "
                         f"{source}/{names[0] if names else '0'}")
    return da.from_zarr(stored)


def block_bytes(network: UNet, array: dask.array.Array) -> int:
    """Bytes that one task takes at most: the largest window of the array's chunks, as the NumPy executor runs it."""
    rank = network.sizes.rank
    spatial = array.chunks if array.ndim == rank else array.chunks[-rank - 1 : -1]
    samples = max(array.chunks[0]) if array.ndim == rank + 2 else 1
    extents = [-(-max(chunks) // halo.period) * halo.period + halo.period + halo.before + halo.after
               for chunks, halo in zip(spatial, halos(network.sizes), strict=True)]
    whole = [-(-sum(chunks) // halo.period) * halo.period
             for chunks, halo in zip(spatial, halos(network.sizes), strict=True)]
    size = [min(pair) for pair in zip(extents, whole, strict=True)]
    graph = network.sizes.graph((1, size[0]) if rank == 1 else (size[0], size[1]))
    read = prod(max(chunks) for chunks in array.chunks) * array.dtype.itemsize
    return footprint.batch_bytes(graph, network.dtype, samples) + 2 * read


def map_zarr(model: Any, source: str | os.PathLike[str], target: str | os.PathLike[str], *, client: Any = None,
             limit: int | None = None, watch: Callable[[Any], Any] | None = None,
             lost: Callable[[str, int], None] | None = None, **how: Any) -> tuple[int, ...]:
    """Run a network over a zarr array, and write what map_blocks gives as another; returns its shape.

    source : a folder, or an address that fsspec knows; its values are run as they are
    target : a folder that is not there yet. It appears when it is whole, its chunks are those of the source
    client : of a Dask cluster, whose workers see the same files; None for threads
    limit  : bytes that a task may take
    watch  : shown the future of the work before it is waited for
    lost   : told of every worker that died, with how many of its tasks go to others
    how    : options of map_blocks

    Raises FileExistsError, FileNotFoundError, and ValueError for chunks that do not fit in `limit` and what map_blocks
    refuses; MemoryError when several workers die of one task.
    """
    target = Path(target).resolve()
    if target.exists():
        raise FileExistsError(f"{target} is there already; name another, or remove it")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"cannot write {target}: the folder {target.parent} does not exist")
    array = opened(source)
    result = map_blocks(model, array, **how)
    network = model if isinstance(model, UNet) else model.network
    needed = block_bytes(network, array)
    if limit is not None and needed > limit:
        raise ValueError(f"{source}: one chunk of {array.chunksize} takes {memory.told(needed)}, a worker may take "
                         f"{memory.told(limit)}; store it in smaller chunks, or give workers more memory")
    with scratch_folder(target.parent) as scratch:
        made = scratch / target.name
        stored = result.to_zarr(str(made), compute=False)
        if client is None:
            stored.compute(scheduler="threads")
        else:
            _run(client, stored, watch, lost)
        replace_folder(made, target)
    return result.shape


def _run(client: Any, stored: Any, watch: Callable[[Any], Any] | None,
         lost: Callable[[str, int], None] | None) -> None:
    """Compute on a cluster, and wait; cancelled when the wait ends early."""
    with deaths_heard(client, lambda key: True) as deaths:
        future = client.compute(stored)
        try:
            if watch is not None:
                watch(future)
            if (error := future.exception()) is not None:
                raise in_words(error)
        finally:
            client.cancel(future)
            while deaths and lost is not None:
                lost(*deaths.popleft())

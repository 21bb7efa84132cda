"""A large array in, a zarr array out, block by block: each chunk of the result is one task's, and none is shared."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from npunet import __version__, memory
from npunet.distributed import arrays, done, results, tasks
from npunet.distributed.blocks import OUTPUTS
from npunet.distributed.carried import Carried
from npunet.distributed.extents import block_of
from npunet.distributed.layout import Layout, layout_of
from npunet.distributed.networks import Blockwise, blockwise
from npunet.distributed.remote import is_address, state
from npunet.files import write_text

ABOUT = "npunet.json"  # in the folder of a result that is not whole yet: what it is made of
Index = tuple[int, ...]


@dataclass(frozen=True)
class BlockTask:
    """One block: read its window, run it, write its chunk. Sent to workers; called with a block's numbers.

    block  : extents of space
    target : the zarr array that it writes into
    note   : folder in which an empty file says that a block is done
    how    : arguments of the network's predict
    """

    reader: arrays.Reader
    layout: Layout
    block: tuple[int, ...]
    target: str
    note: str
    how: dict[str, Any]

    def __call__(self, index: Index, carried: Carried) -> None:
        network = carried.network()
        y = self.computed(network, index)
        results.write_part(self.target, self.layout.region(*self.part(index)), self.layout.placed(y))
        Path(self.note, _name(index)).touch()

    def part(self, index: Index) -> tuple[Index, tuple[slice, ...]]:
        """The sample of a block, and its stretch of space."""
        samples, numbers = index[: len(self.layout.batch)], index[len(self.layout.batch) :]
        return samples, tuple(slice(number * extent, min((number + 1) * extent, size)) for number, extent, size in
                              zip(numbers, self.block, self.layout.size, strict=True))

    def computed(self, network: Blockwise, index: Index) -> np.ndarray:
        """The network's output for one block (*space, K), or its classes (*space)."""
        sample, space = self.part(index)
        reads, shape = [], []
        for extent, halo, size in zip(space, network.halos, self.layout.size, strict=True):
            start, end = halo.window(extent.start, extent.stop, -(-size // halo.period) * halo.period)
            reads.append(slice(start, min(end, size)))
            shape.append(end - start)
        read = self.layout.window(self.reader[self.layout.part(sample, tuple(reads))])
        window = np.full((1, *shape, network.channels), network.blank, network.takes)
        window[(slice(None), *(slice(extent) for extent in read.shape[1:-1]))] = read
        kept = tuple(slice(extent.start - part.start, extent.stop - part.start)
                     for extent, part in zip(space, reads, strict=True))
        y = network.run(window, self.how)[0][kept]
        return np.ascontiguousarray(y) if self.layout.classes else y.argmax(-1).astype(network.of_labels)


def map_zarr(model: Any, source: str | os.PathLike[str], target: str | os.PathLike[str], *, client: Any = None,
             limit: int | None = None, level: int | None = None, block: Sequence[int] | None = None,
             output: str = "logits", backend: str = "auto", arithmetic: str | None = None, threads: int | None = 1,
             class_names: Sequence[str] | None = None, say: Callable[[str], None] = lambda line: None,
             progress: Callable[[int, int], None] = lambda done, total: None,
             lost: tasks.Lost = lambda worker, count: None) -> tuple[int, ...]:
    """Run a network over a large array, and write what map_blocks gives as a zarr array; returns its shape.

    source   : a zarr array, an OME-Zarr image, a TIFF or a .npy, as a path or an address that fsspec knows; its values
               are run as they are
    target   : a folder that is not there yet. Until it is whole, what is done lies in `<target>.partial`; another call
               for the same goes on from there
    client   : of a Dask cluster, whose workers see the same files; None for threads
    limit    : bytes that a task may take
    level    : of an OME-Zarr image or a TIFF, 0 for the largest
    block    : extents of a block of space, which are those of the result's chunks; None for the stored chunks, several
               together where they are small, or less where they do not fit in `limit`
    output, backend, arithmetic, threads : of map_blocks
    class_names : of labels, which an OME-Zarr result names
    say      : takes lines about blocks and memory before the work starts
    progress : told of how many of how many blocks are done
    lost     : told of every worker that died, with how many of its tasks go to others

    Every block is one task that reads its window itself, so that nothing passes between tasks. Axes are kept, see
    layout_of; the result of an OME-Zarr image is one, with an "image-label" for labels, and where the target lies in
    the group "labels" of an image, it is listed there. A target that an earlier call made of the same content, network
    and options is left as it is.

    Raises FileExistsError, FileNotFoundError, ValueError for blocks that do not fit in `limit` and what the network
    refuses; MemoryError when several workers die of one block, MissingExtra.
    """
    target = results.checked_target(target)
    network, stored = blockwise(model), arrays.opened(source, level)
    if output not in OUTPUTS:
        raise ValueError(f"output={output!r} must be one of {', '.join(OUTPUTS)}")
    how, labels = network.how(backend, arithmetic, threads), output == "labels"
    network.refuse_dtype(stored.reader.dtype)
    layout = layout_of(network, stored.reader.shape, stored.axes, labels)
    extents, needed = block_of(network, layout, stored.chunks, stored.reader.dtype, limit, block)
    mark = _mark(model, stored, level, {"output": output, "arithmetic": how.get("arithmetic"), "block": extents})
    if target.exists():
        if mark is not None and results.mark_of(target) == mark:
            say(f"skipped {target}: an earlier run made it of the same content")
            return layout.result
        raise FileExistsError(f"{target} is there already; name another, or remove it")
    counts = [-(-size // extent) for size, extent in zip(layout.size, extents, strict=True)]
    blocks = prod(layout.samples) * prod(counts)
    halos = ", ".join(f"{halo.before} before and {halo.after} after" for halo in network.halos)
    say(f"blocks  {blocks:,} of {' x '.join(map(str, extents))}{_each(layout)}, which see {halos}; a task takes at "
        f"most {memory.told(needed)}")
    partial, note = _begun(target, mark, say)
    dtype = network.of_labels if labels else network.gives
    made = results.created(partial / "result", stored, layout, extents, dtype, mark, target, class_names)
    task = BlockTask(stored.reader, layout, extents, made, str(note), how)
    done_before = {path.name for path in note.iterdir()}
    every = _Blocks((*layout.samples, *counts))
    left = [number for number in range(blocks) if _name(every[number]) not in done_before]
    if len(left) < blocks:
        say(f"kept    {blocks - len(left)} blocks that an earlier run had done")
    through = blocks - len(left)
    try:
        carried = Carried(network.model)
        for number, outcome in _outcomes(client, task, [every[number] for number in left], carried, lost):
            if isinstance(outcome, BaseException):
                _, space = task.part(every[left[number]])
                raise _named(stored.source, space, outcome)
            through += 1
            progress(through, blocks)
    except BaseException:
        if kept := sum(1 for _ in note.iterdir()):
            say(f"stopped {kept} of {blocks} blocks are in {partial}; the same command goes on from there")
        else:
            shutil.rmtree(partial)
        raise
    results.finished(partial / "result", target)
    shutil.rmtree(partial)
    return layout.result


class _Blocks(Sequence[Index]):
    """The numbers of every block, in order, without a list of millions."""

    def __init__(self, counts: tuple[int, ...]) -> None:
        self.counts = counts

    def __len__(self) -> int:
        return prod(self.counts)

    def __getitem__(self, number: Any) -> Any:
        return tuple(int(each) for each in np.unravel_index(number, self.counts)) if self.counts else ()


def _outcomes(client: Any, task: BlockTask, indices: Sequence[Index], carried: Carried,
              lost: tasks.Lost) -> Iterator[tuple[int, Any]]:
    if client is not None:
        yield from tasks.each(client, task, indices, lost, given=carried)
        return
    with ThreadPoolExecutor() as pool:
        try:
            for number, _ in enumerate(pool.map(task, indices, [carried] * len(indices))):
                yield number, None
        finally:
            pool.shutdown(cancel_futures=True)


def _named(source: str, space: Sequence[slice], error: BaseException) -> BaseException:
    """A block's error with the block."""
    where = " x ".join(f"{extent.start}-{extent.stop - 1}" for extent in space)
    kind = type(error) if isinstance(error, (ValueError, MemoryError, ConnectionError)) else \
        OSError if isinstance(error, OSError) else RuntimeError
    return kind(f"{source}, block {where}: {str(error) or type(error).__name__}")


def _each(layout: Layout) -> str:
    samples = prod(layout.samples)
    return "" if samples == 1 else f" in each of {samples:,} samples"


def _name(index: Index) -> str:
    return ".".join(map(str, index)) or "0"


def _mark(model: Any, stored: arrays.Source, level: int | None, settings: dict[str, Any]) -> str | None:
    """What tells a result from others: its input's content, network and options. None where a server does not tell
    whether a content is the same."""
    with tempfile.TemporaryDirectory(prefix="npunet-") as scratch:
        saved = getattr(getattr(model, "network", model), "model", None) or model
        saved.save(Path(scratch) / "model.npz")
        network = done.fingerprint([Path(scratch) / "model.npz"])
    told = json.dumps([__version__, network, level, settings])
    if is_address(stored.files):
        remote = state(stored.files)
        return None if remote is None else done.fingerprint([], told, remote)
    path = Path(stored.files)
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return done.fingerprint(files, told, below=path)


def _begun(target: Path, mark: str | None, say: Callable[[str], None]) -> tuple[Path, Path]:
    """The folder of what is not whole yet, and in it that of the notes; what another run left there of something else
    goes."""
    partial = target.with_name(f"{target.name}.partial")
    note, about = partial / "done", partial / ABOUT
    if partial.exists():
        try:
            known = json.loads(about.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise FileExistsError(f"{partial} is there already, and no run of npunet left it; remove it, or name "
                                  "another target") from None
        if mark is None or known != {"made_of": mark}:
            say(f"removed {partial}, which an earlier run began of something else")
            shutil.rmtree(partial)
    note.mkdir(parents=True, exist_ok=True)
    write_text(about, json.dumps({"made_of": mark}))
    return partial, note

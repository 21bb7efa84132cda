"""A network over a Dask array: block by block, lazily, with the bits of one piece."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from npunet.distributed.carried import Carried
from npunet.distributed.networks import Blockwise, blockwise
from npunet.distributed.windows import windows
from npunet.extras import extra
from npunet.integer_model import IntegerModel
from npunet.model import UNet
from npunet.segment import Segmenter

if TYPE_CHECKING:
    import dask.array

OUTPUTS = ("logits", "labels")
Slices = tuple[slice, ...]


@dataclass(frozen=True)
class Cut:
    """Take a part of a chunk, as an array of its own, so that no more than that is sent and kept."""

    part: Slices

    def __call__(self, chunk: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(chunk[self.part])


@dataclass(frozen=True)
class Block:
    """Run the network on one window, and keep the outputs of its block.

    shape  : (B, ..., C) of the window
    places : where each of the parts that it is given stands in the window; the rest is the padding of pad=True
    kept   : the block's outputs within the window's, batch and space
    labels : whether classes are wanted
    how    : arguments of the network's predict
    """

    shape: tuple[int, ...]
    places: tuple[Slices, ...]
    kept: Slices
    labels: bool
    how: dict[str, Any]

    def __call__(self, carried: Carried, *parts: np.ndarray) -> np.ndarray:
        network = carried.network()
        window = np.full(self.shape, network.blank, network.takes)
        for place, part in zip(self.places, parts, strict=True):
            window[place] = part
        y = network.run(window, self.how)[self.kept]
        return y.argmax(-1).astype(network.of_labels) if self.labels else np.ascontiguousarray(y)


def map_blocks(model: UNet | Segmenter | IntegerModel, array: dask.array.Array, *, output: str = "logits",
               backend: str = "auto", arithmetic: str | None = None, threads: int | None = 1) -> dask.array.Array:
    """What model.predict(array, pad=True) gives, the same bits, as a Dask array that is computed block by block.

    model      : UNet, Segmenter (whose network runs on the values as they are), IntegerModel or its dequantized()
    array      : (L, C) or (B, L, C) of signals, (H, W, C) or (B, H, W, C) of images, real, in chunks of any sizes; one
                 channel may go without its axis, (L,) or (H, W). The channels of a chunk are brought together. For an
                 IntegerModel integers of its dtype, as quantize_input gives
    output     : "logits", what predict gives, or "labels", the likeliest class of every position
    arithmetic : "seq" or "seq_fma"; None for "seq_fma", or for "seq" where the model is float64; None for integers,
                 which come out the same in every order
    threads    : of the engine for one block; Dask runs several blocks at once

    One task runs one chunk, together with as much of its neighbours as its outputs depend on: the receptive field is
    taken from the graph, and the window begins and ends at multiples of the strides. Neighbours may be smaller than
    that, a window then reaches over several. The work that a block repeats is its halo's, so chunks much larger than
    the halo (see halos) are the quick ones. Weights are as they are now.

    Returns the array in the chunks that it came in: with K in place of C and the network's dtype, for labels without
    that axis and uint8, or uint16 from 257 classes on.
    Raises ValueError for an array that does not fit, a network with layer norm, which cannot be cut, and an arithmetic
    whose bits depend on the length; MissingExtra without dask.
    """
    network = blockwise(model)
    if output not in OUTPUTS:
        raise ValueError(f"output={output!r} must be one of {', '.join(OUTPUTS)}")
    how = network.how(backend, arithmetic, threads)
    batch, dropped = _batch(network, array)
    y = _mapped(network, batch, output == "labels", how)
    return y[0] if dropped else y


def _batch(network: Blockwise, array: Any) -> tuple[dask.array.Array, bool]:
    """The array as (B, ..., C) with whole channels, and whether B was not there."""
    da, rank, channels = extra("dask.array", "distributed"), network.rank, network.channels
    if not isinstance(array, da.Array):
        raise ValueError(f"map_blocks takes a dask.array, not {type(array).__name__}; make one by "
                         "dask.array.from_array(x, chunks=...)")
    network.refuse_dtype(array.dtype)
    if any(np.isnan(size) for size in array.shape):
        raise ValueError(f"the array has shape {array.shape}; call its compute_chunk_sizes() first")
    x = array[..., None] if array.ndim == rank and channels == 1 else array
    dropped = x.ndim == rank + 1
    x = x[None] if dropped else x
    if x.ndim != rank + 2 or x.shape[-1] != channels:
        wanted = "B, L" if rank == 1 else "B, H, W"
        raise ValueError(f"the array has shape {array.shape}; the network takes ({wanted}, {channels}), B may be left "
                         "out")
    if 0 in x.shape[1:]:
        raise ValueError(f"the array has shape {array.shape}: no samples along an axis")
    return x.rechunk({x.ndim - 1: -1}), dropped


def _mapped(network: Blockwise, x: dask.array.Array, labels: bool, how: dict[str, Any]) -> dask.array.Array:
    """The graph: for every chunk a task that runs its window, and one for every part of a neighbour."""
    da, base = extra("dask.array", "distributed"), extra("dask.base", "distributed")
    graphs = extra("dask.highlevelgraph", "distributed")
    carried = Carried(network.model)
    token = base.tokenize(carried, x.name, labels, sorted(how.items(), key=str))
    name, cut, model = f"npunet-{token}", f"npunet-halo-{token}", f"npunet-model-{token}"
    every = [windows(chunks, halo) for chunks, halo in zip(x.chunks[1:-1], network.halos, strict=True)]
    tasks: dict[Any, Any] = {model: carried}
    for index in np.ndindex(*(len(chunks) for chunks in x.chunks[:-1])):
        along = [every[axis][number] for axis, number in enumerate(index[1:])]
        keys, places = [], []
        for pieces in product(*(window.pieces for window in along)):
            source = (x.name, index[0], *(piece.chunk for piece in pieces), 0)
            if not all(piece.whole for piece in pieces):
                part = (cut, *index, *(piece.chunk for piece in pieces))
                tasks[part] = (Cut((slice(None), *(piece.part for piece in pieces))), source)
                source = part
            keys.append(source)
            places.append((slice(None), *(piece.place for piece in pieces)))
        shape = (x.chunks[0][index[0]], *(window.length for window in along), x.shape[-1])
        block = Block(shape, tuple(places), (slice(None), *(window.kept for window in along)), labels, how)
        tasks[(name, *index, *(() if labels else (0,)))] = (block, model, *keys)
    chunks = x.chunks[:-1] if labels else (*x.chunks[:-1], (network.classes,))
    dtype = network.of_labels if labels else network.gives
    return da.Array(graphs.HighLevelGraph.from_collections(name, tasks, dependencies=[x]), name, chunks, dtype=dtype)

"""Which axes of a stored array are samples, which are space and which is the channels, and where a result's stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from npunet.distributed.networks import Blockwise

SPACE = ("y", "x")


@dataclass(frozen=True)
class Layout:
    """How a network sees an array.

    shape   : of the array
    batch   : its axes of samples, each run by itself
    space   : its axes of space, in the network's order
    channel : its axis of channels, or None where there is none
    classes : channels of the result; 0 for labels
    order   : of the result's axes: numbers of (*batch, *space, classes)
    """

    shape: tuple[int, ...]
    batch: tuple[int, ...]
    space: tuple[int, ...]
    channel: int | None
    classes: int
    order: tuple[int, ...]

    @property
    def size(self) -> tuple[int, ...]:
        """Extents of space."""
        return tuple(self.shape[axis] for axis in self.space)

    @property
    def samples(self) -> tuple[int, ...]:
        """Extents of the axes of samples."""
        return tuple(self.shape[axis] for axis in self.batch)

    @property
    def result(self) -> tuple[int, ...]:
        """Shape of the result."""
        return self.of_result(self.samples, self.size)

    def of_result(self, samples: Sequence[int], size: Sequence[int]) -> tuple[int, ...]:
        """Extents for samples and space in the order of the result's axes."""
        every = (*samples, *size, max(1, self.classes))
        return tuple(every[number] for number in self.order)

    def part(self, sample: tuple[int, ...], space: tuple[slice, ...]) -> tuple[slice, ...]:
        """Where one sample's stretch of space stands in the array."""
        part = [slice(None)] * len(self.shape)
        for axis, number in zip(self.batch, sample, strict=True):
            part[axis] = slice(number, number + 1)
        for axis, extent in zip(self.space, space, strict=True):
            part[axis] = extent
        return tuple(part)

    def region(self, sample: tuple[int, ...], space: tuple[slice, ...]) -> tuple[slice, ...]:
        """Where it stands in the result."""
        every = (*(slice(number, number + 1) for number in sample), *space, slice(None))
        return tuple(every[number] for number in self.order)

    def window(self, read: np.ndarray) -> np.ndarray:
        """What was read at `part`, as a batch of one (1, *space, C)."""
        axes = (*self.batch, *self.space, *(() if self.channel is None else (self.channel,)))
        moved = read.transpose(axes)[(0,) * len(self.batch)]
        return (moved if self.channel is not None else moved[..., None])[None]

    def placed(self, y: np.ndarray) -> np.ndarray:
        """The network's result (*space, K), or labels (*space), as they stand at `region`."""
        whole = y if self.classes else y[..., None]
        whole = whole.reshape((1,) * len(self.batch) + whole.shape)
        kept = whole if len(self.order) == whole.ndim else whole[..., 0]
        return kept.transpose(self.order)


def layout_of(network: Blockwise, shape: tuple[int, ...], axes: Sequence[str] | None, labels: bool) -> Layout:
    """How a network sees an array, by the names of its axes where it has them.

    axes : such as ("t", "c", "z", "y", "x"); None for an array that a network takes as it is, (*space), (*space, C) or
           (B, *space, C)

    With names, every axis but y, x and the channels is one of samples. Where a network of one channel meets several,
    each is run by itself. Labels keep all axes, that of the channels with one place. Raises ValueError.
    """
    if 0 in shape:
        raise ValueError(f"the array has shape {shape}: no samples along an axis")
    return _plain(network, shape, labels) if axes is None else _named(network, shape, axes, labels)


def _plain(network: Blockwise, shape: tuple[int, ...], labels: bool) -> Layout:
    rank, channels = network.rank, network.channels
    bare = len(shape) == rank and channels == 1
    if not bare and (len(shape) not in (rank + 1, rank + 2) or shape[-1] != channels):
        wanted = "B, L" if rank == 1 else "B, H, W"
        raise ValueError(f"the array has shape {shape}; the network takes ({wanted}, {channels}); B may be left out")
    batch = (0,) if len(shape) == rank + 2 else ()
    space = tuple(range(len(batch), len(batch) + rank))
    classes = 0 if labels else network.classes
    order = tuple(range(len(batch) + rank + (0 if labels else 1)))
    return Layout(shape, batch, space, None if bare else len(shape) - 1, classes, order)


def _named(network: Blockwise, shape: tuple[int, ...], axes: Sequence[str], labels: bool) -> Layout:
    told = ", ".join(f"{name} {size}" for name, size in zip(axes, shape, strict=True))
    if network.rank != 2 or not set(SPACE) <= set(axes):
        raise ValueError(f"the array has the axes {told}; a network of {'images' if network.rank == 2 else 'signals'} "
                         f"{'needs y and x' if network.rank == 2 else 'takes an array without named axes'}")
    if len(set(axes)) != len(axes):
        raise ValueError(f"the array has the axes {told}: two of one name")
    space = tuple(axes.index(name) for name in SPACE)
    several = axes.index("c") if "c" in axes else None
    channels = 1 if several is None else shape[several]
    each = several is not None and channels != 1 and network.channels == 1
    if not each and channels != network.channels:
        raise ValueError(f"the array has the axes {told}; the network takes {network.channels} channels")
    if each and not labels:
        raise ValueError(f"the array has the axes {told}, and the network takes one channel: each is run by itself, "
                         "and logits would need one more axis; write labels, or choose a channel beforehand")
    channel = None if each else several
    batch = tuple(axis for axis in range(len(axes)) if axis not in (*space, channel))
    place = {axis: number for number, axis in enumerate((*batch, *space))}
    if channel is not None:
        place[channel] = len(place)
    order = [place[axis] for axis in range(len(axes))]
    if channel is None and not labels:                                       # after time, before space
        order.insert(min([axis for axis in range(len(axes)) if axes[axis] in ("z", *SPACE)]), len(axes))
    return Layout(shape, batch, space, channel, 0 if labels else network.classes, tuple(order))

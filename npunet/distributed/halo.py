"""What a block has to see around itself so that its outputs have the bits of the whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from npunet.inference import integer_receptive, receptive
from npunet.inference.receptive import Context
from npunet.inference.sizes import Sizes
from npunet.integer.network import Network
from npunet.integer.resize import multiple_of


@dataclass(frozen=True)
class Halo:
    """How far the outputs along one axis look, and where a window may begin.

    period  : the product of the strides: a window begins and ends at its multiples, else its strides fall elsewhere
    context : how far each of the period's outputs looks

    The two sides differ. For the preset ecg they are 160 and 176 samples, so a halo that is the same on both is 176.
    """

    period: int
    context: Context

    @property
    def before(self) -> int:
        """Positions before a block that begins at a multiple of the period, in whole periods."""
        return self._whole(int((self.context.before - np.arange(self.period)).max()))

    @property
    def after(self) -> int:
        """Positions after a block that ends at a multiple of the period, in whole periods."""
        return self._whole(int((self.context.after + np.arange(self.period)).max()) + 1 - self.period)

    def window(self, first: int, stop: int, size: int) -> tuple[int, int]:
        """Where the input for outputs first ... stop - 1 begins, and one past its end.

        size : of the whole, a multiple of the period

        Both are multiples of the period. A window that would pass an end of the whole ends there, where the outputs do
        see the padding.
        """
        left = np.arange(first, min(stop, first + self.period))
        right = np.arange(max(first, stop - self.period), stop)
        lowest = min(first, int((left - self.context.before[left % self.period]).min()))
        highest = max(stop, int((right + self.context.after[right % self.period]).max()) + 1)
        return max(0, lowest // self.period * self.period), min(size, self._whole(highest))

    def _whole(self, length: int) -> int:
        return max(0, -(-length // self.period) * self.period)


def halos(sizes: Sizes) -> tuple[Halo, ...]:
    """The halo along every axis of a network's input: one for signals, rows and columns for images.

    Raises ValueError for a network with layer norm, whose outputs depend on the whole input.
    """
    if sizes.fixed:
        raise ValueError(f"block {sizes.fixed[0]} (ENC{sizes.fixed[0]}): norm='layer' looks at the whole input, so it "
                         "cannot be cut into blocks; run it whole by model.predict, or use norm='batch'")
    axes = (1,) if sizes.rank == 1 else (0, 1)
    return tuple(Halo(sizes.multiple[axis], receptive.context(sizes.graph(), axis, sizes.multiple[axis]))
                 for axis in axes)


def integer_halos(network: Network) -> tuple[Halo, ...]:
    """The same of an integer network. Raises ValueError for one that is bound to its size."""
    integer_receptive.refuse_bound(network)
    multiple = multiple_of(network)
    axes = (1,) if len(network.input_shape) == 2 else (0, 1)
    return tuple(Halo(multiple[axis], integer_receptive.context(network, axis, multiple[axis])) for axis in axes)

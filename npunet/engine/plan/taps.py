"""The taps of a kernel along one axis, less those that see nothing but padding."""

from __future__ import annotations

from typing import NamedTuple

from npunet.geometry import Pads, Pair


class Taps(NamedTuple):
    """The taps of a kernel along one axis that see something besides padding.

    skipped : taps before them;  number : of them;  first : from an output's position to the first;  step : between two
    """

    skipped: int
    number: int
    first: int
    step: int

    @property
    def last(self) -> int:
        return self.first + (self.number - 1) * self.step

    @property
    def kept(self) -> slice:
        """Where they stand in the kernel."""
        return slice(self.skipped, self.skipped + self.number)

    @property
    def reach(self) -> Pair:
        """Positions read before the first output's own and behind the last's."""
        return (max(0, -self.first), max(0, self.last)) if self.number else (0, 0)

    @property
    def pads(self) -> Pair:
        """Padding that they need; less than none before, where the first lies behind an output's own position."""
        return (-self.first, max(0, self.last)) if self.number else (0, 0)

    def flipped(self) -> Taps:
        """The taps of the input's gradient."""
        return Taps(0, self.number, -self.last, self.step)


POINT = Taps(0, 1, 0, 1)
NONE = Taps(0, 0, 0, 1)


def taps_of(kernel: Pair, pads: Pads, dilation: Pair, size: Pair) -> tuple[Taps, Taps]:
    """The taps along height and width of a convolution whose output has the size (H, W) of its input; none along
    both where there are none along one."""
    y, x = (taps_along(*axis) for axis in zip(kernel, (pads[0][0], pads[1][0]), dilation, size, strict=True))
    return (y, x) if y.number and x.number else (NONE, NONE)


def taps_along(kernel: int, before: int, dilation: int, size: int) -> Taps:
    """Along one axis with so many positions of padding before it."""
    seen = [k for k in range(kernel) if abs(k * dilation - before) < size]
    return Taps(seen[0], len(seen), seen[0] * dilation - before, dilation) if seen else NONE

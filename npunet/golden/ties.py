"""Inputs on which a fused multiply-add that rounds twice gives another float than one that rounds once.

fmaf(x, w, acc) rounds the exact x * w + acc to float32. A library that adds the exact product to acc in double
(newlib's fmaf), or in the 64 bits of an x87, and rounds that to float32 is right unless the exact sum lies so near the
middle between two neighbouring floats that the first rounding hits the middle itself; then the tie goes to the even
neighbour, whichever was nearer. Of random numbers one in 2^29 shows that, so the numbers are made:

    X * W = middle - d      X, W the 24-bit integers of x and w; d is chosen small, X follows modulo a power of two
    acc   = d +- one ulp    on the side of the odd neighbour; from an earlier product fl(x1 * w1), x1 = acc / w1

Everything else that the sum reads is 0. With acc = d the sum is an exact tie, on which a port that rounds ties away
from zero errs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import frexp, inf, ldexp

import numpy as np

from npunet.golden.draws import Draws

Shape = tuple[int, int, int]
Place = tuple[int, int, int]  # row, column, channel
BITS = 24  # of a float32's significand
EXTENDED = 64  # of an x87's
# Values of d by kind of tie: "fine" shows a sum in 64 bits too, "coarse" a double's alone, "exact" where ties go.
OFFSETS: dict[str, Sequence[int]] = {
    "fine": range(16), "coarse": (0, *range(513, 4097, 256)), "exact": range(1, 16),
}
KINDS = tuple(OFFSETS)
MOST = 12  # ties in one image
ATTEMPTS = 12  # pairs of weights that are tried for one of them
SMALLEST, LARGEST = 2.0**-60, 2.0**60  # weights that are used


@dataclass(frozen=True)
class Window:
    """How the sums of a convolution with a stride of 1 read an image.

    kernel    : (KH, KW, C, F), or (KH, KW, C, M) of a depthwise one
    depthwise : whether every filter reads one channel
    dilation  : (dy, dx)
    before    : pads (top, left)
    bias      : (filters,) or None, added to the sums
    """

    kernel: np.ndarray
    depthwise: bool
    dilation: tuple[int, int]
    before: tuple[int, int]
    bias: np.ndarray | None

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns from its first to its last tap, both counted."""
        (KH, KW), (dy, dx) = self.kernel.shape[:2], self.dilation
        return (KH - 1) * dy + 1, (KW - 1) * dx + 1

    @property
    def filters(self) -> int:
        """How many sums it takes at a position."""
        return self.kernel.shape[3] * (self.kernel.shape[2] if self.depthwise else 1)

    def terms(self, f: int, start: tuple[int, int], shape: Shape) -> list[tuple[Place, float]]:
        """What a filter's sum reads in a window that starts there: place and weight, in the order of summation."""
        KH, KW, C, M = self.kernel.shape
        channels, last = ([f // M], f % M) if self.depthwise else (range(C), f)
        return [((row, column, c), float(self.kernel[ky, kx, c, last]))
                for ky in range(KH) if 0 <= (row := start[0] + ky * self.dilation[0]) < shape[0]
                for kx in range(KW) if 0 <= (column := start[1] + kx * self.dilation[1]) < shape[1]
                for c in channels]


def image_of_ties(shape: Shape, window: Window, draws: Draws) -> np.ndarray:
    """An image (H, W, C), float32, of zeros but for pairs of values, each pair alone in the window of one output.

    Where no two weights allow a tie (a sum of one product has none) it is all zeros.
    """
    image = np.zeros(shape, np.float32)
    made = 0
    for start in _starts(shape, window):
        if made == MOST:
            break
        pair = _pair(shape, window, start, KINDS[made % len(KINDS)], 1 - 2 * (made // len(KINDS) % 2), draws)
        for place, value in pair:
            image[place] = value
        made += bool(pair)
    return image


def _starts(shape: Shape, window: Window) -> Iterator[tuple[int, int]]:
    """First rows and columns of windows that share nothing, within the image where that is large enough."""
    axes = []
    for extent, reach, before in zip(shape[:2], window.reach, window.before, strict=True):
        rest = extent - reach
        axes.append(range(rest % reach // 2, rest + 1, reach) if rest >= 0 else range(extent // 2 - before,
                                                                                      extent // 2 - before + 1))
    return ((row, column) for row in axes[0] for column in axes[1])


def _pair(shape: Shape, window: Window, start: tuple[int, int], kind: str, sign: int,
          draws: Draws) -> list[tuple[Place, float]]:
    """Two places of a window and their values, or none."""
    for words in draws.words(3 * ATTEMPTS).reshape(ATTEMPTS, 3) >> np.uint64(11):
        f, one, other = map(int, words)
        f %= window.filters
        terms = window.terms(f, start, shape)
        if len(terms) < 2:
            break
        first = one % (len(terms) - 1)
        (earlier, w1), (later, w2) = terms[first], terms[first + 1 + other % (len(terms) - 1 - first)]
        if not all(SMALLEST < abs(weight) < LARGEST for weight in (w1, w2)):
            continue
        values = values_of_tie(w1, w2, 0.0 if window.bias is None else float(window.bias[f]), kind, sign)
        if values is not None:
            return [(earlier, values[0]), (later, values[1])]
    return []


def values_of_tie(w1: float, w2: float, bias: float, kind: str, sign: int = 1) -> tuple[float, float] | None:
    """Floats x1, x2 for which fl(fl(x1 * w1) + x2 * w2), and that plus a bias, shows an error of a kind; or None.

    w1, w2, bias : float32 values
    sign         : of the sum
    """
    for x2, low, high in _products_near_ties(w2, OFFSETS[kind], max(0, frexp(bias)[1] + 2)):
        product = x2 * w2
        middle = (low + high) / 2
        distance = middle - product
        to_low = _even(low)  # where the tie goes
        acc = distance
        if kind == "exact" and not (to_low and distance):
            continue
        if kind != "exact":
            if distance:
                acc = float(np.nextafter(np.float32(distance), np.float32(inf if to_low else -inf)))
            else:
                acc = ldexp(low, -70 if kind == "fine" else -58) * (1 if to_low else -1)
            lost = abs(distance - acc) < ldexp(1.0, frexp(product)[1] - EXTENDED - 1)
            if product + acc != middle or lost != (kind == "fine"):
                continue
        right, wrong = (low, high) if to_low == (kind == "exact") else (high, low)
        x1 = _preimage(acc, w1)
        if x1 is not None and np.float32(sign * right + bias) != np.float32(sign * wrong + bias):
            return sign * x1, sign * x2
    return None


def _products_near_ties(w: float, offsets: Sequence[int], exponent: int) -> Iterator[tuple[float, float, float]]:
    """Floats x whose product with w is an offset's distance from the middle of two floats: x, and these two.

    exponent : the products lie between 2^exponent and 2^(exponent + 1)
    """
    fraction, scale = frexp(abs(w))
    whole = int(ldexp(fraction, BITS))
    zeros = (whole & -whole).bit_length() - 1
    whole, scale = whole >> zeros, scale - BITS + zeros  # w = +-whole * 2^scale, whole odd
    inverse = pow(whole, -1, 1 << BITS)
    for bits in range(whole.bit_length() + BITS, max(whole.bit_length() + BITS - 3, BITS), -1):  # of the product
        ulp = 1 << (bits - BITS)
        for d in (value * side for value in offsets for side in (1, -1)):
            x = (ulp // 2 - d) * inverse % ulp
            x += ((1 << BITS) - 1 - x) // ulp * ulp  # the largest that fits
            if (x * whole).bit_length() == bits:
                shift = exponent + 1 - bits
                low = x * whole // ulp * ulp
                yield (ldexp(x, shift - scale) * (1 if w > 0 else -1), ldexp(low, shift), ldexp(low + ulp, shift))


def _even(value: float) -> bool:
    """Whether the last bit of a float32 is 0."""
    return int(ldexp(frexp(value)[0], BITS)) % 2 == 0


def _preimage(target: float, w: float) -> float | None:
    """A float32 x with fl(x * w) = target, where there is one."""
    near = np.float32(target / w)
    for x in (near, np.nextafter(near, np.float32(inf)), np.nextafter(near, np.float32(-inf))):
        if float(np.float32(float(x) * w)) == target:
            return float(x)
    return None

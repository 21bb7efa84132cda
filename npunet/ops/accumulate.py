"""The order of summation, and the fused multiply-add: every declared sum of the network passes through this file.

"any"      whatever is fastest: BLAS, or NumPy's own order
"seq"      acc = fl(acc + fl(x * w)), one term after another
"seq_fma"  acc = fl(acc + x * w), one term after another; float32 only
"winograd" as "seq_fma", but for the dense convolutions that ops.winograd computes its own way; float32 only

Outputs are vectorised, a sum never is: so the bits depend on neither block size nor machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

ARITHMETICS = ("any", "seq", "seq_fma", "winograd")
FUSED = ("seq_fma", "winograd")  # sums by fused multiply-add

_BLOCK = 1 << 16  # outputs worked on together, so that the buffers stay in cache
_LOW = np.int64((1 << 29) - 1)  # the bits of a float64 that a float32 has no room for
_HALF = np.int64(1 << 28)  # and their value on a tie between two normal float32
_SAFE = 2.0**-120  # products at least this large leave no inexact sum among the subnormals


def check_arithmetic(arithmetic: str, dtype: np.dtype) -> None:
    """Raise ValueError for an unknown arithmetic, or for a fused one on anything but float32."""
    if arithmetic not in ARITHMETICS:
        raise ValueError(f"arithmetic {arithmetic!r} is not one of {', '.join(ARITHMETICS)}")
    if arithmetic in FUSED and dtype != np.float32:
        raise ValueError(f'arithmetic "{arithmetic}" is defined for float32, not for {dtype}; use "seq" or "any"')


def accumulate(y: np.ndarray, x_tap: np.ndarray, w_tap: np.ndarray, arithmetic: str = "any") -> np.ndarray:
    """Add the product of one tap to the running total, channel after channel: y + x_tap @ w_tap.

    y[..., f] = y[..., f] + x_tap[..., 0] * w_tap[0, f] + x_tap[..., 1] * w_tap[1, f] + ...   from left to right

    y : (..., F)       running total, contiguous; updated in place and returned
    x_tap : (..., C)   dtype of y
    w_tap : (C, F)     dtype of y
    arithmetic : one of ARITHMETICS

    A term with x = 0 leaves the total as it is for finite w, so a zero halo stands for skipped taps.
    Raises ValueError for an unknown arithmetic, or for seq_fma on anything but float32.
    Source: Higham 2002, Accuracy and Stability of Numerical Algorithms, section 3.1.
    """
    check_arithmetic(arithmetic, y.dtype)
    if arithmetic == "any":
        y += np.matmul(x_tap, w_tap)
        return y
    total, terms = _positions(y), _positions(x_tap)  # (P, F), (P, C)
    columns = w_tap[:, :, None]  # (C, F, 1)
    for block in _blocks(total):
        rows = np.ascontiguousarray(terms[block].T)  # (C, P)
        acc = np.ascontiguousarray(total[block].T)  # (F, P)
        total[block] = _add_products(acc, rows[:, None], columns, arithmetic).T
    return total.reshape(y.shape)


def accumulate_depthwise(y: np.ndarray, x_tap: np.ndarray, w_tap: np.ndarray, arithmetic: str = "any") -> np.ndarray:
    """Add the product of one tap to the running total, each channel on its own: y + x_tap[..., None] * w_tap.

    y[..., c, m] = y[..., c, m] + x_tap[..., c] * w_tap[c, m]

    y : (..., C, M)    running total, contiguous; updated in place and returned
    x_tap : (..., C)   dtype of y
    w_tap : (C, M)     dtype of y

    "any" and "seq" give the same bits: there is one product a tap.
    Raises ValueError for an unknown arithmetic, or for seq_fma on anything but float32.
    """
    check_arithmetic(arithmetic, y.dtype)
    if arithmetic not in FUSED:
        weights = np.broadcast_to(w_tap, y.shape[-3:]).copy()  # a whole row of outputs, so that NumPy's loops are long
        y += x_tap[..., None] * weights
        return y
    total, terms = y.reshape(-1, *w_tap.shape), _positions(x_tap)  # (P, C, M), (P, C)
    for block in _blocks(total):
        rows = np.ascontiguousarray(terms[block].T)[None, :, None]  # (1, C, 1, P)
        acc = np.ascontiguousarray(total[block].transpose(1, 2, 0))  # (C, M, P)
        total[block] = _add_products(acc, rows, w_tap[None, ..., None], arithmetic).transpose(2, 0, 1)
    return total.reshape(y.shape)


def sequential_sum(x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Sum over axes in row-major order, in float64 (complex128 for complex x), starting from +0.

    s = 0; for every index over axes, the last axis fastest: s = fl64(s + x)

    x : any shape, any float dtype
    axes : axes of x, increasing

    Returns the sums over the axes that remain, in the wide dtype: rounding them is the caller's, once.
    """
    wide = np.promote_types(x.dtype, np.float64)
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    terms = x.transpose(list(axes) + kept)
    shape = terms.shape[len(axes) :]
    terms = terms.reshape(-1, *shape)  # (terms, kept...)
    total = np.zeros(shape, wide)
    rows = max(1, _BLOCK // max(1, total.size))
    for start in range(0, len(terms), rows):
        part = terms[start : start + rows].astype(wide)
        part[0] += total
        total = np.add.accumulate(part, axis=0)[-1]  # one after another by definition; np.sum is not
    return total


def fma32(a: np.ndarray | np.float32, b: np.ndarray | np.float32, c: np.ndarray | np.float32) -> np.ndarray:
    """Fused multiply-add of float32, rounded once: fl(a * b + c), the bits of C's fmaf.

    The product is exact in float64; its sum with c is rounded to odd, after which the cast to float32 rounds as if
    the sum had been exact. Right for subnormals, infinities, NaN and signed zeros; an overflow is an infinity.

    a, b, c : float32, broadcast together

    Raises TypeError when an argument is not float32.
    Source: Boldo & Melquiond 2008, Emulation of a FMA and correctly rounded sums, IEEE Trans. Computers 57(4).
    """
    for operand in (a, b, c):
        if np.asarray(operand).dtype != np.float32:
            raise TypeError(f"fma32 takes float32, not {np.asarray(operand).dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        return _round_to_odd(np.multiply(a, b, dtype=np.float64), np.asarray(c, np.float64)).astype(np.float32)


def _positions(a: np.ndarray) -> np.ndarray:
    """(..., C) as (P, C)."""
    return a.reshape(-1, a.shape[-1])


def _blocks(total: np.ndarray) -> Iterator[slice]:
    """Slices of the first axis that hold about _BLOCK elements of total each."""
    width = max(1, _BLOCK * len(total) // max(1, total.size))
    return (slice(start, start + width) for start in range(0, len(total), width))


def _add_products(acc: np.ndarray, xs: np.ndarray, ws: np.ndarray, arithmetic: str) -> np.ndarray:
    """acc + xs[0] * ws[0] + xs[1] * ws[1] + ... in the declared arithmetic; acc is overwritten."""
    with np.errstate(over="ignore", invalid="ignore"):  # as in C: infinities and NaN, no warning
        return _fused(acc, xs, ws) if arithmetic in FUSED else _separate(acc, zip(xs, ws, strict=True))


def _separate(acc: np.ndarray, pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> np.ndarray:
    product = np.empty_like(acc)
    for x, w in pairs:
        np.multiply(x, w, out=product)  # fl(x * w)
        np.add(acc, product, out=acc)  # fl(acc + fl(x * w))
    return acc


def _fused(acc: np.ndarray, xs: np.ndarray, ws: np.ndarray) -> np.ndarray:
    """The fused chain, acc held as float64 whose values are float32.

    Let p = x*w, exact in float64, and s = fl64(p + acc). Casting s to float32 differs from rounding p + acc only when
    s is a tie between two neighbouring float32 and p + acc is not s: on every other s the two lie on the same side of
    each tie. So only ties need the rounding to odd. A tie between normal float32 shows in the low 29 bits of s.
    A tie between subnormals does not, but there p + acc = s: when |p| >= 2^-120, p and acc are multiples of 2^-167,
    and a sum of size up to 2^-126 then fits in 41 bits. Smaller products than that take the rounding to odd throughout.
    """
    wide, xs, ws = acc.astype(np.float64), xs.astype(np.float64), ws.astype(np.float64)
    product, total, ties = np.empty_like(wide), np.empty_like(wide), np.empty(wide.shape, bool)
    low = np.empty(wide.shape, np.int64)
    plain = _smallest(xs) * _smallest(ws) >= _SAFE
    for x, w in zip(xs, ws, strict=True):
        np.multiply(x, w, out=product)
        if plain:
            np.add(product, wide, out=total)
            np.bitwise_and(total.view(np.int64), _LOW, out=low)
            np.equal(low, _HALF, out=ties)
            if ties.any():
                total[ties] = _round_to_odd(product[ties], wide[ties])
        else:
            total = _round_to_odd(product, wide)
        acc[...] = total  # the one rounding: fl(acc + x * w)
        wide[...] = acc
    return acc


def _smallest(a: np.ndarray) -> float:
    """The smallest magnitude in a that is not zero."""
    size = np.abs(a)
    return float(np.min(size, initial=np.inf, where=size > 0))


def _round_to_odd(p: np.ndarray, c: np.ndarray) -> np.ndarray:
    """p + c in float64, and where that is inexact the one of its two neighbours whose last bit is 1."""
    s = np.asarray(p + c)
    # TwoSum (Knuth): p + c = s + t without error.
    v = s - p
    t = (p - (s - v)) + (c - v)
    bits = s.view(np.int64)
    fix = (t != 0) & np.isfinite(s) & (bits & 1 == 0)
    # s is even and p + c lies off it on the side of t: the odd neighbour is one step that way.
    step = np.where((t > 0) == (s > 0), 1, -1)
    return np.where(fix, bits + step, bits).view(np.float64)

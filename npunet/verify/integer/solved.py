"""Weights and biases that a port's sums show: every output channel is a linear function of its windows, solved for.

From accumulators, where the port shows them, the solution is exact; from outputs it is near, and rounding it to whole
numbers makes it exact where there are enough windows. What comes out is run again, so nothing is told that misses one
element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from npunet.integer.network import Network
from npunet.ops.windows import windows
from npunet.verify.diagnose.regions import runs
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.reordered import reordered

MOST_WINDOWS, MOST_WEIGHTS = 2**13, 600  # of one least-squares problem
ENOUGH = 1.5  # windows for each unknown
SHOWN = 3
PIECE = 4  # weights that differ, so that others of the same values are not there by chance
Suspect = tuple[str, Callable[[Evidence], np.ndarray]]


def solved(evidence: Sequence[Evidence], sums: Sequence[Evidence]) -> Iterator[Suspect]:
    """The weights and biases that give the port's output, where they are others than the layer's.

    sums : the same cases with the port's accumulators, where it shows them; else empty
    """
    node = evidence[0].node
    if "weights" not in node.arrays:
        return
    w, b = node.arrays["weights"].astype(np.int64), node.arrays["bias"].astype(np.int64)
    depthwise = node.op == "depthwise_conv2d"
    KH, KW, C, F = w.shape[0], w.shape[1], w.shape[2], len(b)
    if KH * KW * (1 if depthwise else C) > MOST_WEIGHTS:
        return
    made, bias = w.reshape(-1, F).copy() if not depthwise else w.reshape(KH * KW, F).copy(), b.copy()
    patches = [_patches(e) for e in (sums or evidence)]
    for f in range(F):
        lane = slice(f // (F // C), f // (F // C) + 1) if depthwise else slice(None)
        rows, targets = [], []
        for e, patch in zip(sums or evidence, patches, strict=True):
            x = patch[..., lane].reshape(-1, KH * KW * (1 if depthwise else C))
            y, inside = (e.got[..., f].ravel(), slice(None)) if sums else _accumulated(e, f)
            rows.append(x[inside])
            targets.append(y[inside] if not sums else y)
        x, y = np.concatenate(rows), np.concatenate(targets)
        keep = np.linspace(0, len(x) - 1, min(len(x), MOST_WINDOWS)).astype(int)
        x, y = x[keep].astype(np.float64), y[keep].astype(np.float64)
        alive = x.any(0)
        if len(x) < ENOUGH * (np.count_nonzero(alive) + 1):
            return
        a = np.c_[x[:, alive], np.ones(len(x))]
        known = made[alive, f]
        change = np.linalg.lstsq(a, y - x[:, alive] @ known - b[f], rcond=None)[0]
        made[alive, f] = known + np.rint(change[:-1]).astype(np.int64)
        left = y - x @ made[:, f]
        bias[f] = b[f] if np.abs(left - b[f]).max() <= _slack(evidence[0], f, bool(sums)) else int(np.rint(left.mean()))
    weights = made.reshape(w.shape)
    if np.array_equal(weights, w) and np.array_equal(bias, b):
        return
    arrays = {"weights": weights, "bias": bias.astype(node.arrays["bias"].dtype)}
    if np.array_equal(weights, w):
        told = _of_weights(w, bias - b, node.attrs["input_offset"], depthwise)
        if told:
            yield told, lambda e: e.run(arrays=arrays)
    yield in_words(w, weights, b, bias, evidence[0].network, depthwise), lambda e: e.run(arrays=arrays)


def _patches(e: Evidence) -> np.ndarray:
    """What every window reads, less the zero point, 0 outside of the image: (N, OH, OW, KH * KW, C)."""
    a, (KH, KW) = e.node.attrs, e.node.arrays["weights"].shape[:2]
    taps = windows(e.inputs[0].astype(np.int64) + a["input_offset"], (KH, KW), a["stride"], a["pads"], a["dilation"])
    return np.stack([taps[tap] for tap in taps], -2)


def _slack(e: Evidence, f: int, exact: bool) -> float:
    """By how much a channel's sum may miss: 0, or what one step of the output stands for."""
    return 0.0 if exact else 1.0 / _factor(e, f)


def _factor(e: Evidence, f: int) -> float:
    """Steps of the output that one step of the sum is worth."""
    return float(e.node.arrays["multiplier"][f]) * 2.0 ** (int(e.node.arrays["shift"][f]) - 31)


def _accumulated(e: Evidence, f: int) -> tuple[np.ndarray, np.ndarray]:
    """A channel's sums, as far as its output tells them, and where it does: between the clamps."""
    got = e.got[..., f].ravel()
    inside = (got > e.node.attrs["act_min"]) & (got < e.node.attrs["act_max"])
    return (got - e.node.attrs["output_offset"]) / _factor(e, f), inside


def in_words(w: np.ndarray, weights: np.ndarray, b: np.ndarray, bias: np.ndarray,
             network: Network | None = None, depthwise: bool = False) -> str:
    """How weights (KH, KW, C, F) and biases (F,) differ from those they should be.

    network : whose they may be;  depthwise : whether F are the filters of each channel
    """
    parts = []
    at = np.argwhere(weights != w)
    if len(at):
        zeroed = bool((weights[weights != w] == 0).all())
        first = tuple(at[0].tolist())
        moved = reordered(w, weights, depthwise)
        piece = "" if moved else _piece(w, weights, network)
        if moved:
            parts.append(moved)
        elif piece:
            parts.append(f"takes its weights KH KW C F with {piece}")
        elif zeroed:
            parts.append(f"takes {len(at)} of its {w.size} weights for 0, {_lying(at, w.shape)}")
        else:
            parts.append(f"has other weights, {len(at)} of {w.size}, {_lying(at, w.shape)}: {int(weights[first])} at "
                         f"{list(first)}, not {int(w[first])}")
    off = np.flatnonzero(bias != b)
    if len(off):
        told = ", ".join(f"{int(bias[f])} in channel {f}, not {int(b[f])}" for f in off[:SHOWN].tolist())
        parts.append(f"has another bias in {len(off)} of {len(b)} channels{_relation(b[off], bias[off])}: {told}")
    return " and ".join(parts)


def _of_weights(w: np.ndarray, more: np.ndarray, offset: int, depthwise: bool) -> str:
    """Words for biases that are off by the zero point times the weights of some input channels, "" for others.

    more : (F,), what was added to the biases;  offset : of the input
    """
    if not offset or depthwise:
        return ""
    C, sums = w.shape[2], w.astype(np.int64).sum((0, 1))                                   # (C, F)
    for size in (C, C // 2, C // 4 * 4, C - 1, 1):
        for part, words in ((slice(0, size), f"0 to {size - 1}"), (slice(C - size, C), f"{C - size} to {C - 1}")):
            for sign, said in ((1, "twice"), (-1, "not at all")):
                if size > 0 and np.array_equal(more, sign * offset * sums[part].sum(0)):
                    return (f"takes the input's zero point {said} for channels {words} of its input: its bias is off "
                            "by that times the sum of their weights")
    return ""


def _lying(at: np.ndarray, shape: tuple[int, ...]) -> str:
    """Where weights lie, (n, 4) indices: along the axes, or in one piece of memory, or where the first is."""
    said = []
    for axis, name in enumerate(("row of taps", "column of taps", "input channel", "filter")):
        part = np.unique(at[:, axis])
        if len(part) < shape[axis]:
            said.append(f"{name} {runs(part)}")
    flat = np.ravel_multi_index(tuple(at.T), shape)
    if len(flat) > 1 and flat[-1] - flat[0] + 1 <= 1.2 * len(flat):
        said.append(f"bytes {flat[0]} to {flat[-1]}")
    return f"in {', '.join(said)}" if said else f"the first at {at[0].tolist()}"


def _piece(w: np.ndarray, weights: np.ndarray, network: Network | None) -> str:
    """A piece of memory that holds another layer's weights, or this layer's own from elsewhere."""
    made, right = weights.ravel(), w.ravel()
    flat = np.flatnonzero(made != right)
    if len(flat) < PIECE:
        return ""
    first, last = int(flat[0]), int(flat[-1]) + 1
    others = {node.name: node.arrays["weights"].ravel() for node in network or () if "weights" in node.arrays}
    for name, other in others.items():
        windows_of = np.lib.stride_tricks.sliding_window_view(other, last - first) if len(other) >= last - first else ()
        for start in np.flatnonzero((np.asarray(windows_of) == made[first:last]).all(1)) if len(windows_of) else ():
            whose = "" if np.array_equal(other, right) else f" of {name}"
            return f"the bytes {start} to {start + last - first - 1}{whose} in bytes {first} to {last - 1}"
    return ""


def _relation(b: np.ndarray, bias: np.ndarray) -> str:
    """What all changed biases have in common."""
    if len(b) < 2:
        return ""
    if len(set((bias - b).tolist())) == 1:
        return f", {int((bias - b)[0]):+d} in each"
    for bits in range(1, 17):
        if np.array_equal(bias, b << bits):
            return f", 2^{bits} times what it should be"
        if np.array_equal(bias, b >> bits):
            return f", 2^-{bits} times what it should be"
    return ""

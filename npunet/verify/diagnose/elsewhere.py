"""Patterns of wiring: a layer that read another tensor, or its own in another place, scale or order."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npunet.ops.table import CONVOLUTIONS
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose.patterns import Guess, Guesses, Sight, pattern
from npunet.verify.diagnose.pointwise import ACTIVATIONS, declared
from npunet.verify.diagnose.sources import before

F = np.float32
LIMITS = (1, 2, 4, 6, 8, 10, 16, 32, 127 / 128)
SMALL = (*(2.0**-n for n in range(1, 17)), *(10.0**-n for n in range(1, 7)), 0.05, 0.02, 0.005)
MOVED = 16  # elements by which an input may be moved
BEYOND = 0.5  # share of the output that may depend on what is not known
Input = tuple[str, np.ndarray]


@pattern()
def wrong_tensor(s: Sight) -> Guesses:
    """Another tensor of the same shape, or the start of a larger one, in the place of an input."""
    for number, x in enumerate(s.inputs):
        which = "" if len(s.inputs) == 1 else f" as input {number + 1}"
        for name, value in _fitting(s, x):
            inputs = tuple(value if k == number else v for k, v in enumerate(s.inputs))
            yield Guess(f"{name} is read{which} instead of {s.node.inputs[number]}", recipe=s.recipe.but(inputs=inputs))


def _fitting(s: Sight, x: np.ndarray) -> Iterator[Input]:
    for name, value in _around(s):
        if value is x or value.ndim != 4 or len(value) != len(x) or value.size < x.size:
            continue
        if value.shape == x.shape:
            yield name, value
        elif value.shape[:3] == x.shape[:3]:
            yield f"{name} (its first {x.shape[3]} channels)", value[..., : x.shape[3]]
            yield f"{name} (as raw memory)", _raw(value, x)
        else:
            yield f"{name} (as raw memory)", _raw(value, x)
            yield from _resampled(name, value, x)


def _resampled(name: str, value: np.ndarray, x: np.ndarray) -> Iterator[Input]:
    """A larger image cropped, or every n-th row and column of it, where it has the channels."""
    (H, W, C), (rows, columns, channels) = x.shape[1:], value.shape[1:]
    if rows < H or columns < W or channels < C:
        return
    value = value[..., :C]
    yield f"{name} (its first {H} rows and {W} columns)", value[:, :H, :W]
    top, left = (rows - H) // 2, (columns - W) // 2
    yield f"{name} (its middle {H} rows and {W} columns)", value[:, top : top + H, left : left + W]
    if rows % H == 0 and columns % W == 0:
        for first in range(max(rows // H, columns // W)):
            taken = value[:, min(first, rows // H - 1) :: rows // H, min(first, columns // W - 1) :: columns // W]
            yield f"{name} (every {rows // H}th row and {columns // W}th column from number {first} on)", taken


def _around(s: Sight) -> Iterator[Input]:
    """Other tensors, and what an activation or a sum that was dumped had read."""
    yield from before(s)
    for name, value in s.evidence.cases.items():
        if name.rpartition(" of ")[0] in s.node.inputs:
            yield f"the output of {name.replace(' of ', ' in the case ')}", value


def _raw(value: np.ndarray, x: np.ndarray) -> np.ndarray:
    return value.reshape(len(value), -1)[:, : x[0].size].reshape(x.shape)


@pattern("add")
def residual_before_activation(s: Sight) -> Guesses:
    """A sum with what was there before an activation, or activated after it."""
    for number, x in enumerate(s.inputs):
        for name, value in [("", x), *((f"{name} ", v) for name, v in _around(s) if v.shape == x.shape)]:
            total = (value + s.inputs[1 - number]) if number == 0 else s.inputs[0] + value
            for op in ACTIVATIONS:
                words = f"{op} after the addition" + (f", with {name}as input {number + 1}" if name else "")
                yield Guess(f"{words} (residual before the activation)" if name else words,
                            declared(op)(total))


@pattern("batch_norm_inference", "layer_norm")
def activation_before_norm(s: Sight) -> Guesses:
    """Norm and activation in the other order, or the activation on both sides of it."""
    for op in ACTIVATIONS:
        activated = declared(op)(s.inputs[0])
        yield Guess(f"norm and activation exchanged: {op} before the norm", recipe=s.recipe.but(inputs=(activated,)))


@pattern()
def activated_already(s: Sight) -> Guesses:
    """An activation on an output that has none yet: applied in place before the dump, or fused."""
    if s.recipe.op not in ACTIVATIONS:
        followers = {node.op for node in s.bundle.graph if s.node.name in node.inputs}
        for op in ACTIVATIONS:
            does = "of the next layer is applied already" if op in followers else "is applied to the output"
            yield Guess(f"{op} {does}", declared(op)(s.right))
            if s.recipe.op in CONVOLUTIONS and s.recipe.bias is not None:
                yield Guess(f"{op} applied before the bias", recipe=s.recipe.but(
                    middle=(*s.recipe.middle, declared(op))))


@pattern()
def applied_twice(s: Sight) -> Guesses:
    """The layer run on its own output."""
    if len(s.inputs) == 1 and s.right.shape == s.inputs[0].shape and s.recipe.op != "dropout_inference":
        yield Guess(f"{s.recipe.op} applied twice", recipe=s.recipe.but(inputs=(s.right,)))


@pattern()
def input_changed(s: Sight) -> Guesses:
    """The input reversed, moved, or in another layout; what is done to the network's input, verify.inputs knows."""
    if s.recipe.op in ("concat", "add", "dropout_inference", *ACTIVATIONS):
        return  # where elements are worked on one by one, it is the output that is changed
    for words, x in changes(s.inputs[0]):
        yield Guess(f"the input {words}", recipe=s.recipe.but(inputs=(np.ascontiguousarray(x, F),)))


def changes(x: np.ndarray) -> Iterator[Input]:
    """(words, what is read) of everything that may be done to a tensor (N, H, W, C) while it is read."""
    flat = x.reshape(len(x), -1)
    for axis, name in ((1, "rows"), (2, "columns"), (3, "channels")):
        extent = x.shape[axis]
        if extent > 1:
            yield f"has its {name} in reverse order", np.flip(x, axis)
        for by in range(1, min(extent, 9)):
            yield f"is read {by} {name} later, around the end", np.roll(x, -by, axis)
            yield f"is read {by} {name} earlier, around the end", np.roll(x, by, axis)
            yield f"is read {by} {name} later, zero behind the end", _slid(x, -by, axis)
            yield f"is read {by} {name} earlier, zero before the start", _slid(x, by, axis)
    for by in range(1, min(flat.shape[1], 9)):
        yield f"is read {by} elements later", _slid(flat, -by, 1).reshape(x.shape)
        yield f"is read {by} elements earlier", _slid(flat, by, 1).reshape(x.shape)
    for line in range(2, (flat.shape[1] - 1).bit_length()):
        n = np.arange(flat.shape[1])
        yield (f"is read from its start again at every {1 << line}th element (an index of {line} bits)",
               flat[:, n % (1 << line)].reshape(x.shape))
        for stuck, at in ((0, n & ~(1 << line)), (1, np.minimum(n | 1 << line, len(n) - 1))):
            yield f"is read with address line {line} of its elements stuck at {stuck}", flat[:, at].reshape(x.shape)
    N, H, W, C = x.shape
    yield "is NHWC and read as NCHW", x.reshape(N, C, H, W).transpose(0, 2, 3, 1)
    yield "is NCHW and read as NHWC", x.transpose(0, 3, 1, 2).reshape(x.shape)
    yield "has rows and columns exchanged", x.transpose(0, 2, 1, 3).reshape(x.shape)
    yield "is read column by column", x.reshape(N, W, H, C).transpose(0, 2, 1, 3)
    for name, unit in (("pixel", C), ("row", W * C)):
        for pitch in _pitches(unit, C):
            words = f"is read with a {name} of {unit} elements at a pitch of {pitch}"
            yield f"{words}, zero beyond its end", pitched(x, unit, pitch, F(0))
            yield f"{words}, around the end", pitched(x, unit, pitch, None)
    for axis, name in ((1, "row"), (2, "column"), (3, "channel")):
        if x.shape[axis] > 1:
            for words, at in (("first", 0), ("last", -1)):
                cut = x.copy()
                np.moveaxis(cut, axis, 0)[at] = 0
                yield f"has its {words} {name} taken for zeros (a check that is off by one)", cut
    if C > 2:
        yield "has its first and third channel exchanged", x[..., [2, 1, 0, *range(3, C)]]
    if C % 2 == 0:
        yield "has neighbouring channels exchanged", x.reshape(N, H, W, -1, 2)[..., ::-1].reshape(x.shape)
    yield "is taken without its sign", np.abs(x)
    yield "has its negative values taken for zero (unsigned)", np.maximum(x, F(0))
    yield "has its positive values taken for zero", np.minimum(x, F(0))
    for limit in LIMITS:
        yield f"is clipped to {-limit:g} ... {limit:g}", np.clip(x, F(-limit), F(limit))
        yield f"is clipped to 0 ... {limit:g}", np.clip(x, F(0), F(limit))
    for limit in SMALL:
        yield f"has what is at most {limit:g} in magnitude taken for zero", np.where(np.abs(x) <= F(limit), F(0), x)
    yield "has the other sign", -x
    yield "is all zeros", np.zeros_like(x)
    if N > 1:
        yield "is that of the first sample for every sample", np.broadcast_to(x[:1], x.shape)
        yield "is that of the sample before", np.roll(x, 1, 0)


def _pitches(unit: int, channels: int) -> list[int]:
    """Pitches that a unit of so many elements may have: rounded up, or longer by one element or pixel."""
    rounded = {-(-unit // step) * step for step in (2, 4, 8, 16, 32)}
    return sorted((rounded | {unit + 1, unit + channels}) - {unit})


def pitched(x: np.ndarray, unit: int, pitch: int, beyond: np.float32 | None) -> np.ndarray:
    """Memory read as if every `unit` elements began `pitch` after the last; beyond : its end, or None: its start."""
    flat = x.reshape(len(x), -1)
    n = np.arange(flat.shape[1])
    at = n // unit * pitch + n % unit
    around = flat[:, at % len(n)]
    return (around if beyond is None else np.where(at < len(n), around, beyond)).reshape(x.shape)


@pattern()
def input_beyond(s: Sight) -> Guesses:
    """The input read at another pitch or from another start, with something unknown behind its end."""
    if s.recipe.op in ("add", "concat", "layer_norm", *ACTIVATIONS) or not np.isfinite(s.inputs[0]).all():
        return
    x = s.inputs[0]
    N, _, W, C = x.shape
    flat = x.reshape(N, -1)
    reads = [(f"is read with a {name} of {unit} elements at a pitch of {pitch}", pitched(x, unit, pitch, F(np.nan)))
             for name, unit in (("pixel", C), ("row", W * C))
             for pitch in _pitches(unit, C)]
    for by in range(1, min(flat.shape[1] // 4, MOVED + 1)):
        for sign, way in ((-by, "later"), (by, "earlier")):
            reads.append((f"is read {by} elements {way}", _slid(flat, sign, 1, np.nan).reshape(x.shape)))
    for words, read in reads:
        yield Guess(f"the input {words}; what lies beyond its end is not known", *_judged(s, read), of_sums=True)


def _judged(s: Sight, read: np.ndarray) -> tuple[np.ndarray]:
    """The output, with the port's own where it depends on what is not known."""
    y = recipes.run(s.recipe.but(inputs=(read,)))
    unknown = np.isnan(y)
    known = np.count_nonzero(s.differs & ~unknown) >= BEYOND * np.count_nonzero(s.differs)
    return (np.where(unknown, s.got, y) if known and unknown.mean() < BEYOND else s.right,)


def _slid(x: np.ndarray, by: int, axis: int, left: float = 0.0) -> np.ndarray:
    """Moved by some places; left : what stands where nothing is left."""
    moved = np.roll(x, by, axis)
    end = [slice(None)] * x.ndim
    end[axis] = slice(None, by) if by > 0 else slice(by, None)
    moved[tuple(end)] = left
    return moved


@pattern(*CONVOLUTIONS, "layer_norm")
def weights_elsewhere(s: Sight) -> Guesses:
    """Another array of the network, or the start of one, in the place of a kernel, a bias or a norm's parameter."""
    own = list(s.recipe.kernels)
    for name, array in s.bundle.weights.items():
        if name in s.node.weights:
            continue
        for number, kernel in enumerate(own):
            if array.size >= kernel.size and array.ndim == kernel.ndim:
                which = name if array.shape == kernel.shape else f"{name} (as raw memory)"
                held = np.ascontiguousarray(array.ravel()[: kernel.size].reshape(kernel.shape))
                kernels = tuple(held if k == number else w for k, w in enumerate(own))
                words = f"{which} is taken instead of {s.node.weights[number]}"
                yield Guess(words, recipe=s.recipe.but(kernels=kernels))
        if s.recipe.bias is not None and array.ndim == 1 and array.size >= s.recipe.bias.size:
            held = array[: s.recipe.bias.size]
            yield Guess(f"{name} is taken as the bias", recipe=s.recipe.but(bias=held))
    if s.recipe.op == "layer_norm":
        for node in s.bundle.graph:
            if node.op == "layer_norm" and node is not s.node:
                kernels = tuple(s.bundle.weights[name] for name in node.weights)
                if kernels[0].shape == own[0].shape:
                    yield Guess(f"the parameters of {node.name} are taken", recipe=s.recipe.but(kernels=kernels))

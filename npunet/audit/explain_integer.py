"""One integer of an integer network taken apart: every product, then the requantisation step by step.

A real value stands for an integer q of a tensor: scale * (q - zero point).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from npunet.audit.explain import placed
from npunet.audit.explanation import Index
from npunet.integer import run
from npunet.integer.fixed_point import doubling_high_multiply, rounding_shift
from npunet.integer.network import Network, Node
from npunet.layer_values import unknown_layer


@dataclass(frozen=True)
class IntegerTerm:
    """One summand of an accumulator, or one candidate of a pooling.

    tensor, at : the element that it reads; at is None in the padding, which counts as the zero point
    q, centred : its integer, and q - zero point
    weight     : index of the weight, None where there is none;  w, product, total : integers
    """

    tensor: str
    at: Index | None
    q: int
    centred: int
    weight: Index | None = None
    w: int = 1
    product: int = 0
    total: int = 0


@dataclass(frozen=True)
class IntegerStep:
    """One operation and the integer that it gives."""

    text: str
    value: int


@dataclass(frozen=True)
class IntegerExplanation:
    """Where one integer comes from.

    value, real : the integer, and what it stands for
    scale, zero_point : of its tensor
    terms  : what was added from the bias on, or the candidates of a pooling
    steps  : what was done after (or besides), the last of which is the value
    choice : the number of the term that a maximum takes
    """

    layer: str
    index: Index
    op: str
    value: int
    real: float
    scale: float
    zero_point: int
    terms: Sequence[IntegerTerm] = ()
    steps: Sequence[IntegerStep] = ()
    choice: int | None = None


@dataclass(frozen=True)
class Scene:
    """One node about to be explained, with the integers (H, W, C) that it reads."""

    node: Node
    network: Network
    inputs: Sequence[np.ndarray]


Found = tuple[Sequence[IntegerTerm], Sequence[IntegerStep], int | None]


def explain_integer(network: Network, x: np.ndarray, layer: str, index: Sequence[int]) -> IntegerExplanation:
    """Take one integer apart.

    network : at the size of x
    x       : (H, W, C) integers of the input's type
    layer   : a tensor's name;  index : (row, column, channel), or (position, channel) of a signal

    Raises ValueError for a layer or an index that is not there.
    """
    if layer not in network.tensors:
        raise ValueError(unknown_layer(layer, network.tensors))
    return integer_apart(network, run.forward(network, x[None]), layer, index)


def integer_apart(network: Network, trace: Mapping[str, np.ndarray], layer: str,
                  index: Sequence[int]) -> IntegerExplanation:
    """explain_integer, with run.forward's result at hand."""
    place = placed(layer, index, trace[layer].shape[1:])
    value, tensor = int(trace[layer][(0, *place)]), network.tensors[layer]
    found = IntegerExplanation(layer, place, "input", value, tensor.scale * (value - tensor.zero_point), tensor.scale,
                               tensor.zero_point)
    if layer == network.input:
        return found
    node = network[layer]
    inputs = [trace[name][0].astype(np.int64) for name in node.inputs]
    terms, steps, choice = RULES[node.op](Scene(node, network, inputs), place)
    return replace(found, op=node.op, terms=terms, steps=steps, choice=choice)


def requantisation(value: int, multiplier: int, shift: int, rounding: str, wide: bool = False) -> list[IntegerStep]:
    """value * m * 2^(s - 31), step by step; see integer.fixed_point. wide : an accumulator of 64 bits."""
    if wide:
        reduced = (multiplier + 2**15) >> 16 if multiplier < 0x7FFF0000 else 0x7FFF
        y = (value * reduced + (1 << (14 - shift))) >> (15 - shift)
        return [IntegerStep(f"m' = the upper 16 bits of m = {multiplier}, rounded", reduced),
                IntegerStep(f"(acc * m' + 2^{14 - shift}) >> {15 - shift}", y)]
    if rounding == "S":
        y = (value * multiplier + (1 << (30 - shift))) >> (31 - shift)
        return [IntegerStep(f"(acc * {multiplier} + 2^{30 - shift}) >> {31 - shift}: rounded once", y)]
    left, right = max(shift, 0), max(-shift, 0)
    high = int(doubling_high_multiply(value << left, multiplier))
    moved = f"(acc << {left})" if left else "acc"
    steps = [IntegerStep(f"h = ({moved} * {multiplier} + 2^30) >> 31: rounded", high)]
    if right:
        y = int(rounding_shift(high, right))
        steps.append(IntegerStep(f"h / 2^{right}, ties away from zero: rounded again", y))
    return steps


def _finished(scene: Scene, steps: list[IntegerStep], offset: bool = True) -> list[IntegerStep]:
    """The output's zero point and the clamp."""
    attrs, y = scene.node.attrs, steps[-1].value
    if offset:
        y += attrs["output_offset"]
        steps.append(IntegerStep(f"+ the output's zero point {attrs['output_offset']}", y))
    low, high = attrs["act_min"], attrs["act_max"]
    steps.append(IntegerStep(f"clamped to {low} ... {high}", min(max(y, low), high)))
    return steps


def _taps(scene: Scene, place: Index, kernel: Sequence[int]) -> list[tuple[int, int, Index | None]]:
    attrs, (height, width, _) = scene.node.attrs, scene.inputs[0].shape
    dilation = attrs.get("dilation", (1, 1))
    found: list[tuple[int, int, Index | None]] = []
    for ky, kx in np.ndindex(*kernel):
        row, column = (place[axis] * attrs["stride"][axis] + k * dilation[axis] - attrs["pads"][axis][0]
                       for axis, k in enumerate((ky, kx)))
        found.append((ky, kx, (row, column) if 0 <= row < height and 0 <= column < width else None))
    return found


def _convolution(scene: Scene, place: Index) -> Found:
    node, x = scene.node, scene.inputs[0]
    w, offset, f = node.arrays["weights"], node.attrs["input_offset"], place[2]
    depthwise = node.op == "depthwise_conv2d"
    c0, m = divmod(f, w.shape[3]) if depthwise else (0, f)
    channels = [c0] if depthwise else list(range(w.shape[2]))
    total, terms = int(node.arrays["bias"][f]), []
    for ky, kx, at in _taps(scene, place, w.shape[:2]):
        for c in channels:
            q = -offset if at is None else int(x[(*at, c)])
            weight = int(w[ky, kx, c, m])
            total += (q + offset) * weight
            terms.append(IntegerTerm(node.inputs[0], None if at is None else (*at, c), q, q + offset,
                                     (ky, kx, c, m), weight, (q + offset) * weight, total))
    steps = [IntegerStep(f"acc, from the bias {int(node.arrays['bias'][f])}", total)]
    steps += requantisation(total, int(node.arrays["multiplier"][f]), int(node.arrays["shift"][f]),
                            scene.network.rounding, node.arrays["bias"].dtype == np.int64)
    return terms, _finished(scene, steps), None


def _entering(scene: Scene, place: Index, which: int = 0) -> IntegerStep:
    return IntegerStep(f"{scene.node.inputs[which]}{list(place)}", int(scene.inputs[which][place]))


def _add(scene: Scene, place: Index) -> Found:
    attrs, steps, parts = scene.node.attrs, [], []
    for number in (1, 2):
        entering, offset = _entering(scene, place, number - 1), attrs[f"input{number}_offset"]
        raised = (entering.value + offset) << attrs["left_shift"]
        done = requantisation(raised, attrs[f"input{number}_multiplier"], attrs[f"input{number}_shift"],
                              scene.network.rounding)
        steps += [entering, IntegerStep(f"acc = (q + {offset}) << {attrs['left_shift']}", raised), *done]
        parts.append(done[-1].value)
    steps.append(IntegerStep("acc = the sum of the two", sum(parts)))
    steps += requantisation(sum(parts), attrs["output_multiplier"], attrs["output_shift"], scene.network.rounding)
    return (), _finished(scene, steps), None


def _rescale(scene: Scene, place: Index) -> Found:
    attrs, entering = scene.node.attrs, _entering(scene, place)
    centred = entering.value + attrs["input_offset"]
    sign = "" if scene.node.op == "rescale" else "positive_" if centred >= 0 else "negative_"
    steps = [entering, IntegerStep(f"acc = q + {attrs['input_offset']}", centred)]
    steps += requantisation(centred, attrs[f"{sign}multiplier"], attrs[f"{sign}shift"], scene.network.rounding)
    return (), _finished(scene, steps), None


def _pool(scene: Scene, place: Index) -> Found:
    taps = _taps(scene, place, scene.node.attrs["window"])
    zero_point, total, terms = scene.network.tensors[scene.node.inputs[0]].zero_point, 0, []
    for _, _, at in taps:
        if at is not None:
            q = int(scene.inputs[0][(*at, place[2])])
            total += q
            terms.append(IntegerTerm(scene.node.inputs[0], (*at, place[2]), q, q - zero_point, total=total))
    if scene.node.op == "max_pool2d":
        choice = max(range(len(terms)), key=lambda number: (terms[number].q, -number))
        return terms, _finished(scene, [IntegerStep("the largest", terms[choice].q)], offset=False), choice
    mean = (abs(total) + len(terms) // 2) // len(terms) * (1 if total > 0 else -1)
    return terms, _finished(scene, [IntegerStep(f"{total} / {len(terms)}, half away from zero", mean)], False), None


def _concat(scene: Scene, place: Index) -> Found:
    which, c = 0, place[2]
    while c >= scene.inputs[which].shape[2]:
        c -= scene.inputs[which].shape[2]
        which += 1
    return (), [_entering(scene, (*place[:2], c), which)], None


def _upsample(scene: Scene, place: Index) -> Found:
    fy, fx = scene.node.attrs["factor"]
    return (), [_entering(scene, (place[0] // fy, place[1] // fx, place[2]))], None


def _table(scene: Scene, place: Index) -> Found:
    entries, entering = scene.node.arrays["table"].astype(np.int64), _entering(scene, place)
    q = entering.value
    if scene.node.arrays["table"].dtype == np.int8:
        return (), [entering, IntegerStep(f"entry {q + 128} of the table of 256", int(entries[q + 128]))], None
    at = 256 + (q >> 7)
    first, second = int(entries[at]), int(entries[at + 1])
    y = first + (((second - first) * (q & 127) + 64) >> 7)
    return (), [entering, IntegerStep(f"entry {at} of the table of 513", first),
                IntegerStep("the entry after it", second),
                IntegerStep(f"the straight line between them at {q & 127} / 128", y)], None


def _by_formula(scene: Scene, place: Index) -> Found:
    """Softmax and layer norm: what is read, and what the formula makes of it."""
    whole = run.apply(scene.node, [x[None] for x in scene.inputs], scene.network)[0]
    if scene.node.op == "layer_norm":
        n = scene.inputs[0].shape[0] * scene.inputs[0].shape[1]
        total = int(scene.inputs[0][:, :, place[2]].sum())
        steps = [_entering(scene, place), IntegerStep(f"S, the sum of the channel's {n} integers", total),
                 IntegerStep("d = n * q - S", n * int(scene.inputs[0][place]) - total)]
    else:
        row = scene.inputs[0][place[:2]]
        steps = [IntegerStep(f"{scene.node.inputs[0]}{[*place[:2], k]}", int(q)) for k, q in enumerate(row)]
    return (), [*steps, IntegerStep(f"by the formula of integer.ops ({scene.node.op})", int(whole[place]))], None


RULES: dict[str, Callable[[Scene, Index], Found]] = {
    "conv2d": _convolution, "depthwise_conv2d": _convolution, "add": _add, "rescale": _rescale,
    "leaky_relu": _rescale, "max_pool2d": _pool, "avg_pool2d": _pool, "concat": _concat,
    "upsample_nearest2d": _upsample, "table": _table, "softmax": _by_formula, "softmax16": _by_formula,
    "layer_norm": _by_formula,
}


def text(found: IntegerExplanation) -> str:
    """An integer's explanation in a terminal."""
    real = f"{found.real:.9g} = {found.scale:.9g} * ({found.value} - {found.zero_point})"
    lines = [f"{found.layer}{list(found.index)} = {found.value}, which stands for {real}   ({found.op})"]
    if found.op == "input":
        lines.append("It is part of the input, and comes from nowhere else.")
    rows = [("x", "q", "q - z", "w", "", "product", "acc")] if found.terms else []
    for number, term in enumerate(found.terms):
        where = "padding" if term.at is None else f"{term.tensor}{list(term.at)}"
        taken = "  <- taken" if number == found.choice else ""
        weighted = () if term.weight is None else (str(list(term.weight)), term.w, term.product)
        weight, w, product = weighted or ("", "", taken)
        rows.append((where, str(term.q), str(term.centred), str(weight), str(w), str(product),
                     "" if found.choice is not None else str(term.total)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines += ["  " + "  ".join(cell.ljust(width) if not number else cell.rjust(width)
                               for number, (cell, width) in enumerate(zip(row, widths, strict=True))).rstrip()
              for row in rows]
    width = max((len(step.text) for step in found.steps), default=0)
    return "\n".join(lines + [f"  {step.text:<{width}}  {step.value}" for step in found.steps])

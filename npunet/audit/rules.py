"""How each operator makes one element of its output, step by step: a function an operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from npunet import run
from npunet.audit.explanation import ZERO, Explanation, Index, Step, Term, shown_number
from npunet.graph import Node
from npunet.ops.accumulate import fma32
from npunet.ops.exponential import exp32
from npunet.ops.norm import batch_norm_scale_shift


@dataclass(frozen=True)
class Scene:
    """One layer about to be explained: its node, the arrays (H, W, C) that it reads, its weights, the order of sums."""

    node: Node
    inputs: Sequence[np.ndarray]
    weights: Sequence[np.ndarray]
    arithmetic: str


def _found(terms: Sequence[Term] = (), steps: Sequence[Step] = (), choice: int | None = None) -> Explanation:
    """The part of an explanation that an operator's rule knows."""
    return Explanation("", (), "", "", ZERO, terms, steps, choice)


def _taps(scene: Scene, place: Index, kernel: tuple[int, int]) -> list[tuple[int, int, Index | None]]:
    """(ky, kx, position read) of every tap, row by row; the position is None in the padding."""
    attrs = scene.node.attrs
    dilation = attrs.get("dilation", (1, 1))
    taps: list[tuple[int, int, Index | None]] = []
    for ky, kx in np.ndindex(kernel):
        row, column = (place[axis] * attrs["stride"][axis] + k * dilation[axis] - attrs["pads"][axis][0]
                       for axis, k in enumerate((ky, kx)))
        inside = 0 <= row < scene.inputs[0].shape[0] and 0 <= column < scene.inputs[0].shape[1]
        taps.append((ky, kx, (row, column) if inside else None))
    return taps


def _summed(scene: Scene, terms: Sequence[Term]) -> list[Term]:
    """The terms with their products and the running sum."""
    total: Any = ZERO
    done = []
    with np.errstate(over="ignore", invalid="ignore"):
        for term in terms:
            product = term.x * term.w
            total = np.float32(fma32(term.x, term.w, total) if scene.arithmetic == "seq_fma" else total + product)
            done.append(replace(term, product=product, total=total))
    return done


def _biased(scene: Scene, terms: list[Term], at: int) -> Explanation:
    """The sum of terms, and the bias if there is one."""
    if len(scene.weights) == 1:
        return _found(terms)
    bias = scene.weights[1][at]
    return _found(terms, [Step(f"+ {scene.node.weights[1]}[{at}] = {shown_number(bias)}", terms[-1].total + bias)])


def _convolution(scene: Scene, place: Index) -> Explanation:
    x, w, f = scene.inputs[0], scene.weights[0], place[2]
    name, kernel = scene.node.inputs[0], scene.node.weights[0]
    terms = [
        Term(name, None if at is None else (*at, c), ZERO if at is None else x[(*at, c)],
             (kernel, (ky, kx, c, f)), w[ky, kx, c, f])
        for ky, kx, at in _taps(scene, place, w.shape[:2]) for c in range(w.shape[2])
    ]
    return _biased(scene, _summed(scene, terms), f)


def _depthwise(scene: Scene, place: Index) -> Explanation:
    x, w = scene.inputs[0], scene.weights[0]
    c, m = divmod(place[2], w.shape[3])
    name, kernel = scene.node.inputs[0], scene.node.weights[0]
    terms = [
        Term(name, None if at is None else (*at, c), ZERO if at is None else x[(*at, c)],
             (kernel, (ky, kx, c, m)), w[ky, kx, c, m])
        for ky, kx, at in _taps(scene, place, w.shape[:2])
    ]
    return _biased(scene, _summed(scene, terms), place[2])


def _candidates(scene: Scene, place: Index) -> list[Term]:
    taps = _taps(scene, place, scene.node.attrs["window"])
    return [Term(scene.node.inputs[0], (*at, place[2]), scene.inputs[0][(*at, place[2])])
            for _, _, at in taps if at is not None]


def _max_pool(scene: Scene, place: Index) -> Explanation:
    terms = _candidates(scene, place)
    choice = 0
    for number, term in enumerate(terms):
        if term.x > terms[choice].x or np.isnan(term.x):
            choice = number
    return _found(terms, choice=choice)


def _avg_pool(scene: Scene, place: Index) -> Explanation:
    total, terms = ZERO, []
    for term in _candidates(scene, place):
        total = total + term.x
        terms.append(replace(term, total=total))
    return _found(terms, [Step(f"divided by the {len(terms)} positions inside", total / np.float32(len(terms)))])


def _entering(scene: Scene, place: Index, which: int = 0) -> Step:
    """An element that a layer reads, as a step."""
    return Step(f"{scene.node.inputs[which]}{list(place)}", scene.inputs[which][place])


def _elementwise(scene: Scene, place: Index) -> Explanation:
    x = scene.inputs[0][place]
    y, _ = run.apply(scene.node, iter([np.asarray([x])]), scene.arithmetic)
    branch = {"relu6": "above 6, so 6" if x > 6 else "not above 0, so 0" if x <= 0 else "between 0 and 6: as it is",
              "relu": "not above 0, so 0" if x <= 0 else "above 0: as it is",
              "leaky_relu": "above 0: as it is" if x > 0 else "fl(0.2 * x)",
              "elu": "above 0: as it is" if x > 0 else "exp(x) - 1 by the declared exponential",
              "selu": "fl(1.0507 * x)" if x > 0 else "fl(1.7581 * (exp(x) - 1)) by the declared exponential",
              "dropout_inference": "outside training dropout does nothing"}[scene.node.op]
    return _found(steps=[_entering(scene, place), Step(branch, y[0])])


def _batch_norm(scene: Scene, place: Index) -> Explanation:
    c = place[2]
    parameters = [weight[c : c + 1] for weight in scene.weights]
    inv, shift = batch_norm_scale_shift(*parameters, eps=scene.node.attrs["eps"])
    x = scene.inputs[0][place]
    named = [Step(f"{name}[{c}]", value[0]) for name, value in zip(scene.node.weights, parameters, strict=True)]
    return _found(steps=[
        _entering(scene, place), *named,
        Step(f"inv = fl(gamma * fl(1 / fl(sqrt(fl(variance + {scene.node.attrs['eps']:g})))))", inv[0]),
        Step("shift = fl(beta - fl(mean * inv))", shift[0]), Step("fl(x * inv)", x * inv[0]),
        Step("fl(fl(x * inv) + shift)", x * inv[0] + shift[0]),
    ])


def _layer_norm(scene: Scene, place: Index) -> Explanation:
    channel = scene.inputs[0][:, :, place[2]].astype(np.float64)
    wide = np.add.accumulate(channel.ravel())[-1] / channel.size
    variance = np.add.accumulate(((channel - wide) ** 2).ravel())[-1] / channel.size
    mean, inv = np.float32(wide), np.float32(1 / np.sqrt(variance + scene.node.attrs["eps"]))
    gamma, beta = (weight[place[:2]] for weight in scene.weights)
    centred, scale = scene.inputs[0][place] - mean, inv * gamma
    return _found(steps=[
        _entering(scene, place), Step(f"mean of channel {place[2]}, summed in float64, rounded once", mean),
        Step(f"inv = fl(1 / sqrt(variance + {scene.node.attrs['eps']:g}))", inv),
        Step(f"{scene.node.weights[0]}{list(place[:2])}", gamma),
        Step(f"{scene.node.weights[1]}{list(place[:2])}", beta), Step("scale = fl(inv * gamma)", scale),
        Step("fl(x - mean)", centred), Step("fl(fl(fl(x - mean) * scale) + beta)", centred * scale + beta),
    ])


def _concat(scene: Scene, place: Index) -> Explanation:
    i, j, c = place
    which = 0
    while c >= scene.inputs[which].shape[2]:
        c -= scene.inputs[which].shape[2]
        which += 1
    return _found(steps=[_entering(scene, (i, j, c), which)])


def _add(scene: Scene, place: Index) -> Explanation:
    a, b = _entering(scene, place, 0), _entering(scene, place, 1)
    return _found(steps=[a, b, Step("fl(a + b)", a.value + b.value)])


def _upsample(scene: Scene, place: Index) -> Explanation:
    fy, fx = scene.node.attrs["factor"]
    return _found(steps=[_entering(scene, (place[0] // fy, place[1] // fx, place[2]))])


def _softmax(scene: Scene, place: Index) -> Explanation:
    scores = scene.inputs[0][place[:2]]
    largest, total = scores.max(), ZERO
    steps = [Step("m, the largest score at this position", largest)]
    powers = exp32(scores - largest)
    for k, power in enumerate(powers):
        total = total + power
        score = f"{scene.node.inputs[0]}{[*place[:2], k]}"
        steps.append(Step(f"exp(fl({score} - m)); the sum is now {shown_number(total)}", power))
    return _found(steps=[*steps, Step("s, the sum", total), Step(f"fl(e[{place[2]}] / s)", powers[place[2]] / total)])


RULES: dict[str, Callable[[Scene, Index], Explanation]] = {
    "conv2d": _convolution, "depthwise_conv2d": _depthwise, "max_pool2d": _max_pool, "avg_pool2d": _avg_pool,
    "batch_norm_inference": _batch_norm, "layer_norm": _layer_norm, "concat": _concat, "add": _add,
    "upsample_nearest2d": _upsample, "softmax": _softmax,
    **dict.fromkeys(("relu6", "relu", "leaky_relu", "elu", "selu", "dropout_inference"), _elementwise),
}

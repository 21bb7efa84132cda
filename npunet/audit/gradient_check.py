"""Whether every weight's gradient is right, by two methods that do not share its code, and a control that must fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from npunet import run
from npunet.audit.subject import Subject
from npunet.differentiate import differentiate, find_loss

STEP = 1e-30
TOLERANCE = 1e-10  # relative; float64 gives about 1e-13, a wrong formula rarely less than 1e-3
LOSS = "sparse_categorical_crossentropy"


@dataclass(frozen=True)
class Checked:
    """One weight (or the input): the directional derivative by backpropagation and by a complex step."""

    name: str
    backpropagated: float
    complex_step: float
    error: float
    passed: bool


@dataclass(frozen=True)
class GradientCheck:
    """Everything that was checked.

    weights       : one entry a weight, and one for the input
    adjoint_error : relative error of <J v, u> = <v, J^T u> through the whole network
    control       : the same check with one gradient made wrong by 1 part in 1,000; it must not pass
    norms         : {layer: length of d loss / d output}, along the depth
    passed        : whether all passed and the control failed
    """

    weights: Sequence[Checked]
    adjoint_error: float
    control: Checked
    norms: Mapping[str, float]
    passed: bool


def gradient_check(shown: Subject, seed: int = 0) -> GradientCheck:
    """Check cross-entropy's gradients against random labels, batch norm by stored statistics, in float64.

    A complex step takes d loss along a random direction v of one weight as imag(loss(w + ih v)) / h, exact to
    float64; backpropagation takes it as <d loss / d w, v>. The network runs on the sample of `shown`.

    Source: Squire & Trapp 1998, Using complex variables to estimate derivatives of real functions, SIAM Rev. 40(1).
    """
    random = np.random.default_rng(seed)
    weights = {name: value.astype(np.float64) for name, value in shown.weights.items()}
    x = shown.x[None].astype(np.float64)
    height, width, classes = shown.graph.shape(shown.graph.output)
    labels = random.integers(0, classes, (1, height, width))
    result = differentiate(shown.graph, weights, x, labels, loss=LOSS, l2=False)
    loss_forward, _, options = find_loss(LOSS, shown.graph)

    def along(name: str, gradient: np.ndarray) -> Checked:
        value = x if name == shown.graph.input else weights[name]
        v = random.standard_normal(value.shape)
        moved = {name: value + 1j * STEP * v}
        y = run.infer(shown.graph, {**weights, **moved}, moved.get(shown.graph.input, x + 0j))
        step = float(loss_forward(y, labels, **options).imag) / STEP
        back = float((gradient * v).sum())
        scale = max(abs(step), abs(back), 1e-3 * float(np.linalg.norm(gradient)))
        error = abs(step - back) / scale if scale else 0.0
        return Checked(name, back, step, error, error <= TOLERANCE)

    gradients = {shown.graph.input: result.dx, **result.dweights}
    checked = [along(name, gradient) for name, gradient in gradients.items()]
    worst = max(gradients, key=lambda name: float(np.linalg.norm(gradients[name])))
    control = along(worst, gradients[worst] * 1.001)
    adjoint = adjoint_error(shown, weights, x, random)
    norms = {node.name: float(np.linalg.norm(result.dtrace[node.name])) for node in shown.graph}
    passed = all(each.passed for each in checked) and adjoint <= TOLERANCE and not control.passed
    return GradientCheck(checked, adjoint, control, norms, passed)


def adjoint_error(shown: Subject, weights: Mapping[str, np.ndarray], x: np.ndarray,
                  random: np.random.Generator) -> float:
    """|<J v, u> - <v, J^T u>| over the larger of the two, J the network's Jacobian at x."""
    trace, saves = run.forward(shown.graph, weights, x)
    u, v = random.standard_normal(trace[shown.graph.output].shape), random.standard_normal(x.shape)
    jv = run.infer(shown.graph, weights, x + 1j * STEP * v).imag / STEP
    jtu = u if not shown.graph.nodes else run.backward(shown.graph, weights, trace, saves, u)[0][shown.graph.input]
    forward, backward = float((jv * u).sum()), float((jtu * v).sum())
    return abs(forward - backward) / max(abs(forward), abs(backward), 1e-300)

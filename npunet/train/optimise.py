"""Optimisers as Keras 3 defines them: SGD, Adam and AdamW, with weight decay and gradient clipping.

An optimiser is a value without state: `start` gives the state of a set of weights, `update` takes weights, gradients
and state and returns new weights and state; its arguments stay as they are. Every number that meets a weight is first
rounded to the weight's dtype, and every +, -, *, / and sqrt below is rounded on its own, in the order written: so a
kernel in C or Numba that writes the same line gives the same bits.

One update, in this order:
    1. clip the gradients                      (clipped)
    2. decay the weights  w = w - (w * decay) * rate
    3. move the weights                        (sgd_update, adam_update)
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from npunet.ops.accumulate import sequential_sum
from npunet.values import flag, number, refuse_unknown

Arrays = dict[str, np.ndarray]


def sgd_update(w: np.ndarray, g: np.ndarray, v: np.ndarray | None, *, rate: np.floating, momentum: np.floating,
               nesterov: bool) -> tuple[np.ndarray, np.ndarray | None]:
    """Move one weight against its gradient.

    without momentum : w = w - g * rate
    with             : v = v * momentum - g * rate;  w = w + v
    Nesterov         : v as before;  w = w + (v * momentum - g * rate)

    w, g, v : one shape, one float dtype, which rate and momentum share; v is None without momentum

    Returns w, v.
    Source: Keras API, keras.optimizers.SGD; Sutskever et al. 2013, ICML, for Nesterov's form.
    """
    if v is None:
        return w - g * rate, None
    v = v * momentum - g * rate
    return w + (v * momentum - g * rate if nesterov else v), v


def adam_update(w: np.ndarray, g: np.ndarray, m: np.ndarray, v: np.ndarray, *, alpha: np.floating,
                toward_1: np.floating, toward_2: np.floating,
                epsilon: np.floating) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Move one weight by its mean gradient over the root of its mean squared gradient.

    m = m + (g - m) * toward_1;  v = v + (g * g - v) * toward_2;  w = w - (m * alpha) / (sqrt(v) + epsilon)
    toward_i = 1 - beta_i;  alpha is the learning rate with both bias corrections, see Adam.alpha

    w, g, m, v : one shape, one float dtype, which the four numbers share

    Returns w, m, v.
    Source: Kingma & Ba 2015, arXiv:1412.6980, the remark before section 2.1; Keras API, keras.optimizers.Adam.
    """
    m = m + (g - m) * toward_1
    v = v + (g * g - v) * toward_2
    return w - (m * alpha) / (np.sqrt(v) + epsilon), m, v


@dataclass(frozen=True)
class Optimiser(ABC):
    """What all optimisers share: weight decay, and one way of clipping at most.

    weight_decay    : share of every trainable weight that is taken off, times the rate, before each update
    clipnorm        : largest norm of each weight's gradient
    global_clipnorm : largest norm of all gradients together
    clipvalue       : largest magnitude of a gradient's elements

    Raises ValueError for two ways of clipping or a number out of range.
    """

    weight_decay: float | None = None
    clipnorm: float | None = None
    global_clipnorm: float | None = None
    clipvalue: float | None = None

    def __post_init__(self) -> None:
        clips = [name for name in ("clipnorm", "global_clipnorm", "clipvalue") if getattr(self, name) is not None]
        if len(clips) > 1:
            raise ValueError(f"only one of {' and '.join(clips)} can clip the gradients; leave the others out")
        for name in (*clips, "weight_decay"):
            if (value := getattr(self, name)) is not None:
                number(name, value, 0, above=name != "weight_decay")

    @abstractmethod
    def start(self, weights: Mapping[str, np.ndarray]) -> Arrays:
        """The state before the first update: named arrays."""

    def update(self, weights: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray],
               state: Mapping[str, np.ndarray], rate: float) -> tuple[Arrays, Arrays]:
        """One update of all weights.

        weights, gradients : the trainable weights and their gradients, by the same names, in creation order
        state              : as `start` or the last update returned it
        rate               : the learning rate of this step

        Returns weights, state.
        """
        clear = self.clipped({name: gradients[name] for name in weights})
        return self.move({name: self.decayed(w, rate) for name, w in weights.items()}, clear, state, rate)

    @abstractmethod
    def move(self, weights: Arrays, gradients: Arrays, state: Mapping[str, np.ndarray],
             rate: float) -> tuple[Arrays, Arrays]:
        """The update after clipping and decay."""

    def decayed(self, w: np.ndarray, rate: float) -> np.ndarray:
        """w - (w * weight_decay) * rate, or w itself without weight decay."""
        return w if self.weight_decay is None else w - (w * w.dtype.type(self.weight_decay)) * w.dtype.type(rate)

    def clipped(self, gradients: Arrays) -> Arrays:
        """The gradients, made smaller if they are too large; NaN and Inf stay to be seen.

        clipnorm c        : g * c / max(norm(g), c), the product first
        global_clipnorm c : g * (c * min(1 / n, 1 / c)),  n the norm of all gradients together
        clipvalue c       : g cut at -c and c

        Squares are summed in float64 in row-major order, weight after weight in creation order; the norm is rounded
        once to the gradients' dtype, in which everything else is done.
        """
        if self.clipnorm is not None:
            return {name: g * g.dtype.type(self.clipnorm) / max_nan(norm([g]), g.dtype.type(self.clipnorm))
                    for name, g in gradients.items()}
        if self.global_clipnorm is not None:
            n = norm(list(gradients.values()))
            scale = shrinking(n, n.dtype.type(self.global_clipnorm))
            return {name: g * scale for name, g in gradients.items()}
        if self.clipvalue is not None:
            return {name: np.clip(g, -g.dtype.type(self.clipvalue), g.dtype.type(self.clipvalue))
                    for name, g in gradients.items()}
        return gradients


@dataclass(frozen=True)
class SGD(Optimiser):
    """Gradient descent with momentum: sgd_update for every weight. State: "momentum/<weight>"."""

    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        number("momentum", self.momentum, 0, 1)
        flag("nesterov", self.nesterov)

    def start(self, weights: Mapping[str, np.ndarray]) -> Arrays:
        return {f"momentum/{name}": np.zeros_like(w) for name, w in weights.items()} if self.momentum else {}

    def move(self, weights: Arrays, gradients: Arrays, state: Mapping[str, np.ndarray],
             rate: float) -> tuple[Arrays, Arrays]:
        moved, after = {}, {}
        for name, w in weights.items():
            moved[name], v = sgd_update(w, gradients[name], state.get(f"momentum/{name}"), rate=w.dtype.type(rate),
                                        momentum=w.dtype.type(self.momentum), nesterov=self.nesterov)
            if v is not None:
                after[f"momentum/{name}"] = v
        return moved, after


@dataclass(frozen=True)
class Adam(Optimiser):
    """Adam: adam_update for every weight.

    State: "momentum/<weight>", "velocity/<weight>", and "powers" (2,) float64: beta_1^t and beta_2^t after t updates,
    each the product of t factors from left to right (a library's power function differs between machines).
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-7

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("beta_1", "beta_2"):
            if number(name, getattr(self, name), 0, 1) == 1:
                raise ValueError(f"{name}=1 must be less than 1")
        number("epsilon", self.epsilon, 0, above=True)

    def start(self, weights: Mapping[str, np.ndarray]) -> Arrays:
        zeros = {f"{what}/{name}": np.zeros_like(w) for what in ("momentum", "velocity") for name, w in weights.items()}
        return {**zeros, "powers": np.ones(2)}

    @staticmethod
    def alpha(rate: float, powers: np.ndarray) -> float:
        """rate * sqrt(1 - beta_2^t) / (1 - beta_1^t) in float64, from left to right."""
        return rate * math.sqrt(1 - float(powers[1])) / (1 - float(powers[0]))

    def move(self, weights: Arrays, gradients: Arrays, state: Mapping[str, np.ndarray],
             rate: float) -> tuple[Arrays, Arrays]:
        powers = state["powers"] * np.array([self.beta_1, self.beta_2])
        alpha, moved, after = self.alpha(rate, powers), {}, {}
        for name, w in weights.items():
            m, v = f"momentum/{name}", f"velocity/{name}"
            round_to = w.dtype.type
            moved[name], after[m], after[v] = adam_update(
                w, gradients[name], state[m], state[v], alpha=round_to(alpha), toward_1=round_to(1 - self.beta_1),
                toward_2=round_to(1 - self.beta_2), epsilon=round_to(self.epsilon),
            )
        return moved, {**after, "powers": powers}


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay, by default Keras' 0.004. Source: Loshchilov & Hutter, arXiv:1711.05101."""

    weight_decay: float | None = 0.004


OPTIMISERS: dict[str, type[Optimiser]] = {"sgd": SGD, "adam": Adam, "adamw": AdamW}


def make_optimiser(name: str, params: Mapping[str, Any] | None = None) -> Optimiser:
    """An optimiser from its name and arguments. Raises ValueError for an unknown name, argument or value."""
    if name not in OPTIMISERS:
        raise ValueError(f"optimizer {name!r} must be one of {', '.join(OPTIMISERS)}")
    kind = OPTIMISERS[name]
    refuse_unknown(f"optimizer {name!r}", list(params or {}), [field.name for field in fields(kind)])
    return kind(**(params or {}))


def norm(gradients: list[np.ndarray]) -> np.floating:
    """Root of the sum of squares: each array's in float64, row-major, then one array's after another's."""
    total: Any = np.float64(0)
    for g in gradients:
        wide = g.astype(np.float64)
        total = total + sequential_sum(wide * wide, tuple(range(g.ndim)))
    return (gradients[0].dtype if gradients else np.dtype(np.float64)).type(np.sqrt(total))


def shrinking(n: np.floating, c: np.floating) -> np.floating:
    """c * min(1 / n, 1 / c): what a gradient of norm n is multiplied by; NaN for an n that is not finite."""
    one = n.dtype.type(1)
    if not np.isfinite(n):
        return n.dtype.type(np.nan)
    return c * (one / c if n <= c else one / n)


def max_nan(a: np.floating, b: np.floating) -> np.floating:
    """The larger of both; NaN if a is."""
    return b if a < b else a

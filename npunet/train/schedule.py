"""Learning rates as functions of the step, which counts from 0.

Every schedule is a pure function of the step and its keyword arguments, in float64 by +, -, *, / alone, so that a run
has the same rates on every machine.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from npunet.values import count, number, refuse_unknown

Schedule = Callable[[int], float]


def constant(step: int, *, rate: float) -> float:
    """The same rate always."""
    return rate


def staircase(step: int, *, rate: float, every: int, factor: float = 0.1) -> float:
    """rate * factor^(step // every): the rate falls by `factor` after each `every` steps."""
    for _ in range(step // every):
        rate = rate * factor
    return rate


def cosine(step: int, *, rate: float, steps: int, warmup: int = 0, floor: float = 0.0) -> float:
    """A straight line from 0 up to `rate` in `warmup` steps, then half a cosine down to floor * rate in the rest.

    up   : rate * (step / warmup)
    down : rate * ((1 - floor) * (1 + cos(pi * t)) / 2 + floor),  t = (step - warmup) / (steps - warmup), at most 1

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983; Keras API, CosineDecay.
    """
    if step < warmup:
        return rate * (step / warmup)
    t = min((step - warmup) / max(steps - warmup, 1), 1.0)
    return rate * ((1 - floor) * half_cosine(t) + floor)


def cosine_restarts(step: int, *, rate: float, first: int, longer: float = 1.0, lower: float = 1.0,
                    floor: float = 0.0) -> float:
    """Cosines that begin again: the first lasts `first` steps, each next one `longer` times as long and `lower` times
    as high.

    rate * ((1 - floor) * lower^i * (1 + cos(pi * t)) / 2 + floor),  t the share of cycle i that is over

    Source: Loshchilov & Hutter 2017, arXiv:1608.03983, equation 5; Keras API, CosineDecayRestarts.
    """
    length, height, begun = float(first), 1.0, 0.0
    while step >= begun + length:
        begun, length, height = begun + length, length * longer, height * lower
    return rate * ((1 - floor) * (height * half_cosine((step - begun) / length)) + floor)


def half_cosine(t: float) -> float:
    """(1 + cos(pi * t)) / 2 for t in [0, 1], to 1e-15, by a Taylor series: a library's cosine differs by machine."""
    if t > 0.5:
        return 1 - half_cosine(1 - t)
    square, total = (math.pi * t) * (math.pi * t), 0.0
    for k in range(20, 0, -2):                       # 1 - x^2/2! + x^4/4! - ... from the smallest term
        total = (1 - total) * square / (k * (k - 1))
    return (2 - total) / 2


SCHEDULES: dict[str, Callable[..., float]] = {
    "constant": constant, "staircase": staircase, "cosine": cosine, "cosine_restarts": cosine_restarts,
}


def make_schedule(name: str, rate: float, params: Mapping[str, Any] | None = None) -> Schedule:
    """A schedule from its name and arguments. Raises ValueError for an unknown name, argument or value."""
    if name not in SCHEDULES:
        raise ValueError(f"schedule {name!r} must be one of {', '.join(SCHEDULES)}")
    params, known = dict(params or {}), inspect.signature(SCHEDULES[name]).parameters
    arguments = [key for key in known if key not in ("step", "rate")]
    if params and not arguments:
        raise ValueError(f"schedule {name!r} takes no parameters, not {', '.join(params)}")
    refuse_unknown(f"schedule {name!r}", list(params), arguments)
    needed = [key for key in arguments if known[key].default is inspect.Parameter.empty]
    missing = [key for key in needed if key not in params]
    if missing:
        raise ValueError(f"schedule {name!r} needs {', '.join(missing)}")
    for key, value in {"rate": rate, **params}.items():
        least = 1 if key in ("steps", "first", "longer") else 0
        count(f"schedule {name!r}: {key}", value) if key == "every" else \
            number(f"schedule {name!r}: {key}", value, least)
    return partial(SCHEDULES[name], rate=float(rate), **params)

"""How far the PyTorch twin is from Keras, in parts of each tensor's largest magnitude."""

from __future__ import annotations

import numpy as np

BOUND = 1e-10  # the twin sums in another order; measured deviations are below 1e-11
VANISHING = 1e-12  # a gradient this far below the case's largest is zero in exact arithmetic, and rounding noise here
KINDS = {"y": "outputs", "loss": "outputs", "l2": "outputs", "trace": "activations", "stat": "statistics"}
KINDS |= {"dx": "gradients", "grad": "gradients", "grad_l2": "gradients"}


def kind(key: str) -> str:
    """What a stored key holds: "training/float64/grad/NECK_conv/bias" is one of the gradients."""
    parts = key.split("/")
    return "weights after SGD" if parts[0] == "sgd" else KINDS[parts[2]]


def vanishing(arrays: dict[str, np.ndarray]) -> list[str]:
    """Weights whose training gradient is zero in exact arithmetic (a bias that batch norm takes out again)."""
    sizes = {key[22:]: np.abs(value).max() for key, value in arrays.items() if key.startswith("training/float64/grad/")}
    return [name for name, size in sizes.items() if size < VANISHING * max(sizes.values())]


def deviations(arrays: dict[str, np.ndarray], twin: dict[str, np.ndarray]) -> dict[str, float]:
    """Largest deviation of each kind, over all tensors in float64; vanishing gradients count by their absolute size.

    Raises KeyError when the two differ in what they computed.
    """
    compared = {key for key in arrays if "/float64/" in key}
    if compared != set(twin):
        raise KeyError(f"only one of Keras and the twin has {sorted(compared ^ set(twin))}")
    noise, worst = set(vanishing(arrays)), {}
    for key in sorted(compared):
        got, expected = twin[key], arrays[key]
        if got.shape != expected.shape:
            raise ValueError(f"{key}: the twin has shape {got.shape}, Keras {expected.shape}")
        scale = 1.0 if key.split("/", 3)[-1] in noise else max(np.abs(expected).max(), np.finfo(np.float64).tiny)
        worst[kind(key)] = max(worst.get(kind(key), 0.0), float(np.abs(got - expected).max() / scale))
    return worst


def float32_deviation(arrays: dict[str, np.ndarray]) -> float:
    """How far float32 Keras is from float64 Keras in its inference output, in parts of the largest magnitude."""
    exact = arrays["inference/float64/y"]
    return float(np.abs(arrays["inference/float32/y"] - exact).max() / np.abs(exact).max())


def saturated(arrays: dict[str, np.ndarray]) -> float:
    """Share of the activations that sit at exactly 6."""
    traced = {key: v for key, v in arrays.items() if key.startswith("inference/float64/trace/")}
    values = [v.ravel() for key, v in traced.items() if key.endswith("_act")]
    return float(np.mean(np.concatenate(values) == 6.0)) if values else 0.0


def table(rows: dict[str, dict[str, float]]) -> str:
    """One line a case."""
    kinds = ["outputs", "activations", "gradients", "statistics", "weights after SGD"]
    lines = [f"{'twin against Keras, float64':28}" + "".join(f"{k:>19}" for k in kinds)]
    lines += [f"{name:28}" + "".join(f"{row.get(k, 0.0):19.1e}" for k in kinds) for name, row in rows.items()]
    return "\n".join(lines)

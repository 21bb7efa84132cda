"""Seeded inputs, labels, dropout masks and weights, all of them exact in float32."""

from __future__ import annotations

import zlib

import numpy as np

SEED = 20250117
CALIBRATION = 16  # samples


def generator(*keys: str) -> np.random.Generator:
    """A generator of its own for every name, so that adding a case leaves the others as they are."""
    return np.random.default_rng([SEED, *(zlib.crc32(key.encode()) for key in keys)])


def weight(case: dict, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """One weight of O(1) effect: He-scaled kernels, gains of either sign, positive variances, nothing left at zero.

    name : "<layer>/<variable>"; the variable's own name decides the range. Logits that a softmax follows are kept
           small: the cross-entropy from probabilities clips at 1e-7, and a clipped one would hide every gradient.
    Returns a float32 array of `shape`.
    """
    rng = generator(case["name"], name)
    variable = name.rsplit("/", 1)[1]
    if variable in ("kernel", "pointwise_kernel", "depthwise_kernel"):
        fan_in = np.prod(shape[:2]) if variable == "depthwise_kernel" else np.prod(shape[:-1])
        before_softmax = name.startswith("NECK") and not case["params"].get("use_logits", True)
        value = rng.normal(0.0, np.sqrt(1.5 / fan_in), shape) * (0.1 if before_softmax else 1.0)
    elif variable == "gamma":
        value = rng.uniform(0.5, 1.9, shape) * rng.choice([1.0, 1.0, 1.0, -1.0], shape)
    elif variable == "beta":
        value = rng.normal(0.5, 0.8, shape)
    elif variable == "moving_mean":
        value = rng.normal(0.0, 0.6, shape)
    elif variable == "moving_variance":
        value = rng.uniform(0.5, 2.5, shape)
    elif variable == "bias":
        value = rng.normal(0.0, 0.5, shape)
    else:
        raise ValueError(f"{name}: no range is written for the variable {variable!r}")
    return value.astype(np.float32)


def inputs(case: dict) -> np.ndarray:
    """Input x : (B, L, C) or (B, H, W, C) float32."""
    return generator(case["name"], "x").normal(0.2, 1.3, (case["batch"], *case["input_shape"])).astype(np.float32)


def labels(case: dict, output_shape: tuple[int, ...]) -> np.ndarray:
    """Class numbers (B, ...) int32 below the channel count, or for the squared error float32 targets (B, ..., K)."""
    rng = generator(case["name"], "labels")
    if case["loss"] == "mean_squared_error":
        return rng.normal(0.0, 2.0, output_shape).astype(np.float32)
    return rng.integers(0, output_shape[-1], output_shape[:-1]).astype(np.int32)


def dropout_mask(case: str, layer: str, shape: tuple[int, ...], rate: float) -> np.ndarray:
    """Which elements stay, uint8 of `shape`: 1 with probability 1 - rate."""
    return (generator(case, layer, "mask").random(shape) >= rate).astype(np.uint8)


def calibration(case: dict) -> np.ndarray:
    """Calibration data (CALIBRATION, L, C) or (CALIBRATION, H, W, C) float32, of the inputs' distribution."""
    shape = (CALIBRATION, *case["input_shape"])
    return generator(case["name"], "calibration").normal(0.2, 1.3, shape).astype(np.float32)

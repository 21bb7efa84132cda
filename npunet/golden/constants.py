"""Every number that an operator uses besides its weights and its geometry, exact, for manifest and reference page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from npunet.graph import Node
from npunet.ops import exponential
from npunet.ops.activation import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE

SWITCH = 25  # n from which on expm1 is exp, see ops.exponential
EXPONENTIAL = {"log2e": exponential.LOG2E, "ln2_hi": exponential.LN2_HI, "ln2_lo": exponential.LN2_LO,
               "lowest": exponential.LOWEST, "highest": exponential.HIGHEST}
OF_OPERATORS: Mapping[str, Mapping[str, float]] = {
    "relu": {"low": 0.0},
    "relu6": {"low": 0.0, "high": 6.0},
    "leaky_relu": {"slope": LEAKY_SLOPE},
    "selu": {"scale": SELU_SCALE, "scale_alpha": SELU_SCALE * SELU_ALPHA},
}


def number(value: float, dtype: str = "float32") -> dict[str, Any]:
    """One constant: its value in decimal (exact as a double), the bits of its dtype in hex, the dtype."""
    rounded = np.array(value, np.dtype(dtype))
    digits = 2 * rounded.dtype.itemsize
    bits = int(rounded.view(f"u{rounded.dtype.itemsize}"))
    return {"value": float(rounded), "bits": f"0x{bits:0{digits}x}", "dtype": dtype}


def of_node(node: Node) -> dict[str, Any]:
    """The constants of a layer by name; the exponential's are those of `exponential`."""
    found = {name: number(value) for name, value in OF_OPERATORS.get(node.op, {}).items()}
    if "eps" in node.attrs:  # a layer norm adds it to a float64 variance
        found["eps"] = number(node.attrs["eps"], "float64" if node.op == "layer_norm" else "float32")
    return found


def of_exponential() -> dict[str, Any]:
    """The constants of the declared exponential."""
    listed = {name: number(float(value)) for name, value in EXPONENTIAL.items()}
    return listed | {"coefficients": [number(float(value)) for value in exponential.COEFFICIENTS],
                     "expm1_is_exp_from": SWITCH}

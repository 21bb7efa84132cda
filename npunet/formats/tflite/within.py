"""The tensors within what a file writes as several operators, layer norm and SELU, by their formulas.

They are no layers of the network, which has one operator there; whoever compares a runtime's tensors by the file's own
names finds them in the trace nevertheless.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from npunet.formats.tflite.flat import FlatOperator, FlatTensor

Formula = Any  # "x", a constant, or (code, formulas ...)


class Within(NamedTuple):
    """A tensor as a formula of a layer's values; what layer_values.Alias is for a layer's own.

    layer : whose values are x
    """

    layer: str
    formula: Formula

    def of(self, values: np.ndarray) -> np.ndarray | None:
        """Its values (B, ...), float32, or of GREATER bool; in the order of sums that is NumPy's."""
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            return np.asarray(_value(self.formula, values))


def _value(formula: Formula, x: np.ndarray) -> Any:
    if isinstance(formula, str):
        return x
    if isinstance(formula, np.ndarray):
        return formula
    code, *inputs = formula
    return OPERATORS[code](*(_value(each, x) for each in inputs))


def formulas(operators: Sequence[FlatOperator], tensors: Sequence[FlatTensor], x: int) -> dict[int, Formula]:
    """Of every tensor that these operators give but the last, by its number.

    operators : in an order in which they can run
    x         : number of the tensor that they begin with
    """
    made: dict[int, Formula] = {x: "x"}
    for operator in operators:
        inputs = [made[i] if i in made else tensors[i].data for i in operator.inputs]
        made[operator.outputs[0]] = (operator.code, *inputs)
    del made[x], made[operators[-1].outputs[0]]
    return made


def _mean(x: np.ndarray, axes: np.ndarray) -> np.ndarray:
    return x.mean(tuple(axes.reshape(-1).tolist()), keepdims=True)


def _elu(x: np.ndarray) -> np.ndarray:
    return np.where(x > 0, x, np.expm1(np.minimum(x, 0)))


OPERATORS: Mapping[str, Callable[..., np.ndarray]] = {
    "ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "NEG": np.negative, "EXP": np.exp, "GREATER": np.greater,
    "MINIMUM": np.minimum, "SELECT": np.where, "SELECT_V2": np.where, "MEAN": _mean,
    "RELU": lambda x: np.maximum(x, 0), "ELU": _elu, "RSQRT": lambda x: 1 / np.sqrt(x),
    "SQUARED_DIFFERENCE": lambda a, b: np.square(a - b),
}

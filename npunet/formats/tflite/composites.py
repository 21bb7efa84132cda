"""What a converter of floats writes as several operators, put together again, before the operators are read.

    LAYER_NORM  MEAN, SUB, MUL, RSQRT ...: as npunet writes it, as Keras 3 and as Keras 2
    SELU        as npunet writes it, and as TensorFlow's converter
    CONV_2D     between SPACE_TO_BATCH_ND and BATCH_TO_SPACE_ND, which is dilation; behind PAD; before MUL and ADD of
                one number a channel, which is batch norm that was not folded

A weight of float16 behind DEQUANTIZE is that weight in float32, exactly.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np

from npunet.formats.tflite.flat import VALID, FlatModel, FlatOperator, FlatTensor
from npunet.formats.tflite.within import Formula, formulas
from npunet.ops.activation import SELU_ALPHA, SELU_SCALE

Pattern = Any  # a name, "x" of an activation and others of constants, or (codes, inputs' patterns ...)
Bound = Mapping[str, int]
COMMUTATIVE = ("ADD", "MUL", "SQUARED_DIFFERENCE")
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")

_MEAN = ("MEAN", "x", "axes")
_CENTRED = ("SUB", "x", _MEAN)


def _layer_norm(variance: Pattern) -> tuple[Pattern, ...]:
    """A layer norm as npunet writes it, as Keras 3 and as Keras 2."""
    inverse = ("RSQRT", ("ADD", ("MEAN", variance, "axes2"), "eps"))
    scale = ("MUL", inverse, "gamma")
    return (("ADD", ("MUL", ("MUL", _CENTRED, inverse), "gamma"), "beta"),
            ("ADD", ("MUL", "x", scale), ("ADD", ("MUL", ("NEG", _MEAN), scale), "beta")),
            ("ADD", ("MUL", "x", scale), ("SUB", "beta", ("MUL", _MEAN, scale))))


LAYER_NORMS = (*_layer_norm(("SQUARED_DIFFERENCE", "x", _MEAN)), *_layer_norm(("MUL", _CENTRED, _CENTRED)))
SELUS: tuple[Pattern, ...] = (
    ("ADD", ("MUL", ("RELU", "x"), "scale"), ("MUL", ("MINIMUM", ("ELU", "x"), "zero"), "scale_alpha")),
    ("SELECT|SELECT_V2", ("GREATER", "x", "zero"), ("MUL", "x", "scale"),
     ("MUL", ("SUB", ("EXP", "x"), "one"), "scale_alpha")),
)
DILATED: Pattern = (
    "BATCH_TO_SPACE_ND", ("|".join(CONVOLUTIONS), ("SPACE_TO_BATCH_ND", "x", "block", "pads"), "weights", "bias"),
    "block2", "crops")
PADDED: Pattern = ("|".join(CONVOLUTIONS), ("PAD", "x", "pads"), "weights", "bias")
_CONVOLVED = ("|".join(CONVOLUTIONS), "x", "weights", "bias")
NORMED: tuple[Pattern, ...] = (("ADD", ("MUL", _CONVOLVED, "scale"), "shift"), ("ADD", _CONVOLVED, "shift"))


@dataclass
class Simplifying:
    """A file's operators by their numbers while some are put together; what is left stays in its place.

    words : of an operator that stands for several, what it is called
    """

    flat: FlatModel
    tensors: list[FlatTensor]
    operators: dict[int, FlatOperator]
    words: dict[int, str]
    within: dict[int, tuple[int, Formula]] = field(default_factory=dict, init=False)  # see formulas
    makers: dict[int, int] = field(default_factory=dict, init=False)
    read: Counter[int] = field(default_factory=Counter, init=False)  # how many operators read each tensor

    def __post_init__(self) -> None:
        for number, operator in self.operators.items():
            for output in operator.outputs:
                self.makers.setdefault(output, number)

    def count(self) -> None:
        """How many operators read each tensor; the file's output is read once more."""
        self.read = Counter([*(i for operator in self.operators.values() for i in operator.inputs), *self.flat.outputs])

    def value(self, number: int) -> np.ndarray:
        """A constant, that a pattern has found to be one."""
        data = self.tensors[number].data
        assert data is not None
        return data

    def found(self, pattern: Pattern, number: int) -> tuple[Bound, frozenset[int]] | None:
        """What a pattern's names are, and its operators, where it ends in a tensor; None where it does not."""
        for bound, operators in self._matches(pattern, number, {}):
            last = self.makers[number]
            inner = {output for each in operators if each != last for output in self.operators[each].outputs}
            within = Counter(i for each in operators for i in self.operators[each].inputs)
            if all(within[output] == self.read[output] for output in inner) and all(
                    self.operators[each].options.get("fused_activation_function", 0) == 0 for each in operators
                    if each != last and self.operators[each].code not in CONVOLUTIONS):
                return bound, operators
        return None

    def _matches(self, pattern: Pattern, number: int, bound: Bound) -> Iterator[tuple[Bound, frozenset[int]]]:
        if isinstance(pattern, str):
            constant = number >= 0 and self.tensors[number].data is not None
            if constant != (pattern == "x") and bound.get(pattern, number) == number:
                yield {**bound, pattern: number}, frozenset()
            return
        codes, *wanted = pattern
        made = self.makers.get(number, -1)
        operator = self.operators.get(made)
        if operator is None or operator.code not in codes.split("|") or len(operator.inputs) != len(wanted):
            return
        for order in permutations(wanted) if operator.code in COMMUTATIVE else (tuple(wanted),):
            for found, operators in self._all(order, operator.inputs, bound):
                yield found, operators | {made}

    def _all(self, patterns: tuple[Pattern, ...], numbers: tuple[int, ...],
             bound: Bound) -> Iterator[tuple[Bound, frozenset[int]]]:
        if not patterns:
            yield bound, frozenset()
            return
        for first, operators in self._matches(patterns[0], numbers[0], bound):
            for rest, others in self._all(patterns[1:], numbers[1:], first):
                yield rest, operators | others

    def every(self, *patterns: Pattern) -> Iterator[tuple[int, Bound, frozenset[int]]]:
        """Every place where a pattern ends: the number of its last operator, its names, its operators."""
        ends = {part for pattern in patterns for part in pattern[0].split("|")}
        self.count()
        for number in list(self.operators):
            operator = self.operators.get(number)
            if operator is None or operator.code not in ends or len(operator.outputs) != 1:
                continue
            for pattern in patterns:
                if self.makers.get(operator.outputs[0]) == number and (
                        found := self.found(pattern, operator.outputs[0])):
                    yield number, *found
                    break

    def keep(self, x: int, operators: frozenset[int]) -> None:
        """Remember the tensors within these operators, which begin with x."""
        listed = [self.operators[each] for each in sorted(operators)]
        self.within |= {number: (x, formula) for number, formula in formulas(listed, self.tensors, x).items()}

    def put(self, number: int, operators: frozenset[int], made: FlatOperator, words: str = "") -> None:
        """One operator for several, in the place of the last, of that number."""
        for each in operators:
            del self.operators[each]
        self.operators[number] = made
        span = f"operators {min(operators)} to {max(operators)}"
        self.words[number] = f"{span} ({words or made.code})"
        self.makers[made.outputs[0]] = number
        self.count()

    def constant(self, like: int, data: np.ndarray) -> int:
        """One more constant, named as another."""
        self.tensors.append(replace(self.tensors[like], data=data, shape=data.shape, dtype=data.dtype))
        return len(self.tensors) - 1


class Simplified(NamedTuple):
    """A file of floats with its composites put together.

    operators : each with what it is called in a message
    within    : by number, the tensors within layer norms and SELUs: the one that it begins with, and the formula
    """

    flat: FlatModel
    operators: list[tuple[str, FlatOperator]]
    within: dict[int, tuple[int, Formula]]


def simplified(flat: FlatModel) -> Simplified:
    """Put the composites of a file together.

    What is none stays as it is, for who reads the operators to refuse it. Raises ValueError for operators that are not
    in an order in which they can run.
    """
    _refuse_disorder(flat)
    state = Simplifying(flat, list(flat.tensors), dict(enumerate(flat.operators)), {})
    _dequantise(state)
    for read in (_layer_norms, _selus, _dilations, _pads, _norms):
        read(state)
    listed = [(state.words.get(number, f"operator {number} ({operator.code})"), operator)
              for number, operator in sorted(state.operators.items())]
    operators = tuple(operator for _, operator in listed)
    return Simplified(replace(flat, tensors=tuple(state.tensors), operators=operators), listed, state.within)


def _refuse_disorder(flat: FlatModel) -> None:
    known = {*flat.inputs, *(number for number, tensor in enumerate(flat.tensors) if tensor.data is not None)}
    for number, operator in enumerate(flat.operators):
        where = f"operator {number} ({operator.code})"
        if missing := [i for i in operator.inputs if i >= 0 and i not in known]:
            raise ValueError(f"{where} reads tensor {missing[0]}, which no operator before it gives")
        if again := [i for i in operator.outputs if i in known]:
            raise ValueError(f"{where} writes tensor {again[0]}, which has a value already")
        known |= set(operator.outputs)


def _dequantise(state: Simplifying) -> None:
    for number, operator in list(state.operators.items()):
        if operator.code != "DEQUANTIZE" or len(operator.inputs) != 1 or len(operator.outputs) != 1:
            continue
        source, given = operator.inputs[0], operator.outputs[0]
        half = state.tensors[source].data if source >= 0 else None
        if half is None or half.dtype != np.float16 or state.tensors[given].data is not None or (
                half.shape != state.tensors[given].shape or state.makers[given] != number):
            continue
        state.tensors[given] = replace(state.tensors[given], data=half.astype(np.float32))
        del state.operators[number], state.makers[given]


def _layer_norms(state: Simplifying) -> None:
    for number, names, operators in state.every(*LAYER_NORMS):
        last, axes, again = state.operators[number], state.value(names["axes"]), state.value(names["axes2"])
        eps, height_and_width = state.value(names["eps"]), [1, 2]
        means = [state.operators[each] for each in operators if state.operators[each].code == "MEAN"]
        gamma, beta = state.tensors[names["gamma"]], state.tensors[names["beta"]]
        if eps.size != 1 or not all(each.options["keep_dims"] for each in means) or any(
                sorted(each.reshape(-1).tolist()) != height_and_width for each in (axes, again)) or any(
                each.shape[-1:] != (1,) or each.dtype != np.float32 or len(each.shape) not in (3, 4)
                for each in (gamma, beta)):
            continue
        options = {**last.options, "eps": float(eps.reshape(-1)[0])}
        state.keep(names["x"], operators)
        made = FlatOperator("LAYER_NORM", (names["x"], names["gamma"], names["beta"]), last.outputs, options)
        state.put(number, operators, made)


def _selus(state: Simplifying) -> None:
    wanted = {"scale": SELU_SCALE, "scale_alpha": SELU_SCALE * SELU_ALPHA, "zero": 0.0, "one": 1.0}
    for number, names, operators in state.every(*SELUS):
        last = state.operators[number]
        if all(state.value(names[name]).size == 1 and
               np.isclose(float(state.value(names[name]).reshape(-1)[0]), value, rtol=3e-7, atol=0.0)
               for name, value in wanted.items() if name in names):
            state.keep(names["x"], operators)
            state.put(number, operators, FlatOperator("SELU", (names["x"],), last.outputs, dict(last.options)))


def _convolution_of(state: Simplifying, operators: frozenset[int]) -> FlatOperator:
    return next(state.operators[each] for each in operators if state.operators[each].code in CONVOLUTIONS)


def _dilations(state: Simplifying) -> None:
    for number, names, operators in state.every(DILATED):
        inner, last = _convolution_of(state, operators), state.operators[number]
        block, again, pads, crops = (state.value(names[key]) for key in ("block", "block2", "pads", "crops"))
        kernel = state.tensors[names["weights"]].shape
        if any(each.dtype.kind != "i" for each in (block, again, pads, crops)) or block.shape != (2,) or (
                block.tolist() != again.tolist()) or pads.shape != (2, 2) or crops.shape != (2, 2) or (
                len(kernel) != 4 or _dilated(inner)) or (inner.options["padding"] != VALID and kernel[1:3] != (1, 1)):
            continue
        options = {**inner.options, "pads": tuple(map(tuple, (pads - crops).tolist())),
                   "dilation_h_factor": int(block[0]), "dilation_w_factor": int(block[1])}
        if min(map(min, options["pads"])) >= 0:
            inputs = (names["x"], *inner.inputs[1:])
            state.put(number, operators, FlatOperator(inner.code, inputs, last.outputs, options, inner.version),
                      f"dilated {inner.code}")


def _dilated(operator: FlatOperator) -> bool:
    """Whether a convolution has dilation or strides of its own."""
    return any(operator.options[f"{what}_{axis}{end}"] not in (0, 1) for axis in "hw"
               for what, end in (("dilation", "_factor"), ("stride", "")))


def _pads(state: Simplifying) -> None:
    for number, names, operators in state.every(PADDED):
        inner, pads = state.operators[number], state.value(names["pads"])
        if pads.shape == (4, 2) and pads.dtype.kind == "i" and not pads[[0, 3]].any() and pads.min() >= 0 and (
                inner.options["padding"] == VALID and "pads" not in inner.options):
            options = {**inner.options, "pads": tuple(map(tuple, pads[1:3].tolist()))}
            state.put(number, operators, replace(inner, inputs=(names["x"], *inner.inputs[1:]), options=options),
                      f"padded {inner.code}")


def _norms(state: Simplifying) -> None:
    """w' = fl(w * scale), b' = fl(fl(b * scale) + shift), as deploy folds it."""
    for number, names, operators in state.every(*NORMED):
        inner, last = _convolution_of(state, operators), state.operators[number]
        weights, bias = state.tensors[names["weights"]], state.tensors[names["bias"]]
        axis = 0 if inner.code == "CONV_2D" else 3
        channels = weights.shape[axis] if len(weights.shape) == 4 else 0
        added = [state.value(names[key]) for key in ("scale", "shift") if key in names]
        if inner.options["fused_activation_function"] or bias.shape != (channels,) or any(
                each.size != channels or each.shape[-1:] != (channels,) for each in added) or any(
                kind != np.float32 for kind in (weights.dtype, bias.dtype, *(each.dtype for each in added))):
            continue
        with np.errstate(over="ignore", invalid="ignore"):
            scale = added[0].reshape(-1) if len(added) == 2 else np.ones(channels, np.float32)
            across = scale.reshape(-1, 1, 1, 1) if axis == 0 else scale
            kernel = state.constant(names["weights"], state.value(names["weights"]) * across)
            shift = state.constant(names["bias"], state.value(names["bias"]) * scale + added[-1].reshape(-1))
        options = {**inner.options, "fused_activation_function": last.options["fused_activation_function"]}
        state.put(number, operators, replace(inner, inputs=(inner.inputs[0], kernel, shift), outputs=last.outputs,
                                             options=options), f"{inner.code} and batch norm")

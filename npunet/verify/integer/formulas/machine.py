"""Running an operator's text for chosen elements of its output, all of them at once."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterable
from types import CodeType, SimpleNamespace
from typing import Any

import numpy as np

from npunet.golden.integer.stages import ACCUMULATED
from npunet.integer.fixed_point import INT32_MAX, INT32_MIN
from npunet.integer.network import Network, Node
from npunet.integer.ops.norm import bit_length_64, integer_sqrt
from npunet.integer.ops.softmax import EXP_FACTORS
from npunet.verify.integer.formulas import texts
from npunet.verify.integer.formulas.alternatives import BY_ELEMENT, MAPS, POSITIONS, extents, known, orders
from npunet.verify.integer.formulas.values import FUNCTIONS
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS

BY_ROW = ("softmax", "softmax16", "layer_norm", "concat", "upsample_nearest2d")


class Memory:
    """An array as the C has it, without its shape: (N, size), one row a sample; one row for parameters."""

    def __init__(self, values: np.ndarray, lanes: Lanes | None = None) -> None:
        self.values = values.astype(np.int64).reshape(1 if lanes is None else len(values), -1)
        self.lanes, self.size = lanes, self.values.shape[1]

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.read(index, True)

    def read(self, index: Any, inside: Any) -> np.ndarray:
        """The values at an index, 0 where not inside; what lies beyond the array is noted as unknown."""
        index = np.asarray(index, np.int64)
        there = (index >= 0) & (index < self.size)
        if not there.all():
            NOTED.beyond(~there & inside, self.lanes is None)
            index = np.where(there, index, 0)
        found = self.values[self.lanes.sample, index] if self.lanes is not None else self.values[0][index]
        return found if inside is True else np.where(inside, found, 0)


class Noted:
    """Which of the elements being computed need what stands beyond an array."""

    unknown: np.ndarray | None = None
    of_parameters = False  # whether any of these arrays is no input

    def beyond(self, where: np.ndarray, of_parameters: bool) -> None:
        """where : (K,) or (n, K) or 0 dimensions."""
        where = np.asarray(where)
        self.of_parameters |= of_parameters and bool(where.any())
        at = np.asarray(where.any(0) if where.ndim > 1 else where)
        self.unknown = at if self.unknown is None else self.unknown | at


NOTED = Noted()


class Lanes:
    """The elements that are being computed: their sample, row, column and channel, (K,) each."""

    sample: np.ndarray
    row: np.ndarray
    column: np.ndarray
    channel: np.ndarray

    def choose(self, elements: np.ndarray, shape: tuple[int, ...]) -> None:
        """elements : (K,) positions in an output of that shape, (N, OH, OW, F)."""
        self.sample, self.row, self.column, self.channel = np.unravel_index(elements, shape)


class Machine:
    """One operator on given inputs, as text.

    inputs : (N, H, W, C) each
    tree   : the functions of the text by name; `compile` takes one of them again after a change
    """

    def __init__(self, node: Node, network: Network, inputs: tuple[np.ndarray, ...]) -> None:
        self.node, self.network, self.lanes = node, network, Lanes()
        self.shape = (len(inputs[0]), *network.tensors[node.name].shape)
        text, self.space = _of(node, network, inputs, self.lanes, self.shape)
        self.read = ("a", "b") if "a" in self.space else ("x",)  # the names of the inputs
        self.space |= FUNCTIONS | {"INT32_MIN": INT32_MIN, "INT32_MAX": INT32_MAX, "stored": self._stored,
                                   "bit_length": lambda v: np.where(np.asarray(v) > 0,
                                                                    bit_length_64(np.maximum(v, 1)), 0),
                                   "square_root": lambda v: integer_sqrt(np.maximum(v, 1)),
                                   "reciprocal_61": lambda by: np.int64(2**61) // np.maximum(by, 1),
                                   "factors": Memory(np.array([factor for _, factor in EXP_FACTORS]))}
        self.space["EXTENTS"] = {name: end for name, end in extents(node.op).items()
                                 if hasattr(self.space.get(end[0]), end[2:])}
        self.space["MAPS"] = {"n": MAPS} if node.op in BY_ELEMENT else {}
        if node.op == "concat":
            self.space["MAPS"] = {"n": POSITIONS}
        self.space["INDEX"] = orders(node.op)
        self.space["KNOWN"] = known(node, network)
        self.space |= _of_other_layers(node, network)
        self.tree = {each.name: each for each in ast.parse(text).body if isinstance(each, ast.FunctionDef)}
        for function in self.tree.values():
            self.put(self.compile(function))

    @property
    def has_sums(self) -> bool:
        """Whether the text shows an accumulator."""
        return self.node.op in ACCUMULATED

    @staticmethod
    def compile(function: ast.FunctionDef) -> CodeType:
        """A function as code."""
        return compile(ast.Module([function], []), "<formula>", "exec")

    def put(self, code: CodeType) -> None:
        """Define a function, in place of the one of this name."""
        exec(code, self.space)

    def run(self, elements: np.ndarray, acc: np.ndarray | None = None,
            sums_only: bool = False) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """(values by role, which of them are not known) of elements, (K,) each.

        acc : the accumulators, (K,), where they need not be computed;  sums_only : nothing after them
        """
        self.lanes.choose(elements, self.shape)
        NOTED.unknown, NOTED.of_parameters = None, False
        made: dict[str, Any] = {}
        with np.errstate(all="ignore"):
            if self.has_sums:
                made["acc"] = self.space["accumulate"](*self._arguments()) if acc is None else acc
                if not sums_only:
                    last = (made["acc"], self.lanes.channel) if self.node.op in CONVOLUTIONS else (made["acc"],)
                    made["pre"], made["out"] = self.space["finish"](*last)
            else:
                made["pre"], made["out"] = self.space["operator"](*self._arguments())
        unknown = np.zeros(len(elements), bool) if NOTED.unknown is None else NOTED.unknown
        return ({role: np.broadcast_to(np.asarray(values, np.int64), elements.shape)
                 for role, values in made.items() if values is not None}, np.broadcast_to(unknown, elements.shape))

    def _arguments(self) -> tuple[np.ndarray, ...]:
        at, (_, _, OW, F) = self.lanes, self.shape
        position = at.row * OW + at.column
        if self.node.op in BY_ELEMENT:
            return (position * F + at.channel,)
        if self.node.op in BY_ROW:
            return position, at.channel
        return at.row, at.column, at.channel

    def _stored(self, values: Any) -> Any:
        low, high = self.network.tensors[self.node.name].limits
        return ((values - low) & (high - low)) + low


def _of(node: Node, network: Network, inputs: tuple[np.ndarray, ...], lanes: Lanes,
        shape: tuple[int, ...]) -> tuple[str, dict[str, Any]]:
    """The text of an operator, and the names that it uses. Raises ValueError for one without a text."""
    a, arrays, x = node.attrs, node.arrays, inputs[0]
    read = [Memory(each, lanes) for each in inputs]
    _, OH, OW, F = shape
    requantize = texts.REQUANTIZE[network.rounding]
    sizes = {"h": x.shape[1], "w": x.shape[2], "c": x.shape[3]}
    parameters = {name: Memory(array) for name, array in arrays.items()}
    names: dict[str, Any] = {"x": read[0], **parameters}
    if node.op in CONVOLUTIONS:
        KH, KW = arrays["weights"].shape[:2]
        steps = {"sy": a["stride"][0], "sx": a["stride"][1], "dy": a["dilation"][0], "dx": a["dilation"][1],
                 "top": a["pads"][0][0], "left": a["pads"][1][0]}
        each = {"each": F // x.shape[3]} if node.op == "depthwise_conv2d" else {}
        rest = {key: a[key] for key in ("input_offset", "output_offset", "act_min", "act_max")}
        names["s"] = SimpleNamespace(**sizes, oh=OH, ow=OW, f=F, kh=KH, kw=KW, **steps, **each, **rest)
        wide = arrays["bias"].dtype == np.int64
        finish = texts.FINISH.replace("requantize(", "requantize_64(") if wide else texts.FINISH
        body = texts.CONV2D if node.op == "conv2d" else texts.DEPTHWISE_CONV2D
        return (texts.REQUANTIZE_64 if wide else requantize) + texts.CLAMP + body + finish, names
    if node.op in ("max_pool2d", "avg_pool2d"):
        (kh, kw), (sy, sx) = a["window"], a["stride"]
        names["s"] = SimpleNamespace(**sizes, oh=OH, ow=OW, kh=kh, kw=kw, sy=sy, sx=sx, top=a["pads"][0][0],
                                     left=a["pads"][1][0], act_min=a["act_min"], act_max=a["act_max"])
        return texts.CLAMP + (texts.MAX_POOL2D if node.op == "max_pool2d" else texts.AVG_POOL2D), names
    if node.op == "upsample_nearest2d":
        fy, fx = a["factor"]
        return texts.UPSAMPLE, names | {"s": SimpleNamespace(**sizes, oh=OH, ow=OW, fy=fy, fx=fx)}
    if node.op == "concat" and len(inputs) == 2:
        channels = [each.shape[3] for each in inputs]
        return texts.CONCAT, {"a": read[0], "b": read[1], "s": SimpleNamespace(
            positions=OH * OW, c1=channels[0], c2=channels[1], f=F, h=OH, w=OW)}
    names["p"] = SimpleNamespace(**{key: value for key, value in a.items() if isinstance(value, int)})
    if node.op in BY_ELEMENT:
        vars(names["p"]).update(size=OH * OW * F, c=F, w=OW, h=OH)
    if node.op == "add":
        return requantize + texts.CLAMP + texts.ADD, names | {"a": read[0], "b": read[1]}
    if node.op == "table":
        return (texts.TABLE_8 if arrays["table"].dtype == np.int8 else texts.TABLE_16,
                names | {"entries": parameters["table"]})
    if node.op == "layer_norm":
        names["p"].positions, names["p"].channels = OH * OW, F
    elif node.op in ("softmax", "softmax16"):
        names["p"].classes, names["p"].positions = F, OH * OW
    plain: dict[str, Callable[[], str]] = {
        "rescale": lambda: requantize + texts.CLAMP + texts.RESCALE,
        "leaky_relu": lambda: requantize + texts.CLAMP + texts.LEAKY_RELU,
        "layer_norm": lambda: texts.CLAMP + texts.LAYER_NORM,
        "softmax": lambda: texts.CLAMP + texts.SOFTMAX,
        "softmax16": lambda: requantize + texts.CLAMP + texts.SOFTMAX16}
    if node.op not in plain:
        raise ValueError(f"{node.op} of {len(inputs)} inputs has no text")
    return plain[node.op](), names


def _of_other_layers(node: Node, network: Network) -> dict[str, Memory]:
    """Weights, biases, multipliers and shifts of other layers that have as many, by a name that tells whose."""
    def alike(one: Node, other: Node) -> bool:
        return one.op == other.op or (one.op in CONVOLUTIONS and other.op in CONVOLUTIONS)

    found = {}
    for other in network:
        for key, array in other.arrays.items() if alike(node, other) else ():
            if key not in node.arrays:
                continue
            mine = node.arrays[key]
            same = array.size == mine.size and np.array_equal(array.ravel(), mine.ravel())
            if other.name != node.name and array.size >= mine.size and not same:
                found[f"{re.sub('[^0-9A-Za-z]', '_', other.name)}_{key}"] = Memory(array)
    return found


def in_chunks(elements: np.ndarray, size: int) -> Iterable[np.ndarray]:
    """Elements, so many at a time."""
    return (elements[k : k + size] for k in range(0, len(elements), size))

"""What an integer operator has on its way: the accumulator, the value before the clamp, the output."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from npunet.integer import run
from npunet.integer.fixed_point import requantize
from npunet.integer.network import Network, Node
from npunet.integer.ops import conv
from npunet.integer.ops.table_of_operators import OPERATORS, ROUNDED

ACCUMULATED = ("conv2d", "depthwise_conv2d", "add")
UNLIMITED = 2**62


@dataclass(frozen=True)
class Stages:
    """One operator's run.

    inputs : what it read
    acc    : sum before the requantisation, bias included ("add": both inputs on their common scale); None where there
             is none. Of `wide_type`
    pre    : requantised and with the output's zero point, before the clamp; None where nothing is clamped
    out    : the output
    """

    node: Node
    inputs: tuple[np.ndarray, ...]
    acc: np.ndarray | None
    pre: np.ndarray | None
    out: np.ndarray

    def items(self) -> Iterator[tuple[str, np.ndarray]]:
        """(role, values) of what there is, in the order of computation."""
        for role in ("acc", "pre", "out"):
            values = getattr(self, role)
            if values is not None:
                yield role, values


def wide_type(node: Node, network: Network) -> str:
    """The type in which .acc and .pre are stored: "int32", or "int64" for 16x8 and for a layer norm."""
    return "int64" if network.scheme == "int16x8" or node.op == "layer_norm" else "int32"


def has_pre(node: Node) -> bool:
    """Whether an operator ends in a clamp."""
    return "act_min" in node.attrs


def stages(node: Node, inputs: Sequence[np.ndarray], network: Network) -> Stages:
    """Run one operator and keep what it has on its way; inputs : (N, H, W, C) integers."""
    wide = wide_type(node, network)
    acc, pre = accumulator(node, inputs, network), None
    if has_pre(node):
        pre = before_clamp(node, inputs, network).astype(wide)
    out = run.apply(node, list(inputs), network)
    return Stages(node, tuple(inputs), None if acc is None else acc.astype(wide), pre, out)


def accumulator(node: Node, inputs: Sequence[np.ndarray], network: Network) -> np.ndarray | None:
    """The sum before the requantisation, int64; None for an operator without one."""
    wide = [x.astype(np.int64) for x in inputs]
    if node.op in ("conv2d", "depthwise_conv2d"):
        accumulate = conv.conv2d_accumulate if node.op == "conv2d" else conv.depthwise_accumulate
        geometry = {key: node.attrs[key] for key in ("stride", "pads", "dilation", "input_offset")}
        return accumulate(wide[0], weights=node.arrays["weights"], bias=node.arrays["bias"], **geometry)
    if node.op == "add":
        a = node.attrs
        halves = [requantize((x + a[f"input{n}_offset"]) << a["left_shift"], a[f"input{n}_multiplier"],
                             a[f"input{n}_shift"], network.rounding) for n, x in enumerate(wide, 1)]
        return halves[0] + halves[1]
    return None


def before_clamp(node: Node, inputs: Sequence[np.ndarray], network: Network) -> np.ndarray:
    """The output without its clamp, int64."""
    attrs = {key: value for key, value in node.attrs.items() if key not in run.NOTES}
    attrs |= {"act_min": -UNLIMITED, "act_max": UNLIMITED}
    if node.op in ROUNDED:
        attrs["rounding"] = network.rounding
    return OPERATORS[node.op](*(x.astype(np.int64) for x in inputs), **attrs, **node.arrays)


def run_network(network: Network, x: np.ndarray) -> Iterator[Stages]:
    """Every operator in execution order; x : (N, H, W, C)."""
    values: dict[str, np.ndarray] = {network.input: x}
    for node in network:
        made = stages(node, of(values, node), network)
        values[node.name] = made.out
        yield made


def of(values: Mapping[str, np.ndarray], node: Node) -> list[np.ndarray]:
    """What a node reads."""
    return [values[name] for name in node.inputs]

"""What can be counted, checked and shown of an integer network: costs, memory, how its range is used, parity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from html import escape
from typing import Any

import numpy as np

from npunet.audit import draw, report
from npunet.audit.drawing import drawing
from npunet.audit.integer_page import drawn
from npunet.audit.memory import Memory, arena_map, memory
from npunet.audit.parity_tflite import integers
from npunet.audit.provenance import IntegerProvenance, integer_provenance
from npunet.audit.runtime import Parity
from npunet.audit.subject import example
from npunet.integer.network import Network, Node, Tensor
from npunet.integer_model import IntegerModel

SATURATED = 0.01  # share of a layer's values at its limits that is worth a word


@dataclass(frozen=True)
class IntegerLayer:
    """One layer for one sample.

    macs        : integer multiply-accumulates
    bytes       : of its output;  weight_bytes : of all its arrays
    limits      : what its integers are clamped to
    low, high   : of its integers on the data;  at_low, at_high : shares at its lower and upper limit
    dead        : channels that are at the zero point, which stands for 0, everywhere
    scale, zero_point : value = scale * (q - zero_point)
    """

    name: str
    op: str
    shape: tuple[int, int, int]
    stands_for: tuple[str, ...]
    macs: int
    bytes: int
    weight_bytes: int
    scale: float
    zero_point: int
    limits: tuple[int, int]
    low: int
    high: int
    at_low: float
    at_high: float
    dead: tuple[int, ...]

    @property
    def saturated(self) -> float:
        """Share of its values that a limit may have cut off: not those that a ReLU has set to 0."""
        return self.at_high + (self.at_low if self.limits[0] != self.zero_point else 0.0)


@dataclass(frozen=True)
class IntegerAudit:
    """One integer network's audit. Gradients, claims and oddities belong to the float network that it was made from."""

    title: str
    scheme: str
    rounding: str
    told: str
    network: Network
    layers: Sequence[IntegerLayer]
    memory: Memory
    parity: Sequence[Parity]
    provenance: IntegerProvenance

    @property
    def macs(self) -> int:
        """Of one sample."""
        return sum(layer.macs for layer in self.layers)

    @property
    def weight_bytes(self) -> int:
        """Of the whole network."""
        return sum(layer.weight_bytes for layer in self.layers)

    @property
    def passed(self) -> bool:
        """Whether no check failed."""
        return all(each.passed is not False for each in self.parity)


def integer_audit(model: IntegerModel, data: np.ndarray | None = None, told: str = "") -> IntegerAudit:
    """Audit an integer network.

    data : (B, L, C) or (B, H, W, C) integers of the network's dtype; None for a sample made by formulas
    told : what the data is, in words

    Raises ValueError for data that does not fit.
    """
    x = model.quantize_input(example(model.dequantized())[None]) if data is None else data
    network, _ = model.admit(x)
    trace = model.trace(x)
    graph = drawn(network)
    layers = [layer_of(network, node, trace[node.name]) for node in network]
    return IntegerAudit(network.name, network.scheme, network.rounding, told or "a sample made by formulas", network,
                        layers, memory(graph), integers(model, x[:1]), integer_provenance(network, x))


def layer_of(network: Network, node: Node, value: np.ndarray) -> IntegerLayer:
    """One layer and its values (B, H, W, C)."""
    tensor: Tensor = network.tensors[node.name]
    limits = node.attrs.get("act_min", tensor.limits[0]), node.attrs.get("act_max", tensor.limits[1])
    dead = np.flatnonzero((value == tensor.zero_point).all((0, 1, 2)))
    return IntegerLayer(node.name, node.op, tensor.shape, node.layers, network.macs_of(node),
                        int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize,
                        sum(array.nbytes for array in node.arrays.values()), tensor.scale, tensor.zero_point,
                        limits, int(value.min()), int(value.max()), float((value == limits[0]).mean()),
                        float((value == limits[1]).mean()), tuple(dead.tolist()))


def as_dict(found: IntegerAudit) -> dict[str, Any]:
    """Every figure, ready for JSON; the network itself is left out."""
    parts = {name: report.plain(value) for name, value in vars(found).items() if name != "network"}
    return {**parts, "macs": found.macs, "weight_bytes": found.weight_bytes, "passed": found.passed}


def text(found: IntegerAudit) -> str:
    """The audit in a terminal."""
    full = [f"{layer.name} {100 * layer.saturated:.1f} %" for layer in found.layers if layer.saturated > SATURATED]
    dead = [f"{layer.name} {len(layer.dead)}" for layer in found.layers if layer.dead]
    size = found.layers[0].bytes // max(1, int(np.prod(found.layers[0].shape))) if found.layers else 1
    rows = [
        ("weights", f"{found.weight_bytes:,} bytes, with biases, multipliers and shifts"),
        ("work", f"{found.macs:,} integer multiply-accumulates a sample"),
        ("memory", f"arena {found.memory.arena.size * size:,} bytes, at one step at most {found.memory.peak * size:,}"),
        ("saturated", report.few(full, f"no layer by more than {100 * SATURATED:.0f} %")),
        ("dead channels", report.few(dead, "none")),
        *((each.runtime, report.compared_text(each)) for each in found.parity),
        ("gradients", "none: an integer network has steps, not slopes; audit the float network that it was made from"),
    ]
    rows.append(("network", f"{found.provenance.network[:16]}, npunet {found.provenance.npunet}"))
    head = f"{found.title}, {found.scheme}, rounding {found.rounding}, on {found.told}"
    return "\n".join((head, *report.aligned(rows)))


def html(found: IntegerAudit) -> str:
    """The audit as a page."""
    graph = drawn(found.network)
    parts = [
        f"<h1>{escape(found.title)}: audit of the {escape(found.scheme)} network</h1>",
        f'<p class="{"good" if found.passed else "bad"}">'
        f"{'Every check passed.' if found.passed else 'A check failed.'} Rounding {escape(found.rounding)}, on "
        f"{escape(found.told)}.</p>",
        f'<div class="wide">{draw.svg(drawing(graph, found.title))}</div>',
        "<h2>Layers, cost, and how their range is used</h2>",
        f"<p>{found.macs:,} integer multiply-accumulates a sample; {found.weight_bytes:,} bytes of weights, biases, "
        "multipliers and shifts.</p>",
        report.table(("layer", "operator", "output", "stands for", "MACs", "bytes", "weight bytes", "scale",
                      "zero point", "limits", "low", "high", "at the lower limit", "at the upper limit", "dead"),
                     ((each.name, each.op, "x".join(map(str, each.shape)), ", ".join(each.stands_for), each.macs,
                       each.bytes, each.weight_bytes, f"{each.scale:.9g}", each.zero_point,
                       f"{each.limits[0]} ... {each.limits[1]}", each.low, each.high,
                       f"{100 * each.at_low:.2f} %", f"{100 * each.at_high:.2f} %", len(each.dead))
                      for each in found.layers)),
        "<h2>Memory</h2>",
        report.table(("plan for one sample", "elements"), (
            ("every layer in a tensor of its own", found.memory.arena.size),
            ("the most alive at one step", found.memory.peak),
            ("if no skip were kept", found.memory.no_skips))),
        f'<div class="wide">{arena_map(graph, found.memory)}</div>',
        "<h2>Other runtimes</h2>", report.runtimes(found.parity),
        "<h2>Provenance</h2>", report.table(("", ""), asdict(found.provenance).items()),
    ]
    return report.document(found.title, parts)

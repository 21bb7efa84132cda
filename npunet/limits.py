"""What a way of running a graph can not do it refuses, with the layer's name, the reason and the way out.

The NumPy operators define every result; the engine, its training, the C and ONNX each have fewer of them, some with
fewer values of an attribute. Each says in a Limits what a node must be like, and checks a graph before it begins.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, NoReturn, Protocol, TypeVar

from npunet.geometry import same_pads_2d
from npunet.graph import Graph, Node
from npunet.graph_check import check_graph, check_names
from npunet.ops.table import OPERATORS

Entry = TypeVar("Entry")
if TYPE_CHECKING:  # a protocol takes its time to make

    class Named(Protocol):
        """A node of a network, of floats or of integers."""

        @property
        def name(self) -> str: ...

        @property
        def op(self) -> str: ...

Rule = Callable[[Node, Graph], str]  # what is wrong with a node, behind "<who> "; "" for nothing


class Unsupported(ValueError):
    """This way of running a graph has not all of its operators; the NumPy operators have."""


def entry_of(entries: Mapping[str, Entry], node: Named, who: str, way_out: str) -> Entry:
    """What a table by operator says of a node. Raises Unsupported, with the layer's name, where it says nothing."""
    if node.op not in entries:
        raise Unsupported(f"{node.name}: {who} has no {node.op!r}; {way_out}")
    return entries[node.op]


class Limits(NamedTuple):
    """What one way of running a graph can do.

    who     : its name in a message
    way_out : what to do instead
    rules   : for every operator that it has, what must hold of a node
    """

    who: str
    way_out: str
    rules: Mapping[str, Sequence[Rule]]

    def check(self, graph: Graph) -> None:
        """Raise Unsupported for the first node that it cannot do, ValueError for a graph that nobody can run."""
        check_names(graph)
        for node in graph:
            if node.op not in self.rules:
                self.refuse(node.name, f"has no {node.op!r}")
            for rule in (known_attributes, *self.rules[node.op]):
                if reason := rule(node, graph):
                    self.refuse(node.name, reason)
        check_graph(graph)

    def refuse(self, name: str, reason: str) -> NoReturn:
        """Raise Unsupported for the node of that name."""
        raise Unsupported(f"{name}: {self.who} {reason}; {self.way_out}")


def known_attributes(node: Node, graph: Graph) -> str:
    """The attributes are those that the operator takes, none less."""
    expected = OPERATORS[node.op].attributes
    if unknown := [name for name in node.attrs if name not in expected]:
        return f"does not know the attribute {unknown[0]!r} of {node.op!r}"
    if missing := [name for name in expected if name not in node.attrs]:
        return f"needs the attribute {missing[0]!r} of {node.op!r}"
    return ""


def stride_one(node: Node, graph: Graph) -> str:
    stride = tuple(node.attrs["stride"])
    return "" if stride == (1, 1) else f"has no {node.op!r} with stride {stride}"


def same_size(node: Node, graph: Graph) -> str:
    """Pads that keep the size, evenly split or not."""
    before, after = graph.shape(node.inputs[0])[:2], node.shape[:2]
    return "" if before == after else f"has no {node.op!r} with pads {node.attrs['pads']}, from {before} to {after}"


def padded_same(node: Node, graph: Graph) -> str:
    """Pads that are SAME's, of a convolution or a pooling; for who can say "SAME" and nothing else."""
    if "pads" not in node.attrs:
        return ""
    kernel = node.attrs.get("window") or graph.weights[node.weights[0]].shape[:2]
    height, width, _ = graph.shape(node.inputs[0])
    wanted = same_pads_2d((height, width), (kernel[0], kernel[1]), node.attrs["stride"],
                          node.attrs.get("dilation", (1, 1)))
    pads = tuple(map(tuple, node.attrs["pads"]))
    return "" if pads == wanted else f"has no {node.op!r} with pads {pads}, only with SAME's {wanted}"


def refuse_other_pads(node: Node, graph: Graph, who: str, way_out: str) -> None:
    """Raise Unsupported for pads that are not SAME's."""
    if reason := padded_same(node, graph):
        raise Unsupported(f"{node.name}: {who} {reason}; {way_out}")


def multiplier_one(node: Node, graph: Graph) -> str:
    multiplier = graph.weights[node.weights[0]].shape[3]
    return "" if multiplier == 1 else f"has no {node.op!r} with a depth multiplier of {multiplier}"


def inputs_are(count: int) -> Rule:
    """So many inputs."""
    def rule(node: Node, graph: Graph) -> str:
        return "" if len(node.inputs) == count else f"has no {node.op!r} of {len(node.inputs)} tensors"

    return rule


def over_height_and_width(node: Node, graph: Graph) -> str:
    axes = tuple(node.attrs["axes"])
    return "" if sorted(axis % 4 for axis in axes) == [1, 2] else f"has no {node.op!r} over axes {axes}"


def without_bias(node: Node, graph: Graph) -> str:
    return f"has no {node.op!r} with a bias" if len(node.weights) > 1 else ""

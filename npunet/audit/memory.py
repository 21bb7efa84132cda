"""How long every tensor lives, where it could stand in one block of memory, and what the skips cost of that."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from math import prod

from npunet.arena import Arena, Lifetime, lifetimes_in_order, place
from npunet.audit.drawing import COLOURS, KINDS
from npunet.graph import Graph

SAME_PLACE = ("norm", "activation", "dropout", "add")  # kinds that may write over their first input


@dataclass(frozen=True)
class Memory:
    """One sample's activations, in elements (times 4 bytes as float32, times 1 as int8).

    lifetimes : by tensor, in layers as they run; number 0 writes the input
    arena     : where each would stand, every layer in a tensor of its own
    peak      : the most that is alive during one layer, which no arena can go below
    in_place  : the arena where norms, activations and additions write over their input
    fused     : the same where in addition the activation is part of the convolution before it, as deployed
    no_skips  : the arena if nobody read the skips again; arena.size - no_skips is what the skips cost
    """

    lifetimes: Mapping[str, Lifetime]
    arena: Arena
    peak: int
    in_place: int
    fused: int
    no_skips: int


def memory(graph: Graph) -> Memory:
    """Plan a network's activations for one sample."""
    lifetimes = lifetimes_of(graph)
    arena = place(lifetimes)
    moments = range(len(graph.nodes) + 1)
    peak = max(sum(life.size for life in lifetimes.values() if life.first <= moment <= life.last)
               for moment in moments)
    in_place, fused = (place(merged(graph, lifetimes, kinds)).size for kinds in (SAME_PLACE, (*SAME_PLACE, "fused")))
    return Memory(lifetimes, arena, peak, in_place, fused, place(without_skips(graph, lifetimes)).size)


def lifetimes_of(graph: Graph) -> dict[str, Lifetime]:
    """From the layer that writes a tensor to the last that reads it; the output lives to the end."""
    lives = lifetimes_in_order([graph.input, *(node.name for node in graph)], graph.consumers(),
                               lambda name: prod(graph.shape(name)))
    return lives | {graph.output: lives[graph.output]._replace(last=len(graph.nodes))}


def merged(graph: Graph, lifetimes: Mapping[str, Lifetime], kinds: tuple[str, ...]) -> dict[str, Lifetime]:
    """Lifetimes where a layer of these kinds takes over the place of its first input, if nobody reads that later.

    With "fused" a norm or an activation right after a convolution is a part of that convolution.
    """
    home = {graph.input: graph.input}
    lives = dict(lifetimes)
    for node in graph:
        kind, source = KINDS[node.op], home[node.inputs[0]]
        free = lives[source].last == lifetimes[node.name].first and lives[source].size == lifetimes[node.name].size
        before = graph[node.inputs[0]] if node.inputs[0] != graph.input else None
        follows = "fused" in kinds and kind in ("norm", "activation") and before is not None \
            and KINDS[before.op] in ("convolution", "separable", "depthwise", "norm")
        if free and (kind in kinds or follows):
            home[node.name] = source
            lives[source] = lives[source]._replace(last=lifetimes[node.name].last)
            del lives[node.name]
        else:
            home[node.name] = node.name
    return lives


def without_skips(graph: Graph, lifetimes: Mapping[str, Lifetime]) -> dict[str, Lifetime]:
    """Lifetimes as if the concatenations did not read their second input."""
    order = {node.name: number for number, node in enumerate(graph, start=1)}
    lives = dict(lifetimes)
    for name, readers in graph.consumers().items():
        others = [order[node.name] for node in readers if not (node.op == "concat" and name in node.inputs[1:])]
        if len(others) < len(readers):
            lives[name] = lives[name]._replace(last=max(others, default=lives[name].first))
    return lives


def arena_map(graph: Graph, planned: Memory, width: int = 900, height: int = 260) -> str:
    """The arena as SVG: time from left to right, addresses from the top down, one rectangle a tensor."""
    moments = len(graph.nodes) + 1
    across, down = width / moments, height / max(1, planned.arena.size)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + 22}" width="{width}" role="img" '
             'aria-label="the arena: time across, addresses down">']
    for name, life in planned.lifetimes.items():
        kind = "input" if name == graph.input else KINDS[graph[name].op]
        parts.append(
            f'<rect x="{life.first * across:.2f}" y="{planned.arena.offsets[name] * down:.2f}" '
            f'width="{(life.last - life.first + 1) * across:.2f}" height="{max(0.5, life.size * down):.2f}" '
            f'fill="{COLOURS[kind]}" stroke="#fff" stroke-width="0.5"><title>{escape(name)}: {life.size:,} elements at '
            f"{planned.arena.offsets[name]:,}, layers {life.first} to {life.last}</title></rect>")
    parts.append(f'<text x="0" y="{height + 16}" font-size="11" fill="currentColor">layers 0 to {moments - 1}; '
                 f"addresses 0 to {planned.arena.size:,}</text></svg>")
    return "\n".join(parts)

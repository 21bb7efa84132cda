"""Every change at one place of an operator's text that a port may have: each in turn, and undone again."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from npunet.verify.integer.formulas import replacements
from npunet.verify.integer.formulas.forms import FAR_FETCHED, IN_A_LOOP, INDEXED
from npunet.verify.integer.formulas.words import told

GROUPS = (  # attributes that a port may take for one another
    ("h", "w", "c", "oh", "ow", "f", "kh", "kw", "sy", "sx", "dy", "dx", "top", "left", "fy", "fx", "each", "c1", "c2",
     "positions", "channels", "classes"),
    ("input_offset", "output_offset", "act_min", "act_max", "input1_offset", "input2_offset", "diff_min"),
    ("multiplier", "input1_multiplier", "input2_multiplier", "output_multiplier", "positive_multiplier",
     "negative_multiplier"),
    ("shift", "input1_shift", "input2_shift", "output_shift", "positive_shift", "negative_shift", "left_shift",
     "fraction_bits"),
)
TOGETHER = (("multiplier", "shift"), ("gamma", "beta"))
PARTS = {"exp_on_negative": ", in the exponential", "exp_16": ", in the exponential",
         "one_over_one_plus": ", in the reciprocal"}  # functions of a text that a person knows by another name
PAIRS = (("i", "j"), ("ky", "kx"), ("row", "column"), ("a", "b"), ("first", "second"),
         ("exp_table", "reciprocal_table"), ("gamma", "beta"))


@dataclass(frozen=True)
class Place:
    """Where a node of a text stands.

    parents : the nodes around it, the function first;  field, index : of the last of them
    kind    : "index" within the index of an array, "loop" within range(), "condition", or "value"
    """

    node: ast.expr
    parents: tuple[ast.AST, ...]
    field: str
    index: int | None
    kind: str

    def put(self, node: ast.expr) -> None:
        """Set another node there."""
        if self.index is None:
            setattr(self.parents[-1], self.field, node)
        else:
            getattr(self.parents[-1], self.field)[self.index] = node


@dataclass(frozen=True)
class Edit:
    """A change that stands in the text while it is yielded.

    function : in which it is;  words : makes what the port computes and what it should, while the change stands;
    simple : the lower, the likelier
    """

    function: ast.FunctionDef
    words: Callable[[], str]
    simple: int


def edits(functions: Iterable[ast.FunctionDef], space: dict[str, Any], far_fetched: bool) -> Iterator[Edit]:
    """One change after another in some functions of a text; space : the names that the text uses.

    far_fetched : those of FAR_FETCHED and above, else those below
    """
    for function in functions:
        places = list(_places(function))
        local = _names(function)
        for place in places:
            for simple, how, node in replacements.of(place.node, place.kind, local, space, GROUPS, far_fetched):
                if (simple >= FAR_FETCHED) == far_fetched:
                    yield from _put(function, [place], node, how, simple)
                elif simple == 0 and place.kind == "value":
                    yield from _in_a_loop(function, place, node, how, local)
            if not far_fetched:
                yield from _inlined(function, place)
        yield from _everywhere(function, places, space, far_fetched)


def _in_a_loop(function: ast.FunctionDef, place: Place, node: ast.expr, how: str, local: list[str]) -> Iterator[Edit]:
    """A change in some rounds of a loop alone."""
    if not any(isinstance(each, ast.For) for each in place.parents):
        return
    for rounds, condition in IN_A_LOOP:
        if condition.split()[0] in local:
            partly = replacements.parsed(f"where({condition}, {ast.unparse(node)}, {ast.unparse(place.node)})")
            yield from _put(function, [place], partly, f"{how}, {rounds} alone", 2)


def _inlined(function: ast.FunctionDef, place: Place) -> Iterator[Edit]:
    """A part of what a local name stands for, in its place."""
    if not isinstance(place.node, ast.Name):
        return
    for each in function.body:
        if (isinstance(each, ast.Assign) and isinstance(each.targets[0], ast.Name)
                and each.targets[0].id == place.node.id and isinstance(each.value, ast.BinOp)):
            for side in (each.value.left, each.value.right):
                yield from _put(function, [place], side, f"{ast.unparse(side)} for {place.node.id}", 1)


def _put(function: ast.FunctionDef, places: list[Place], node: ast.expr, how: str, simple: int) -> Iterator[Edit]:
    def words() -> str:
        after = told(node, places[0].parents)
        for place in places:
            place.put(place.node)
        before = told(places[0].node, places[0].parents)
        often = f" ({len(places)} times)" if len(places) > 1 else ""
        part = PARTS.get(function.name, "")
        return f"computes {after} where {before} belongs{often}{part}: {how}"

    ast.fix_missing_locations(ast.copy_location(node, places[0].node) if not hasattr(node, "lineno") else node)
    for place in places:
        place.put(node)
    try:
        yield Edit(function, words, simple)
    finally:
        for place in places:
            place.put(place.node)


def _everywhere(function: ast.FunctionDef, places: list[Place], space: dict[str, Any],
                far_fetched: bool) -> Iterator[Edit]:
    """A parameter, or an expression that stands more than once, changed at all its places; two names exchanged."""
    alike: dict[str, list[Place]] = {}
    for place in places:
        if isinstance(place.node, (ast.Attribute, ast.Call, ast.BinOp, ast.Subscript)):
            alike.setdefault(ast.unparse(place.node), []).append(place)
    local = _names(function)
    for same in alike.values():
        if len(same) > 1:
            for simple, how, node in replacements.of(same[0].node, same[0].kind, local, space, GROUPS, far_fetched):
                if (simple >= FAR_FETCHED) == far_fetched:
                    yield from _put(function, same, node, how, simple)
    if far_fetched:
        return
    yield from _together(function, places, local)
    names = {name: [place for place in places if isinstance(place.node, ast.Name) and place.node.id == name]
             for pair in PAIRS for name in pair}
    for one, other in PAIRS:
        if names[one] and names[other]:
            yield from _exchanged(function, names[one], names[other])
    listed = [(text, same) for text, same in alike.items() if isinstance(same[0].node, ast.Attribute)]
    for number, (text, same) in enumerate(listed):
        for other_text, others in listed[number + 1 :]:
            mine, theirs = (value(space, each[0].node) for each in (same, others))
            if mine != theirs and group(text) == group(other_text):
                yield from _exchanged(function, same, others)


def _together(function: ast.FunctionDef, places: list[Place], local: list[str]) -> Iterator[Edit]:
    """Parameters that belong together, all at another index."""
    for arrays in TOGETHER:
        same = [place for place in places if isinstance(place.node, ast.Subscript)
                and isinstance(place.node.value, ast.Name) and place.node.value.id in arrays]
        indices = {ast.unparse(place.node.slice) for place in same if isinstance(place.node, ast.Subscript)}
        if len(same) < 2 or len(indices) != 1:
            continue
        index = indices.pop()
        named = [(1, f"{name} for {index}", name) for name in local if name != index]
        for simple, how, form in (*INDEXED, *named):
            nodes = [replacements.parsed(f"{ast.unparse(place.node.value)}[{form.format(index)}]") for place in same
                     if isinstance(place.node, ast.Subscript)]
            for place, node in zip(same, nodes, strict=True):
                place.put(node)
            try:
                words = f"takes {' and '.join(arrays)} at {form.format(index)}, not at {index}: {how}"
                yield Edit(function, lambda words=words: words, min(simple, 1))  # type: ignore[misc]
            finally:
                for place in same:
                    place.put(place.node)


def _exchanged(function: ast.FunctionDef, one: list[Place], other: list[Place]) -> Iterator[Edit]:
    for places, node in ((one, other[0].node), (other, one[0].node)):
        for place in places:
            place.put(node)
    try:
        names = " and ".join(told(each[0].node, ()) for each in (one, other))
        yield Edit(function, lambda: f"has {names} exchanged in {function.name}", 0)
    finally:
        for place in (*one, *other):
            place.put(place.node)


def group(text: str) -> int:
    """Which of GROUPS an attribute such as "s.kh" is in, -1 for none."""
    name = text.rpartition(".")[2]
    return next((number for number, names in enumerate(GROUPS) if name in names), -1)


def value(space: dict[str, Any], node: ast.expr) -> int | None:
    """The number that an attribute stands for."""
    if not (isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)):
        return None
    owner = space.get(node.value.id)
    found = getattr(owner, node.attr, None) if isinstance(owner, SimpleNamespace) else None
    return found if isinstance(found, int) else None


def _names(function: ast.FunctionDef) -> list[str]:
    """The local names of a function."""
    found = [argument.arg for argument in function.args.args]
    for node in ast.walk(function):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.append(node.id)
    return list(dict.fromkeys(found))


def _places(function: ast.FunctionDef) -> Iterator[Place]:
    """Every expression that is read."""
    yield from _below(function, (), "value")


def _below(node: ast.AST, parents: tuple[ast.AST, ...], kind: str) -> Iterator[Place]:
    around = (*parents, node)
    for field, held in ast.iter_fields(node):
        if field in ("args", "target", "targets") and isinstance(node, (ast.FunctionDef, ast.For, ast.Assign)):
            continue
        listed = isinstance(held, list)
        for index, child in enumerate(held if listed else [held]):
            if not isinstance(child, ast.AST):
                continue
            inside = _kind(node, field, index, kind)
            callee = isinstance(node, ast.Call) and field == "func"
            owner = isinstance(node, ast.Attribute) or (isinstance(node, ast.Return) and isinstance(child, ast.Tuple))
            if isinstance(child, ast.expr) and not callee and not owner:
                yield Place(child, around, field, index if listed else None, inside)
            if not isinstance(child, (ast.expr_context, ast.operator)) and not callee:
                yield from _below(child, around, inside)
            elif callee and isinstance(child, ast.Attribute):
                yield Place(child.value, (*around, child), "value", None, "array")


def _kind(node: ast.AST, field: str, index: int, kind: str) -> str:
    if isinstance(node, ast.Subscript):
        return "index" if field == "slice" else "array"
    if isinstance(node, ast.Call):
        name = node.func.id if isinstance(node.func, ast.Name) else "read"
        if name in ("range", "each"):
            return "loop"
        if name == "read":
            return "index" if index == 0 else "condition"
    return "condition" if isinstance(node, ast.Compare) and kind == "value" else kind

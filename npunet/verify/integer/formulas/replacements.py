"""What may stand in place of an expression of an operator's text: by how likely it is, with words."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from npunet.verify.integer.formulas.forms import (
    COUNTED,
    INDEXED,
    INDICES,
    LARGE,
    LIKELY_VALUES,
    LOOPS,
    VALUES,
)
from npunet.verify.integer.formulas.values import RULES, SHIFTS

Replacement = tuple[int, str, ast.expr]  # 0 is likely, 3 far-fetched; what was done, in words; the expression
OPPOSITE: dict[type[ast.AST], tuple[type[ast.operator], ...]] = {
    ast.Add: (ast.Sub,), ast.Sub: (ast.Add,), ast.RShift: (ast.LShift,), ast.LShift: (ast.RShift,),
    ast.FloorDiv: (ast.Mod, ast.Mult), ast.Mod: (ast.FloorDiv,), ast.BitAnd: (ast.BitOr,), ast.Mult: (ast.Add,)}
COMPARED: dict[type[ast.AST], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE), ast.LtE: (ast.Lt, ast.Gt), ast.Gt: (ast.GtE, ast.Lt), ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,)}
COMPUTED = (ast.Call, ast.Subscript, ast.BinOp)


def of(node: ast.expr, kind: str, local: Sequence[str], space: dict[str, Any],
       groups: Sequence[Sequence[str]], far_fetched: bool = True) -> Iterator[Replacement]:
    """Replacements of one expression; far_fetched : those too that are of FAR_FETCHED and above.

    kind  : of edits.Place;  local : the function's own names;  space : all others, with their values
    """
    if kind == "array":
        yield from _arrays(node, space)
        return
    if isinstance(node, ast.BinOp):
        yield from _operators(node)
    elif isinstance(node, ast.Compare):
        yield from _comparisons(node)
    elif isinstance(node, ast.Call):
        yield from _calls(node)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int):
        yield from _numbers(node.value, "")
    elif isinstance(node, ast.Attribute):
        yield from _attributes(node, space, groups)
    elif isinstance(node, ast.Name):
        same = [name for name in local if name != node.id and (name in INDICES) == (node.id in INDICES)]
        yield from ((1, f"{name} for {node.id}", ast.Name(name, ast.Load())) for name in same)
        yield from _index(node.id, space) if node.id in INDICES else ()
    text = ast.unparse(node)
    is_value = isinstance(node, (*COMPUTED, ast.Attribute)) or (isinstance(node, ast.Name) and node.id not in INDICES)
    is_loop = isinstance(node, ast.Call) and _called(node) in ("range", "each")
    if kind == "value" and is_value and not is_loop:
        yield from _forms(VALUES if far_fetched else LIKELY_VALUES, text)
    if isinstance(node, ast.Subscript) or (isinstance(node, ast.Call) and _called(node) == "read"):
        yield from _of_index(node, space)


def _index(name: str, space: dict[str, Any]) -> Iterator[Replacement]:
    """A loop's variable, or what is computed from it, changed."""
    yield 1, f"0 for {name}", ast.Constant(0)
    end = space["EXTENTS"].get(name)
    for simple, how, form in COUNTED if end else ():
        yield simple, how.format(name=name), parsed(form.format(name=name, end=end))
    for how, form in space["MAPS"].get(name, {}).items():
        yield 1, how, parsed(form)


def _forms(forms: Sequence[tuple[int, str, str]], text: str) -> Iterator[Replacement]:
    for simple, how, form in forms:
        yield simple, how, parsed(form.format(text))


def parsed(text: str) -> ast.expr:
    """An expression."""
    return ast.parse(text, mode="eval").body


def _called(node: ast.Call) -> str:
    return node.func.id if isinstance(node.func, ast.Name) else "read"


def _of_index(node: ast.Subscript | ast.Call, space: dict[str, Any]) -> Iterator[Replacement]:
    """An array at another index."""
    array = ast.unparse(node.value if isinstance(node, ast.Subscript) else node.func)
    index = ast.unparse(node.slice if isinstance(node, ast.Subscript) else node.args[0])
    more = "" if isinstance(node, ast.Subscript) else ", " + ast.unparse(node.args[1])
    ends = ("[", "]") if isinstance(node, ast.Subscript) else ("(", ")")
    memory = array.removesuffix(".read")
    for how, form in space["INDEX"].get(memory, {}).items():
        yield 1, how, parsed(f"{array}{ends[0]}{form}{more}{ends[1]}")
    mirrored = (1, "from the end backward", f"{memory}.size - 1 - ({{}})")
    for simple, how, form in (*INDEXED, mirrored):
        yield simple, how, parsed(f"{array}{ends[0]}{form.format(index)}{more}{ends[1]}")


def _arrays(node: ast.expr, space: dict[str, Any]) -> Iterator[Replacement]:
    """Another array of the operator."""
    if isinstance(node, ast.Name):
        for name, held in space.items():
            if name != node.id and hasattr(held, "lanes") and name != "factors":
                yield 1, f"{name} for {node.id}", ast.Name(name, ast.Load())


def _operators(node: ast.BinOp) -> Iterator[Replacement]:
    left, right = (ast.unparse(side) for side in (node.left, node.right))
    yield 0, f"{_short(right)} is left out", node.left
    yield 0, f"{_short(left)} is left out", node.right
    for other in OPPOSITE.get(type(node.op), ()):
        yield 1, "another operator", ast.BinOp(node.left, other(), node.right)
    if isinstance(node.op, (ast.Add, ast.Sub)):
        yield 0, f"{_short(right)} twice", ast.BinOp(node.left, node.op, parsed(f"2 * ({right})"))
        yield 0, f"{_short(left)} twice", ast.BinOp(parsed(f"2 * ({left})"), node.op, node.right)
        yield 1, "the difference the other way round", ast.BinOp(node.right, ast.Sub(), node.left)
    if isinstance(node.op, ast.LShift):
        for bits in range(16, 31):
            yield 2, f"{bits} in 32 bits that wrap, less the shift", parsed(
                f"wrap(({left}) << {bits}, 32) >> ({bits} - ({right}))")
    if isinstance(node.op, ast.BitAnd) and "s.w" in left + right and "column >= 0" in left:  # inside of the image
        for size in (2, 4, 8, 16, 32):
            whole = ast.unparse(node)
            yield 1, f"tiles of {size} columns without what is beside them", parsed(
                f"({whole}) & (column // {size} == j * s.sx // {size})")
            yield 1, f"strips of {size} rows without what is above and below them", parsed(
                f"({whole}) & (row // {size} == i * s.sy // {size})")
    if isinstance(node.op, ast.RShift):
        for name, how in SHIFTS.items():
            yield 1, how, parsed(f"{name}({left}, {right})")
        yield 1, "a division towards zero in place of a shift", parsed(f"quotient({left}, 1 << ({right}))")
        if isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.Add):  # (x + half) >> n
            for name, how in SHIFTS.items():
                yield 1, how, parsed(f"{name}({ast.unparse(node.left.left)}, {right})")
    if isinstance(node.op, ast.FloorDiv):
        yield 1, "the quotient rounded to the nearest", parsed(f"({left} + ({right}) // 2) // ({right})")
        yield 1, "the quotient rounded up", parsed(f"-(-({left}) // ({right}))")


def _short(text: str) -> str:
    return text if len(text) <= 40 else "the rest"


def _comparisons(node: ast.Compare) -> Iterator[Replacement]:
    for other in COMPARED.get(type(node.ops[0]), ()):
        yield 1, "another comparison", ast.Compare(node.left, [other()], node.comparators)
    yield 0, "the condition is left out", ast.Constant(True)
    yield 1, "the condition never holds", ast.Constant(False)


def _calls(node: ast.Call) -> Iterator[Replacement]:
    name, given = _called(node), [ast.unparse(each) for each in node.args]
    if name in ("range", "each"):
        for simple, how, form in LOOPS:
            text = form.format(call=name, n=f"({given[0]})")
            yield simple, how, parsed(text.replace("range(once_more", "(once_more").replace(
                "range(without", "(without") if name == "range" else text)
    elif name in ("maximum", "minimum"):
        other = {"maximum": "minimum", "minimum": "maximum"}[name]
        yield 0, f"without {_short(given[1])}", node.args[0]
        yield 1, f"without {_short(given[0])}", node.args[1]
        yield 1, f"{other} for {name}", parsed(f"{other}({', '.join(given)})")
    elif name == "where":
        yield 1, "whatever the condition", node.args[1]
        yield 1, "as if the condition never held", node.args[2]
        yield 1, "the condition the other way round", parsed(f"where({given[0]}, {given[2]}, {given[1]})")
    elif name == "clamp":
        yield from _clamps(*given)
    elif name in ("requantize", "requantize_64"):
        for rule, how in RULES.items():
            yield 1, f"requantised {how}", parsed(f"{rule}({', '.join(given)})")
        yield 1, "not requantised", node.args[0]
        yield 1, "requantised twice", parsed(f"{name}({ast.unparse(node)}, {', '.join(given[1:])})")
    elif name == "rounding_shift":
        for shift, how in SHIFTS.items():
            yield 1, how, parsed(f"{shift}({', '.join(given)})")
        yield 1, "without the shift", node.args[0]
        if isinstance(node.args[0], ast.BinOp) and isinstance(node.args[0].op, ast.Add):
            for side in (node.args[0].left, node.args[0].right):
                for by in (1, -1):
                    shift = str(int(given[1]) + by) if given[1].isdigit() else f"{given[1]} {by:+d}"
                    yield 1, f"a polynomial that is cut: a term is left out, and the shift is {shift}", parsed(
                        f"rounding_shift({ast.unparse(side)}, {shift})")
    elif name == "look_up":
        table, x = given
        yield 0, "without interpolation", parsed(f"{table}[256 + (({x}) >> 7)]")
        yield 1, "the nearest entry, without interpolation", parsed(f"{table}[256 + ((({x}) + 64) >> 7)]")
        yield 1, "one entry on", parsed(f"look_up({table}, ({x}) + 128)")
        yield 1, "one entry before", parsed(f"look_up({table}, ({x}) - 128)")
    elif name == "doubling_high":
        a, b = given
        for simple, how, form in ((1, "floored", "({a} * {b}) >> 31"), (1, "the product not doubled",
                                  "({a} * {b} + (1 << 31)) >> 32"), (1, "cut towards zero",
                                  "quotient({a} * {b}, 1 << 31)"), (1, "doubled once more",
                                  "({a} * {b} + (1 << 29)) >> 30")):
            yield simple, how, parsed(form.format(a=f"({a})", b=f"({b})"))
        yield 0, "its first factor alone", node.args[0]
        yield 0, "its second factor alone", node.args[1]
    elif name == "total":
        for how, form in (("the last is left out", "total(({x})[:-1])"), ("the first is left out", "total(({x})[1:])"),
                          ("the first alone", "({x})[0]"), ("the last alone", "({x})[-1]"),
                          ("the first twice", "total({x}) + ({x})[0]"), ("the last twice", "total({x}) + ({x})[-1]"),
                          ("every second one alone", "total(({x})[::2])")):
            yield 1, how, parsed(form.format(x=given[0]))
    elif name == "largest":
        yield 1, "the smallest for the largest", parsed(f"smallest({given[0]})")
        yield 1, "the first for the largest", parsed(f"({given[0]})[0]")
        yield 1, "the last for the largest", parsed(f"({given[0]})[-1]")
        yield 1, "0 for the largest", parsed("0")
        yield 1, "the largest, but not below 0", parsed(f"maximum(largest({given[0]}), 0)")
        yield 1, "the largest of all but the last", parsed(f"largest(({given[0]})[:-1])")
        yield 1, "the largest of all but the first", parsed(f"largest(({given[0]})[1:])")


def _clamps(x: str, low: str, high: str) -> Iterator[Replacement]:
    yield 0, "no clamp, so that it wraps", parsed(f"stored({x})")
    yield 0, "no lower limit", parsed(f"stored(minimum({x}, {high}))")
    yield 0, "no upper limit", parsed(f"stored(maximum({x}, {low}))")
    yield 1, "the limits exchanged", parsed(f"clamp({x}, {high}, {low})")
    yield 1, "the upper limit less 1", parsed(f"clamp({x}, {low}, {high} - 1)")
    yield 1, "the lower limit plus 1", parsed(f"clamp({x}, {low} + 1, {high})")
    yield 1, "wrapped first, then clamped", parsed(f"clamp(stored({x}), {low}, {high})")
    yield 1, "0 in place of the lower limit", parsed(f"clamp({x}, 0, {high})")
    yield 1, "0 in place of what is above the upper limit", parsed(f"where({x} > {high}, 0, clamp({x}, {low}, {high}))")
    yield 1, "0 in place of what is below the lower limit", parsed(f"where({x} < {low}, 0, clamp({x}, {low}, {high}))")
    yield 1, "0 in place of what is beyond the limits", parsed(
        f"where(({x} > {high}) | ({x} < {low}), 0, clamp({x}, {low}, {high}))")
    yield 1, "what is beyond a limit goes to the other one", parsed(
        f"where({x} > {high}, {low}, where({x} < {low}, {high}, {x}))")
    yield 1, "saturated at 8 bits without a sign", parsed(f"stored(minimum(maximum({x}, 0), 255))")


def _numbers(number: int, name: str) -> Iterator[Replacement]:
    said = name or str(number)
    near = (127, 128, 255, 256, 32768) if abs(number) >= LARGE else ()
    more = {number + sign * by: f"{said} {'+' if sign > 0 else '-'} {by}" for by in near for sign in (1, -1)}
    powers = {2**k: f"{2**k}" for k in (number.bit_length() - 1, number.bit_length())} if number >= LARGE else {}
    options = {**more, **powers, 4 * number: f"4 * {said}", number // 4: f"{said} / 4", 0: "0",
               number + 1: f"{said} + 1", number - 1: f"{said} - 1", 2 * number: f"2 * {said}",
               -number: f"-{said}", number // 2: f"{said} / 2", 1: "1", number + 2: f"{said} + 2",
               number - 2: f"{said} - 2"}
    for other, words in options.items():
        if other != number:
            yield 0 if other == 0 else 1, f"{words} for {said}", ast.Constant(other)


def _attributes(node: ast.Attribute, space: dict[str, Any], groups: Sequence[Sequence[str]]) -> Iterator[Replacement]:
    owner = space.get(node.value.id) if isinstance(node.value, ast.Name) else None
    if not isinstance(owner, SimpleNamespace):
        return
    held, kept = vars(owner), {getattr(owner, node.attr)}
    for name in next((names for names in groups if node.attr in names), ()):
        if name in held and held[name] not in kept:
            kept.add(held[name])
            yield 1, f"{name} for {node.attr}", ast.Attribute(node.value, name, ast.Load())
    yield from _numbers(getattr(owner, node.attr), node.attr)
    for name in groups[1] if node.attr in groups[1] else ():
        if name in held and name != node.attr and held[name]:
            text = f"{ast.unparse(node.value)}.{node.attr}"
            yield 1, f"{name} is added to {node.attr}", parsed(f"{text} + {ast.unparse(node.value)}.{name}")
            yield 1, f"{name} is subtracted from {node.attr}", parsed(f"{text} - {ast.unparse(node.value)}.{name}")
    for words, numbers in (space.get("KNOWN") or {}).get(node.attr, {}).items():
        if numbers not in kept:
            kept.add(numbers)
            yield 1, f"{words} for {node.attr}", ast.Constant(numbers)

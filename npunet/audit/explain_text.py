"""An explanation as text for a terminal."""

from __future__ import annotations

from collections.abc import Sized

import numpy as np

from npunet.audit.backprop import Backward
from npunet.audit.explanation import Explanation, shown_number


def text(found: Explanation) -> str:
    """The number, its terms with the running sum, its steps."""
    head = f"{found.layer}{list(found.index)} = {shown_number(found.value)}"
    lines = [f"{head}   {hexadecimal(found.value)}   bits 0x{bits(found.value)}   ({found.op}, {found.arithmetic})"]
    if found.op == "input":
        lines.append("It is part of the input, and comes from nowhere else.")
    if found.terms and found.choice is not None:
        lines.append(f"the largest of {len(found.terms)} values (the first of equal ones):")
        lines += [f"  {place(term.tensor, term.at):<32} {shown_number(term.x):>16}"
                  f"{'   <- taken' if number == found.choice else ''}" for number, term in enumerate(found.terms)]
    elif found.terms:
        lines += products(found)
    if found.steps:
        width = max(len(step.text) for step in found.steps)
        lines += [f"  {step.text:<{width}}  {shown_number(step.value):>16}  {hexadecimal(step.value)}"
                  for step in found.steps]
    return "\n".join(lines)


def products(found: Explanation) -> list[str]:
    """A line for every product: what is read, the weight, the product, the running sum and its bits."""
    weighted = found.terms[0].weight is not None
    order = "ky, kx, c" if found.op == "conv2d" else "ky, kx"
    rule = "acc = fl(acc + x * w)" if found.arithmetic == "seq_fma" else "acc = fl(acc + fl(x * w))"
    what = f"product{plural(found.terms)}, in the order {order}: {rule}" if weighted else f"value{plural(found.terms)}"
    lines = [f"the sum of {len(found.terms)} {what}, from +0:"]
    rows = [("x", "", "w", "", "x * w", "sum", "bits")]
    for term in found.terms:
        name, at = term.weight or ("", ())
        weight = f"{name.split('/')[-1]}{list(at)}"
        multiplied = (weight, shown_number(term.w), shown_number(term.product))
        rows.append((place(term.tensor, term.at), shown_number(term.x), *(multiplied if name else ("", "", "")),
                     shown_number(term.total), bits(term.total)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    sides = (str.ljust, str.rjust, str.ljust, str.rjust, str.rjust, str.rjust, str.rjust)
    for row in rows:
        cells = [side(cell, width) for side, cell, width in zip(sides, row, widths, strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines


def gradient(found: Backward) -> str:
    """The gradient of a number, and what each of its readers hands back."""
    head = f"d loss / d {found.layer}{list(found.index)} = {found.gradient:.17g}"
    lines = [f"{head}   ({found.loss} = {found.value:.9g})"]
    if not found.shares:
        lines.append("It is the network's output: its gradient is the loss's own."
                     if found.is_output else "Nothing that depends on it changes with it.")
    else:
        count = f"{len(found.shares)} number{plural(found.shares)}"
        lines.append(f"handed back by {count} (d loss / d y  times  d y / d x):")
        lines += [f"  {place(share.layer, share.index):<32} {share.dy:>24.17g} * {share.slope:>24.17g} "
                  f"= {share.dy * share.slope:>24.17g}" for share in found.shares]
    return "\n".join(lines)


def plural(counted: Sized) -> str:
    return "" if len(counted) == 1 else "s"


def place(tensor: str, at: tuple[int, ...] | None) -> str:
    return "padding" if at is None else f"{tensor}{list(at)}"


def hexadecimal(x: np.floating) -> str:
    """A float32 exactly, as C writes it."""
    digits, _, power = float(x).hex().partition("p")
    return f"{digits.rstrip('0').rstrip('.')}p{power}" if power and "." in digits else float(x).hex()


def bits(x: np.floating) -> str:
    """The 32 bits of a float32 as hexadecimal digits."""
    return f"{int(np.asarray(x, np.float32).view(np.uint32)):08x}"

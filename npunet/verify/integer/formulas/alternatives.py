"""What is another number, another order or another element of an operator: for its own sizes and tensors."""

from __future__ import annotations

from itertools import permutations

from npunet.integer.network import Network, Node
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS

BY_ELEMENT = ("add", "rescale", "leaky_relu", "table")
MAPS = {  # other elements for element n of an operator of single elements
    "the channels from the end backward": "n // p.c * p.c + p.c - 1 - n % p.c",
    "the next channel, around the end": "n // p.c * p.c + (n + 1) % p.c",
    "the channel before, around the end": "n // p.c * p.c + (n + p.c - 1) % p.c",
    "channel 0 for all": "n // p.c * p.c", "the next position": "n + p.c", "the position before": "n - p.c",
    "the next row": "n + p.w * p.c", "the row before": "n - p.w * p.c",
    "the columns from the end backward": "n // (p.w * p.c) * (p.w * p.c) + (p.w - 1 - n // p.c % p.w) * p.c + n % p.c",
    "the rows from the end backward": "(p.h - 1 - n // (p.w * p.c)) * (p.w * p.c) + n % (p.w * p.c)",
    "positions and channels exchanged": "n % p.c * (p.h * p.w) + n // p.c",
    "the first position for all": "n % p.c", "the first row for all": "n % (p.w * p.c)",
}


POSITIONS = {  # other positions for position n
    "the next row": "(n + s.w)", "the row before": "(n - s.w)",
    "the columns from the end backward": "(n // s.w * s.w + s.w - 1 - n % s.w)",
    "the rows from the end backward": "((s.h - 1 - n // s.w) * s.w + n % s.w)",
    "rows and columns exchanged": "(n % s.w * s.h + n // s.w)", "the first row for all": "(n % s.w)",
}


def extents(op: str) -> dict[str, str]:
    """What ends the loops over the names of a text."""
    ends = {"i": "s.oh", "j": "s.ow", "f": "s.f", "c": "s.c", "ky": "s.kh", "kx": "s.kw", "row": "s.h", "column": "s.w"}
    if op in BY_ELEMENT:
        return {"n": "p.size"}
    if op == "concat":
        return {"n": "s.positions", "c": "s.f"}
    if op == "upsample_nearest2d":
        return {"i": "s.oh", "j": "s.ow", "c": "s.c"}
    return ends | {"k": "p.positions" if op == "layer_norm" else "p.classes", "n": "p.positions"} | (
        {"c": "p.channels"} if op == "layer_norm" else {})


def orders(op: str) -> dict[str, dict[str, str]]:
    """Other orders in memory of an operator's arrays, as indices: by array, then in words."""
    if op in ("max_pool2d", "avg_pool2d", *CONVOLUTIONS):
        channel = "f // s.each" if op == "depthwise_conv2d" else "c"
        found = {"x": {"channels outermost": f"({channel} * s.h + row) * s.w + column",
                       "columns outermost": f"(column * s.h + row) * s.c + {channel}"}}
        for size in (4, 8, 16, 32, 64):
            found["x"][f"rows that begin at multiples of {size} elements"] = (
                f"row * ((s.w * s.c + {size - 1}) // {size} * {size}) + column * s.c + {channel}")
        axes = ("ky", "kx", "f") if op == "depthwise_conv2d" else ("ky", "kx", "c", "f")
        ends = {"ky": "s.kh", "kx": "s.kw", "c": "s.c", "f": "s.f"}
        for order in permutations(axes) if op in CONVOLUTIONS else ():
            index = order[0]
            for axis in order[1:]:
                index = f"({index}) * {ends[axis]} + {axis}"
            if order != axes:
                found.setdefault("weights", {})[f"weights in the order {', '.join(order)}"] = index
        return found
    if op == "concat":
        return {"a": {"channels outermost": "c * s.positions + n"},
                "b": {"channels outermost": "(c - s.c1) * s.positions + n"}}
    return {}


def known(node: Node, network: Network) -> dict[str, dict[str, int]]:
    """Other numbers that a port may have for a parameter: those of other tensors, or in another unit."""
    tensors = network.tensors.values()
    offsets = {f"the zero point of {tensor.name}": tensor.zero_point for tensor in tensors}
    negated = {words: -number for words, number in offsets.items()}
    known = dict.fromkeys(("input_offset", "input1_offset", "input2_offset"), negated) | {"output_offset": offsets}
    low, high = network.tensors[node.name].limits
    limits = {"the smallest value of the type": low, "the largest value of the type": high, "0": 0, "6": 6, "127": 127,
              "255": 255, "-127": -127, "the output's zero point": network.tensors[node.name].zero_point}
    known |= {"act_min": limits, "act_max": limits}
    if node.op == "layer_norm":
        n, epsilon = node.arrays["gamma"].size, node.attrs["epsilon"]
        units = {f"{2**k} * epsilon": epsilon << k for k in range(2, 17)}
        units |= {f"epsilon / {2**k}": epsilon >> k for k in range(2, 17)}
        units |= {"epsilon / n": epsilon // n, "epsilon / n^2": epsilon // n**2, "n * epsilon": epsilon * n}
        known["epsilon"] = units
    return known

"""Why a faulty form of a layer is the right one after all: no input of the layer can tell them apart.

Of what acts on single values, the layer is asked at every value at which two such functions can differ (`probes`): at
both sides of every step, which decides of two functions that never fall; of operators of single int8 elements, at all
values. Of an int16 add's roundings, each of its three requantisations is asked by itself, then every sum near a step of
its output (`sums_of_two`). What selects or weighs the values of its input is asked of one value at a time, which
decides of two such functions.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from npunet.golden.integer.reach import alive
from npunet.golden.integer.stages import UNLIMITED
from npunet.integer.network import Network, Node
from npunet.verify.integer.diagnose import variants
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.hypotheses import HYPOTHESES
from npunet.verify.integer.hypotheses.registry import CONVOLUTIONS
from npunet.verify.integer.hypotheses.rounding import other_rules
from npunet.verify.integer.probes import ELEMENTWISE, Probe, parts_of_add, probe
from npunet.verify.integer.sums_of_two import differing_pair

AT_ALL = "the same for every value that the layer can be given"
AT_STEPS = "the same at both sides of every step that the layer's sums can reach"
OF_PARTS = "each of the three requantisations is the same for every value that it can be given"
OF_PAIRS = "the same for every pair of values whose sum lies near a step of the output"
OF_SINGLE = "every single value of the input goes where it should, with the weight that it should have"
OF_NOTHING = "no tap ever lies inside of the image: the output is what its bias gives"
OF_INPUTS = ("another tensor", "type of the input", "zero point", "zeros skipped")  # and of the order of samples
SELECTING = ("max_pool2d", "avg_pool2d", "upsample_nearest2d", "concat")
MOST_ASKED = 2**24  # values of the outputs for one input value at a time


class Proofs:
    """What can be proven of the faulty forms of one layer; names : of the hypotheses that matter."""

    def __init__(self, node: Node, network: Network, names: set[str]) -> None:
        self.node, self.network, self.names = node, network, names
        self.whole = self._differing(probe(node, network, every=True))
        parts = parts_of_add(node, network) if node.op == "add" and self.whole is None else ()
        self.parts = [self._differing(part) for part in parts]
        self.singles: dict[str, dict[str, bool]] = {}  # by hypothesis and words: whether a single value tells

    def _differing(self, asked: Probe | None) -> dict[tuple[str, str], bool] | None:
        """Whether each variant differs anywhere; None where that proves nothing."""
        if asked is None or not asked.complete:
            return None
        return {(name, words): bool(where.any()) for name, words, where in asked.differences(self.names)}

    def reason(self, name: str, words: str) -> str | None:
        """Why a variant gives the right integers for every input, or None."""
        if name in OF_INPUTS and self.node.op in CONVOLUTIONS and not alive(self.node, self.network).any():
            return OF_NOTHING
        of_clamps = name in ("clamp", "saturation missing")
        same = self.whole is not None and self.whole.get((name, words)) is False
        if same and (of_clamps or self.node.op != "layer_norm"):
            return AT_ALL if self.node.op in ELEMENTWISE else AT_STEPS
        if self.parts and name == "rounding profile":
            if all(part is not None and part.get((name, words)) is False for part in self.parts):
                return OF_PARTS
            rule = other_rules(self.network.rounding).get(words)
            return OF_PAIRS if rule and differing_pair(self.node, self.network, rule) is False else None
        if self.parts and of_clamps and self.parts[-1] is not None:
            return AT_STEPS if self.parts[-1].get((name, words)) is False else None
        if HYPOTHESES[name].linear and self.node.op in (*CONVOLUTIONS, *SELECTING):
            if name not in self.singles:
                self.singles[name] = _by_single_values(self.node, self.network, name)
            return OF_SINGLE if self.singles[name].get(words) is False else None
        return None


def _by_single_values(node: Node, network: Network, name: str) -> dict[str, bool]:
    """Whether the variants of a hypothesis differ for inputs of one value apart from the others; {} for large layers.

    Two sums of weighted values are one function when they agree on nothing and on each value alone; so are two maxima
    of chosen values, two means, and two copies.
    """
    tensors = [network.tensors[source] for source in node.inputs]
    sizes = [prod(tensor.shape) for tensor in tensors]
    count = 1 + sum(sizes)
    if count * max(prod(network.tensors[node.name].shape), *sizes) > MOST_ASKED:
        return {}
    inputs, first = [], 1
    for tensor, size in zip(tensors, sizes, strict=True):
        rest, one = (tensor.zero_point, 1) if node.op in CONVOLUTIONS else (tensor.limits[0], 100)
        x = np.full((count, size), rest, np.int64)
        x[first : first + size][np.diag_indices(size)] += one
        inputs.append(x.reshape(count, *tensor.shape))
        first += size
    given = Evidence(node, network, tuple(inputs), np.zeros((count, *network.tensors[node.name].shape), np.int64))
    if node.op in CONVOLUTIONS:
        given = given.summed(given.got)
    elif "act_min" in node.attrs:
        given = replace(given, node=replace(node, attrs={**node.attrs, "act_min": -UNLIMITED, "act_max": UNLIMITED}))
    return {words: not np.array_equal(values, given.right)
            for words, values in variants(HYPOTHESES[name], given).items()}

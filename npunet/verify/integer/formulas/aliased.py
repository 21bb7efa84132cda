"""An output that is written over the input while the input is still read."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, prod

import numpy as np

from npunet.verify.diagnose.causes import check_time
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.formulas.machine import Machine

MOST = 2**12  # elements of a sample that are followed one by one


def aliased(evidence: Sequence[Evidence], deadline: float = inf) -> list[str]:
    """Words for where the output lay over an input, if that explains every case of the network. Raises TimeIsUp.

    Elements are computed in their order in memory; what a layer reads after it has written there is its own output.
    The cases of the layer alone, whose output lies elsewhere, must be right.
    """
    wrong = [e for e in evidence if e.wrong]
    size = prod(evidence[0].got.shape[1:])
    if size > MOST or not all(e.others for e in wrong) or any(e.wrong for e in evidence if not e.others):
        return []
    for number, x in enumerate(evidence[0].inputs):
        extent = x[0].size
        for first in dict.fromkeys((0, extent - size, size - extent)):
            if all(_fits(e, number, first, deadline) for e in wrong):
                whose = "its input" if len(evidence[0].inputs) == 1 else f"its input {number}"
                side = "behind" if first > 0 else "before"
                where = f", from {abs(first)} elements {side} it on" if first else ""
                return [f"writes its output over {whose}{where}, which it still reads"]
    return []


def _fits(e: Evidence, number: int, first: int, deadline: float) -> bool:
    for sample in range(len(e.got)):
        inputs = tuple(x[sample : sample + 1] for x in e.inputs)
        try:
            machine = Machine(e.node, e.network, inputs)
        except ValueError:
            return False
        memory = machine.space[machine.read[number]].values[0]
        got = e.got[sample].ravel()
        for element in range(got.size):
            check_time(deadline)
            made = machine.run(np.array([element]))[0]["out"][0]
            if made != got[element]:
                return False
            if 0 <= element + first < memory.size:
                memory[element + first] = made
    return True

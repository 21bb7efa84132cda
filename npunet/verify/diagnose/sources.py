"""Everything that may stand where a layer's output or input ought to stand, by name."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from npunet.verify.diagnose.patterns import Sight


def before(s: Sight) -> Iterator[tuple[str, np.ndarray]]:
    """Tensors of this case that were there before the layer ran: its inputs, other layers' outputs, its accumulator."""
    for number, x in enumerate(s.inputs):
        yield "the layer's input" if len(s.inputs) == 1 else f"the layer's input {number + 1}", x
    if s.evidence.acc is not None:
        yield "the sum before the bias", s.evidence.acc
    for name, value in s.evidence.others.items():
        if not any(value is x for x in s.inputs):
            yield f"the output of {name}", value


def others(s: Sight) -> Iterator[tuple[str, np.ndarray]]:
    """All of these, and what a buffer holds when another layer or another case used it, and the layer's weights."""
    yield from before(s)
    for name, value in s.evidence.golden.items():
        yield f"the output of {name}, a later layer", value
    own = f"{s.node.name} of "
    for name, value in sorted(s.evidence.cases.items(), key=lambda item: not item[0].startswith(own)):
        if name.startswith(own):
            yield f"the layer's own output in the case {name.removeprefix(own)} (not updated)", value
        else:
            layer, _, case = name.rpartition(" of ")
            yield f"the output of {layer} in the case {case}", value
    for number, w in enumerate(s.recipe.kernels):
        yield f"the layer's weights ({number + 1})" if len(s.recipe.kernels) > 1 else "the layer's weights", w
    if s.recipe.bias is not None:
        yield "the layer's bias", s.recipe.bias

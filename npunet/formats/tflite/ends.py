"""The float or uint8 ends that a converter puts around integers unless it is told otherwise.

A file may take real numbers, which a QUANTIZE at its beginning makes integers, and give real numbers, which a
DEQUANTIZE at its end makes of integers; or take and give uint8, 128 more than the int8 between. What lies between is
the integer network: such ends are left out, and its input and output are the integers beside them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from npunet.formats.tflite.flat import FlatModel, FlatTensor

UNSIGNED = 128  # by which uint8 lies above int8


def between_ends(flat: FlatModel) -> tuple[FlatModel, frozenset[int]]:
    """The file with the integers beside its ends as input and output, and the numbers of the operators left out."""
    left: set[int] = set()
    source, result = flat.inputs[0], flat.outputs[0]
    readers = [number for number, operator in enumerate(flat.operators) if source in operator.inputs]
    if len(readers) == 1:
        operator = flat.operators[readers[0]]
        if operator.code == "QUANTIZE" and len(operator.outputs) == 1 and _are_ends(flat, source, operator.outputs[0]):
            left.add(readers[0])
            source = operator.outputs[0]
    makers = [number for number, operator in enumerate(flat.operators) if result in operator.outputs]
    if len(makers) == 1 and makers[0] not in left:
        operator = flat.operators[makers[0]]
        if operator.code in ("DEQUANTIZE", "QUANTIZE") and len(operator.inputs) == 1 and operator.inputs[0] >= 0 and (
                _are_ends(flat, result, operator.inputs[0])):
            left.add(makers[0])
            result = operator.inputs[0]
    return replace(flat, inputs=(source,), outputs=(result,)), frozenset(left)


def _are_ends(flat: FlatModel, outer: int, inner: int) -> bool:
    """Whether a tensor at an end says nothing but what the integers beside it say."""
    one, other = flat.tensors[outer], flat.tensors[inner]
    if other.dtype.name not in ("int8", "int16") or one.shape != other.shape:
        return False
    if one.dtype == np.float32:
        return True
    return one.dtype == np.uint8 and other.dtype == np.int8 and _same_but_for_the_sign(one, other)


def _same_but_for_the_sign(one: FlatTensor, other: FlatTensor) -> bool:
    return one.scales.size == other.scales.size == 1 and one.scales[0] == other.scales[0] and (
        int(one.zero_points[0]) == int(other.zero_points[0]) + UNSIGNED)

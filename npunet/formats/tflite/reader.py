"""From the bytes of a .tflite to a FlatModel, with every offset, size and number checked on the way.

The schema's classes follow offsets without looking where they lead. What goes wrong inside them, and every value that
cannot be, becomes one ValueError; nothing is read or allocated beyond what the file itself could hold.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from npunet.formats.kinds import TFLITE
from npunet.formats.tflite.flat import (
    FLOATS,
    OPTIONS,
    TYPE_NAMES,
    TYPES,
    FlatModel,
    FlatOperator,
    FlatTensor,
    camel,
    schema,
)

LARGEST = 2**28  # values of one tensor
MOST_AXES = 6
LONGEST = 1000  # characters of a name
BROKEN = (struct.error, IndexError, TypeError, OverflowError, UnicodeDecodeError, AttributeError, MemoryError,
          RecursionError)


def read_flat(content: bytes) -> FlatModel:
    """The only subgraph of a file. Raises ValueError for bytes that are no such file, MissingExtra."""
    if content[4:8] != TFLITE:
        raise ValueError("it does not have the mark TFL3 of a .tflite file")
    classes = schema()
    try:
        return _model(classes, content)
    except BROKEN as error:
        raise ValueError(f"it is damaged or incomplete: an offset leads nowhere ({error})") from None


def _model(classes: ModuleType, content: bytes) -> FlatModel:
    model, limit = classes.Model.GetRootAs(content, 0), len(content)
    if model.Version() != 3:
        raise ValueError(f"its schema has version {model.Version()}; this reads version 3")
    if model.SubgraphsLength() != 1:
        raise ValueError(f"it has {model.SubgraphsLength()} subgraphs; a network here has one")
    graph = model.Subgraphs(0)
    buffers = _listed("buffers", model.BuffersLength(), limit)
    for i in range(buffers):
        model.Buffers(i).DataLength()  # those that no tensor has must be whole too: a file may be cut off there
    listed = _listed("operator codes", model.OperatorCodesLength(), limit)
    codes = [_code(model.OperatorCodes(i)) for i in range(listed)]
    tensors = tuple(_tensor(model, graph.Tensors(i), i, buffers, limit)
                    for i in range(_listed("tensors", graph.TensorsLength(), limit)))
    operators = tuple(_operator(classes, graph.Operators(i), i, codes, len(tensors))
                      for i in range(_listed("operators", graph.OperatorsLength(), limit)))
    inputs = _numbers("the inputs", graph.InputsAsNumpy(), len(tensors))
    outputs = _numbers("the outputs", graph.OutputsAsNumpy(), len(tensors))
    metadata = {}
    for i in range(_listed("metadata", model.MetadataLength(), limit)):
        entry = model.Metadata(i)
        if 0 < entry.Buffer() < buffers:
            metadata[_text(entry.Name())] = _bytes(model.Buffers(entry.Buffer()))
    return FlatModel(tensors, operators, inputs, outputs, _text(graph.Name()), _text(model.Description()), metadata)


def _code(code: Any) -> tuple[int, int]:
    """Number of a builtin operator, and its version; small numbers also stand in the older field."""
    return max(code.BuiltinCode(), code.DeprecatedBuiltinCode()), code.Version()


def _tensor(model: Any, tensor: Any, number: int, buffers: int, limit: int) -> FlatTensor:
    name = _text(tensor.Name())
    where = f"tensor {number} ({name})"
    if tensor.Type() not in TYPES:
        kind = TYPE_NAMES.get(tensor.Type(), f"type {tensor.Type()} of the schema")
        raise ValueError(f"{where} is {kind}; only {', '.join(sorted(kind.name for kind in TYPES.values()))} can be "
                         "read: convert the network with full integer quantisation")
    dtype = TYPES[tensor.Type()]
    if tensor.IsVariable() or tensor.Sparsity() is not None:
        raise ValueError(f"{where} is a variable or sparse, which no U-Net has")
    shape = tuple(int(extent) for extent in _array(tensor.ShapeAsNumpy(), np.int32))
    if len(shape) > MOST_AXES:
        raise ValueError(f"{where} has {len(shape):,} axes; at most {MOST_AXES} can be read")
    size = 1
    for extent in shape:
        size *= extent
    if any(extent < 1 for extent in shape) or size > LARGEST:
        raise ValueError(f"{where} has shape {shape}; sizes start at 1, with at most {LARGEST:,} values")
    if not 0 <= tensor.Buffer() < buffers:
        raise ValueError(f"{where} has buffer {tensor.Buffer()}, but the file has {buffers}")
    data = _data(model, tensor.Buffer(), where, dtype, shape, size) if tensor.Buffer() else None
    scales, zero_points, axis = _quantisation(tensor, where, shape)
    signature = _array(tensor.ShapeSignatureAsNumpy(), np.int32)
    unsettled = tuple(at for at, extent in enumerate(signature[: len(shape)]) if extent == -1)
    return FlatTensor(name, shape, dtype, data, scales, zero_points, axis, unsettled)


def _data(model: Any, number: int, where: str, dtype: np.dtype, shape: tuple[int, ...], size: int) -> np.ndarray | None:
    content = _bytes(model.Buffers(number))
    if not content:
        return None
    if len(content) != size * dtype.itemsize:
        raise ValueError(f"{where} of shape {shape} needs {size * dtype.itemsize:,} bytes; its buffer has "
                         f"{len(content):,}")
    return np.frombuffer(content, dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def _quantisation(tensor: Any, where: str, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, int]:
    told = tensor.Quantization()
    if told is None:
        return np.zeros(0, np.float32), np.zeros(0, np.int64), 0
    scales, zero_points = _array(told.ScaleAsNumpy(), np.float32), _array(told.ZeroPointAsNumpy(), np.int64)
    if not scales.size:
        return scales, scales.astype(np.int64), 0
    if zero_points.size not in (0, scales.size):
        raise ValueError(f"{where} has {scales.size} scales but {zero_points.size} zero points")
    zero_points = zero_points if zero_points.size else np.zeros(scales.size, np.int64)
    if not (np.isfinite(scales).all() and (scales > 0).all()):
        raise ValueError(f"{where} has a scale that is not a positive number")
    axis = told.QuantizedDimension()
    if scales.size > 1 and not (0 <= axis < len(shape) and shape[axis] == scales.size):
        raise ValueError(f"{where} of shape {shape} has {scales.size} scales along axis {axis}")
    return scales, zero_points, axis


def _operator(classes: ModuleType, operator: Any, number: int, codes: list[tuple[int, int]],
              tensors: int) -> FlatOperator:
    if not 0 <= operator.OpcodeIndex() < len(codes):
        raise ValueError(f"operator {number} has code {operator.OpcodeIndex()}, but the file lists {len(codes)}")
    builtin, version = codes[operator.OpcodeIndex()]
    code = _names(classes).get(builtin, f"builtin {builtin}")
    where = f"operator {number} ({code})"
    inputs = _numbers(where, operator.InputsAsNumpy(), tensors, optional=True)
    outputs = _numbers(where, operator.OutputsAsNumpy(), tensors)
    return FlatOperator(code, inputs, outputs, _options(classes, operator, code, where), version)


def _options(classes: ModuleType, operator: Any, code: str, where: str) -> dict[str, Any]:
    """The options of an operator that can be read; the schema's defaults where the file has none."""
    if code not in OPTIONS:
        return {}
    table, names = OPTIONS[code]
    options = getattr(classes, table)()
    union = operator.BuiltinOptions()
    if union is not None:
        if operator.BuiltinOptionsType() != getattr(classes.BuiltinOptions, table):
            raise ValueError(f"{where} has options of another operator")
        options.Init(union.Bytes, union.Pos)
    else:
        return {name: 1.0 if name == "beta" else 0 for name in names}
    read: dict[str, Any] = {}
    for name in names:
        value = getattr(options, camel(name))()
        read[name] = float(value) if name in FLOATS else int(value)
    return read


@lru_cache
def _names(classes: ModuleType) -> dict[int, str]:
    """Names of the builtin operators by number."""
    return {number: name for name, number in vars(classes.BuiltinOperator).items() if isinstance(number, int)}


def _listed(what: str, length: int, limit: int) -> int:
    """The length of a vector of offsets, four bytes each, which cannot be longer than the file."""
    if length * 4 > limit:
        raise ValueError(f"it lists {length:,} {what}, more than its {limit:,} bytes can hold")
    return length


def _numbers(where: str, values: Any, count: int, optional: bool = False) -> tuple[int, ...]:
    """Numbers of tensors, of which there are `count`; -1 stands for an optional one that is missing."""
    numbers = tuple(int(value) for value in _array(values, np.int32))
    for number in numbers:
        if not (-1 if optional else 0) <= number < count:
            raise ValueError(f"{where} names tensor {number}, but there are {count}")
    return numbers


def _bytes(buffer: Any) -> bytes:
    if buffer.Offset() > 1 or buffer.Size() > 1:
        raise ValueError("a buffer lies outside the flatbuffer, as in files beyond 2 GB; they cannot be read")
    return _array(buffer.DataAsNumpy(), np.uint8).tobytes()


def _array(values: Any, dtype: Any) -> np.ndarray:
    """A vector of the file; the schema's classes give 0 where there is none."""
    return np.zeros(0, dtype) if isinstance(values, int) else np.asarray(values, dtype)


def _text(value: bytes | None) -> str:
    text = (value or b"").decode("utf-8")
    if len(text) > LONGEST or not text.isprintable():
        raise ValueError(f"it is damaged: where a name should be there are {len(text):,} characters that are none")
    return text

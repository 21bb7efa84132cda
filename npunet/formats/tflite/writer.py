"""From a FlatModel to the bytes of a .tflite: equal models give equal bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from npunet.extras import extra
from npunet.formats.kinds import TFLITE
from npunet.formats.tflite.flat import FLOATS, NUMBERS, OPTIONS, FlatModel, FlatOperator, FlatTensor, camel, schema

ALIGNMENT = 16  # of a buffer's data, in bytes


def write_flat(model: FlatModel) -> bytes:
    """The bytes of a file. Raises MissingExtra."""
    classes = schema()
    builder = extra("flatbuffers", "tflite").Builder(1 << 16)
    codes = sorted({(operator.code, operator.version) for operator in model.operators})
    contents = [b"", *(tensor.data.tobytes() for tensor in model.tensors if tensor.data is not None),
                *model.metadata.values()]
    buffers = _tables(builder, classes.ModelStartBuffersVector, [_buffer(classes, builder, data) for data in contents])
    subgraph = _subgraph(classes, builder, model, codes)
    subgraphs = _tables(builder, classes.ModelStartSubgraphsVector, [subgraph])
    listed = _tables(builder, classes.ModelStartOperatorCodesVector, [_code(classes, builder, *code) for code in codes])
    first = len(contents) - len(model.metadata)
    entries = [_metadata(classes, builder, name, first + i) for i, name in enumerate(model.metadata)]
    metadata = _tables(builder, classes.ModelStartMetadataVector, entries)
    description = builder.CreateString(model.description)
    classes.ModelStart(builder)
    classes.ModelAddVersion(builder, 3)
    classes.ModelAddOperatorCodes(builder, listed)
    classes.ModelAddSubgraphs(builder, subgraphs)
    classes.ModelAddDescription(builder, description)
    classes.ModelAddBuffers(builder, buffers)
    classes.ModelAddMetadata(builder, metadata)
    builder.Finish(classes.ModelEnd(builder), TFLITE)
    return bytes(builder.Output())


def _subgraph(classes: ModuleType, builder: Any, model: FlatModel, codes: list[tuple[str, int]]) -> int:
    offsets, buffer = [], 0
    for tensor in model.tensors:
        buffer += tensor.data is not None
        offsets.append(_tensor(classes, builder, tensor, buffer if tensor.data is not None else 0))
    tensors = _tables(builder, classes.SubGraphStartTensorsVector, offsets)
    operators = _tables(builder, classes.SubGraphStartOperatorsVector,
                        [_operator(classes, builder, operator, codes) for operator in model.operators])
    inputs, outputs = _ints(builder, model.inputs), _ints(builder, model.outputs)
    name = builder.CreateString(model.name)
    classes.SubGraphStart(builder)
    classes.SubGraphAddTensors(builder, tensors)
    classes.SubGraphAddInputs(builder, inputs)
    classes.SubGraphAddOutputs(builder, outputs)
    classes.SubGraphAddOperators(builder, operators)
    classes.SubGraphAddName(builder, name)
    return classes.SubGraphEnd(builder)


def _tensor(classes: ModuleType, builder: Any, tensor: FlatTensor, buffer: int) -> int:
    shape, name = _ints(builder, tensor.shape), builder.CreateString(tensor.name)
    quantisation = _quantisation(classes, builder, tensor) if tensor.scales.size else None
    signature = tuple(-1 if at in tensor.unsettled else extent for at, extent in enumerate(tensor.shape))
    shape_signature = _ints(builder, signature) if tensor.unsettled else None
    classes.TensorStart(builder)
    classes.TensorAddShape(builder, shape)
    if shape_signature is not None:
        classes.TensorAddShapeSignature(builder, shape_signature)
    classes.TensorAddType(builder, NUMBERS[tensor.dtype])
    classes.TensorAddBuffer(builder, buffer)
    classes.TensorAddName(builder, name)
    if quantisation is not None:
        classes.TensorAddQuantization(builder, quantisation)
    return classes.TensorEnd(builder)


def _quantisation(classes: ModuleType, builder: Any, tensor: FlatTensor) -> int:
    scales = builder.CreateNumpyVector(tensor.scales.astype(np.float32))
    zero_points = builder.CreateNumpyVector(tensor.zero_points.astype(np.int64))
    classes.QuantizationParametersStart(builder)
    classes.QuantizationParametersAddScale(builder, scales)
    classes.QuantizationParametersAddZeroPoint(builder, zero_points)
    classes.QuantizationParametersAddQuantizedDimension(builder, tensor.axis)
    return classes.QuantizationParametersEnd(builder)


def _operator(classes: ModuleType, builder: Any, operator: FlatOperator, codes: list[tuple[str, int]]) -> int:
    inputs, outputs = _ints(builder, operator.inputs), _ints(builder, operator.outputs)
    table, names = OPTIONS.get(operator.code, ("", ()))
    options = None
    if table:
        getattr(classes, f"{table}Start")(builder)
        for name in names:
            value = operator.options.get(name, 0)
            getattr(classes, f"{table}Add{camel(name)}")(builder, float(value) if name in FLOATS else int(value))
        options = getattr(classes, f"{table}End")(builder)
    classes.OperatorStart(builder)
    classes.OperatorAddOpcodeIndex(builder, codes.index((operator.code, operator.version)))
    classes.OperatorAddInputs(builder, inputs)
    classes.OperatorAddOutputs(builder, outputs)
    if options is not None:
        classes.OperatorAddBuiltinOptionsType(builder, getattr(classes.BuiltinOptions, table))
        classes.OperatorAddBuiltinOptions(builder, options)
    return classes.OperatorEnd(builder)


def _code(classes: ModuleType, builder: Any, code: str, version: int) -> int:
    number = getattr(classes.BuiltinOperator, code)
    classes.OperatorCodeStart(builder)
    classes.OperatorCodeAddDeprecatedBuiltinCode(builder, min(number, 127))
    classes.OperatorCodeAddVersion(builder, version)
    classes.OperatorCodeAddBuiltinCode(builder, number)
    return classes.OperatorCodeEnd(builder)


def _metadata(classes: ModuleType, builder: Any, name: str, buffer: int) -> int:
    text = builder.CreateString(name)
    classes.MetadataStart(builder)
    classes.MetadataAddName(builder, text)
    classes.MetadataAddBuffer(builder, buffer)
    return classes.MetadataEnd(builder)


def _buffer(classes: ModuleType, builder: Any, content: bytes) -> int:
    data = None
    if content:
        builder.StartVector(1, len(content), ALIGNMENT)
        builder.head -= len(content)
        builder.Bytes[builder.head : builder.head + len(content)] = content
        data = builder.EndVector()
    classes.BufferStart(builder)
    if data is not None:
        classes.BufferAddData(builder, data)
    return classes.BufferEnd(builder)


def _tables(builder: Any, start: Callable[[Any, int], Any], offsets: list[int]) -> int:
    """A vector of tables that are written already."""
    start(builder, len(offsets))
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return builder.EndVector()


def _ints(builder: Any, values: Sequence[int]) -> int:
    return builder.CreateNumpyVector(np.array(values, np.int32))

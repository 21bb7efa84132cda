"""A .tflite file as plain data, between its bytes and the networks that it can hold.

One subgraph: tensors, and operators that read and write them by number. Options have the schema's names in lower case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from npunet.extras import extra

# TensorType of the schema, for those that a network here can have
TYPES: dict[int, np.dtype] = {0: np.dtype(np.float32), 1: np.dtype(np.float16), 2: np.dtype(np.int32),
                              3: np.dtype(np.uint8), 4: np.dtype(np.int64), 6: np.dtype(np.bool_),
                              7: np.dtype(np.int16), 9: np.dtype(np.int8)}
TYPE_NAMES = {5: "string", 8: "complex64", 10: "float64", 11: "complex128", 12: "uint64",
              13: "resource", 14: "variant", 15: "uint32", 16: "uint16", 17: "int4", 18: "bfloat16"}  # of the others
NUMBERS = {dtype: number for number, dtype in TYPES.items()}
SAME, VALID = 0, 1  # Padding
DESCRIPTION = "npunet"  # of a file that npunet wrote
ACTIVATIONS: dict[int, str | None] = {0: None, 1: "relu", 3: "relu6"}  # ActivationFunctionType

WINDOW = ("padding", "stride_w", "stride_h")
# operator: (table of its options in the schema, their names); FLOATS are real, all others integers
OPTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "ADD": ("AddOptions", ("fused_activation_function", "pot_scale_int16")),
    "AVERAGE_POOL_2D": ("Pool2DOptions", (*WINDOW, "filter_width", "filter_height", "fused_activation_function")),
    "CONCATENATION": ("ConcatenationOptions", ("axis", "fused_activation_function")),
    "CONV_2D": ("Conv2DOptions", (*WINDOW, "fused_activation_function", "dilation_w_factor", "dilation_h_factor")),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", (*WINDOW, "depth_multiplier", "fused_activation_function",
                                                     "dilation_w_factor", "dilation_h_factor")),
    "LEAKY_RELU": ("LeakyReluOptions", ("alpha",)),
    "MAX_POOL_2D": ("Pool2DOptions", (*WINDOW, "filter_width", "filter_height", "fused_activation_function")),
    "MEAN": ("ReducerOptions", ("keep_dims",)),
    "MUL": ("MulOptions", ("fused_activation_function",)),
    "PACK": ("PackOptions", ("axis", "values_count")),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", ("align_corners", "half_pixel_centers")),
    "SHAPE": ("ShapeOptions", ("out_type",)),
    "SOFTMAX": ("SoftmaxOptions", ("beta",)),
    "STRIDED_SLICE": ("StridedSliceOptions", ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask",
                                              "shrink_axis_mask")),
    "SUB": ("SubOptions", ("fused_activation_function",)),
}
FLOATS = ("alpha", "beta")


@dataclass(frozen=True)
class FlatTensor:
    """One tensor of a file.

    shape       : batch included
    data        : its constant values in that shape, or None
    scales      : float32 (1,) or one for each position of `axis`; empty for none
    zero_points : int64, as many
    unsettled   : axes whose size the file leaves to the run, where `shape` has a 1 that means nothing
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype
    data: np.ndarray | None = None
    scales: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    zero_points: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    axis: int = 0
    unsettled: tuple[int, ...] = ()


@dataclass(frozen=True)
class FlatOperator:
    """One operator of a file: its builtin code's name, version, options, and its tensors by number (-1 for none)."""

    code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1


@dataclass(frozen=True)
class FlatModel:
    """A file with one subgraph."""

    tensors: tuple[FlatTensor, ...]
    operators: tuple[FlatOperator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    name: str = ""
    description: str = ""
    metadata: Mapping[str, bytes] = field(default_factory=dict)


def schema() -> ModuleType:
    """The classes of the schema. Raises MissingExtra."""
    extra("flatbuffers", "tflite")
    return extra("tflite", "tflite")


def camel(name: str) -> str:
    """stride_w as the schema's classes call it: StrideW."""
    return "".join(part.capitalize() for part in name.split("_"))

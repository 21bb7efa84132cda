"""Post-training quantisation of a UNet."""

from __future__ import annotations

import json
from typing import Any, Protocol

import numpy as np

from npunet.integer.bounds import check_accumulators
from npunet.integer.fixed_point import ROUNDINGS
from npunet.integer.model import IntegerModel
from npunet.integer.network import SCHEMES
from npunet.integer.quantization.build import build
from npunet.integer.quantization.calibrate import METHODS, Progress, Range, calibrate
from npunet.integer.quantization.plan import Plan, make_plan
from npunet.integer.quantization.ranges import as_the_converter_sees, shared

LEVELS = {"int8": 255, "int16x8": 65535}
CLASS_NAMES, PREPARATION = "class_names", "preparation"  # keys of the metadata


class FloatModel(Protocol):
    """What is asked of a UNet."""

    dtype: str
    sizes: Any
    weights: Any
    params: Any


def quantize(model: Any, calibration: np.ndarray, scheme: str = "int8", rounding: str = "D", *,
             calibration_method: str = "minmax", progress: Progress | None = None) -> IntegerModel:
    """The integer form of a trained network.

    model       : UNet or Segmenter, of float32
    calibration : (N, L, C) or (N, H, W, C) real numbers, inputs such as the network will see; a hundred will do. Their
                  size becomes the network's where it left one open
    scheme      : "int8", or "int16x8" for activations of 16 bits, weights of 8 and a 64-bit bias
    rounding    : profile of every requantisation, "D" or "S" (fixed_point.requantize)
    calibration_method : "minmax" as TensorFlow Lite's converter, "percentile" or "mse" (quantization.calibrate)
    progress    : called with (samples done, samples in all)

    Raises ValueError for calibration data that is empty, constant or not finite, and for a network without an integer
    form, with the layer's name.
    """
    if isinstance(model, IntegerModel):
        raise ValueError("the model is an integer network already; quantise the float model that it was made from")
    network = getattr(model, "network", model)  # of a Segmenter
    if not hasattr(network, "sizes"):
        raise ValueError(f"model is {type(model).__name__}; quantize takes a UNet or a Segmenter, such as npunet.load "
                         "gives")
    if scheme not in SCHEMES:
        raise ValueError(f"scheme={scheme!r} must be one of {', '.join(SCHEMES)}")
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding={rounding!r} must be one of {', '.join(ROUNDINGS)}")
    if calibration_method not in METHODS:
        raise ValueError(f"calibration_method={calibration_method!r} must be one of {', '.join(METHODS)}")
    if network.dtype != "float32":
        raise ValueError(f"the model is {network.dtype}; quantise a float32 model: UNet(..., dtype='float32') with "
                         "load_weights of its weights")
    images = admitted(network, calibration)
    graph = network.sizes.graph(images.shape[1:3])
    plan = make_plan(graph, network.weights.read_only, network.sizes.rank)
    ranges = settle(plan, calibrate(plan, images, calibration_method, LEVELS[scheme], progress), scheme,
                    calibration_method)
    input_shape = tuple(int(extent) for extent in np.shape(calibration)[1:])
    output_shape = graph.shape(graph.output)[2 - network.sizes.rank:]
    made = build(plan, ranges, scheme, rounding, name=network.params.name, input_shape=input_shape,
                 output_shape=output_shape, metadata=described(model))
    check_accumulators(made)
    return IntegerModel(made)


def settle(plan: Plan, ranges: dict[str, Range], scheme: str, method: str) -> dict[str, Range]:
    """The ranges that the scales are made from: what min/max sees is what the converter's calibrator sees."""
    if method == "minmax":
        ranges = as_the_converter_sees(plan, ranges)
    return shared(plan, ranges, scheme)


def admitted(network: FloatModel, calibration: np.ndarray) -> np.ndarray:
    """Calibration data as images (N, H, W, C) float32. Raises ValueError with the way out."""
    calibration = np.asarray(calibration)
    if calibration.size == 0:
        raise ValueError(f"calibration has shape {calibration.shape}, which holds no values; give inputs such as the "
                         "network will see, (N, ...)")
    images, _ = network.sizes.admit(calibration, "float32", None)
    if not np.isfinite(images).all():
        count = int(np.count_nonzero(~np.isfinite(images)))
        raise ValueError(f"calibration holds {count} values that are NaN or infinite; leave those samples out")
    if images.min() == images.max():
        raise ValueError(f"calibration holds nothing but {images.flat[0]:g}; give inputs such as the network will see, "
                         "prepared as for predict")
    return images


def described(model: Any) -> dict[str, str]:
    """What a Segmenter knows, as texts that travel with the integer network."""
    if not hasattr(model, "class_names"):
        return {}
    told = {CLASS_NAMES: json.dumps(list(model.class_names))}
    if model.preparation is not None:
        told[PREPARATION] = json.dumps(model.preparation.to_dict(), sort_keys=True)
    return told

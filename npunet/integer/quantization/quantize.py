"""Post-training quantisation of a float network."""

from __future__ import annotations

from typing import Any

import numpy as np

from npunet.integer.bounds import check_accumulators, too_narrow
from npunet.integer.fixed_point import ROUNDINGS
from npunet.integer.network import SCHEMES, Network
from npunet.integer.quantization.build import build
from npunet.integer.quantization.calibrate import METHODS, Progress, Range, calibrate
from npunet.integer.quantization.plan import Plan, make_plan
from npunet.integer.quantization.ranges import as_the_converter_sees, shared, widened

LEVELS = {"int8": 255, "int16x8": 65535}


def quantize_network(network: Any, calibration: np.ndarray, scheme: str, rounding: str, method: str,
                     progress: Progress | None = None) -> Network:
    """The integer network of a UNet; arguments and errors are those of npunet.quantize.

    network : a UNet, of which sizes, weights, dtype and params are read
    """
    if scheme not in SCHEMES:
        raise ValueError(f"scheme={scheme!r} must be one of {', '.join(SCHEMES)}")
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding={rounding!r} must be one of {', '.join(ROUNDINGS)}")
    if method not in METHODS:
        raise ValueError(f"calibration_method={method!r} must be one of {', '.join(METHODS)}")
    if network.dtype != "float32":
        raise ValueError(f"the model is {network.dtype}; quantise a float32 model: UNet(..., dtype='float32') with "
                         "load_weights of its weights")
    images = admitted(network, calibration)
    plan = planned(network, images.shape[1:3])
    found = calibrate(plan, images, method, LEVELS[scheme], progress)
    ranges = settle(plan, found, scheme)
    ends = {"name": network.params.name, "input_shape": np.shape(calibration)[1:],
            "output_shape": plan.graph.shape(plan.graph.output)[2 - network.sizes.rank :]}
    made = build(plan, ranges, scheme, rounding, **ends)
    for _ in plan:                                                           # a wider layer may narrow the next one
        narrow = too_narrow(made)
        if not narrow:
            break
        ranges = widened(plan, ranges, narrow, scheme)
        made = build(plan, ranges, scheme, rounding, **ends)
    check_accumulators(made)
    return made


def planned(network: Any, size: tuple[int, int]) -> Plan:
    """The plan of a UNet at (H, W)."""
    return make_plan(network.sizes.graph(size), network.weights.read_only, network.sizes.rank)


def settle(plan: Plan, ranges: dict[str, Range], scheme: str) -> dict[str, Range]:
    """The ranges that the scales are made from: shared as the converter shares them, however they were found."""
    return shared(plan, as_the_converter_sees(plan, ranges), scheme)


def admitted(network: Any, calibration: np.ndarray) -> np.ndarray:
    """Calibration data as images (N, H, W, C) float32. Raises ValueError with the way out."""
    if calibration is None:
        raise ValueError("there is no calibration data; give inputs such as the network will see, (N, ...)")
    calibration = np.asarray(calibration)
    if calibration.size == 0:
        raise ValueError(f"calibration has shape {calibration.shape}, which holds no values; give inputs such as the "
                         "network will see, (N, ...)")
    try:
        images, _ = network.sizes.admit(calibration, "float32")
    except ValueError as error:
        raise ValueError(f"calibration, as the network's x: {error}") from None
    if not np.isfinite(images).all():
        count = int(np.count_nonzero(~np.isfinite(images)))
        raise ValueError(f"calibration holds {count} values that are NaN or infinite; leave those samples out")
    if images.min() == images.max():
        raise ValueError(f"calibration holds nothing but {images.flat[0] + 0:g}; give inputs such as the network will "
                         "see, prepared as for predict")
    return images

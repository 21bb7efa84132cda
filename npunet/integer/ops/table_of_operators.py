"""All integer operators by name, so that an executor can call them without knowing them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from npunet.integer.ops import conv, merge, norm, pool, rescale, softmax, softmax16, table, upsample

Forward = Callable[..., np.ndarray]

OPERATORS: dict[str, Forward] = {
    "conv2d": conv.conv2d,
    "depthwise_conv2d": conv.depthwise_conv2d,
    "max_pool2d": pool.max_pool2d,
    "avg_pool2d": pool.avg_pool2d,
    "add": merge.add,
    "concat": merge.concat,
    "upsample_nearest2d": upsample.upsample_nearest2d,
    "rescale": rescale.rescale,
    "leaky_relu": table.leaky_relu,
    "table": table.table,
    "layer_norm": norm.layer_norm,
    "softmax": softmax.softmax,
    "softmax16": softmax16.softmax16,
}
ROUNDED = ("conv2d", "depthwise_conv2d", "add", "rescale", "leaky_relu", "softmax16")  # take a profile

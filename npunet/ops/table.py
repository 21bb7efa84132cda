"""All operators and losses by name, so that an executor can call them without knowing them.

An executor calls op.forward(*tensors, *weights, **attrs), with arithmetic=... where op.sums is true, and
op.backward(dy, *tensors, *weights, **attrs, **saves). A bias that a layer does not have is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any

from npunet.ops import activation, conv, depthwise, losses, merge, norm, pool, softmax, upsample


@dataclass(frozen=True)
class Operator:
    """One operator: its two functions, whether the forward takes `arithmetic`, and its cost.

    macs(output shape, *weight shapes) counts multiply-accumulates; None where an operator has none.
    """

    forward: Callable[..., Any]
    backward: Callable[..., tuple]
    sums: bool = False
    macs: Callable[..., int] | None = None

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of its attributes."""
        parameters = signature(self.forward).parameters.values()
        return tuple(each.name for each in parameters
                     if each.kind is each.KEYWORD_ONLY and each.name != "arithmetic")


OPERATORS: dict[str, Operator] = {
    "conv2d": Operator(conv.conv2d_forward, conv.conv2d_backward, True, conv.conv2d_macs),
    "depthwise_conv2d": Operator(
        depthwise.depthwise_conv2d_forward,
        depthwise.depthwise_conv2d_backward,
        True,
        depthwise.depthwise_conv2d_macs,
    ),
    "separable_conv2d": Operator(
        depthwise.separable_conv2d_forward,
        depthwise.separable_conv2d_backward,
        True,
        depthwise.separable_conv2d_macs,
    ),
    "max_pool2d": Operator(pool.max_pool2d_forward, pool.max_pool2d_backward),
    "avg_pool2d": Operator(pool.avg_pool2d_forward, pool.avg_pool2d_backward),
    "upsample_nearest2d": Operator(upsample.upsample_nearest2d_forward, upsample.upsample_nearest2d_backward),
    "batch_norm_inference": Operator(norm.batch_norm_inference_forward, norm.batch_norm_inference_backward),
    "batch_norm_train": Operator(norm.batch_norm_train_forward, norm.batch_norm_train_backward),
    "layer_norm": Operator(norm.layer_norm_forward, norm.layer_norm_backward),
    "relu6": Operator(activation.relu6_forward, activation.relu6_backward),
    "relu": Operator(activation.relu_forward, activation.relu_backward),
    "leaky_relu": Operator(activation.leaky_relu_forward, activation.leaky_relu_backward),
    "elu": Operator(activation.elu_forward, activation.elu_backward, True),
    "selu": Operator(activation.selu_forward, activation.selu_backward, True),
    "concat": Operator(merge.concat_forward, merge.concat_backward),
    "add": Operator(merge.add_forward, merge.add_backward),
    "dropout": Operator(merge.dropout_forward, merge.dropout_backward),
    "dropout_inference": Operator(merge.dropout_inference_forward, merge.dropout_inference_backward),
    "softmax": Operator(softmax.softmax_forward, softmax.softmax_backward, True),
}

# name -> (forward, backward): forward(output, labels, **options) is a scalar, backward(...) dLoss/d(output)
LOSSES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sparse_categorical_crossentropy": (
        losses.sparse_categorical_crossentropy_forward,
        losses.sparse_categorical_crossentropy_backward,
    ),
    "categorical_focal": (losses.categorical_focal_forward, losses.categorical_focal_backward),
    "dice": (losses.dice_forward, losses.dice_backward),
    "mean_squared_error": (losses.mean_squared_error_forward, losses.mean_squared_error_backward),
}

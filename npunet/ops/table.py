"""All operators and losses by name, so that an executor can call them without knowing them.

An executor calls op.forward(*tensors, *weights, **attrs), with arithmetic=... where op.sums is true, and
op.backward(dy, *tensors, *weights, **attrs, **saves). A bias that a layer does not have is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from inspect import signature
from typing import Any, Literal, NamedTuple

from npunet.ops import activation, conv, depthwise, fake_quantize, losses, merge, norm, pool, softmax, upsample

Way = Literal["bound", "gradients", "C", "ONNX", "Keras", "TFLite", "engine", "training", "integers", "diagnosis",
              "explain", "page", "PyTorch"]
ELSEWHERE: tuple[Way, ...] = ("bound", "C", "ONNX", "Keras", "TFLite", "engine", "training", "integers", "diagnosis",
                              "PyTorch")
TRAINING_ONLY: tuple[Way, ...] = (*ELSEWHERE, "explain", "page")


class Operator(NamedTuple):
    """One operator: its two functions, and what everybody else needs to know of it.

    sums       : whether the forward takes `arithmetic`
    macs       : macs(output shape, *weight shapes) counts multiply-accumulates; None where an operator has none
    reads      : what an output position depends on: the same "position" of the inputs, the "taps" of a kernel, a
                 "window", the position of which it is one of `factor` copies, or the whole "image"
    activation : whether it is one of the elementwise nonlinearities that a network may choose
    slope_from : where an activation's derivative can be told from, its "output" alone or only its "input"
    in_place   : whether it may write over what it reads
    exact      : whether its forward rounds nothing
    without    : who does without it, and refuses it by name: the bounds of golden vectors ("bound") and of their
                 gradients, the generated C, the files of ONNX, Keras and TFLite, the engine's prediction and training,
                 the quantisation to integers, explain, the page, the comparison with PyTorch. (Verify's "diagnosis"
                 refuses nothing: it has no hypothesis then.) Who is not listed has it: tests/test_operators.py
    """

    forward: Callable[..., Any]
    backward: Callable[..., tuple]
    sums: bool = False
    macs: Callable[..., int] | None = None
    reads: Literal["position", "taps", "window", "factor", "image"] = "position"
    activation: bool = False
    slope_from: Literal["output", "input"] | None = None
    in_place: bool = False
    exact: bool = False
    without: tuple[Way, ...] = ()

    @property
    def attributes(self) -> tuple[str, ...]:
        """Names of its attributes."""
        return _attributes(self.forward)


@cache
def _attributes(forward: Callable[..., Any]) -> tuple[str, ...]:
    parameters = signature(forward).parameters.values()
    return tuple(each.name for each in parameters if each.kind is each.KEYWORD_ONLY and each.name != "arithmetic")


def _activation(forward: Callable[..., Any], backward: Callable[..., tuple], *, sums: bool = False,
                exact: bool = False, slope_from: Literal["output", "input"] = "output",
                without: tuple[Way, ...] = ()) -> Operator:
    return Operator(forward, backward, sums=sums, exact=exact, activation=True, slope_from=slope_from, in_place=True,
                    without=without if slope_from == "output" else ("training", *without))


OPERATORS: dict[str, Operator] = {
    "conv2d": Operator(conv.conv2d_forward, conv.conv2d_backward, sums=True, macs=conv.conv2d_macs, reads="taps"),
    "depthwise_conv2d": Operator(
        depthwise.depthwise_conv2d_forward,
        depthwise.depthwise_conv2d_backward,
        sums=True,
        macs=depthwise.depthwise_conv2d_macs,
        reads="taps",
        without=("training", "Keras"),  # which have it as half of a separable one
    ),
    "separable_conv2d": Operator(
        depthwise.separable_conv2d_forward,
        depthwise.separable_conv2d_backward,
        sums=True,
        macs=depthwise.separable_conv2d_macs,
        reads="taps",
        without=("engine", "integers", "TFLite", "explain"),  # deploy splits it
    ),
    "max_pool2d": Operator(pool.max_pool2d_forward, pool.max_pool2d_backward, reads="window", exact=True),
    "avg_pool2d": Operator(pool.avg_pool2d_forward, pool.avg_pool2d_backward, reads="window", without=ELSEWHERE),
    "upsample_nearest2d": Operator(
        upsample.upsample_nearest2d_forward, upsample.upsample_nearest2d_backward, reads="factor", exact=True
    ),
    "batch_norm_inference": Operator(
        norm.batch_norm_inference_forward,
        norm.batch_norm_inference_backward,
        without=("engine", "integers", "TFLite"),  # deploy folds it
    ),
    "batch_norm_train": Operator(
        norm.batch_norm_train_forward, norm.batch_norm_train_backward, reads="image", without=TRAINING_ONLY
    ),
    "layer_norm": Operator(norm.layer_norm_forward, norm.layer_norm_backward, reads="image", in_place=True),
    "relu6": _activation(activation.relu6_forward, activation.relu6_backward, exact=True),
    "relu": _activation(activation.relu_forward, activation.relu_backward, exact=True),
    "leaky_relu": _activation(activation.leaky_relu_forward, activation.leaky_relu_backward),
    "elu": _activation(activation.elu_forward, activation.elu_backward, sums=True),
    "selu": _activation(activation.selu_forward, activation.selu_backward, sums=True),
    "concat": Operator(merge.concat_forward, merge.concat_backward, exact=True),
    "add": Operator(merge.add_forward, merge.add_backward),
    "dropout": Operator(merge.dropout_forward, merge.dropout_backward, without=TRAINING_ONLY),
    "dropout_inference": Operator(
        merge.dropout_inference_forward,
        merge.dropout_inference_backward,
        exact=True,
        without=("engine", "integers", "TFLite", "diagnosis"),  # deploy leaves it out
    ),
    "fake_quantize": Operator(
        fake_quantize.fake_quantize_forward,
        fake_quantize.fake_quantize_backward,
        without=("gradients", *TRAINING_ONLY),
    ),
    "softmax": Operator(softmax.softmax_forward, softmax.softmax_backward, sums=True, in_place=True),
}
ACTIVATIONS = tuple(name for name, op in OPERATORS.items() if op.activation)
CONVOLUTIONS = tuple(name for name, op in OPERATORS.items() if op.reads == "taps")

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
WEIGHED_BY = {"sparse_categorical_crossentropy": "class_weights", "categorical_focal": "alpha"}  # its option of a loss

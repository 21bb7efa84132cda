"""Whether a graph is one: every name known where it is read, every shape what its operator makes of its inputs.

What unet.build draws always is; a graph that was made by hand or read from a file is checked before anything runs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from npunet.geometry import output_size_2d
from npunet.graph import Graph, Node
from npunet.ops.table import OPERATORS, Operator

Shape = tuple[int, ...]
Rule = Callable[[Mapping[str, Any], Sequence[Shape], Sequence[Shape]], Shape]  # attributes, inputs, weights


def check_graph(graph: Graph) -> None:
    """Raise ValueError, with the layer's name and both shapes, for a graph that cannot run. A graph is checked once."""
    if graph.checked:
        return
    check_names(graph)
    for node in graph:
        _check_shape(graph, node)
    graph.as_checked()


def check_names(graph: Graph) -> None:
    """Raise ValueError where a node reads what no node before it gives, or a weight that is not there."""
    known = {graph.input}
    _check_size("the input", graph.input_shape)
    for node in graph:
        if node.name in known:
            raise ValueError(f"{node.name}: two layers are called so")
        for name in node.inputs:
            if name not in known:
                raise ValueError(f"{node.name}: it reads {name!r}, which no layer before it gives")
        for name in node.weights:
            if name not in graph.weights and node.op != "dropout":           # whose mask comes with the call
                raise ValueError(f"{node.name}: it reads the weight {name!r}, which the graph does not have")
        _check_size(node.name, node.shape)
        known.add(node.name)
    if graph.output not in known:
        raise ValueError(f"no layer gives the output {graph.output!r}")


def check_tensors(graph: Graph, tensors: Mapping[str, np.ndarray], x: np.ndarray) -> None:
    """Raise ValueError unless the input (N, H, W, C) and every weight have the shapes that the graph says."""
    if tuple(x.shape[1:]) != tuple(graph.input_shape) or x.ndim != 4:
        wanted = ", ".join(map(str, graph.input_shape))
        raise ValueError(f"the input has shape {x.shape}, the graph takes (N, {wanted})")
    for node in graph:
        for name in node.weights:
            if name not in tensors:
                raise ValueError(f"{node.name}: its weight {name!r} is not given")
            if name in graph.weights and np.shape(tensors[name]) != tuple(graph.weights[name].shape):
                raise ValueError(f"{node.name}: its weight {name!r} has shape {np.shape(tensors[name])}, and the graph "
                                 f"says {tuple(graph.weights[name].shape)}")


def operator_of(node: Node) -> Operator:
    """A node's operator. Raises ValueError where there is none of that name."""
    if node.op not in OPERATORS:
        from difflib import get_close_matches  # which only an error needs

        near = get_close_matches(str(node.op), OPERATORS, n=1, cutoff=0.0)[0]
        raise ValueError(f"{node.name}: there is no operator {node.op!r}; the nearest is {near!r}")
    return OPERATORS[node.op]


def _check_size(name: str, shape: Shape) -> None:
    if len(shape) != 3 or any(isinstance(size, bool) or not isinstance(size, (int, np.integer)) or size < 1
                              for size in shape):
        raise ValueError(f"{name}: its shape {shape} must be (H, W, C), three whole numbers from 1 on")


def _check_shape(graph: Graph, node: Node) -> None:
    if node.op not in OPERATORS:                                             # who is to run it refuses it
        return
    if missing := [name for name in OPERATORS[node.op].attributes if name not in node.attrs]:
        raise ValueError(f"{node.name}: {node.op} needs the attribute {missing[0]!r}")
    if node.op not in SHAPES:
        return
    rule, inputs, least, most = SHAPES[node.op]
    if len(node.inputs) < inputs[0] or len(node.inputs) > inputs[1]:
        raise ValueError(f"{node.name}: {node.op} of {len(node.inputs)} tensors; it takes {_between(*inputs)}")
    if not least <= len(node.weights) <= most:
        raise ValueError(f"{node.name}: {node.op} with {len(node.weights)} weights; it takes {_between(least, most)}")
    xs = [tuple(graph.shape(name)) for name in node.inputs]
    weights = [tuple(graph.weights[name].shape) for name in node.weights if name in graph.weights]
    try:
        wanted = tuple(rule(node.attrs, xs, weights))
    except (TypeError, IndexError, ValueError) as error:
        told = str(error) if isinstance(error, ValueError) and str(error) else "its attributes do not fit"
        raise ValueError(f"{node.name}: {node.op} of {_listed(xs)}: {told}") from None
    if wanted != tuple(node.shape):
        raise ValueError(f"{node.name}: its shape is {tuple(node.shape)}, and {node.op} of {_listed(xs)} gives "
                         f"{wanted}")


def _conv(attrs: Mapping[str, Any], xs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    (height, width, channels), (kernel, *bias) = xs[0], weights
    _fit("its kernel", kernel, ("KH", "KW", channels, "F"))
    for shape in bias:
        _fit("its bias", shape, (kernel[3],))
    return (*_window((height, width), kernel[:2], attrs), kernel[3])


def _depthwise(attrs: Mapping[str, Any], xs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    (height, width, channels), (kernel, *bias) = xs[0], weights
    _fit("its kernel", kernel, ("KH", "KW", channels, "M"))
    for shape in bias:
        _fit("its bias", shape, (channels * kernel[3],))
    return (*_window((height, width), kernel[:2], attrs), channels * kernel[3])


def _separable(attrs: Mapping[str, Any], xs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    between = _depthwise(attrs, xs, weights[:1])
    _fit("its pointwise kernel", weights[1], (1, 1, between[2], "F"))
    for shape in weights[2:]:
        _fit("its bias", shape, (weights[1][3],))
    return (*between[:2], weights[1][3])


def _pool(attrs: Mapping[str, Any], xs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    return (*_window(xs[0][:2], attrs["window"], attrs), xs[0][2])


def _window(size: Shape, window: Shape, attrs: Mapping[str, Any]) -> Shape:
    """Positions (H, W) of a window."""
    stride, dilation = attrs["stride"], attrs.get("dilation", (1, 1))
    if min(*stride, *dilation, *window) < 1 or min(map(min, attrs["pads"])) < 0:
        raise ValueError(f"stride {stride}, dilation {dilation} and window {tuple(window)} must be from 1 on, pads "
                         f"{attrs['pads']} from 0 on")
    return output_size_2d((size[0], size[1]), (window[0], window[1]), stride, attrs["pads"], dilation)


def _upsample(attrs: Mapping[str, Any], xs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    (height, width, channels), (fy, fx) = xs[0], attrs["factor"]
    return height * fy, width * fx, channels


def _batch_norm(attrs: Mapping[str, Any], xs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    for shape in weights:
        _fit("a weight", shape, (xs[0][2],))
    return xs[0]


def _layer_norm(attrs: Mapping[str, Any], xs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    sizes = ("N", *xs[0])
    for shape in weights:
        _fit("a weight", shape, tuple(sizes[axis] for axis in sorted(axis % 4 for axis in attrs["axes"])))
    return xs[0]


def _same(attrs: Mapping[str, Any], xs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    if len(set(xs)) > 1:
        raise ValueError("their shapes must be equal")
    return xs[0]


def _concat(attrs: Mapping[str, Any], xs: Sequence[Shape], weights: Sequence[Shape]) -> Shape:
    if len({x[:2] for x in xs}) > 1:
        raise ValueError("their heights and widths must be equal")
    return (*xs[0][:2], sum(x[2] for x in xs))


def _fit(what: str, shape: Shape, wanted: tuple[int | str, ...]) -> None:
    """Raise ValueError unless a shape is the one wanted; a letter stands for any size from 1 on."""
    if len(shape) != len(wanted) or any(size != want and not (isinstance(want, str) and size > 0)
                                        for size, want in zip(shape, wanted, strict=True)):
        raise ValueError(f"{what} has shape {shape}, and it takes ({', '.join(map(str, wanted))})")


def _between(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} or more" if most == MANY else f"{least} to {most}"


def _listed(shapes: Sequence[Shape]) -> str:
    return " and ".join(map(str, shapes))


MANY = 10**9
ONE, TWO, ANY = (1, 1), (2, 2), (1, MANY)
# What gives the shape; how many inputs; how few and how many weights.
SHAPES: dict[str, tuple[Rule, tuple[int, int], int, int]] = {
    "conv2d": (_conv, ONE, 1, 2), "depthwise_conv2d": (_depthwise, ONE, 1, 2),
    "separable_conv2d": (_separable, ONE, 2, 3),
    "max_pool2d": (_pool, ONE, 0, 0), "avg_pool2d": (_pool, ONE, 0, 0), "upsample_nearest2d": (_upsample, ONE, 0, 0),
    "batch_norm_inference": (_batch_norm, ONE, 4, 4), "batch_norm_train": (_batch_norm, ONE, 2, 2),
    "layer_norm": (_layer_norm, ONE, 2, 2), "concat": (_concat, ANY, 0, 0), "add": (_same, TWO, 0, 0),
    "dropout": (_same, ONE, 1, 1), "dropout_inference": (_same, ONE, 0, 0), "softmax": (_same, ONE, 0, 0),
    "fake_quantize": (_same, ONE, 0, 0),
    **{name: (_same, ONE, 0, 0) for name, operator in OPERATORS.items() if operator.activation},
}

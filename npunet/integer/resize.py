"""The same network at another size: its weights and scales know nothing of heights and widths."""

from __future__ import annotations

from dataclasses import replace

from npunet.geometry import Pair, same_pads_2d
from npunet.integer.check import SHAPES, check_network
from npunet.integer.network import Network, Node, Shape

FIXED = ("layer_norm",)  # operators with one weight a position


def multiple_of(network: Network) -> Pair:
    """What height and width must be multiples of: by how much the smallest tensor is smaller than the input."""
    height, width, _ = network.tensors[network.input].shape
    shapes = [tensor.shape for tensor in network.tensors.values()]
    return height // min(shape[0] for shape in shapes), width // min(shape[1] for shape in shapes)


def resized(network: Network, size: Pair) -> Network:
    """The network for inputs of (H, W), without a file's own names.

    Raises ValueError for a size that the strides do not divide, and for a network that is bound to its own.
    """
    height, width, channels = network.tensors[network.input].shape
    if size == (height, width):
        return network
    fixed = [node.name for node in network if node.op in FIXED or node.attrs.get("padding") == "valid"]
    if fixed:
        raise ValueError(f"{fixed[0]} binds the network to the size {(height, width)} that it was made for; cut the "
                         "input into windows of that size")
    multiple = multiple_of(network)
    if size[0] < 1 or size[1] < 1 or size[0] % multiple[0] or size[1] % multiple[1]:
        raise ValueError(f"size {size} is not a multiple of {multiple}, the product of all strides; pad the input")
    shapes: dict[str, Shape] = {network.input: (*size, channels)}
    nodes = []
    for node in network:
        inputs = [shapes[name] for name in node.inputs]
        nodes.append(_repadded(node, inputs[0]))
        shapes[node.name] = SHAPES[node.op](nodes[-1], *inputs)
    tensors = {name: replace(tensor, shape=shapes[name]) for name, tensor in network.tensors.items()}
    rank = len(network.input_shape)
    made = replace(network, nodes=tuple(nodes), tensors=tensors, views={}, input_shape=shapes[network.input][3 - rank:],
                   output_shape=shapes[network.output][3 - len(network.output_shape):])
    check_network(made)
    return made


def _repadded(node: Node, x: Shape) -> Node:
    """The node with the SAME pads of its input's size."""
    if "pads" not in node.attrs:
        return node
    kernel = node.arrays["weights"].shape[:2] if "weights" in node.arrays else node.attrs["window"]
    pads = same_pads_2d(x[:2], kernel, node.attrs["stride"], node.attrs.get("dilation", (1, 1)))
    return replace(node, attrs={**node.attrs, "pads": pads})

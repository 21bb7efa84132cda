"""The layer table of an integer network: what each operator gives, what it costs, and what its integers mean."""

from __future__ import annotations

from npunet.integer.network import Network, Node
from npunet.summary import laid_out

HEADER = ("layer", "operator", "output HxWxC", "weights", "MACs", "scale", "zero point")


def table(network: Network) -> str:
    """One row an operator, in execution order, with totals."""
    lines = []
    for node in network:
        tensor = network.tensors[node.name]
        lines.append((node.name, node.op, "x".join(map(str, tensor.shape)), f"{_weights(node):,}",
                      f"{network.macs_of(node):,}", f"{tensor.scale:.6g}", str(tensor.zero_point)))
    entry = network.tensors[network.input]
    biases = sum(node.arrays["bias"].size for node in network if "bias" in node.arrays)
    return "\n".join([
        f"{network.name}  {network.scheme}, rounding {network.rounding}, input {network.input_shape} of scale "
        f"{entry.scale:.6g} and zero point {entry.zero_point}",
        *laid_out(HEADER, lines, 3),
        f"{sum(map(_weights, network)):,} weights and {biases:,} biases, {network.macs:,} MACs a sample at "
        f"{'x'.join(map(str, entry.shape))}",
    ])


def _weights(node: Node) -> int:
    return int(node.arrays["weights"].size) if "weights" in node.arrays else 0

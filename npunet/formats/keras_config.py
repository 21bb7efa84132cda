"""The architecture in a Keras file: our network as Keras' layers, and back, every layer compared.

`layers_of` writes the layers of a network as Keras' config.json lists them. `architecture_of` guesses the arguments of
the network from such a list, by the layers' names, and then compares the list with what layers_of says of that guess:
so a network that is another one in anything that computes is refused with the layer that differs.
Source: neuralspot_edge/models/unet.py 0.2.2; the configurations that Keras 3.15 and TensorFlow 2.13 write.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from npunet import unet
from npunet.graph import Graph, Node
from npunet.layers import BATCH_NORM_MOMENTUM, L2_FACTOR
from npunet.limits import entry_of, refuse_other_pads
from npunet.params import ACTIVATIONS, UNetBlockParams, UNetParams
from npunet.weights import canonical

Config = dict[str, Any]
WHO = ("the .keras format", "save the network as .npz")
ANONYMOUS = {"InputLayer": "input_layer", "Reshape": "reshape", "Dropout": "dropout", "Softmax": "softmax"}
# What must be equal for a layer to compute the same, by class; the regularisation is ours, and so not compared.
COMPARED = {
    "InputLayer": ("shape",), "Reshape": (), "Add": (), "Dropout": (), "Softmax": ("axis",),
    "Conv2D": ("filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate", "groups", "activation",
               "use_bias"),
    "SeparableConv2D": ("filters", "kernel_size", "strides", "padding", "data_format", "dilation_rate",
                        "depth_multiplier", "activation", "use_bias"),
    "BatchNormalization": ("axis", "epsilon", "center", "scale"),
    "LayerNormalization": ("axis", "epsilon", "center", "scale"),
    "Activation": ("activation",), "Concatenate": ("axis",),
    "MaxPooling2D": ("pool_size", "strides", "padding", "data_format"),
    "UpSampling2D": ("size", "data_format", "interpolation"),
}
DEFAULTS = {"groups": 1, "interpolation": "nearest", "depth_multiplier": 1, "dilation_rate": [1, 1], "axis": -1,
            "center": True, "scale": True}
CHANNELS = {"BatchNormalization": 3, "Concatenate": 3, "Softmax": 3}  # the last axis by number, as Keras 2 writes it


def layers_of(graph: Graph, input_shape: Sequence[int | None]) -> list[Config]:
    """A network as trained, as Keras lists its layers: class_name, name, config; the names of its inputs, its shape."""
    signal = len(input_shape) == 2
    opened = (False, *(size is None for size in input_shape[:-1]))[-2:]
    listed = [_layer("InputLayer", "input_layer", (), [*input_shape], batch_shape=[None, *input_shape],
                     dtype="float32", sparse=False, ragged=False)]
    names = {graph.input: "input_layer"}
    if signal:
        sizes = [-1 if size is None else size for size in input_shape]
        listed.append(_layer("Reshape", "reshape", ("input_layer",), [1, *input_shape], target_shape=[1, *sizes]))
        names[graph.input] = "reshape"
    for node in graph:
        names[node.name] = keras_name(node.name)
        refuse_other_pads(node, graph, *WHO)
        kind, config = entry_of(KINDS, node, *WHO)(node, graph)
        shape = [None if free else size for free, size in zip((*opened, False), node.shape, strict=True)]
        listed.append(_layer(kind, names[node.name], tuple(names[name] for name in node.inputs), shape, **config))
    if signal:
        _, size, channels = listed[-1]["shape"]
        listed.append(_layer("Reshape", "reshape_1", (names[graph.output],), [size, channels],
                             target_shape=[-1 if size is None else size, channels]))
    return listed


def model_config(graph: Graph, input_shape: Sequence[int | None], name: str) -> Config:
    """The config.json of a `.keras` file."""
    listed = layers_of(graph, input_shape)
    shapes: dict[str, list[int | None]] = {}
    for layer in listed:
        shapes[layer["name"]] = [None, *layer.pop("shape")]
        tensors = [{"class_name": "__keras_tensor__",
                    "config": {"shape": shapes[source], "dtype": "float32", "keras_history": [source, 0, 0]}}
                   for source in layer.pop("inputs")]
        arguments = tensors if len(tensors) < 2 else [tensors]
        layer["inbound_nodes"] = [{"args": arguments, "kwargs": {}}] if tensors else []
        layer |= {"module": "keras.layers", "registered_name": None}
    config = {"name": re.sub(r"[^A-Za-z0-9_.]", "_", name) or "unet", "trainable": True, "layers": listed,
              "input_layers": [["input_layer", 0, 0]], "output_layers": [[listed[-1]["name"], 0, 0]]}
    return {"module": "keras.src.models.functional", "class_name": "Functional", "config": config,
            "registered_name": "Functional", "build_config": {"input_shape": None}, "compile_config": {}}


def architecture_of(config: Mapping[str, Any]) -> Config:
    """The arguments of UNet from a Keras model's configuration, in which the network may stand within another model.

    The other model may end in a Softmax, which is then the network's own (use_logits=False), and compute nothing else.

    Returns params, input_shape, num_classes, dtype. Raises ValueError with the layer that differs.
    """
    listed = network_layers(config)
    softmax = _softmax_around(config, listed)
    found = [_read_layer(layer) for layer in listed]
    by_name = {layer["name"]: layer for layer in found}
    if len(by_name) != len(found):
        raise ValueError("two of its layers have one name")
    params, shape, classes = _guess(found, by_name, str(config["config"].get("name", "unet")))
    rank = len(shape) - 1
    sizes = (1,) * (2 - rank) + shape[:-1]
    multiple = unet.stride_product(params, rank)
    height, width = (extent or least for extent, least in zip(sizes, multiple, strict=True))
    graph = unet.build(params, (height, width, int(shape[-1] or 0)), classes, rank=rank)
    _compare(found, [_read_layer(layer) for layer in layers_of(graph, shape)])
    if softmax and not (params.use_logits and params.include_top):
        raise ValueError(f"layer {softmax} around the network is a Softmax, which belongs after the network's logits; "
                         "save the model within by itself")
    params = replace(params, use_logits=False) if softmax else params
    return {"params": params, "input_shape": shape, "num_classes": classes, "dtype": "float32"}


def network_layers(config: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The layers of this network: of the model itself, or of the one model within it that has them.

    Raises ValueError when there is none, or more than one.
    """
    found = [layers for layers in _models(config)
             if any(re.fullmatch(r"NECK_conv|(ENC|DEC)1_add", canonical(_name(layer))) for layer in layers)]
    if len(found) != 1:
        kinds = sorted({str(layer.get("class_name")) for layers in _models(config) for layer in layers})
        raise ValueError(f"{len(found) or 'none'} of its models has the layers of this network (ENC1.add, NECK.conv); "
                         f"its layers are {', '.join(kinds)[:200]}")
    return found[0]


def _softmax_around(config: Mapping[str, Any], listed: Sequence[Mapping[str, Any]]) -> str | None:
    """The Softmax after the network in the model around it, by name; None without one.

    Raises ValueError for any other layer there, whose work would be lost.
    """
    after: list[str] = []
    for layers in _models(config):
        holds = [any(inner is listed for inner in _models(layer)) for layer in layers]
        for number, layer in enumerate(layers if any(holds) else ()):
            if number > holds.index(True) and _is_softmax(layer):
                after.append(_name(layer))
            elif layer["class_name"] != "InputLayer" and not holds[number]:
                raise ValueError(f"layer {_name(layer)} around the network is a {layer['class_name']}, which would be "
                                 "lost; save the model within by itself")
    if len(after) > 1:
        raise ValueError(f"layer {after[1]} around the network is a second Softmax; save the model within by itself")
    return after[0] if after else None


def _is_softmax(layer: Mapping[str, Any]) -> bool:
    if layer["class_name"] == "Activation":
        return bool(layer["config"].get("activation") == "softmax")
    return layer["class_name"] == "Softmax" and layer["config"].get("axis", -1) in (-1, [-1])


def keras_name(layer: str) -> str:
    """A layer's name as neuralspot-edge spells it: ENC1_D1_conv -> ENC1.D1.conv."""
    return layer.replace("_", ".") if re.match(r"(ENC|DEC)\d|NECK", layer) else layer


def _models(config: Any) -> Iterator[list[Mapping[str, Any]]]:
    """The layers of a model and of every model within it."""
    inner = config.get("config") if isinstance(config, Mapping) else None
    layers = inner.get("layers") if isinstance(inner, Mapping) else None
    if isinstance(layers, list):
        yield layers
        for layer in layers:
            yield from _models(layer)


def _name(layer: Any) -> str:
    return str(layer["config"].get("name", layer.get("name")))


def _layer(kind: str, name: str, inputs: tuple[str, ...], shape: Sequence[int | None], **config: Any) -> Config:
    trained = {} if kind == "InputLayer" else {"trainable": True}
    return {"class_name": kind, "name": name, "inputs": inputs, "shape": shape,
            "config": {"name": name, **trained, **config}}


def _read_layer(layer: Mapping[str, Any]) -> Config:
    """A layer's class, canonical name, inputs and what is compared of its configuration."""
    kind, config = str(layer["class_name"]), layer["config"]
    kind = {"Functional": "a model", "Convolution2D": "Conv2D", "SeparableConvolution2D": "SeparableConv2D",
            "MaxPool2D": "MaxPooling2D"}.get(kind, kind)
    if kind in ("ReLU", "LeakyReLU", "ELU"):
        raise ValueError(f"layer {_name(layer)} is a {kind} layer; this network has Activation layers")
    if kind not in COMPARED:
        raise ValueError(f"layer {_name(layer)} is a {kind}, which this network does not have")
    values = {key: config.get(key, DEFAULTS.get(key)) for key in COMPARED[kind] if key != "shape"}
    if kind == "InputLayer":
        values["shape"] = (config.get("batch_shape") or config.get("batch_input_shape") or [None])[1:]
    values = {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}
    if values.get("axis") in (CHANNELS.get(kind), [CHANNELS.get(kind)]):
        values["axis"] = -1
    if isinstance(values.get("activation"), Mapping):
        values["activation"] = values["activation"].get("class_name")
    inputs = layer.get("inputs", None)
    inputs = tuple(_sources(layer.get("inbound_nodes", []))) if inputs is None else inputs
    return {"kind": kind, "name": canonical(_name(layer)), "shown": _name(layer), "values": values,
            "rate": config.get("rate"), "inputs": tuple(map(canonical, inputs))}


def _sources(nodes: Any) -> Iterator[str]:
    """Names of the layers that a layer reads, in order, from either of Keras' ways to write them."""
    if isinstance(nodes, Mapping):
        if "keras_history" in nodes:
            yield str(nodes["keras_history"][0])
        else:
            for key in ("config", "args"):
                yield from _sources(nodes.get(key, []))
    elif isinstance(nodes, list):
        if len(nodes) >= 3 and isinstance(nodes[0], str) and isinstance(nodes[1], int):
            yield nodes[0]
        else:
            for each in nodes:
                yield from _sources(each)


def _guess(found: Sequence[Config], by_name: Mapping[str, Config],
           name: str) -> tuple[UNetParams, tuple[int | None, ...], int | None]:
    """The arguments that the layers' names and settings speak of."""
    shapes = [layer["values"]["shape"] for layer in found if layer["kind"] == "InputLayer"]
    if len(shapes) != 1 or not shapes[0]:
        raise ValueError(f"it has {len(shapes)} input layers; this network has one, with a shape")
    count = sum(bool(re.fullmatch(r"ENC\d+_add", layer["name"])) for layer in found)
    blocks = [UNetBlockParams(**_guess_block(number, count + 1 - number, by_name)) for number in range(1, count + 1)]
    top = by_name.get("NECK_conv")
    params = UNetParams(blocks=tuple(blocks), include_top=top is not None, name=name,
                        use_logits=not any(layer["kind"] == "Softmax" for layer in found),
                        output_kernel_size=top["values"]["kernel_size"] if top else 3)
    return params, tuple(shapes[0]), top["values"]["filters"] if top else None


def _guess_block(encoder: int, decoder: int, by_name: Mapping[str, Config]) -> Config:
    def of(name: str, key: str) -> Any:
        if name not in by_name:
            raise ValueError(f"it has no layer {keras_name(name)}, which this network has")
        return by_name[name]["values"].get(key)

    def number(pattern: str) -> int:
        return sum(bool(re.fullmatch(pattern, name)) for name in by_name)

    name = f"ENC{encoder}"
    depth = number(rf"{name}_D\d+_conv")
    unpool = [re.fullmatch(rf"DEC{decoder}_D(\d+)_unpool", other) for other in by_name]
    ddepth = next((int(match[1]) for match in unpool if match), depth)
    before = [by_name[source] for source in by_name[f"{name}_add"]["inputs"] if source in by_name]
    norms = [kind for kind, suffix in (("batch", "bn"), ("layer", "ln")) if f"{name}_D1.{suffix}" in by_name]
    dilation = of(f"{name}_D2_conv", "dilation_rate") if depth > 1 else [1, 1]
    activation = of(f"{name}_D1_act", "activation")
    if activation not in ACTIVATIONS:
        raise ValueError(f"layer {name}.D1.act is {activation!r}; this network knows {', '.join(ACTIVATIONS)}")
    return {"filters": of(f"{name}_skip", "filters"), "depth": depth, "ddepth": None if ddepth == depth else ddepth,
            "kernel": of(f"{name}_D1_conv", "kernel_size"), "pool": of(f"{name}_pool", "pool_size"),
            "strides": of(f"{name}_pool", "strides"), "skip": any(
                re.fullmatch(rf"DEC{decoder}_D\d+_cat", other) for other in by_name),
            "seperable": by_name[f"{name}_D1_conv"]["kind"] == "SeparableConv2D",
            "dropout": next((layer["rate"] for layer in before if layer["kind"] == "Dropout"), None),
            "norm": norms[0] if norms else None, "dilation": None if dilation == [1, 1] else dilation,
            "activation": activation}


def _compare(found: Sequence[Config], expected: Sequence[Config]) -> None:
    """Raise ValueError for the first layer that is not as this network has it."""
    same: dict[str, str] = {}  # our name of each of their layers
    for kind in ANONYMOUS:
        theirs, ours = ([layer["name"] for layer in layers if layer["kind"] == kind] for layers in (found, expected))
        same |= dict(zip(theirs, ours, strict=False))
    by_name = {same.get(layer["name"], layer["name"]): layer for layer in found}
    for layer in expected:
        other = by_name.pop(layer["name"], None)
        if other is None:
            raise ValueError(f"it has no layer {layer['shown']} ({layer['kind']}), which this network has")
        if other["kind"] != layer["kind"]:
            raise ValueError(f"layer {other['shown']} is a {other['kind']}; this network has a {layer['kind']} there")
        for key, value in layer["values"].items():
            if other["values"][key] != value:
                raise ValueError(f"layer {other['shown']} has {key}={other['values'][key]!r:.80}; this network would "
                                 f"have {value!r}")
        reads = tuple(same.get(name, name) for name in other["inputs"])
        if reads != layer["inputs"]:
            raise ValueError(f"layer {other['shown']} reads {', '.join(other['inputs']) or 'nothing'}; in this network "
                             f"it reads {', '.join(layer['inputs'])}")
    if by_name:
        raise ValueError(f"it has the layer {next(iter(by_name.values()))['shown']}, which this network does not have")


def _initial(name: str) -> Config:
    return {"module": "keras.initializers", "class_name": name, "config": {"seed": None} if name == "HeNormal" else {},
            "registered_name": None}


def _l2() -> Config:
    return {"module": "keras.regularizers", "class_name": "L2", "config": {"l2": L2_FACTOR}, "registered_name": None}


def _conv(node: Node, graph: Graph) -> tuple[str, Config]:
    kernel = graph.weights[node.weights[0]].shape
    config = {"filters": node.shape[2], "kernel_size": list(kernel[:2]), "strides": list(node.attrs["stride"]),
              "padding": "same", "data_format": "channels_last", "dilation_rate": list(node.attrs["dilation"]),
              "activation": "linear", "bias_initializer": _initial("Zeros")}
    if node.op == "conv2d":
        return "Conv2D", {**config, "groups": 1, "use_bias": len(node.weights) == 2,
                          "kernel_initializer": _initial("HeNormal"), "kernel_regularizer": _l2()}
    return "SeparableConv2D", {**config, "depth_multiplier": 1, "use_bias": len(node.weights) == 3,
                               **{f"{part}_{what}": made for part in ("depthwise", "pointwise")
                                  for what, made in (("initializer", _initial("HeNormal")), ("regularizer", _l2()))}}


def _dropout(node: Node, graph: Graph) -> tuple[str, Config]:
    return "Dropout", {"rate": node.attrs["rate"], "seed": None, "noise_shape": None}


def _activation(node: Node, graph: Graph) -> tuple[str, Config]:
    return "Activation", {"activation": node.op}


KINDS: dict[str, Any] = {
    "conv2d": _conv, "separable_conv2d": _conv, "dropout_inference": _dropout,
    **dict.fromkeys(ACTIVATIONS, _activation),
    "batch_norm_inference": lambda node, graph: ("BatchNormalization", {
        "axis": -1, "momentum": BATCH_NORM_MOMENTUM, "epsilon": node.attrs["eps"], "center": True, "scale": True}),
    "layer_norm": lambda node, graph: ("LayerNormalization", {
        "axis": list(node.attrs["axes"]), "epsilon": node.attrs["eps"], "center": True, "scale": True}),
    "add": lambda node, graph: ("Add", {}),
    "concat": lambda node, graph: ("Concatenate", {"axis": -1}),
    "max_pool2d": lambda node, graph: ("MaxPooling2D", {
        "pool_size": list(node.attrs["window"]), "strides": list(node.attrs["stride"]), "padding": "same",
        "data_format": "channels_last"}),
    "upsample_nearest2d": lambda node, graph: ("UpSampling2D", {
        "size": list(node.attrs["factor"]), "data_format": "channels_last", "interpolation": "nearest"}),
    "softmax": lambda node, graph: ("Softmax", {"axis": -1}),
}

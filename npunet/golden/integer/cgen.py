"""An integer network as plain C99: net.h, net_weights.h, net.c, net_dump.c."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from npunet.arena import Arena, lifetimes_in_order, place
from npunet.golden.cgen import fill
from npunet.golden.integer.arrays import C_TYPES, c_array
from npunet.golden.integer.names import c_names, layer_ids
from npunet.golden.integer.stages import ACCUMULATED, has_pre, wide_type
from npunet.golden.integer.templates import kernels, template
from npunet.integer.network import Network, Node

ALIGNMENT = 16  # values
LARGEST_SHIFT_64 = 14  # left shift that requantize_64 takes
MOST_TAPS = 2**15  # of an average whose sum stays in 32 bits


def sources(network: Network, title: str) -> dict[str, str]:
    """The four files by name. Raises ValueError, with the layer, for what would leave 32 or 64 bits in C."""
    check(network)
    arena = layout(network)
    return {
        "net.h": _header(network, arena, title),
        "net_weights.h": _weights(network, title),
        "net.c": _source(network, arena, title),
        "net_dump.c": template("net_dump.c"),
    }


def memory(network: Network) -> dict[str, int]:
    """Bytes: "flash" of constants, "ram" of all activations, its parts "arena", "input", "output"."""
    each = np.dtype(network.tensors[network.input].dtype).itemsize
    ends = {name: each * prod(network.tensors[getattr(network, name)].shape) for name in ("input", "output")}
    flash = sum(array.nbytes for node in network for array in node.arrays.values())
    parts = {"arena": each * layout(network).size, **ends}
    return {"flash": flash, "ram": sum(parts.values()), **parts}


def layout(network: Network) -> Arena:
    """Where the tensors between input and output lie, in values."""
    lives = lifetimes_in_order([node.name for node in network], network.consumers(),
                         lambda name: prod(network.tensors[name].shape))
    del lives[network.output]
    return place(lives, ALIGNMENT)


def check(network: Network) -> None:
    """Refuse what the C kernels cannot compute exactly. Raises ValueError with the layer."""
    if not network.nodes or network.output == network.input:
        raise ValueError("the network has no layer between its input and its output; there is nothing to write in C")
    for node in network:
        wide = node.op == "layer_norm" or ("bias" in node.arrays and node.arrays["bias"].dtype == np.int64)
        shift = max([int(np.max(value)) for key, value in [*node.attrs.items(), *node.arrays.items()]
                     if key == "shift" or key.endswith("_shift")], default=0)
        limit = LARGEST_SHIFT_64 if wide else _largest_shift(node, network)
        if shift > limit:
            raise ValueError(f"{node.name}: its left shift of {shift} leaves {64 if wide else 32} bits, at most "
                             f"{limit} fit; calibrate so that the output's range is wider")
        if node.op == "avg_pool2d" and prod(node.attrs["window"]) > MOST_TAPS:
            raise ValueError(f"{node.name}: a mean of {prod(node.attrs['window'])} taps leaves 32 bits, at most "
                             f"{MOST_TAPS} fit; pool in two steps")


def _largest_shift(node: Node, network: Network) -> int:
    """Left shift at which an operator's operand still fits in 32 bits; convolutions were checked with their bounds."""
    if node.op in ("rescale", "leaky_relu", "softmax16"):
        return 22 if network.scheme == "int8" else 14
    return 30


def _header(network: Network, arena: Arena, title: str) -> str:
    shapes = {name: network.tensors[name].shape for name in network.tensors}
    used = memory(network)
    return fill(template("net_head.h"), {
        "TITLE": title, "TYPE": C_TYPES[network.tensors[network.input].dtype], "LAYERS": len(network.nodes),
        "INPUT_SIZE": prod(shapes[network.input]), "INPUT_SHAPE": _text(shapes[network.input]),
        "OUTPUT_SIZE": prod(shapes[network.output]), "OUTPUT_SHAPE": _text(shapes[network.output]),
        "LARGEST": max(map(prod, shapes.values())), "MOST_INPUTS": max(len(node.inputs) for node in network),
        "FLASH": used["flash"], "RAM": used["ram"], "ARENA": arena.size,
    })


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _weights(network: Network, title: str) -> str:
    names = c_names(network)
    lines = [f"/* net_weights.h: {title}\n   Kernels are KH KW C F, depthwise KH KW C M. */\n"]
    for node in network:
        lines += [c_array(f"{names[node.name]}_{key}", array, f"{node.name}: {key}")
                  for key, array in node.arrays.items()]
    return "\n".join(lines)


def _source(network: Network, arena: Arena, title: str) -> str:
    wanted = dict.fromkeys(kernel(node) for node in network)
    parts = [fill(template("net_head.c"), {"TITLE": title}), kernels(wanted, network.rounding)]
    if arena.size:
        parts.append("\nstatic net_value arena[NET_ARENA_SIZE];\n")
    parts += [_layer(number, node, network) for number, node in enumerate(network)]
    parts += [_table(network), _run(network, arena)]
    functions = ",\n        ".join(f"layer_{number}" for number in range(len(network.nodes)))
    parts.append(f"""
void net_run_layer(int layer, const net_value *const *inputs, net_value *output)
{{
    static void (*const run[NET_LAYERS])(const net_value *const *, net_value *) = {{
        {functions}}};
    run[layer](inputs, output);
}}
""")
    return "".join(parts)


def kernel(node: Node) -> str:
    """The name of the C function that runs a node."""
    if node.op in ("conv2d", "depthwise_conv2d"):
        return f"{node.op}_{64 if node.arrays['bias'].dtype == np.int64 else 32}"
    if node.op == "table":
        return "table_8" if node.arrays["table"].dtype == np.int8 else "table_16"
    return node.op


def _layer(number: int, node: Node, network: Network) -> str:
    reads = ", ".join(f"{name} {_text(network.tensors[name].shape)}" for name in node.inputs)
    shape = _text(network.tensors[node.name].shape)
    lines = "\n".join(f"    {line}" for line in calls(node, network))
    return (f"\n/* {node.name}: {node.op} of {reads} gives {shape} */\n"
            f"static void layer_{number}(const net_value *const *in, net_value *y)\n{{\n{lines}\n}}\n")


def calls(node: Node, network: Network) -> list[str]:
    """The statements that compute a node from `in` to `y`."""
    a, stem, shape = node.attrs, c_names(network)[node.name], network.tensors[node.name].shape
    shapes = [network.tensors[name].shape for name in node.inputs]
    (H, W, C), size = shapes[0], prod(shape)
    array = {key: f"{stem}_{key}" for key in node.arrays}
    if node.op in ("conv2d", "depthwise_conv2d"):
        (sy, sx), ((top, _), (left, _)), (dy, dx) = a["stride"], a["pads"], a["dilation"]
        numbers = (H, W, C, *shape, *node.arrays["weights"].shape[:2], sy, sx, top, left, dy, dx)
        return [_struct("conv_shape", (*numbers, *_each(node, "input_offset output_offset act_min act_max"))),
                f"{kernel(node)}(in[0], {array['weights']}, {array['bias']}, {array['multiplier']}, {array['shift']}, "
                "y, &p);"]
    if node.op in ("max_pool2d", "avg_pool2d"):
        (kh, kw), (sy, sx), ((top, _), (left, _)) = a["window"], a["stride"], a["pads"]
        numbers = (H, W, C, *shape[:2], kh, kw, sy, sx, top, left, a["act_min"], a["act_max"])
        return [_struct("pool_shape", numbers), f"{node.op}(in[0], y, &p);"]
    if node.op == "upsample_nearest2d":
        fy, fx = a["factor"]
        return [f"upsample_nearest2d(in[0], y, {H}, {W}, {C}, {fy}, {fx});"]
    if node.op == "concat":
        first = np.cumsum([0, *(x[2] for x in shapes)]).tolist()
        return [f"concat(in[{k}], y, {H * W}, {x[2]}, {first[k]}, {shape[2]});" for k, x in enumerate(shapes)]
    if node.op == "add":
        return [_struct("add_params", _each(node, ADD)), f"add(in[0], in[1], y, {size}, &p);"]
    if node.op == "rescale":
        return [_struct("rescale_params", _each(node, RESCALE)), f"rescale(in[0], y, {size}, &p);"]
    if node.op == "leaky_relu":
        return [_struct("leaky_relu_params", _each(node, LEAKY)), f"leaky_relu(in[0], y, {size}, &p);"]
    if node.op == "table":
        return [f"{kernel(node)}(in[0], y, {size}, {array['table']});"]
    if node.op == "layer_norm":
        numbers = (a["epsilon"], H * W, C, *_each(node, "fraction_bits multiplier shift output_offset act_min act_max"))
        return [_struct("layer_norm_params", numbers), f"layer_norm(in[0], {array['gamma']}, {array['beta']}, y, &p);"]
    if node.op == "softmax":
        return [f"softmax(in[0], y, {H * W}, {C}, {a['multiplier']}, {a['left_shift']}, {a['diff_min']});"]
    if node.op == "softmax16":
        return [f"softmax16(in[0], y, {H * W}, {C}, {a['multiplier']}, {a['shift']}, {array['exp_table']}, "
                f"{array['reciprocal_table']});"]
    raise ValueError(f"{node.name}: there is no C for the operator {node.op!r}")


ADD = ("left_shift input1_offset input1_multiplier input1_shift input2_offset input2_multiplier input2_shift "
       "output_offset output_multiplier output_shift act_min act_max")
RESCALE = "input_offset output_offset multiplier shift act_min act_max"
LEAKY = ("input_offset output_offset positive_multiplier positive_shift negative_multiplier negative_shift act_min "
         "act_max")


def _each(node: Node, keys: str) -> list[int]:
    return [node.attrs[key] for key in keys.split()]


def _struct(name: str, numbers: Sequence[int]) -> str:
    words = [str(number) if abs(number) < 2**31 else f"INT64_C({number})" for number in numbers]
    return f"static const {name} p = {{{', '.join(words)}}};"


def _table(network: Network) -> str:
    ids, rows = layer_ids(network), []
    for node in network:
        sizes = ", ".join(str(prod(network.tensors[name].shape)) for name in node.inputs)
        wide = np.dtype(wide_type(node, network)).itemsize
        rows.append(f'    {{"{ids[node.name]}", {len(node.inputs)}, {{{sizes}}}, '
                    f"{prod(network.tensors[node.name].shape)}, {wide}, {int(node.op in ACCUMULATED)}, "
                    f"{int(has_pre(node))}}},")
    return "\nconst net_layer net_layers[NET_LAYERS] = {\n" + "\n".join(rows) + "\n};\n"


def _run(network: Network, arena: Arena) -> str:
    def place_of(name: str) -> str:
        if name in (network.input, network.output):
            return "input" if name == network.input else "output"
        return f"arena + {arena.offsets[name]}"

    lines = []
    for number, node in enumerate(network):
        lines += [f"    in[{k}] = {place_of(name)};" for k, name in enumerate(node.inputs)]
        lines += [f"    layer_{number}(in, {place_of(node.name)});",
                  f"    if (observe) observe({number}, {place_of(node.name)}, context);"]
    return "\n".join([
        "\nvoid net_run(const net_value *input, net_value *output, net_observer observe, void *context)", "{",
        "    const net_value *in[NET_MOST_INPUTS];", *lines, "}", "",
    ])

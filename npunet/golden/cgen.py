"""The network as plain C99: net.h, net_weights.h and net.c from a graph and its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from math import prod

import numpy as np

from npunet.arena import Arena, Lifetime, lifetimes_in_order, place
from npunet.golden.layer_run import split_bias
from npunet.golden.manifest import layer_ids, weight_id
from npunet.golden.writers import hex_floats, short_hex
from npunet.graph import Graph, Node
from npunet.limits import Limits, inputs_are, over_height_and_width
from npunet.ops import exponential
from npunet.ops.activation import LEAKY_SLOPE, SELU_ALPHA, SELU_SCALE
from npunet.ops.norm import batch_norm_scale_shift
from npunet.ops.table import ACTIVATIONS

ALIGNMENT = 4  # floats: 16 bytes
LIMITS = Limits("the generated C", "leave 'c' out of the bundle's formats", {
    "conv2d": (), "depthwise_conv2d": (), "separable_conv2d": (), "max_pool2d": (),
    "upsample_nearest2d": (), "batch_norm_inference": (), "layer_norm": (over_height_and_width,),
    "concat": (inputs_are(2),), "add": (inputs_are(2),), "dropout_inference": (), "softmax": (),
    **dict.fromkeys(ACTIVATIONS, ()),
})
KERNELS = {"separable_conv2d": ("depthwise_conv2d", "conv2d"), "batch_norm_inference": ("scale_shift",),
           "dropout_inference": ("copy",)}

Weights = Mapping[str, np.ndarray]


def network(graph: Graph, weights: Weights, arithmetic: str, title: str) -> dict[str, str]:
    """The three files by name.

    graph      : at level "deploy" or "trained"
    arithmetic : "seq" or "seq_fma"

    Raises Unsupported (a ValueError) for a layer that has no C, ValueError for weights that are not finite.
    """
    LIMITS.check(graph)
    if graph.output == graph.input:
        LIMITS.refuse(graph.output, "has no network whose output is its input")
    arena = layout(graph)
    return {
        "net.h": _header(graph, arena, title),
        "net_weights.h": _weights(graph, weights, title),
        "net.c": _source(graph, weights, arithmetic, arena, title),
    }


def layout(graph: Graph) -> Arena:
    """Where the tensors between input and output lie, in floats, and how many floats there are."""
    lives = lifetimes_in_order([node.name for node in graph], graph.consumers(), lambda name: prod(graph.shape(name)))
    for node in graph:
        if node.op == "separable_conv2d":  # what lies between its two halves
            moment = lives[node.name].first
            lives[_between(node)] = Lifetime(prod(_between_shape(node, graph)), moment, moment)
    del lives[graph.output]
    return place(lives, ALIGNMENT)


def _between(node: Node) -> str:
    return f"{node.name}/between"


def _between_shape(node: Node, graph: Graph) -> tuple[int, ...]:
    return (*node.shape[:2], graph.weights[node.weights[1]].shape[2])


def identifier(name: str) -> str:
    """A name as C takes it."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def fill(template: str, values: Mapping[str, object]) -> str:
    """A template with @NAME@ replaced."""
    return re.sub(r"@([A-Z0-9_]+)@", lambda match: str(values[match[1]]), template)


@cache
def read_template(name: str) -> str:
    """A file of npunet/golden/templates."""
    return files("npunet.golden").joinpath("templates", name).read_text(encoding="utf-8")


@cache
def sections() -> dict[str, tuple[tuple[str, ...], str]]:
    """Kernels by name: what each needs, and its text."""
    parts = re.split(r"^/\*@ (\w+)(?: : ([\w ]+))? \*/\n", read_template("kernels.c"), flags=re.MULTILINE)[1:]
    return {name: (tuple((needs or "").split()), text) for name, needs, text in zip(*[iter(parts)] * 3, strict=True)}


def kernels(graph: Graph, weights: Weights, arithmetic: str) -> str:
    """The kernels that a graph needs, each after those that it calls."""
    wanted: dict[str, None] = {}

    def want(name: str) -> None:
        name = f"multiply_add_{arithmetic}" if name == "multiply_add" else name
        if name not in sections():
            raise ValueError(f"there is no C for the operator {name}")
        for need in sections()[name][0]:
            want(need)
        wanted[name] = None

    for node in graph:
        for name in KERNELS.get(node.op, (node.op,)):
            want(name)
        if split_bias(node, weights)[1] is not None:
            want("add_bias")
    return fill("".join(sections()[name][1] for name in wanted), c_constants())


def c_constants() -> dict[str, str]:
    """The declared constants as C writes them, for templates."""
    def c(value: float) -> str:
        return f"{short_hex(float(np.float32(value)))}f"

    names = ("LOG2E", "LN2_HI", "LN2_LO", "LOWEST", "HIGHEST")
    return {name: c(getattr(exponential, name)) for name in names} | {
        "COEFFICIENTS": ", ".join(c(float(value)) for value in exponential.COEFFICIENTS),
        "DEGREE": str(len(exponential.COEFFICIENTS)),
        "LEAKY_SLOPE": c(LEAKY_SLOPE), "SELU_SCALE": c(SELU_SCALE), "SELU_SCALE_ALPHA": c(SELU_SCALE * SELU_ALPHA),
    }


def _header(graph: Graph, arena: Arena, title: str) -> str:
    output = graph.shape(graph.output)
    return fill(read_template("net_head.h"), {
        "TITLE": title, "LAYERS": len(graph.nodes),
        "INPUT_SIZE": prod(graph.input_shape), "INPUT_SHAPE": "x".join(map(str, graph.input_shape)),
        "OUTPUT_SIZE": prod(output), "OUTPUT_SHAPE": "x".join(map(str, output)), "ARENA_SIZE": max(1, arena.size),
        "LARGEST": max(prod(graph.shape(name)) for name in (graph.input, *(node.name for node in graph))),
    })


def _names(graph: Graph) -> dict[str, str]:
    """C identifier by weight name."""
    return {name: identifier(weight_id(number, name)) for number, name in enumerate(graph.weights)}


def _weights(graph: Graph, weights: Weights, title: str) -> str:
    arrays = {_names(graph)[name]: (name, weights[name]) for name in graph.weights}
    lines = [f"/* net_weights.h: {title}", "   Kernels are KH KW C F, depthwise KH KW C M. */"]
    for node in graph:
        if node.op == "batch_norm_inference":
            parameters = [weights[name] for name in node.weights]
            for name in node.weights:
                del arrays[_names(graph)[name]]
            scale, shift = batch_norm_scale_shift(*parameters, eps=node.attrs["eps"])
            for role, formula, value in (("scale", "gamma * (1 / sqrt(var + eps))", scale),
                                         ("shift", "beta - mean * scale", shift)):
                told = f"{node.name}: {formula}, each step rounded to float;"
                arrays[f"{identifier(node.name)}_{role}"] = (told, value)
    for name, (told, value) in arrays.items():
        shape = "x".join(map(str, value.shape))
        try:
            values = hex_floats(value)
        except ValueError as error:
            raise ValueError(f"{told}: {error}") from None
        lines.append(f"\n/* {told} {shape} */\nstatic const float {name}[{value.size}] = {{\n{values}}};")
    return "\n".join(lines) + "\n"


def _source(graph: Graph, weights: Weights, arithmetic: str, arena: Arena, title: str) -> str:
    ids = layer_ids(graph)
    head = fill(read_template("net_head.c"), {"TITLE": title, "ORDER": arithmetic})
    parts = [head, kernels(graph, weights, arithmetic)]
    if arena.size:
        parts.append("\nstatic float arena[NET_ARENA_SIZE];\n")
    parts += [_layer(number, node, graph, weights, arena) for number, node in enumerate(graph)]
    rows = []
    for node in graph:
        sizes = [prod(graph.shape(name)) for name in node.inputs]
        listed = ", ".join(map(str, [*sizes, 0][:2]))
        rows.append(f'    {{"{ids[node.name]}", {len(sizes)}, {{{listed}}}, {prod(node.shape)}}},')
    parts.append("\nconst net_layer net_layers[NET_LAYERS] = {\n" + "\n".join(rows) + "\n};\n")
    parts.append(_run(graph, arena))
    functions = ", ".join(f"layer_{number}" for number in range(len(graph.nodes)))
    parts.append(f"""
void net_run_layer(int layer, const float *const *inputs, float *output, net_observer observe, void *context)
{{
    static void (*const run[NET_LAYERS])(const float *const *, float *, const watcher *) = {{
        {_wrapped(functions, 8)}}};
    const watcher watch = {{observe, context}};
    run[layer](inputs, output, &watch);
}}
""")
    return "".join(parts)


def _layer(number: int, node: Node, graph: Graph, weights: Weights, arena: Arena) -> str:
    """One layer as a function of its inputs."""
    size = prod(node.shape)
    lines = [f"    {line}" for line in _calls(node, graph, arena)]
    _, bias = split_bias(node, weights)
    if bias is not None:
        lines.append(f"    show(watch, {number}, NET_ACC, y, {size});")
        lines.append(f"    add_bias(y, {_names(graph)[node.weights[-1]]}, {prod(node.shape[:2])}, {node.shape[2]});")
    reads = ", ".join(f"{name} {'x'.join(map(str, graph.shape(name)))}" for name in node.inputs)
    return "\n".join([
        f"\n/* {node.name}: {node.op} of {reads} gives {'x'.join(map(str, node.shape))} */",
        f"static void layer_{number}(const float *const *in, float *y, const watcher *watch)", "{",
        *lines, f"    show(watch, {number}, NET_OUT, y, {size});", "}", "",
    ])


def _calls(node: Node, graph: Graph, arena: Arena) -> list[str]:
    """The statements that compute a layer, bias aside."""
    name, shapes = _names(graph), [graph.shape(source) for source in node.inputs]
    H, W, C = shapes[0]
    positions, size = H * W, prod(node.shape)
    if node.op == "conv2d":
        return [_shape(node, (H, W, C), node.shape, graph.weights[node.weights[0]].shape),
                f"conv2d(in[0], {name[node.weights[0]]}, y, &s);"]
    if node.op == "depthwise_conv2d":
        return [_shape(node, (H, W, C), node.shape, graph.weights[node.weights[0]].shape),
                f"depthwise_conv2d(in[0], {name[node.weights[0]]}, y, &s);"]
    if node.op == "separable_conv2d":
        between, depthwise = _between_shape(node, graph), graph.weights[node.weights[0]].shape
        OH, OW, M = between
        pointwise = f"{OH}, {OW}, {M}, {OH}, {OW}, {node.shape[2]}, 1, 1, 1, 1, 0, 0, 1, 1"
        return [_shape(node, (H, W, C), between, depthwise), f"static const conv_shape t = {{{pointwise}}};",
                f"float *between = arena + {arena.offsets[_between(node)]};",
                f"depthwise_conv2d(in[0], {name[node.weights[0]]}, between, &s);",
                f"conv2d(between, {name[node.weights[1]]}, y, &t);"]
    if node.op == "max_pool2d":
        (kh, kw), (sy, sx), ((top, _), (left, _)) = node.attrs["window"], node.attrs["stride"], node.attrs["pads"]
        OH, OW, _ = node.shape
        return [f"static const pool_shape s = {{{H}, {W}, {C}, {OH}, {OW}, {kh}, {kw}, {sy}, {sx}, {top}, {left}}};",
                "max_pool2d(in[0], y, &s);"]
    if node.op == "upsample_nearest2d":
        fy, fx = node.attrs["factor"]
        return [f"upsample_nearest2d(in[0], y, {H}, {W}, {C}, {fy}, {fx});"]
    if node.op == "concat":
        return [f"concat(in[0], in[1], y, {positions}, {C}, {shapes[1][2]});"]
    if node.op == "add":
        return [f"add(in[0], in[1], y, {size});"]
    if node.op == "dropout_inference":
        return [f"copy(in[0], y, {size});"]
    if node.op in ACTIVATIONS:
        return [f"{node.op}(in[0], y, {size});"]
    if node.op == "softmax":
        return [f"softmax(in[0], y, {positions}, {C});"]
    if node.op == "batch_norm_inference":
        stem = identifier(node.name)
        return [f"scale_shift(in[0], {stem}_scale, {stem}_shift, y, {positions}, {C});"]
    if node.op == "layer_norm":
        gamma, beta = (name[weight] for weight in node.weights)
        return [f"layer_norm(in[0], {gamma}, {beta}, y, {positions}, {C}, {short_hex(node.attrs['eps'])});"]
    LIMITS.refuse(node.name, f"has no {node.op!r}")


def _shape(node: Node, x: tuple[int, ...], y: tuple[int, ...], kernel: tuple[int, ...]) -> str:
    (sy, sx), (dy, dx), ((top, _), (left, _)) = node.attrs["stride"], node.attrs["dilation"], node.attrs["pads"]
    numbers = ", ".join(map(str, (*x, *y, *kernel[:2], sy, sx, top, left, dy, dx)))
    return f"static const conv_shape s = {{{numbers}}};"


def _run(graph: Graph, arena: Arena) -> str:
    """net_run: the layers in order, each at its place."""
    def place_of(name: str) -> str:
        if name in (graph.input, graph.output):
            return "input" if name == graph.input else "output"
        return f"arena + {arena.offsets[name]}"

    lines = []
    for number, node in enumerate(graph):
        lines.append(f"    /* {node.name} */")
        lines += [f"    in[{k}] = {place_of(name)};" for k, name in enumerate(node.inputs)]
        lines.append(f"    layer_{number}(in, {place_of(node.name)}, &watch);")
    return "\n".join([
        "\nvoid net_run(const float *input, float *output, net_observer observe, void *context)", "{",
        "    const watcher watch = {observe, context};", "    const float *in[NET_MOST_INPUTS];", *lines, "}", "",
    ])


def _wrapped(text: str, indent: int) -> str:
    """A comma-separated list in lines of moderate length."""
    lines, line = [], ""
    for item in text.split(", "):
        if len(line) + len(item) > 100:
            lines.append(line.rstrip())
            line = ""
        line += f"{item}, "
    return ("\n" + " " * indent).join([*lines, line.removesuffix(", ")])

"""The folder c/: the network in C99, the golden numbers as headers, and what compares a port with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from npunet.golden import cgen
from npunet.golden.collect import EDGE, Collector
from npunet.golden.writers import bit_patterns, short_hex, write_text
from npunet.graph import Graph

HEADER_CAP = 2 << 20  # bytes of tensors beyond which a case has digests only
INF = "INFINITY"

Record = Mapping[str, Any]


def write(folder: Path, graph: Graph, weights: Mapping[str, np.ndarray], layers: Mapping[str, Record],
          arithmetic: str, cases: Mapping[str, Collector], alone: Sequence[str]) -> None:
    """Write every file of c/.

    cases : the network cases by id, the first one's tensors become arrays if they fit
    alone : ids of the layer cases
    """
    title = f"made by npunet; {len(layers)} layers, float32, {arithmetic}"
    texts = cgen.network(graph, weights, arithmetic, title)
    texts["net_dump.c"] = cgen.read_template("net_dump.c")
    texts["cases.txt"] = "".join(f"{name} -1\n" for name in cases) + "".join(
        f"{layer} {list(layers).index(layer)}\n" for layer in alone)
    if cases:
        first = next(iter(cases.values()))
        arrays = first_arrays(first, layers)
        name = f"golden_{first.case}.h"
        if arrays:
            texts[name] = case_header(arrays, first.case, title)
        texts["golden_layers.h"] = layers_header(graph, layers, title, name if arrays else None)
        texts["golden_crc.h"] = crc_header(cases, list(layers), title)
        texts["port.c"] = port_stub(layers, title)
        texts |= {name: cgen.read_template(name) for name in ("check.c", "port.h", "port_net.c")}
    for name, text in texts.items():
        write_text(folder / name, text)


def first_arrays(case: Collector, layers: Mapping[str, Record]) -> dict[str, np.ndarray]:
    """The first sample of the input and of every output, or nothing when a tensor is not kept or all are too large."""
    keys = ["in", *(f"{layer}.out" for layer in layers)]
    if not all(key in case.kept for key in keys):
        return {}
    arrays = {key: case.kept[key][0] for key in keys}
    return arrays if sum(value.nbytes for value in arrays.values()) <= HEADER_CAP else {}


def case_header(arrays: Mapping[str, np.ndarray], case: str, title: str) -> str:
    """golden_<case>.h: the bits of every tensor."""
    lines = [f"/* golden_{case}.h: {title}", "   The bits of float32 values, H W C; NaN is 0x7fc00000. */",
             "#ifndef GOLDEN_CASE_H", "#define GOLDEN_CASE_H", "", "#include <stdint.h>", ""]
    names = []
    for key, value in arrays.items():
        name = f"golden_{cgen.identifier(key)}"
        lines += [f"/* {key} {'x'.join(map(str, value.shape))} */",
                  f"static const uint32_t {name}[{value.size}] = {{", f"{bit_patterns(value)}}};", ""]
        names.append(name)
    listed = ",\n    ".join(names[1:])
    lines += [f"static const uint32_t *const golden_out[] = {{\n    {listed}}};", "", "#endif", ""]
    return "\n".join(lines)


def crc_header(cases: Mapping[str, Collector], layers: list[str], title: str) -> str:
    """golden_crc.h: for every network case its input, and of each layer the CRC-32 and 16 bytes at either end."""
    lines = [
        f"/* golden_crc.h: {title}",
        "   CRC-32 (zlib's) of little-endian words, all samples, NaN as 0x7fc00000; acc_crc 0: no accumulator. */",
        "#ifndef GOLDEN_CRC_H", "#define GOLDEN_CRC_H", "", "#include <stdint.h>", "",
        "typedef struct { uint32_t acc_crc, out_crc, first[4], last[4]; } golden_digest;",
        "typedef struct { const char *id; int samples; const uint32_t *in; const golden_digest *layers; } golden_case;",
        "", f"#define GOLDEN_CASES {len(cases)}", "",
    ]
    for name, case in cases.items():
        x = case.kept["in"]
        stem = f"golden_{cgen.identifier(name)}"
        lines += [f"static const uint32_t {stem}_in[{x.size}] = {{", f"{bit_patterns(x)}}};",
                  f"static const golden_digest {stem}_layers[{len(layers)}] = {{"]
        lines += [f"    {_digest(case, layer)}, /* {layer} */" for layer in layers]
        lines += ["};", ""]
    rows = [f'    {{"{name}", {len(case.kept["in"])}, golden_{cgen.identifier(name)}_in, '
            f"golden_{cgen.identifier(name)}_layers}}," for name, case in cases.items()]
    return "\n".join([*lines, "static const golden_case golden_cases[GOLDEN_CASES] = {", *rows, "};", "", "#endif", ""])


def _digest(case: Collector, layer: str) -> str:
    acc = case.records.get(f"{layer}.acc")
    first, last = case.edges[f"{layer}.out"]
    before, after = first + [0] * (EDGE - len(first)), [0] * (EDGE - len(last)) + last
    words = ["{" + ", ".join(f"0x{word:08x}u" for word in edge) + "}" for edge in (before, after)]
    crc = "0" if acc is None else f"0x{acc['crc32']}u"
    return f"{{{crc}, 0x{case.records[f'{layer}.out']['crc32']}u, {words[0]}, {words[1]}}}"


def layers_header(graph: Graph, layers: Mapping[str, Record], title: str, first_case: str | None) -> str:
    """golden_layers.h: the layers as a table in CMSIS-NN's terms."""
    number = {"in": -1} | {layer: k for k, layer in enumerate(layers)}
    names = [node.name for node in graph]
    largest = max(prod(graph.shape(name)) for name in (graph.input, *names))
    define = f'#define GOLDEN_FIRST_CASE "{first_case}"' if first_case else \
        "#ifndef GOLDEN_CRC_ONLY /* the tensors are too large for a header */\n#define GOLDEN_CRC_ONLY\n#endif"
    return cgen.fill(cgen.read_template("golden_types.h"), {
        "TITLE": title, "LAYERS": len(layers), "OUTPUT_LAYER": names.index(graph.output),
        "INPUT_SIZE": prod(graph.input_shape), "OUTPUT_SIZE": prod(graph.shape(graph.output)), "LARGEST": largest,
        "FIRST_CASE": define, "ROWS": "\n".join(_row(layer, number) for layer in layers.values()),
    })


def _row(layer: Record, number: Mapping[str, int]) -> str:
    reads = [number[name] for name in layer["inputs"]]
    shape, x = layer["shape"], layer["input_shapes"][0]
    kernel, pads = layer["kernel"] or [1, 1], layer["pads"] or {"top": 0, "left": 0}
    stride, dilation = layer["stride"] or [1, 1], layer["dilation"] or [1, 1]
    low, high = layer["clamp"] or (None, None)
    depthwise = "depthwise" in layer["operator"]
    filters = {"conv2d": (shape[2], *kernel, x[2]), "depthwise_conv2d": (1, *kernel, shape[2])}
    dims = [(1, *x), filters.get(layer["operator"], (1, *kernel, 1)), (1, *shape)]
    dims_text = ", ".join("{" + ", ".join(map(str, value)) + "}" for value in dims)
    tiles = ", ".join(f"{{{a}, {b}}}" for b, a in (stride, (pads["top"], pads["left"]), dilation))
    limits = f"{{{_limit(low, '-')}, {_limit(high, '')}}}"
    params = f"{{0, 0, {shape[2] // x[2] if depthwise else 1}, {tiles}, {limits}}}"
    listed = ", ".join(map(str, [*reads, -1][:2]))
    return (f'    {{"{layer["id"]}", "{layer["operator"]}", "{layer["name"]}", {len(reads)}, {{{listed}}}, '
            f"{prod(shape)},\n     {dims_text},\n     {params}}},")


def _limit(value: float | None, sign: str) -> str:
    return f"{sign}{INF}" if value is None else f"{short_hex(value)}f"


def port_stub(layers: Mapping[str, Record], title: str) -> str:
    """port.c: one empty function a layer, and one for the whole network."""
    lines = [
        f"/* port.c: {title}",
        "   Fill in a layer: read the inputs, write out (H W C, one sample), return 1. What returns 0 is SKIPPED.",
        "   Or fill in port_network alone. Then: cc -std=c99 -ffp-contract=off check.c port.c -lm -o check; ./check */",
        '#include "port.h"', "",
    ]
    for layer in layers.values():
        reads = ", ".join(f"const float *{name}" for name in ("a", "b")[: len(layer["inputs"])])
        unused = " ".join(f"(void){name};" for name in (*("a", "b")[: len(layer["inputs"])], "out"))
        shapes = " and ".join("x".join(map(str, shape)) for shape in layer["input_shapes"])
        lines += [f"/* {layer['operator']} of {shapes}, gives {'x'.join(map(str, layer['shape']))} */",
                  f"static int {cgen.identifier(layer['id'])}({reads}, float *out)", "{", f"    {unused}",
                  "    return 0;", "}", ""]
    lines += ["int port_layer(int layer, const float *const *inputs, float *output)", "{", "    switch (layer) {"]
    for number, layer in enumerate(layers.values()):
        given = ", ".join(f"inputs[{k}]" for k in range(len(layer["inputs"])))
        lines.append(f"    case {number}: return {cgen.identifier(layer['id'])}({given}, output);")
    lines += ["    default: return 0;", "    }", "}", "",
              "int port_network(const float *input, float *output, port_observer seen)", "{",
              "    (void)input; (void)output; (void)seen;", "    return 0;", "}", ""]
    return "\n".join(lines)

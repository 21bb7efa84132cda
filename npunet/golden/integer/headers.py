"""C headers of an integer bundle: each layer's quantisation by CMSIS-NN's names, golden arrays, the list of cases."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from npunet.golden.cgen import identifier
from npunet.golden.integer.arrays import c_array
from npunet.golden.integer.names import c_names, layer_ids
from npunet.integer.network import Network, Node

HEADER_CAP = 2 << 20  # bytes of tensors that become arrays
ADD = ("input1_offset", "input1_multiplier", "input1_shift", "input2_offset", "input2_multiplier", "input2_shift",
       "left_shift", "output_offset", "output_multiplier", "output_shift", "act_min", "act_max")
TYPES = """\
typedef struct { int32_t n, h, w, c; } golden_dims;                       /* cmsis_nn_dims */
typedef struct { int32_t w, h; } golden_tile;                             /* cmsis_nn_tile */
typedef struct { int32_t min, max; } golden_activation;                   /* cmsis_nn_activation */
typedef struct { int32_t multiplier, shift; } golden_per_tensor;          /* cmsis_nn_per_tensor_quant_params */
typedef struct { const int32_t *multiplier, *shift; } golden_per_channel; /* cmsis_nn_per_channel_quant_params */
typedef struct {                                                          /* cmsis_nn_conv_params, _dw_conv_params */
    int32_t input_offset, output_offset, ch_mult;
    golden_tile stride, padding, dilation;
    golden_activation activation;
} golden_conv_params;
typedef struct { golden_tile stride, padding; golden_activation activation; } golden_pool_params;
typedef struct {                                                          /* arguments of arm_elementwise_add_s8 */
    int32_t input_1_offset, input_1_mult, input_1_shift, input_2_offset, input_2_mult, input_2_shift, left_shift;
    int32_t out_offset, out_mult, out_shift, out_activation_min, out_activation_max;
} golden_add_params;
typedef struct {                                                          /* between two scales */
    int32_t input_offset, output_offset;
    golden_per_tensor quant;
    golden_activation activation;
} golden_rescale_params;
"""


def layers_header(network: Network, title: str) -> str:
    """golden_layers.h; include net_weights.h before it for the multipliers and shifts per channel."""
    names = c_names(network)
    lines = [f"/* golden_layers.h: {title}", "   Fields are called as in CMSIS-NN's arm_nn_types.h. */",
             "#ifndef GOLDEN_LAYERS_H", "#define GOLDEN_LAYERS_H", "", "#include <stdint.h>", "",
             '#include "net_weights.h"', "", TYPES]
    for node in network:
        stem = f"golden_{names[node.name]}"
        lines.append(f"/* {node.name}: {node.op} of {', '.join(node.inputs)} */")
        for number, name in enumerate(node.inputs):
            lines.append(_dims(f"{stem}_input_{number}_dims", network.tensors[name].shape))
        lines.append(_dims(f"{stem}_output_dims", network.tensors[node.name].shape))
        lines += [*_parameters(node, stem, names[node.name], network), ""]
    return "\n".join([*lines, "#endif", ""])


def _dims(name: str, shape: tuple[int, ...]) -> str:
    return f"static const golden_dims {name} = {{1, {', '.join(map(str, shape))}}};"


def _tile(pair: tuple[int, int]) -> str:
    return f"{{{pair[1]}, {pair[0]}}}"


def _parameters(node: Node, stem: str, arrays: str, network: Network) -> list[str]:
    a = node.attrs
    clamp = f"{{{a['act_min']}, {a['act_max']}}}" if "act_min" in a else ""
    if node.op in ("conv2d", "depthwise_conv2d"):
        KH, KW, C, F = node.arrays["weights"].shape
        depthwise = node.op == "depthwise_conv2d"
        filters = (1, KH, KW, C * F) if depthwise else (F, KH, KW, C)
        before = (a["pads"][0][0], a["pads"][1][0])
        params = (f"{a['input_offset']}, {a['output_offset']}, {F if depthwise else 1}, {_tile(a['stride'])}, "
                  f"{_tile(before)}, {_tile(a['dilation'])}, {clamp}")
        return [f"static const golden_dims {stem}_filter_dims = {{{', '.join(map(str, filters))}}};",
                f"static const golden_conv_params {stem}_params = {{{params}}};",
                f"static const golden_per_channel {stem}_quant = {{{arrays}_multiplier, {arrays}_shift}};"]
    if node.op in ("max_pool2d", "avg_pool2d"):
        before = (a["pads"][0][0], a["pads"][1][0])
        return [f"static const golden_dims {stem}_filter_dims = {{1, {a['window'][0]}, {a['window'][1]}, 1}};",
                f"static const golden_pool_params {stem}_params = {{{_tile(a['stride'])}, {_tile(before)}, {clamp}}};"]
    if node.op == "add":
        return [f"static const golden_add_params {stem}_params = {{{', '.join(str(a[key]) for key in ADD)}}};"]
    if node.op == "rescale":
        return [f"static const golden_rescale_params {stem}_params = {{{a['input_offset']}, {a['output_offset']}, "
                f"{{{a['multiplier']}, {a['shift']}}}, {clamp}}};"]
    told = [f"{key} {value}" for key, value in a.items() if isinstance(value, int) and not isinstance(value, bool)]
    return [f"/* {', '.join(told)} */"] if told else []


def case_header(case: str, tensors: Mapping[str, np.ndarray], title: str) -> str | None:
    """golden_<case>.h: the first sample of every tensor, or None where that is too large."""
    first = {key: value[0] for key, value in tensors.items()}
    if sum(value.nbytes for value in first.values()) > HEADER_CAP:
        return None
    guard = f"GOLDEN_{identifier(case).upper()}_H"
    arrays = [c_array(f"golden_{identifier(key)}", value, key) for key, value in first.items()]
    return "\n".join([f"/* golden_{case}.h: {title}; H W C, one sample */", f"#ifndef {guard}", f"#define {guard}", "",
                      "#include <stdint.h>", "", *arrays, "#endif", ""])


def case_list(network: Network, scheme: str, cases: Sequence[str], alone: Collection[str]) -> str:
    """cases.txt of net_dump: "case <id> <file>" of a network case, "layer <id> <number> <file> ..." of a layer's."""
    lines = [f"case {case} {scheme}/{case}/in.bin" for case in cases]
    for number, node in enumerate(network):
        layer = layer_ids(network)[node.name]
        if layer in alone:
            files = [f"{scheme}/{layer}/{layer}.in{k}.bin" for k in range(len(node.inputs))]
            lines.append(f"layer {layer} {number} {' '.join(files)}")
    return "\n".join(lines) + "\n"

"""README.txt of an integer bundle: what is in it, every formula, how to judge a port."""

from __future__ import annotations

from typing import Any

from npunet.golden.integer.records import ROUNDING_RULES, RULE_64

FORMULAS = {
    "conv2d": "acc = bias[f] + sum of (x + input_offset) * w[ky, kx, c, f] over the taps inside the image\n"
              "pre = requantize(acc, multiplier[f], shift[f]) + output_offset;  out = clamp(pre, act_min, act_max)",
    "depthwise_conv2d": "as conv2d, but output channel f = c * M + m reads channel c alone: w[ky, kx, c, m]",
    "add": "acc = requantize((a + input1_offset) << left_shift, input1_multiplier, input1_shift) +\n"
           "requantize((b + input2_offset) << left_shift, input2_multiplier, input2_shift)\n"
           "pre = requantize(acc, output_multiplier, output_shift) + output_offset;  out = clamp(pre)",
    "rescale": "pre = requantize(x + input_offset, multiplier, shift) + output_offset;  out = clamp(pre)",
    "leaky_relu": "c = x + input_offset;  m, s = positive_multiplier, positive_shift; for c < 0 negative_multiplier,\n"
                  "negative_shift;  pre = requantize(c, m, s) + output_offset;  out = clamp(pre)",
    "max_pool2d": "pre = largest value of the window's taps inside the image;  out = clamp(pre)",
    "avg_pool2d": "pre = mean of the taps inside the image, half away from zero;  out = clamp(pre)",
    "concat": "channels one after another, copied",
    "upsample_nearest2d": "out[i, j] = x[i / fy, j / fx], copied",
    "table": "int8: out = table[x + 128];  int16: i = 256 + (x >> 7),\n"
             "out = table[i] + (((table[i + 1] - table[i]) * (x & 127) + 64) >> 7)",
    "layer_norm": "per channel over n positions: S = sum x; d = n x - S; v = n sum x^2 - S^2 + epsilon;\n"
                  "j = (62 - bits of v) >> 1; r = floor(2^61 / floor(sqrt(v << 2j)));\n"
                  "h = d * r / 2^(61 - j - fraction_bits), ties away from zero;\n"
                  "pre = requantize_64(h * gamma + beta, multiplier, shift) + output_offset;  out = clamp(pre)",
    "softmax": "per position, over the channels: d = x - max;  a = SRDHM(d << left_shift, multiplier), in Q5.26;\n"
               "e = exp(a) in Q0.31 for d >= diff_min;  t = sum of RDP(e, 12);  z = 32 - bits of t;\n"
               "r = 1 / (1 + ((t << z) - 2^31)) in Q0.31;  out = clamp(RDP(SRDHM(r, e), 35 - z) - 128), -128 for "
               "d < diff_min\n"
               "SRDHM(a, b) = (a * b + 2^30) >> 31;  RDP(x, n) = x / 2^n, ties away from zero. exp and 1 / (1 + a), "
               "gemmlowp's,\nstand step by step in c/net.c: exp_on_negative, one_over_one_plus",
    "softmax16": "per position, over the channels: u = clamp16(requantize(x - max, multiplier, shift) + 32767);\n"
                 "e = line(exp_table, u);  t = sum of e;  z = 32 - bits of t;\n"
                 "r = line(reciprocal_table, clamp16((((t << (z - 1)) + 2^13) >> 14) - 98304));\n"
                 "out = clamp((e * r + 2^(30 - z)) >> (31 - z), 0, 32767);  line as in table",
}


def readme(manifest: dict[str, Any]) -> str:
    """The text."""
    model, profile, used = manifest["model"], manifest["profile"], manifest["memory"]
    operators = dict.fromkeys(layer["operator"] for layer in manifest["layers"])
    formulas = "\n".join(f"  {name}\n" + "\n".join(f"      {line}" for line in FORMULAS[name].splitlines())
                         for name in FORMULAS if name in operators)
    cases = ", ".join(case["id"] for case in manifest["cases"] if case["scope"] == "network") or "none"
    alone = sum(case["scope"] == "layer" for case in manifest["cases"])
    return f"""\
Golden vectors of {model['name']}, {model['scheme']}, made by npunet {manifest['generator_version']}

Every number is an integer and exact: a port is right when all are equal. Nothing is judged by a tolerance.

  npunet verify BUNDLE OUTPUTS        names the first wrong layer, and why
  sha256sum -c SHA256SUMS             whether the bundle is whole

Cases of the whole network: {cases}
Cases of single layers: {alone}, each called as its layer and fed with in0 (in1) alone, at which its own faults show.
Layers: {len(manifest['layers'])}; all fields of each (multiplier, shift, offsets, clamps, pads) are in manifest.json.
Memory of c/net.c: flash {used['flash']:,} bytes of constants; RAM {used['ram']:,} bytes (arena {used['arena']:,},
input {used['input']:,}, output {used['output']:,}).

Files of a case, in {model['scheme']}/<case>/: in.bin, <layer>.acc.bin, .pre.bin, .out.bin (of a layer's own case
<layer>.in0.bin ...), little-endian two's complement, N H W C (a signal has H = 1); tensors.npz holds the same; hex/ has
$readmemh words; npz/<case>.npz has input_0 and output_0 in the user's shapes.
Weights are KH KW C F (depthwise KH KW C M) in c/net_weights.h, model/model.npz and, raw, model/weights.bin.
c/golden_layers.h has every layer's parameters in structs whose fields are called as in CMSIS-NN's arm_nn_types.h.

The network in C99:

  cc -std=c99 -O2 -DNET_OBSERVE c/net.c c/net_dump.c -o net_dump
  ./net_dump --all . OUT && npunet verify . OUT

Arithmetic. Shifts are arithmetic, products have 64 bits, l = max(s, 0), r = max(-s, 0).
value = scale * (q - zero_point); input_offset = -zero_point of the input, output_offset = zero_point of the output.

  requantize(x, m, s) = x * m * 2^(s - 31), profile {profile['requant']} ({profile['requant_name']})
      {ROUNDING_RULES[profile['requant']]}
  requantize_64, for an accumulator of 64 bits (16x8), the same under every profile
      {RULE_64}

{formulas}

Taps outside the image add nothing: what stands there is the input's zero point, not 0.

Fields of manifest.json:

{FIELDS}
Outputs for npunet verify, whole or in part, named <case>/<layer>.out (.acc, .pre) or by the layer's name:
  .npz .npy     integers                          .bin    raw little-endian two's complement
  .mem .hex     words of 2, 4, 8 or 16 hex digits, by the tensor's type
  .log .txt     NPU TENSOR <case>/<key> <words>;  NPU DATA <words> ...;  NPU END <CRC-32>; words as in .hex, or 8 digits
                for four bytes
  .json         TFLite-Micro's layer-by-layer data (flatc --json), dtype INT8, INT16, INT32 or INT64
Exit status: 0 PASS, 1 FAIL, 2 an error in the files, 3 layers missing, 4 cases missing.
"""


FIELDS = """\
  schema generator generator_version seed formats endianness layout   of the bundle; left_out: layers without a case of
      their own, for want of room; cannot_see: nothing here, faults that no input shows are counted in mutation_score
  model     name scheme file (model.npz) raw_weights (weights.bin) input_shape output_shape (of the user's samples)
      input_quantisation output_quantisation (scale zero_point dtype shape) output (the id of the last layer)
  profile   requant requant_name requant_rule requant_64_rule accumulator_bits bias_bits weights padding
  memory    bytes of the generated C: flash ram arena input output
  layers    id number name operator; stands_for: layers of the float network; inputs consumers: ids; case: of its own
      input_shapes input_quantisation shape dtype scale zero_point of its tensors; kernel stride dilation factor
      attributes: every integer of the operator, as in the formulas (input_offset output_offset act_min act_max pads
      window ...); padding function slope lut say where they come from
      per_channel: multiplier shift bias;  scales: real ones of weights and bias, which no run reads
      arrays: shape dtype sha256, offset and bytes in weights.bin
      accumulator before_clamp: types of .acc and .pre, null where there is none; requantisation: D, S, 64 or null
  cases     id scope (network, layer) kind precision samples stored folder tensors (keys)
  tensors   id case key role (in acc pre out) operator producer consumers dtype shape layout scale zero_point axis
      files (npz bin hex: path) bytes sha256 crc32 statistics (min max zeros saturated nans infs)
  mutation_score   from --score: mutants instances killed equivalent (proven, whatever the input) hidden survived score
      table (mutant operators variants cases)
"""

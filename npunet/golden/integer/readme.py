"""README.txt of an integer bundle: what is in it, every formula, how to judge a port."""

from __future__ import annotations

from typing import Any

from npunet.golden.integer.records import ROUNDING_RULES, RULE_64

FORMULAS = {
    "conv2d": "acc = bias[f] + sum of (x + input_offset) * w[ky, kx, c, f] over the taps inside the image\n"
              "pre = requantize(acc, multiplier[f], shift[f]) + output_offset;  out = clamp(pre, act_min, act_max)",
    "depthwise_conv2d": "as conv2d, but output channel f = c * M + m reads channel c alone: w[ky, kx, c, m]",
    "add": "acc = requantize((a + input1_offset) << left_shift, input1_multiplier, input1_shift) + the same of b\n"
           "pre = requantize(acc, output_multiplier, output_shift) + output_offset;  out = clamp(pre)",
    "rescale": "pre = requantize(x + input_offset, multiplier, shift) + output_offset;  out = clamp(pre)",
    "leaky_relu": "c = x + input_offset; pre = requantize(c, positive or (c < 0) negative multiplier, shift) +\n"
                  "output_offset;  out = clamp(pre)",
    "max_pool2d": "pre = largest value of the taps inside the image;  out = clamp(pre)",
    "avg_pool2d": "pre = mean of the taps inside the image, half away from zero;  out = clamp(pre)",
    "concat": "channels one after another, copied",
    "upsample_nearest2d": "out[i, j] = x[i / fy, j / fx], copied",
    "table": "int8: out = table[x + 128];  int16: i = 256 + (x >> 7),\n"
             "out = table[i] + (((table[i + 1] - table[i]) * (x & 127) + 64) >> 7)",
    "layer_norm": "per channel over n positions: S = sum x; d = n x - S; v = n sum x^2 - S^2 + epsilon;\n"
                  "j = (62 - bits of v) >> 1; r = floor(2^61 / floor(sqrt(v << 2j)));\n"
                  "h = d * r / 2^(61 - j - fraction_bits), ties away from zero;\n"
                  "pre = requantize_64(h * gamma + beta, multiplier, shift) + output_offset;  out = clamp(pre)",
    "softmax": "gemmlowp's fixed-point softmax as in TensorFlow Lite: c/net.c, softmax, spells out every step",
    "softmax16": "two tables of 513 entries as in TensorFlow Lite: c/net.c, softmax16, spells out every step",
}


def readme(manifest: dict[str, Any]) -> str:
    """The text."""
    model, profile, used = manifest["model"], manifest["profile"], manifest["memory"]
    operators = dict.fromkeys(layer["operator"] for layer in manifest["layers"])
    formulas = "\n".join(f"  {name}\n" + "\n".join(f"      {line}" for line in FORMULAS[name].splitlines())
                         for name in FORMULAS if name in operators)
    cases = ", ".join(case["id"] for case in manifest["cases"])
    return f"""\
Golden vectors of {model['name']}, {model['scheme']}, made by npunet {manifest['generator_version']}

Every number is an integer and exact: a port is right when all are equal. Nothing is judged by a tolerance.

  npunet verify BUNDLE OUTPUTS        names the first wrong layer, and why
  sha256sum -c SHA256SUMS             whether the bundle is whole

Cases: {cases}
Layers: {len(manifest['layers'])}; all fields of each (multiplier, shift, offsets, clamps, pads) are in manifest.json.
Memory of c/net.c: flash {used['flash']:,} bytes of constants; RAM {used['ram']:,} bytes (arena {used['arena']:,},
input {used['input']:,}, output {used['output']:,}).

Files of a case, in {model['scheme']}/<case>/: in.bin, <layer>.acc.bin, .pre.bin, .out.bin, little-endian two's
complement, N H W C (a signal has H = 1); tensors.npz holds the same; npz/<case>.npz has input_0 and output_0.
Weights are KH KW C F (depthwise KH KW C M) in c/net_weights.h and model/model.npz.

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
"""

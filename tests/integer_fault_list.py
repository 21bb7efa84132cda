"""Faults of integer ports: each an edit of the generated C that acts in one layer alone, and what a diagnosis must say.

The list was written before the hypotheses were tuned to it: what goes wrong between a paper and silicon. A fault is
compiled as a second copy of net.c, which the first one calls for that one layer: so the first wrong layer is known.
"""

from dataclasses import dataclass

NETWORKS = {  # a 1-D separable ECG network, a 2-D separable one with layer norm and tables, 16x8 with softmax, dilated
    "ecg": ("d1_ecg_small", "int8", "D"), "plane": ("d2_separable_mixed", "int8", "S"),
    "wide": ("d1_softmax", "int16x8", "D"), "dilated": ("d1_dilation_int", "int8", "D"),
}
REQUANTIZE = {
    "D": "return rounding_shift(doubling_high(x * (INT64_C(1) << left), m), right);",
    "S": "return (x * m + (INT64_C(1) << (total - 1))) >> total;",
    "64": "return (x * reduced + (INT64_C(1) << (total - 1))) >> total;",
}
CALL, CALL_64 = "requantize(acc, multiplier[f], (int)shift[f])", "requantize_64(acc, multiplier[f], (int)shift[f])"
WHOLE = f"const int64_t whole = {CALL} + s->output_offset;"
STORE = "y[n] = clamp(whole, s->act_min, s->act_max);"
CLAMP = "return (net_value)(x < low ? low : x > high ? high : x);"
ROUND = "return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0));"
TERM = "(from[c] + s->input_offset)"
ACC = "acc += (from[c] + s->input_offset) * with[c * s->f];"
TAP = "row = i * s->sy + ky * s->dy - s->top, column = j * s->sx + kx * s->dx - s->left"
OUTSIDE = "if (row < 0 || row >= s->h || column < 0 || column >= s->w)\n                            continue;"
READ = "x[(row * s->w + column) * s->c + f / each]"
SUM = "const int64_t acc = requantize(first, p->input1_multiplier, p->input1_shift)"
POOL_TAP = "row = i * s->sy + ky - s->top, column = j * s->sx + kx - s->left"
POOL_OUTSIDE = OUTSIDE + "\n                        const net_value value = x[(row * s->w + column) * s->c + c];"


@dataclass(frozen=True)
class Fault:
    """network : a key of NETWORKS;  op : of the layer it is put into, a middle one for which `where(node)` holds
    edits : (old, new) in net.c;  words : any of them must stand in the diagnosis;  quick : in every run of the tests
    """

    name: str
    network: str
    op: str
    edits: tuple[tuple[str, str], ...]
    words: tuple[str, ...]
    where: object = None
    quick: bool = False


def padded(node):
    return any(map(any, node.attrs["pads"])) and node.attrs["input_offset"] not in (0, 128)


def padded_from_the_end(node):
    return any(map(any, node.attrs["pads"])) and node.attrs["input_offset"] == 128


def uneven(node):
    return any(before != after for before, after in node.attrs["pads"])


def shifted(node):
    return node.attrs["input_offset"] != 0 and len(node.arrays["bias"]) > 1 and node.arrays["weights"].shape[2] > 1


def clamped(node):
    return node.attrs["act_min"] > -128 or node.attrs["act_max"] < 127


def without_clamp(node):
    limits = node.attrs["act_min"], node.attrs["act_max"]
    return limits == (-128, 127) and node.attrs["output_offset"] not in (0, -128)


def dilated(node):
    return max(node.attrs["dilation"]) > 1


def with_taps(node):
    return node.arrays["weights"].shape[1] > 1 and node.arrays["weights"].shape[2] > 1


def one(old, new):
    return ((old, new),)


def fault(name, network, op, edits, *words, where=None, quick=False):
    return Fault(name, network, op, edits, words, where, quick)


FAULTS = [
    # The requantisation, profile D.
    fault("right shift floors", "ecg", "conv2d", one(ROUND, "return x >> exponent;"), "truncates the right shift",
          where=without_clamp),
    fault("profile S", "ecg", "conv2d", one(REQUANTIZE["D"], "return (x * m + (INT64_C(1) << (30 - s))) >> (31 - s);"),
          "profile S", where=without_clamp, quick=True),
    fault("ties go upward", "ecg", "conv2d", one(ROUND, "return (x + ((INT64_C(1) << exponent) >> 1)) >> exponent;"),
          "profile U", where=without_clamp),
    fault("product floors", "ecg", "conv2d", one("return (a * b + (INT64_C(1) << 30)) >> 31;", "return (a * b) >> 31;"),
          "truncates the product's lower 31 bits", where=without_clamp),
    fault("everything floors", "ecg", "conv2d", one(REQUANTIZE["D"], "return (x * m) >> (31 - s);"),
          "truncates (floor)", where=without_clamp),
    fault("towards zero", "ecg", "conv2d", one(REQUANTIZE["D"], "return x * m / (INT64_C(1) << (31 - s));"),
          "truncates towards zero", where=without_clamp),
    fault("real numbers", "ecg", "conv2d", one(REQUANTIZE["D"], """
        { double real = (double)x * m / (double)(INT64_C(1) << (31 - s)), down = (double)(int64_t)real;
          if (down > real) down -= 1;
          const double rest = real - down;
          return (int64_t)down + (rest > 0.5 || (rest == 0.5 && (int64_t)down % 2 != 0)); }"""), "profile E",
          where=without_clamp),
    fault("away from zero", "ecg", "conv2d", one(REQUANTIZE["D"], """
        { const int64_t product = x * m, half = INT64_C(1) << (30 - s);
          return product < 0 ? -((-product + half) >> (31 - s)) : (product + half) >> (31 - s); }"""),
          "rounds once, ties away from zero", where=without_clamp),
    fault("16-bit multiplier", "ecg", "conv2d", one(REQUANTIZE["D"], """
        return (x * ((m + 0x8000) >> 16) + (INT64_C(1) << (14 - s))) >> (15 - s);"""), "cuts the multiplier to 16 bits",
          where=without_clamp),
    fault("next channel's multiplier", "ecg", "conv2d",
          one(CALL, "requantize(acc, multiplier[(f + 1) % s->f], (int)shift[f])"), "multiplier of the next channel",
          quick=True),
    fault("previous channel's pair", "ecg", "conv2d",
          one(CALL, "requantize(acc, multiplier[(f + s->f - 1) % s->f], (int)shift[(f + s->f - 1) % s->f])"),
          "multiplier and shift of the previous channel"),
    fault("per tensor", "ecg", "conv2d", one(CALL, "requantize(acc, multiplier[0], (int)shift[0])"), "per tensor"),
    fault("shift one right", "ecg", "conv2d", one(CALL, "requantize(acc, multiplier[f], (int)shift[f] - 1)"),
          "one too far right"),
    fault("shift one left", "ecg", "conv2d", one(CALL, "requantize(acc, multiplier[f], (int)shift[f] + 1)"),
          "one too far left"),
    fault("no shift", "ecg", "conv2d", one(CALL, "requantize(acc, multiplier[f], 0)"), "leaves out the shift"),
    fault("shift the wrong way", "ecg", "conv2d", one(CALL, "requantize(acc, multiplier[f], -(int)shift[f])"),
          "shifts the wrong way"),
    fault("product of 32 bits", "ecg", "conv2d",
          one("return (a * b + (INT64_C(1) << 30)) >> 31;",
              "return ((int64_t)(int32_t)(uint32_t)(a * b + (INT64_C(1) << 30))) >> 31;"), "32 bits"),
    # The accumulator.
    fault("16 bits that wrap", "ecg", "conv2d", one(CALL, "requantize((int16_t)acc, multiplier[f], (int)shift[f])"),
          "accumulator of 16 bits that wraps", where=shifted, quick=True),
    fault("16 bits that saturate", "ecg", "conv2d",
          one(CALL, "requantize(acc > 32767 ? 32767 : acc < -32768 ? -32768 : acc, multiplier[f], (int)shift[f])"),
          "accumulator of 16 bits that saturates", where=without_clamp),
    fault("saturates step by step", "ecg", "conv2d",
          one(ACC, ACC + " if (acc > 32767) acc = 32767; if (acc < -32768) acc = -32768;"), "16 bits that saturates",
          where=shifted),
    # Zero points and what lies outside.
    fault("no input zero point", "ecg", "conv2d", one(TERM, "from[c]"),
          "leaves out the input's zero point", where=shifted, quick=True),
    fault("input zero point twice", "ecg", "conv2d", one(TERM, "(from[c] + 2 * s->input_offset)"),
          "takes the input's zero point twice", where=shifted),
    fault("input zero point's sign", "ecg", "conv2d", one(TERM, "(from[c] - s->input_offset)"),
          "the input's zero point with the wrong sign", where=shifted),
    fault("no output zero point", "ecg", "conv2d", one(WHOLE, f"const int64_t whole = {CALL};"),
          "leaves out the output's zero point", where=without_clamp),
    fault("output zero point's sign", "ecg", "conv2d", one(WHOLE, f"const int64_t whole = {CALL} - s->output_offset;"),
          "the output's zero point with the wrong sign", where=without_clamp),
    fault("unsigned input", "ecg", "conv2d", one(TERM, "((uint8_t)from[c] + s->input_offset)"),
          "reads its input as unsigned", where=shifted),
    fault("pads with 0", "ecg", "depthwise_conv2d",
          one(OUTSIDE + "\n                        acc +=", OUTSIDE.replace(
              "continue;", "{ acc += s->input_offset * weights[(ky * s->kw + kx) * s->f + f]; continue; }")
              + "\n                        acc +="), "pads with 0 instead of the input's zero point",
          where=padded_from_the_end, quick=True),
    fault("pads with the border", "plane", "depthwise_conv2d",
          one(f"{TAP};\n                        {OUTSIDE}\n                        acc +=",
              TAP.replace("row", "row0").replace("column", "column0") + """;
              const int row = row0 < 0 ? 0 : row0 >= s->h ? s->h - 1 : row0,
                        column = column0 < 0 ? 0 : column0 >= s->w ? s->w - 1 : column0;
              acc +="""),
          "pads with the border's own values", where=padded),
    fault("pads with -128", "plane", "depthwise_conv2d",
          one(OUTSIDE + "\n                        acc +=", OUTSIDE.replace(
              "continue;", "{ acc += (s->input_offset - 128) * weights[(ky * s->kw + kx) * s->f + f]; continue; }")
              + "\n                        acc +="), "pads with -128 instead of the zero point", where=padded),
    # The bias.
    fault("no bias", "ecg", "conv2d", one("acc = bias[f];", "acc = 0;"), "leaves out the bias"),
    fault("bias twice", "ecg", "conv2d", one("acc = bias[f];", "acc = 2 * bias[f];"), "adds the bias twice"),
    fault("bias subtracted", "ecg", "conv2d", one("acc = bias[f];", "acc = -bias[f];"), "subtracts the bias"),
    fault("next channel's bias", "ecg", "conv2d", one("acc = bias[f];", "acc = bias[(f + 1) % s->f];"),
          "the bias of the next channel"),
    fault("one bias for all", "ecg", "conv2d", one("acc = bias[f];", "acc = bias[0];"), "the bias of channel 0"),
    fault("bias after the scale", "ecg", "conv2d",
          (("acc = bias[f];", "acc = 0;"), (WHOLE, f"const int64_t whole = {CALL} + bias[f] + s->output_offset;")),
          "adds the bias after the requantisation"),
    # Saturation and clamps.
    fault("output wraps", "ecg", "conv2d", one(CLAMP, "return (net_value)x;"), "does not saturate", where=without_clamp,
          quick=True),
    fault("no clamp", "ecg", "conv2d",
          one(STORE, "y[n] = clamp(whole, -128, 127);"), "leaves out the activation's clamp",
          where=clamped),
    fault("clamp before the zero point", "ecg", "conv2d", one(STORE, """
          y[n] = clamp(clamp(whole - s->output_offset, s->act_min, s->act_max) + s->output_offset, -128, 127);"""),
          "clamps before it adds the output's zero point", where=without_clamp),
    fault("ReLU at 0", "ecg", "conv2d", one(STORE, "y[n] = clamp(whole, 0, s->act_max);"), "clamps at 0 instead",
          where=clamped),
    fault("6 itself", "ecg", "conv2d", one(STORE, "y[n] = clamp(whole, s->act_min, 6);"), "clamps at 6 itself",
          where=clamped),
    fault("a ReLU too many", "ecg", "conv2d", one(STORE, "y[n] = clamp(whole, s->output_offset, s->act_max);"),
          "a ReLU that this layer does not have", where=without_clamp),
    # Where is what.
    fault("pads after exchanged", "plane", "depthwise_conv2d",
          one(TAP, TAP.replace("s->top", "(s->kh - 1 - s->top)").replace("s->left", "(s->kw - 1 - s->left)")),
          "exchanges the pads", where=uneven),
    fault("pads after alone", "ecg", "depthwise_conv2d", one(TAP, TAP.replace("s->left", "0")), "pads only after",
          where=padded_from_the_end),
    fault("mirrored", "ecg", "depthwise_conv2d",
          one("weights[(ky * s->kw + kx) * s->f + f]", "weights[(s->kh * s->kw - 1 - ky * s->kw - kx) * s->f + f]"),
          "mirrors its kernel", quick=True),
    fault("last tap", "ecg", "depthwise_conv2d",
          one("kx < s->kw", "kx < s->kw - 1"), "leaves out the last column of taps"),
    fault("channel 0 for all", "plane", "depthwise_conv2d", one(READ, "x[(row * s->w + column) * s->c]"),
          "reads channel 0"),
    fault("last channel", "ecg", "conv2d",
          one("c < s->c;", "c < s->c - 1;"), "leaves out the last channel of its input",
          where=shifted),
    fault("weights F KH KW C", "dilated", "conv2d",
          one("* with[c * s->f]", "* weights[((f * s->kh + ky) * s->kw + kx) * s->c + c]"),
          "OHWI", where=with_taps),
    fault("weights F C KH KW", "dilated", "conv2d",
          one("* with[c * s->f]", "* weights[((f * s->c + c) * s->kh + ky) * s->kw + kx]"),
          "OIHW", where=with_taps),
    fault("weights unsigned", "plane", "conv2d", one("* with[c * s->f]", "* (uint8_t)with[c * s->f]"),
          "weights as unsigned"),
    fault("writes channels first", "plane", "conv2d",
          one(STORE, "y[(f * s->oh + i) * s->ow + j] = clamp(whole, s->act_min, s->act_max);"),
          "writes its output as NCHW", quick=True),
    fault("reads channels first", "plane", "conv2d",
          one(TERM, "(x[(c * s->h + row) * s->w + column] + s->input_offset)"),
          "reads its input as NCHW"),
    fault("no dilation", "dilated", "conv2d", one(TAP, TAP.replace("* s->dy", "").replace("* s->dx", "")),
          "ignores the dilation", where=dilated, quick=True),
    fault("dilation one too many", "dilated", "conv2d",
          one(TAP, TAP.replace("s->dy", "(s->dy + 1)").replace("s->dx", "(s->dx + 1)")), "dilation", where=dilated),
    fault("tail of the channels", "plane", "conv2d",
          one(STORE, "y[n] = f < s->f / 4 * 4 ? clamp(whole, s->act_min, s->act_max) : 0;"),
          "channels beyond a multiple of 4", where=lambda node: len(node.arrays["bias"]) % 4),
    fault("last position", "ecg", "conv2d",
          one(STORE, "y[n] = j < s->ow - 1 ? clamp(whole, s->act_min, s->act_max) : 0;"),
          "last column"),
    # Add.
    fault("left shift 19", "ecg", "add", one("(INT64_C(1) << p->left_shift)", "(INT64_C(1) << 19)"), "by 19, not 20",
          quick=True),
    fault("left shift of int16", "plane", "add", one("(INT64_C(1) << p->left_shift)", "(INT64_C(1) << 15)"),
          "by 15, not 20"),
    fault("exchanged factors", "ecg", "add",
          ((SUM, SUM.replace("input1", "input2")),
           ("+ requantize(second, p->input2_multiplier, p->input2_shift);",
            "+ requantize(second, p->input1_multiplier, p->input1_shift);")),
          "exchanges multiplier, shift of its two inputs"),
    fault("plain sum", "ecg", "add", one(STORE.replace("s->", "p->"), "y[n] = clamp(a[n] + b[n], -128, 127);"),
          "adds the integers themselves"),
    fault("add without zero points", "ecg", "add", one("(a[n] + p->input1_offset)", "a[n]"),
          "leaves out the first input's zero point"),
    fault("difference", "ecg", "add",
          one("+ requantize(second,", "- requantize(second,"), "subtracts its second input"),
    fault("one input twice", "plane", "add", one("(b[n] + p->input2_offset)", "(a[n] + p->input1_offset)"),
          "adds its first input to itself"),
    fault("add floors", "ecg", "add", one(ROUND, "return x >> exponent;"), "truncates the right shift"),
    fault("add by profile D", "plane", "add", one(REQUANTIZE["S"], """
        { const int left = s > 0 ? s : 0, right = s > 0 ? 0 : -s;
          const int64_t h = (x * (INT64_C(1) << left) * m + (INT64_C(1) << 30)) >> 31, mask = (INT64_C(1) << right) - 1;
          return (h >> right) + ((h & mask) > (mask >> 1) + (h < 0)); }"""), "profile D"),
    fault("add wraps", "ecg", "add", one(CLAMP, "return (net_value)x;"), "does not saturate"),
    # Operators without a sum.
    fault("maximum with 0", "ecg", "max_pool2d", one("int32_t most = INT32_MIN;", "int32_t most = 0;"),
          "maximum that begins at 0", quick=True),
    fault("pool pads with 0", "ecg", "max_pool2d", one(POOL_OUTSIDE, POOL_OUTSIDE.replace(
        "continue;", "{ if (most < 0) most = 0; continue; }")), "pads with 0 and lets that take part"),
    fault("minimum", "plane", "max_pool2d",
          (("int32_t most = INT32_MIN;", "int32_t most = INT32_MAX;"), ("if (value > most)", "if (value < most)")),
          "minimum"),
    fault("pool not strided", "ecg", "max_pool2d", one(POOL_TAP, POOL_TAP.replace("i * s->sy", "i").replace(
        "j * s->sx", "j")), "ignores the stride"),
    fault("image repeated", "ecg", "upsample_nearest2d", one("i / fy * w + j / fx", "i % h * w + j % w"),
          "repeats the whole image"),
    fault("one late", "plane", "upsample_nearest2d",
          one("i / fy * w + j / fx", "(i ? (i - 1) / fy : 0) * w + (j ? (j - 1) / fx : 0)"), "one late"),
    fault("concat reversed", "ecg", "concat",
          one("y + n * channels + first", "y + n * channels + channels - first - c"),
          "in reverse order", quick=True),
    fault("concat by planes", "plane", "concat",
          one("memcpy(y + n * channels + first, x + n * c, (size_t)c * sizeof *y);",
              "for (int k = 0; k < c; k++) y[(first + k) * positions + n] = x[n * c + k];"), "as NCHW"),
    fault("table one late", "plane", "table", one("entries[x[n] + 128]", "entries[x[n] == -128 ? 255 : x[n] + 127]"),
          "takes the entry before"),
    fault("table by sign", "plane", "table", one("entries[x[n] + 128]", "entries[(uint8_t)x[n]]"), "entry at x"),
    fault("one slope", "plane", "leaky_relu",
          one("requantize(centred, p->negative_multiplier, p->negative_shift)",
              "requantize(centred, p->positive_multiplier, p->positive_shift)"), "positive factor for negative"),
    fault("slope is 0", "plane", "leaky_relu",
          one("requantize(centred, p->negative_multiplier, p->negative_shift)", "0"), "is a ReLU", quick=True),
    fault("norm without beta", "plane", "layer_norm", one("h * gamma[k] + beta[k]", "h * gamma[k]"), "leaves out beta"),
    fault("norm without gamma", "plane", "layer_norm", one("h * gamma[k]", "h * gamma[0]"), "gamma of position 0"),
    fault("norm without epsilon", "plane", "layer_norm", one("+ p->epsilon", "+ (p->epsilon > 0)"), "epsilon"),
    fault("norm floors", "plane", "layer_norm", one(ROUND, "return x >> exponent;"), "truncates"),
    # 16x8.
    fault("whole multiplier", "wide", "conv2d",
          one(REQUANTIZE["64"], "return (x * m + (INT64_C(1) << (total + 15))) >> (total + 16);"),
          "whole 32-bit multiplier by profile S", quick=True),
    fault("multiplier cut", "wide", "conv2d",
          one("(m + 0x8000) >> 16", "m >> 16"), "upper 16 bits without rounding it"),
    fault("16x8 floors", "wide", "conv2d",
          one(REQUANTIZE["64"], "return (x * reduced) >> total;"), "truncates (floor)"),
    fault("24 bits that wrap", "wide", "conv2d",
          one(CALL_64, CALL_64.replace("acc", "((int32_t)((uint32_t)acc << 8) >> 8)")), "24 bits that wraps",
          where=lambda node: node.arrays["weights"].shape[1] > 1),
    fault("16x8 per tensor", "wide", "conv2d", one(CALL_64, "requantize_64(acc, multiplier[0], (int)shift[0])"),
          "per tensor"),
    fault("16x8 without bias", "wide", "conv2d", one("acc = bias[f];", "acc = 0;"), "leaves out the bias"),
    fault("16x8 reads bytes", "wide", "conv2d", one(TERM, "((int8_t)from[c] + s->input_offset)"),
          "8 bits"),
    fault("left shift of int8", "wide", "add",
          one("(INT64_C(1) << p->left_shift)", "(INT64_C(1) << 14)"), "by 14, not 15"),
    fault("shared range", "wide", "rescale",
          one("requantize(x[n] + p->input_offset, p->multiplier, p->shift) + p->output_offset;", "x[n];"),
          "as if input and output shared one range"),
    fault("logits", "wide", "softmax16",
          one("y[k] = clamp((e * r + (INT64_C(1) << (right - 1))) >> right, 0, 32767);", "y[k] = x[k];"), "no softmax"),
    fault("no interpolation", "wide", "softmax16",
          one("return entries[index] + (((entries[index + 1] - entries[index]) * (x & 127) + 64) >> 7);",
              "return entries[index];"), "does not interpolate"),
    fault("softmax floors", "wide", "softmax16",
          one("(e * r + (INT64_C(1) << (right - 1))) >> right", "(e * r) >> right"),
          "truncates"),
]

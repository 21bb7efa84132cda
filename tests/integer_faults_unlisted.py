"""Faults of integer ports that no hypothesis is about: what finds them is a search of changes, of places, of memory.

They were thought up while that search was written; of 65 others, which were written by somebody who had not seen it,
40 had been named before it and 65 were after, its misses among them mended; of the 38 that followed, 33 at first sight.
"""

from integer_fault_list import ACC, WHOLE, fault, one, without_clamp
from integer_faults_further import undilated

FACTOR = "requantize(acc, multiplier[f], (int)shift[f])"
DEPTHWISE = "weights[(ky * s->kw + kx) * s->f + f]"
PRODUCT = "doubling_high(acc, multiplier[f])"
FROM = "const net_value *from = x + (row * s->w + column) * s->c;"

def shifted_right(node):
    return without_clamp(node) and (node.arrays["shift"] <= 0).all()


def odd_channels(node):
    return node.arrays["weights"].shape[2] % 2 == 1 < node.arrays["weights"].shape[2]


UNLISTED = [
    fault("rows of another pitch", "strides", "conv2d",
          ((FROM, FROM.replace("s->w", "s->h")),), "s->h + column) * s->c + c]", where=undilated),
    fault("middle rows of taps", "plane", "conv2d",
          (("for (int ky = 0; ky < s->kh; ky++)", "for (int ky = s->kh / 2; ky < s->kh / 2 + 1; ky++)"),),
          "the middle round alone", where=undilated),
    fault("bias by halves", "ecg", "conv2d", (("acc = bias[f];", "acc = bias[f / 2];"),), "bias[f // 2]"),
    fault("negative sums floor", "ecg", "conv2d",
          ((FACTOR, f"(acc >= 0 ? {FACTOR} : (acc * (int64_t)multiplier[f] >> (31 - shift[f])))"),),
          "where the sum is below 0 alone"),
    fault("a tile without bias", "strides", "conv2d", (("acc = bias[f];", "acc = i >= 4 && j >= 4 ? 0 : bias[f];"),),
          "leaves out the bias, where rows 4 to 5 of 6 and columns 4 to 8 of 9 meet alone", where=undilated),
    fault("tiles without halo", "strides", "conv2d",
          (("column < 0 || column >= s->w)", "column < 0 || column >= s->w || column / 4 != j / 4)"),),
          "tiles of 4 columns without what is beside them", where=undilated),
    fault("saturates at every step", "strides", "conv2d", (
        ("acc += (from[c] + s->input_offset) * with[c * s->f];",
         "{ acc += (from[c] + s->input_offset) * with[c * s->f]; "
         "acc = acc > 32767 ? 32767 : acc < -32768 ? -32768 : acc; }"),
    ), "saturates its accumulator at 16 bits", where=undilated),
    fault("rest of the output", "plane", "add", (
        ("y[n] = clamp(whole, p->act_min", "if (n % 5 != 4) y[n] = clamp(whole, p->act_min"),
    ), "does not write"),
    fault("last of a concat", "strides", "concat", (("(size_t)c * sizeof *y", "(size_t)(c - 1) * sizeof *y"),),
          "does not write channels 3, 7 of 8"),
    fault("gamma by channel", "norm", "layer_norm", (("h * gamma[k] + beta[k]", "h * gamma[c] + beta[c]"),),
          "gamma and beta at c, not at k"),
    fault("reciprocal without lines", "wide_softmax", "softmax16",
          (("look_up(reciprocal_table, clamp(leading - 98304, -32768, 32767))",
            "reciprocal_table[256 + (clamp(leading - 98304, -32768, 32767) >> 7)]"),), "without interpolation"),
    fault("channels in pairs", "ecg", "conv2d",
          one(ACC, ACC.replace("from[c]", "from[(c ^ 1) < s->c ? c ^ 1 : c]")),
          "the input channels are exchanged in pairs", where=odd_channels),
    fault("weights by channel", "ecg", "depthwise_conv2d",
          one(DEPTHWISE, "weights[((ky * s->kw + kx) * s->f + f) % (s->kh * s->kw) * s->f + "
              "((ky * s->kw + kx) * s->f + f) / (s->kh * s->kw)]"), "stored as C KW, one channel after the other"),
    fault("a multiplier mistyped", "ecg", "conv2d",
          one(FACTOR, FACTOR.replace("multiplier[f]", "multiplier[f] - (f == 1 ? 300000000 : 0)")),
          "channel 1: another multiplier (", where=without_clamp),
    fault("offset before the shift", "ecg", "conv2d",
          one(WHOLE, f"const int64_t whole = rounding_shift({PRODUCT} + s->output_offset, -(int)shift[f]);"),
          "adds the output's zero point before the right shift", where=shifted_right),
    fault("bias after", "ecg", "conv2d",
          (("acc = bias[f];", "acc = 0;"), (WHOLE, WHOLE.replace(" + s->", " + (bias[f] >> 7) + s->"))),
          "adds the bias after the requantisation, at a wrong scale: shifted right by 7"),
    fault("product saturates", "ecg", "conv2d",
          one(FACTOR, f"rounding_shift({PRODUCT} > 511 ? 511 : {PRODUCT}, -(int)shift[f])"),
          "its product is cut off above 511 alone", where=shifted_right),
    fault("add less precise", "ecg", "add", (
        ("(INT64_C(1) << p->left_shift)", "(INT64_C(1) << 8)"), ("p->output_shift)", "p->output_shift + 12)"),
    ), "shifts its inputs left by 8, not 20"),
    fault("exponential cut", "probable", "softmax",
          one("rounding_shift(doubling_high(rounding_shift(x4, 2) + x3, 715827883) + x2, 1)", "rounding_shift(x2, 2)"),
          "in the exponential: a polynomial that is cut"),
]

"""Faults of integer ports that no hypothesis is about: what finds them is a search of changes, of places, of memory.

They were thought up while that search was written; of 65 others, which were written by somebody who had not seen it,
40 had been named before it and 65 were after, its misses among them mended; of the 38 that followed, 33 at first sight.
"""

from integer_fault_list import fault
from integer_faults_further import undilated

FACTOR = "requantize(acc, multiplier[f], (int)shift[f])"
FROM = "const net_value *from = x + (row * s->w + column) * s->c;"

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
]

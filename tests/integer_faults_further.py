"""Further faults of integer ports, in other networks, thought up after the first list and before its hypotheses grew.

When they were first put to the diagnosis it named the layer of all but one and the cause of 40 of 71, those that the
first list has too among them.
"""

from integer_fault_list import fault

FURTHER_NETWORKS = {
    "pair": ("d2_dilation_pair", "int8", "D"), "mixed": ("d1_skip_mixed", "int16x8", "D"),
    "strides": ("d2_strides_mixed", "int8", "S"), "probable": ("d1_softmax", "int8", "D"),
    "norm": ("d1_layer_norm", "int8", "D"), "wide_softmax": ("d2_softmax", "int16x8", "D"),
}


def wide(node):
    return max(node.arrays["weights"].shape[:2]) > 1


def undilated(node):
    return wide(node) and node.attrs["dilation"] == (1, 1)


def clamped_below(node):
    return node.attrs["act_min"] > -128


def shifts_differ(node):
    return len(set(node.arrays["shift"].tolist())) > 1


def uneven_at_half(node):
    return any(before != (size - 1) // 2 for (before, _), size in zip(node.attrs["pads"], node.attrs["window"],
                                                                      strict=True))


def square_kernel(node):
    height, width = node.arrays["weights"].shape[:2]
    return height == width > 1


def many_channels(node):
    return min(node.arrays["weights"].shape[2:]) > 1


def open_above(node):
    return node.attrs["act_max"] == 127


def large_bias(node):
    return abs(node.arrays["bias"]).max() > 32767


def uneven_factor(node):
    return node.attrs["factor"][0] != node.attrs["factor"][1]


FURTHER = [
    fault("wraps around", "strides", "conv2d", (
        ("const int row = i",
         "int row = i"),
        (", column = j * s->sx + kx * s->dx - s->left;\n"
         "                        if (row < 0 || row >= s->h || column < 0 || column >= s->w"
         ")\n"
         "                            continue;\n"
         "                        const net_value *from",
         ", column = j * s->sx + kx * s->dx - s->left;\n"
         "                        row = (row + s->h) % s->h; column = (column + s->w) % s->w"
         ";\n"
         "                        const net_value *from"),
    ), "pads with what stands at the other end (circular)", where=undilated),
    fault("column bound late", "pair", "conv2d", (
        ("column < 0 || column >= s->w",
         "column < 0 || (column >= s->w && row * s->w + column >= s->h * s->w) || column > s"
         "->w"),
    ), "reads on into the row beside, one column right of the image", where=wide),
    fault("left bound ignored", "strides", "conv2d", (
        ("row >= s->h || column < 0 || column >= s->w",
         "row >= s->h || row * s->w + column < 0 || column >= s->w"),
    ), "reads on into the row beside, left of the image", where=undilated),
    fault("zero skipped", "strides", "conv2d", (
        ("acc += (from[c] + s->input_offset) * with[c * s->f];",
         "if (from[c] != 0) acc += (from[c] + s->input_offset) * with[c * s->f];"),
    ), "skips inputs that are stored as 0, as if they meant 0", where=wide),
    fault("offset before scale", "pair", "conv2d", (
        ("requantize(acc, multiplier[f], (int)shift[f]) + s->output_offset",
         "requantize(acc + s->output_offset, multiplier[f], (int)shift[f])"),
    ), "adds the output's zero point before the requantisation"),
    fault("bias 16", "pair", "conv2d", (
        ("int32_t acc = bias[f];",
         "int32_t acc = (int16_t)bias[f];"),
    ), "cuts the bias to 16 bits"),
    fault("multiplier 16", "pair", "conv2d", (
        ("requantize(acc, multiplier[f], (int)shift[f])",
         "requantize(acc, multiplier[f] & ~0xFFFF, (int)shift[f])"),
    ), "takes the upper 16 bits of its multiplier, and 0 below"),
    fault("shift before", "pair", "conv2d", (
        ("requantize(acc, multiplier[f], (int)shift[f])",
         "doubling_high(shift[f] < 0 ? rounding_shift(acc, -shift[f]) : (int64_t)acc << shif"
         "t[f], multiplier[f])"),
    ), "shifts right before it multiplies, not after"),
    fault("float scale", "strides", "conv2d", (
        ("requantize(acc, multiplier[f], (int)shift[f])",
         "(int64_t)({ float v = (float)acc * ((float)multiplier[f] / (float)(INT64_C(1) << ("
         "31 - shift[f]))) + 0.5f; int64_t w = (int64_t)v; w - (w > v); })"),
    ), "requantises in float32, by adding a half and flooring"),
    fault("first shift", "pair", "conv2d", (
        ("requantize(acc, multiplier[f], (int)shift[f])",
         "requantize(acc, multiplier[f], (int)shift[0])"),
    ), "gives every channel the shift of channel 0", where=shifts_differ),
    fault("only upper", "pair", "conv2d", (
        ("y[n] = clamp(whole, s->act_min, s->act_max);",
         "y[n] = clamp(whole, -128, s->act_max);"),
    ), "leaves out the activation's clamp", where=clamped_below),
    fault("channels of four only", "strides", "conv2d", (
        ("for (int c = 0; c < s->c; c++)\n"
         "                            acc",
         "for (int c = 0; c < s->c / 4 * 4; c++)\n"
         "                            acc"),
    ), "leaves out the last channel of its input"),
    fault("phase", "strides", "max_pool2d", (
        ("i * s->sy + ky - s->top, column = j * s->sx + kx - s->left",
         "i * s->sy + ky - (s->kh - 1) / 2, column = j * s->sx + kx - (s->kw - 1) / 2"),
    ), "pads by half the kernel on either side, as stride 1 would", where=uneven_at_half),
    fault("odd positions stale", "pair", "conv2d", (
        ("for (int j = 0; j < s->ow; j++)\n"
         "            for (int f = 0; f < s->f; f++) {\n"
         "                int32_t acc",
         "for (int j = 0; j < s->ow / 2 * 2; j++)\n"
         "            for (int f = 0; f < s->f; f++) {\n"
         "                int32_t acc"),
    ), "does not write column 6 of 7"),
    fault("bias 32", "mixed", "conv2d", (
        ("int64_t acc = bias[f];",
         "int64_t acc = (int8_t)bias[f];"),
    ), "cuts the bias to 8 bits"),
    fault("byte swapped", "mixed", "conv2d", (
        ("y[n] = clamp(whole, s->act_min, s->act_max);",
         "y[n] = (net_value)__builtin_bswap16((uint16_t)clamp(whole, s->act_min, s->act_max)"
         ");"),
    ), "writes the bytes of its output in the other order"),
    fault("eight bits", "mixed", "conv2d", (
        ("y[n] = clamp(whole, s->act_min, s->act_max);",
         "y[n] = (net_value)(clamp(whole, s->act_min, s->act_max) & ~0xFF);"),
    ), "keeps the upper 8 bits of its output, and 0 below"),
    fault("add one scale", "mixed", "add", (
        ("requantize(second, p->input2_multiplier, p->input2_shift)",
         "requantize(second, p->input1_multiplier, p->input1_shift)"),
    ), "takes its second input's multiplier, shift from the first"),
    fault("add offset kept", "strides", "add", (
        ("(b[n] + p->input2_offset)",
         "(b[n])"),
    ), "leaves out the second input's zero point"),
    fault("add clamped first", "pair", "add", (
        ("const int64_t whole = requantize(acc, p->output_multiplier, p->output_shift) + p->"
         "output_offset;",
         "const int64_t whole = clamp(requantize(acc, p->output_multiplier, p->output_shift)"
         ", -128, 127) + p->output_offset;"),
    ), "clamps before it adds the output's zero point"),
    fault("add output shift", "strides", "add", (
        ("requantize(acc, p->output_multiplier, p->output_shift)",
         "requantize(acc, p->output_multiplier, p->output_shift + 1)"),
    ), "has output_shift one too far left (twice the value)"),
    fault("pool window short", "mixed", "max_pool2d", (
        ("for (int kx = 0; kx < s->kw; kx++) {\n"
         "                        const int row = i * s->sy + ky - s->top",
         "for (int kx = 0; kx < s->kw - 1; kx++) {\n"
         "                        const int row = i * s->sy + ky - s->top"),
    ), "leaves out the last column of its window"),
    fault("upsample zeros", "pair", "upsample_nearest2d", (
        ("memcpy(y + (i * w * fx + j) * c, x + (i / fy * w + j / fx) * c, (size_t)c * sizeof"
         " *y);",
         "if (i % fy || j % fx) memset(y + (i * w * fx + j) * c, 0, (size_t)c * sizeof *y); "
         "else memcpy(y + (i * w * fx + j) * c, x + (i / fy * w + j / fx) * c, (size_t)c * s"
         "izeof *y);"),
    ), "sets 0 between the positions instead of repeating them"),
    fault("concat interleaved", "pair", "concat", (
        ("memcpy(y + n * channels + first, x + n * c, (size_t)c * sizeof *y);",
         "for (int k = 0; k < c; k++) y[n * channels + (2 * c == channels ? 2 * k + (first >"
         " 0) : first + c - 1 - k)] = x[n * c + k];"),
    ), "interleaves the channels of its inputs"),
    fault("concat planes", "strides", "concat", (
        ("memcpy(y + n * channels + first, x + n * c, (size_t)c * sizeof *y);",
         "memcpy(y + first * positions + n * c, x + n * c, (size_t)c * sizeof *y);"),
    ), "writes its inputs one behind the other in memory, not side by side"),
    fault("softmax no newton", "probable", "softmax", (
        ("for (int k = 0; k < 3; k++)\n"
         "        x +=",
         "for (int k = 0; k < 1; k++)\n"
         "        x +="),
    ), "takes one Newton step for its reciprocal, not three"),
    fault("softmax sum short", "probable", "softmax", (
        ("for (int k = 0; k < classes; k++)\n"
         "            if (x[k]",
         "for (int k = 0; k < classes - 1; k++)\n"
         "            if (x[k]"),
    ), "leaves the last class out of its sum"),
    fault("softmax hot", "probable", "softmax", (
        ("y[k] = clamp(rounding_shift(doubling_high(reciprocal, e), 35 - headroom) - 128, -1"
         "28, 127);",
         "y[k] = clamp(rounding_shift(doubling_high(reciprocal, e), 35 - headroom), -128, 12"
         "7);"),
    ), "leaves out the output's zero point"),
    fault("softmax scale", "probable", "softmax", (
        ("doubling_high(d, multiplier)",
         "doubling_high(d * 2, multiplier)"),
    ), "takes its logits on twice their scale"),
    fault("one channel late", "strides", "conv2d", (
        ("const int n = (i * s->ow + j) * s->f + f;",
         "const int n = (i * s->ow + j) * s->f + (f + 1) % s->f;"),
    ), "has its output in another order: its channels stand 1 later, around"),
    fault("kernel transposed", "pair", "conv2d", (
        ("weights + (ky * s->kw + kx) * s->c * s->f + f",
         "weights + (kx * s->kh + ky) * s->c * s->f + f"),
    ), "reads its weights, KH KW C F, as KW KH C F", where=square_kernel),
    fault("weights C F exchanged", "strides", "conv2d", (
        ("const int8_t *with = weights + (ky * s->kw + kx) * s->c * s->f + f;",
         "const int8_t *with = weights + (ky * s->kw + kx) * s->c * s->f + f * s->c;"),
        ("acc += (from[c] + s->input_offset) * with[c * s->f];",
         "acc += (from[c] + s->input_offset) * with[c];"),
    ), "reads its weights, KH KW C F, as KH KW F C", where=many_channels),
    fault("act max 126", "pair", "conv2d", (
        ("y[n] = clamp(whole, s->act_min, s->act_max);",
         "y[n] = clamp(whole, s->act_min, s->act_max - 1);"),
    ), "the upper limit less 1", where=open_above),
    fault("bias unsigned", "mixed", "conv2d", (
        ("int64_t acc = bias[f];",
         "int64_t acc = (uint32_t)bias[f];"),
    ), "reads the bias as 32 bits without a sign"),
    fault("weights 7 bits", "strides", "conv2d", (
        ("acc += (from[c] + s->input_offset) * with[c * s->f];",
         "acc += (from[c] + s->input_offset) * (with[c * s->f] & ~1);"),
    ), "takes its weights without their lowest bit"),
    fault("weight 128", "pair", "conv2d", (
        ("acc += (from[c] + s->input_offset) * with[c * s->f];",
         "acc += (from[c] + s->input_offset) * (with[c * s->f] + 1);"),
    ), "takes its weights one more each"),
    fault("bias saturated", "pair", "conv2d", (
        ("int32_t acc = bias[f];",
         "int32_t acc = bias[f] > 32767 ? 32767 : bias[f] < -32768 ? -32768 : bias[f];"),
    ), "saturates the bias at 16 bits", where=large_bias),
    fault("add no left shift", "strides", "add", (
        ("(a[n] + p->input1_offset) * (INT64_C(1) << p->left_shift)",
         "(a[n] + p->input1_offset) * INT64_C(1)"),
        ("(b[n] + p->input2_offset) * (INT64_C(1) << p->left_shift)",
         "(b[n] + p->input2_offset) * INT64_C(1)"),
        ("requantize(acc, p->output_multiplier, p->output_shift)",
         "requantize(acc, p->output_multiplier, p->output_shift + p->left_shift)"),
    ), "adds on its inputs' own steps, without the left shift that makes them"),
    fault("concat second absent", "pair", "concat", (
        ("memcpy(y + n * channels + first, x + n * c, (size_t)c * sizeof *y);",
         "if (first == 0) memcpy(y + n * channels + first, x + n * c, (size_t)c * sizeof *y)"
         "; else memset(y + n * channels + first, 0, (size_t)c * sizeof *y);"),
    ), "does not copy its input 1: 0 stands there"),
    fault("concat overlap", "strides", "concat", (
        ("memcpy(y + n * channels + first, x + n * c, (size_t)c * sizeof *y);",
         "{ memcpy(y + n * channels + (first ? first - 1 : 0), x + n * c, (size_t)c * sizeof"
         " *y); if (first && n == positions - 1) y[n * channels + channels - 1] = 0; }"),
    ), "has its input 1 at channel 3, not at channel 4"),
    fault("norm axes", "norm", "layer_norm", (
        ("const int64_t d = (int64_t)p->positions * x[n] - total;",
         "const int64_t d = (int64_t)p->positions * (x[n] - total / p->positions);"),
    ), "takes a mean that is cut towards zero to a whole number"),
    fault("norm unbiased", "norm", "layer_norm", (
        ("const int64_t v = p->positions * squares - total * total + p->epsilon;",
         "const int64_t v = (p->positions * squares - total * total) / (p->positions - 1) * "
         "p->positions + p->epsilon;"),
    ), "takes the variance by n - 1, not n"),
    fault("norm gamma next", "norm", "layer_norm", (
        ("h * gamma[k] + beta[k]",
         "h * gamma[(k + 1) % p->positions] + beta[k]"),
    ), "takes gamma of the position after"),
    fault("norm fraction", "norm", "layer_norm", (
        ("rounding_shift(d * r, 61 - j - p->fraction_bits)",
         "(rounding_shift(d * r, 61 - j - p->fraction_bits + 8) * 256)"),
    ), "has 8 fraction bits in its normalised value, not 16"),
    fault("softmax16 sum", "wide_softmax", "softmax16", (
        ("for (int k = 0; k < classes; k++)\n"
         "            total += exp_16",
         "for (int k = 0; k < classes - 1; k++)\n"
         "            total += exp_16"),
    ), "leaves the last class out of its sum"),
    fault("upsample axes", "strides", "upsample_nearest2d", (
        ("(i / fy * w + j / fx)",
         "(i / fx % h * w + j / fy % w)"),
    ), "exchanges its factors of rows and columns, and begins anew at the end", where=uneven_factor),
]

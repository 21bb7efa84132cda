"""Sixty-four further faults, of four further networks; see causes_faults.

Each was written down with its truth before it was run, and before the list of hypotheses was read.
"""

from __future__ import annotations

import numpy as np
from causes_faults import (
    ADD,
    BETTER,
    BIAS,
    CAT_A,
    CAT_B,
    DENSE,
    DENSE_W,
    DENSE_X,
    DEPTH,
    ELU,
    HIGH6,
    ROW,
    SKIP_COLUMN,
    SKIP_ROW,
    UP,
    Fault,
)

VALUE = "const float value = x[(row * s->w + column) * s->c + f / per_channel];"
FURTHER: dict[str, Fault] = {}


def edit(network, name, told, change):
    assert name not in FURTHER, name
    FURTHER[name] = Fault(network, told, change)


def spoil(network, name, told, layer, change):
    assert name not in FURTHER, name
    FURTHER[name] = Fault(network, told, None, layer, change)


# --- geometry of convolutions ------------------------------------------------------------------------------------
edit("uneven", "output begins one column late", "pads", lambda p: p.numbers("ENC3_D1_conv", left=0))
edit("uneven", "all padding before, none behind", "pads", lambda p: p.numbers("ENC1_D2_conv", top=1, left=5))
edit("uneven", "kernel of even size centred on the upper half", "pads", lambda p: p.numbers("DEC1_D4_conv", top=3))
edit("mixed", "pads of half the kernel, dilation forgotten", "pads",
     lambda p: p.numbers("ENC2_D2_conv", top=1, left=1))
edit("mixed", "dilation of the block before", "dilation",
     lambda p: p.numbers("ENC2_D2_conv", dy=2, dx=2, top=2, left=2))
edit("mixed", "dilation one more on each axis, centred", "dilation",
     lambda p: p.numbers("ENC1_D2_conv", dy=3, dx=3, top=3, left=3))
edit("sensor", "signal goes on where it began", "border", lambda p: p.swap(SKIP_COLUMN, "").swap(
    VALUE, VALUE.replace("column)", "(column + s->w) % s->w)")))
edit("mixed", "edge mirrored with the edge itself", "border", lambda p: p.swap(SKIP_ROW, "").swap(SKIP_COLUMN, "").swap(
    DENSE_X, "const int r = row < 0 ? -1 - row : row >= s->h ? 2 * s->h - 1 - row : row;"
             "const int k = column < 0 ? -1 - column : column >= s->w ? 2 * s->w - 1 - column : column;"
             "const float *px = x + (r * s->w + k) * s->c;"))
edit("planes", "padding with a half", "border", lambda p: p.swap(SKIP_ROW, "").swap(SKIP_COLUMN, "").swap(
    DENSE_X, "float pad[64]; for (int q = 0; q < 64; q++) pad[q] = -0.5f;"
             "const float *px = row < 0 || row >= s->h || column < 0 || column >= s->w ? pad : "
             "x + (row * s->w + column) * s->c;"))
edit("mixed", "outputs that would need padding stay zero", "valid only", lambda p: p.swap(
    "*y++ = acc;", "{ const int t = i * s->sy - s->top, l = j * s->sx - s->left; *y++ = t < 0 || l < 0 || "
    "t + (s->kh - 1) * s->dy >= s->h || l + (s->kw - 1) * s->dx >= s->w ? 0.0f : acc; }"))

# --- weights ------------------------------------------------------------------------------------------------------
edit("uneven", "columns of the kernel mirrored", "kernel flipped", lambda p: p.swap(
    DENSE_W, DENSE_W.replace("kw + kx)", "kw + s->kw - 1 - kx)")))
edit("planes", "two input channels exchanged in the weights", "weights permuted", lambda p: p.kernel(
    "ENC2_D1_conv", lambda w: w[:, :, [0, 2, 1, *range(3, w.shape[2])]]))
edit("mixed", "two filters exchanged", "filters permuted", lambda p: p.kernel(
    "ENC2_D1_conv", lambda w: w[..., [0, 1, 4, 3, 2, *range(5, w.shape[3])]]))
edit("planes", "filters in reverse", "filters permuted", lambda p: p.kernel("ENC1_D1_conv", lambda w: w[..., ::-1]))
edit("sensor", "filters packed in fours, read one by one", "weight layout", lambda p: p.kernel(
    "ENC2_D1_conv", lambda w: w.reshape(w.shape[2], 4, -1).transpose(1, 0, 2).reshape(w.shape), "pointwise_kernel"))
edit("mixed", "weights of twice the size", "weights scaled", lambda p: p.kernel("DEC2_D1_conv", lambda w: 2 * w))
edit("uneven", "weights without their signs", "weights without signs", lambda p: p.kernel("ENC3_D1_conv", abs))
edit("sensor", "small weights pruned", "weights pruned", lambda p: p.kernel(
    "DEC1_D3_conv", lambda w: np.where(abs(w) < 0.05, 0, w), "pointwise_kernel"))
edit("planes", "weights in bfloat16, cut", "weights rounded", lambda p: p.kernel(
    "ENC3_D1_conv", lambda w: (w.view("u4") & 0xFFFF0000).view("f4")))
edit("uneven", "weights in Q1.6", "weights quantised", lambda p: p.kernel(
    "ENC2_D1_conv", lambda w: np.clip(np.rint(w * 64), -128, 127) / 64))
edit("mixed", "weights in int4 for each filter", "weights quantised", lambda p: p.kernel(
    "DEC3_D1_conv", lambda w: np.rint(w * (7 / abs(w).max((0, 1, 2)))) * (abs(w).max((0, 1, 2)) / 7)))
edit("sensor", "an exponent bit of a weight flipped", "weights damaged", lambda p: p.kernel(
    "ENC2_D2_conv", lambda w: np.where(np.arange(w.size).reshape(w.shape) == 31, w * 4, w), "depthwise_kernel"))
edit("planes", "a row of the kernel is zero", "weights damaged", lambda p: p.kernel(
    "DEC2_D1_conv", lambda w: w * (np.arange(w.shape[0]) > 0)[:, None, None, None]))
edit("sensor", "depthwise filter of the neighbour", "depthwise channels", lambda p: p.kernel(
    "ENC1_D2_conv", lambda w: np.roll(w, 1, 2), "depthwise_kernel"))
edit("mixed", "two groups: each half of the filters reads half of the channels", "grouped", lambda p: p.swap(
    DENSE, "if (s->kh == 1 || s->c < 4 || (c < s->c / 2) == (f < s->f / 2)) " + DENSE))

# --- accumulation -------------------------------------------------------------------------------------------------
edit("planes", "accumulator saturates at four", "accumulator clamped", lambda p: p.swap(
    DENSE, DENSE + " acc = acc > 4.0f ? 4.0f : acc < -4.0f ? -4.0f : acc;"))
edit("uneven", "accumulator in Q15.16", "accumulator precision", lambda p: p.swap(
    DENSE, "acc = (float)(rint(((double)acc + (double)px[c] * pw[c * s->f]) * 65536) / 65536);"))
edit("sensor", "products rounded to half", "products rounded", lambda p: p.swap(
    DENSE, "acc = acc + to_half(px[c] * pw[c * s->f]);"))
edit("mixed", "inputs in bfloat16", "inputs rounded", lambda p: p.swap(
    DENSE, "acc = multiply_add(to_bf16(px[c]), pw[c * s->f], acc);"))
edit("sensor", "inputs in int8 with a scale of 1/16", "inputs rounded", lambda p: p.swap(
    DEPTH, DEPTH.replace("value,", "to_q(value, 8, 4),")))
edit("uneven", "inputs and weights with ten bits of mantissa", "inputs and weights rounded", lambda p: p.swap(
    "static float to_half", "static float tf32(float v) { uint32_t u; memcpy(&u, &v, 4); u = (u + 0xfffu + "
    "(u >> 13 & 1u)) & 0xffffe000u; memcpy(&v, &u, 4); return v; }\nstatic float to_half").swap(
    DENSE, "acc = multiply_add(tf32(px[c]), tf32(pw[c * s->f]), acc);"))
edit("uneven", "a sum for each row of the kernel", "order", lambda p: p.swap(
    "const int row = i * s->sy + " + ROW, "float part = 0.0f; const int row = i * s->sy + " + ROW).swap(
    DENSE, "part = multiply_add(px[c], pw[c * s->f], part);").swap(
    "                    }\n                }\n                *y++ = acc;",
    "                    } acc = acc + part;\n                }\n                *y++ = acc;"))
edit("planes", "even and odd channels summed apart", "order", lambda p: p.swap(
    "float acc = 0.0f;", "float acc = 0.0f, two[2] = {0};").swap(
    DENSE, "two[c & 1] = multiply_add(px[c], pw[c * s->f], two[c & 1]);").swap(
    "*y++ = acc;", "*y++ = two[0] + two[1];"))
edit("sensor", "between depthwise and pointwise in half", "separable between", lambda p: p.swap(
    "*y++ = acc;", "*y++ = to_half(acc);"))

# --- bias ---------------------------------------------------------------------------------------------------------
edit("sensor", "bias of odd channels left out", "bias", lambda p: p.swap(
    BIAS, BIAS.replace("b[c]", "(c & 1 ? 0.0f : b[c])")))
edit("mixed", "bias read one float late", "bias", lambda p: p.array(
    "ENC3_skip_bias", lambda b: np.concatenate([b[1:], [0]])))
edit("planes", "bias in int8", "bias", lambda p: p.array(
    "NECK_conv_bias", lambda b: np.rint(b * (127 / abs(b).max())) * (abs(b).max() / 127)))
edit("mixed", "bias a thousand times too small", "bias", lambda p: p.swap(BIAS, BIAS.replace("b[c]", "0.001f * b[c]")))

# --- batch norm ---------------------------------------------------------------------------------------------------
edit("uneven", "batch norm: statistics of this very input", "batch statistics",
     lambda p: of_this_input(p, "ENC2_D1.bn"))
edit("uneven", "batch norm: times the deviation", "bn variance", lambda p: p.batch_norm(
    "ENC1_D1.bn", lambda g, b, m, v, e: (g * np.sqrt(v + e), b - m * g * np.sqrt(v + e))))
edit("uneven", "batch norm: shift before the scale", "bn shift first", lambda p: p.batch_norm(
    "DEC1_D4.bn", lambda g, b, m, v, e: (g / np.sqrt(v + e), (b - m) * g / np.sqrt(v + e))))
edit("uneven", "batch norm: quick reciprocal root", "bn variance", lambda p: p.batch_norm(
    "ENC3_D1.bn", lambda g, b, m, v, e: (quick(v + e) * g, b - m * quick(v + e) * g)))
edit("uneven", "batch norm: scales in half", "bn precision", lambda p: p.batch_norm(
    "DEC2_D1.bn", lambda g, b, m, v, e: half(g / np.sqrt(v + e), b - m * g / np.sqrt(v + e))))


def of_this_input(p, name):
    """Batch norm as while training: mean and variance of what it reads."""
    height, width, channels = p.layers[p.number(name)]["shape"]
    gamma, beta = (", ".join(map(repr, p.values[f"{name}/{key}"].tolist())) for key in ("gamma", "beta"))
    p.inside(name, "scale_shift(in[0], ENC2_D1_bn_scale, ENC2_D1_bn_shift", f"""
    static const double gamma[] = {{{gamma}}}, beta[] = {{{beta}}};
    static float scale[{channels}], shift[{channels}];
    for (int c = 0; c < {channels}; c++) {{
        double mean = 0.0, variance = 0.0;
        for (int n = 0; n < {height * width}; n++) mean += in[0][n * {channels} + c] / {height * width}.0;
        for (int n = 0; n < {height * width}; n++) {{ const double off = in[0][n * {channels} + c] - mean;
            variance += off * off / {height * width}.0; }}
        scale[c] = (float)(gamma[c] / sqrt(variance + 1e-3)); shift[c] = (float)(beta[c] - mean * scale[c]);
    }}
    scale_shift(in[0], scale, shift""")


def quick(v):
    """The reciprocal square root by its famous bits and one step of Newton's."""
    y = (0x5F3759DF - (np.asarray(v, "f4").view("i4") >> 1)).astype("i4").view("f4")
    return (y * (np.float32(1.5) - np.float32(0.5) * v.astype("f4") * y * y)).astype("f4")


def half(*arrays):
    return [a.astype("f2").astype("f4") for a in arrays]


# --- layer norm ---------------------------------------------------------------------------------------------------
edit("planes", "layer norm: only the root of the mean square", "ln mean", lambda p: p.swap(
    "const double mean = sum / positions;", "const double mean = 0.0;"))
edit("planes", "layer norm: all channels together", "ln axes", lambda p: p.swap(
    "        double sum = 0.0, squares = 0.0;\n        for (int p = 0; p < positions; p++)\n"
    "            sum = sum + (double)x[p * channels + c];\n        const double mean = sum / positions;\n"
    "        for (int p = 0; p < positions; p++) {\n"
    "            const double off = (double)x[p * channels + c] - mean;",
    "        double sum = 0.0, squares = 0.0;\n        for (int p = 0; p < positions * channels; p++)\n"
    "            sum = sum + (double)x[p];\n        const double mean = sum / (positions * channels);\n"
    "        for (int p = 0; p < positions * channels; p++) {\n"
    "            const double off = (double)x[p] - mean;").swap(
    "squares / positions", "squares / (positions * channels)"))
edit("planes", "layer norm: variance in one pass of floats", "ln precision", lambda p: p.swap(
    "double sum = 0.0, squares = 0.0;", "float sum = 0.0f, squares = 0.0f;").swap(
    "const double off = (double)x[p * channels + c] - mean;", "const float off = x[p * channels + c];").swap(
    "const double square", "const float square").swap(
    "squares / positions;", "(double)squares / positions - mean * mean;"))
edit("planes", "layer norm: eps beside the root", "ln eps", lambda p: p.swap(
    "1.0 / sqrt(variance + eps)", "1.0 / (sqrt(variance) + eps)"))
edit("planes", "layer norm: gamma is read as one and gamma", "ln gamma", lambda p: p.swap(
    "inv * gamma[p]", "inv * (1.0f + gamma[p])"))
edit("planes", "layer norm: parameters of the channel", "ln layout", lambda p: p.swap(
    "inv * gamma[p]", "inv * gamma[c]").swap("product + beta[p]", "product + beta[c]"))

# --- activations --------------------------------------------------------------------------------------------------
edit("sensor", "relu6 clamps at eight", "activation", lambda p: p.swap(HIGH6, HIGH6.replace("6.0f", "8.0f")))
edit("uneven", "elu with an alpha of a half", "activation", lambda p: p.swap(
    ELU, ELU.replace("? x[n] : ", "? x[n] : 0.5f * ")))
edit("planes", "selu: scale and alpha exchanged", "activation", lambda p: p.swap(
    "0x1.0cfabep+0f * x[n] : 0x1.c212ccp+0f", "0x1.ac5d6p+0f * x[n] : 0x1.c212ccp+0f"))
edit("uneven", "elu by the quick exponential of bits", "exp", lambda p: p.swap(ELU, (
    "if (x[n] > 0.0f) y[n] = x[n]; else { int32_t u = (int32_t)(12102203.0f * x[n] + 1064866805.0f); float e; "
    "memcpy(&e, &u, 4); y[n] = (x[n] < -80.0f ? 0.0f : e) - 1.0f; }")))

# --- pooling, upsampling, joins, softmax --------------------------------------------------------------------------
edit("mixed", "pool takes the first of a window", "pool", lambda p: p.swap(BETTER, "if (best == -INFINITY)"))
edit("sensor", "pool windows begin at the edge, none is padded", "pool", lambda p: p.numbers("ENC1_pool", left=0))
edit("sensor", "upsampling holds one sample too long", "upsampling", lambda p: p.swap(
    UP, UP.replace("j / fx)", "(j > 0 ? j - 1 : 0) / fx)")))
edit("uneven", "concat mixes channels one by one", "concat", lambda p: p.swap(
    f"for (int c = 0; c < from_a; c++)\n            {CAT_A}\n        for (int c = 0; c < from_b; c++)\n"
    f"            {CAT_B}",
    f"for (int c = 0; c < from_a || c < from_b; c++) {{ if (c < from_a) {CAT_A} if (c < from_b) {CAT_B} }}"))
edit("planes", "residual halved", "residual", lambda p: p.swap(ADD, "y[n] = 0.5f * (a[n] + b[n]);"))
edit("mixed", "softmax gives the winner alone", "softmax one-hot", lambda p: p.swap(
    "y[c] = y[c] / sum;", "y[c] = y[c] == 1.0f ? 1.0f : 0.0f;"))
edit("sensor", "softmax is a sigmoid", "softmax sigmoid", lambda p: p.swap(
    "y[c] = y[c] / sum;", "y[c] = 1.0f / (1.0f + exp32(-x[c]));"))

# --- memory, in the running port and in the dump -------------------------------------------------------------------
edit("uneven", "every second block of 32 floats is the input's", "foreign bytes", lambda p: p.after(
    "ENC2_D1_act", "for (int n = 0; n < size; n++) if (n / 32 % 2) y[n] = in[0][n];"))
edit("mixed", "a tile of rows and columns stays zero", "zero tile", lambda p: p.after(
    "ENC1_D1_act", "for (int n = 0; n < size; n++) { const int i = n / (24 * 6), j = n / 6 % 24; "
    "if (i >= 4 && i < 8 && j >= 8 && j < 16) y[n] = 0.0f; }"))
edit("planes", "the last row is copied from the one before", "foreign bytes", lambda p: p.after(
    "ENC1_add", "memcpy(y + size - size / 8, y + size - size / 4, size / 8 * 4);"))
edit("sensor", "activations kept with eight bits of mantissa", "storage", lambda p: p.after(
    "ENC2_D1_act", "for (int n = 0; n < size; n++) y[n] = cut_bf16(y[n]);"))
spoil("sensor", "dump in blocks of four channels", "channel blocks", "ENC1_D1_act",
      lambda x: x.reshape(len(x), -1, x.shape[3] // 4, 4).transpose(0, 2, 1, 3))
spoil("mixed", "dump turned by half a turn", "permuted", "ENC1_add", lambda x: x[:, ::-1, ::-1])
spoil("uneven", "dump with pairs of rows exchanged", "permuted", "ENC1_add",
      lambda x: x.reshape(len(x), -1, 2, *x.shape[2:])[:, :, ::-1])
spoil("planes", "dump printed with %.3e", "printed", "ENC2_add",
      lambda x: np.array([float(f"{v:.3e}") for v in x.ravel()]))
spoil("planes", "dump as int16 in 1/4096, cut", "storage", "DEC1_D1_act", lambda x: np.floor(x * 4096) / 4096)

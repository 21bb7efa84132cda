"""Forty more faults, of all eight networks, written down before they were run; see causes_further."""

from __future__ import annotations

import numpy as np
from causes_faults import ADD, BEST, BETTER, BIAS, CAT_B, COLUMN, DENSE, DENSE_X, DEPTH, ELU, HIGH6, UP
from causes_further import edit, spoil

LEAKY = "y[n] = x[n] > 0.0f ? x[n] : 0x1.99999ap-3f * x[n];"

# --- convolutions -------------------------------------------------------------------------------------------------
edit("uneven", "height and width of the kernel exchanged", "weight layout",
     lambda p: p.numbers("ENC1_D2_conv", kh=6, kw=2, top=2, left=0))
edit("planes", "the image read column by column", "input layout", lambda p: p.swap(
    DENSE_X, "const float *px = x + (column * s->h + row) * s->c;"))
edit("uneven", "negative inputs taken for zero", "inputs clipped", lambda p: p.swap(
    DENSE, DENSE.replace("px[c]", "(px[c] > 0.0f ? px[c] : 0.0f)")))
edit("sensor", "inputs clipped at one", "inputs clipped", lambda p: p.swap(
    DEPTH, DEPTH.replace("value,", "(value > 1.0f ? 1.0f : value < -1.0f ? -1.0f : value),")))
edit("mixed", "the last channel counted twice", "weights damaged", lambda p: p.kernel(
    "ENC2_skip", lambda w: np.concatenate([w[:, :, :-1], 2 * w[:, :, -1:]], 2)))
edit("mixed", "the first filter stands for the last two", "filters permuted", lambda p: p.kernel(
    "ENC2_D1_conv", lambda w: w[..., [*range(w.shape[3] - 2), 0, 0]]))
edit("uneven", "skip reads the pool's input as raw memory", "wrong tensor", lambda p: p.swap(
    "/* ENC1_add: add", "static float kept[1440];\n\n/* ENC1_add: add").after(
    "ENC1_add", "memcpy(kept, y, sizeof kept);").inside("ENC2_skip", "in[0]", "kept"))
edit("even", "bias in the sum and after it", "bias", lambda p: p.swap(BIAS, BIAS.replace("b[c]", "b[c] + b[c]")))
edit("sensor", "accumulator in Q7.8, cut", "accumulator precision", lambda p: p.swap(
    DENSE, "acc = (float)(floor(((double)acc + (double)px[c] * pw[c * s->f]) * 256) / 256);"))
edit("planes", "inputs and weights in bfloat16", "inputs and weights rounded", lambda p: p.swap(
    DENSE, "acc = multiply_add(to_bf16(px[c]), to_bf16(pw[c * s->f]), acc);"))
edit("dilated", "channels from the last to the first", "order", lambda p: p.swap(
    "for (int c = 0; c < s->c; c++)\n                            acc",
    "for (int c = s->c - 1; c >= 0; c--)\n                            acc"))
edit("even", "sum in long double", "order", lambda p: p.swap("float acc = 0.0f;", "long double acc = 0.0L;").swap(
    DENSE, "acc += (long double)px[c] * pw[c * s->f];").swap("*y++ = acc;", "*y++ = (float)acc;"))
edit("uneven", "columns one late where the row is odd", "odd rows", lambda p: p.swap(
    COLUMN, COLUMN.replace("- s->left", "- s->left + (i & 1)")))

# --- norms --------------------------------------------------------------------------------------------------------
edit("uneven", "batch norm: the root of the variance for the variance", "bn variance", lambda p: p.batch_norm(
    "ENC1_D2.bn", lambda g, b, m, v, e: (g / np.sqrt(np.sqrt(v) + e), b - m * g / np.sqrt(np.sqrt(v) + e))))
edit("uneven", "batch norm: eps of a tenth", "bn eps", lambda p: p.batch_norm(
    "ENC2_D1.bn", lambda g, b, m, v, e: (g / np.sqrt(v + 0.1), b - m * g / np.sqrt(v + 0.1))))
edit("uneven", "batch norm: mean left out in two channels", "bn mean", lambda p: p.batch_norm(
    "DEC3_D1.bn", lambda g, b, m, v, e: (
        g / np.sqrt(v + e), b - m * (np.arange(m.size) % 3 != 1) * g / np.sqrt(v + e))))
edit("uneven", "batch norm: mean of another layer", "bn mean", lambda p: p.batch_norm(
    "DEC3_D2.bn", lambda g, b, m, v, e: (
        g / np.sqrt(v + e), b - p.values["ENC1_D1.bn/moving_mean"] * g / np.sqrt(v + e))))
edit("planes", "layer norm: eps ten times as large", "ln eps", lambda p: p.swap(
    "variance + eps", "variance + 10 * eps"))
edit("planes", "layer norm: beta before gamma", "ln formula", lambda p: p.swap(
    "const float product = centred * scale;", "const float product = (centred * inv + beta[p]) * gamma[p];").swap(
    "product + beta[p]", "product"))
edit("layer", "layer norm: beta subtracted", "ln beta", lambda p: p.swap("product + beta[p]", "product - beta[p]"))
edit("layer", "layer norm: mean of the channel before", "ln mean other", lambda p: p.swap(
    "for (int c = 0; c < channels; c++) {\n        double sum",
    "float before = 0.0f;\n    for (int c = 0; c < channels; c++) {\n        double sum").swap(
    "const float middle = (float)mean,", "const float middle = before,").swap(
    "for (int p = 0; p < positions; p++) {\n            const float scale",
    "before = (float)mean;\n        for (int p = 0; p < positions; p++) {\n            const float scale"))

# --- activations, softmax -----------------------------------------------------------------------------------------
edit("dilated", "relu6 saturates a step below six", "activation", lambda p: p.swap(
    HIGH6, "y[n] = low > 5.9375f ? 5.9375f : low;"))
edit("layer", "leaky slope on both sides", "activation", lambda p: p.swap(LEAKY, "y[n] = 0x1.99999ap-3f * x[n];"))
edit("even", "elu from a table of 256, the nearest entry", "elu table", lambda p: p.swap(ELU, (
    "if (x[n] > 0.0f) y[n] = x[n]; else { int k = x[n] < -8.0f ? 0 : (int)rintf((x[n] + 8.0f) * 32.0f); "
    "y[n] = expm1_32(-8.0f + k * 0.03125f); }")))
edit("signal", "softmax's sum misses the last class", "softmax", lambda p: p.swap(
    "sum = sum + y[c];", "if (c < channels - 1) sum = sum + y[c];"))
edit("layer", "softmax at a temperature of three", "softmax", lambda p: p.swap(
    "exp32(x[c] - largest)", "exp32((x[c] - largest) / 3.0f)"))
edit("planes", "softmax in uint8", "storage", lambda p: p.after(
    "softmax", "for (int n = 0; n < size; n++) y[n] = rintf(y[n] * 255.0f) / 255.0f;"))

# --- pooling, upsampling, joins -----------------------------------------------------------------------------------
edit("mixed", "pool adds up", "pool", lambda p: p.swap(BEST, "float best = 0.0f;").swap(
    BETTER, "").swap("best = value;\n", "best += value;\n"))
edit("even", "pool begins with the tensor's first element", "pool start", lambda p: p.swap(BEST, "float best = x[0];"))
edit("uneven", "upsampling one row too early", "upsampling", lambda p: p.swap(
    UP, UP.replace("(i / fy)", "(i + 1 < h * fy ? (i + 1) / fy : h - 1)")))
edit("uneven", "concat takes the skip's channels from the last", "concat", lambda p: p.swap(
    CAT_B, CAT_B.replace("+ c]", "+ from_b - 1 - c]")))
edit("mixed", "residual saturates at two", "output clamped", lambda p: p.swap(
    ADD, "{ const float v = a[n] + b[n]; y[n] = v > 2.0f ? 2.0f : v < -2.0f ? -2.0f : v; }"))
edit("sensor", "the larger of both for the residual", "residual", lambda p: p.swap(
    ADD, "y[n] = a[n] > b[n] ? a[n] : b[n];"))

# --- memory and dumps ---------------------------------------------------------------------------------------------
edit("sensor", "every fourth line of the cache is the input's", "foreign bytes", lambda p: p.after(
    "ENC2_add", "for (int n = 0; n < size; n++) if (n / 16 % 4 == 2) y[n] = in[1][n];"))
edit("uneven", "odd elements in bfloat16", "storage", lambda p: p.after(
    "ENC1_D1_act", "for (int n = 1; n < size; n += 2) y[n] = cut_bf16(y[n]);"))
edit("mixed", "one bit of one float flipped", "bit flipped", lambda p: p.after(
    "DEC1_add", "{ uint32_t u; memcpy(&u, y + 77, 4); u ^= 1u << 29; memcpy(y + 77, &u, 4); }"))
edit("planes", "the last column was never written", "poison", lambda p: p.after(
    "ENC1_skip", "for (int n = 0; n < size; n++) if (n / 5 % 12 == 11) { uint32_t u = 0xcdcdcdcdu; "
    "memcpy(y + n, &u, 4); }"))
spoil("signal", "dump in int8 with a scale for each channel", "storage", "DEC3_add", lambda x: np.rint(
    x * (127 / abs(x).max((0, 1, 2)))) * (abs(x).max((0, 1, 2)) / 127))
spoil("uneven", "dump with its first row twice", "moved", "ENC2_add",
      lambda x: np.concatenate([x[:, :1], x[:, :-1]], 1))
spoil("mixed", "dump a tenth too small", "scaled", "ENC3_add", lambda x: x * np.float32(0.9))

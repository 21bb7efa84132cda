"""Fifty more faults, of kinds that are solved from the numbers rather than looked up in a list; see causes_further."""

from __future__ import annotations

import numpy as np
from causes_faults import (
    ADD,
    BEST,
    BETTER,
    BIAS,
    CAT_B,
    COLUMN,
    DENSE,
    DENSE_X,
    ELU,
    HIGH6,
    UP,
)
from causes_further import edit, spoil

LEAKY = "y[n] = x[n] > 0.0f ? x[n] : 0x1.99999ap-3f * x[n];"
SELU = "x[n] > 0.0f ? 0x1.0cfabep+0f * x[n] : 0x1.c212ccp+0f * expm1_32(x[n])"
POOL_COLUMN = "const int column = j * s->sx + kx - s->left;"
KX = "for (int kx = 0; kx < s->kw; kx++) {"
POOLED = "const float value = x[(row * s->w + column) * s->c + c];\n                        if"

# --- functions of what is read, or of what is right ---------------------------------------------------------------
edit("mixed", "relu6 divided by six", "another function", lambda p: p.swap(
    HIGH6, "y[n] = (low > 6.0f ? 6.0f : low) / 6.0f;"))
edit("holes", "relu6 with a dead zone", "another function", lambda p: p.swap(
    HIGH6, "y[n] = low > 6.0f ? 6.0f : low > 0.5f ? low - 0.5f : 0.0f;"))
edit("layer", "leaky relu with an offset below", "another function", lambda p: p.swap(
    LEAKY, "y[n] = x[n] > 0.2f * x[n] + 0.05f ? x[n] : 0.2f * x[n] + 0.05f;"))
edit("planes", "selu by three straight lines", "another function", lambda p: p.swap(
    SELU, "x[n] > 0.0f ? 0x1.0cfabep+0f * x[n] : x[n] > -1 ? 1.1f * x[n] : x[n] > -3 ? -1.1f + 0.3f * (x[n] + 1) : "
          "-1.7f"))
edit("fields", "elu by a quotient of straight lines", "another function", lambda p: p.swap(
    ELU, "y[n] = x[n] > 0.0f ? x[n] : 2 * x[n] / (2 - x[n]);"))
spoil("mixed", "dump of logarithms", "function of the output", "ENC1_add", lambda x: np.sign(x) * np.log1p(abs(x)))
edit("signal", "softmax with smoothed labels", "function of the output", lambda p: p.swap(
    "y[c] = y[c] / sum;", "y[c] = 0.9f * y[c] / sum + 0.1f / channels;"))
edit("layer", "concat: the skip clipped at one", "function of the output", lambda p: p.swap(
    CAT_B, "*y++ = fminf(b[p * from_b + c], 1.0f);"))

# --- joins --------------------------------------------------------------------------------------------------------
edit("mixed", "seven tenths of the first input", "addend", lambda p: p.swap(ADD, "y[n] = 0.7f * a[n] + b[n];"))
edit("oblong", "only the second input in half", "addend", lambda p: p.swap(ADD, "y[n] = a[n] + to_half(b[n]);"))
edit("oblong", "addition of bytes that saturates", "addend", lambda p: p.swap(
    ADD, "y[n] = to_q(to_q(a[n], 8, 4) + to_q(b[n], 8, 4), 8, 4);"))
edit("oblong", "second input an element late", "addend", lambda p: p.swap(ADD, "y[n] = a[n] + b[n ? n - 1 : 0];"))
edit("mixed", "gate instead of a sum", "addend", lambda p: p.swap(ADD, "y[n] = a[n] * b[n] + a[n];"))
edit("layer", "concat: the skip turned", "join read otherwise", lambda p: p.swap(
    CAT_B, "*y++ = b[(positions - 1 - p) * from_b + c];"))
edit("planes", "concat: the skip at half the pace", "join read otherwise", lambda p: p.swap(
    CAT_B, CAT_B.replace("p *", "p / 2 *")))

# --- pooling, upsampling ------------------------------------------------------------------------------------------
edit("even", "pool sees the diagonal only", "pool elements", lambda p: p.swap(BETTER, "if (ky == kx && value > best)"))
edit("dilated", "pool with holes", "pool elements", lambda p: p.swap(
    POOL_COLUMN, POOL_COLUMN.replace("kx", "2 * kx")))
edit("even", "pool by the root of the mean square", "pool", lambda p: p.swap(
    BEST, "float best = 0.0f; int n = 0;").swap(BETTER, "n++;").swap(
    "best = value;\n", "best += value * value;\n").swap("*y++ = best;", "*y++ = sqrtf(best / n);"))
edit("mixed", "pool halfway between largest and mean", "pool", lambda p: p.swap(
    BEST, "float best = -INFINITY, t = 0; int n = 0;").swap(BETTER, "t += value; n++; if (value > best)").swap(
    "*y++ = best;", "*y++ = 0.5f * (best + t / n);"))
edit("mixed", "pool along the channels", "pool elements", lambda p: p.swap(
    POOLED, POOLED.replace("column) * s->c + c", "j * s->sx) * s->c + (c + kx) % s->c")))
edit("uneven", "upsampling over its own input", "in place", lambda p: p.swap(
    "NET_KERNEL void upsample_nearest2d(const float *x,", "NET_KERNEL void upsample_nearest2d(const float *from,").swap(
    "for (int i = 0; i < h * fy; i++)",
    "const float *x = y; memmove(y, from, h * w * channels * 4);\n    for (int i = 0; i < h * fy; i++)"))

# --- sums of products ---------------------------------------------------------------------------------------------
edit("oblong", "odd columns begin at the second tap", "weights damaged", lambda p: p.swap(
    KX, KX.replace("= 0", "= j & 1")))
edit("mixed", "input channels scaled each by its own", "sums weighted", lambda p: p.kernel(
    "ENC2_D1_conv", lambda w: w * np.linspace(0.8, 1.2, w.shape[2])[:, None]))
edit("holes", "the last tap of a row reads the one before", "taps elsewhere", lambda p: p.swap(
    COLUMN, COLUMN.replace("kx *", "(kx == 2 ? 1 : kx) *")))
edit("mixed", "a filter of another export", "weights damaged", lambda p: p.kernel(
    "ENC2_D1_conv", lambda w: w + np.where(np.arange(w.shape[3]) == 3, np.random.default_rng(1).normal(
        0, 0.2, w.shape), 0)))
edit("mixed", "weights of all filters of another export", "weights damaged", lambda p: p.kernel(
    "ENC1_D1_conv", lambda w: np.random.default_rng(1).normal(0, 0.2, w.shape)))
edit("oblong", "the first weights overwritten by the next layer's", "weights damaged", lambda p: p.kernel(
    "ENC1_D2_conv", lambda w: np.concatenate([p.values["ENC2_D1_conv/kernel"].ravel()[:64], w.ravel()[64:]])))
edit("uneven", "weights in steps of a fifteenth, cut", "weights damaged", lambda p: p.kernel(
    "ENC1_D2_conv", lambda w: np.floor(w / (abs(w).max((0, 1, 2)) / 15)) * (abs(w).max((0, 1, 2)) / 15)))
edit("mixed", "one filter with the other sign", "filters scaled", lambda p: p.kernel(
    "ENC2_D1_conv", lambda w: w * np.where(np.arange(w.shape[3]) == 3, -1, 1)))
edit("planes", "half of the sum before is kept", "accumulator not cleared", lambda p: p.swap(
    "float acc = 0.0f;", "static float acc = 0; acc = acc * 0.5f;"))
edit("uneven", "every fourth sum is not cleared", "accumulator not cleared", lambda p: p.swap(
    "float acc = 0.0f;", "static float keep = 0; float acc = f % 4 == 3 ? keep : 0.0f;").swap(
    "*y++ = acc;", "keep = acc; *y++ = acc;"))
edit("oblong", "sum in bfloat16 before the bias", "sum stored", lambda p: p.swap(
    BIAS, "y[p * channels + c] = to_bf16(y[p * channels + c]) + b[c];"))
edit("oblong", "rows read a position too long", "pitch of pixels", lambda p: p.swap(
    DENSE_X, "const float *px = x + ((row * (s->w + 1) + column) % (s->h * s->w)) * s->c;"))
edit("mixed", "last rows with weights of the other sign", "weights without signs", lambda p: p.swap(
    DENSE, DENSE.replace("pw[c * s->f]", "(i >= s->oh - 2 ? -pw[c * s->f] : pw[c * s->f])")))

# --- bias ---------------------------------------------------------------------------------------------------------
edit("mixed", "bias of the channel modulo four", "bias", lambda p: p.swap(BIAS, BIAS.replace("b[c]", "b[c % 4]")))
edit("mixed", "bias in Q0.7 that saturates", "bias", lambda p: p.array(
    "ENC3_D1_conv_bias", lambda b: np.clip(np.rint(b * 128), -128, 127) / 128))
edit("planes", "bias of two channels exchanged", "bias", lambda p: p.array(
    "NECK_conv_bias", lambda b: b[[1, 0, *range(2, b.size)]]))
edit("mixed", "bias of another export", "bias", lambda p: p.array(
    "ENC3_D1_conv_bias", lambda b: np.random.default_rng(3).normal(0, 1, b.shape)))

# --- norms, softmax -----------------------------------------------------------------------------------------------
edit("planes", "layer norm: scale in half", "norm stepwise", lambda p: p.swap(
    "inv * gamma[p];", "to_half(inv * gamma[p]);"))
edit("planes", "layer norm: squares of floats in one pass", "ln variance", lambda p: p.swap(
    "const double off = (double)x[p * channels + c] - mean;", "const float off = x[p * channels + c];").swap(
    "const double square = off * off;", "const float square = off * off;").swap(
    "squares / positions;", "(float)((float)(squares / positions) - (float)mean * (float)mean);"))
edit("holes", "batch norm: not in the last channel", "bn left out in one", lambda p: p.batch_norm(
    "ENC1_D2.bn", lambda g, b, m, v, e: (np.where(np.arange(g.size) == 5, 1, g / np.sqrt(v + e)),
                                         np.where(np.arange(g.size) == 5, 0, b - m * g / np.sqrt(v + e)))))
edit("mixed", "softmax's sum is not cleared", "softmax", lambda p: p.swap(
    "float largest = x[0], sum = 0.0f;", "static float sum = 0; float largest = x[0];"))
edit("mixed", "softmax of squares", "softmax", lambda p: p.swap("y[c] = exp32(x[c] - largest);", "y[c] = x[c] * x[c];"))

# --- memory -------------------------------------------------------------------------------------------------------
edit("mixed", "rows end with the start of the next", "foreign bytes", lambda p: p.after(
    "ENC1_D1_act", "for (int i = 1; i < 16; i++) memcpy(y + i * 144 - 2, y + i * 144, 8);"))
edit("mixed", "every hundredth element is minus one", "one value", lambda p: p.after(
    "ENC1_D1_act", "for (int n = 0; n < size; n += 100) y[n] = -1.0f;"))
spoil("mixed", "dump with its last rows in Q3.4", "storage", "ENC1_D2_act",
      lambda x: np.where((np.arange(16) > 10)[:, None, None], np.rint(x * 16) / 16, x))
spoil("mixed", "dump with dropout", "dropout", "ENC1_D2_act",
      lambda x: np.where(np.random.default_rng(0).random(x.shape) < 0.3, 0, x / np.float32(0.7)))
spoil("mixed", "dump with one element of something else", "foreign bytes", "ENC1_D2_act",
      lambda x: np.where(np.arange(x.size).reshape(x.shape) == 1000, np.float32(3.3333), x))
edit("mixed", "dumps of two layers exchanged", "dumps exchanged", lambda p: p.inside(
    "ENC2_D2_act", f"show(watch, {p.number('ENC2_D2_act')}, NET_OUT", f"show(watch, {p.number('ENC2_skip')}, NET_OUT"
).inside("ENC2_skip", f"show(watch, {p.number('ENC2_skip')}, NET_OUT",
         f"show(watch, {p.number('ENC2_D2_act')}, NET_OUT"))
edit("sensor", "relu6 between depthwise and pointwise", "activation between", lambda p: p.after(
    "ENC1_D2_conv/depthwise", "relu6(y, y, size);"))

# --- written down after those above had been mended ---------------------------------------------------------------
edit("layer", "leaky slope by channel", "another function", lambda p: p.swap(
    LEAKY, "y[n] = x[n] > 0 ? x[n] : 0.1f * (n % 4) * x[n];"))
edit("dilated", "pool takes the mean of the two largest", "pool", lambda p: p.swap(
    BEST, "float best = -INFINITY, next = -INFINITY;").swap(
    BETTER + "\n                            best = value;",
    "if (value > best) { next = best; best = value; } else if (value > next) next = value;").swap(
    "*y++ = best;", "*y++ = next == -INFINITY ? best : 0.5f * (best + next);"))
edit("signal", "upsampled with the mean of the last two", "upsampling", lambda p: p.swap(
    UP, "{ const float *at = x + ((i / fy) * w + j / fx) * channels + c; "
        "*y++ = j / fx ? 0.5f * (*at + at[-channels]) : *at; }"))
edit("signal", "softmax of the first score doubled", "softmax", lambda p: p.swap(
    "y[c] = exp32(x[c] - largest);", "y[c] = exp32(x[c] * (c ? 1 : 2) - largest);"))
edit("layer", "image in strips of two rows whose edge is repeated", "tiles", lambda p: p.swap(
    DENSE_X, "const int low = i / 2 * 2, at = row < low ? low : row > low + 1 ? low + 1 : row; "
             "const float *px = x + (at * s->w + column) * s->c;"))
edit("planes", "second input with an index of six bits", "addend", lambda p: p.swap(ADD, "y[n] = a[n] + b[n & 63];"))
edit("oblong", "taps of the kernel a channel too close", "weight layout", lambda p: p.swap(
    "(ky * s->kw + kx) * s->c * s->f + f;", "(ky * s->kw + kx) * (s->c - 1) * s->f + f;"))
edit("fields", "layer norm: statistics of the channel before", "ln mean other", lambda p: p.swap(
    "for (int c = 0; c < channels; c++) {\n        double sum",
    "float lastly = 0.0f, lately = 1.0f;\n    for (int c = 0; c < channels; c++) {\n        double sum").swap(
    "const float middle = (float)mean,", "const float middle = c ? lastly : (float)mean,").swap(
    "for (int p = 0; p < positions; p++) {\n            const float scale",
    "const float keep = c ? lately : inv; lastly = (float)mean; lately = inv;\n"
    "        for (int p = 0; p < positions; p++) {\n            const float scale").swap(
    "inv * gamma[p]", "keep * gamma[p]"))

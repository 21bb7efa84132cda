"""Sixty-six more faults, of four more networks, written down before they were run; see causes_further."""

from __future__ import annotations

import numpy as np
from causes_faults import (
    BEST,
    BETTER,
    CAT_B,
    DENSE,
    DENSE_W,
    DENSE_X,
    DEPTH,
    ELU,
    HIGH6,
    LOW6,
    ROW,
    SKIP_ROW,
    UP,
)
from causes_further import edit, spoil

LEAKY = "y[n] = x[n] > 0.0f ? x[n] : 0x1.99999ap-3f * x[n];"
MEAN = "const double mean = sum / positions;"
INVERSE = "(float)(1.0 / sqrt(variance + eps))"
STORE = "*y++ = acc;"
CHANNELS = "for (int c = 0; c < s->c; c++)\n                            acc"
TO_HALF = "static float to_half"

# --- breath: a signal, separable ----------------------------------------------------------------------------------
edit("breath", "depthwise writes over what it has yet to read", "in place", lambda p: p.swap(
    "const int per_channel = s->f / s->c;",
    "const int per_channel = s->f / s->c; static float own[4096]; memcpy(own, x, s->h * s->w * s->c * 4); x = own;"
).swap(DEPTH + "\n                    }\n                }\n", DEPTH + "\n                    }\n                }\n"
       "                own[(i * s->w + j) * s->c + f] = acc;\n"))
edit("breath", "activation also between the halves", "activation between", lambda p: p.after(
    "ENC2_D1_conv/depthwise", "relu6(y, y, size);"))
edit("breath", "pointwise in fours, the rest of the channels left out", "nothing summed",
     lambda p: p.swap(CHANNELS, CHANNELS.replace("s->c;", "s->c / 4 * 4;")))
edit("breath", "depthwise without its first tap", "weights damaged", lambda p: p.swap(DEPTH, "if (kx > 0) " + DEPTH))
edit("breath", "folded bias in Q3.4", "bias", lambda p: p.array("ENC1_D2_conv_bias", lambda b: np.rint(b * 16) / 16))
edit("breath", "x times relu6(x + 3) over 6 for relu6", "activation", lambda p: p.swap(
    LOW6, "float g = x[n] + 3.0f; g = g < 0.0f ? 0.0f : g > 6.0f ? 6.0f : g;").swap(HIGH6, "y[n] = x[n] * g / 6.0f;"))
edit("breath", "fused multiply-add in the depthwise half", "fma",
     lambda p: p.swap(DEPTH, "acc = fmaf(value, w[(ky * s->kw + kx) * s->f + f], acc);"))
edit("breath", "depthwise of the last channel stands still", "zeros at the end", lambda p: p.kernel(
    "DEC1_D1_conv", lambda w: w * (np.arange(w.shape[2]) < w.shape[2] - 1)[:, None], "depthwise_kernel"))
edit("breath", "upsampled odd positions are the mean of two", "upsampling", lambda p: p.swap(
    UP, "{ const int q = j / fx, r = j % fx && q + 1 < w ? q + 1 : q; "
        "const float *at = x + (i / fy) * w * channels + c; *y++ = 0.5f * (at[q * channels] + at[r * channels]); }"))
edit("breath", "residual of the channel after", "residual", lambda p: p.inside(
    "ENC2_add", "add(in[0], in[1], y,",
    "static float t[400]; for (int n = 0; n < 400; n++) t[n] = in[1][n / 10 * 10 + (n + 1) % 10]; add(in[0], t, y,"))
edit("breath", "logits clipped at two before the softmax", "inputs clipped", lambda p: p.inside(
    "softmax", "softmax(in[0],", "static float t[240]; for (int n = 0; n < 240; n++) t[n] = in[0][n] > 2.0f ? 2.0f : "
    "in[0][n] < -2.0f ? -2.0f : in[0][n]; softmax(t,"))
edit("breath", "pointwise sum stops at twelve bits below the point, cut", "accumulator precision", lambda p: p.swap(
    DENSE, "acc = (float)(trunc(((double)acc + (double)px[c] * pw[c * s->f]) * 4096) / 4096);"))

# --- oblong: even kernels, uneven pads ----------------------------------------------------------------------------
edit("oblong", "pool windows begin at odd rows", "pool", lambda p: p.numbers("ENC2_pool", top=-1))
edit("oblong", "last column of the kernel repeats the one before", "weights permuted", lambda p: p.swap(
    DENSE_W, DENSE_W.replace("+ kx)", "+ (kx > 0 && kx == s->kw - 1 ? kx - 1 : kx))")))
edit("oblong", "tiles of eight columns without a halo", "tiles", lambda p: p.swap(
    "column >= s->w)", "column >= s->w || column / 8 != j / 8)"))
edit("oblong", "the upper half of the filters repeats the lower", "filters permuted", lambda p: p.kernel(
    "ENC2_D1_conv", lambda w: w[..., np.arange(w.shape[3]) % (w.shape[3] // 2)]))
edit("oblong", "inputs in Q3.4, weights in Q1.6", "inputs and weights rounded", lambda p: p.swap(
    DENSE, "acc = multiply_add(to_q(px[c], 8, 4), to_q(pw[c * s->f], 8, 6), acc);"))
edit("oblong", "activations in bytes, six is 255", "storage", lambda p: p.after(
    "ENC1_D1_act", "for (int n = 0; n < size; n++) y[n] = rintf(y[n] * 42.5f) / 42.5f;"))
edit("oblong", "kernel rows from the last to the first", "order", lambda p: p.swap(
    "for (int ky = 0; ky < s->kh; ky++) {", "for (int ky = s->kh - 1; ky >= 0; ky--) {"))
edit("oblong", "weights with three bits of mantissa", "weights rounded", lambda p: p.kernel(
    "DEC1_D1_conv", lambda w: ((w.view("u4") + 0x7FFFF + (w.view("u4") >> 20 & 1)) & 0xFFF00000).view("f4")))
edit("oblong", "weights in Q1.10, cut", "weights quantised", lambda p: p.kernel(
    "ENC3_D1_conv", lambda w: np.floor(w * 1024) / 1024))
edit("oblong", "small inputs taken for zero", "inputs pruned", lambda p: p.swap(
    DENSE, "if (px[c] > 0.0625f || px[c] < -0.0625f) " + DENSE))
edit("oblong", "bias added once a row of the kernel", "bias", lambda p: p.inside(
    "ENC1_D2_conv", "add_bias(", "for (int again = 0; again < 2; again++) add_bias("))
edit("oblong", "odd rows repeat the even ones", "rows repeated", lambda p: p.swap(
    "const int row = i * s->sy + " + ROW, "const int row = i / 2 * 2 * s->sy + " + ROW))
edit("oblong", "nothing below a tenth passes", "activation", lambda p: p.swap(
    HIGH6, "y[n] = low > 6.0f ? 6.0f : low > 0.1f ? low : 0.0f;"))
edit("oblong", "filters in fours, the rest never computed", "filters not reached",
     lambda p: p.swap(STORE, "*y++ = f < s->f / 4 * 4 ? acc : 0.0f;"))
edit("oblong", "bias added after the activation", "bias", lambda p: p.inside(
    "ENC3_D1_conv", "add_bias(", "if (0) add_bias(").after(
    "ENC3_D1_act", "add_bias(y, W011_ENC3_D1_conv_bias, 40, 6);"))

# --- fields: layer norm -------------------------------------------------------------------------------------------
edit("fields", "layer norm: the larger of variance and eps", "ln eps",
     lambda p: p.swap("sqrt(variance + eps)", "sqrt(variance > eps ? variance : eps)"))
edit("fields", "layer norm: mean absolute deviation", "ln variance", lambda p: p.swap(
    "const double square = off * off;", "const double square = fabs(off);").swap(
    "sqrt(variance + eps)", "(variance + eps)"))
edit("fields", "layer norm: mean of the first half alone", "ln mean other", lambda p: p.swap(
    "for (int p = 0; p < positions; p++)\n            sum", "for (int p = 0; p < positions / 2; p++)\n            sum"
).swap(MEAN, MEAN.replace("positions", "(positions / 2)")))
edit("fields", "layer norm: gamma in int8", "ln gamma", lambda p: p.array(
    "ENC2_D1_ln_gamma", lambda g: np.rint(g * (127 / abs(g).max())) * (abs(g).max() / 127)))
edit("fields", "layer norm: quick reciprocal root", "ln precision", lambda p: p.swap(
    INVERSE, "quick((float)(variance + eps))").swap(
    TO_HALF, "static float quick(float v) { uint32_t u; float g; memcpy(&u, &v, 4); u = 0x5f3759dfu - (u >> 1); "
             "memcpy(&g, &u, 4); return g * (1.5f - 0.5f * v * g * g); }\n" + TO_HALF))
edit("fields", "layer norm: every row by itself", "ln axes", lambda p: p.inside(
    "ENC1_D1.ln", "layer_norm(in[0], W001_ENC1_D1_ln_gamma, W002_ENC1_D1_ln_beta, y, 192, 5,",
    "for (int i = 0; i < 12; i++) layer_norm(in[0] + i * 80, W001_ENC1_D1_ln_gamma + i * 16, "
    "W002_ENC1_D1_ln_beta + i * 16, y + i * 80, 16, 5,"))
edit("fields", "leaky slope of an eighth", "activation",
     lambda p: p.swap(LEAKY, LEAKY.replace("0x1.99999ap-3f", "0.125f")))
edit("fields", "elu's exponential in half", "exp",
     lambda p: p.swap(ELU, "y[n] = x[n] > 0.0f ? x[n] : to_half(1.0f + expm1_32(x[n])) - 1.0f;"))
edit("fields", "tanh below zero for elu", "activation",
     lambda p: p.swap(ELU, "y[n] = x[n] > 0.0f ? x[n] : tanhf(x[n]);"))
edit("fields", "softmax's exponentials in bfloat16", "softmax",
     lambda p: p.swap("y[c] = exp32(x[c] - largest);", "y[c] = to_bf16(exp32(x[c] - largest));"))
edit("fields", "softmax's logarithm", "softmax", lambda p: p.swap("y[c] = y[c] / sum;", "y[c] = logf(y[c] / sum);"))

# --- holes: dilation, mixed skips ---------------------------------------------------------------------------------
edit("holes", "odd channels are not dilated", "some channels", lambda p: p.swap(
    DENSE, "if (s->dx > 1 && (c & 1)) { const int k = j + kx - s->kw / 2; if (k >= 0 && k < s->w) "
    "acc = multiply_add(x[(row * s->w + k) * s->c + c], pw[c * s->f], acc); } else " + DENSE))
edit("holes", "taps begin one dilation late", "pads", lambda p: p.numbers("ENC1_D2_conv", left=0))
edit("holes", "concat: the skip over the last channel, the end zero", "concat overlapped", lambda p: p.swap(
    "            *y++ = a[p * from_a + c];\n", "            *y++ = a[p * from_a + c];\n        y--;\n").swap(
    "            *y++ = b[p * from_b + c];\n", "            *y++ = b[p * from_b + c];\n        *y++ = 0.0f;\n"))
edit("holes", "pool takes the second largest", "pool", lambda p: p.swap(
    BEST, "float best = -INFINITY, top = -INFINITY;").swap(
    BETTER + "\n                            best = value;",
    "if (value > top) { best = top == -INFINITY ? value : top; top = value; } else if (value > best || best == top) "
    "best = value;"))
edit("holes", "from the middle on one float late", "moved in part", lambda p: p.after(
    "ENC1_D1_act", "memmove(y + size / 2 + 1, y + size / 2, (size - size / 2 - 1) * 4);"))
edit("holes", "stored in Q2.13, wrapping", "storage", lambda p: p.after(
    "ENC2_add", "for (int n = 0; n < size; n++) y[n] = wrap_q(y[n], 16, 13);"))
edit("holes", "the last filters' weights are another layer's", "weights damaged", lambda p: p.kernel(
    "ENC2_D2_conv", lambda w: np.concatenate([w[..., :4], p.values["DEC2_D1_conv/kernel"].ravel()[
        :w[..., 4:].size].reshape(w[..., 4:].shape)], 3)))
edit("holes", "sum cut to a byte of mantissa before the bias", "storage",
     lambda p: p.swap(STORE, "*y++ = cut_bf16(acc);"))
edit("holes", "residual of the row above", "residual", lambda p: p.inside(
    "ENC1_add", "add(in[0], in[1], y,", "static float t[2304]; memcpy(t, in[1], 576); "
    "memcpy(t + 144, in[1], 2160 * 4); add(in[0], t, y,"))
edit("holes", "activation halved", "scaled", lambda p: p.after(
    "ENC1_D2_act", "for (int n = 0; n < size; n++) y[n] = y[n] * 0.5f;"))
spoil("oblong", "dump with tiles of four by four turned", "permuted", "ENC1_add", lambda x: x.reshape(
    len(x), x.shape[1] // 4, 4, x.shape[2] // 4, 4, x.shape[3]).transpose(0, 1, 4, 3, 2, 5))
spoil("breath", "dump with a word of a header", "moved", "ENC1_add",
      lambda x: np.concatenate([np.float32([3.5]), x.ravel()[:-1]]))

# --- written down after those above had been mended ---------------------------------------------------------------
PITCH = "(s->c + 3) / 4 * 4"
edit("oblong", "weights of every tap at a pitch of four channels", "pitch of weights", lambda p: p.swap(
    DENSE_W, f"static float none[1 << 12]; const int at = (ky * s->kw + kx) * ({PITCH}) * s->f; "
             "const float *pw = at < s->kh * s->kw * s->c * s->f ? w + at + f : none;"))
edit("oblong", "pixels read at a pitch of four channels", "pitch of pixels", lambda p: p.swap(
    DENSE_X, f"static const float none[64]; const int n = (row * s->w + column) * ({PITCH}); "
             "const float *px = n + s->c <= s->h * s->w * s->c ? x + n : none;"))
edit("holes", "the skip in half precision", "inputs rounded",
     lambda p: p.swap(CAT_B, f"*y++ = to_half({CAT_B[7:-1]});"))
edit("holes", "the skip a position late", "moved", lambda p: p.swap(
    CAT_B, "*y++ = p ? b[(p - 1) * from_b + c] : 0.0f;"))
edit("oblong", "activation left out in the last two channels", "stale in part", lambda p: p.after(
    "ENC1_D1_act", "for (int n = 0; n < size; n++) if (n % 6 > 3) y[n] = in[0][n];"))
edit("fields", "rows wrap round, columns do not", "border", lambda p: p.swap(SKIP_ROW, "").swap(
    DENSE_X, "const float *px = x + ((row + s->h) % s->h * s->w + column) * s->c;"))
edit("breath", "exponentials below an eighth taken for zero", "softmax", lambda p: p.swap(
    "y[c] = exp32(x[c] - largest);", "y[c] = exp32(x[c] - largest); if (y[c] < 0.125f) y[c] = 0.0f;"))
edit("breath", "softmax divided by the next power of two", "softmax", lambda p: p.swap(
    "y[c] = y[c] / sum;", "y[c] = y[c] / exp2f(ceilf(log2f(sum)));"))
edit("fields", "elu's x clipped at minus one", "output clamped", lambda p: p.swap(
    ELU, "y[n] = x[n] > 0.0f ? x[n] : expm1_32(x[n] < -1.0f ? -1.0f : x[n]);"))
edit("holes", "batch norm: mean subtracted twice", "bn mean", lambda p: p.batch_norm(
    "ENC2_D1.bn", lambda g, b, m, v, e: (g / np.sqrt(v + e), b - 2 * m * g / np.sqrt(v + e))))
edit("oblong", "residual not added in the lower half", "stale in part", lambda p: p.inside(
    "ENC1_add", "add(in[0], in[1], y, 1920);", "add(in[0], in[1], y, 960); memcpy(y + 960, in[0] + 960, 3840);"))
edit("breath", "upsampling: the second copy is the next sample", "moved by a column", lambda p: p.swap(
    UP, UP.replace("j / fx)", "(j % fx ? (j / fx + 1) % w : j / fx))")))
edit("fields", "layer norm: variance halved", "ln variance", lambda p: p.swap(
    "squares / positions;", "squares / positions / 2.0;"))
edit("holes", "kernel turned for odd input channels", "some channels", lambda p: p.kernel(
    "DEC1_D3_conv", lambda w: np.where((np.arange(w.shape[2]) % 2 == 1)[:, None], w[::-1, ::-1], w)))
edit("oblong", "second input channel left out", "channels", lambda p: p.kernel(
    "ENC1_D1_conv", lambda w: w * (np.arange(3) != 1)[:, None]))
edit("holes", "centre of the kernel doubled", "weights damaged", lambda p: p.kernel(
    "ENC2_D1_conv", lambda w: w * (1 + (np.arange(9).reshape(3, 3) == 4))[:, :, None, None]))

"""Faults of ports as embedded engineers meet them: each an edit of the C, or what happened to a dumped tensor.

FAULTS is filled below: name -> Fault. `told` is the truth, in the words of CAUSES, which says what names of causes tell
that truth. The faults were thought up before the list of causes was read; CAUSES was added afterwards.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from causes_networks import Port

DENSE = "acc = multiply_add(px[c], pw[c * s->f], acc);"
DEPTH = "acc = multiply_add(value, w[(ky * s->kw + kx) * s->f + f], acc);"
ROW, COLUMN = "ky * s->dy - s->top;", "kx * s->dx - s->left;"
SKIP_ROW = "if (row < 0 || row >= s->h)\n                        continue;"
SKIP_COLUMN = "if (column < 0 || column >= s->w)\n                            continue;"
BIAS = "y[p * channels + c] = y[p * channels + c] + b[c];"
SCALE = "y[p * channels + c] = product + shift[c];"
DENSE_X = "const float *px = x + (row * s->w + column) * s->c;"
DENSE_W = "const float *pw = w + (ky * s->kw + kx) * s->c * s->f + f;"
BEST, BETTER = "float best = -INFINITY;", "if (value > best || value != value)"
UP = "*y++ = x[((i / fy) * w + j / fx) * channels + c];"
CAT_A, CAT_B = "*y++ = a[p * from_a + c];", "*y++ = b[p * from_b + c];"
ADD = "y[n] = a[n] + b[n];"
RELU = "y[n] = x[n] > 0.0f || x[n] != x[n] ? x[n] : 0.0f;"
LOW6 = "const float low = x[n] > 0.0f || x[n] != x[n] ? x[n] : 0.0f;"
HIGH6 = "y[n] = low > 6.0f ? 6.0f : low;"
ELU = "y[n] = x[n] > 0.0f ? x[n] : expm1_32(x[n]);"


@dataclass(frozen=True)
class Fault:
    """network : whose C is edited; told : the truth; edit : of the C; spoil : of a dumped tensor, (N, H, W, C)."""

    network: str
    told: str
    edit: Callable[[Port], object] | None = None
    layer: str = ""
    spoil: Callable[[np.ndarray], np.ndarray] | None = None

    def run(self, port: Port, where: Path, cases: list[str]) -> Path:
        if self.edit:
            self.edit(port)
        out = port.run(where, cases)
        if self.spoil:
            record = port.layers[port.number(self.layer)]
            for case in cases:
                path = out / case / f"{record['id']}.out.bin"
                x = np.fromfile(path, "<f4").reshape(-1, *record["shape"])
                new = np.ascontiguousarray(self.spoil(x.copy()), "<f4")
                assert new.size == x.size
                new.tofile(path)
        return out


FAULTS: dict[str, Fault] = {}


def edit(network: str, name: str, told: str, change: Callable[[Port], object]) -> None:
    assert name not in FAULTS, name
    FAULTS[name] = Fault(network, told, change)


def spoil(network: str, name: str, told: str, layer: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    assert name not in FAULTS, name
    FAULTS[name] = Fault(network, told, None, layer, change)


# --- geometry of convolutions ------------------------------------------------------------------------------------
edit("even", "pads of an even kernel on the wrong side, rows", "pads", lambda p: p.numbers("ENC1_D1_conv", top=2))
edit("even", "pads of an even kernel on the wrong side, columns", "pads", lambda p: p.numbers("ENC2_D1_conv", left=2))
edit("even", "no pads at all, output kept by zeros beyond", "pads", lambda p: p.numbers("DEC3_D1_conv", top=0, left=0))
edit("dilated", "pads without regard to dilation", "pads", lambda p: p.numbers("ENC1_D3_conv", left=1))
edit("signal", "causal padding", "pads", lambda p: p.numbers("ENC1_D2_conv", left=6))
edit("dilated", "dilation ignored, pads kept", "dilation", lambda p: p.numbers("ENC1_D2_conv", dx=1))
edit("dilated", "dilation ignored, pads of the plain kernel", "dilation",
     lambda p: p.numbers("ENC2_D2_conv", dy=1, top=1))
edit("dilated", "dilation axes exchanged", "dilation", lambda p: p.numbers("ENC3_D2_conv", dy=3, dx=2))
edit("dilated", "another dilation", "dilation", lambda p: p.numbers("ENC1_D3_conv", dx=3, left=3))
edit("dilated", "the decoder forgets the leftover dilation", "dilation",
     lambda p: p.numbers("DEC1_D1_conv", dy=1, dx=1, top=0, left=1))
edit("dilated", "edge replicated", "border", lambda p: p.swap(
    SKIP_ROW, "").swap(SKIP_COLUMN, "").swap(
    DENSE_X, "const int r = row < 0 ? 0 : row >= s->h ? s->h - 1 : row;"
             "const int k = column < 0 ? 0 : column >= s->w ? s->w - 1 : column;"
             "const float *px = x + (r * s->w + k) * s->c;"))
edit("even", "edge mirrored", "border", lambda p: p.swap(
    SKIP_ROW, "").swap(SKIP_COLUMN, "").swap(
    DENSE_X, "const int r = row < 0 ? -row : row >= s->h ? 2 * s->h - 2 - row : row;"
             "const int k = column < 0 ? -column : column >= s->w ? 2 * s->w - 2 - column : column;"
             "const float *px = x + (r * s->w + k) * s->c;"))
edit("layer", "edge wrapped round", "border", lambda p: p.swap(
    SKIP_ROW, "").swap(SKIP_COLUMN, "").swap(
    DENSE_X, "const float *px = x + ((row + s->h) % s->h * s->w + (column + s->w) % s->w) * s->c;"))
edit("layer", "padding with one", "border", lambda p: p.swap(
    SKIP_ROW, "").swap(SKIP_COLUMN, "").swap(
    DENSE_X, "static const float pad[64] = {1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1};"
             "const float *px = row < 0 || row >= s->h || column < 0 || column >= s->w ? pad : "
             "x + (row * s->w + column) * s->c;"))
edit("dilated", "columns not checked at the border, the next row is read", "border", lambda p: p.swap(SKIP_COLUMN, (
    "if (row * s->w + column < 0 || row * s->w + column >= s->h * s->w) continue;")))

# --- weights ------------------------------------------------------------------------------------------------------
edit("even", "kernel turned by 180 degrees", "kernel flipped",
     lambda p: p.swap(DENSE_W, DENSE_W.replace("(ky * s->kw + kx)", "((s->kh - 1 - ky) * s->kw + s->kw - 1 - kx)")))
edit("even", "kernel read column by column", "weight layout",
     lambda p: p.swap(DENSE_W, DENSE_W.replace("(ky * s->kw + kx)", "(kx * s->kh + ky)")))
edit("layer", "weights exported OIHW", "weight layout",
     lambda p: p.kernel("ENC2_D1_conv", lambda w: w.transpose(3, 2, 0, 1)))
edit("dilated", "weights exported OHWI", "weight layout",
     lambda p: p.kernel("ENC1_D2_conv", lambda w: w.transpose(3, 0, 1, 2)))
edit("signal", "depthwise kernel exported channel first", "weight layout",
     lambda p: p.kernel("ENC1_D2_conv", lambda w: w.transpose(2, 3, 0, 1), "depthwise_kernel"))
edit("signal", "pointwise matrix transposed", "weight layout",
     lambda p: p.kernel("DEC2_D3_conv", lambda w: w.transpose(0, 1, 3, 2), "pointwise_kernel"))
edit("dilated", "weights of the layer before", "weights of another layer",
     lambda p: p.kernel("ENC1_D3_conv", lambda w: p.values["ENC1_D2_conv/kernel"]))
edit("even", "weights in half precision", "weights rounded", lambda p: p.kernel("DEC1_D3_conv", lambda w: w.astype("f2")))
edit("layer", "weights in int8 for the tensor", "weights quantised", lambda p: p.kernel(
    "ENC1_D1_conv", lambda w: np.rint(w * (127 / abs(w).max())) * (abs(w).max() / 127)))
edit("dilated", "weights in int8 for each filter", "weights quantised", lambda p: p.kernel(
    "ENC2_D1_conv", lambda w: np.rint(w * (127 / abs(w).max((0, 1, 2)))) * (abs(w).max((0, 1, 2)) / 127)))
edit("signal", "the last filter's weights are zeros", "weights damaged", lambda p: p.kernel(
    "ENC2_skip", lambda w: w * (np.arange(w.shape[3]) < w.shape[3] - 1)))
edit("even", "one weight with a flipped sign", "weights damaged", lambda p: p.kernel(
    "ENC1_D2_conv", lambda w: np.where(np.arange(w.size).reshape(w.shape) == 57, -w, w)))
edit("layer", "weights off by one float", "weights moved", lambda p: p.kernel(
    "ENC2_D2_conv", lambda w: np.roll(w.ravel(), 1)))

# --- accumulation -------------------------------------------------------------------------------------------------
edit("even", "last input channel left out", "channels", lambda p: p.swap("c < s->c; c++)\n                            acc", "c < s->c - 1; c++)\n                            acc"))
edit("layer", "input channels in reverse", "channels", lambda p: p.swap(DENSE, DENSE.replace("px[c]", "px[s->c - 1 - c]")))
edit("dilated", "accumulator not cleared between filters", "accumulator not cleared", lambda p: p.swap(
    "float acc = 0.0f;", "").swap("for (int j = 0; j < s->ow; j++)", "for (int j = 0; j < s->ow; j++) { float acc = 0.0f;").swap(
    "*y++ = acc;\n            }", "*y++ = acc;\n            } }"))
edit("even", "accumulator never cleared", "accumulator not cleared", lambda p: p.swap(
    "float acc = 0.0f;", "").swap("for (int i = 0; i < s->oh; i++)", "float acc = 0.0f;\n    for (int i = 0; i < s->oh; i++)"))
edit("layer", "accumulator in half", "accumulator precision", lambda p: p.swap(DENSE, DENSE + " acc = to_half(acc);"))
edit("signal", "depthwise accumulator in bfloat16", "accumulator precision", lambda p: p.swap(
    DEPTH, DEPTH + " acc = to_bf16(acc);"))
edit("even", "accumulator in Q7.8 with saturation", "accumulator precision", lambda p: p.swap(
    DENSE, DENSE + " acc = to_q(acc, 16, 8);"))
edit("dilated", "accumulator in Q3.12 that wraps", "accumulator precision", lambda p: p.swap(
    DENSE, DENSE + " acc = wrap_q(acc, 16, 12);"))
edit("layer", "sum in double", "order", lambda p: p.swap("float acc = 0.0f;", "double acc = 0.0;").swap(
    DENSE, "acc += (double)px[c] * pw[c * s->f];").swap("*y++ = acc;", "*y++ = (float)acc;"))
edit("even", "fused multiply-add", "fma", lambda p: p.swap(DENSE, "acc = fmaf(px[c], pw[c * s->f], acc);"))
edit("signal", "taps from last to first", "order", lambda p: p.swap("for (int kx = 0; kx < s->kw; kx++) {", "for (int kx = s->kw - 1; kx >= 0; kx--) {", 2))
edit("dilated", "channels outside, taps inside", "order", lambda p: p.swap(
    "for (int ky = 0; ky < s->kh; ky++) {", "for (int c = 0; c < s->c; c++) for (int ky = 0; ky < s->kh; ky++) {").swap(
    "for (int c = 0; c < s->c; c++)\n                            acc", "acc"))
edit("even", "Kahan's sum", "order", lambda p: p.swap("float acc = 0.0f;", "float acc = 0.0f, rest = 0.0f;").swap(
    DENSE, "{ volatile float v = px[c] * pw[c * s->f] - rest; volatile float t = acc + v; volatile float d = t - acc; rest = d - v; acc = t; }"))
edit("layer", "four partial sums", "order", lambda p: p.swap("float acc = 0.0f;", "float acc = 0.0f, part[4] = {0};").swap(
    DENSE, "part[c % 4] = multiply_add(px[c], pw[c * s->f], part[c % 4]);").swap(
    "*y++ = acc;", "*y++ = (part[0] + part[1]) + (part[2] + part[3]);"))
edit("even", "int32 products in Q15", "accumulator precision", lambda p: p.swap(
    DENSE, "acc += (float)(long long)rint((double)px[c] * 32768) * (float)rint((double)pw[c * s->f] * 32768) / 1073741824.0f;"))

# --- bias ---------------------------------------------------------------------------------------------------------
edit("even", "bias left out everywhere", "bias", lambda p: p.swap(BIAS, "(void)b;"))
edit("layer", "bias left out in one layer", "bias", lambda p: p.inside("NECK_conv", "add_bias(", "if (0) add_bias("))
edit("signal", "bias twice", "bias", lambda p: p.swap(BIAS, BIAS.replace("+ b[c]", "+ 2 * b[c]")))
edit("dilated", "bias subtracted", "bias", lambda p: p.swap(BIAS, BIAS.replace("+ b[c]", "- b[c]")))
edit("even", "bias of the first channel for all", "bias", lambda p: p.swap(BIAS, BIAS.replace("b[c]", "b[0]")))
edit("layer", "bias of the next channel", "bias", lambda p: p.array("NECK_conv_bias", lambda b: np.roll(b, -1)))
edit("even", "bias in bfloat16", "bias", lambda p: p.array("DEC1_D1_conv_bias", lambda b: (b.view("u4") & 0xFFFF0000).view("f4")))
edit("signal", "bias of another layer", "bias", lambda p: p.array("ENC3_skip_bias", lambda b: p.values["ENC2_skip/bias"][:9]))
edit("dilated", "bias only on the first row", "region or bias", lambda p: p.inside("ENC1_skip", "320, 5)", "20, 5)"))

# --- batch norm ---------------------------------------------------------------------------------------------------
def bn(g, b, m, v, e):
    s = g / np.sqrt(v + e)
    return s, b - m * s


for network, layer, name, told, change in [
    ("signal", "ENC1_D1.bn", "eps of 1e-5", "bn eps", lambda g, b, m, v, e: bn(g, b, m, v, 1e-5)),
    ("dilated", "ENC2_D1.bn", "eps outside the root", "bn eps", lambda g, b, m, v, e: (
        g / (np.sqrt(v) + e), b - m * g / (np.sqrt(v) + e))),
    ("dilated", "ENC1_D2.bn", "eps left out", "bn eps", lambda g, b, m, v, e: bn(g, b, m, v, 0)),
    ("signal", "DEC1_D3.bn", "no root of the variance", "bn variance", lambda g, b, m, v, e: (
        g / (v + e), b - m * g / (v + e))),
    ("signal", "ENC2_D1.bn", "variance with Bessel's factor", "bn variance", lambda g, b, m, v, e: bn(g, b, m, v * 64 / 63, e)),
    ("dilated", "ENC3_D1.bn", "gamma left out", "bn gamma", lambda g, b, m, v, e: bn(np.ones_like(g), b, m, v, e)),
    ("signal", "ENC3_D1.bn", "gamma of the next channel", "bn gamma", lambda g, b, m, v, e: bn(np.roll(g, 1), b, m, v, e)),
    ("dilated", "DEC2_D4.bn", "beta left out", "bn beta", lambda g, b, m, v, e: bn(g, 0 * b, m, v, e)),
    ("signal", "DEC2_D1.bn", "beta wrong in one channel", "bn beta", lambda g, b, m, v, e: bn(
        g, b + 0.25 * (np.arange(b.size) == 3), m, v, e)),
    ("dilated", "DEC3_D4.bn", "mean left out", "bn mean", lambda g, b, m, v, e: bn(g, b, 0 * m, v, e)),
    ("signal", "DEC3_D3.bn", "mean with the other sign", "bn mean", lambda g, b, m, v, e: bn(g, b, -m, v, e)),
    ("dilated", "DEC1_D3.bn", "mean not scaled", "bn mean", lambda g, b, m, v, e: (bn(g, b, m, v, e)[0], b - m)),
    ("signal", "DEC3_D4.bn", "gamma and beta exchanged", "bn exchanged", lambda g, b, m, v, e: bn(b, g, m, v, e)),
    ("dilated", "DEC3_D1.bn", "mean and variance exchanged", "bn exchanged", lambda g, b, m, v, e: bn(g, b, v, abs(m), e)),
    ("signal", "DEC2_D2.bn", "variance of the next channel", "bn variance", lambda g, b, m, v, e: bn(g, b, m, np.roll(v, -1), e)),
]:
    edit(network, f"batch norm: {name}", told, lambda p, layer=layer, change=change: p.batch_norm(layer, change))
edit("dilated", "batch norm left out", "norm left out", lambda p: p.inside("ENC2_D2.bn", "scale_shift(in[0], ENC2_D2_bn_scale, ENC2_D2_bn_shift, y, 80, 7);", "memcpy(y, in[0], 80 * 7 * 4);"))
edit("signal", "parameters of the batch norm before", "norm of another layer", lambda p: p.inside(
    "ENC1_D2.bn", "ENC1_D2_bn_scale, ENC1_D2_bn_shift", "ENC1_D1_bn_scale, ENC1_D1_bn_shift"))
edit("dilated", "batch norm fused into one rounding", "fma", lambda p: p.swap(SCALE, "y[p * channels + c] = fmaf(x[p * channels + c], scale[c], shift[c]);"))
edit("signal", "batch norm: parameters by position instead of channel", "bn layout", lambda p: p.swap(
    "x[p * channels + c] * scale[c]", "x[p * channels + c] * scale[p % channels]").swap("product + shift[c]", "product + shift[p % channels]"))

# --- layer norm ---------------------------------------------------------------------------------------------------
edit("layer", "layer norm: eps of 1e-5 for 1e-3", "ln eps", lambda p: p.swap("sqrt(variance + eps)", "sqrt(variance + 0.01 * eps)"))
edit("layer", "layer norm: divided by N - 1", "ln variance", lambda p: p.swap("squares / positions", "squares / (positions - 1)"))
edit("layer", "layer norm: gamma transposed", "ln transposed", lambda p: p.array(
    "ENC2_D1_ln_gamma", lambda g: g.reshape(6, 8).T))
edit("layer", "layer norm: beta transposed", "ln transposed", lambda p: p.array(
    "DEC2_D1_ln_beta", lambda g: g.reshape(6, 4).T))
edit("layer", "layer norm: over the channels", "ln axes", lambda p: p.swap(
    "for (int c = 0; c < channels; c++) {\n        double sum", "for (int c = 0; c < channels; c++) { double unused; }\n    for (int q = 0; q < positions; q++) {\n        double sum").swap(
    "for (int p = 0; p < positions; p++)\n            sum = sum + (double)x[p * channels + c];", "for (int c = 0; c < channels; c++) sum += (double)x[q * channels + c];").swap(
    "sum / positions", "sum / channels").swap(
    "for (int p = 0; p < positions; p++) {\n            const double off = (double)x[p * channels + c]", "for (int c = 0; c < channels; c++) {\n            const double off = (double)x[q * channels + c]").swap(
    "squares / positions", "squares / channels").swap(
    "for (int p = 0; p < positions; p++) {\n            const float scale", "for (int c = 0, p = q; c < channels; c++) {\n            const float scale"))
edit("layer", "layer norm: the mean is not taken off", "ln mean", lambda p: p.swap("x[p * channels + c] - middle", "x[p * channels + c]"))
edit("layer", "layer norm: beta left out", "ln beta", lambda p: p.swap("product + beta[p]", "product"))
edit("layer", "layer norm: no root", "ln variance", lambda p: p.swap("1.0 / sqrt(variance + eps)", "1.0 / (variance + eps)"))
edit("layer", "layer norm: sums in float", "ln precision", lambda p: p.swap("double sum = 0.0, squares = 0.0;", "float sum = 0.0f, squares = 0.0f;"))

# --- activations --------------------------------------------------------------------------------------------------
edit("signal", "relu6 without its six", "activation", lambda p: p.swap(HIGH6, "y[n] = low;"))
edit("signal", "relu6 for relu6 with one", "activation", lambda p: p.swap(HIGH6, "y[n] = low > 1.0f ? 1.0f : low;"))
edit("even", "relu lets a hundredth through", "activation", lambda p: p.swap(RELU, "y[n] = x[n] > 0.0f ? x[n] : 0.01f * x[n];"))
edit("even", "relu6 for relu", "activation", lambda p: p.inside("ENC1_D1_act", "relu(", "relu6("))
edit("layer", "leaky slope of 0.3", "activation", lambda p: p.swap("0x1.99999ap-3f * x[n]", "0.3f * x[n]"))
edit("layer", "elu without its minus one", "activation", lambda p: p.swap(ELU, "y[n] = x[n] > 0.0f ? x[n] : exp32(x[n]);").swap("static float expm1_32", "static float exp32(float);\nstatic float expm1_32"))
edit("layer", "elu from a table of 64 with straight lines between", "elu table", lambda p: p.swap(ELU, (
    "if (x[n] > 0.0f) y[n] = x[n]; else { float at = (x[n] < -8.0f ? 0.0f : (x[n] + 8.0f) * 8.0f); int k = (int)at; if (k > 63) k = 63;"
    "float low = expm1_32(-8.0f + k * 0.125f), high = expm1_32(-8.0f + (k + 1) * 0.125f); y[n] = low + (at - k) * (high - low); }")))
edit("even", "elu by the C library's expf", "exp", lambda p: p.swap(ELU, "y[n] = x[n] > 0.0f ? x[n] : expf(x[n]) - 1.0f;"))
edit("dilated", "selu without its scale", "activation", lambda p: p.swap("? 0x1.0cfabep+0f * x[n] :", "? x[n] :"))
edit("dilated", "selu's activation left out", "activation", lambda p: p.inside("ENC2_D1_act", "selu(in[0], y, 560);", "memcpy(y, in[0], 2240);"))
edit("dilated", "selu twice", "activation", lambda p: p.after("DEC2_D4_act", "selu(y, y, size);"))
edit("signal", "norm and activation exchanged", "norm and activation exchanged", lambda p: p.inside(
    "ENC2_D1.bn", "scale_shift(in[0]", "static float t[660]; relu6(in[0], t, 660); scale_shift(t").inside("ENC2_D1_act", "relu6(in[0], y, 660);", "memcpy(y, in[0], 2640);"))

# --- pooling, upsampling, joins -----------------------------------------------------------------------------------
edit("dilated", "pool starts from zero", "pool", lambda p: p.swap(BEST, "float best = 0.0f;"))
edit("even", "pool takes the mean", "pool", lambda p: p.swap(BEST, "float best = 0.0f; int n = 0;").swap(BETTER, "n++;").swap("best = value;\n", "best += value;\n").swap("*y++ = best;", "*y++ = best / n;"))
edit("even", "pool one column too early", "pool", lambda p: p.numbers("ENC1_pool", left=2))
edit("signal", "pool window of two for three", "pool", lambda p: p.numbers("ENC1_pool", kw=2))
edit("layer", "pool keeps the smallest", "pool", lambda p: p.swap(BEST, "float best = INFINITY;").swap(BETTER, "if (value < best)"))
edit("even", "upsampling with straight lines between", "upsampling", lambda p: p.swap(UP, (
    "{ float py = (i + 0.5f) / fy - 0.5f, px = (j + 0.5f) / fx - 0.5f; int r = (int)floorf(py), k = (int)floorf(px); float u = py - r, v = px - k;"
    "int r1 = r + 1 < h ? r + 1 : h - 1, k1 = k + 1 < w ? k + 1 : w - 1; if (r < 0) r = 0; if (k < 0) k = 0;"
    "*y++ = (1 - u) * ((1 - v) * x[(r * w + k) * channels + c] + v * x[(r * w + k1) * channels + c])"
    " + u * ((1 - v) * x[(r1 * w + k) * channels + c] + v * x[(r1 * w + k1) * channels + c]); }")))
edit("signal", "nearest upsampling with aligned corners", "upsampling", lambda p: p.swap(UP, (
    "*y++ = x[((int)rintf(h * fy > 1 ? i * (h - 1) / (float)(h * fy - 1) : 0) * w + (int)rintf(j * (w - 1) / (float)(w * fx - 1))) * channels + c];")))
edit("dilated", "linear upsampling with aligned corners", "upsampling", lambda p: p.swap(UP, (
    "{ float py = i * (h - 1) / (float)(h * fy - 1), px = j * (w - 1) / (float)(w * fx - 1); int r = (int)py, k = (int)px; float u = py - r, v = px - k;"
    "int r1 = r + 1 < h ? r + 1 : h - 1, k1 = k + 1 < w ? k + 1 : w - 1;"
    "*y++ = (1 - u) * ((1 - v) * x[(r * w + k) * channels + c] + v * x[(r * w + k1) * channels + c])"
    " + u * ((1 - v) * x[(r1 * w + k) * channels + c] + v * x[(r1 * w + k1) * channels + c]); }")))
edit("layer", "upsampling leaves zeros between", "upsampling", lambda p: p.swap(UP, "*y++ = i % fy || j % fx ? 0.0f : x[((i / fy) * w + j / fx) * channels + c];"))
edit("layer", "concat joins in the other order", "concat", lambda p: p.inside("DEC2_D3_cat", "concat(in[0], in[1],", "concat(in[1], in[0],"))
edit("dilated", "concat takes the block's activation, not the sum", "concat wrong tensor", lambda p: p.swap("/* ENC1_add: add", "static float kept[1600];\n\n/* ENC1_add: add").after(
    "ENC1_add", "memcpy(kept, in[0], sizeof kept);").inside("DEC3_D4_cat", "in[1]", "kept"))
edit("signal", "concat one whole tensor after the other", "concat", lambda p: p.swap(
    "for (int p = 0; p < positions; p++) {\n        for (int c = 0; c < from_a; c++)\n            *y++ = a[p * from_a + c];",
    "for (int c = 0; c < positions * from_a; c++) *y++ = a[c];\n    for (int p = 0; p < positions; p++) {"))
edit("even", "residual before the activation", "residual", lambda p: p.swap("/* ENC1_D2_act: relu", "static float kept[1080];\n\n/* ENC1_D2_act: relu").after(
    "ENC1_D2_act", "memcpy(kept, in[0], sizeof kept);").inside("ENC1_add", "add(in[0], in[1], y, 1080);", "add(kept, in[1], y, 1080); relu(y, y, 1080);"))
edit("signal", "residual left out", "residual", lambda p: p.swap(ADD, "y[n] = a[n];"))
edit("layer", "residual subtracted", "residual", lambda p: p.swap(ADD, "y[n] = a[n] - b[n];"))

# --- softmax ------------------------------------------------------------------------------------------------------
edit("signal", "softmax along the signal", "softmax", lambda p: p.inside("softmax", "softmax(in[0], y, 132, 4);", (
    "{ static float t[528], u[528]; for (int i = 0; i < 132; i++) for (int c = 0; c < 4; c++) t[c * 132 + i] = in[0][i * 4 + c];"
    "softmax(t, u, 4, 132); for (int i = 0; i < 132; i++) for (int c = 0; c < 4; c++) y[i * 4 + c] = u[c * 132 + i]; }")))
edit("layer", "softmax twice", "softmax", lambda p: p.after("softmax", "softmax(y, y, size / 5, 5);"))
edit("dilated", "softmax in base two", "softmax", lambda p: p.swap("y[c] = exp32(x[c] - largest);", "y[c] = exp2f(x[c] - largest);"))
edit("signal", "softmax not divided", "softmax", lambda p: p.swap("y[c] = y[c] / sum;", "y[c] = y[c];"))

# --- memory, in the running port ----------------------------------------------------------------------------------
edit("signal", "vector loop leaves the last channels", "zeros at the end", lambda p: p.after(
    "DEC1_D3_act", "for (int n = 0; n < size; n++) if (n % 9 >= 8) y[n] = 0;"))
edit("even", "vector loop leaves the last columns", "zeros at the end", lambda p: p.after(
    "DEC3_D1_act", "for (int n = 0; n < size; n++) if (n / 5 % 18 >= 16) y[n] = 0;"))
edit("even", "the end of the tensor is not written", "zeros at the end", lambda p: p.after(
    "ENC2_D1_act", "memset(y + size - 20, 0, 80);"))
edit("dilated", "another buffer's line in the cache", "foreign bytes", lambda p: p.after(
    "ENC2_D1_act", "memcpy(y + 128, in[0] + 96, 64);"))
edit("layer", "a DMA transfer lost its second half", "foreign bytes", lambda p: p.after(
    "ENC1_D1_act", "memcpy(y + 256, in[0] + 256, 1024);"))
edit("signal", "one float overwritten by a stack", "foreign bytes", lambda p: p.after("ENC2_add", "y[33] = 7.25f;"))
edit("layer", "bit 20 stuck at one", "stuck bit", lambda p: p.after(
    "ENC2_D1_act", "for (int n = 0; n < size; n++) { uint32_t u; memcpy(&u, y + n, 4); u |= 1u << 20; memcpy(y + n, &u, 4); }"))
edit("dilated", "activations kept in half", "storage", lambda p: p.after(
    "ENC2_D2_act", "for (int n = 0; n < size; n++) y[n] = to_half(y[n]);"))
edit("even", "activations kept in int8", "storage", lambda p: p.after(
    "ENC3_add", "for (int n = 0; n < size; n++) y[n] = to_q(y[n], 8, 4);"))
edit("signal", "activations kept in Q4.11", "storage", lambda p: p.after(
    "ENC1_add", "for (int n = 0; n < size; n++) y[n] = to_q(y[n], 16, 11);"))
edit("dilated", "rows with a pitch of a column more", "row pitch", lambda p: p.after(
    "ENC3_D1_act", "{ static float t[280]; memcpy(t, y, sizeof t); memset(y, 0, sizeof t); for (int i = 0; i < 8; i++) for (int n = 0; n < 35; n++) if (i * 42 + n < 280) y[i * 42 + n] = t[i * 35 + n]; }"))

# --- memory, in the dump ------------------------------------------------------------------------------------------
spoil("signal", "dump is channels first", "transposed", "ENC2_D1_act", lambda x: x.transpose(0, 3, 1, 2))
spoil("even", "dump is W by H", "transposed", "ENC2_D1_act", lambda x: x.transpose(0, 2, 1, 3))
spoil("even", "dump with bytes swapped", "byte order", "ENC2_add", lambda x: x.byteswap())
spoil("layer", "dump with 16-bit halves swapped", "byte order", "ENC2_add", lambda x: x.view("<u2").reshape(-1, 2)[:, ::-1].copy().view("<f4"))
spoil("dilated", "dump begins three floats late", "moved", "ENC3_add", lambda x: np.roll(x.reshape(len(x), -1), 3, 1))
spoil("signal", "dump with its halves exchanged", "permuted", "DEC2_add", lambda x: np.roll(x.reshape(len(x), -1), 330, 1))
spoil("even", "dump even elements first", "permuted", "DEC2_add", lambda x: np.concatenate([x.reshape(len(x), -1)[:, ::2], x.reshape(len(x), -1)[:, 1::2]], 1))
spoil("layer", "dump printed with %.6f", "printed", "ENC3_D1_act", lambda x: np.array([float(f"{v:.6f}") for v in x.ravel()]))
spoil("dilated", "dump printed with %.4g", "printed", "ENC2_pool", lambda x: np.array([float(f"{v:.4g}") for v in x.ravel()]))
spoil("layer", "dump without signs", "absolute", "DEC1_D1_act", lambda x: abs(x))
spoil("signal", "dump reversed in time", "permuted", "DEC1_add", lambda x: x[:, :, ::-1])
edit("dilated", "the output is the input's buffer", "stale", lambda p: p.after("DEC1_D4_act", "memcpy(y, in[0], 4 * size);"))
edit("even", "the output is an older tensor's buffer", "stale", lambda p: p.swap(
    "/* ENC1_D1_act: relu", "static float old[1080];\n\n/* ENC1_D1_act: relu").after(
    "ENC1_D1_act", "memcpy(old, y, sizeof old);").after("DEC3_D4_act", "memcpy(y, old, sizeof old);"))

# told -> names of causes, one of which has to come first; what also must stand in its words, if anything
CAUSES: dict[str, set[str]] = {
    "pads": {"pads_shifted", "pads_swapped", "pads_zero", "pads_without_dilation", "padding_other"},
    "dilation": {"dilation_ignored", "dilation_other", "dilation_any"},
    "border": {"border_not_zero", "padding_value"},
    "kernel flipped": {"kernel_flipped"},
    "weight layout": {"kernel_layout", "depthwise_layout", "weights_layout", "kernel_transposed"},
    "weights of another layer": {"weights_of_another_layer"},
    "weights rounded": {"weights_narrow"},
    "weights quantised": {"weights_quantised", "weights_format"},
    "weights damaged": {"weights_fitted", "filter_missing"},
    "weights moved": {"weights_moved"},
    "channels": {"channel_missing", "input_channels_reversed", "kernel_channels_reversed", "part_left_out"},
    "accumulator not cleared": {"accumulator_not_cleared"},
    "accumulator precision": {"accumulator_fixed_point", "accumulator_short", "sum_precision", "total_cut",
                              "half_of_separable", "inputs_format"},
    "order": {"order_of_walk", "order_of_groups", "sum_precision", "rounding"},
    "fma": {"multiply_add", "batch_norm_order"},
    "bias": {"bias_missing", "bias_doubled", "bias_misplaced", "bias_narrow", "bias_other", "bias_fitted",
             "weights_elsewhere"},
    "region or bias": {"stale_part", "bias_missing"},
    "bn eps": {"batch_norm_eps"},
    "bn variance": {"batch_norm_variance"},
    "bn gamma": {"batch_norm_gamma", "batch_norm_parts"},
    "bn beta": {"batch_norm_beta", "batch_norm_parts"},
    "bn mean": {"batch_norm_mean", "batch_norm_parts"},
    "bn exchanged": {"batch_norm_swapped", "batch_norm_parts"},
    "bn layout": {"batch_norm_statistics"},
    "norm left out": {"batch_norm_parts"},
    "norm of another layer": {"batch_norm_of_another_layer"},
    "ln eps": {"layer_norm_eps"},
    "ln variance": {"layer_norm_variance", "layer_norm_formula"},
    "ln transposed": {"layer_norm_layout"},
    "ln axes": {"layer_norm_axes"},
    "ln mean": {"layer_norm_variance"},
    "ln beta": {"layer_norm_parts"},
    "ln precision": {"layer_norm_variance", "layer_norm_formula", "rounding"},
    "activation": {"activation_swapped", "activation_missing", "activation_other", "clamp_above", "slope_fitted",
                   "leaky_slope", "exponential_parts", "exponential_other", "applied_twice"},
    "elu table": {"exponential_table"},
    "exp": {"exponential_other"},
    "norm and activation exchanged": {"activation_before_norm"},
    "pool": {"pool_pads_zero", "pool_average", "pool_shifted", "pool_window"},
    "upsampling": {"upsample_off", "upsample_bilinear", "upsample_zeros", "upsampling_interpolated", "upsampling_rule"},
    "concat": {"concat_order", "concat_axis"},
    "concat wrong tensor": {"wrong_tensor"},
    "residual": {"residual_before_activation", "addend_missing", "addend_wrong"},
    "softmax": {"softmax_axis", "softmax_exp", "softmax_missing", "softmax_other", "applied_twice"},
    "zeros at the end": {"output_part_unwritten", "part_not_written"},
    "foreign bytes": {"stale_run", "stale_part", "foreign_bytes"},
    "stuck bit": {"stuck_bit"},
    "storage": {"output_narrow", "fixed_point", "quantised_storage", "mantissa_short"},
    "row pitch": {"row_pitch"},
    "transposed": {"layout_swapped", "elements_permuted"},
    "byte order": {"bytes_swapped", "bytes_reordered"},
    "moved": {"elements_moved"},
    "permuted": {"elements_permuted", "output_mirrored"},
    "printed": {"printed_decimal"},
    "absolute": {"sign_turned"},
    "stale": {"stale_buffer", "activation_missing"},
}

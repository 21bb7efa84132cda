"""Faults of ports as embedded engineers meet them: each an edit of the C, or what happened to a dumped tensor.

FAULTS is filled below: name -> Fault. `told` is the truth, in the words of CAUSES,
    which says what names of causes tell
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
edit("even", "weights in half precision", "weights rounded",
    lambda p: p.kernel("DEC1_D3_conv", lambda w: w.astype("f2")))
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
edit("even", "last input channel left out", "channels",
    lambda p: p.swap("c < s->c; c++)\n                            acc", "c < s->c - 1; c++)\n                         "
    "   acc"))
edit("layer", "input channels in reverse", "channels",
    lambda p: p.swap(DENSE, DENSE.replace("px[c]", "px[s->c - 1 - c]")))
edit("dilated", "accumulator not cleared between filters", "accumulator not cleared", lambda p: p.swap(
    "float acc = 0.0f;", "").swap("for (int j = 0; j < s->ow; j++)", "for (int j = 0; j < s->ow; j++) { float acc = "
    "0.0f;").swap(
    "*y++ = acc;\n            }", "*y++ = acc;\n            } }"))
edit("even", "accumulator never cleared", "accumulator not cleared", lambda p: p.swap(
    "float acc = 0.0f;", "").swap("for (int i = 0; i < s->oh; i++)", "float acc = 0.0f;\n    for (int i = 0; i < "
    "s->oh; i++)"))
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
edit("signal", "taps from last to first", "order",
    lambda p: p.swap("for (int kx = 0; kx < s->kw; kx++) {", "for (int kx = s->kw - 1; kx >= 0; kx--) {", 2))
edit("dilated", "channels outside, taps inside", "order", lambda p: p.swap(
    "for (int ky = 0; ky < s->kh; ky++) {", "for (int c = 0; c < s->c; c++) for (int ky = 0; ky < s->kh; ky++) "
    "{").swap(
    "for (int c = 0; c < s->c; c++)\n                            acc", "acc"))
edit("even", "Kahan's sum", "order", lambda p: p.swap("float acc = 0.0f;", "float acc = 0.0f, rest = 0.0f;").swap(
    DENSE, "{ volatile float v = px[c] * pw[c * s->f] - rest; volatile float t = acc + v; volatile float d = t - acc; "
    "rest = d - v; acc = t; }"))
edit("layer", "four partial sums", "order",
    lambda p: p.swap("float acc = 0.0f;", "float acc = 0.0f, part[4] = {0};").swap(
    DENSE, "part[c % 4] = multiply_add(px[c], pw[c * s->f], part[c % 4]);").swap(
    "*y++ = acc;", "*y++ = (part[0] + part[1]) + (part[2] + part[3]);"))
edit("even", "int32 products in Q15", "accumulator precision", lambda p: p.swap(
    DENSE, "acc += (float)(long long)rint((double)px[c] * 32768) * (float)rint((double)pw[c * s->f] * 32768) / "
    "1073741824.0f;"))

# --- bias ---------------------------------------------------------------------------------------------------------
edit("even", "bias left out everywhere", "bias", lambda p: p.swap(BIAS, "(void)b;"))
edit("layer", "bias left out in one layer", "bias", lambda p: p.inside("NECK_conv", "add_bias(", "if (0) add_bias("))
edit("signal", "bias twice", "bias", lambda p: p.swap(BIAS, BIAS.replace("+ b[c]", "+ 2 * b[c]")))
edit("dilated", "bias subtracted", "bias", lambda p: p.swap(BIAS, BIAS.replace("+ b[c]", "- b[c]")))
edit("even", "bias of the first channel for all", "bias", lambda p: p.swap(BIAS, BIAS.replace("b[c]", "b[0]")))
edit("layer", "bias of the next channel", "bias", lambda p: p.array("NECK_conv_bias", lambda b: np.roll(b, -1)))
edit("even", "bias in bfloat16", "bias",
    lambda p: p.array("DEC1_D1_conv_bias", lambda b: (b.view("u4") & 0xFFFF0000).view("f4")))
edit("signal", "bias of another layer", "bias",
    lambda p: p.array("ENC3_skip_bias", lambda b: p.values["ENC2_skip/bias"][:9]))
edit("dilated", "bias only on the first row", "region or bias", lambda p: p.inside("ENC1_skip", "320, 5)", "20, 5)"))

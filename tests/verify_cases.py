"""What the tests of verify share: a small network with everything in it, its bundle, its C port, and faults for it."""

from __future__ import annotations

import re
import subprocess
from functools import cached_property
from pathlib import Path

import numpy as np

from npunet import UNet
from npunet.golden import Bundle, golden

BLOCKS = [
    {"filters": 4, "depth": 2, "ddepth": 1, "kernel": [3, 2], "pool": [3, 2], "strides": [2, 2], "dilation": [1, 2]},
    {"filters": 5, "depth": 1, "kernel": [2, 3], "pool": [2, 3], "strides": [1, 2], "seperable": True, "norm": "layer",
     "activation": "leaky_relu"},
    {"filters": 6, "depth": 1, "kernel": 3, "pool": 2, "strides": [2, 1], "activation": "elu"},
    {"filters": 3, "depth": 1, "kernel": [1, 3], "pool": 2, "strides": 1, "norm": None, "activation": "selu"},
]
NETWORK = {"blocks": BLOCKS, "output_kernel_size": 3, "include_top": True, "use_logits": False}
FLAGS = ("-std=c99", "-O2", "-w", "-ffp-contract=off")

C2D_ROW = "const int row = i * s->sy + ky * s->dy - s->top;"
C2D_COLUMN = "const int column = j * s->sx + kx * s->dx - s->left;"
DENSE = "acc = multiply_add(px[c], pw[c * s->f], acc);"
PW = "w + (ky * s->kw + kx) * s->c * s->f + f;"
DW = "w[(ky * s->kw + kx) * s->f + f]"
BIAS = "y[p * channels + c] = y[p * channels + c] + b[c];"
KY, KX = "for (int ky = 0; ky < s->kh; ky++) {", "for (int kx = 0; kx < s->kw; kx++) {"
ROWS, COLUMNS = "row < 0 || row >= s->h", "column < 0 || column >= s->w"
POOL_ROW, POOL_COLUMN = "const int row = i * s->sy + ky - s->top;", "const int column = j * s->sx + kx - s->left;"
POOL = "if (value > best || value != value)"
CUT = ("{ float v = y[p * channels + c] + b[c]; uint32_t u;"
      " memcpy(&u, &v, 4); u &= 0xffff0000u; memcpy(&y[p * channels + c], &u, 4); }")
JOIN_A = "for (int c = 0; c < from_a; c++)\n            *y++ = a[p * from_a + c];\n"
JOIN_B = "        for (int c = 0; c < from_b; c++)\n            *y++ = b[p * from_b + c];\n"
ADD = "y[n] = a[n] + b[n];"
LOW = "const float low = x[n] > 0.0f || x[n] != x[n] ? x[n] : 0.0f;"
SELU = "x[n] > 0.0f ? 0x1.0cfabep+0f * x[n] : 0x1.c212ccp+0f * expm1_32(x[n])"

# name: (edits of net.c, each at the first place of its text; hypotheses that say it right)
FAULTS = {
    "one column early": ([(C2D_COLUMN, C2D_COLUMN[:-1] + " - 1;")], {"pads_shifted", "pads_swapped", "pads_zero"}),
    "one row late": ([(C2D_ROW, C2D_ROW[:-1] + " + 1;")], {"pads_shifted", "pads_swapped", "pads_zero"}),
    "no padding above": ([("ky * s->dy - s->top;", "ky * s->dy;")], {"pads_zero", "pads_shifted", "pads_swapped"}),
    "pads swapped": ([("s->dy - s->top;", "s->dy - s->left;"), ("s->dx - s->left;", "s->dx - s->top;")],
                     {"pads_swapped", "pads_zero", "pads_shifted"}),
    "dilation ignored": ([("kx * s->dx - s->left;", "kx - s->left;")], {"dilation_ignored"}),
    "dilations swapped": ([("ky * s->dy", "ky * s->dx"), ("kx * s->dx", "kx * s->dy")], {"dilation_ignored"}),
    "one dilation for both": ([("ky * s->dy", "ky * s->dx")], {"dilation_other"}),
    "no check of columns": ([(COLUMNS, "row * s->w + column < 0 || row * s->w + column >= s->h * s->w")],
                            {"border_not_zero"}),
    "edge repeated": ([(C2D_ROW, C2D_ROW.replace("const ", "") + " row = row < 0 ? 0 : row < s->h ? row : s->h - 1;"),
                       (C2D_COLUMN, C2D_COLUMN.replace("const ", "")
                        + " column = column < 0 ? 0 : column < s->w ? column : s->w - 1;")], {"border_not_zero"}),
    "kernel turned": ([(PW, "w + ((s->kh - 1 - ky) * s->kw + s->kw - 1 - kx) * s->c * s->f + f;")], {"kernel_flipped"}),
    "kernel mirrored": ([(PW, "w + (ky * s->kw + s->kw - 1 - kx) * s->c * s->f + f;")], {"kernel_flipped"}),
    "kernel read as OHWI": ([("pw[c * s->f]", "w[((f * s->kh + ky) * s->kw + kx) * s->c + c]")], {"kernel_layout"}),
    "kernel read as OIHW": ([("pw[c * s->f]", "w[((f * s->c + c) * s->kh + ky) * s->kw + kx]")], {"kernel_layout"}),
    "channels turned": ([("multiply_add(px[c]", "multiply_add(px[s->c - 1 - c]")],
                        {"input_channels_reversed", "kernel_channels_reversed"}),
    "last channel left out": ([("c < s->c; c++)\n                            acc", "c < s->c - 1; c++)\n"
                                "                            acc")], {"channel_missing"}),
    "depthwise turned": ([(DW, "w[((s->kh - 1 - ky) * s->kw + s->kw - 1 - kx) * s->f + f]")], {"kernel_flipped"}),
    "depthwise as CHW": ([(DW, "w[(f * s->kh + ky) * s->kw + kx]")], {"depthwise_layout"}),
    "bias left out": ([(BIAS, BIAS.replace("b[c]", "0.0f"))], {"bias_missing"}),
    "bias twice": ([(BIAS, BIAS.replace("b[c]", "b[c] + b[c]"))], {"bias_doubled"}),
    "bias of the first": ([(BIAS, BIAS.replace("b[c]", "b[0]"))], {"bias_misplaced"}),
    "bias subtracted": ([(BIAS, BIAS.replace("+ b[c]", "- b[c]"))], {"bias_doubled"}),
    "fused multiply-add": ([("const float product = x * w;\n    return acc + product;", "return fmaf(x, w, acc);")],
                           {"multiply_add"}),
    "sum in double": ([("float acc = 0.0f;", "double acc = 0.0;"), ("*y++ = acc;", "*y++ = (float)acc;"),
                       (DENSE, "acc = acc + (double)px[c] * (double)pw[c * s->f];")], {"sum_precision"}),
    "a partial sum a tap": ([("for (int c = 0; c < s->c; c++)\n                            " + DENSE,
                              "float part = 0.0f; for (int c = 0; c < s->c; c++)"
                              " part = multiply_add(px[c], pw[c * s->f], part); acc = acc + part;")],
                            {"order_of_groups"}),
    "columns first": ([(KY, "for (int t = 0; t < s->kh * s->kw; t++) { const int ky = t % s->kh;"),
                       (KX, "for (int kx = t / s->kh; kx == t / s->kh; kx++) {")], {"order_of_walk"}),
    "from the back": ([(KY, "for (int ky = s->kh - 1; ky >= 0; ky--) {"),
                       (KX, "for (int kx = s->kw - 1; kx >= 0; kx--) {"),
                       ("for (int c = 0; c < s->c; c++)\n                            acc",
                        "for (int c = s->c - 1; c >= 0; c--) acc")], {"order_of_walk"}),
    "output in bfloat16": ([(BIAS, CUT)], {"output_narrow"}),
    "pool starts at 0": ([("float best = -INFINITY;", "float best = 0.0f;")], {"pool_pads_zero"}),
    "pool of minima": ([("float best = -INFINITY;", "float best = INFINITY;"), (POOL, POOL.replace(">", "<"))],
                       {"pool_average"}),
    "pool shifted": ([(POOL_COLUMN, POOL_COLUMN[:-1] + " + 1;")], {"pool_shifted"}),
    "pool too narrow": ([(KX + "\n                        " + POOL_COLUMN,
                          KX.replace("s->kw", "s->kw - 1") + POOL_COLUMN)],
                        {"pool_window"}),
    "pool passes NaN over": ([(POOL, "if (value > best)")], {"pool_nan"}),
    "upsampling early": ([("+ j / fx) * channels", "+ (j + 1 < w * fx ? (j + 1) / fx : w - 1)) * channels")],
                         {"upsample_off"}),
    "upsampling tiled": ([("(i / fy) * w + j / fx", "(i % h) * w + j % w")], {"upsample_tiled"}),
    "concatenation swapped": ([(JOIN_A + JOIN_B, JOIN_B + "        " + JOIN_A)], {"concat_order"}),
    "second part zero": ([("*y++ = b[p * from_b + c];", "*y++ = 0.0f;")], {"concat_part_missing"}),
    "residual missing": ([(ADD, "y[n] = a[n];")], {"addend_missing"}),
    "residual twice": ([(ADD, "y[n] = a[n] + b[n] + b[n];")], {"addend_wrong"}),
    "residual subtracted": ([(ADD, "y[n] = a[n] - b[n];")], {"addend_wrong"}),
    "no clamp at 6": ([("low > 6.0f ? 6.0f : low", "low")], {"activation_swapped", "clamp_above"}),
    "clamp at 7": ([("low > 6.0f ? 6.0f : low", "low > 7.0f ? 7.0f : low")], {"clamp_above"}),
    "clamp at 5.99": ([("low > 6.0f ? 6.0f : low", "low > 5.99f ? 5.99f : low")], {"clamp_fitted"}),
    "pool by magnitude": ([(POOL, "if (fabsf(value) > fabsf(best) || best == -INFINITY)")], {"pool_magnitude"}),
    "slope 0.05": ([("0x1.99999ap-3f * x[n]", "0.05f * x[n]")], {"slope_fitted"}),
    "channels shifted": ([(DW, "w[(ky * s->kw + kx) * s->f + (f + 1) % s->f]")], {"kernel_channels_shifted"}),
    "columns mirrored": ([(C2D_COLUMN, C2D_COLUMN.replace("const ", "") + " column = column < 0 ? -column :"
                           " column < s->w ? column : 2 * s->w - 2 - column;")], {"border_not_zero"}),
    "stride too large": ([("i * s->sy + ky * s->dy", "i * (s->sy + 1) + ky * s->dy")], {"stride_other"}),
    "no clamp at 0": ([(LOW, "const float low = x[n];")], {"clamp_below"}),
    "NaN becomes 0": ([(LOW, "const float low = x[n] > 0.0f ? x[n] : 0.0f;")], {"relu_of_specials"}),
    "slope 0.01": ([("0x1.99999ap-3f * x[n]", "0.01f * x[n]")], {"leaky_slope"}),
    "slope on the wrong side": ([("x[n] > 0.0f ? x[n] : 0x1.99999ap-3f * x[n]", "x[n] > 0.0f ? 0x1.99999ap-3f * x[n] : "
                                  "x[n]")], {"leaky_slope"}),
    "library expm1": ([("? x[n] : expm1_32(x[n])", "? x[n] : (float)expm1((double)x[n])")], {"exponential_other"}),
    "selu for elu": ([("x[n] > 0.0f ? x[n] : expm1_32(x[n])", SELU)], {"activation_swapped"}),
    "no alpha": ([(SELU, SELU.replace("0x1.c212ccp", "0x1.0cfabep"))], {"exponential_other"}),
    "layer norm without eps": ([("sqrt(variance + eps)", "sqrt(variance)")], {"layer_norm_eps"}),
    "eps outside the root": ([("sqrt(variance + eps)", "(sqrt(variance) + eps)")], {"layer_norm_eps"}),
    "unbiased variance": ([("squares / positions;", "squares / (positions - 1);")], {"layer_norm_variance"}),
    "layer norm without beta": ([("product + beta[p];", "product + 0.0f;")], {"layer_norm_parts"}),
    "softmax unshifted": ([("exp32(x[c] - largest)", "exp32(x[c])")], {"softmax_unshifted"}),
    "library exp": ([("exp32(x[c] - largest)", "(float)exp((double)(x[c] - largest))")], {"softmax_exp"}),
    "softmax by reciprocal": ([("y[c] = y[c] / sum;", "y[c] = y[c] * (1.0f / sum);")], {"softmax_sum"}),
}


def random_weights(model, seed):
    """Weights of a size that keeps every layer busy, none of them trivial."""
    rng = np.random.default_rng(seed)
    drawn = {}
    for name, value in model.weights.items():
        if name.endswith(("moving_variance", "gamma")):
            drawn[name] = rng.uniform(0.5, 1.5, value.shape).astype("f4")
        elif value.ndim == 4:
            drawn[name] = (value + rng.normal(0, 0.05, value.shape)).astype("f4")
        else:
            drawn[name] = rng.normal(0, 0.4, value.shape).astype("f4")
    return model.load_weights(drawn)


def network(seed=1):
    """The network with everything in it."""
    return random_weights(UNet(NETWORK, (12, 20, 2), 3, seed=seed), seed)


def make_bundle(folder, **options):
    """Its bundle in the order "seq", unless told otherwise."""
    golden(network(), folder, **{"arithmetic": "seq", "formats": ("bin", "c"), **options})
    return Bundle(folder)


class Ports:
    """C ports of a bundle: its own net.c and faulty ones."""

    def __init__(self, bundle, folder):
        self.bundle, self.folder = bundle, Path(folder)
        self.source = (bundle.root / "c/net.c").read_text()

    def faulty(self, edits):
        """net.c with a fault."""
        text = self.source
        for old, new in edits:
            assert old in text, old
            text = text.replace(old, new, 1)
        assert text != self.source
        return text

    @cached_property
    def shared(self):
        """A folder with what all ports have in common: the weights, declared and as an object, net_dump's object."""
        where = self.folder / "shared"
        where.mkdir()
        text = (self.bundle.root / "c/net_weights.h").read_text()
        (where / "net_weights.h").write_text("".join(
            f"extern const float {name};\n" for name in re.findall(r"static const float (\w+\[\d+\]) = ", text)))
        (where / "weights.c").write_text(text.replace("static const float ", "const float "))
        for file in ("net.h", "net_dump.c"):
            (where / file).symlink_to(self.bundle.root / "c" / file)
        subprocess.run(["gcc", *FLAGS, "-c", "weights.c", "net_dump.c"], cwd=where, check=True)
        return where

    def compiled(self, name, text):
        """The program net_dump of a net.c."""
        where, shared = self.folder / name.replace(" ", "_"), self.shared
        where.mkdir()
        (where / "net.c").write_text(text)
        objects = (shared / "weights.o", shared / "net_dump.o")
        command = ["gcc", *FLAGS, "-I", shared, "net.c", *objects, "-lm", "-o", "net_dump"]
        subprocess.run(command, cwd=where, check=True)
        return where / "net_dump"

    def run(self, program):
        """The outputs of the first network case; returns their folder."""
        case = next(iter(self.bundle.cases))
        out = program.parent / "out"
        (out / case).mkdir(parents=True)
        subprocess.run([program, self.bundle.root / "f32" / case / "in.bin", out / case], check=True)
        return out

    def run_all(self, program):
        """The outputs of every case by one command; returns their folder."""
        out = program.parent / "out"
        subprocess.run([program, "--all", self.bundle.root, out], check=True)
        return out

    def run_layers(self, program, operators=None):
        """The outputs of every layer case besides."""
        out = program.parent / "out"
        for number, layer in enumerate(self.bundle.layers.values()):
            if layer["id"] in self.bundle.cases and (operators is None or layer["operator"] in operators):
                (out / layer["id"]).mkdir(parents=True)
                inputs = [self.bundle.root / "f32" / layer["id"] / f"{layer['id']}.in{k}.bin"
                          for k in range(len(layer["inputs"]))]
                subprocess.run([program, "--layer", str(number), out / layer["id"], *inputs], check=True)
        return out

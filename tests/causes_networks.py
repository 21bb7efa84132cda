"""Twelve small networks on which faults are tried, and their C ports: edited, compiled, run."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np

from npunet import UNet
from npunet.golden import Bundle, golden

SIGNAL = {"blocks": [
    {"filters": 6, "depth": 2, "ddepth": 1, "kernel": [1, 7], "pool": 3, "strides": 2, "seperable": True},
    {"filters": 10, "depth": 1, "kernel": [1, 5], "pool": 2, "strides": 2, "seperable": True, "dropout": 0.1},
    {"filters": 9, "depth": 1, "kernel": [1, 3], "pool": 3, "strides": 3, "seperable": True, "skip": False},
], "output_kernel_size": [1, 5], "use_logits": False}
EVEN = {"blocks": [
    {"filters": 5, "depth": 2, "kernel": [4, 2], "pool": [2, 3], "strides": [2, 1], "activation": "relu"},
    {"filters": 7, "depth": 1, "kernel": [2, 4], "pool": [3, 2], "strides": [1, 3], "activation": "relu6"},
    {"filters": 5, "depth": 1, "kernel": [2, 2], "pool": [2, 2], "strides": [2, 2], "norm": None, "activation": "elu"},
], "output_kernel_size": [2, 3]}
LAYER = {"blocks": [
    {"filters": 4, "depth": 1, "kernel": [3, 3], "pool": [2, 2], "strides": [2, 2], "norm": "layer",
     "activation": "leaky_relu"},
    {"filters": 6, "depth": 2, "ddepth": 1, "kernel": [3, 2], "pool": [3, 3], "strides": [1, 2], "norm": "layer",
     "activation": "elu"},
    {"filters": 8, "depth": 1, "kernel": [2, 3], "pool": [2, 2], "strides": [2, 1], "norm": "layer",
     "activation": "selu"},
], "output_kernel_size": [1, 1], "use_logits": False}
DILATED = {"blocks": [
    {"filters": 5, "depth": 3, "ddepth": 1, "kernel": [3, 3], "pool": [2, 2], "strides": [2, 2], "dilation": [1, 2]},
    {"filters": 7, "depth": 2, "ddepth": 2, "kernel": [3, 2], "pool": [3, 2], "strides": [1, 2], "dilation": [2, 1],
     "skip": False, "activation": "selu"},
    {"filters": 7, "depth": 2, "ddepth": 1, "kernel": [2, 3], "pool": [2, 3], "strides": [2, 1], "dilation": [2, 3],
     "activation": "relu"},
], "output_kernel_size": [3, 3], "use_logits": False}
SENSOR = {"blocks": [
    {"filters": 8, "depth": 2, "kernel": [1, 9], "pool": 4, "strides": 2, "seperable": True},
    {"filters": 12, "depth": 2, "ddepth": 1, "kernel": [1, 4], "pool": 2, "strides": 2, "seperable": True,
     "skip": False},
    {"filters": 16, "depth": 1, "kernel": [1, 6], "pool": 3, "strides": 3, "seperable": True, "activation": "relu"},
], "output_kernel_size": [1, 3], "use_logits": False}
UNEVEN = {"blocks": [
    {"filters": 6, "depth": 2, "kernel": [2, 6], "pool": [3, 2], "strides": [2, 2], "activation": "relu"},
    {"filters": 8, "depth": 1, "kernel": [6, 2], "pool": [2, 4], "strides": [1, 2], "activation": "leaky_relu"},
    {"filters": 5, "depth": 2, "ddepth": 1, "kernel": [4, 4], "pool": [2, 2], "strides": [2, 1], "activation": "elu",
     "skip": False},
], "output_kernel_size": [3, 2]}
PLANES = {"blocks": [
    {"filters": 5, "depth": 1, "kernel": [2, 3], "pool": [2, 3], "strides": [2, 2], "norm": "layer",
     "activation": "selu"},
    {"filters": 7, "depth": 1, "kernel": [3, 3], "pool": [2, 2], "strides": [1, 2], "norm": "layer",
     "activation": "relu6"},
    {"filters": 4, "depth": 2, "ddepth": 1, "kernel": [3, 1], "pool": [2, 2], "strides": [2, 1], "norm": "layer",
     "activation": "elu", "skip": False},
], "output_kernel_size": [1, 3], "use_logits": False}
MIXED = {"blocks": [
    {"filters": 6, "depth": 2, "kernel": [3, 3], "pool": [2, 2], "strides": [2, 2], "dilation": [2, 2], "skip": False},
    {"filters": 8, "depth": 2, "ddepth": 1, "kernel": [3, 3], "pool": [2, 3], "strides": [1, 2], "dilation": [1, 3],
     "activation": "leaky_relu"},
    {"filters": 7, "depth": 1, "kernel": [2, 3], "pool": [2, 2], "strides": [2, 1], "dilation": [3, 1],
     "activation": "elu"},
], "output_kernel_size": [3, 3], "use_logits": False}
BREATH = {"blocks": [
    {"filters": 6, "depth": 2, "kernel": [1, 5], "pool": 3, "strides": 2, "seperable": True, "skip": False},
    {"filters": 10, "depth": 2, "ddepth": 1, "kernel": [1, 6], "pool": 2, "strides": 2, "seperable": True},
    {"filters": 11, "depth": 1, "kernel": [1, 3], "pool": 2, "strides": 2, "seperable": True, "dilation": [1, 2]},
], "output_kernel_size": [1, 3], "use_logits": False}
OBLONG = {"blocks": [
    {"filters": 6, "depth": 2, "kernel": [2, 4], "pool": [2, 3], "strides": [2, 2]},
    {"filters": 10, "depth": 1, "kernel": [4, 2], "pool": [3, 2], "strides": [2, 1], "activation": "relu6"},
    {"filters": 6, "depth": 2, "ddepth": 1, "kernel": [2, 6], "pool": [2, 2], "strides": [1, 2],
     "activation": "leaky_relu"},
], "output_kernel_size": [2, 2]}
FIELDS = {"blocks": [
    {"filters": 5, "depth": 1, "kernel": [3, 2], "pool": [2, 2], "strides": [2, 2], "norm": "layer",
     "activation": "elu", "skip": False},
    {"filters": 6, "depth": 2, "ddepth": 1, "kernel": [2, 3], "pool": [2, 3], "strides": [2, 1], "norm": "layer",
     "activation": "leaky_relu"},
    {"filters": 9, "depth": 1, "kernel": [3, 3], "pool": [3, 2], "strides": [1, 2], "norm": "layer",
     "activation": "relu"},
], "output_kernel_size": [3, 1], "use_logits": False}
HOLES = {"blocks": [
    {"filters": 6, "depth": 2, "kernel": [3, 3], "pool": [2, 2], "strides": [2, 2], "dilation": [1, 3]},
    {"filters": 7, "depth": 2, "ddepth": 1, "kernel": [3, 3], "pool": [2, 3], "strides": [2, 1], "dilation": [2, 2],
     "skip": False, "activation": "relu"},
    {"filters": 9, "depth": 1, "kernel": [2, 3], "pool": [2, 2], "strides": [1, 2], "dilation": [3, 1],
     "activation": "elu"},
], "output_kernel_size": [1, 3], "use_logits": False}
NETWORKS = {
    "signal": (SIGNAL, (132, 2), 4, "trained"),
    "even": (EVEN, (12, 18, 3), 2, "deploy"),
    "layer": (LAYER, (12, 16, 2), 5, "deploy"),
    "dilated": (DILATED, (16, 20, 2), 3, "trained"),
    "sensor": (SENSOR, (120, 3), 3, "deploy"),
    "uneven": (UNEVEN, (12, 20, 2), 3, "trained"),
    "planes": (PLANES, (8, 12, 4), 5, "deploy"),
    "mixed": (MIXED, (16, 24, 3), 4, "deploy"),
    "breath": (BREATH, (80, 2), 3, "deploy"),
    "oblong": (OBLONG, (16, 20, 3), 4, "deploy"),
    "fields": (FIELDS, (12, 16, 2), 4, "trained"),
    "holes": (HOLES, (16, 24, 3), 5, "trained"),
}


def build(name: str) -> UNet:
    """One of the networks, with weights that keep every layer busy, none of them trivial."""
    params, shape, classes, _ = NETWORKS[name]
    model = UNet(params, shape, classes, seed=3)
    rng = np.random.default_rng(7)
    drawn = {}
    for key, value in model.weights.items():
        if key.endswith(("moving_variance", "gamma")):
            drawn[key] = rng.uniform(0.4, 1.7, value.shape).astype("f4")
        elif value.ndim == 4:
            drawn[key] = (value + rng.normal(0, 0.06, value.shape)).astype("f4")
        else:
            drawn[key] = rng.normal(0, 0.5, value.shape).astype("f4")
    return model.load_weights(drawn)


def make_bundle(name: str, folder: Path) -> Bundle:
    """The bundle of a network in the order "seq"."""
    golden(build(name), folder, arithmetic="seq", formats=("bin", "c"), level=NETWORKS[name][3])
    return Bundle(folder)


HELPERS = """
static float to_half(float v) { return (float)(_Float16)v; }
static float to_bf16(float v)
{ uint32_t u; memcpy(&u, &v, 4); u = (u + 0x7fffu + (u >> 16 & 1u)) & 0xffff0000u; memcpy(&v, &u, 4); return v; }
static float cut_bf16(float v) { uint32_t u; memcpy(&u, &v, 4); u &= 0xffff0000u; memcpy(&v, &u, 4); return v; }
static float to_q(float v, int bits, int point)
{ float s = (float)(1 << point), top = (float)(1 << (bits - 1)); float q = rintf(v * s);
  return (q > top - 1 ? top - 1 : q < -top ? -top : q) / s; }
static float wrap_q(float v, int bits, int point)
{ long long q = (long long)rint((double)v * (1 << point)), m = 1LL << bits; q = ((q % m) + m) % m;
  return (float)(q >= m / 2 ? q - m : q) / (1 << point); }
"""


class Port:
    """The C of a bundle while faults are put into it."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        source = (bundle.root / "c/net.c").read_text()
        self.net = source.replace("\ntypedef struct {", f"{HELPERS}\ntypedef struct {{", 1)
        self.weights = (bundle.root / "c/net_weights.h").read_text()
        self.flags: list[str] = []
        self.layers = list(bundle.layers.values())
        self.values = dict(np.load(bundle.root / "model/weights.npz"))

    def swap(self, old: str, new: str, count: int = 1) -> Port:
        """Replace in net.c; count -1 means everywhere."""
        assert old in self.net, old
        self.net = self.net.replace(old, new, count)
        return self

    def number(self, name: str) -> int:
        return next(n for n, layer in enumerate(self.layers) if layer["name"] == name)

    def inside(self, name: str, old: str, new: str) -> Port:
        """Replace within the function of one layer."""
        start = self.net.index(f"static void layer_{self.number(name)}(")
        end = self.net.index("\n}", start)
        body = self.net[start:end]
        assert old in body, (old, body)
        self.net = self.net[:start] + body.replace(old, new, 1) + self.net[end:]
        return self

    def after(self, name: str, code: str) -> Port:
        """C to run when a layer's output `y` (of `size` floats) is there, before it is shown."""
        n = self.number(name)
        size = int(np.prod(self.layers[n]["shape"]))
        show = f"show(watch, {n}, NET_OUT"
        return self.inside(name, show, f"{{ const int size = {size}; (void)size; {code} }}\n    {show}")

    def numbers(self, name: str, **changed: int) -> Port:
        """Other numbers in the conv_shape or pool_shape `s` of one layer."""
        start = self.net.index(f"static void layer_{self.number(name)}(")
        found = re.compile(r"static const (conv|pool)_shape s = \{([^}]*)\}").search(self.net, start)
        fields = re.search(rf"typedef struct {{\s*int ([^;]*);\s*}} {found[1]}_shape;", self.net)[1].replace(",", " ")
        values = dict(zip(fields.split(), map(int, found[2].split(",")), strict=True)) | changed
        text = ", ".join(map(str, values.values()))
        self.net = self.net[:found.start(2)] + text + self.net[found.end(2):]
        return self

    def array(self, pattern: str, change) -> Port:
        """Change the values of the array in net_weights.h whose name ends so; change : (float32 array) -> array."""
        found = re.search(rf"static const float (\w*{pattern})\[(\d+)\] = \{{\n([^}}]*)\}};", self.weights)
        assert found, pattern
        values = np.array([float.fromhex(v.strip().rstrip("f")) for v in found[3].split(",") if v.strip()], "f4")
        new = np.asarray(change(values), "f4").ravel()
        assert new.size == values.size and not np.array_equal(new, values)
        listed = ", ".join(f"{float(v).hex()}f" for v in new)
        self.weights = self.weights[:found.start(3)] + listed + self.weights[found.end(3):]
        return self

    def kernel(self, layer: str, change, part: str = "kernel") -> Port:
        """Change one layer's weights, as (KH, KW, C, F)."""
        shape = self.values[f"{layer}/{part}"].shape
        return self.array(re.sub(r"\W", "_", f"{layer}_{part}"), lambda v: change(v.reshape(shape)))

    def batch_norm(self, layer: str, change) -> Port:
        """Recompute a batch norm's scale and shift; change : (gamma, beta, mean, var, eps) -> (scale, shift)."""
        four = [self.values[f"{layer}/{key}"] for key in ("gamma", "beta", "moving_mean", "moving_variance")]
        scale, shift = change(*four, np.float32(1e-3))
        stem = re.sub(r"\W", "_", layer)
        for key, value in (("scale", scale), ("shift", shift)):
            if not np.array_equal(np.asarray(value, "f4"), self._read(f"{stem}_{key}")):
                self.array(f"{stem}_{key}", lambda old, value=value: value)
        return self

    def _read(self, name: str) -> np.ndarray:
        found = re.search(rf"static const float {name}\[\d+\] = \{{\n([^}}]*)\}};", self.weights)
        return np.array([float.fromhex(v.strip().rstrip("f")) for v in found[1].split(",") if v.strip()], "f4")

    def run(self, where: Path, cases: list[str]) -> Path:
        """Compile, run on these network cases; returns the folder of the outputs."""
        where.mkdir(parents=True)
        (where / "net.c").write_text(self.net)
        (where / "net_weights.h").write_text(self.weights)
        for file in ("net.h", "net_dump.c"):
            (where / file).symlink_to(self.bundle.root / "c" / file)
        flags = self.flags or ["-O1", "-ffp-contract=off"]
        command = ["gcc", "-std=gnu99", "-w", *flags, "net_dump.c", "net.c", "-lm", "-o", "net_dump"]
        subprocess.run(command, cwd=where, check=True, capture_output=True)
        for case in cases:
            (where / "out" / case).mkdir(parents=True)
            subprocess.run([where / "net_dump", self.bundle.root / "f32" / case / "in.bin", where / "out" / case],
                           check=True)
        return where / "out"

    def run_layers(self, where: Path, operators: set[str]) -> None:
        """Besides, every layer case of these operators."""
        for number, layer in enumerate(self.layers):
            if layer["id"] in self.bundle.cases and layer["operator"] in operators:
                (where / "out" / layer["id"]).mkdir(parents=True)
                inputs = [self.bundle.root / "f32" / layer["id"] / f"{layer['id']}.in{k}.bin"
                          for k in range(len(layer["inputs"]))]
                subprocess.run([where / "net_dump", "--layer", str(number), where / "out" / layer["id"], *inputs],
                               check=True)

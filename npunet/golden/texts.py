"""The words in a bundle: README.txt and LICENSE-DATA."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from npunet.golden import cgen
from npunet.golden.blind import in_words
from npunet.golden.drawn import TOLD

LICENCE = """\
The numbers in this folder were made by npunet from a model and from generated inputs. As far as they are npunet's they
are dedicated to the public domain under CC0 1.0 (https://creativecommons.org/publicdomain/zero/1.0/). The model's
weights, and recordings that were given as inputs, stay under the terms under which they came.
"""

FORMS = {
    "npz": "f32/<case>/tensors.npz   NumPy, one member a tensor",
    "bin": "f32/<case>/<key>.bin     little-endian words, row-major",
    "c": "c/                       net.c is the network in C99; port.c and check.c compare a port with the numbers",
    "hex": "hex/                     $readmemh files of the first network case, and Verilog benches",
}

BUILD = (
    "",
    "The network in C99, here, and your port, where c/port.c is filled in:",
    "",
    "  cc -std=c99 -O2 -ffp-contract=off c/net_dump.c c/net.c -lm -o net_dump",
    "  ./net_dump --all . OUT && npunet verify . OUT",
    "  cc -std=c99 -O2 -ffp-contract=off c/check.c c/port.c -lm -o check && ./check",
)

BACKWARD = """
The case "backward" is a training step: gradients, batch statistics and one step of SGD on a drawn batch, computed in
float64 from the float32 forward pass and rounded once. It is compared within bounds, by `npunet verify` alone.
"""


def reference(manifest: Mapping[str, Any]) -> str:
    """REFERENCE.md: every formula with its rounding, every field, how to judge a port."""
    profile = manifest["profile"]
    return cgen.fill(cgen.read_template("reference.md"), {
        **cgen.c_constants(), "LEVEL": profile["level"], "ORDER": profile["float_order"],
        "BACKWARD": BACKWARD if manifest["backward"] else "",
    })


def readme(manifest: Mapping[str, Any], left_out: Sequence[str]) -> str:
    """One page for the engineer who opens the folder."""
    model, profile = manifest["model"], manifest["profile"]
    size = "x".join(map(str, model["input_shape"]))
    own = "x".join("any" if extent is None else str(extent) for extent in model["own_input_shape"])
    lines = [
        f"Golden bundle of {model['name']}, made by npunet {manifest['version']} with seed {manifest['seed']}.",
        "",
        f"Input {size} (H x W x C; the model's own is {own}), {len(manifest['layers'])} layers at level "
        f"{profile['level']}, float32,",
        f"every sum in the declared order {profile['float_order']}: for ky, for kx, for channel: "
        + ("acc = fmaf(x, w, acc);" if profile["fma"] else "acc = acc + x * w, rounded twice;"),
        "taps outside the image are skipped, the bias is added last. Compile C with -ffp-contract=off.",
        f"Weights: {TOLD[model['weights_are']]}.",
        "All tensors are N H W C, kernels KH KW C F (depthwise KH KW C M). NaN is compared as NaN; zeros have signs.",
        "",
        "To write a port:      REFERENCE.md (every formula with its rounding; nothing else is needed)",
        "Check the files:      sha256sum -c SHA256SUMS",
        "Check a port:         npunet verify THIS_FOLDER OUTPUTS, or by the digests: REFERENCE.md, section 6",
        "",
        "manifest.json            every layer, case and tensor: shapes, constants, digests, where its file is",
        "manifest.schema.json     its JSON Schema; REFERENCE.md tells what the fields mean",
        "model/                   weights.bin (of the layers below, raw words; offsets in the manifest), the same as",
        "                         weights.npz, graph.json, and model.npz (npunet.UNet.load)",
        *(FORMS[name] for name in manifest["formats"]),
        *(["backward/                gradients, batch-norm statistics, one SGD step"] if manifest["backward"] else []),
        *(BUILD if {"c", "bin"} <= set(manifest["formats"]) else ()),
        "",
        "Keys: in, L003_<layer>.in0, .acc (a convolution's sum before its bias), .out. A port's dump uses them too.",
        "",
        "Cases:",
    ]
    for case in manifest["cases"]:
        stored = "" if case["stored"] == "full" else "   (digests; files of its input and output only)"
        if case["scope"] == "network":
            lines.append(f"  {case['id']:<20} the whole network, {len(case['samples'])} sample(s){stored}")
    alone = [case for case in manifest["cases"] if case["scope"] == "layer"]
    if alone:
        lines.append(f"  L..._<layer>         {len(alone)} single layers, each fed with its operator's corner cases; "
                     "equal layers")
        lines.append('                       without weights share one ("case" in the manifest\'s layers)')
    if manifest["cannot_see"]:
        lines += ["", "CANNOT SEE these faults, because of the weights that this network has:"]
        lines += [f"  {in_words(spot)}" for spot in manifest["cannot_see"]]
    if left_out:
        lines.append(f"  Left out, because they are larger than --max-size allows: {', '.join(left_out)}")
    lines += ["", "Layers:"]
    lines += [f"  {layer['id']:<36} {layer['operator']:<20} {'x'.join(map(str, layer['shape'])):>14}  "
              f"<- {', '.join(layer['inputs'])}" for layer in manifest["layers"]]
    return "\n".join(lines) + "\n"

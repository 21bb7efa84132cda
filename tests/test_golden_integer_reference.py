"""The bundle of integers explains itself: a port in another language, which reads nothing but it, has 0 differences."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from integer_ports import integer_network, make_bundle

from npunet.verify import verify
from npunet.verify.integer.score import score

PORT = Path(__file__).parent.parent / "reference" / "golden_port_integer.mjs"
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="no node on this machine")


def ported(bundle, *outputs):
    """The port's exit status and what it says, run where only a copy of it and the bundle are."""
    done = subprocess.run(["node", shutil.copy(PORT, bundle.parent), bundle, *outputs], text=True, capture_output=True,
                          check=False, cwd=bundle.parent, timeout=100)
    assert not done.stderr, done.stderr[:2000]
    return done.returncode, done.stdout


@needs_node
@pytest.mark.parametrize("name, scheme, rounding", [
    ("d2_separable_mixed", "int8", "S"), ("d1_softmax", "int8", "D"), ("d1_softmax", "int16x8", "D")])
def test_a_port_in_javascript_has_no_difference(name, scheme, rounding, tmp_path):
    bundle = make_bundle(integer_network(name, scheme, rounding), tmp_path / "b", cases=("random", "layers"),
                         formats=("bin",))
    status, said = ported(bundle, tmp_path / "out")
    assert status == 0 and said.endswith("VERDICT PASS\n"), said
    result = verify(bundle, tmp_path / "out")
    assert result.verdict == "PASS" and int(said.split()[0]) == sum(len(layer.checks) for layer in result.layers)


@needs_node
@pytest.mark.parametrize("change", ["profile", "shift", "zero point"])
def test_a_port_that_uses_another_number_is_wrong(change, tmp_path):
    """It takes every number from the manifest, whose digests tell."""
    bundle = make_bundle(integer_network("d1_plain"), tmp_path / "b", cases=("random", "layers"), formats=("bin",))
    told = json.loads((bundle / "manifest.json").read_text())
    if change == "profile":
        told["profile"]["requant"] = "S"
    for layer in told["layers"]:
        if layer["operator"] == "add" and change == "shift":
            layer["attributes"]["output_shift"] -= 1
        if layer["operator"] == "conv2d" and change == "zero point":
            layer["attributes"]["input_offset"] = 0
    (bundle / "manifest.json").write_text(json.dumps(told))
    status, said = ported(bundle)
    assert status == 1 and said.endswith("VERDICT FAIL\n")


def keys(value):
    """Every key of the manifest whose name is not data."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        if isinstance(key, str):
            yield key
        if key not in ("equivalent", "files"):
            yield from keys(inner)


def test_the_readme_names_every_field_and_every_operator(tmp_path):
    bundle = make_bundle(integer_network("d2_separable_mixed"), tmp_path / "b", cases=("random", "layers"))
    score(bundle)
    manifest, page = json.loads((bundle / "manifest.json").read_text()), (bundle / "README.txt").read_text()
    words = set(re.findall(r"\w+", page))
    assert set(keys(manifest)) - words == set()
    assert {layer["operator"] for layer in manifest["layers"]} <= words
    header = (bundle / "c" / "golden_layers.h").read_text()
    for field in ("input_offset", "output_offset", "stride", "padding", "dilation", "activation", "multiplier", "shift",
                  "input_1_offset", "input_1_mult", "input_2_shift", "left_shift", "out_mult", "out_activation_max"):
        assert re.search(rf"\b{field}\b", header), field

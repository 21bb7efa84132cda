"""The bundle explains itself: a port in another language, which reads nothing but the bundle, reaches 0 ULP."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from verify_cases import network

from npunet.golden import Bundle, cgen, golden, manifest
from npunet.golden.bounds import BOUNDS
from npunet.ops import exponential
from npunet.verify import verify

PORT = Path(__file__).parent.parent / "reference" / "golden_port.mjs"
needs_node = pytest.mark.skipif(not shutil.which("node"), reason="no node on this machine")


def ported(bundle, *outputs):
    """The port's exit status and what it says, run where only a copy of it and the bundle are."""
    done = subprocess.run(["node", shutil.copy(PORT, bundle.parent), bundle, *outputs], text=True, capture_output=True,
                          check=False, cwd=bundle.parent)
    assert not done.stderr, done.stderr[:2000]
    return done.returncode, done.stdout


@needs_node
@pytest.mark.parametrize(("model", "options"), [
    ("ecg", {"size": (64,)}),
    ("everything", {"arithmetic": "seq"}),
    ("everything", {"level": "trained"}),
])
def test_a_port_in_javascript_is_right_to_the_last_bit(model, options, tmp_path):
    golden(network() if model == "everything" else model, tmp_path / "b", formats=("bin",), **options)
    status, said = ported(tmp_path / "b", tmp_path / "out")
    bundle = Bundle(tmp_path / "b")
    assert status == 0 and said.endswith("VERDICT PASS\n"), said
    assert int(said.split()[0]) > 3 * len(bundle.layers)
    result = verify(bundle, tmp_path / "out")
    assert result.verdict == "PASS" and all(c.chained.max_ulp == 0 for v in result.layers for c in v.checks)
    if model == "everything":
        operators = {layer["operator"] for layer in bundle.layers.values()}
        norm = {"batch_norm_inference", "separable_conv2d"} if "level" in options else {"depthwise_conv2d"}
        assert operators >= {"layer_norm", "elu", "selu", "leaky_relu", "relu6", "softmax", "max_pool2d", *norm}


@needs_node
@pytest.mark.parametrize("change", ["slope", "order", "exponential"])
def test_a_port_that_uses_another_number_is_wrong(change, tmp_path):
    """It takes every constant from the manifest, and the manifest's digests tell."""
    golden(network(), tmp_path / "b", formats=("bin",), cases=("random",))
    path = tmp_path / "b/manifest.json"
    told = json.loads(path.read_text())
    if change == "slope":
        for layer in told["layers"]:
            if layer["operator"] == "leaky_relu":
                layer["constants"]["slope"]["value"] = 0.01
    elif change == "order":
        told["profile"]["fma"] = False
    else:
        told["constants"]["exp"]["coefficients"][0]["value"] = 0.5000001
    path.write_text(json.dumps(told))
    status, said = ported(tmp_path / "b")
    assert status == 1 and said.endswith("VERDICT FAIL\n")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference") / "b"
    golden(network(), folder, formats=("bin", "c"), cases=("random",), level="trained")
    return Bundle(folder)


def test_the_reference_page_names_every_field_and_every_operator(bundle):
    page = (bundle.root / "REFERENCE.md").read_text()
    assert not re.search(r"@[A-Z0-9_]+@", page)
    words = set(re.findall(r"\w+", page))
    missing = set(_properties(manifest.schema())) - words
    assert missing == set()
    operators = {name for name in BOUNDS if not name.startswith("avg")}
    assert {name for name in operators if f"**{name}**" not in page} == set()
    for digits in (exponential.LOG2E, *exponential.COEFFICIENTS):
        assert cgen.short_hex(float(digits)) in page
    assert (bundle.root / "manifest.schema.json").read_bytes() == manifest.schema_text().encode()
    readme = (bundle.root / "README.txt").read_text()
    assert "REFERENCE.md" in readme and "manifest.schema.json" in readme


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_readme_s_commands_build_and_judge_the_c(bundle, tmp_path):
    root = Path(shutil.copytree(bundle.root, tmp_path / "b"))
    commands = re.findall(r"^  ((?:cc|\./net_dump) .*)$", (root / "README.txt").read_text(), re.MULTILINE)
    built, ran, checked = (command.split(" && ")[0] for command in commands)
    for command in (built, ran):
        subprocess.run(command, shell=True, check=True, cwd=root, timeout=60)
    assert verify(root, root / "OUT").verdict == "PASS"
    subprocess.run(checked, shell=True, check=True, cwd=root, timeout=60)


def _properties(rule):
    """Every property's name, wherever it stands in a schema."""
    if isinstance(rule, dict):
        yield from rule.get("properties", {}) if isinstance(rule.get("properties"), dict) else ()
        for inner in rule.values():
            yield from _properties(inner)


def test_constants_are_exact(bundle):
    for layer in bundle.layers.values():
        for name, constant in layer["constants"].items():
            kind = np.dtype(constant["dtype"])
            bits = np.array(int(constant["bits"], 16), f"u{kind.itemsize}").view(kind)
            assert bits == constant["value"], (layer["id"], name)
    by_operator = {layer["operator"]: set(layer["constants"]) for layer in bundle.layers.values()}
    assert by_operator["leaky_relu"] == {"slope"} and by_operator["selu"] == {"scale", "scale_alpha"}
    assert by_operator["layer_norm"] == by_operator["batch_norm_inference"] == {"eps"}
    raw = (bundle.root / bundle.manifest["model"]["raw_weights"]).read_bytes()
    for record in bundle.manifest["weights"]:
        part = raw[record["offset"] : record["offset"] + record["bytes"]]
        assert part == manifest.canonical(bundle.weights[record["name"]]).tobytes()
    assert len(raw) == sum(record["bytes"] for record in bundle.manifest["weights"])


def test_the_header_tells_the_batch_norm_that_is_used(bundle):
    """The formula in the comment gives the numbers below it; the one that stood there before gives others."""
    text = (bundle.root / "c/net_weights.h").read_text()
    assert "gamma * (1 / sqrt(var + eps)), each step rounded to float" in text
    assert "gamma / sqrt" not in text
    other = 0
    for layer in (layer for layer in bundle.layers.values() if layer["operator"] == "batch_norm_inference"):
        node = bundle.graph[layer["name"]]
        gamma, _, _, var = (bundle.weights[name] for name in node.weights)
        root = np.sqrt(var + np.float32(node.attrs["eps"]))
        stem = cgen.identifier(layer["name"])
        values = re.search(rf"float {stem}_scale\[\d+\] = {{([^}}]*)}}", text)[1]
        stored = np.array([float.fromhex(word.strip().rstrip("f")) for word in values.split(",")], np.float32)
        np.testing.assert_array_equal(stored, gamma * (1 / root))
        other += not np.array_equal(stored, gamma / root)
    assert other

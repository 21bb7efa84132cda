"""Quantising as TensorFlow's converter does, from the same data; and what is refused."""

import hashlib

import numpy as np
import pytest
from integer_judges import SCHEMES, STORED, calibration, float_model, manifest

import npunet
from npunet import quantize

FILES = sorted(file for file, entry in manifest().items() if entry["form"] == "resize")
SCALE = 1e-6  # relative: the converter's float kernels add in another order, which moves a range by some 1e-7


@pytest.mark.parametrize("file", FILES)
def test_the_converters_numbers(file):
    """Scales within 1e-6; zero points, weights and int8 biases equal.

    A 16x8 bias counts units of 1e-7 and less of the largest input, so that the last bits of a scale, in which float
    kernels differ by their order of summation, move it: it is equal wherever the input's scale is, and within what the
    scale's difference explains elsewhere.
    """
    entry = manifest()[file]
    ours = quantize(float_model(entry["case"]), calibration(entry["case"]), scheme=entry["scheme"]).network
    theirs = npunet.load(STORED / "integer" / file).network
    assert [(node.name, node.op, node.inputs) for node in ours] == [
        (node.name, node.op, node.inputs) for node in theirs]
    for name, tensor in ours.tensors.items():
        assert tensor.zero_point == theirs.tensors[name].zero_point, name
        assert abs(tensor.scale / theirs.tensors[name].scale - 1) <= SCALE, name
    for node, other in zip(ours, theirs, strict=True):
        if "weights" not in node.arrays:
            continue
        np.testing.assert_array_equal(node.arrays["weights"], other.arrays["weights"], err_msg=node.name)
        np.testing.assert_allclose(node.scales["weights"], other.scales["weights"], rtol=SCALE)
        bias, expected = node.arrays["bias"], other.arrays["bias"]
        assert bias.dtype == expected.dtype
        x, y = ours.tensors[node.inputs[0]], theirs.tensors[node.inputs[0]]
        allowed = np.zeros(bias.shape)
        if entry["scheme"] == "int16x8":
            apart = abs(x.scale / y.scale - 1) + np.abs(node.scales["weights"] / other.scales["weights"] - 1)
            allowed = np.where(apart > 0, np.ceil(np.abs(expected) * (apart + 2.0**-23)), 0)
        assert (np.abs(bias - expected) <= allowed).all(), f"{node.name}: {bias} for {expected}"


def test_the_stored_conversions_are_what_the_manifest_says():
    stored = {path.name for path in (STORED / "integer").glob("*.tflite")}
    assert stored == set(manifest())
    for file, entry in manifest().items():
        assert hashlib.sha256((STORED / "integer" / file).read_bytes()).hexdigest() == entry["sha256"], file
    assert len(stored) >= 20 and {entry["scheme"] for entry in manifest().values()} == set(SCHEMES)

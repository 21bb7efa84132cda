"""Quantising as TensorFlow's converter does, from the same data; and what is refused."""

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
from integer_judges import SCHEMES, STORED, calibration, float_model, load_reference, manifest

import npunet
from npunet import UNet, presets, pretrained, quantize
from npunet.integer.bounds import check_accumulators
from npunet.integer.quantization.calibrate import METHODS
from npunet.integer.quantization.scales import activation_quantisation

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


@pytest.mark.parametrize(("low", "high", "scale", "zero_point", "scale_16"), [
    (0, 0, 7.843137e-09, 0, None), (0, 3e-7, 9.019608e-09, -17, 9.155553e-12),
    (0, 9e-7, 1.1372549e-08, -40, 2.7466657e-11), (0, 1.5e-6, 5.8823533e-09, -128, 4.5777767e-11),
    (-3e-7, 3e-7, 1.0196079e-08, -1, 9.155553e-12),
    (-1e-7, 2e-7, 9.019608e-09, -6, 6.103702e-12), (-8e-7, 0, 1.0980392e-08, 36, 2.4414809e-11),
    (0, 1e-6, 1.17647065e-08, -43, 3.0518508e-11), (1e-7, 1e-7, 8.235294e-09, -7, 3.051851e-12)])
def test_ranges_of_nearly_nothing_are_the_converters(low, high, scale, zero_point, scale_16):
    """What TensorFlow 2.21 gave an activation of that range (a float32), but for 16 bits of nothing at all."""
    whole = float(np.float32(low)), float(np.float32(high))
    found = activation_quantisation(whole, "int8")
    assert found.scale == pytest.approx(scale, rel=SCALE) and found.zero_point == zero_point
    assert activation_quantisation(whole, "int16").scale == pytest.approx(scale_16 or 1.5259254e-11, rel=SCALE)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("case", ["d2_strides_mixed", "d1_ecg_small"])
def test_every_method_shares_ranges_where_the_converter_does(case, method, scheme):
    """ADD writes over an input that nothing else reads, whose range then holds the sum's; what copies keeps its
    input's scale, and in int8 all inputs of a concatenation have its own."""
    network = quantize(float_model(case), calibration(case), scheme, calibration_method=method).network
    readers, found = network.consumers(), set()

    def span(name):
        tensor = network.tensors[name]
        return [tensor.scale * (limit - tensor.zero_point) for limit in tensor.limits]

    for node in network:
        if node.op == "add":
            over = next(name for name in node.inputs if name != network.input and len(readers[name]) == 1)
            (low, high), (least, most), slack = span(over), span(node.name), network.tensors[over].scale
            assert low <= least + slack and most - slack <= high, f"{node.name}: {over}"
        elif node.op in ("max_pool2d", "upsample_nearest2d") or (node.op == "concat" and scheme == "int8"):
            assert len({span(name)[0] for name in (node.name, *node.inputs)}) == 1, node.name
        found.add(node.op)
    assert {"add", "max_pool2d", "upsample_nearest2d", "concat"} <= found


def test_the_stored_conversions_are_what_the_manifest_says():
    stored = {path.name for path in (STORED / "integer").glob("*.tflite")}
    assert stored == set(manifest())
    for file, entry in manifest().items():
        assert hashlib.sha256((STORED / "integer" / file).read_bytes()).hexdigest() == entry["sha256"], file
    assert len(stored) >= 20 and {entry["scheme"] for entry in manifest().values()} == set(SCHEMES)


def test_vela_has_placed_every_operator_of_the_exports(tmp_path):
    """reference/integer_vela.py stored what Arm's compiler said; the files are those that npunet writes today."""
    stored = json.loads((STORED / "integer_vela.json").read_text())["files"]
    # A preset that comes later may not have been compiled: Vela runs on few machines.
    assert len(stored) >= 14 and set(stored) <= {f"{name}.{scheme}.tflite" for scheme in SCHEMES
                                                 for name in (*presets.names(), *pretrained.names())}
    for file, row in stored.items():
        placed = [row[key] for key in row if key.startswith("ethos-")]
        assert len(placed) == 3, file
        assert all(figures["cpu_operators"] == 0 and figures["npu_operators"] > 20 for figures in placed), file
    script = load_reference("integer_vela")
    for name in ("tiny", "ecg-trained"):
        for scheme in SCHEMES:
            path = tmp_path / f"{name}.{scheme}.tflite"
            script.export(name, scheme, path)
            assert hashlib.sha256(path.read_bytes()).hexdigest() == stored[path.name]["sha256"], (
                f"{path.name} is another file than the one that was compiled: run reference/integer_vela.py again")


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_layer_norm_over_values_that_were_never_alive(scheme, rng):
    """Its epsilon, in units of the input's scale squared, would leave 64 bits; the input gets a coarser scale."""
    block = {"filters": 4, "depth": 1, "ddepth": 1, "kernel": [3, 3], "pool": [2, 2], "strides": [2, 2],
             "activation": "relu", "norm": "layer"}
    given = UNet({"blocks": [block], "output_kernel_size": [1, 1]}, (32, 32, 1), 2, seed=1)
    weights = {name: value.copy() for name, value in given.weights.items()}
    weights["ENC1_D1_conv/kernel"] *= 1e-12
    model = UNet(given.params, given.input_shape, given.num_classes, seed=None).load_weights(weights)
    x = rng.normal(size=(4, 32, 32, 1)).astype(np.float32)
    made = quantize(model, x, scheme)
    norms = [node for node in made.network if node.op == "layer_norm"]
    assert norms and max(node.attrs["epsilon"] for node in norms) > 2**50
    y, z = model.predict(x, backend="numpy"), made.dequantized().predict(x)
    assert np.abs(y - z).max() < 0.05 * np.abs(y).max()
    forged = replace(norms[0], attrs={**norms[0].attrs, "epsilon": 2**61})
    nodes = tuple(forged if node is norms[0] else node for node in made.network)
    with pytest.raises(ValueError, match=rf"{forged.name}: epsilon is 2305843009213693952, .* must be 1 ... 2\^60"):
        check_accumulators(replace(made.network, nodes=nodes))


def test_a_channel_of_next_to_no_weights_and_a_bias(rng):
    """In units of its weights the bias would leave 48 bits; their scale is widened until it fits, as for 8 bits."""
    block = {"filters": 3, "depth": 1, "ddepth": 0, "kernel": [1, 3], "pool": [1, 2], "strides": [1, 2],
             "activation": "relu6"}
    given = UNet({"blocks": [block], "output_kernel_size": [1, 1]}, (24, 1), 2, seed=1)
    weights = {name: value.copy() for name, value in given.weights.items()}
    weights["ENC1_D1_conv/kernel"][..., 0] *= 1e-15
    weights["ENC1_D1.bn/beta"][0] = 500
    model = UNet(given.params, given.input_shape, given.num_classes, seed=None).load_weights(weights)
    x = rng.normal(size=(8, 24, 1)).astype(np.float32)
    made = quantize(model, x, "int16x8")
    bias = made.network["ENC1_D1_act"].arrays["bias"]
    assert 2**45 < abs(int(bias[0])) <= 2**46 + 1
    y, z = model.predict(x, backend="numpy"), made.dequantized().predict(x)
    assert np.abs(y - z).max() < 0.02 * np.abs(y).max()

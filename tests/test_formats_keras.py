"""Whole Keras models: their architecture is read where it is this network's, refused by layer else, and written."""

import copy
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import npunet
from npunet import UNet, UNetParams
from npunet.cli import main, models
from npunet.formats.keras_config import architecture_of, model_config

pytest.importorskip("h5py")
pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1")
STORED = Path(__file__).resolve().parents[1] / "reference" / "stored" / "files"
NAMES = ("batch_separable", "layer_norm", "compiled")
BLOCKS = [
    {"filters": 3, "depth": 3, "ddepth": 1, "kernel": (2, 3), "strides": (1, 2), "dropout": 0.25, "dilation": (1, 2)},
    {"filters": 4, "norm": None, "seperable": True, "pool": (2, 1), "skip": False, "activation": "leaky_relu"},
    {"filters": 2, "norm": "layer", "depth": 3, "dropout": 0.5, "activation": "selu"},
]


def model(shape=(6, 12, 3), rng=None, **params):
    made = UNet(UNetParams(blocks=BLOCKS, **params), shape, 4 if params.get("include_top", True) else None)
    rng = rng or np.random.default_rng(3)
    made.weights = {name: rng.uniform(0.5, 2, w.shape).astype(w.dtype) for name, w in made.weights.items()}
    return made


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize("name", NAMES)
def test_a_keras_model_is_loaded_with_its_architecture(name, suffix, tmp_path):
    with np.load(STORED / f"{name}.npz") as arrays:
        x, y = arrays["x"], arrays["inference/float32/y"]
    loaded = npunet.load(STORED / f"{name}{suffix}")
    assert np.abs(loaded.predict(x, backend="numpy") - y).max() <= 1e-5 * np.abs(y).max()
    assert main(["convert", str(STORED / f"{name}{suffix}"), str(tmp_path / "m.npz")]) == 0
    assert np.array_equal(npunet.load(tmp_path / "m.npz").weights.block, loaded.weights.block)


@pytest.mark.parametrize(("shape", "params"), [
    ((6, 12, 3), {}), ((6, 12, 3), {"use_logits": False, "output_kernel_size": (1, 3)}), ((6, 12, 3), {
        "include_top": False}), ((32, 2), {})])
def test_a_written_model_comes_back_as_it_was(shape, params, tmp_path):
    first = model(shape, **params)
    first.save(tmp_path / "m.keras")
    second = UNet.load(tmp_path / "m.keras")
    assert second.input_shape == first.input_shape and second.num_classes == first.num_classes
    assert np.array_equal(second.weights.block, first.weights.block) and list(second.weights) == list(first.weights)
    assert second.graph.nodes == first.graph.nodes
    second.save(tmp_path / "again.keras")
    assert (tmp_path / "again.keras").read_bytes() == (tmp_path / "m.keras").read_bytes()


def test_open_sizes_stay_open(tmp_path):
    blocks = [{"filters": 3, "kernel": (1, 3), "pool": (1, 2), "strides": (1, 2)}]
    for shape in ((None, 2), (None, 8, 2), (None, None, 1)):
        UNet(UNetParams(blocks=blocks), shape, 3).save(tmp_path / "m.keras")
        assert UNet.load(tmp_path / "m.keras").input_shape == shape


@pytest.mark.parametrize(("layer", "key", "value"), [
    ("ENC1.D3.conv", "dilation_rate", [1, 3]), ("ENC1.D1.conv", "filters", 9), ("ENC1.D1.bn", "epsilon", 0.1),
    ("ENC1.pool", "padding", "valid"), ("DEC3.D5.conv", "strides", [1, 2]), ("NECK.conv", "use_bias", False),
    ("ENC1.D3.act", "activation", "gelu"), ("DEC3.D4.cat", "axis", 1), ("DEC3.D1.unpool", "interpolation", "bilinear"),
    ("ENC3.D1.ln", "axis", [-1]), ("DEC1.D1.conv", "kernel_size", [5, 5]), ("ENC2.D1.conv", "depth_multiplier", 2)])
def test_the_layer_that_differs_is_named(layer, key, value):
    config = model_config(model().graph, (6, 12, 3), "m")
    assert UNet(**architecture_of(config)).graph.nodes == model().graph.nodes
    changed = copy.deepcopy(config)
    next(each for each in changed["config"]["layers"] if each["name"] == layer)["config"][key] = value
    with pytest.raises(ValueError, match=layer.replace(".", r"\.")):
        architecture_of(changed)


def test_other_wiring_and_other_layers_are_refused():
    config = model_config(model().graph, (6, 12, 3), "m")
    layers = config["config"]["layers"]
    crossed = copy.deepcopy(config)
    crossed["config"]["layers"][5]["inbound_nodes"] = layers[2]["inbound_nodes"]
    with pytest.raises(ValueError, match="reads"):
        architecture_of(crossed)
    for change, told in (({"class_name": "Dense"}, "Dense"), ({"class_name": "ReLU"}, "ReLU")):
        other = copy.deepcopy(config)
        other["config"]["layers"][3] |= change
        with pytest.raises(ValueError, match=told):
            architecture_of(other)
    more = copy.deepcopy(config)
    last = {**layers[-1], "name": "extra", "config": {**layers[-1]["config"], "name": "extra"}}
    more["config"]["layers"].append(last)
    with pytest.raises(ValueError, match="extra"):
        architecture_of(more)
    with pytest.raises(ValueError, match="none of its models has the layers of this network"):
        architecture_of({"config": {"name": "m", "layers": [layers[0]]}})


def test_a_network_within_another_model_is_found(tmp_path):
    h5py = pytest.importorskip("h5py")
    inner = model()
    inner.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    outer = {"class_name": "Functional", "config": {"name": "outer", "layers": [
        {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, 6, 12, 3]}, "inbound_nodes": []},
        {**config, "name": "functional", "inbound_nodes": []},
        {"class_name": "Softmax", "config": {"name": "softmax"}, "inbound_nodes": []}]}}
    (tmp_path / "inner.h5").write_bytes(members["model.weights.h5"])
    with h5py.File(tmp_path / "inner.h5") as source, h5py.File(tmp_path / "outer.h5", "w") as target:
        source.copy("layers", target.create_group("layers/functional"))
    with zipfile.ZipFile(tmp_path / "outer.keras", "w") as archive:
        archive.writestr("config.json", json.dumps(outer))
        archive.write(tmp_path / "outer.h5", "model.weights.h5")
    found = npunet.load(tmp_path / "outer.keras")
    assert np.array_equal(found.weights.block, inner.weights.block)
    x = np.random.default_rng(4).standard_normal((2, 6, 12, 3)).astype(np.float32)
    logits = inner.predict(x, backend="numpy").astype(np.float64)
    e = np.exp(logits - logits.max(-1, keepdims=True))
    assert np.allclose(found.predict(x, backend="numpy"), e / e.sum(-1, keepdims=True), atol=1e-6)  # of the outer model
    assert np.array_equal(model(rng=np.random.default_rng(9)).load_weights(tmp_path / "outer.h5").weights.block,
                          inner.weights.block)


def test_what_computes_around_a_network_is_taken_or_refused():
    network = model_config(model().graph, (6, 12, 3), "inner")
    network["name"] = "inner"

    def around(*layers, within=network):
        return {"class_name": "Sequential", "config": {"name": "outer", "layers": [
            within if layer is None else {"class_name": layer[0], "config": {"name": "other", **layer[1]}}
            for layer in layers]}}

    softmax = ("Softmax", {"axis": -1})
    assert architecture_of(around(None))["params"].use_logits
    for last in (softmax, ("Activation", {"activation": "softmax"})):
        assert not architecture_of(around(("InputLayer", {}), None, last))["params"].use_logits
    assert not architecture_of(around(None, softmax, within=around(None)))["params"].use_logits
    for layers, told in (((("Rescaling", {"scale": 0.1}), None), "other around the network is a Rescaling"),
                         ((None, ("Dense", {})), "a Dense, which would be lost"), ((softmax, None), "would be lost"),
                         ((None, ("Softmax", {"axis": 1})), "would be lost"), ((None, softmax, softmax), "second"),
                         ((None, ("Activation", {"activation": "sigmoid"})), "would be lost")):
        with pytest.raises(ValueError, match=told):
            architecture_of(around(*layers))
    with pytest.raises(ValueError, match="second Softmax"):
        architecture_of(around(None, softmax, within=around(None, softmax)))


def test_files_of_tensorflow_2_13_are_read(tmp_path):
    """There every layer with weights is counted twice, none has a name, and the group is called otherwise."""
    h5py = pytest.importorskip("h5py")
    made = model()
    made.save(tmp_path / "m.keras")
    with zipfile.ZipFile(tmp_path / "m.keras") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (tmp_path / "new.h5").write_bytes(members["model.weights.h5"])
    with h5py.File(tmp_path / "new.h5") as source, h5py.File(tmp_path / "old.h5", "w") as target:
        for counted in source["layers"]:
            kind, _, number = counted.rpartition("_")
            kind, number = (kind, int(number)) if number.isdecimal() else (counted, 0)
            name = f"_layer_checkpoint_dependencies/{kind}{f'_{2 * number}' if number else ''}"
            source.copy(f"layers/{counted}", target, name)
            del target[f"{name}/vars"].attrs["name"]
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as archive:
        archive.writestr("config.json", members["config.json"])
        archive.write(tmp_path / "old.h5", "model.weights.h5")
    assert np.array_equal(npunet.load(tmp_path / "old.keras").weights.block, made.weights.block)
    assert np.array_equal(model(rng=np.random.default_rng(9)).load_weights(tmp_path / "old.h5").weights.block,
                          made.weights.block)


def test_weights_that_are_not_finite_are_refused_unless_asked_for(tmp_path):
    made = model()
    name = next(iter(made.weights))
    for value, told in ((np.nan, "is nan"), (np.inf, "is inf"), (1e300, r"is 1e\+300, too large for float32")):
        weights = {key: w.astype(np.float64) for key, w in made.weights.read_only.items()}
        weights[name][0] = value
        with pytest.raises(ValueError, match=f"{name} at .* {told}"):
            made.load_weights(weights)
        assert np.isfinite(made.weights.block).all()
        assert not np.isfinite(model().load_weights(weights, allow_nonfinite=True).weights.block).all()
    made.load_weights(weights, allow_nonfinite=True)
    made.save(tmp_path / "m.npz")
    with pytest.raises(ValueError, match=r"m\.npz .* is inf.*allow_nonfinite=True"):
        npunet.load(tmp_path / "m.npz")
    assert np.array_equal(npunet.load(tmp_path / "m.npz", allow_nonfinite=True).weights.block, made.weights.block)


def test_compare_says_where_two_files_differ(tmp_path, capsys):
    made = model()
    made.save(tmp_path / "a.npz")
    made.save(tmp_path / "b.keras")
    assert main(["compare", str(tmp_path / "a.npz"), str(tmp_path / "a.npz")]) == 0
    assert "are equal, bit for bit" in capsys.readouterr().out
    main(["compare", str(tmp_path / "a.npz"), str(tmp_path / "b.keras")])
    assert f"{len(made.weights)} of {len(made.weights)} tensors are equal" in capsys.readouterr().out
    made.weights["NECK_conv/bias"] = made.weights.read_only["NECK_conv/bias"] + np.float32([0, 0, 0.5, 0])
    made.save(tmp_path / "c.npz")
    assert main(["compare", str(tmp_path / "a.npz"), str(tmp_path / "c.npz")]) == 1
    assert "NECK_conv/bias: 1 of 4 values differ, by at most 0.5 at (2,)" in capsys.readouterr().out
    np.savez(tmp_path / "d.npz", x=np.arange(3.0), y=np.zeros(2))
    np.savez(tmp_path / "e.npz", x=np.arange(4.0), z=np.zeros(2))
    assert main(["compare", str(tmp_path / "d.npz"), str(tmp_path / "e.npz")]) == 1
    out = capsys.readouterr().out
    assert "x: shape (3,) and (4,)" in out and "only in" in out
    assert main(["compare", str(tmp_path / "d.npz"), str(tmp_path / "nowhere.npz")]) == 2


def test_compare_of_integer_networks(tmp_path, capsys):
    made = models.open_network("tiny")
    x = np.random.default_rng(0).standard_normal((2, *made.input_shape)).astype(np.float32)
    npunet.quantize(made, calibration=x).save(tmp_path / "a.npz")
    npunet.quantize(made, calibration=x).export_tflite(tmp_path / "a.tflite")
    npunet.quantize(made, calibration=2 * x).save(tmp_path / "b.npz")
    made.save(tmp_path / "float.npz")
    assert main(["compare", str(tmp_path / "a.npz"), str(tmp_path / "a.tflite")]) == 0
    assert "are equal, bit for bit" in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "a.npz"), str(tmp_path / "b.npz")]) == 1
    assert "input/scale and zero point:" in capsys.readouterr().out
    assert main(["compare", str(tmp_path / "a.npz"), str(tmp_path / "float.npz")]) == 1
    assert "only in" in capsys.readouterr().out


def test_onnx_is_no_source(tmp_path, capsys):
    (tmp_path / "m.onnx").write_bytes(b"\x08\x08")
    assert main(["convert", str(tmp_path / "m.onnx"), str(tmp_path / "m.npz"), "--model", "tiny"]) == 2
    assert "npunet writes and does not read" in capsys.readouterr().err

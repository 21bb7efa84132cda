"""The command line of integer networks: quantize, convert, predict, eval."""

import json

import numpy as np
import pytest
from integer_judges import assert_same, calibration, float_model, tflite_micro

import npunet
from npunet import IntegerModel, quantize
from npunet.cli import main
from npunet.cli.quantize import advice
from npunet.data.synthetic import synthetic_ecg


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in, with a float model, data for it, and an ECG."""
    monkeypatch.chdir(tmp_path)
    float_model("d2_softmax").save("m.npz")
    np.save("x.npy", calibration("d2_softmax"))
    lead = synthetic_ecg(20.0, 100.0, 4)[0]
    np.save("ecg.npy", np.asarray(lead, np.float32)[None, :, None])
    return tmp_path


def run(capsys, *words, status=0):
    assert main([str(word) for word in words]) == status
    out, err = capsys.readouterr()
    return err if status else out


def test_quantize_reports_and_writes(folder, capsys):
    said = run(capsys, "quantize", "m.npz", "--calibrate", "x.npy", "-o", "q.npz", "--report", "r.json")
    assert "calibrating by 16 windows of 6 x 9 x 2 from x.npy" in said
    assert "operators that lose most by themselves: " in said
    assert "the same class in" in said and "wrote q.npz: int8, rounding D" in said
    rows = json.loads((folder / "r.json").read_text())
    made = npunet.load("q.npz")
    assert [row["layer"] for row in rows] == list(made.network.tensors)
    by_layer = {row["layer"]: row for row in rows}
    assert by_layer["input"]["scale"] == made.input_qparams[0] and by_layer["input"]["clipped"] == 0
    assert by_layer["input"]["sqnr"] == by_layer["input"]["alone"] > 30
    joined = ["ENC1_add", "ENC1_pool", "DEC1_D1_act", "DEC1_D1_unpool", "DEC1_D2_cat"]
    assert sorted([*by_layer["ENC1_pool"]["shares"], "ENC1_pool"]) == sorted(joined)
    assert all(by_layer[name]["scale"] == by_layer["ENC1_pool"]["scale"] for name in joined)
    assert by_layer["ENC1_pool"]["sqnr"] <= by_layer["ENC1_pool"]["alone"] + 3
    worst = said.splitlines()[2].split(": ")[1].split(", ")
    alone = sorted((row["alone"], row["layer"]) for row in rows[1:])
    assert [entry.split()[0] for entry in worst][:3] == [layer for _, layer in alone][:3]
    wanted = quantize(float_model("d2_softmax"), calibration("d2_softmax"))
    x = made.quantize_input(calibration("d2_softmax"))
    np.testing.assert_array_equal(made.predict(x), wanted.predict(x))


def test_quantize_to_tflite_in_sixteen_bits(folder, capsys):
    run(capsys, "quantize", "m.npz", "--calibrate", "x.npy", "--scheme", "int16x8", "-o", "q.tflite", "--samples", 5,
        "--calibration", "mse")
    made = npunet.load("q.tflite")
    assert made.scheme == "int16x8"
    x = made.quantize_input(calibration("d2_softmax")[:2])
    assert_same(made.trace(x), tflite_micro((folder / "q.tflite").read_bytes(), x))


def test_a_trained_network_and_its_ecg(folder, capsys):
    run(capsys, "quantize", "ecg-trained", "--calibrate", "ecg.npy", "--fs", 100, "-o", "e.npz")
    made = npunet.load("e.npz")
    assert isinstance(made, IntegerModel) and made.class_names == ("none", "P", "QRS", "T")
    run(capsys, "convert", "e.npz", "e.tflite")
    run(capsys, "convert", "e.tflite", "again.npz")
    results = []
    for model in ("e.npz", "e.tflite", "again.npz", npunet.pretrained.__path__[0] + "/ecg.npz"):
        said = run(capsys, "predict", model, "ecg.npy", "--fs", 100, "-o", "y.npy", "--output", "logits")
        assert "classes none" in said
        results.append(np.load("y.npy"))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])
    assert (results[0].argmax(-1) == results[3].argmax(-1)).mean() > 0.9
    said = run(capsys, "predict", "e.npz", "ecg.npy", "--fs", 100, "-o", "y.npy")
    assert "34,118 parameters in int8, rounding D, input 256 x 1, 4 classes" in said


def test_float_tflite(folder, capsys):
    run(capsys, "convert", "m.npz", "m.tflite")
    assert (folder / "m.tflite").read_bytes()[4:8] == b"TFL3"
    told = run(capsys, "predict", "m.tflite", "x.npy", "--raw")
    assert "network m.tflite" in told


@pytest.mark.parametrize(("words", "way"), [
    (["quantize", "m.npz", "--calibrate", "x.npy", "-o", "q.bin"], "the suffix must be .npz or .tflite"),
    (["quantize", "m.npz", "--calibrate", "nowhere.npy", "-o", "q.npz"], "nowhere.npy"),
    (["quantize", "nowhere.npz", "--calibrate", "x.npy", "-o", "q.npz"], "no such file: nowhere.npz"),
    (["quantize", "tiny", "--calibrate", "x.npy", "-o", "q.npz"], "quantising needs trained weights"),
    (["quantize", "m.npz", "--calibrate", ".", "-o", "q.npz"], "does not know how its input is prepared"),
    (["quantize", "m.npz", "--calibrate", "x.npy", "-o", "q.npz", "--samples", "0"], "--samples: 0 must be at least 1"),
    (["quantize", "m.npz", "--calibrate", "x.npy", "-o", "q.npz", "--rounding", "U"], "invalid choice: 'U'"),
    (["quantize", "m.npz", "-o", "q.npz"], "--calibrate"),
    (["quantize", "m.npz", "--calibrate", "zeros.npy", "-o", "q.npz"], "nothing but 0"),
    (["quantize", "m.npz", "--calibrate", "x.npy", "--data", ".", "-o", "q.npz"], "this one was saved by UNet.save"),
    (["quantize", "i.npz", "--calibrate", "x.npy", "-o", "q.npz"], "is an integer network already"),
    (["convert", "i.npz", "i.onnx"], "is an integer network; it can become .npz or .tflite"),
    (["predict", "i.npz", "x.npy", "--arithmetic", "seq"], "come out the same in every order"),
])
def test_what_is_refused(words, way, folder, capsys):
    np.save("zeros.npy", np.zeros((3, 6, 9, 2), np.float32))
    quantize(float_model("d2_softmax"), calibration("d2_softmax")).save("i.npz")
    said = run(capsys, *words, status=2)
    assert way in said and said.startswith("npunet: error: ") and said.count("\n") == 1
    assert not (folder / "q.npz").exists()


def test_who_loses_much_is_told_of_fine_tuning():
    assert advice(0.950, 0.9451, "int8") == "" and advice(0.9, 0.95, "int8") == ""
    assert "npunet train CONFIG --quantise int16x8 --weights MODEL" in advice(0.950, 0.9449, "int16x8")

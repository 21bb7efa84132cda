"""Arguments that are none: numbers out of range, empty words and wrong types are one clear line, never the default."""

import warnings

import numpy as np
import pytest

import npunet
from npunet import UNet
from npunet.data import read_image, read_mask
from npunet.data.prepare import Preparation
from npunet.data.synthetic import synthetic_ecg, synthetic_nuclei
from npunet.formats.onnx import to_onnx
from npunet.golden.bundle import golden
from npunet.segment import Segmenter
from npunet.segment.instances import instances, objects
from npunet.verify import verify

NAN, INF, HUGE = float("nan"), float("inf"), 10**30
ODD = (0, -1, 1.5, NAN, INF, -INF, "", "x", "3", [], (), {}, True, None, HUGE)
BLOCK = {"filters": 3, "kernel": [1, 3], "pool": [1, 2], "strides": [1, 2]}


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A network of signals and one of images, alone and described, and inputs for them."""
    class Given:
        net = UNet({"blocks": [BLOCK], "output_kernel_size": [1, 3]}, (None, 1), 4)
        pictures = UNet({"blocks": [{"filters": 2}], "output_kernel_size": 3}, (None, None, 1), 2)
        ecg = Segmenter(net, ("none", "P", "QRS", "T"), Preparation(100.0))
        nuclei = Segmenter(pictures, ("background", "nucleus"), None)
        x = np.arange(32, dtype=np.float32).reshape(2, 16, 1)
        image = np.arange(256, dtype=np.float32).reshape(1, 16, 16, 1)
        labels = np.zeros((2, 16), int)
        mask = np.pad(np.ones((1, 4, 4), np.uint8), ((0, 0), (2, 2), (2, 2)))
        lead = np.sin(np.arange(900) / 9)
        fixed = UNet({"blocks": [BLOCK], "output_kernel_size": [1, 3]}, (16, 1), 4)
        integers = npunet.quantize(fixed, x)
        xi = integers.quantize_input(x)
        out = tmp_path_factory.mktemp("golden") / "out"
        bundle = tmp_path_factory.mktemp("bundle")

    golden(Given.fixed, Given.bundle, cases=["zeros"], formats=["npz"])
    np.save(Given.bundle / "m.npy", np.eye(9, dtype=np.uint8))
    return Given


# what is called; the odd values that mean something there
CALLS = {
    "predict threads": (lambda g, v: g.net.predict(g.x, "numpy", threads=v), (None,)),
    "predict pad": (lambda g, v: g.net.predict(g.x, "numpy", pad=v), (0, True, None)),
    "predict backend": (lambda g, v: g.net.predict(g.x, backend=v), ()),
    "predict arithmetic": (lambda g, v: g.net.predict(g.x, "numpy", arithmetic=v), (None,)),
    "predict x": (lambda g, v: g.net.predict(v, "numpy"), ()),
    "trace level": (lambda g, v: g.net.trace(g.x, level=v), ()),
    "trace arithmetic": (lambda g, v: g.net.trace(g.x, arithmetic=v), ()),
    "trace seed": (lambda g, v: g.net.trace(g.x, training=True, seed=v), (0, HUGE)),
    "trace x": (lambda g, v: g.net.trace(v), ()),
    "gradients loss": (lambda g, v: g.net.gradients(g.x, g.labels, loss=v), ()),
    "gradients labels": (lambda g, v: g.net.gradients(g.x, v), ()),
    "gradients seed": (lambda g, v: g.net.gradients(g.x, g.labels, seed=v), (0, HUGE)),
    "compile batch": (lambda g, v: g.net.compile((16, 1), batch=v), ()),
    "compile input_shape": (lambda g, v: g.net.compile(v), ()),
    "stream output": (lambda g, v: g.net.stream(v, backend="numpy"), ()),
    "stream threads": (lambda g, v: g.net.stream(backend="numpy", threads=v), (None,)),
    "UNet seed": (lambda g, v: UNet({"blocks": [BLOCK]}, (16, 1), 3, seed=v), (0, None, HUGE)),
    "UNet num_classes": (lambda g, v: UNet({"blocks": [BLOCK]}, (16, 1), v), ()),
    "UNet input_shape": (lambda g, v: UNet({"blocks": [BLOCK]}, v, 3), ()),
    "UNet dtype": (lambda g, v: UNet({"blocks": [BLOCK]}, (16, 1), 3, dtype=v), ()),
    "segment fs": (lambda g, v: g.ecg.segment(g.lead, v), ()),
    "segment signal": (lambda g, v: g.ecg.segment(v, 100), ()),
    "mask views": (lambda g, v: g.nuclei.mask(g.image, v), (True,)),
    "mask images": (lambda g, v: g.nuclei.mask(v), ()),
    "Segmenter class_names": (lambda g, v: Segmenter(g.net, v, None), ()),
    "Preparation rate": (lambda g, v: Preparation(v), (HUGE,)),
    "Preparation order": (lambda g, v: Preparation(100.0, order=v), ()),
    "Preparation epsilon": (lambda g, v: Preparation(100.0, epsilon=v), (None, 1.5, HUGE)),
    "Preparation band": (lambda g, v: Preparation(100.0, band=v), (None,)),
    "instances smallest": (lambda g, v: instances(g.mask, v), ()),
    "objects smallest": (lambda g, v: objects(g.mask[0], v), ()),
    "quantize scheme": (lambda g, v: npunet.quantize(g.net, g.x, scheme=v), ()),
    "quantize rounding": (lambda g, v: npunet.quantize(g.net, g.x, rounding=v), ()),
    "quantize calibration_method": (lambda g, v: npunet.quantize(g.net, g.x, calibration_method=v), ()),
    "quantize calibration": (lambda g, v: npunet.quantize(g.net, v), ()),
    "quantize model": (lambda g, v: npunet.quantize(v, g.x), ()),
    "integer predict x": (lambda g, v: g.integers.predict(v, "numpy"), ()),
    "integer predict threads": (lambda g, v: g.integers.predict(g.xi, "numpy", threads=v), (None,)),
    "integer predict backend": (lambda g, v: g.integers.predict(g.xi, v), ()),
    "integer compile": (lambda g, v: g.integers.compile(v), (None,)),
    "integer compile batch": (lambda g, v: g.integers.compile(batch=v), ()),
    "quantize_input": (lambda g, v: g.integers.quantize_input(v), (0, -1, 1.5, INF, -INF, [], (), True)),
    "dequantize_output": (lambda g, v: g.integers.dequantize_output(v), (0, -1, 1.5, NAN, INF, -INF, [], (), True)),
    "golden cases": (lambda g, v: golden(g.fixed, g.out, cases=v), (None,)),
    "golden formats": (lambda g, v: golden(g.fixed, g.out, cases=["zeros"], formats=v), ()),
    "golden layers": (lambda g, v: golden(g.fixed, g.out, cases=["zeros"], layers=v), (None,)),
    "golden size": (lambda g, v: golden(g.fixed, g.out, cases=["zeros"], size=v), ()),
    "golden max_size": (lambda g, v: golden(g.fixed, g.out, cases=["zeros"], max_size=v), (0, HUGE)),
    "golden seed": (lambda g, v: golden(g.fixed, g.out, cases=["zeros"], seed=v), (0, HUGE)),
    "golden target": (lambda g, v: golden(g.fixed, g.out, cases=["zeros"], target=v), (None,)),
    "golden kinds of integers": (lambda g, v: golden(g.integers, g.out, cases=v), (None,)),
    "golden formats of integers": (lambda g, v: golden(g.integers, g.out, cases=["random"], formats=v), ()),
    "golden seed of integers": (lambda g, v: golden(g.integers, g.out, cases=["random"], seed=v), (0, HUGE)),
    "golden target of integers": (lambda g, v: golden(g.integers, g.out, cases=["random"], target=v), (None,)),
    "verify layers": (lambda g, v: verify(g.bundle, g.bundle, layers=v), (None,)),
    "verify case": (lambda g, v: verify(g.bundle, g.bundle, case=v), (None,)),
    "verify layout": (lambda g, v: verify(g.bundle, g.bundle, layout=v), (None,)),
    "verify time_limit": (lambda g, v: verify(g.bundle, g.bundle, time_limit=v), (1.5, INF, True, HUGE)),
    "read_mask ignore": (lambda g, v: read_mask(g.bundle / "m.npy", 2, ignore=v), (0, -1, None, HUGE)),
    "read_mask as_shown": (lambda g, v: read_mask(g.bundle / "m.npy", 2, as_shown=v), (0, None, True)),
    "read_mask max_pixels": (lambda g, v: read_mask(g.bundle / "m.npy", 2, max_pixels=v), ()),
    "read_image channels": (lambda g, v: read_image(g.bundle / "m.npy", v), ()),
    "read_image max_pixels": (lambda g, v: read_image(g.bundle / "m.npy", max_pixels=v), ()),
    "load": (lambda g, v: npunet.load(v), ()),
    "pretrained": (lambda g, v: npunet.pretrained.load(v), ()),
    "pretrained scheme": (lambda g, v: npunet.pretrained.quantized("ecg-trained", v), ()),
    "presets": (lambda g, v: npunet.presets.load(v), ()),
    "synthetic_ecg seconds": (lambda g, v: synthetic_ecg(v, 100), (1.5,)),
    "synthetic_ecg fs": (lambda g, v: synthetic_ecg(1, v), (1.5,)),
    "synthetic_ecg seed": (lambda g, v: synthetic_ecg(1, 100, seed=v), (0, HUGE)),
    "synthetic_ecg heart_rate": (lambda g, v: synthetic_ecg(1, 100, heart_rate=v), ()),
    "synthetic_nuclei size": (lambda g, v: synthetic_nuclei(v), ()),
    "synthetic_nuclei count": (lambda g, v: synthetic_nuclei((32, 32), count=v), (0, None)),
    "to_onnx batch": (lambda g, v: to_onnx(g.net.graph, g.net.weights, (None, 1), batch=v), (None,)),
    "to_onnx level": (lambda g, v: to_onnx(g.net.graph, g.net.weights, (None, 1), level=v), ()),
    "load_weights": (lambda g, v: g.net.load_weights(v), ()),
}
OF_PATHS = ("load", "load_weights", "pretrained", "presets")                 # a number is no path: Python's own line


@pytest.mark.parametrize("name", CALLS)
def test_odd_arguments_are_refused_in_a_line(name, given):
    call, legal = CALLS[name]
    if name.startswith("to_onnx"):
        pytest.importorskip("onnx")
    for value in ODD:
        if any(value is each or (type(value) is type(each) and value == each) for each in legal):
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            allowed = (ValueError, OSError, TypeError) if name in OF_PATHS else ValueError
            with pytest.raises(allowed) as error:
                call(given, value)
        told = str(error.value)
        assert told and "\n" not in told.replace("\n  ", "") and len(told) < 2000, f"{value!r}: {told}"


@pytest.mark.parametrize("name", CALLS)
def test_what_is_legal_there_is_taken(name, given):
    call, legal = CALLS[name]
    if name.startswith("to_onnx"):
        pytest.importorskip("onnx")
    for value in legal:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call(given, value)

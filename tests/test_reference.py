"""npunet against the published network: every stored Keras case in float64, Keras' own files, and the PyTorch twin.

What is stored and how it was made: reference/README.md.
"""

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from npunet import UNet, UNetParams

REFERENCE = Path(__file__).parent.parent / "reference"
STORED = REFERENCE / "stored"
NAMES = sorted(path.stem for path in STORED.glob("*.npz"))
MODELS = ["batch_separable", "compiled", "layer_norm"]
assert len(NAMES) >= 24, f"{STORED} holds {len(NAMES)} cases; run python reference/generate.py"

# Both sides sum in float64, in different orders: 1e-16 a term, amplified by a deep network. Measured below 1e-12.
CLOSE = 1e-10
# Float32 Keras against float64: 24 layers of sums of up to 240 products, 6e-8 each. Measured 4e-6.
FLOAT32 = 4e-5

# An int kernel on a signal is k x k, most of it never read; npunet says so, the reference does not.
pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")


@cache
def stored(name):
    """(description, arrays) of one npz."""
    with np.load(STORED / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    return json.loads(str(arrays.pop("case"))), arrays


def group(arrays, prefix):
    """The arrays under a prefix, by the rest of their names."""
    return {key[len(prefix):]: value for key, value in arrays.items() if key.startswith(prefix)}


def model_of(case, arrays, dtype="float64"):
    params = UNetParams.from_dict(case["params"])
    model = UNet(params, tuple(case["input_shape"]), case["num_classes"], dtype=dtype)
    return model.load_weights(group(arrays, "weights/"))


def masks_of(case, arrays, dtype="float64"):
    """The stored dropout masks as gradients() takes them, 1 / (1 - rate) where kept."""
    rates = [block["dropout"] for block in case["params"]["blocks"] if block.get("dropout") is not None]
    kept = group(arrays, "mask/")
    masks = {f"{layer}/mask": mask / (1 - rate) for (layer, mask), rate in zip(kept.items(), rates, strict=True)}
    return {name: mask.astype(dtype) for name, mask in masks.items()} or None


def assert_near(name, got, expected, scale=None):
    """Fail with the tensor, the index, got, expected and the share of its largest magnitude."""
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"{name} has shape {got.shape}, Keras {expected.shape}"
    scale = max(float(np.max(np.abs(expected), initial=0.0) if scale is None else scale), 1e-300)  # a tensor of zeros
    off = np.where(np.isfinite(got), np.abs(got - expected) / scale, np.inf)
    if off.size and off.max() > CLOSE:
        at = tuple(int(i) for i in np.unravel_index(off.argmax(), off.shape))
        raise AssertionError(f"{name}{list(at)}: got {got[at]!r}, Keras {expected[at]!r}, off by {off[at]:.2e} of "
                             f"{scale:.3g}, allowed {CLOSE:g}")


def assert_all_near(got, expected, vanishing=()):
    """Equal sets of names, each tensor near; one that vanishes in exact arithmetic is noise, far below the others."""
    assert set(got) == set(expected)
    largest = max((np.abs(value).max() for value in expected.values()), default=1.0)
    for name, value in expected.items():
        assert_near(name, got[name], value, scale=largest if name in vanishing else None)


def probes(a):
    """Three sums of an activation, each over the size that its terms add up to: near means near by terms."""
    wave = np.cos(np.arange(a.size))
    sums = np.array([a.sum(), (a * a).sum(), (a.ravel() * wave).sum()])
    return sums, np.array([np.abs(a).sum(), (a * a).sum(), np.abs(a.ravel() * wave).sum()])


def check_trace(trace, case, arrays, mode):
    """Every activation, or three sums of it where only those are stored."""
    assert set(trace) == set(case["traced"])
    expected = group(arrays, f"{mode}/float64/trace/")
    if expected:
        return assert_all_near(trace, expected)
    for layer, row in zip(case["traced"], arrays[f"{mode}/float64/probes"], strict=True):
        sums, scales = probes(trace[layer])
        for number, (got, want, scale) in enumerate(zip(sums, row, scales, strict=True)):
            assert_near(f"{layer}, sum {number}", got, want, scale=scale)


def check_gradients(case, arrays, mode, l2=False):
    model = model_of(case, arrays)
    loss, grads, dx = model.gradients(arrays["x"], arrays["labels"], loss=case["loss"], training=mode == "training",
                                      l2=l2, masks=masks_of(case, arrays) if mode == "training" else None)
    results = group(arrays, f"{mode}/float64/")
    assert_near("loss", loss, results["loss"] + (results["l2"] if l2 else 0.0))
    assert_near("dx", dx, results["dx"])
    noise = case["vanishing"] if mode == "training" else ()
    assert_all_near(grads, group(results, "grad_l2/" if l2 else "grad/"), noise)
    assert list(grads) == case["trainable"]
    return model


@pytest.mark.parametrize("name", NAMES)
def test_names_and_counts_are_the_references(name):
    case, arrays = stored(name)
    model = model_of(case, arrays)
    assert list(model.weights) == case["weights"]
    assert model.trainable == case["trainable"]
    assert sum(weight.size for weight in model.weights.values()) == case["parameters"]


@pytest.mark.parametrize("name", NAMES)
def test_outputs_at_inference(name):
    case, arrays = stored(name)
    y = model_of(case, arrays).predict(arrays["x"], backend="numpy", arithmetic="any")
    assert y.dtype == np.float64
    assert_near("output", y, arrays["inference/float64/y"])


@pytest.mark.parametrize("name", NAMES)
def test_every_activation_at_inference(name):
    case, arrays = stored(name)
    check_trace(model_of(case, arrays).trace(arrays["x"]), case, arrays, "inference")


@pytest.mark.parametrize("name", [name for name in NAMES if "dropout" not in name])
def test_every_activation_in_training(name):
    case, arrays = stored(name)
    trace = model_of(case, arrays).trace(arrays["x"], training=True)
    check_trace(trace, case, arrays, "training")
    if case["traced"]:
        last = list(trace)[-1]
        assert_near(last, trace[last].reshape(arrays["training/float64/y"].shape), arrays["training/float64/y"])


@pytest.mark.parametrize("name", NAMES)
def test_gradients_and_statistics_in_training(name):
    case, arrays = stored(name)
    model = check_gradients(case, arrays, "training")
    assert_all_near(model.new_statistics, group(arrays, "training/float64/stat/"))


@pytest.mark.parametrize("name", [name for name in NAMES if "inference/float64/dx" in stored(name)[1]])
def test_gradients_at_inference(name):
    check_gradients(*stored(name), "inference")


@pytest.mark.parametrize("name", [n for n in NAMES if group(stored(n)[1], "training/float64/grad_l2/")])
def test_gradients_with_l2(name):
    check_gradients(*stored(name), "training", l2=True)


@pytest.mark.parametrize("name", NAMES)
def test_three_steps_of_sgd(name):
    case, arrays = stored(name)
    model, velocity = model_of(case, arrays), {}
    for _ in range(case["sgd"]["steps"]):
        _, grads, _ = model.gradients(arrays["x"], arrays["labels"], loss=case["loss"], training=True, l2=True,
                                      masks=masks_of(case, arrays))
        moved = {}
        for weight, gradient in grads.items():
            kept = case["sgd"]["momentum"] * velocity.get(weight, 0.0)
            velocity[weight] = kept - case["sgd"]["learning_rate"] * gradient
            moved[weight] = model.weights[weight] + velocity[weight]
        model.commit_statistics()
        model.load_weights({**model.weights, **moved})
    assert_all_near(model.weights, group(arrays, "sgd/float64/"))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("suffix", ["keras", "weights.h5", "h5"])
def test_files_that_keras_wrote(name, suffix):
    pytest.importorskip("h5py", reason="reading Keras' files needs the extra npunet[keras]")
    case, arrays = stored(f"files/{name}")
    model = UNet(case["params"], tuple(case["input_shape"]), case["num_classes"], dtype="float64")
    model.load_weights(STORED / "files" / f"{name}.{suffix}")
    assert list(model.weights) == case["weights"]
    for weight, value in group(arrays, "weights/").items():
        np.testing.assert_array_equal(model.weights[weight], value, err_msg=weight)
    assert_near("output", model.predict(arrays["x"], arithmetic="any"), arrays["inference/float64/y"])


def test_the_ecg_model_and_the_runtimes_that_ran_it():
    case, arrays = stored("files/ecg-docstring")
    model = model_of(case, arrays)
    assert sum(weight.size for weight in model.weights.values()) == 35466
    y = model.predict(arrays["x"], arithmetic="any")
    for runtime in ("keras", "litert", "onnxruntime"):
        off = np.abs(arrays[f"{runtime}/float32/y"] - y).max() / np.abs(y).max()
        assert off <= FLOAT32, f"{runtime} is off by {off:.1e} of the largest output"


def test_the_stored_set_is_what_the_manifest_says():
    manifest = json.loads((STORED / "manifest.json").read_text())
    files = {path.relative_to(STORED).as_posix(): path for path in STORED.rglob("*") if path.is_file()}
    del files["manifest.json"]
    files = {name: path for name, path in files.items()  # others have a manifest of their own, or are one
             if not name.startswith(("integer/", "float/")) and name != "integer_vela.json"}
    assert set(files) == set(manifest["files"])
    for name, entry in manifest["files"].items():
        assert hashlib.sha256(files[name].read_bytes()).hexdigest() == entry["sha256"], name
    assert sum(path.stat().st_size for path in files.values()) <= 8_000_000
    assert set(manifest["cases"]) == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_twin_agreed_when_the_case_was_stored(name):
    row = json.loads((STORED / "manifest.json").read_text())["cases"][name]["twin"]
    assert {"outputs", "gradients", "weights after SGD"} <= set(row)
    assert max(row.values()) <= CLOSE


@pytest.mark.parametrize("name", NAMES)
def test_the_twin_agrees_here(name, monkeypatch):
    pytest.importorskip("torch", reason="the PyTorch twin is compared live only where torch is installed")
    monkeypatch.syspath_prepend(str(REFERENCE))
    import torch_twin

    case, arrays = stored(name)
    twin, model = torch_twin.run(case, arrays), model_of(case, arrays)
    assert_near("output", model.predict(arrays["x"], arithmetic="any"), twin["inference/float64/y"])
    _, grads, dx = model.gradients(arrays["x"], arrays["labels"], loss=case["loss"], masks=masks_of(case, arrays))
    assert_near("dx", dx, twin["training/float64/dx"])
    assert_all_near(grads, group(twin, "training/float64/grad/"), case["vanishing"])

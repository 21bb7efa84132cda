"""What a user holds: shapes, sizes, weights, files, and a training step that is explicit."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest

from npunet import UNet, UNetParams, run
from npunet.differentiate import differentiate, find_loss
from npunet.ops.regularise import l2_forward

SIGNAL = {"blocks": [{"filters": 4, "kernel": (1, 3), "strides": (1, 2), "depth": 2, "seperable": True},
                     {"filters": 5, "kernel": (1, 3), "strides": (1, 3), "dropout": 0.25}],
          "output_kernel_size": (1, 3)}
IMAGE = {"blocks": [{"filters": 3, "strides": (2, 1)}, {"filters": 4, "strides": 2, "norm": None}]}
SMOOTH = {"blocks": [{"filters": 3, "strides": (1, 3), "activation": "selu", "norm": "layer", "dilation": 2,
                      "depth": 2}, {"filters": 2, "activation": "elu", "skip": False}], "use_logits": False}


@pytest.fixture
def signal():
    return UNet(SIGNAL, (30, 2), 3, seed=4)


def test_shapes_in_and_out(signal, rng):
    y = signal.predict(rng.standard_normal((5, 30, 2)))
    assert y.shape == (5, 30, 3) and y.dtype == np.float32
    image = UNet(IMAGE, (8, 6, 1), 2, dtype="float64")
    assert image.predict(rng.standard_normal((2, 8, 6, 1))).dtype == np.float64
    assert signal.predict(np.empty((0, 30, 2))).shape == (0, 30, 3)
    without_top = UNet(UNetParams(blocks=IMAGE["blocks"], include_top=False), (8, 6, 1))
    assert without_top.predict(rng.standard_normal((1, 8, 6, 1))).shape == (1, 8, 6, 3)


def test_the_same_seed_gives_the_same_weights():
    a, b, c = (UNet(SIGNAL, (30, 2), 3, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(a.weights[name], b.weights[name]) for name in a.weights)
    assert any(not np.array_equal(a.weights[name], c.weights[name]) for name in a.weights)


def test_initial_kernels_are_he_normal_cut_at_two_deviations():
    kernel = UNet({"blocks": [{"filters": 64}]}, (4, 4, 32), 2).weights["ENC1_D1_conv/kernel"]
    deviation = np.sqrt(2 / (9 * 32))
    assert abs(kernel.std() / deviation - 1) < 0.02
    assert np.abs(kernel).max() <= 2 * deviation / 0.8796


@pytest.mark.parametrize("backend", ["numpy", "engine"])
@pytest.mark.parametrize("arithmetic", ["seq", "seq_fma"])
def test_a_declared_arithmetic_has_one_answer(signal, rng, backend, arithmetic):
    x = rng.standard_normal((3, 30, 2)).astype(np.float32)
    y = signal.predict(x, backend=backend, arithmetic=arithmetic)
    deployed = list(signal.trace(x, level="deploy", arithmetic=arithmetic).values())[-1][:, 0]
    assert np.array_equal(y, deployed)
    assert np.allclose(y, signal.predict(x, arithmetic="any"), atol=1e-4)


def test_open_sizes_and_padding(rng):
    model = UNet(SIGNAL, (None, 2), 3)
    x = rng.standard_normal((2, 41, 2))
    with pytest.raises(ValueError, match=r"size \(41,\), which the strides do not divide; pad it to \(42,\)"):
        model.predict(x)
    padded = np.pad(x, [(0, 0), (0, 1), (0, 0)])
    for backend in ("numpy", "engine"):
        y = model.predict(x, pad=True, backend=backend)
        assert y.shape == (2, 41, 3)
        assert np.array_equal(y, model.predict(padded, backend=backend)[:, :41])


def test_layer_norm_fixes_the_size(rng):
    model = UNet({"blocks": [{"filters": 2, "norm": "layer", "strides": 2}]}, (4, 6, 1), 2)
    with pytest.raises(ValueError, match=r"layer norm in block 1 fixes it to \(4, 6\)"):
        model.predict(rng.standard_normal((1, 8, 6, 1)), pad=True)


def test_the_older_way_to_ask_for_padding(rng):
    model = UNet({"blocks": [{"filters": 2, "strides": 2, "kernel": 3}]}, (None, None, 1), 2)
    x = rng.standard_normal((1, 7, 5, 1))
    for old in ({"fit": "pad"}, {"pad": "pad"}):
        with pytest.warns(DeprecationWarning, match="written pad=True now"):
            y = model.predict(x, "numpy", **old)
        np.testing.assert_array_equal(y, model.predict(x, "numpy", pad=True))
    for wrong in ({"fit": "crop"}, {"fit": True}, {"pad": "crop"}):
        with pytest.raises(ValueError, match=r"fit=.* must be None or 'pad', which is written pad=True now"):
            model.predict(x, "numpy", **wrong)
    with pytest.raises(ValueError, match=r"x has size \(7, 5\), .* pad it to \(8, 6\) or use predict\(..., pad=True\)"):
        model.predict(x, "numpy", fit=None)


@pytest.mark.parametrize(("x", "message"), [
    (np.zeros((30, 2)), r"x has shape \(30, 2\)"),
    (np.zeros((1, 30, 3)), "3 channels"),
    (np.zeros((1, 0, 2)), "no samples"),
    (np.zeros((1, 30, 2), complex), "complex128; it must hold real numbers"),
    (np.array([[["a", "b"]]]), "real numbers"),
])
def test_unfit_inputs_are_named(signal, x, message):
    with pytest.raises(ValueError, match=message):
        signal.predict(x)


@pytest.mark.parametrize("arguments", [
    {"backend": "cuda"}, {"arithmetic": "fast"}, {"fit": "crop"}, {"backend": "engine", "arithmetic": "any"},
    {"threads": 0, "backend": "engine"},
])
def test_unknown_choices_are_named(signal, arguments):
    with pytest.raises(ValueError, match="|".join(arguments)):
        signal.predict(np.zeros((1, 30, 2)), **arguments)


def test_float64_takes_no_fma():
    model = UNet(SIGNAL, (30, 2), 3, dtype="float64")
    with pytest.raises(ValueError, match="seq_fma"):
        model.predict(np.zeros((1, 30, 2)), arithmetic="seq_fma")
    with pytest.raises(ValueError, match="float32"):
        model.predict(np.zeros((1, 30, 2)), backend="engine")


def test_weights_that_do_not_fit_are_all_listed(signal):
    weights = {name.replace("_D1_", ".D1."): value for name, value in signal.weights.items()}
    signal.load_weights(weights)
    missing = weights.pop("NECK_conv/bias")
    weights["NECK.bias"] = missing
    weights["ENC1.skip/bias"] = weights.pop("ENC1_skip/bias")[:2]
    before = signal.weights.block.copy()
    with pytest.raises(ValueError) as error:
        signal.load_weights(weights)
    text = str(error.value)
    assert "missing: NECK_conv/bias (3,)" in text and "surplus: NECK_bias (3,)" in text
    assert "wrong shape: ENC1_skip/bias is (2,), the network needs (4,)" in text
    assert np.array_equal(before, signal.weights.block)


def test_weights_can_be_changed_in_place_and_are_seen(signal, rng):
    x = rng.standard_normal((1, 30, 2))
    before = signal.predict(x)
    signal.weights["NECK_conv/bias"][1] += 2
    after = signal.predict(x)
    assert np.allclose(after[..., 1], before[..., 1] + 2, atol=1e-5)
    signal.weights["NECK_conv/bias"] = np.zeros(3)
    assert np.allclose(signal.predict(x), before, atol=1e-6)
    with pytest.raises(ValueError, match=r"NECK_conv/bias is \(3,\), not \(4,\)"):
        signal.weights["NECK_conv/bias"] = np.zeros(4)
    with pytest.raises(KeyError):
        signal.weights["NECK/bias"] = np.zeros(3)


def test_save_and_load(signal, rng, tmp_path):
    path, again = tmp_path / "m.npz", tmp_path / "again.npz"
    signal.save(path)
    loaded = UNet.load(path)
    loaded.save(again)
    assert path.read_bytes() == again.read_bytes()
    assert loaded.params == signal.params and loaded.input_shape == (30, 2) and loaded.num_classes == 3
    x = rng.standard_normal((2, 30, 2))
    assert np.array_equal(loaded.predict(x), signal.predict(x))
    for copied in (copy.deepcopy(signal), pickle.loads(pickle.dumps(signal))):
        assert np.array_equal(copied.predict(x), signal.predict(x))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"not a zip at all"])
def test_files_that_are_no_model(content, tmp_path):
    path = tmp_path / "bad.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bad\.npz is not a model"):
        UNet.load(path)


def test_arrays_that_are_no_model(signal, tmp_path):
    np.save(tmp_path / "one.npy", np.zeros(3))
    np.savez(tmp_path / "weights.npz", **signal.weights)
    with pytest.raises(ValueError, match="a single array"):
        UNet.load(tmp_path / "one.npy")
    with pytest.raises(ValueError, match="no description"):
        UNet.load(tmp_path / "weights.npz")
    with pytest.raises(FileNotFoundError):
        UNet.load(tmp_path / "absent.npz")


def test_gradients_leave_the_model_alone_until_committed(signal, rng):
    x, labels = rng.standard_normal((2, 30, 2)), rng.integers(0, 3, (2, 30))
    before = signal.weights.block.copy()
    loss, gradients, dx = signal.gradients(x, labels)
    assert np.isfinite(loss) and dx.shape == x.shape and list(gradients) == signal.trainable
    assert np.array_equal(before, signal.weights.block)
    signal.commit_statistics()
    changed = [name for name in signal.weights if "moving" in name]
    assert changed and set(signal.new_statistics) == set(changed)
    assert not np.array_equal(before, signal.weights.block)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("loss", ["sparse_categorical_crossentropy", "categorical_focal", "dice"])
@pytest.mark.parametrize(("params", "shape"), [(SIGNAL, (30, 2)), (IMAGE, (8, 6, 2)), (SMOOTH, (4, 9, 2))])
def test_the_whole_gradient_is_the_derivative(params, shape, loss, training, rng):
    """Complex step along a random direction of all weights and the input: no difference is taken, so 1e-12 holds."""
    model = UNet(params, shape, 3, dtype="float64", seed=2)
    for name, weight in model.weights.items():
        weight += 0.3 * rng.random(weight.shape) if "variance" in name else 0.3 * rng.standard_normal(weight.shape)
    labels = rng.integers(0, 3, (2, *shape[:-1]))
    images = model.sizes.admit(rng.standard_normal((2, *shape)), "float64")[0]
    graph = model.graph.for_training() if training else model.graph
    tensors = dict(model.weights) | run.draw_masks(model.graph, 2, rng, np.dtype("float64"))
    done = differentiate(graph, tensors, images, model.sizes.admit_labels(labels, images), loss=loss, l2=True)

    step = 1e-30
    towards = {name: rng.standard_normal(model.weights[name].shape) for name in model.trainable}
    image_towards = rng.standard_normal(images.shape)
    moved = {name: tensors[name] + 1j * step * towards.get(name, 0) for name in tensors}
    loss_forward, _, options = find_loss(loss, graph)
    trace, _ = run.forward(graph, moved, images + 1j * step * image_towards)
    value = loss_forward(trace[graph.output], model.sizes.admit_labels(labels, images), **options)
    value = value + sum(l2_forward(moved[name], 1e-3) for name, spec in graph.weights.items() if spec.regularized)
    slope = sum(np.sum(done.dweights[name] * towards[name]) for name in towards) + np.sum(done.dx * image_towards)
    scale = sum(np.sum(np.abs(done.dweights[name] * towards[name])) for name in towards)
    assert abs(value.imag / step - slope) < 1e-12 * scale, (value.imag / step, slope)


def test_unknown_losses_and_labels_are_named(signal, rng):
    x = rng.standard_normal((1, 30, 2))
    with pytest.raises(ValueError, match="sparse_categorical_crossentropy"):
        signal.gradients(x, np.zeros((1, 30), int), loss="hinge")
    with pytest.raises(ValueError, match="label 3 at"):
        signal.gradients(x, np.full((1, 30), 3))


def test_importing_is_light():
    code = ("import sys, npunet; heavy = {'numba', 'scipy', 'matplotlib', 'h5py', 'wfdb', 'onnx'} & set(sys.modules);"
            "sys.exit(f'loaded {heavy}' if heavy else 0)")
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_only_numpy_is_needed():
    """Building, predicting and differentiating with Numba and SciPy out of reach."""
    code = """
import sys
for name in ("numba", "scipy", "llvmlite"):
    sys.modules[name] = None
import numpy as np
from npunet import UNet
model = UNet({"blocks": [{"filters": 2, "strides": 2}]}, (4, 6, 1), 2)
x = np.ones((1, 4, 6, 1), np.float32)
model.predict(x, backend="numpy"), model.predict(x), model.gradients(x, np.zeros((1, 4, 6), int))
try:
    model.predict(x, backend="engine")
except ImportError as error:
    assert "Numba" in str(error)
else:
    raise AssertionError("the engine ran without Numba")
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

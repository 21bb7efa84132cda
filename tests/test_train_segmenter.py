"""A network that knows its preparation: its file, and segments of any unit, rate and length."""

import copy
import pickle

import numpy as np
import pytest

from npunet import UNet, cli, load, pretrained
from npunet.data.prepare import Preparation
from npunet.data.synthetic import synthetic_ecg
from npunet.segment import Segmenter
from npunet.segment import signal as segment_signal
from npunet.segment.signal import tidied
from npunet.train import run
from npunet.train.config import make_config

CLASSES = ("none", "P", "QRS", "T")
BLOCK = {"depth": 1, "kernel": [1, 5], "pool": [1, 3], "strides": [1, 2]}
SETTINGS = {
    "architecture": {"name": "unet", "params": {"blocks": [{"filters": 8, **BLOCK}, {"filters": 10, **BLOCK},
                                                           {"filters": 12, **BLOCK}], "output_kernel_size": [1, 5]}},
    "frame_size": 128, "num_classes": 4, "class_names": CLASSES, "epochs": 1, "steps_per_epoch": 60, "batch_size": 12,
    "lr_rate": 0.01, "l2": False, "batch_norm_momentum": 0.9, "val_patients": 1, "test_patients": 1,
    "datasets": [{"name": "synthetic", "params": {"count": 12}}],
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A small segmenter, trained on synthetic ECGs for a second."""
    folder = tmp_path_factory.mktemp("run")
    run.begin(make_config(SETTINGS)[0], folder, backend="numpy")
    return Segmenter.load(folder / "model.npz")


def ecg(seed=5, seconds=10, fs=500):
    return synthetic_ecg(seconds, fs, seed=seed, heart_rate=80)


def agreement(a, b):
    return (np.asarray(a) == np.asarray(b)).mean()


def test_it_segments_what_it_has_not_seen(model):
    signal, labels = ecg()
    found = model.segment(signal, 500)
    assert found.shape == signal.shape and found.dtype == np.uint8
    assert agreement(found, labels) > 0.85 and set(np.unique(found)) == {0, 1, 2, 3}


def test_unit_and_integers_do_not_matter(model):
    signal, _ = ecg()
    microvolt = np.rint(signal * 1000)
    reference = model.segment(microvolt / 1000, 500)
    assert agreement(model.segment(microvolt, 500), reference) > 0.999
    np.testing.assert_array_equal(model.segment(microvolt.astype(np.int16), 500), model.segment(microvolt, 500))
    np.testing.assert_array_equal(model.segment(microvolt + 4096, 500) > 0, model.segment(microvolt, 500) > 0)


def test_leads_are_judged_one_by_one(model):
    leads = np.stack([ecg(1)[0], 50 * ecg(2)[0], -ecg(3)[0]])
    together = model.segment(leads, 500)
    assert together.shape == leads.shape
    for lead, labels in zip(leads, together, strict=True):
        np.testing.assert_array_equal(model.segment(lead, 500), labels)


def test_the_phase_of_the_strides_does_not_matter(model):
    x = np.random.default_rng(3).standard_normal(300).astype(np.float32)
    shifts = [np.pad(x, (shift, 7 - shift))[None, :, None] for shift in range(8)]  # strides 2 * 2 * 2
    each = [model.predict(shifted, pad=True)[0, shift : shift + 300] for shift, shifted in enumerate(shifts)]
    np.testing.assert_allclose(segment_signal._logits(model.network, x), np.mean(each, 0), atol=1e-5)
    later, reach = np.pad(x, (3, 0)), 110
    moved, here = (segment_signal._logits(model.network, signal) for signal in (later, x))
    assert abs(moved[3 + reach : -reach] - here[reach:-reach]).max() < 1e-4
    once = abs(model.predict(later[None, :, None], pad=True)[0, 3 + reach : -reach]
               - model.predict(x[None, :, None], pad=True)[0, reach:-reach])
    assert once.max() > 0.01                                                 # without the mean it does


@pytest.mark.parametrize("fs", [97.3, 128, 250, 360, 1000])
def test_any_rate(model, fs):
    signal, labels = ecg(fs=fs)
    assert agreement(model.segment(signal, fs), labels) > 0.83


@pytest.mark.parametrize("length", [1, 2, 5, 37, 100, 499, 1301])
def test_any_length(model, length):
    signal = ecg()[0][:length]
    assert model.segment(signal, 500).shape == (length,)


def test_long_signals_are_cut_without_a_trace(model, monkeypatch):
    signal, _ = ecg(seconds=40)
    whole = model.segment(signal, 500)
    monkeypatch.setattr(segment_signal, "PIECE", 512)
    monkeypatch.setattr(segment_signal, "HALO", 256)
    np.testing.assert_array_equal(model.segment(signal, 500), whole)


def test_an_artefact_does_not_hide_the_rest(model):
    signal, labels = ecg(seconds=60)
    spoiled = signal.copy()
    spoiled[1000:1500] += 200 * np.sin(np.arange(500))
    assert agreement(model.segment(spoiled, 500)[10000:], labels[10000:]) > 0.83


def test_gaps_and_flat_leads_are_class_0(model):
    signal, labels = ecg()
    broken = signal.copy()
    broken[2000:2400] = np.nan
    found = model.segment(broken, 500)
    assert not found[2000:2400].any() and agreement(found[3000:], labels[3000:]) > 0.83
    for flat, told in ((np.zeros(900), "flat"), (np.full(900, 3.7), "flat"), (np.full(900, np.nan), "gaps"),
                       (np.full(900, 1e6, np.float32), "flat")):
        with pytest.warns(UserWarning, match=f"the signal is .*{told}.*class 0"):
            assert not model.segment(flat, 500).any()
    assert not model.normalised(np.full((1, 900), 3.7), 500).any()
    with pytest.warns(UserWarning, match="of 2 leads, number 2 is flat"):
        both = model.segment(np.stack([signal, np.full_like(signal, 2.0)]), 500)
    assert both[0].any() and not both[1].any()
    _, logits = model.segment_with_logits(broken, 500)
    assert np.isnan(logits[2000:2400]).all() and not np.isnan(logits[:2000]).any()


@pytest.mark.parametrize("scale", [1e160, 1e-200, 1e300, 1e-300, 5e-324])
def test_any_finite_amplitude(model, scale):
    signal, _ = ecg(seconds=4)
    if scale == 5e-324:                                                      # the smallest number: a few of them
        signal, scale = np.rint(signal.astype(float) * 1000) * scale, 1
        reference = model.segment(np.rint(ecg(seconds=4)[0] * 1000), 500)
    else:
        reference = model.segment(signal, 500)
    assert agreement(model.segment(signal.astype(float) * scale, 500), reference) > 0.995


def test_labels_are_the_likeliest_classes_tidied(model):
    leads = np.stack([ecg(1)[0], ecg(2)[0]])
    labels, logits = model.segment_with_logits(leads, 500)
    np.testing.assert_array_equal(labels, model.segment(leads, 500))
    assert logits.shape == (2, 5000, 4) and logits.dtype == np.float32
    np.testing.assert_array_equal(model.segment(leads, 500), [tidied(lead.argmax(-1).astype(np.uint8), 500)
                                                              for lead in logits])
    np.testing.assert_array_equal(model.segment_with_logits(leads[0], 500)[1], logits[0])


def test_a_network_of_several_leads_takes_them_at_once():
    network = UNet({"blocks": [{"filters": 4, "depth": 1, "kernel": (1, 3), "pool": (1, 2), "strides": (1, 2)}],
                    "output_kernel_size": (1, 3)}, (64, 2), 3, seed=2)
    joint = Segmenter(network, tuple("abc"), Preparation())
    leads = np.stack([ecg(1)[0], ecg(2)[0]])
    assert joint.segment(leads, 500).shape == (5000,) and joint.segment_with_logits(leads, 500)[1].shape == (5000, 3)
    with pytest.raises(ValueError, match="takes 2 leads at once, the signal has 1"):
        joint.segment(leads[0], 500)


@pytest.mark.parametrize(("signal", "fs", "told"), [
    (np.zeros(0), 500, "with samples in it"),
    (np.zeros((2, 3, 4)), 500, "must be (L,) or (leads, L)"),
    (np.zeros((5000, 12)), 500, "leads come first, so pass its transpose"),
    (np.zeros(9), 0, "fs=0 must be samples per second"),
    (np.zeros(9), float("nan"), "fs=nan must be"),
    (np.array([0, np.inf]), 500, "infinite"),
    (np.zeros(9, complex), 500, "dtype complex128"),
    (np.array(["a"]), 500, "must hold real numbers"),
])
def test_what_is_no_signal_is_refused(model, signal, fs, told):
    with pytest.raises(ValueError) as error:
        model.segment(signal, fs)
    assert told in str(error.value)


def test_pauses_are_joined_and_splinters_dropped():
    labels = np.repeat([0, 1, 0, 1, 0, 2, 0, 3, 1, 3, 1], [50, 20, 7, 20, 30, 2, 30, 20, 2, 20, 2]).astype(np.uint8)
    expected = np.repeat([0, 1, 0, 3, 0], [50, 47, 62, 42, 2])
    np.testing.assert_array_equal(tidied(labels, 100), expected)             # pauses under 8, splinters under 3 samples
    np.testing.assert_array_equal(tidied(np.zeros(3, np.uint8), 100), 0)


def test_the_file_keeps_network_and_description(model, tmp_path):
    model.save(tmp_path / "a.npz")
    again = Segmenter.load(tmp_path / "a.npz")
    assert (again.class_names, again.preparation) == (CLASSES, Preparation())
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    signal = ecg()[0]
    for other in (again, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        np.testing.assert_array_equal(other.segment(signal, 500), model.segment(signal, 500))
    again = load(tmp_path / "a.npz")
    assert type(again) is Segmenter
    again.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    UNet({"blocks": [], "output_kernel_size": (1, 3)}, (8, 1), 2).save(tmp_path / "plain.npz")
    assert type(UNet.load(tmp_path / "plain.npz")) is type(load(tmp_path / "plain.npz")) is UNet
    with pytest.raises(ValueError, match=r"holds a Segmenter.*npunet\.load\(path\)"):
        UNet.load(tmp_path / "a.npz")
    with pytest.raises(ValueError, match="without a description"):
        Segmenter.load(tmp_path / "plain.npz")


def test_images_have_no_segment():
    images = Segmenter(UNet({"blocks": []}, (8, 8, 1), 2), ("a", "b"), None)
    with pytest.raises(ValueError, match="is for images"):
        images.segment(np.zeros(9), 100)


def test_a_mask_is_the_mean_of_eight_views_and_turns_with_the_image(model, rng):
    block = {"filters": 4, "depth": 1, "kernel": 3, "pool": 2, "strides": 2}
    images = Segmenter(UNet({"blocks": [block], "output_kernel_size": 3}, (12, 12, 1), 3, seed=2), tuple("abc"), None)
    x = rng.standard_normal((2, 12, 20, 1)).astype(np.float32)
    np.testing.assert_array_equal(images.mask(x, 1), images.predict(x).argmax(-1))
    expected = 0
    for way in range(8):                                                     # written out: transpose, flip, flip
        view = x[:, :: 1 - 2 * (way & 1), :: 1 - (way & 2)]
        y = images.predict(np.ascontiguousarray(view.swapaxes(1, 2) if way & 4 else view))
        y = y.swapaxes(1, 2) if way & 4 else y
        expected = expected + y[:, :: 1 - 2 * (way & 1), :: 1 - (way & 2)]
    assert images.mask(x).shape == (2, 12, 20) and (images.mask(x, 1) != images.mask(x)).any()
    assert agreement(images.mask(x), expected.argmax(-1)) > 0.99
    assert agreement(images.mask(np.rot90(x, axes=(1, 2))), np.rot90(images.mask(x), axes=(1, 2))) > 0.99
    with pytest.raises(ValueError, match="views=3 must be 1 or 8"):
        images.mask(x, 3)
    with pytest.raises(ValueError, match="is for signals"):
        model.mask(x)


def test_predict_prepares_as_the_model_was_trained(model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    other = Segmenter(model.network, model.class_names, Preparation(rate=80.0, band=(2.0, 20.0)))
    other.save("other.npz")
    microvolt = 1000 * ecg()[0]
    np.save("signal.npy", microvolt)
    command = ["predict", "other.npz", "signal.npy", "--fs", "500", "--backend", "numpy", "--output", "logits"]
    assert cli.main([*command, "-o", "y.npy"]) == 0
    _, expected = other.segment_with_logits(microvolt[None], 500, backend="numpy")
    np.testing.assert_array_equal(np.load("y.npy"), expected)
    out = capsys.readouterr().out
    assert "(at 80 Hz, 2-20 Hz, normalised; the result at 500 Hz)" in out and "QRS" in out
    assert cli.main([*command, "--rate", "100"]) == 2
    assert "the network was trained at 80 Hz" in capsys.readouterr().err


def test_an_unknown_trained_network_is_named():
    assert callable(pretrained)
    with pytest.raises(ValueError, match="no trained network 'egc'; there are:"):
        pretrained("egc")

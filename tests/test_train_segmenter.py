"""A network that knows its preparation: its file, and segments of any unit, rate and length."""

import copy
import pickle

import numpy as np
import pytest

from npunet import UNet, pretrained, segmenter
from npunet.data.prepare import Preparation
from npunet.data.synthetic import synthetic_ecg
from npunet.segmenter import Segmenter, tidied
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
    monkeypatch.setattr(segmenter, "PIECE", 512)
    monkeypatch.setattr(segmenter, "HALO", 256)
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
    for flat in (np.zeros(900), np.full(900, 3.7), np.full(900, np.nan), np.full(900, 1e6, np.float32)):
        assert not model.segment(flat, 500).any()
    both = model.segment(np.stack([signal, np.full_like(signal, 2.0)]), 500)
    assert both[0].any() and not both[1].any()


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
    plain = UNet.load(tmp_path / "a.npz")
    assert type(plain) is UNet
    np.testing.assert_array_equal(plain.predict(signal[None, :64, None]), model.predict(signal[None, :64, None]))
    plain.save(tmp_path / "plain.npz")
    with pytest.raises(ValueError, match="without a description"):
        Segmenter.load(tmp_path / "plain.npz")


def test_images_have_no_segment():
    images = Segmenter({"blocks": []}, (8, 8, 1), 2).describe(("a", "b"), None)
    with pytest.raises(ValueError, match="is for images"):
        images.segment(np.zeros(9), 100)


def test_an_unknown_trained_network_is_named():
    assert callable(pretrained)
    with pytest.raises(ValueError, match="no trained network 'egc'; there are:"):
        pretrained("egc")

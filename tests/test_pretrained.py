"""The network that comes with npunet: the file that its card describes, and signals of kinds that it must take."""

import hashlib
import re
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest

from npunet import pretrained
from npunet.data.synthetic import synthetic_ecg


@pytest.fixture(scope="module")
def model():
    return pretrained("ecg")


def agreement(a, b):
    return (np.asarray(a) == np.asarray(b)).mean()


def test_the_card_is_that_of_the_file(model):
    data = files("npunet.pretrained").joinpath("ecg.npz").read_bytes()
    told = re.search(r"sha256 of `ecg\.npz`: ([0-9a-f]{64})", pretrained.card("ecg"))
    assert told and hashlib.sha256(data).hexdigest() == told[1] and len(data) < 300_000
    assert model.class_names == ("none", "P", "QRS", "T") and model.input_shape == (256, 1)
    assert sum(spec.size for spec in model.network.graph.weights.values()) == 35_405


@pytest.mark.parametrize(("fs", "seconds"), [(250, 10), (360, 9.7), (500, 10.3), (1000, 12)])
def test_it_segments_at_any_rate_upside_down_and_under_noise(model, fs, seconds):
    signal, labels = synthetic_ecg(seconds, fs, seed=7, heart_rate=72)
    found = model.segment(signal, fs)
    assert agreement(found, labels) > 0.93
    assert agreement(model.segment(np.rint(1000 * signal).astype(np.int16), fs), found) > 0.99  # microvolt
    assert agreement(model.segment(-signal, fs), labels) > 0.9
    drift = 0.3 * np.sin(2 * np.pi * 0.3 * np.arange(len(signal)) / fs)
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(signal))
    assert agreement(model.segment(signal + drift + noise, fs), labels) > 0.9


@pytest.mark.parametrize("scale", [1e160, 1e-200, 1e300, 1e-305, 2.0**-1000, 3.0])
def test_any_finite_amplitude_gives_the_same_classes(scale):
    signal = synthetic_ecg(10, 500, seed=1)[0].astype(np.float64)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        labels = pretrained("ecg").segment(signal * scale, 500)
    assert np.array_equal(labels, pretrained("ecg").segment(signal, 500)) and len(np.unique(labels)) == 4


def test_what_the_package_is_asked_for_it_imports():
    """In a process of its own: here both modules are imported already."""
    script = "import npunet as n; print(n.pretrained('ecg-trained').num_classes, n.presets.load('tiny')['num_classes'])"
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "4 2\n"

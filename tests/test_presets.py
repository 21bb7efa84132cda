"""Presets: each builds the network that it claims to be."""

import json

import numpy as np
import pytest

from npunet import UNet, UNetParams, presets
from npunet.summary import rows

# Counted in Keras for ecg (35,405 parameters, 34,245 trainable, 1,915,392 MACs) and, in MFLOP = 2 MMAC, for the others.
COUNTS = {
    "dense-2d": (1_011_234, 1_008_354, 2_105_540_608),
    "ecg": (35_405, 34_245, 1_915_392),
    "ecg-docstring": (35_466, 34_306, 6_033_600),
    "nuclei": (37_191, 36_031, 205_058_048),
    "separable-2d": (196_427, 193_547, 506_068_992),
    "tiny": (560, 496, 7_368),
}


def build(name):
    """The preset's network."""
    preset = presets.load(name)
    return UNet(UNetParams.from_dict(preset), preset["input_shape"], preset["num_classes"])


def test_all_presets_are_counted():
    assert presets.names() == sorted(COUNTS)


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_a_preset_has_its_parameters_and_macs(name):
    model = build(name)
    sizes = {weight: array.size for weight, array in model.weights.items()}
    trainable = sum(sizes[weight] for weight in model.trainable)
    assert (sum(sizes.values()), trainable, sum(row.macs for row in rows(model.graph))) == COUNTS[name]


@pytest.mark.parametrize("name", sorted(COUNTS))
def test_a_preset_describes_itself(name):
    preset = presets.load(name)
    assert preset["architecture"]["name"] == "unet" and preset["description"]
    assert len(preset["class_names"]) == preset["num_classes"]
    assert UNetParams.from_dict(preset).name == name, "a saved model finds its class names by this name"
    assert json.loads(json.dumps(preset)) == preset


def test_the_ecg_preset_is_heartkits():
    block = {"depth": 2, "ddepth": 1, "kernel": (1, 5), "pool": (1, 3), "strides": (1, 2), "seperable": True}
    blocks = [{"filters": filters, **block} for filters in (12, 24, 32, 48)]
    expected = UNetParams(blocks=blocks, output_kernel_size=(1, 5), name="ecg")
    assert UNetParams.from_dict(presets.load("ecg")) == expected
    assert presets.load("ecg")["sampling_rate"] == 100 and presets.load("ecg")["frame_size"] == 256


def test_the_small_presets_run(rng):
    for name in ("tiny", "ecg"):
        model = build(name)
        x = rng.standard_normal((2, *model.input_shape))
        y = model.predict(x)
        assert y.shape == (2, model.input_shape[0], model.num_classes) and np.isfinite(y).all()


def test_an_unknown_preset_names_the_nearest():
    with pytest.raises(ValueError, match="no preset 'egc'; the nearest is 'ecg'"):
        presets.load("egc")
    with pytest.raises(ValueError, match="no preset"):
        presets.load("../presets/ecg")

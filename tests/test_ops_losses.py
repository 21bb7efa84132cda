"""Losses and the L2 penalty: values from their formulas, gradients by complex step, what does not count."""

import naive
import numpy as np
import pytest
from checks import assert_close, check_gradient

from npunet.ops import losses
from npunet.ops.regularise import l2_backward, l2_forward
from npunet.ops.table import LOSSES

SHAPE, K = (2, 3, 5), 4
WEIGHTS = [0.5, 2, 1, 7]
CASES = [
    ("sparse_categorical_crossentropy", {}),
    ("sparse_categorical_crossentropy", {"class_weights": WEIGHTS, "ignore_label": 255}),
    ("categorical_focal", {}),
    ("categorical_focal", {"alpha": WEIGHTS, "gamma": 0.5, "ignore_label": 255}),
    ("categorical_focal", {"gamma": 0.0}),
    ("dice", {}),
    ("dice", {"ignore_label": 255}),
    ("dice", {"axis": (1, 2)}),
    ("dice", {"axis": [0, -2], "ignore_label": 255}),
]


def example(rng, ignored=False):
    """Logits and labels, some of them 255."""
    labels = rng.integers(0, K, SHAPE)
    if ignored:
        labels[rng.random(SHAPE) < 0.3] = 255
        assert (labels == 255).any()
    return rng.standard_normal((*SHAPE, K)) * 3, labels


def as_operator(name, labels, attrs):
    """A loss in the form that the gradient checker takes."""
    forward, backward = LOSSES[name]
    return (lambda x: forward(x, labels, **attrs)), (lambda dy, x: (dy * backward(x, labels, **attrs),))


def by_position(x, labels, attrs):
    """[(softmax, label, weight), ...] of the positions that count."""
    weights = attrs.get("class_weights") or attrs.get("alpha", 1)
    weights = np.broadcast_to(weights, K)
    pairs = zip(x.reshape(-1, K), labels.ravel(), strict=True)
    return [(naive.probabilities(z), k, weights[k]) for z, k in pairs if k != 255]


def crossentropy(positions):
    return sum(w * -np.log(p[k]) for p, k, w in positions) / len(positions)


def focal(positions, gamma):
    return sum(w * (1 - p[k]) ** gamma * -np.log(p[k]) for p, k, w in positions) / len(positions)


def dice(x, labels, axis=None, ignore_label=None):
    """From the formula of keras.losses.dice, overlap by overlap."""
    y = np.array([naive.probabilities(z) for z in x.reshape(-1, K)]).reshape(x.shape)
    t = (labels[..., None] == np.arange(K)).astype(float)
    y[labels == ignore_label] = 0
    axes = tuple(range(x.ndim)) if axis is None else tuple(axis)
    return np.mean(1 - 2 * (t * y).sum(axes) / (t.sum(axes) + y.sum(axes) + 1e-7))


@pytest.mark.parametrize("name, attrs", CASES)
def test_values_from_logits(rng, name, attrs):
    x, labels = example(rng, "ignore_label" in attrs)
    positions = by_position(x, labels, {"alpha": 0.25, **attrs} if name == "categorical_focal" else attrs)
    expected = {
        "sparse_categorical_crossentropy": lambda: crossentropy(positions),
        "categorical_focal": lambda: focal(positions, attrs.get("gamma", 2)),
        "dice": lambda: dice(x, labels, **attrs),
    }[name]()
    assert_close("loss", LOSSES[name][0](x, labels, **attrs), expected)


@pytest.mark.parametrize("name, attrs", CASES)
def test_probabilities_give_the_same_loss(rng, name, attrs):
    x, labels = example(rng, "ignore_label" in attrs)
    probabilities = np.array([naive.probabilities(z) for z in x.reshape(-1, K)]).reshape(x.shape)
    forward = LOSSES[name][0]
    assert_close("loss", forward(probabilities, labels, **attrs, from_logits=False), forward(x, labels, **attrs))


@pytest.mark.parametrize("name, attrs", CASES)
@pytest.mark.parametrize("from_logits", [True, False])
def test_gradients(rng, name, attrs, from_logits):
    x, labels = example(rng, "ignore_label" in attrs)
    if not from_logits:
        x = rng.uniform(0.01, 0.9, x.shape)  # of any sum: the formula renormalises
    forward, backward = as_operator(name, labels, {**attrs, "from_logits": from_logits})
    check_gradient(forward, backward, {"x": x}, rng)


def test_clipped_probabilities(rng):
    """At or inside the limits the gradient passes, beyond them it is 0; the loss is that of the limit."""
    x = np.array([[0.0, 1.0], [1e-7, 0.5], [0.5e-7, 1 - 1e-7]])
    labels = np.array([0, 0, 0])
    attrs = {"from_logits": False}
    loss = losses.sparse_categorical_crossentropy_forward(x, labels, **attrs)
    low, high = 1e-7, 1 - 1e-7
    assert_close("loss", loss, np.mean([-np.log(low / (low + p)) for p in (high, 0.5, high)]))
    dx = losses.sparse_categorical_crossentropy_backward(x, labels, **attrs)
    assert np.array_equal(dx != 0, [[False, False], [True, True], [False, True]])
    sure = np.array([[1.0, 0.0]])
    assert losses.categorical_focal_backward(sure, labels[:1], **attrs).tolist() == [[0, 0]]


def test_dice_of_an_image_without_anything_that_counts(rng):
    """It leaves no trace, as if it were not there."""
    x, labels = example(rng)
    attrs = {"axis": (1, 2), "ignore_label": 255}
    both = np.concatenate([x, x]), np.concatenate([labels, np.full_like(labels, 255)])
    assert_close("loss", losses.dice_forward(*both, **attrs), losses.dice_forward(x, labels, **attrs))
    dx = losses.dice_backward(*both, **attrs)
    assert_close("dx", dx[:2], losses.dice_backward(x, labels, **attrs))
    assert not dx[2:].any()


@pytest.mark.parametrize("axis", [(), (4,), (1, "2"), (-5,)])
def test_wrong_axes_of_dice_are_named(rng, axis):
    with pytest.raises(ValueError, match=r"must list some axes of an array with 4, from 0 to 3"):
        losses.dice_forward(*example(rng), axis=axis)


def test_class_weights_leave_the_denominator():
    x, labels = np.zeros((4, 2)), np.array([0, 0, 0, 1])
    forward = losses.sparse_categorical_crossentropy_forward
    assert_close("loss", forward(x, labels, class_weights=[1, 5]), (3 + 5) / 4 * np.log(2))
    assert_close("loss", forward(x, labels, class_weights=[1, 5], ignore_label=0), 5 * np.log(2))


@pytest.mark.parametrize("name", ["sparse_categorical_crossentropy", "categorical_focal", "dice"])
def test_nothing_left_to_count_is_zero(name):
    forward, backward = LOSSES[name]
    x, labels = np.ones((3, 2), np.float32), np.full(3, -1)
    assert forward(x, labels, ignore_label=-1) == 0
    assert np.array_equal(backward(x, labels, ignore_label=-1), np.zeros((3, 2)))


@pytest.mark.parametrize("name", ["sparse_categorical_crossentropy", "categorical_focal", "dice"])
def test_ignored_positions_may_hold_anything(rng, name):
    forward, backward = LOSSES[name]
    x, labels = example(rng, ignored=True)
    before = forward(x, labels, ignore_label=255), backward(x, labels, ignore_label=255)
    x[labels == 255] = np.nan
    assert forward(x, labels, ignore_label=255) == before[0]
    assert np.array_equal(backward(x, labels, ignore_label=255), before[1])


@pytest.mark.parametrize("name", ["sparse_categorical_crossentropy", "categorical_focal", "dice"])
def test_float32_is_rounded_once(rng, name):
    forward, backward = LOSSES[name]
    x, labels = example(rng)
    narrow = x.astype(np.float32)
    loss, dx = forward(narrow, labels), backward(narrow, labels)
    assert loss.dtype == dx.dtype == np.float32
    assert loss == np.float32(forward(narrow.astype(np.float64), labels))
    assert np.array_equal(dx, backward(narrow.astype(np.float64), labels).astype(np.float32))


def test_large_logits_do_not_overflow():
    x, labels = np.float32([[1e4, -1e4], [1e4, -1e4]]), np.array([0, 1])
    assert losses.sparse_categorical_crossentropy_forward(x, labels) == 1e4


def test_mean_squared_error(rng):
    x, target = rng.standard_normal((2, 3, 5)), rng.standard_normal((2, 3, 5))
    forward, backward = as_operator("mean_squared_error", target, {})
    assert_close("loss", forward(x), np.mean((x - target) ** 2))
    check_gradient(forward, backward, {"x": x}, rng)
    with pytest.raises(ValueError, match=r"labels have shape \(2, 3\); .* needs \(2, 3, 5\)"):
        losses.mean_squared_error_forward(x, target[..., 0])


@pytest.mark.parametrize(
    "labels, message",
    [
        (np.array([[0, 1, 4]]), r"label 4 at \(0, 2\): labels must lie in 0\.\.3, or the ignore label 255"),
        (np.array([[0, -1, 255]]), r"label -1 at \(0, 1\)"),
        (np.array([[0.0, 1.0, 2.0]]), "labels are float64; they must be integers"),
        (np.array([0, 1, 2]), r"labels have shape \(3,\); .* needs \(1, 3\)"),
    ],
)
@pytest.mark.parametrize("name", ["sparse_categorical_crossentropy", "categorical_focal", "dice"])
def test_wrong_labels_are_named(name, labels, message):
    for function in LOSSES[name]:
        with pytest.raises(ValueError, match=message):
            function(np.zeros((1, 3, 4)), labels, ignore_label=255)


def test_wrong_number_of_class_weights_is_named():
    with pytest.raises(ValueError, match="2 class weights for 3 classes"):
        losses.sparse_categorical_crossentropy_forward(np.zeros((1, 3)), np.array([0]), class_weights=[1, 2])


def test_l2(rng):
    w = rng.standard_normal((3, 2, 4, 5))
    assert_close("penalty", l2_forward(w), 1e-3 * np.sum(w**2))
    check_gradient(lambda w: l2_forward(w, 0.5), lambda dy, w: (dy * l2_backward(w, 0.5),), {"w": w}, rng)
    narrow = w.astype(np.float32)
    assert l2_forward(narrow).dtype == l2_backward(narrow).dtype == np.float32

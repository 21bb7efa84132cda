"""The engine's training step: Keras' stored steps, the NumPy step's gradients, and bits that no thread changes."""

import hashlib

import numpy as np
import pytest
from checks import assert_close
from test_train_optimise import CASES, LEARNING_RATE, MOMENTUM, STEPS, dropout_masks, stored

from npunet import UNet
from npunet.differentiate import differentiate
from npunet.engine.training.plan.step_opcodes import Op
from npunet.train.engine_step import EngineStep
from npunet.train.optimise import SGD, Adam, AdamW
from npunet.train.step import NumpyStep

WEIGHTS = 1e-5  # after three steps, of each tensor's largest magnitude; measured 3e-7
# Float32 gradients: two orders of the same sums, each up to 240 products and 25 layers deep. Measured 7e-5.
GRADIENTS = 5e-4

pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")


def model_of(name):
    case, arrays = stored(name)
    model = UNet(case["params"], tuple(case["input_shape"]), case["num_classes"])
    return model.load_weights({key[8:]: value for key, value in arrays.items() if key.startswith("weights/")})


@pytest.mark.parametrize("name", CASES)
def test_three_steps_equal_keras(name):
    case, arrays = stored(name)
    model = model_of(name)
    step = EngineStep(model, SGD(momentum=MOMENTUM), case["loss"], threads=1)
    for _ in range(STEPS):
        step.step(arrays["x"], arrays["labels"], LEARNING_RATE, np.random.default_rng(0),
                  masks=dropout_masks(model, arrays))
    for weight, value in step.weights().items():
        assert_close(weight, value, arrays[f"sgd/float64/{weight}"], WEIGHTS)


@pytest.mark.parametrize("name", CASES)
def test_gradients_agree_with_the_definition(name):
    case, arrays = stored(name)
    model = model_of(name)
    step = EngineStep(model, SGD(), case["loss"], l2=False, threads=1)
    masks = {key: value.astype(np.float32) for key, value in dropout_masks(model, arrays).items()}
    loss = step.step(arrays["x"], arrays["labels"], 0.0, np.random.default_rng(0), masks=masks)
    images, _ = model.sizes.admit(arrays["x"], "float32")
    expected = differentiate(model.graph.for_training(), {**model.weights, **masks}, images,
                             model.sizes.admit_labels(arrays["labels"], images), loss=case["loss"], l2=False)
    assert abs(loss - expected.loss) <= 1e-5 * abs(expected.loss)
    largest = max(np.abs(value).max() for value in expected.dweights.values())
    for weight, gradient in step.last_gradients().items():
        scale = largest if weight in case["vanishing"] else np.abs(expected.dweights[weight]).max()
        off = np.abs(gradient - expected.dweights[weight]).max()
        assert off <= GRADIENTS * max(scale, 1e-6 * largest), f"{weight}: off by {off:.2e} of {scale:.2e}"


LOSSES = [
    ("sparse_categorical_crossentropy", {"class_weights": [0.5, 1, 7]}),
    ("categorical_focal", {"alpha": [0.5, 1, 7], "gamma": 1.5}),
    ("dice", {}),
    ("dice", {"axis": (1, 2)}),
]


@pytest.mark.parametrize(("loss", "options"), LOSSES)
@pytest.mark.parametrize("use_logits", [True, False])
@pytest.mark.parametrize("ignored", ["nothing", "some", "one image", "all"])
def test_losses_and_their_options_agree_with_the_definition(loss, options, use_logits, ignored, rng):
    model = UNet({"blocks": [{"filters": 5, "strides": (2, 3)}], "use_logits": use_logits}, (7 * 2, 11 * 3, 2), 3)
    x, labels = rng.standard_normal((3, 14, 33, 2)).astype(np.float32), rng.integers(0, 3, (3, 14, 33))
    labels[{"nothing": slice(0), "some": rng.random(labels.shape) < 0.3, "one image": 1, "all": ...}[ignored]] = 255
    options = {**options, "ignore_label": 255}
    values, gradients = [], []
    for threads in (1, 2):
        step = EngineStep(model, SGD(), loss, l2=False, loss_options=options, threads=threads)
        values.append(step.step(x, labels, 0.0, np.random.default_rng(0)))
        gradients.append(step.last_gradients())
    expected, dweights, _ = model.gradients(x, labels, loss, **options)
    assert values[0] == values[1] and abs(values[0] - expected) <= 1e-6 * abs(expected)
    for weight, gradient in dweights.items():
        assert np.array_equal(gradients[0][weight], gradients[1][weight])
        assert_close(weight, gradients[0][weight], gradient, GRADIENTS)


def train(threads, optimiser, steps=50):
    """sha256 of everything that a short training leaves behind."""
    model = UNet({"blocks": [{"filters": 5, "strides": 2, "seperable": True, "depth": 2, "dropout": 0.2},
                             {"filters": 9, "strides": (1, 2), "norm": "layer", "activation": "elu"}]}, (6, 12, 2), 3)
    step = EngineStep(model, optimiser, threads=threads)
    data, dice = np.random.default_rng(5), np.random.default_rng(6)
    for _ in range(steps):
        loss = step.step(data.standard_normal((5, 6, 12, 2)), data.integers(0, 3, (5, 6, 12)), 0.01, dice)
    digest = hashlib.sha256()
    for name, value in step.state().items():
        digest.update(name.encode() + value.tobytes())
    return loss, digest.hexdigest()


@pytest.mark.parametrize("optimiser", [SGD(momentum=0.9, nesterov=True, clipnorm=1.0), Adam(),
                                       AdamW(weight_decay=0.01, global_clipnorm=2.0)])
def test_the_number_of_threads_changes_no_bit(optimiser):
    results = {train(threads, optimiser) for threads in (1, 2, 3)}
    assert len(results) == 1


@pytest.mark.parametrize("filters", range(1, 8))
@pytest.mark.parametrize(("kernel", "shape"), [((3, 2), (9, 13, 2)), ((1, 5), (83, 3)), ((2, 1), (6, 7, 9)),
                                               ((1, 3), (4, 1))])
def test_vectors_along_positions_change_no_bit(filters, kernel, shape, rng):
    """Convolutions with few filters take them, where threads share no sample."""
    block = {"filters": filters, "kernel": kernel, "depth": 2, "strides": 1, "pool": 1, "dilation": (1, 2)}
    model = UNet({"blocks": [block], "output_kernel_size": kernel}, shape, 2 + filters % 4, seed=2)
    x = rng.standard_normal((3, *shape)).astype(np.float32)
    labels, weights = rng.integers(0, model.num_classes, x.shape[:-1]), []
    for threads in (1, 2, 4):
        step = EngineStep(model, SGD(momentum=0.9), threads=threads)
        for _ in range(2):
            step.step(x, labels, 0.1, np.random.default_rng(0))
        ops = {each.op for program in step.programs.values() for each in program.program.instructions}
        assert (Op.FEW_FILTERS in ops) == (threads <= 3)
        weights.append(step.weights())
    for name, value in weights[0].items():
        np.testing.assert_array_equal(weights[1][name], value, name)
        np.testing.assert_array_equal(weights[2][name], value, name)


def test_a_state_goes_on_to_the_same_bits():
    model = UNet({"blocks": [{"filters": 4, "strides": (1, 2)}]}, (16, 1), 2)
    x, labels = np.random.default_rng(1).standard_normal((4, 16, 1)), np.random.default_rng(2).integers(0, 2, (4, 16))

    def run(step, count):
        for _ in range(count):
            step.step(x, labels, 0.01, np.random.default_rng(3))
        return step

    whole, half = run(EngineStep(model, Adam()), 6), run(EngineStep(model, Adam()), 3)
    other = EngineStep(model, Adam())
    other.restore(half.state())
    run(other, 3)
    assert all(np.array_equal(value, other.state()[name]) for name, value in whole.state().items())


def test_a_loss_that_is_not_finite_changes_nothing():
    model = UNet({"blocks": [{"filters": 4, "strides": (1, 2)}]}, (16, 1), 2)
    step = EngineStep(model, Adam())
    before = step.state()
    x = np.zeros((2, 16, 1), np.float32)
    x[1, 3] = np.nan
    assert not np.isfinite(step.step(x, np.zeros((2, 16), int), 0.01, np.random.default_rng(0)))
    assert all(np.array_equal(value, before[name]) for name, value in step.state().items())


def test_what_only_numpy_can_do_is_named():
    with pytest.raises(ValueError, match=r"Dice takes axis=None or \(1, 2\), not \(0, 1\); use NumpyStep"):
        EngineStep(UNet({"blocks": []}, (16, 1), 2), Adam(), "dice", loss_options={"axis": (0, 1)})
    model = UNet({"blocks": []}, (16, 1), 2, dtype="float64")
    with pytest.raises(ValueError, match="float64; use NumpyStep"):
        EngineStep(model, Adam())
    assert np.isfinite(NumpyStep(model, Adam()).step(np.ones((1, 16, 1)), np.zeros((1, 16), int), 0.1,
                                                     np.random.default_rng(0)))

"""Optimisers and schedules: against Keras' stored steps, formulas by hand, and PyTorch where it is installed."""

import json
import math
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from checks import assert_close

from npunet import UNet
from npunet.train import optimise, schedule
from npunet.train.optimise import SGD, Adam, AdamW, make_optimiser
from npunet.train.schedule import make_schedule
from npunet.train.step import NumpyStep

STORED = Path(__file__).parent.parent / "reference" / "stored"
CASES = sorted(path.stem for path in STORED.glob("*.npz"))
LEARNING_RATE, MOMENTUM, STEPS = 0.01, 0.9, 3  # of reference/keras_run.py

# Keras' float64 sums come in another order, 1e-16 a term; three steps through the deepest case bring that to 7e-10.
FLOAT64 = 1e-9
FLOAT32 = 1e-5  # what issue 2 asks for; measured 2e-7

pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")


@cache
def stored(name):
    """(description, arrays) of one npz."""
    with np.load(STORED / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files}
    return json.loads(str(arrays.pop("case"))), arrays


@pytest.mark.parametrize("name", CASES)
def test_three_steps_equal_keras(name):
    case, arrays = stored(name)
    expected = {key.removeprefix("sgd/float64/"): value for key, value in arrays.items() if key.startswith("sgd/")}
    assert expected, f"{name} stores no SGD steps"
    for dtype, tolerance in (("float64", FLOAT64), ("float32", FLOAT32)):
        model = UNet(case["params"], tuple(case["input_shape"]), case["num_classes"], dtype=dtype)
        model.load_weights({key[8:]: value for key, value in arrays.items() if key.startswith("weights/")})
        step = NumpyStep(model, SGD(momentum=MOMENTUM), case["loss"])
        masks = dropout_masks(model, arrays)
        for _ in range(STEPS):
            step.step(arrays["x"], arrays["labels"], LEARNING_RATE, np.random.default_rng(0), masks=masks)
        got = step.weights()
        assert got.keys() == expected.keys()
        for weight, value in expected.items():
            assert_close(f"{dtype} {weight}", got[weight], value, tolerance)


def dropout_masks(model, arrays):
    """The stored masks by the names of the model's dropout layers, in order, scaled as they are used."""
    layers = [node for node in model.graph if node.op == "dropout_inference"]
    masks = [value for key, value in arrays.items() if key.startswith("mask/")]
    return {f"{node.name}/mask": (mask / (1 - node.attrs["rate"])).astype(model.dtype)
            for node, mask in zip(layers, masks, strict=True)}


def weights_and_gradients(rng, dtype="float64"):
    weights = {"a/kernel": rng.standard_normal((3, 2)).astype(dtype), "b/bias": rng.standard_normal(5).astype(dtype)}
    gradients = [{name: rng.standard_normal(w.shape).astype(dtype) for name, w in weights.items()} for _ in range(4)]
    return weights, gradients


def run(optimiser, weights, gradients, rate=0.1):
    state = optimiser.start(weights)
    for g in gradients:
        weights, state = optimiser.update(weights, g, state, rate)
    return weights


def test_sgd_by_hand():
    w, g = {"w": np.array([1.0])}, [{"w": np.array([2.0])}, {"w": np.array([-1.0])}]
    # plain: 1 - .2 + .1;  momentum: v = -.2, then -.1 + .1 = 0;  Nesterov: w += .5 v - .1 g
    assert run(SGD(), w, g)["w"] == pytest.approx(0.9, abs=1e-15)
    assert run(SGD(momentum=0.5), w, g)["w"] == pytest.approx(1 - 0.2 + 0.0, abs=1e-15)
    assert run(SGD(momentum=0.5, nesterov=True), w, g)["w"] == pytest.approx(1 - 0.3 + 0.1, abs=1e-15)
    # decay first: 1 - 1 * .5 * .1 = .95
    assert run(SGD(weight_decay=0.5), w, g[:1])["w"] == pytest.approx(0.95 - 0.2, abs=1e-15)


def test_adam_by_hand():
    w, g = {"w": np.array([1.0])}, [{"w": np.array([2.0])}, {"w": np.array([-1.0])}]
    m = (0.1 * 2, 0.9 * 0.2 - 0.1)
    v = (0.001 * 4, 0.999 * 0.004 + 0.001)
    expected = 1.0
    for t in (1, 2):
        alpha = 0.1 * math.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        expected -= alpha * m[t - 1] / (math.sqrt(v[t - 1]) + 1e-7)
    assert run(Adam(), w, g)["w"] == pytest.approx(expected, abs=1e-14)
    assert run(AdamW(), w, [{"w": np.zeros(1)}])["w"] == pytest.approx(1 - 0.004 * 0.1, abs=1e-15)


def test_updates_change_none_of_their_arguments(rng):
    weights, gradients = weights_and_gradients(rng)
    for optimiser in (SGD(momentum=0.9, nesterov=True, weight_decay=0.1), AdamW(clipvalue=0.5)):
        state = optimiser.start(weights)
        kept = [{name: value.copy() for name, value in each.items()} for each in (weights, gradients[0], state)]
        optimiser.update(weights, gradients[0], state, 0.1)
        for before, now in zip(kept, (weights, gradients[0], state), strict=True):
            assert all(np.array_equal(before[name], now[name]) for name in before)


@pytest.mark.parametrize("optimiser", [SGD(momentum=0.9, nesterov=True, weight_decay=0.01), AdamW(global_clipnorm=1.0)])
def test_float32_stays_float32_and_near_float64(optimiser, rng):
    weights, gradients = weights_and_gradients(rng)
    exact = run(optimiser, weights, gradients)
    single = run(optimiser, *[{n: a.astype("f4") for n, a in weights.items()},
                              [{n: a.astype("f4") for n, a in g.items()} for g in gradients]])
    for name, value in single.items():
        assert value.dtype == np.float32
        assert_close(name, value, exact[name], 1e-6)


def test_each_operation_is_rounded_to_float32_on_its_own():
    one = np.float32(1)
    w, g, v = (np.array([value], np.float32) for value in (1.0, 1 + 2**-12, 1.0))
    moved, speed = optimise.sgd_update(w, g, v, rate=one + np.float32(2**-12), momentum=one, nesterov=False)
    # (1 + 2^-12)^2 = 1 + 2^-11 + 2^-24 loses its last bit before the subtraction; fused it would stay
    assert speed[0] == -np.float32(2**-11) and moved[0] == one - np.float32(2**-11)


def test_clipping_by_hand():
    g = {"a": np.array([3.0, 4.0]), "b": np.array([0.3, 0.4])}
    clipped = SGD(clipnorm=1.0).clipped(g)
    np.testing.assert_allclose(clipped["a"], [0.6, 0.8], rtol=1e-15)
    np.testing.assert_array_equal(clipped["b"], g["b"])
    n = math.sqrt(25.25)
    clipped = SGD(global_clipnorm=2.0).clipped(g)
    np.testing.assert_allclose(clipped["a"], np.array([3, 4]) * 2 / n, rtol=1e-15)
    np.testing.assert_allclose(clipped["b"], np.array([0.3, 0.4]) * 2 / n, rtol=1e-15)
    np.testing.assert_allclose(SGD(global_clipnorm=8.0).clipped(g)["a"], g["a"], rtol=1e-15)
    np.testing.assert_array_equal(SGD(clipvalue=0.35).clipped(g)["b"], [0.3, 0.35])
    zero = {"a": np.zeros(2)}
    for way in (SGD(clipnorm=1.0), SGD(global_clipnorm=1.0), SGD(clipvalue=1.0)):
        np.testing.assert_array_equal(way.clipped(zero)["a"], 0)


@pytest.mark.parametrize("way", [SGD(clipnorm=1.0), SGD(global_clipnorm=1.0), SGD(clipvalue=1.0)])
def test_clipping_lets_nan_through(way):
    assert np.isnan(way.clipped({"a": np.array([1.0, np.nan])})["a"]).any()


@pytest.mark.parametrize(("ours", "theirs"), [
    (SGD(momentum=0.9, nesterov=True), ("SGD", {"momentum": 0.9, "nesterov": True})),
    (Adam(epsilon=1e-30), ("Adam", {"eps": 1e-30})),  # PyTorch's epsilon stands elsewhere
    (AdamW(epsilon=1e-30, weight_decay=0.02), ("AdamW", {"eps": 1e-30, "weight_decay": 0.02})),
])
def test_against_pytorch(ours, theirs, rng):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    weights, gradients = weights_and_gradients(rng)
    tensors = [torch.nn.Parameter(torch.tensor(w)) for w in weights.values()]
    optimizer = getattr(torch.optim, theirs[0])(tensors, lr=0.1, **theirs[1])
    for g in gradients:
        for tensor, value in zip(tensors, g.values(), strict=True):
            tensor.grad = torch.tensor(value)
        optimizer.step()
    for (name, got), tensor in zip(run(ours, weights, gradients).items(), tensors, strict=True):
        assert_close(name, got, tensor.detach().numpy(), 1e-12)


def test_impossible_optimisers_are_refused():
    for wrong in ({"momentum": 1.5}, {"clipnorm": 0.0}, {"clipnorm": 1.0, "clipvalue": 1.0}, {"weight_decay": -1.0},
                  {"momentun": 0.9}):
        with pytest.raises((ValueError, TypeError)):
            make_optimiser("sgd", wrong)
    with pytest.raises(ValueError, match="must be one of sgd, adam, adamw"):
        make_optimiser("sgdd")
    with pytest.raises(ValueError, match="beta_1=1"):
        make_optimiser("adam", {"beta_1": 1})


def test_half_cosine_is_the_cosine():
    t = np.linspace(0, 1, 1001)
    got = np.array([schedule.half_cosine(float(each)) for each in t])
    assert_close("half cosine", got, (1 + np.cos(np.pi * t)) / 2, 1e-15)


def test_schedules_by_hand():
    rates = {
        "constant": make_schedule("constant", 0.5),
        "staircase": make_schedule("staircase", 0.8, {"every": 3, "factor": 0.5}),
        "cosine": make_schedule("cosine", 1.0, {"steps": 12, "warmup": 4, "floor": 0.1}),
        "restarts": make_schedule("cosine_restarts", 1.0, {"first": 4, "longer": 2.0, "lower": 0.5}),
    }
    assert [rates["constant"](n) for n in (0, 99)] == [0.5, 0.5]
    assert [rates["staircase"](n) for n in (0, 2, 3, 6)] == [0.8, 0.8, 0.4, 0.2]
    assert [rates["cosine"](n) for n in (0, 1, 4, 8, 12, 50)] == pytest.approx([0, 0.25, 1, 0.55, 0.1, 0.1], abs=1e-15)
    # cycles begin at 0, 4 and 12, at heights 1, 1/2 and 1/4
    assert [rates["restarts"](n) for n in (0, 2, 4, 8, 12)] == pytest.approx([1, 0.5, 0.5, 0.25, 0.25], abs=1e-15)


def test_impossible_schedules_are_refused():
    for name, params in (("cosin", {}), ("cosine", {}), ("cosine", {"steps": 0}), ("constant", {"every": 3}),
                         ("staircase", {"every": 0})):
        with pytest.raises(ValueError, match="schedule"):
            make_schedule(name, 0.1, params)

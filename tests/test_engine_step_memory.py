"""Tensors of a training step that share memory: no bit of the step tells."""

import numpy as np
import pytest
from engine_cases import shaken, small, strided, tiled

from npunet import UNet
from npunet.arena import Lifetime, place
from npunet.engine.target import LINE_FLOATS
from npunet.engine.training.plan import step_memory, step_program
from npunet.train.engine_step import EngineStep
from npunet.train.optimise import SGD

pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")


def separable(shape):
    """Two blocks whose backward hands memory on: equal shapes, one read for the last time where the other is made."""
    block = {"depth": 2, "ddepth": 1, "seperable": True}
    blocks = [{"filters": 12, **block}, {"filters": 17, **block, "norm": "layer"}, {"filters": 24, **block}]
    return shaken(UNet({"blocks": blocks}, shape, 3, seed=1), 1)


def without_norms():
    """One group for many layers: tensors that begin and end in it."""
    block = {"filters": 12, "depth": 2, "ddepth": 2, "seperable": True, "norm": None, "activation": "elu"}
    return shaken(UNet({"blocks": [block, block]}, (8, 12, 1), 3, seed=1), 1)


def one_row_left():
    """Images of which the last pooling, over three rows, finds one: its gradient waits for a row that does not come."""
    block = {"depth": 2, "seperable": True, "pool": (3, 1), "activation": "selu"}
    blocks = [{"filters": 5, **block, "strides": (2, 1)}, {"filters": 3, **block, "strides": (1, 2), "dropout": 0.1}]
    return shaken(UNet({"blocks": blocks}, (2, 16, 8), 8, seed=1), 1)


NETWORKS = {"signal": small, "separable signal": lambda: separable((8 * 7, 2)),
            "image": lambda: separable((8 * 3, 8 * 2, 1)), "uneven image": strided, "dense image": tiled,
            "without norms": without_norms, "one row left": one_row_left}


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("network", NETWORKS)
def test_sharing_memory_changes_no_bit(network, threads, monkeypatch, rng):
    model = NETWORKS[network]()
    x = rng.standard_normal((3, *model.input_shape)).astype(np.float32)
    labels = rng.integers(0, model.num_classes, x.shape[:-1])
    shared = trained(model, x, labels, threads)
    monkeypatch.setattr(step_program, "place_tensors", apart)
    alone = trained(model, x, labels, threads)
    assert arena_of(shared).size <= arena_of(alone).size
    for name, value in alone.weights().items():
        np.testing.assert_array_equal(shared.weights()[name], value, name)


@pytest.mark.parametrize("seed", range(60))
def test_neither_memory_nor_threads_change_a_bit_of_any_network(seed, monkeypatch):
    rng = np.random.default_rng(seed)
    model = any_network(rng)
    x = rng.standard_normal((int(rng.integers(1, 5)), *model.input_shape)).astype(np.float32)
    labels = rng.integers(0, model.num_classes, x.shape[:-1])
    shared = [trained(model, x, labels, threads).weights() for threads in (1, 2, 4)]
    monkeypatch.setattr(step_program, "place_tensors", apart)
    alone = trained(model, x, labels, 1).weights()
    for weights in shared:
        for name, value in alone.items():
            np.testing.assert_array_equal(weights[name], value, name)


def any_network(rng):
    """A small network drawn at random, of any kind that the engine trains: a signal's as often as an image's."""
    signal = rng.random() < 0.5

    def pair(most):
        return (1 if signal else int(rng.integers(1, most)), int(rng.integers(1, most)))

    def block():
        depth = int(rng.integers(1, 4))
        return {"filters": int(rng.choice([1, 3, 5, 8, 9, 12, 17, 24, 33])), "depth": depth,
                "ddepth": int(rng.integers(1, min(depth, 2) + 1)), "kernel": pair(6), "pool": pair(5),
                "strides": pair(3), "seperable": bool(rng.random() < 0.6), "skip": bool(rng.random() < 0.8),
                "norm": rng.choice(["batch", "batch", "layer", None]), "dropout": float(rng.choice([0, 0, 0.2])),
                "activation": str(rng.choice(["relu6", "relu", "elu", "leaky_relu"]))}

    blocks = [block() for _ in range(rng.integers(1, 4))]
    size = (8 * rng.integers(1, 20),) if signal else (8 * rng.integers(1, 3), 8 * rng.integers(1, 5))
    return shaken(UNet({"blocks": blocks, "output_kernel_size": pair(6)}, (*map(int, size), int(rng.integers(1, 10))),
                       int(rng.integers(2, 8))), 1)


@pytest.mark.parametrize("network", ["separable signal", "image"])
def test_gradients_take_over_the_memory_of_what_they_come_from(network, monkeypatch, rng):
    found, search = {}, step_memory.origins
    monkeypatch.setattr(step_memory, "origins", lambda *given: found.update(search(*given)) or found)
    model = NETWORKS[network]()
    x = rng.standard_normal((3, *model.input_shape)).astype(np.float32)
    trained(model, x, np.zeros(x.shape[:-1], int), 1)
    assert found["d DEC1_D1_act" if network == "image" else "d DEC3_D3_act"]


def trained(model, x, labels, threads, steps=2):
    """A step that has been taken twice, in memory that held NaN."""
    step = EngineStep(model, SGD(momentum=0.9), threads=threads)
    for number in range(steps):
        images, _ = model.sizes.admit(x, model.dtype)
        step._prepare(model.sizes.graph(images.shape[1:3]), images.shape).arena[:] = np.nan
        step.step(x, labels, 1e-2, np.random.default_rng(number))
    return step


def arena_of(step):
    return next(iter(step.programs.values())).program.arena


def apart(groups, instructions, images, sizes, brief, threads):
    """Every tensor in memory of its own."""
    copies = {name: threads * size if name in brief else size for name, size in sizes.items()}
    lives = {name: Lifetime(size, 0, 0) for name, size in copies.items()}
    return place(lives, LINE_FLOATS), {name: sizes[name] for name in brief}

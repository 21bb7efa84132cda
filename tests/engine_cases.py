"""Networks for the engine's tests, and its claim: the bits of the definition."""

import numpy as np

from npunet import UNet, run
from npunet.deploy import deploy
from npunet.engine.runtime import engine as runtime

ARITHMETICS = ("seq", "seq_fma", "winograd")
WAVE = {"kernel": (1, 3), "pool": (1, 3), "strides": (1, 2)}


def small(seed=0, **options):
    """A 1-D network of two blocks, one of them separable, with weights and statistics that are not trivial."""
    blocks = [{"filters": 5, "depth": 2, "ddepth": 1, **WAVE}, {"filters": 9, "seperable": True, **WAVE}]
    return shaken(UNet({"blocks": blocks, "output_kernel_size": (1, 3)}, (24, 2), 3, seed=seed, **options), seed)


def any_size(seed=0):
    """A 2-D network without strides, which takes every size: dilation, separable, uneven kernels."""
    blocks = [{"filters": 6, "depth": 2, "kernel": (2, 3), "pool": (2, 3), "dilation": (1, 3)},
              {"filters": 17, "kernel": (3, 2), "pool": (3, 2), "seperable": True, "activation": "leaky_relu"}]
    return shaken(UNet({"blocks": blocks}, (7, 13, 3), 4, seed=seed), seed)


def strided(seed=0):
    """A 2-D network with every kind of instruction that strides bring, and a softmax."""
    blocks = [{"filters": 7, "kernel": (3, 2), "pool": (3, 2), "strides": (2, 1), "activation": "elu"},
              {"filters": 12, "depth": 2, "kernel": 3, "pool": 2, "strides": (1, 3), "seperable": True}]
    return shaken(UNet({"blocks": blocks, "use_logits": False}, (8, 15, 2), 5, seed=seed), seed)


def three_vectors(seed=0):
    """A 2-D network whose blocks have three vectors of filters, the last of them whole or not, and five."""
    blocks = [{"filters": 24, "depth": 2}, {"filters": 17, "kernel": (1, 3), "seperable": True}, {"filters": 40}]
    return shaken(UNet({"blocks": blocks}, (4, 44, 2), 3, seed=seed), seed)


def tiled(seed=0, **options):
    """A 2-D network without strides whose 3x3 kernels "winograd" takes: one, two and three vectors, each less a few."""
    blocks = [{"filters": 17, "depth": 2, "dropout": 0.2, "activation": "relu"},
              {"filters": 8, "depth": 2, "ddepth": 1, "skip": False, "activation": "elu"},
              {"filters": 27, "norm": None}]
    return shaken(UNet({"blocks": blocks, "output_kernel_size": 3, **options}, (9, 14, 3), 9, seed=seed), seed)


def shaken(model, seed):
    """The model with scales, offsets and statistics that are not 1 and 0."""
    rng = np.random.default_rng(seed + 1)
    for name, value in model.weights.items():
        if name.endswith(("gamma", "moving_variance")):
            value[...] = rng.uniform(0.5, 1.5, value.shape)
        elif value.ndim == 1:
            value[...] = rng.normal(0, 0.3, value.shape)
    return model


def batch_for(model, rng, batch=2, size=None):
    """A random batch (B, L, C) or (B, H, W, C) of a size that is open, or of the model's own."""
    size = model.input_shape[:-1] if size is None else size
    return rng.standard_normal((batch, *size, model.input_shape[-1])).astype(np.float32)


def definition(model, x, arithmetic):
    """What the NumPy operators give for the deployed network, in the declared order."""
    images, _ = model.sizes.admit(x, model.dtype)
    graph = model.sizes.graph(images.shape[1:3])
    return model.sizes.release(run.infer(*deploy(graph, model.weights), images, arithmetic=arithmetic), None)


def engine_for(model, x, arithmetic="seq_fma", threads=1):
    """(engine, images): an engine of the batch's size, and the batch as it takes it."""
    images, _ = model.sizes.admit(x, model.dtype)
    return runtime.Engine(model.sizes.graph(images.shape[1:3]), model.weights, arithmetic, threads), images


def assert_same_bits(got, expected, told=""):
    """Fail unless every bit agrees; any NaN is as good as another."""
    assert got.shape == expected.shape and got.dtype == expected.dtype == np.float32, f"{told}: {got.shape} {got.dtype}"
    differ = (got.view(np.int32) != expected.view(np.int32)) & ~(np.isnan(got) & np.isnan(expected))
    if differ.any():
        at = tuple(int(i) for i in np.argwhere(differ)[0])
        raise AssertionError(f"{told}{list(at)}: got {got[at]!r} ({float(got[at]).hex()}), expected "
                             f"{expected[at]!r} ({float(expected[at]).hex()}); {int(differ.sum())} of {differ.size}")

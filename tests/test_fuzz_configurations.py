"""Networks that cannot be: absurd sizes and wrong types are one clear line in under a second; others run.

NPUNET_THOROUGH=1 draws ten thousand configurations instead of a hundred; NPUNET_FUZZ_RUNS says how many runs of
training, NPUNET_FUZZ_SEED from where they are drawn.
"""

import copy
import os
import shutil
import time
import warnings

import numpy as np
import pytest

import npunet
from npunet import UNet, UNetParams, memory
from npunet.data.ecg import resample
from npunet.inference.sizes import Sizes
from npunet.train import run
from npunet.train.config import make_config
from npunet.train.fit import Diverged
from npunet.train.optimise import make_optimiser
from npunet.train.step import NumpyStep, refuse_batch

pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1")
DRAWN = 10_000 if os.environ.get("NPUNET_THOROUGH") else 100
RUNS = int(os.environ.get("NPUNET_FUZZ_RUNS", DRAWN if DRAWN > 100 else 30))
SEED = int(os.environ.get("NPUNET_FUZZ_SEED", "13"))
BLOCK = {"filters": 4}
NAN, INF, BIG = float("nan"), float("inf"), 10**20
ABSURD = {
    "depth": {"blocks": [{**BLOCK, "depth": 10**6}]},
    "ddepth": {"blocks": [{**BLOCK, "ddepth": 10**6}]},
    "blocks": {"blocks": [BLOCK] * 10**5},
    "many deep blocks": {"blocks": [{**BLOCK, "depth": 100}] * 100},
    "filters": {"blocks": [{"filters": 10**9}]},
    "filters beyond 64 bits": {"blocks": [{"filters": BIG}]},
    "kernel": {"blocks": [{**BLOCK, "kernel": 10**6}]},
    "top kernel": {"blocks": [BLOCK], "output_kernel_size": 10**7},
    "pool": {"blocks": [{**BLOCK, "pool": 10**9}]},
    "dilation": {"blocks": [{**BLOCK, "dilation": 2, "depth": 3000}]},
    "last dilation": {"blocks": [{**BLOCK, "dilation": 2, "depth": 31}]},
    "digits": {"blocks": [{"filters": 10**5000}]},
}
WRONG = (None, [], 5, "x", {1: 2}, {"blocks": None}, {"blocks": "ab"}, {"blocks": [None]}, {"blocks": [{3: 1}]},
         {"params": 5}, {"architecture": None}, {"blocks": [BLOCK], "name": 3}, {"blocks": [BLOCK], "use_logits": "no"},
         *({"blocks": [{"filters": value}]} for value in (None, True, 0, -1, 1.5, NAN, INF, "4", [4], {})),
         *({"blocks": [{**BLOCK, key: value}]} for key in ("kernel", "pool", "strides", "dilation", "norm", "dropout",
                                                          "activation", "skip", "seperable", "depth")
           for value in ("x", [1, 2, 3], {}, -1, NAN, 1e300)))
SHAPES = (None, 5, "16", (), (16,), (1, 2, 3, 4), (0, 1), (-4, 1), (16, None), (NAN, 1), (16.0, 1), ("16", 1),
          (10**9, 10**9, 3), (10**60, 1), (True, 1))


def refused(make):
    """The message of the ValueError that it raises, in under a second."""
    begun = time.process_time()
    with pytest.raises(ValueError) as error:
        make()
    assert time.process_time() - begun < 1
    message = str(error.value)
    assert message and "\n" not in message and len(message) < 500
    return message


@pytest.mark.parametrize("name", ABSURD)
def test_absurd_networks_are_refused_before_they_are_built(name):
    refused(lambda: UNet(ABSURD[name], (64, 1), 3))
    refused(lambda: UNet(ABSURD[name], (64, 64, 1), 3))


def test_wrong_types_are_refused_in_words():
    for given in WRONG:
        refused(lambda given=given: UNet(given, (64, 1), 3))
    for shape in SHAPES:
        assert "input" in refused(lambda shape=shape: UNet({"blocks": [BLOCK]}, shape, 3))
    for classes in (0, -1, NAN, "3", 10**9, BIG, None, 1.5):
        refused(lambda classes=classes: UNet({"blocks": [BLOCK]}, (64, 1), classes))
    for seed in (-1, 1.5, "x", [1]):
        assert "seed" in refused(lambda seed=seed: UNet({"blocks": [BLOCK]}, (64, 1), 3, seed=seed))
    for dtype in (None, "float16", "f4,f4", 7, object):
        assert "dtype" in refused(lambda dtype=dtype: UNet({"blocks": [BLOCK]}, (64, 1), 3, dtype=dtype))


def test_what_does_not_fit_in_memory_says_what_it_needs_and_what_there_is(monkeypatch):
    blocks = [{"filters": 32, "kernel": (1, 3), "pool": (1, 2), "strides": (1, 2)}]
    model = UNet(UNetParams(blocks=blocks, output_kernel_size=(1, 3)), (2048, 1), 3)
    step = NumpyStep(model, make_optimiser("adam", {}))
    assert "batch_size=100,000,000 needs" in refused(lambda: refuse_batch(step, 10**8, 2048))
    refuse_batch(step, 32, 2048)
    x = np.zeros((64, 2048, 1), np.float32)
    monkeypatch.setattr(memory, "available", lambda: 20_000_000)
    assert "and 20.0 MB are free; use a smaller batch" in refused(lambda: model.predict(x, backend="numpy"))
    for other in (lambda: model.trace(x), lambda: model.gradients(x, np.zeros((64, 2048), int))):
        assert "a batch of 64 at (1, 2048, 1) needs" in refused(other)
    model.predict(x[:1], backend="numpy")
    assert "needs" in refused(lambda: UNet(UNetParams(blocks=[{"filters": 1000}]), (64, 64, 1), 3))


def test_the_engine_asks_for_its_arena_and_a_session_for_its_buffers(monkeypatch):
    pytest.importorskip("numba")
    model = UNet(UNetParams(blocks=[{"filters": 8}]), (None, None, 1), 3)
    for batch in (10**9, 0, -1, 1.5, True, "2"):
        assert "batch" in refused(lambda batch=batch: model.compile((64, 64, 1), batch=batch))
    for shape in ((None, 64, 1), (0, 64, 1), "64", 5, ("a", "b", 1)):
        refused(lambda shape=shape: model.compile(shape))
    monkeypatch.setattr(memory, "available", lambda: 20_000_000)
    x = np.zeros((1, 1024, 1024, 1), np.float32)
    assert "MB are free" in refused(lambda: model.predict(x))


def test_every_training_step_knows_its_memory():
    pytest.importorskip("numba")
    from npunet.train.average import Averaged
    from npunet.train.engine_step import EngineStep

    model = UNet(UNetParams(blocks=[{"filters": 8, "dropout": 0.5}]), (16, 16, 1), 3)
    step = Averaged(EngineStep(model, make_optimiser("sgd", {})), 0.9)
    planned = step.memory_of(5)
    step.step(np.zeros((5, 16, 16, 1), np.float32), np.zeros((5, 16, 16), int), 0.1, np.random.default_rng(0))
    prepared = next(iter(step.within.programs.values()))
    held = sum(array.nbytes for array in (prepared.arena, prepared.sums, prepared.numbers, prepared.masks))
    assert 0 <= held - planned < 4096, "but for the spare ends"
    assert "batch_size=100,000,000 needs" in refused(lambda: refuse_batch(step, 10**8, 256))


def drawn(rng):
    """A configuration, in part senseless: what stands where is drawn, and so is its type."""
    def number(*sensible):
        odd = (0, -1, 1, 2, 7, 10**6, 10**9, BIG, 2**63, 1.5, 2.0, NAN, INF, True, None, "3", [2], [1, 2], [2, 0], {})
        return sensible[rng.integers(len(sensible))] if rng.random() < 0.98 else odd[rng.integers(len(odd))]

    blocks = [{"filters": number(1, 2, 3, 5), "depth": number(1, 2, 3), "ddepth": number(None, 0, 1),
               "kernel": number(1, 3, (1, 5), (2, 3)), "pool": number(1, 2, (1, 2)), "strides": number(1, 1, 2, (1, 2)),
               "skip": number(True, False), "seperable": number(True, False), "dropout": number(None, 0.5, 0),
               "norm": number("batch", "layer", None), "dilation": number(None, 1, 2, (1, 3)),
               "activation": number("relu", "relu6", "elu", "selu", "leaky_relu")} for _ in range(rng.integers(0, 4))]
    for block in blocks:
        for key in list(block):
            if rng.random() < 0.2 and key != "filters":
                del block[key]
    params = {"blocks": blocks, "use_logits": number(True, False), "include_top": number(True, True, False),
              "output_kernel_size": number(1, 3, (1, 3))}
    shape = [number(8, 12, 16) for _ in range(rng.integers(1, 3))] + [number(1, 2, 3)]
    if rng.random() < 0.02:
        params = number(None)
    return params, shape if rng.random() < 0.98 else number(None), number(2, 3, 4), number(0, 1, None)


def test_random_configurations_run_or_are_refused_in_words():
    rng, ran = np.random.default_rng(7), 0
    for _ in range(DRAWN):
        params, shape, classes, seed = drawn(rng)
        told, model, begun = (params, shape, classes, seed), None, time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model = UNet(params, shape, classes, seed=seed)
        except ValueError as error:
            assert str(error) and len(str(error)) < 500, told
            assert time.process_time() - begun < 1, told
        if model is None or max(*model.sizes.multiple, *model.sizes.size) > 64 or any(
                max(*node.attrs.get("window", (1, 1)), *node.shape) > 64 for node in model.graph):
            continue  # with a window, stride or width of millions a prediction takes long, and rightly so
        x = rng.normal(size=(2, *(size or 8 for size in model.input_shape)))
        y = model.predict(x, backend="numpy", pad=not model.sizes.fixed)
        assert y.shape[:-1] == x.shape[:-1], told
        ran += 1
    assert ran > DRAWN // 4, "most of them must not be refused for one reason"


def test_absurd_sampling_rates_are_refused(monkeypatch):
    signal = np.zeros((2, 1000))
    for fs, rate in ((0, 100), (-1, 100), (NAN, 100), (INF, 100), (100, INF), (1e-300, 100), (1e300, 100), (100, 1e9)):
        assert "rate" in refused(lambda fs=fs, rate=rate: resample(signal, fs, rate))
    assert resample(signal, np.float32(100_000), 10).shape == (2, 1)
    assert resample(signal, 360, 100).shape == (2, 278)
    monkeypatch.setattr(memory, "available", lambda: 20_000_000)
    assert "resampling 1,000 samples from 0.1 to 999 Hz needs" in refused(lambda: resample(signal, 0.1, 999))


WINDOW = {"depth": 1, "kernel": [1, 5], "pool": [1, 3], "strides": [1, 2]}
SETTINGS = {
    "architecture": {"name": "unet", "params": {"blocks": [{"filters": 6, **WINDOW}], "output_kernel_size": [1, 3]}},
    "frame_size": 64, "num_classes": 4, "epochs": 2, "steps_per_epoch": 12, "batch_size": 8, "lr_rate": 0.01,
    "class_names": ["a", "b", "c", "d"], "sampling_rate": 100, "dataset_weights": [1.0], "class_map": {"1": 1},
    "preprocesses": [{"name": "filter", "params": {"lowcut": 1, "highcut": 30, "order": 3}},
                     {"name": "znorm", "params": {"eps": 0.1}}],
    "augmentations": [{"name": "lead_noise", "params": {}}], "lr_cycles": 1, "warmup_steps": 2, "average": 0.5,
    "schedule": {"name": "staircase", "params": {"every": 3, "factor": 0.5}}, "val_metric": "f1", "patience": 3,
    "optimizer": {"name": "adam", "params": {"beta_1": 0.9, "clipnorm": 1.0, "weight_decay": 0.1}}, "l2": False,
    "class_weights": [1, 2, 3, 4], "loss": {"name": "categorical_focal", "params": {"gamma": 2.0}}, "seed": 1,
    "split_seed": 0, "name": "x", "description": "y", "batch_norm_momentum": 0.9,
    "datasets": [{"name": "synthetic", "params": {"count": 6}}], "val_patients": 2, "test_patients": 1,
}
ODD = (0, -1, 1, 10**6, BIG, 10**400, 1.5, NAN, INF, -INF, 1e300, True, False, None, "", "x", "3", [], [1], [1, 2],
       [None], {}, {"name": 1}, {"name": "x"}, {"a": 1}, "\ud800", [[]], [{}])


def places(value, path=()):
    """Paths to everything within a JSON value, the value itself left out."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


def test_settings_with_senseless_values_are_refused_in_words():
    make_config(SETTINGS)
    rng, paths = np.random.default_rng(11), list(places(SETTINGS))
    for _ in range(3 * DRAWN):
        settings, path = copy.deepcopy(SETTINGS), paths[rng.integers(len(paths))]
        within = settings
        for key in path[:-1]:
            within = within[key]
        within[path[-1]] = ODD[rng.integers(len(ODD))]
        try:
            make_config(settings)
        except ValueError as error:
            assert 0 < len(str(error)) < 1500 and "\n" not in str(error), (path, within[path[-1]])


MORE_ODD = (*ODD, 2, 3, -0.0, 0.5, 2**31, 2**63, "f1", "loss", "balanced", "sgd", [0, 1, 2, 3], {"1": 2}, "all",
            {"name": "adam", "params": {"beta_1": 1.0}}, {"name": "sgd", "params": {"momentum": 0.9}},
            {"name": "sparse_categorical_crossentropy"}, {"name": "dice"}, [{"name": "znorm"}], [0.5, 0, 0, 1e9])


def another(value, rng):
    """Something near a setting, or anything at all."""
    near = [value + 1, value * 2, value / 2, 0, 1, value // 2] if isinstance(value, (int, float)) else \
        [value[:1], value * 2, value[::-1]] if isinstance(value, (list, str)) else [{}, None, value]
    return near[rng.integers(len(near))] if rng.random() < 0.7 else MORE_ODD[rng.integers(len(MORE_ODD))]


def test_a_run_is_trained_or_refused_in_words(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "draw_curves", lambda *_: "")                   # which takes longer than the rest
    rng, paths, ends = np.random.default_rng(SEED), list(places(SETTINGS)), dict.fromkeys(("trained", "refused"), 0)
    for number in range(RUNS):
        settings = {**copy.deepcopy(SETTINGS), "steps_per_epoch": 2, "batch_size": 2,
                    "datasets": [{"name": "synthetic", "params": {"count": 4}}], "val_patients": 1,
                    "test_patients": 1, "class_map": {"1": 1, "2": 2, "3": 3}}
        changed = []
        for _ in range(rng.integers(1, 3)):
            path = paths[rng.integers(len(paths))]
            try:
                within = settings
                for key in path[:-1]:
                    within = within[key]
                within[path[-1]] = another(within[path[-1]], rng)
            except (TypeError, KeyError, IndexError):                        # what it stood in was changed before
                continue
            changed.append((path, within[path[-1]]))
        out = tmp_path / f"run{number}"
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                config = make_config(settings)[0]
                if config.steps > 12 or config.batch_size > 64 or max(config.input_shape) > 512 or any(
                        step["params"].get("count", 4) not in range(99) for step in config.datasets):
                    continue                                                 # long work, and rightly so
                graph = Sizes(config.params, config.input_shape, config.num_classes).graph()
                if sum(spec.size for spec in graph.weights.values()) > 10**6:
                    continue
                run.begin(config, out, backend="numpy")
            assert np.isfinite(npunet.load(out / "model.npz").network.weights.block).all(), changed
            ends["trained"] += 1
        except (ValueError, OSError, Diverged) as error:
            assert 0 < len(str(error)) < 1500 and "\n" not in str(error), changed
            ends["refused"] += 1
        except Exception as error:
            raise AssertionError(f"{changed}: {error!r}") from error
        shutil.rmtree(out, ignore_errors=True)
    capsys.readouterr()
    assert min(ends.values()) > RUNS // 10, ends


def test_what_has_no_room_is_refused_before_the_engine_is_compiled(monkeypatch):
    pytest.importorskip("numba")
    from npunet.engine.runtime import engine as runtime

    monkeypatch.setattr(runtime, "ENTRIES", {"seq_fma": lambda: pytest.fail("this compiles")})
    model = UNet(UNetParams(blocks=[{"filters": 8}]), (None, None, 1), 3)
    monkeypatch.setattr(memory, "available", lambda: 20_000_000)
    assert "the engine's arena at (1024, 1024, 1) needs" in refused(lambda: model.predict(
        np.zeros((1, 1024, 1024, 1), np.float32), backend="engine"))

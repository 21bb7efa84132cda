"""The engine gives the bits of the NumPy definition: every stored configuration, any size, any number of threads."""

import numpy as np
import pytest
from engine_cases import (
    ARITHMETICS,
    any_size,
    assert_same_bits,
    batch_for,
    definition,
    engine_for,
    shaken,
    small,
    strided,
)
from test_reference import NAMES, model_of, stored

from npunet import UNet
from npunet.engine.plan.opcodes import Field, Flag
from npunet.engine.plan.program import compile_program

pytest.importorskip("numba")
pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")


@pytest.fixture
def every_thread_works(monkeypatch):
    """Threads share whatever there is, however small."""
    monkeypatch.setattr("npunet.engine.runtime.runner.WORTH_A_THREAD", 1)


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("name", NAMES)
def test_stored_configurations(name, arithmetic, every_thread_works):
    case, arrays = stored(name)
    model = model_of(case, arrays, "float32")
    x = arrays["x"].astype(np.float32)
    expected = definition(model, x, arithmetic)
    for threads in (1, 2, 3):
        engine, images = engine_for(model, x, arithmetic, threads)
        for count in (1, 2, len(images)):                          # fewer samples than threads share an image
            got = model.sizes.release(engine(images[:count]), None)
            assert_same_bits(got, expected[:count], f"{name}, {threads} threads, batch {count}")


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
def test_every_width(arithmetic, rng, every_thread_works):
    model = any_size()
    for width in range(1, 41):
        x = batch_for(model, rng, 1 + width % 2, (1 + width % 5, width))
        engine, images = engine_for(model, x, arithmetic, 1 + width % 3)
        assert_same_bits(engine(images), definition(model, x, arithmetic), f"width {width}")


@pytest.mark.parametrize("size", [(2, 3), (6, 3), (14, 21), (34, 9), (4, 75)])
def test_strided_sizes(size, rng, every_thread_works):
    model = strided()
    x = batch_for(model, rng, 2, size)
    expected = definition(model, x, "seq_fma")
    for threads in (1, 2, 3, 5):
        engine, images = engine_for(model, x, "seq_fma", threads)
        assert_same_bits(engine(images), expected, f"{size}, {threads} threads")
        assert_same_bits(engine(images[:1]), expected[:1], f"{size}, {threads} threads, one image")


@pytest.mark.parametrize("filters", [1, 8, 15, 16, 24, 31, 33, 40, 56])
def test_channel_counts(filters, rng):
    """Whole vectors, one less, one more; odd numbers of vectors, fours of them."""
    blocks = [{"filters": filters, "kernel": 3, "pool": 2}, {"filters": filters + 1, "seperable": True, "pool": 2}]
    model = UNet({"blocks": blocks}, (5, 13, filters), filters)
    x = batch_for(model, rng, 1)
    engine, images = engine_for(model, x)
    assert_same_bits(engine(images), definition(model, x, "seq_fma"), f"{filters} filters")


@pytest.mark.parametrize("filters", [9, 12, 16, 17, 27, 32, 64])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_skips_that_are_added_tile_by_tile(filters, rng, every_thread_works):
    """Separable convolutions with a skip behind them, rows shorter and longer than those whose tiles are joined."""
    block = {"depth": 2, "kernel": 3, "pool": 2, "seperable": True}
    model = shaken(UNet({"blocks": [{"filters": filters, **block}] * 2}, (3, 29, 11), 5, seed=filters), filters)
    for width in (1, 27, 28, 29, 61):
        x = batch_for(model, rng, 2, (3, width))
        x.flat[rng.integers(x.size)] = rng.choice([np.nan, np.inf, -0.0])
        engine, images = engine_for(model, x, threads=1 + width % 3)
        pairs = any(engine.program.whole[:, Field.FLAGS] & Flag.FUSE_NEXT)
        assert pairs == (-(-filters // 8) % 2 == 0), "only pairs of vectors have the registers"
        assert_same_bits(engine(images), definition(model, x, "seq_fma"), f"{filters} filters, width {width}")


@pytest.mark.parametrize("pool", [(1, 1), (1, 2), (1, 3), (1, 4), (2, 2), (3, 3), (4, 1), (5, 7)])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_pools(pool, rng, every_thread_works):
    """Every kind of window, over images with fewer positions than are done together and more than a run of them."""
    blocks = [{"filters": filters, "pool": pool} for filters in (3, 17)]
    model = shaken(UNet({"blocks": blocks}, (6, 7, 2), 4), 0)
    for width in (1, 3, 6, 31, 34, 71):
        x = batch_for(model, rng, 2, (6, width))
        x.flat[rng.integers(x.size, size=3)] = np.nan, np.inf, -0.0
        engine, images = engine_for(model, x, threads=1 + width % 3)
        assert_same_bits(engine(images), definition(model, x, "seq_fma"), f"{pool}, width {width}")


def test_large_batch_and_repeated_calls(rng, every_thread_works):
    model = small()
    x = batch_for(model, rng, 37)
    expected = definition(model, x, "seq_fma")
    engine, images = engine_for(model, x, threads=4)
    for _ in range(3):
        assert_same_bits(model.sizes.release(engine(images), None), expected)


@pytest.mark.parametrize("make", [small, strided])
def test_fusion_and_in_place_change_no_bit(make, rng):
    model = make()
    x = batch_for(model, rng, 2, (24,) if make is small else (8, 15))
    engine, images = engine_for(model, x)
    expected = engine(images)
    for fuse, in_place in ((True, False), (False, True), (False, False)):
        graph = model.sizes.graph(images.shape[1:3])
        engine.program = compile_program(graph, model.weights, fuse=fuse, in_place=in_place)
        engine.idle.clear()
        assert_same_bits(engine(images), expected, f"fuse={fuse}, in_place={in_place}")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -0.0, 1e-40, 3e38])
@pytest.mark.parametrize("make", [any_size, strided])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_special_values(make, value, rng):
    """One of them in the middle of an image, and a whole image of them."""
    model = make()
    x = batch_for(model, rng, 2, (6, 9))
    x[0, 3, 4, 1] = value
    x[1] = value
    engine, images = engine_for(model, x)
    assert_same_bits(engine(images), definition(model, x, "seq_fma"), f"{make.__name__}, {value}")


def test_predict_takes_the_engine_where_it_can(rng):
    model = small()
    x = batch_for(model, rng)
    assert_same_bits(model.predict(x), model.predict(x, backend="numpy", arithmetic="seq_fma"))
    assert_same_bits(model.predict(x, arithmetic="seq"), model.predict(x, backend="numpy", arithmetic="seq"))
    assert not np.array_equal(model.predict(x, arithmetic="seq"), model.predict(x))
    assert model.predict(x[:0]).shape == (0, 24, 3)


def test_any_layout_and_dtype_of_the_input(rng):
    model = small()
    x = batch_for(model, rng, 4)
    expected = model.predict(x)
    assert_same_bits(model.predict(np.asfortranarray(x)), expected)
    assert_same_bits(model.predict(np.repeat(x, 2, axis=0)[::2]), expected)
    assert_same_bits(model.predict(x.astype(np.float64)), expected)
    assert_same_bits(model.predict(x.astype(">f4")), expected)
    assert_same_bits(model.predict(np.rint(x).astype(np.int8)), model.predict(np.rint(x)))


@pytest.mark.parametrize("filters", [1, 2, 3, 4, 5, 6, 7])
def test_few_filters(filters, rng, every_thread_works):
    """Vectors along positions: rows of every number of tiles, several pieces, taps that reach over many rows."""
    blocks = [{"filters": filters, "kernel": (3, 2), "dilation": (2, 3), "pool": 2, "norm": None, "skip": False}]
    model = shaken(UNet({"blocks": blocks, "output_kernel_size": (2, 3)}, (9, 20, 11), filters), filters)
    for height, width in ((1, 1), (9, 7), (3, 8), (6, 50), (5, 97), (4, 131), (2, 400), (1, 131)):
        x = batch_for(model, rng, 1, (height, width))
        x[0, -1, -1, 0] = np.nan
        engine, images = engine_for(model, x, threads=1 + width % 3)
        assert_same_bits(engine(images), definition(model, x, "seq_fma"), f"{filters} filters, {height} x {width}")


@pytest.mark.parametrize("separable", [False, True])
@pytest.mark.parametrize("channels", [1, 2, 3, 7])
def test_few_channels(channels, separable, rng, every_thread_works):
    """Images without padding channels: what lies behind the end of a row must not show."""
    blocks = [{"filters": 6, "kernel": (3, 2), "dilation": (1, 2), "pool": 2, "seperable": separable},
              {"filters": 9, "kernel": 3, "pool": 2}]
    model = shaken(UNet({"blocks": blocks}, (9, 20, channels), 3), channels)
    for height, width in ((1, 1), (9, 7), (3, 8), (6, 13), (5, 301), (1, 131)):
        x = batch_for(model, rng, 1, (height, width))
        x[0, :, -1], x[0, 0, 0] = np.inf, np.nan
        engine, images = engine_for(model, x, threads=1 + width % 3)
        with np.errstate(invalid="ignore"):
            expected = definition(model, x, "seq_fma")
        assert_same_bits(engine(images), expected, f"{channels} channels, {height} x {width}")

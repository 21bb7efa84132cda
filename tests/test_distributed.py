"""Many cores: blocks with the bits of one piece, and databases that lose nothing."""

import numpy as np
import pytest
from engine_cases import assert_same_bits
from test_reference import NAMES, model_of, stored

from npunet import UNet, pretrained
from npunet.distributed import Halo, halos, map_blocks

da = pytest.importorskip("dask.array")
dask = pytest.importorskip("dask")
pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")


def cut_at_random(size, rng, parts):
    """A size as the sum of at most so many random ones, some of which may be 1."""
    at = np.unique(rng.integers(1, max(2, size), parts - 1))
    return tuple(int(length) for length in np.diff([0, *at[at < size], size]))


@pytest.fixture(scope="module")
def ecg():
    return pretrained.load("ecg-trained").network


@pytest.mark.parametrize("name", [name for name in NAMES if "layer_norm" not in name])
def test_stored_configurations(name, rng):
    case, arrays = stored(name)
    model = model_of(case, arrays, "float32")
    if model.sizes.fixed:
        pytest.skip("layer norm")
    rank, channels = model.sizes.rank, model.sizes.channels
    for _ in range(2):
        size = tuple(int(rng.integers(1, 6 * multiple + 9)) for multiple in model.sizes.multiple[2 - rank :])
        x = rng.standard_normal((3, *size, channels)).astype(np.float32)
        expected = model.predict(x, "numpy", "seq_fma", fit="pad")
        chunks = ((2, 1), *(cut_at_random(length, rng, 4) for length in size), cut_at_random(channels, rng, 2))
        blocks = map_blocks(model, da.from_array(x, chunks=chunks), backend="numpy")
        assert blocks.chunks[:-1] == chunks[:-1]
        assert blocks.shape == expected.shape
        assert blocks.dtype == expected.dtype
        assert_same_bits(blocks.compute(scheduler="sync"), expected, f"{name}, {size} in {chunks}")


def test_the_halo_of_the_ecg_network(ecg):
    halo, = halos(ecg.sizes)
    assert (halo.period, halo.before, halo.after) == (16, 160, 176)


@pytest.mark.parametrize(("scheduler", "backend"), [("sync", "numpy"), ("threads", "auto"), ("processes", "numpy")])
def test_ecg(ecg, scheduler, backend, rng):
    """16,000 samples and a ragged tail, in blocks that begin anywhere, some shorter than the halo."""
    x = rng.standard_normal((16_003, 1)).astype(np.float32)
    expected = ecg.predict(x[None], "numpy", arithmetic="seq_fma", fit="pad")[0]
    for chunks in ((1000,) * 16 + (3,), cut_at_random(len(x), rng, 40)):
        array = da.from_array(x, chunks=(chunks, 1))
        with dask.config.set(num_workers=2):
            found = map_blocks(ecg, array, backend=backend).compute(scheduler=scheduler)
            assert_same_bits(found, expected, f"{chunks}")
            labels = map_blocks(ecg, array[:, 0], output="labels", backend=backend)[5000:5010]
            np.testing.assert_array_equal(labels.compute(scheduler=scheduler), expected.argmax(-1)[5000:5010])


@pytest.mark.parametrize("side", ["before", "after"])
def test_one_stride_less_of_halo_is_wrong(ecg, side, rng, monkeypatch):
    """On either side: what the test above finds equal, it would find different."""
    x = rng.standard_normal((16_000, 1)).astype(np.float32)
    expected = ecg.predict(x[None], "numpy", arithmetic="seq_fma")[0]
    whole = Halo.window

    def narrow(halo, first, stop, size):
        start, end = whole(halo, first, stop, size)
        if side == "before":
            return start + halo.period if start else 0, end
        return start, end - halo.period if end < size else size

    array = da.from_array(x, chunks=(1008, 1))
    assert_same_bits(map_blocks(ecg, array, backend="numpy").compute(scheduler="sync"), expected, "the whole halo")
    monkeypatch.setattr(Halo, "window", narrow)
    assert (map_blocks(ecg, array, backend="numpy").compute(scheduler="sync") != expected).any()


def test_weights_are_as_they_were(rng):
    model = UNet({"blocks": [{"filters": 4, "kernel": (1, 3), "pool": (1, 2), "strides": (1, 2)}],
                  "output_kernel_size": (1, 3)}, (None, 1), 2)
    x = rng.standard_normal((50,)).astype(np.float32)
    expected = model.predict(x[None, :, None], "numpy", arithmetic="seq_fma")[0]
    blocks = map_blocks(model, da.from_array(x, chunks=7), backend="numpy")
    name = next(iter(model.weights))
    model.weights[name] = model.weights[name] + 1
    assert_same_bits(blocks.compute(scheduler="sync"), expected, "before the change")
    assert (map_blocks(model, da.from_array(x, chunks=7), backend="numpy").compute(scheduler="sync") != expected).any()


def test_refusals(ecg):
    normed = UNet({"blocks": [{"filters": 4, "norm": "layer"}]}, (64, 1), 2)
    x = da.zeros((64, 1), chunks=16)
    with pytest.raises(ValueError, match=r"block 1 \(ENC1\): norm='layer' looks at the whole input.*run it whole"):
        map_blocks(normed, x)
    for array, told in ((np.zeros((64, 1)), "takes a dask.array, not ndarray"), (da.zeros((4, 64, 2)), "L, 1"),
                        (da.zeros((64, 1), dtype=complex), "real numbers"), (da.zeros((0, 1)), "no samples"),
                        (x[x[:, 0] > 0], "compute_chunk_sizes")):
        with pytest.raises(ValueError, match=told):
            map_blocks(ecg, array)
    for how in ({"arithmetic": "any"}, {"arithmetic": "winograd"}, {"output": "masks"}, {"backend": "gpu"}):
        with pytest.raises(ValueError, match=next(iter(how))):
            map_blocks(ecg, x, **how)

"""A property of blocks: whatever their sizes, offsets and workers, the bits are those of one piece."""

import os

import numpy as np
import pytest
from engine_cases import assert_same_bits

from npunet import UNet, pretrained
from npunet.distributed import Halo, map_blocks, map_zarr

da = pytest.importorskip("dask.array")
zarr = pytest.importorskip("zarr")
THOROUGH = os.environ.get("NPUNET_THOROUGH") == "1"
WAYS = [("threads", 1), ("threads", 2), ("threads", 3), ("threads", 4), ("processes", 2)] + \
    ([("processes", 1), ("processes", 3), ("processes", 4)] if THOROUGH else [])
SMALL = {"blocks": [{"filters": 4, "kernel": [5, 3], "pool": [3, 2], "strides": [3, 2], "skip": True},
                    {"filters": 6, "kernel": 3, "pool": 2, "strides": 2, "dilation": [1, 2]}], "output_kernel_size": 3}


def networks():
    return {"ecg": (pretrained.load("ecg-trained").network, (6000,)),
            "images": (UNet(SMALL, (None, None, 2), 3, seed=1), (170, 131))}


@pytest.fixture(scope="module", params=["ecg", "images"])
def case(request):
    """A network, an input that its strides do not divide, and the output in one piece."""
    model, size = networks()[request.param]
    x = np.random.default_rng(7).standard_normal((*size, model.input_shape[-1])).astype(np.float32)
    return model, x, model.predict(x[None], "engine", "seq_fma", pad=True)[0]


def random_chunks(size, rng):
    """Chunks of one axis: from one position to all of it, few or many."""
    parts = int(rng.integers(1, 7))
    at = np.unique(rng.integers(1, size, parts - 1)) if parts > 1 else np.array([], int)
    return tuple(int(length) for length in np.diff([0, *at, size]))


@pytest.mark.parametrize(("scheduler", "workers"), WAYS)
def test_any_blocks_and_workers(case, scheduler, workers):
    model, x, expected = case
    rng = np.random.default_rng(100 * workers + len(scheduler))
    for _ in range(2 if scheduler == "threads" else 1):
        chunks = tuple(random_chunks(size, rng) for size in x.shape[:-1])
        y = map_blocks(model, da.from_array(x, chunks=(*chunks, -1)), backend="engine")
        assert_same_bits(y.compute(scheduler=scheduler, num_workers=workers), expected, f"{chunks}")


def test_any_offset(case):
    """A stretch that begins anywhere is the stretch's own, as one piece."""
    model, x, _ = case
    rng = np.random.default_rng(11)
    for _ in range(4):
        low = [int(rng.integers(0, size // 2)) for size in x.shape[:-1]]
        high = [int(rng.integers(start + 1, size + 1)) for start, size in zip(low, x.shape[:-1], strict=True)]
        part = tuple(slice(*each) for each in zip(low, high, strict=True))
        stored = da.from_array(x, chunks=(*(random_chunks(size, rng) for size in x.shape[:-1]), -1))
        expected = model.predict(x[part][None], "engine", "seq_fma", pad=True)[0]
        found = map_blocks(model, stored[part], backend="engine").compute(scheduler="sync")
        assert_same_bits(found, expected, f"{part}")


def test_any_extents_of_blocks(case, tmp_path):
    """The same of arrays that blocks read and write themselves."""
    model, x, expected = case
    rng = np.random.default_rng(12)
    np.save(tmp_path / "x.npy", x)
    for number in range(3):
        block = tuple(int(rng.integers(size // 9, size)) for size in x.shape[:-1])
        map_zarr(model, tmp_path / "x.npy", tmp_path / f"{number}.zarr", block=block, backend="engine")
        assert_same_bits(zarr.open(tmp_path / f"{number}.zarr")[:], expected, f"{block}")


@pytest.mark.parametrize("side", ["before", "after"])
def test_one_stride_less_of_halo_is_seen(case, side, tmp_path, monkeypatch):
    """The control: with a period less on either side, what the tests above find equal is different, in both ways."""
    model, x, expected = case
    whole = Halo.window

    def narrow(halo, first, stop, size):
        start, end = whole(halo, first, stop, size)
        if side == "before":
            return start + halo.period if start else 0, end
        return start, end - halo.period if end < size else size

    monkeypatch.setattr(Halo, "window", narrow)
    array = da.from_array(x, chunks=(*(-(-size // 3) for size in x.shape[:-1]), -1))
    assert (map_blocks(model, array, backend="engine").compute(scheduler="sync") != expected).any()
    np.save(tmp_path / "x.npy", x)
    block = tuple(-(-size // 3) for size in x.shape[:-1])
    map_zarr(model, tmp_path / "x.npy", tmp_path / "y.zarr", block=block, backend="engine")
    assert (zarr.open(tmp_path / "y.zarr")[:] != expected).any()

"""Large arrays block by block: zarr, OME-Zarr, TIFF and .npy in, the bits of one piece out."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from engine_cases import assert_same_bits
from test_data import ROOT

from npunet import UNet, load, quantize
from npunet.cli import main
from npunet.distributed import map_blocks, map_zarr
from npunet.distributed.arrays import opened
from npunet.distributed.extents import block_of
from npunet.distributed.layout import layout_of
from npunet.distributed.map_arrays import BlockTask
from npunet.distributed.networks import blockwise
from npunet.inference.integer_receptive import READS
from npunet.integer.ops.table_of_operators import OPERATORS

da = pytest.importorskip("dask.array")
zarr = pytest.importorskip("zarr")
pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")
PLAIN = {"blocks": [{"filters": 4, "kernel": 3, "pool": 2, "strides": 2}] * 2, "output_kernel_size": 3}


@pytest.fixture(scope="module")
def grey():
    return UNet(PLAIN, (None, None, 1), 3, seed=1)


@pytest.fixture(scope="module")
def colour():
    return UNet(PLAIN, (None, None, 3), 4, seed=2)


def expected_of(model, x):
    return model.predict(x, "numpy", "seq_fma", pad=True)


def image_group(path, x, axes, version, levels=((1.0, 0.5),)):
    """An OME-Zarr image with its smaller levels, by the specification's words."""
    zarr_format = {"0.4": 2, "0.5": 3}[version]
    datasets = []
    group = zarr.create_group(path, zarr_format=zarr_format)
    for level in range(len(levels)):
        step = 2**level
        part = x[..., ::step, ::step]
        group.create_array(str(level), data=part, chunks=(1,) * (x.ndim - 2) + (16, 24))
        scale = [1.0] * (x.ndim - 2) + [0.25 * step, 0.5 * step]
        datasets.append({"path": str(level), "coordinateTransformations": [{"type": "scale", "scale": scale}]})
    kinds = {"t": "time", "c": "channel"}
    multiscales = [{"axes": [{"name": name, "type": kinds.get(name, "space")} for name in axes], "datasets": datasets}]
    if version == "0.4":
        multiscales[0]["version"] = version
        group.attrs["multiscales"] = multiscales
    else:
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_ome_zarr(version, colour, rng, tmp_path):
    """Axes are kept, the level is chosen, and a reader of somebody else's finds valid labels."""
    x = rng.standard_normal((2, 3, 2, 41, 57)).astype(np.float32)            # t, c, z, y, x
    image_group(tmp_path / "x.zarr", x, "tczyx", version, (1, 2))
    names = ("background", "cell", "edge", "dirt")
    for level, source in ((0, "x.zarr"), (1, "x.zarr"), (1, "x.zarr/1")):
        part = x[..., :: 2**level, :: 2**level]
        expected = np.stack([[expected_of(colour, part[t, :, z].transpose(1, 2, 0)[None])[0] for z in range(2)]
                             for t in range(2)])                             # t, z, y, x, K
        target = tmp_path / f"y{level}{len(source)}.zarr"
        given = level if "/" not in source else None
        shape = map_zarr(colour, tmp_path / source, target, level=given, block=(17, 24), output="labels",
                         backend="numpy", class_names=names)
        assert shape == (2, 1, *expected.shape[1:4])
        found = opened(target)
        assert found.axes == tuple("tczyx")
        assert found.chunks == (1, 1, 1, *np.minimum((17, 24), part.shape[-2:]))
        np.testing.assert_array_equal(found.reader[:, 0], expected.argmax(-1))
        assert found.image.transformations[0]["scale"] == [1, 1, 1, 0.25 * 2**level, 0.5 * 2**level]
        judge(target, version, names)
    map_zarr(colour, tmp_path / "x.zarr", tmp_path / "z.zarr", backend="numpy")
    assert_same_bits(opened(tmp_path / "z.zarr").reader[:].transpose(0, 2, 3, 4, 1), np.stack(
        [[expected_of(colour, x[t, :, z].transpose(1, 2, 0)[None])[0] for z in range(2)] for t in range(2)]), "logits")
    with pytest.raises(ValueError, match="has 2 levels, counted from 0; --level 2 is none"):
        map_zarr(colour, tmp_path / "x.zarr", tmp_path / "n.zarr", level=2)


def judge(path, version, names, labels=True):
    """What ome-zarr-models says of a group."""
    models = pytest.importorskip(f"ome_zarr_models.v{version.replace('.', '')}")
    group = zarr.open_group(path, mode="r")
    read = models.ImageLabel.from_zarr(group) if labels else models.Image.from_zarr(group)
    told = (read.attributes.ome if version == "0.5" else read.attributes)
    assert told.multiscales[0].datasets[0].path == "0"
    if labels:
        properties = group.attrs.asdict().get("ome", group.attrs.asdict())["image-label"]["properties"]
        assert [each["class"] for each in properties] == list(names)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_labels_within_their_image(version, grey, rng, tmp_path):
    """They are listed there, beside those that are; each channel is run by itself, as the network takes one."""
    x = rng.standard_normal((2, 30, 44)).astype(np.float32)                  # c, y, x
    image_group(tmp_path / "x.zarr", x, "cyx", version)
    for name in ("cells", "again"):
        map_zarr(grey, tmp_path / "x.zarr", tmp_path / "x.zarr" / "labels" / name, output="labels", backend="numpy")
    found = opened(tmp_path / "x.zarr" / "labels" / "cells")
    np.testing.assert_array_equal(found.reader[:], expected_of(grey, x[..., None]).argmax(-1))
    listed = zarr.open_group(tmp_path / "x.zarr" / "labels", mode="r").attrs.asdict()
    assert (listed["ome"] if version == "0.5" else listed)["labels"] == ["cells", "again"]
    judge(tmp_path / "x.zarr" / "labels" / "cells", version, [])
    with pytest.raises(ValueError, match="logits would need one more axis"):
        map_zarr(grey, tmp_path / "x.zarr", tmp_path / "z.zarr")


@pytest.mark.parametrize("how", ["plain", "strips", "tiled", "bigtiff", "deflate", "tiled-deflate", "pyramid"])
def test_tiff(how, colour, grey, rng, tmp_path):
    tifffile = pytest.importorskip("tifffile")
    model = grey if how in ("plain", "bigtiff") else colour
    x = rng.integers(0, 256, (83, 70) + ((3,) if model is colour else ())).astype(np.uint8)
    options = {"strips": {"rowsperstrip": 7}, "tiled": {"tile": (16, 32)}, "bigtiff": {"bigtiff": True},
               "deflate": {"compression": "zlib", "rowsperstrip": 9},
               "tiled-deflate": {"compression": "zlib", "tile": (16, 32)}}.get(how, {})
    path = tmp_path / "x.tif"
    if how == "pyramid":
        with tifffile.TiffWriter(path) as writer:
            writer.write(x, photometric="rgb", subifds=1, tile=(16, 16))
            writer.write(x[::2, ::2], photometric="rgb", subfiletype=1, tile=(16, 16))
    else:
        tifffile.imwrite(path, x, photometric="rgb" if model is colour else "minisblack", **options)
    levels = (None, 1) if how == "pyramid" else (None,)
    for level in levels:
        part = x[::2, ::2] if level else x
        target = tmp_path / f"y{level}.zarr"
        map_zarr(model, path, target, output="labels", backend="numpy", block=(32, 20), level=level)
        expected = expected_of(model, part[None] if model is colour else part[None, ..., None])[0].argmax(-1)
        np.testing.assert_array_equal(zarr.open(target)[:], expected if model is grey else expected[..., None])
    mapped = opened(path).chunks is None
    assert mapped == (how in ("plain", "strips", "bigtiff"))
    with pytest.raises(ValueError, match=r"levels?, counted from 0; --level 5 is none"):
        opened(path, 5)
    for damaged, told in ((b"no TIFF", "no TIFF that can be read"), (b"II*\0 no more", "TIFF without an image")):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=told):
            opened(path)


def test_arrays_at_an_address(grey, rng, tmp_path):
    """An OME-Zarr image, one of its arrays and a compressed TIFF, through fsspec."""
    tifffile, fsspec = pytest.importorskip("tifffile"), pytest.importorskip("fsspec")
    x = rng.integers(0, 256, (60, 50)).astype(np.uint8)
    image_group(tmp_path / "x.zarr", x, "yx", "0.5")
    tifffile.imwrite(tmp_path / "x.tif", x, tile=(16, 16), compression="zlib")
    memory = fsspec.filesystem("memory")
    for name in ("x.zarr", "x.tif"):
        memory.put(str(tmp_path / name), f"/arrays/{name}", recursive=True)
    expected = expected_of(grey, x[None, ..., None])[0].argmax(-1)
    for number, source in enumerate(("x.zarr", "x.zarr/0", "x.tif")):
        target = tmp_path / f"{number}.zarr"
        map_zarr(grey, f"memory://arrays/{source}", target, output="labels", block=(20, 50), backend="numpy")
        np.testing.assert_array_equal(opened(target if source == "x.tif" else target / "0").reader[:], expected)
    for source in ("none.zarr", "none.tif"):
        with pytest.raises((ValueError, FileNotFoundError), match=f"{source}"):
            map_zarr(grey, f"memory://arrays/{source}", tmp_path / "n.zarr")


def test_npy(rng, tmp_path):
    model = UNet({"blocks": [{"filters": 4, "kernel": (1, 3), "pool": (1, 2), "strides": (1, 2)}],
                  "output_kernel_size": (1, 3)}, (None, 2), 3)
    x = rng.standard_normal((1003, 2)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    map_zarr(model, tmp_path / "x.npy", tmp_path / "y.zarr", block=(100,), backend="numpy")
    assert_same_bits(zarr.open(tmp_path / "y.zarr")[:], expected_of(model, x[None])[0])
    with pytest.raises(ValueError, match=r"the array has shape \(1003, 2\); the network takes \(B, H, W, 3\)"):
        map_zarr(UNet(PLAIN, (None, None, 3), 3), tmp_path / "x.npy", tmp_path / "z.zarr")


@pytest.fixture(scope="module")
def integers():
    rng = np.random.default_rng(5)
    signals = UNet({"blocks": [{"filters": 4, "kernel": (1, 3), "pool": (1, 2), "strides": (1, 2)}] * 2,
                    "output_kernel_size": (1, 3)}, (64, 1), 3, seed=3)
    images = UNet({**PLAIN, "use_logits": False}, (32, 32, 2), 3, seed=4)
    return [quantize(signals, rng.standard_normal((8, 64, 1)), "int16x8"),
            quantize(images, rng.standard_normal((8, 32, 32, 2)))]


@pytest.mark.parametrize("which", [0, 1])
def test_integer_networks(which, integers, rng):
    """Integers in and out, the softmax at the end too, and the float face; padding is what stands for 0."""
    model = integers[which]
    size = (203,) if which == 0 else (45, 38)
    chunks = ((70, 3, 1, 129),) if which == 0 else ((20, 25), (5, 33))
    x = rng.standard_normal((*size, model.input_shape[-1])).astype(np.float32)
    face = model.dequantized()
    real = face.predict(x[None], pad=True)[0]
    found = map_blocks(face, da.from_array(x, chunks=(*chunks, -1)), backend="numpy").compute(scheduler="sync")
    assert_same_bits(found, real)
    q = model.quantize_input(x)
    found = map_blocks(model, da.from_array(q, chunks=(*chunks, -1))).compute(scheduler="sync")
    assert found.dtype == model.dtype
    assert_same_bits(model.dequantize_output(found), real)
    labels = map_blocks(model, da.from_array(q, chunks=(*chunks, -1)), output="labels").compute(scheduler="sync")
    np.testing.assert_array_equal(labels, found.argmax(-1))
    with pytest.raises(ValueError, match="quantize_input makes it"):
        map_blocks(model, da.from_array(x, chunks=-1))
    with pytest.raises(ValueError, match="come out the same in every order"):
        map_blocks(model, da.from_array(q, chunks=-1), arithmetic="seq")


def test_heartkits_integer_network(rng):
    """A converter's file: H = 1, and blocks shorter than what they see."""
    pytest.importorskip("tflite")
    path = ROOT / "heartkit" / "ecg_segmentation_int8.tflite"
    if not path.is_file():
        pytest.skip("no heartkit data")
    model = load(path)
    q = rng.integers(-128, 128, (1, 1024, 1)).astype(np.int8)
    found = map_blocks(model, da.from_array(q, chunks=(1, (500, 17, 300, 207), 1))).compute(scheduler="sync")
    np.testing.assert_array_equal(found, model.predict(q[None]).reshape(1, 1024, 4))


def test_every_integer_operator_says_what_it_reads():
    assert set(READS) == set(OPERATORS)


def test_layer_norm_of_integers_is_refused(rng):
    model = UNet({"blocks": [{"filters": 4, "kernel": (1, 3), "pool": (1, 2), "strides": (1, 2), "norm": "layer"}],
                  "output_kernel_size": (1, 3)}, (64, 1), 3)
    made = quantize(model, rng.standard_normal((8, 64, 1)))
    with pytest.raises(ValueError, match=r"looks at the whole input.*run it whole"):
        map_blocks(made, da.zeros((64, 1), dtype=np.int8, chunks=16))


def test_nothing_is_computed_before_it_is_asked_for(grey):
    """The graph is made without a value; shape, chunks and dtype are known; it goes on into other graphs."""
    def never(block):
        raise AssertionError("computed")

    x = da.zeros((60, 80), chunks=(20, 40)).map_blocks(never, dtype=np.float32, meta=np.empty((0, 0), np.float32))
    y = map_blocks(grey, x)
    labels = map_blocks(grey, x, output="labels")
    assert (y.shape, y.chunks, y.dtype) == ((60, 80, 3), ((20,) * 3, (40,) * 2, (3,)), np.float32)
    assert (labels.shape, labels.chunks, labels.dtype) == ((60, 80), x.chunks, np.uint8)
    counted = (labels[10:50] == 1).sum()
    assert counted.dtype.kind in "iu"
    with pytest.raises(AssertionError, match="computed"):
        counted.compute(scheduler="sync")


def test_blocks_as_they_fit(grey):
    """As stored; several together where they are small; less where memory is short; refused where nothing fits."""
    network = blockwise(grey)
    layout = layout_of(network, (4000, 3000), None, True)
    f4 = np.dtype(np.float32)
    assert block_of(network, layout, (512, 500), f4)[0] == (512, 500)
    small, _ = block_of(network, layout, (16, 16), f4)
    assert all(extent % 16 == 0 and extent > 16 for extent in small)
    large, needed = block_of(network, layout, (4000, 3000), f4)
    halved, less = block_of(network, layout, None, f4, limit=needed // 20)
    assert large == (4000, 3000)
    assert less <= needed // 20
    assert all(extent % 4 == 0 for extent in halved)
    with pytest.raises(ValueError, match="read whole: store it in smaller ones"):
        block_of(network, layout, (4000, 3000), f4, limit=10**7)
    with pytest.raises(ValueError, match=r"one block of 2000 x 2000 takes .*, a worker may take 1.0 MB"):
        block_of(network, layout, None, f4, limit=10**6, wanted=(2000, 2000))


def test_a_run_goes_on_where_it_ended(grey, rng, tmp_path, monkeypatch):
    """What is done is not done again, unless the content is another; what is whole is left as it is."""
    x = rng.standard_normal((60, 80)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    run = BlockTask.__call__
    calls = []

    def counted(task, index, carried):
        if len(calls) == 5 and fail:
            raise KeyboardInterrupt
        calls.append(index)
        run(task, index, carried)

    monkeypatch.setattr(BlockTask, "__call__", counted)
    monkeypatch.setattr("npunet.distributed.map_arrays.ThreadPoolExecutor", lambda: InTurn())
    how = {"output": "labels", "block": (20, 20), "backend": "numpy"}
    lines = []
    fail = True
    with pytest.raises(KeyboardInterrupt):
        map_zarr(grey, tmp_path / "x.npy", tmp_path / "y.zarr", say=lines.append, **how)
    assert not (tmp_path / "y.zarr").exists()
    assert "5 of 12 blocks are in" in lines[-1]
    fail = False
    map_zarr(grey, tmp_path / "x.npy", tmp_path / "y.zarr", say=lines.append, **how)
    assert sorted(calls) == [(i, j) for i in range(3) for j in range(4)]
    expected = expected_of(grey, x[None, ..., None])[0].argmax(-1)
    np.testing.assert_array_equal(zarr.open(tmp_path / "y.zarr")[:], expected)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x.npy", "y.zarr"]
    map_zarr(grey, tmp_path / "x.npy", tmp_path / "y.zarr", say=lines.append, **how)
    assert len(calls) == 12
    assert "an earlier run made it" in lines[-1]
    np.save(tmp_path / "x.npy", x + 1)
    with pytest.raises(FileExistsError, match="is there already; name another"):
        map_zarr(grey, tmp_path / "x.npy", tmp_path / "y.zarr", **how)
    (tmp_path / "z.zarr.partial").mkdir()
    with pytest.raises(FileExistsError, match="no run of npunet left it"):
        map_zarr(grey, tmp_path / "x.npy", tmp_path / "z.zarr", **how)


class InTurn:
    """An executor without threads, so that what is done before an interruption is certain."""

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return None

    def map(self, function, *arguments):
        return map(function, *arguments)

    def shutdown(self, **how):
        pass


def test_no_chunk_is_two_tasks(grey, rng, tmp_path):
    """Every region that a task writes is a whole chunk of the result."""
    x = rng.standard_normal((3, 45, 67, 1)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    map_zarr(grey, tmp_path / "x.npy", tmp_path / "y.zarr", block=(16, 20), backend="numpy")
    written = zarr.open(tmp_path / "y.zarr")
    assert written.chunks == (1, 16, 20, 3)
    assert_same_bits(written[:], expected_of(grey, x))


def test_arrays_on_the_command_line(grey, rng, tmp_path):
    """A TIFF in blocks on a cluster that Ctrl-C ends; the same command goes on from there."""
    tifffile = pytest.importorskip("tifffile")
    grey.save(tmp_path / "model.npz")
    x = rng.integers(0, 256, (300, 310)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "x.tif", x, tile=(32, 32))
    command = ["predict", str(tmp_path / "model.npz"), str(tmp_path / "x.tif"), "--dask", "--workers", "1", "--block",
               "40x62", "--backend", "numpy", "-o", str(tmp_path / "y.zarr")]
    with subprocess.Popen([sys.executable, "-m", "npunet", *command], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, start_new_session=True) as process:
        while not list((tmp_path / "y.zarr.partial" / "done").glob("*")) and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        told, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "of 40 blocks are in" in told
    assert not (tmp_path / "y.zarr").exists()
    assert main(command) == 0
    np.testing.assert_array_equal(zarr.open(tmp_path / "y.zarr")[:],
                                  expected_of(grey, x[None, ..., None])[0].argmax(-1))

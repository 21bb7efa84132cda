"""Pictures: the same scale whatever file they come in, upright, all pages or none, and no bomb goes off."""

import argparse
import struct
import warnings
from zlib import crc32

import numpy as np
import pytest
from test_read_masks import png

from npunet.cli import inputs, models, sources
from npunet.data import read_image
from npunet.data.images import fractions
from npunet.data.pictures import read_pictures
from npunet.model import UNet

PICTURE = np.random.default_rng(3).integers(9, 256, (39, 56), dtype=np.uint8)
PICTURE[0, 0] = 255
TWELVE = PICTURE.astype(np.uint16) * 16
TWELVE[0, 0] = 4095


@pytest.fixture
def pillow():
    return pytest.importorskip("PIL.Image")


@pytest.mark.parametrize(("values", "largest"), [(PICTURE, 255), (TWELVE, 4095), (TWELVE * 2, 8191),
                                                 (TWELVE * 16, 65535), (PICTURE.astype(np.uint16), 255)])
def test_the_scale_is_that_of_the_numbers_and_not_of_the_file(tmp_path, pillow, values, largest):
    wanted = (values.astype(np.float64) / largest)[None, ..., None]
    np.save(tmp_path / "i.npy", values)
    np.save(tmp_path / "wide.npy", values.astype(np.int32))
    pillow.fromarray(values).save(tmp_path / "i.png")
    pillow.fromarray(values).save(tmp_path / "i.tif")
    pillow.fromarray(values.astype(np.int32)).save(tmp_path / "wide.tif")
    for name in ("i.npy", "wide.npy", "i.png", "i.tif", "wide.tif"):
        got = read_image(tmp_path / name)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, wanted, rtol=1e-6)


def test_what_the_file_says_goes_before_its_range(tmp_path, pillow):
    dark = TWELVE // 8
    chunk = b"sBIT" + bytes([12])
    path = png(tmp_path / "i.png", dark, 16, extra=struct.pack(">I", 1) + chunk + struct.pack(">I", crc32(chunk)))
    np.testing.assert_allclose(read_image(path)[0, ..., 0], dark / 4095, rtol=1e-6)
    pillow.fromarray(dark).save(tmp_path / "i.tif", tiffinfo={281: 4095})
    np.testing.assert_allclose(read_image(tmp_path / "i.tif")[0, ..., 0], dark / 4095, rtol=1e-6)
    pillow.fromarray(TWELVE).save(tmp_path / "i.tif", tiffinfo={281: 255})
    np.testing.assert_allclose(read_image(tmp_path / "i.tif")[0, ..., 0], TWELVE / 4095, rtol=1e-6)
    np.testing.assert_allclose(read_image(png(tmp_path / "four.png", PICTURE % 16, 4))[0, ..., 0], PICTURE % 16 / 15,
                               rtol=1e-6)


def test_training_and_prediction_see_the_same_numbers(tmp_path, pillow):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    np.save(tmp_path / "masks" / "a.npy", PICTURE > 99)
    np.savez(tmp_path / "images" / "all.npz", x=TWELVE[None], masks=(PICTURE > 99)[None])
    network = UNet({"blocks": [], "output_kernel_size": 3}, (None, None, 1), 2)
    meaning = models.Meaning(("a", "b"), None)
    parser = argparse.ArgumentParser()
    inputs.add_arguments(parser)
    arguments = parser.parse_args([])
    from_npz = read_pictures(tmp_path / "images" / "all.npz", 1, 2)[0].x
    for suffix in ("png", "tif", "npy"):
        path = tmp_path / "images" / f"a.{suffix}"
        np.save(path, TWELVE) if suffix == "npy" else pillow.fromarray(TWELVE).save(path)
        learnt = read_pictures(tmp_path, 1, 2)[0].x
        predicted = sources.batch(str(path), network, meaning, arguments).x[0]
        np.testing.assert_array_equal(learnt, from_npz)
        np.testing.assert_allclose(learnt, predicted, atol=1e-3)             # training rounds to 1/1024
        path.unlink()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_stand_upright(tmp_path, pillow, orientation):
    upright = {1: PICTURE, 2: PICTURE[:, ::-1], 3: PICTURE[::-1, ::-1], 4: PICTURE[::-1], 5: PICTURE.T,
               6: np.rot90(PICTURE, -1), 7: PICTURE[::-1, ::-1].T, 8: np.rot90(PICTURE)}[orientation]
    told = pillow.Exif()
    told[0x0112] = orientation
    for name, options in (("i.png", {}), ("i.tif", {}), ("lzw.tif", {"compression": "tiff_lzw"}),
                          ("deep.tif", {}), ("deep.png", {}), ("i.jpg", {"quality": 100})):
        values = PICTURE.astype(np.uint16) if name.startswith("deep") else PICTURE
        pillow.fromarray(values).save(tmp_path / name, exif=told, **options)
        np.testing.assert_allclose(read_image(tmp_path / name)[0, ..., 0], upright / 255,
                                   atol=0.02 if name == "i.jpg" else 1e-6)


def test_all_pages_or_none(tmp_path, pillow):
    pages = [pillow.fromarray(np.roll(PICTURE, shift, 0)) for shift in range(4)]
    pages[0].save(tmp_path / "p.tif", save_all=True, append_images=pages[1:])
    got = read_image(tmp_path / "p.tif")
    np.testing.assert_allclose(got[..., 0], np.stack([np.asarray(page) for page in pages]) / 255, rtol=1e-6)
    np.save(tmp_path / "p.npy", np.stack([np.asarray(page) for page in pages]))
    np.testing.assert_array_equal(read_image(tmp_path / "p.npy"), got)
    pages[0].save(tmp_path / "sizes.tif", save_all=True, append_images=[pages[1].crop((0, 0, 20, 20))])
    with pytest.raises(ValueError, match="pages of different sizes"):
        read_image(tmp_path / "sizes.tif")
    pages[0].save(tmp_path / "kinds.tif", save_all=True, append_images=[pages[1].convert("RGB")])
    with pytest.raises(ValueError, match="pages are of different kinds, L and RGB"):
        read_image(tmp_path / "kinds.tif")
    for said in ("ImageJ=1.53t\nimages=4\nslices=4\n", '{"shape": [4, 39, 56]}'):
        pages[0].save(tmp_path / "hidden.tif", tiffinfo={270: said})
        with pytest.raises(ValueError, match="speaks of 4 pages, and 1 can be read"):
            read_image(tmp_path / "hidden.tif")
    pages[0].save(tmp_path / "one.tif", tiffinfo={270: "ImageJ=1.53t\nunit=micron\n"})
    assert read_image(tmp_path / "one.tif").shape == (1, 39, 56, 1)


def test_bombs_are_refused_before_they_go_off(tmp_path, pillow):
    pillow.new("1", (10_000, 10_000)).save(tmp_path / "b.png")
    with pytest.raises(ValueError, match="decompression bomb; allow more by max_pixels=100000000"):
        read_image(tmp_path / "b.png")
    page = pillow.new("1", (3000, 3000))
    page.save(tmp_path / "b.tif", compression="group4", save_all=True, append_images=[page] * 11)
    with pytest.raises(ValueError, match=r"10 page.* decompression bomb"):
        read_image(tmp_path / "b.tif")
    content = bytearray(png(tmp_path / "huge.png", PICTURE, 8).read_bytes())
    content[16:24] = struct.pack(">II", 40_000, 40_000)
    content[29:33] = struct.pack(">I", crc32(content[12:29]))
    (tmp_path / "huge.png").write_bytes(content)
    with pytest.raises(ValueError, match="decompression bomb"):
        read_image(tmp_path / "huge.png")
    told = b"{'descr': '|u1', 'fortran_order': False, 'shape': (99999, 9999999), }".ljust(117) + b"\n"
    (tmp_path / "huge.npy").write_bytes(b"\x93NUMPY\x01\x00\x76\x00" + told + bytes(99))
    with pytest.raises(ValueError, match="declares an array of shape"):
        read_image(tmp_path / "huge.npy")


@pytest.mark.parametrize(("mode", "channels"), [("RGBA", 1), ("LA", 1), ("LA", 3), ("RGB", 3), ("CMYK", 3), ("P", 3)])
def test_colours_and_alpha(tmp_path, pillow, mode, channels):
    grey = pillow.fromarray(PICTURE)
    name = tmp_path / ("i.tif" if mode == "CMYK" else "i.png")
    (grey.convert("RGB").convert(mode) if mode in ("CMYK", "P") else grey.convert(mode)).save(name)
    got = read_image(name, channels)
    assert got.shape == (1, 39, 56, channels)
    wanted = (PICTURE / 255)[None, ..., None].repeat(channels, -1)
    np.testing.assert_allclose(got, wanted, atol=0.2 if mode == "P" else 1e-6)


def test_what_would_be_lost_or_is_no_number_is_refused(tmp_path, pillow):
    with pytest.raises(ValueError, match="16 bits a channel"):
        read_image(png(tmp_path / "i.png", np.dstack([TWELVE] * 3), 16, colours=2))
    for bad, told in ((np.where(PICTURE > 99, np.nan, 1.0), "NaN or infinite"),
                      (np.where(PICTURE > 99, np.inf, 1.0), "NaN or infinite"), (np.zeros((2, 3, 4, 5, 6)), "shape"),
                      (np.zeros((0, 5)), "shape"), (np.zeros((3, 3), complex), "complex")):
        np.save(tmp_path / "i.npy", bad)
        with pytest.raises(ValueError, match=told):
            read_image(tmp_path / "i.npy")
    np.save(tmp_path / "i.npy", np.zeros((2, 9, 9, 5), np.uint8))
    with pytest.raises(ValueError, match="this one 5, and the network takes 3"):
        read_image(tmp_path / "i.npy", 3)


def test_an_image_that_says_nothing_is_told(tmp_path, pillow):
    for value, told in ((0, "all zero"), (51, r"constant \(0\.2\)")):
        pillow.fromarray(np.full_like(PICTURE, value)).save(tmp_path / "i.png")
        with pytest.warns(UserWarning, match=f"the image is {told}"):
            read_image(tmp_path / "i.png")
    np.save(tmp_path / "i.npy", np.full((9, 9), np.nan))
    with pytest.warns(UserWarning, match="the image is all NaN"):
        read_image(tmp_path / "i.npy")


def test_fractions_keep_floats_and_signs():
    np.testing.assert_array_equal(fractions(np.array([-0.5, 2.0])), np.float32([-0.5, 2]))
    np.testing.assert_allclose(fractions(np.array([-300, 100], np.int16)), np.array([-300, 100]) / 511, rtol=1e-6)
    np.testing.assert_array_equal(fractions(np.array([True, False])), np.float32([1, 0]))
    np.testing.assert_array_equal(fractions(np.zeros((2, 2), np.uint16)), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert fractions(np.array([2**63], np.uint64)) == pytest.approx(0.5)

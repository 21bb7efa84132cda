"""Masks: the same discs in every kind of file that a mask comes in give the same labels, or an error that says why."""

import struct
import warnings
import zlib

import numpy as np
import pytest

from npunet.data import read_mask
from npunet.data.pictures import read_pictures

Y, X = np.mgrid[:41, :57]
INSTANCES = np.select([(Y - r) ** 2 + (X - c) ** 2 < 49 for r in (9, 29) for c in (9, 28, 47)], [1, 2, 3, 4, 5, 6], 0)
DISCS, THREE = (INSTANCES > 0).astype(np.uint8), np.where(INSTANCES > 0, 1 + INSTANCES % 2, 0).astype(np.uint8)
RIM = np.where((INSTANCES > 0) & ((Y + X) % 5 == 0), 255, THREE).astype(np.uint8)


@pytest.fixture
def pillow():
    return pytest.importorskip("PIL.Image")


def png(path, numbers, depth, colours=0, extra=b""):
    """A PNG of any depth, written from its definition: Pillow writes no grey of 2 and 4 bits, nor colours of 16."""
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b""
    for row in np.asarray(numbers):
        if depth < 8:
            bits = "".join(f"{value:0{depth}b}" for value in row.tolist())
            bits += "0" * (-len(bits) % 8)
            rows += b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
        else:
            rows += b"\0" + row.astype({8: "u1", 16: ">u2"}[depth]).tobytes()
    head = struct.pack(">IIBBBBB", np.shape(numbers)[1], np.shape(numbers)[0], depth, colours, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(rows))
                     + chunk(b"IEND", b""))
    return path


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u2", ">u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"])
def test_arrays_of_every_dtype(tmp_path, dtype):
    for number, (values, classes, wanted) in enumerate((
        (DISCS, 2, DISCS), (DISCS * 100, 2, DISCS), (INSTANCES, 2, DISCS), (THREE, 3, THREE), (THREE, 254, THREE),
        (np.asfortranarray(THREE), 3, THREE), (THREE[None], 3, THREE), (THREE[..., None], 3, THREE),
    )):
        if dtype != "?" or number == 0:
            np.save(tmp_path / "m.npy", values.astype(dtype, order="A"))
            labels = read_mask(tmp_path / "m.npy", classes)
            assert labels.dtype == np.uint8
            np.testing.assert_array_equal(labels, wanted)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp"])
def test_files_of_eight_bits_and_of_one(tmp_path, pillow, suffix):
    path = tmp_path / f"m.{suffix}"
    for values, classes, wanted in ((DISCS, 2, DISCS), (DISCS * 255, 2, DISCS), (INSTANCES, 2, DISCS),
                                    (THREE, 3, THREE), (RIM, 3, RIM), (np.where(RIM == 2, 1, RIM), 2, None)):
        pillow.fromarray(values.astype(np.uint8)).save(path)
        np.testing.assert_array_equal(read_mask(path, classes), values if wanted is None else wanted)
    pillow.fromarray(DISCS > 0).save(path)
    np.testing.assert_array_equal(read_mask(path, 2), DISCS)


@pytest.mark.parametrize("dtype", ["uint16", "int32", "float32"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate"])
def test_deep_tiffs(tmp_path, pillow, dtype, compression):
    for values, classes, wanted in ((INSTANCES * 300, 2, DISCS), (DISCS * 255, 2, DISCS), (THREE, 3, THREE)):
        pillow.fromarray(values.astype(dtype)).save(tmp_path / "m.tif", compression=compression)
        np.testing.assert_array_equal(read_mask(tmp_path / "m.tif", classes), wanted)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_pngs_of_every_depth(tmp_path, pillow, depth):
    np.testing.assert_array_equal(read_mask(png(tmp_path / "m.png", DISCS, depth), 2), DISCS)
    if depth > 1:
        np.testing.assert_array_equal(read_mask(png(tmp_path / "m.png", THREE, depth), 3), THREE)
    if depth > 2:
        np.testing.assert_array_equal(read_mask(png(tmp_path / "m.png", INSTANCES, depth), 2), DISCS)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "gif"])
@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_palette_counts_by_index(tmp_path, pillow, suffix, bits):
    image = pillow.new("P", THREE.shape[::-1])
    values = DISCS if bits == 1 else THREE
    image.putdata(values.ravel().tolist())
    image.putpalette([255, 255, 255, 0, 0, 0, 90, 90, 90] + [7] * (765 - 9))
    image.save(tmp_path / f"m.{suffix}", **({"bits": bits} if suffix == "png" else {}))
    np.testing.assert_array_equal(read_mask(tmp_path / f"m.{suffix}", 3 if bits > 1 else 2), values)
    table = [(255, 255, 255), (0, 0, 0), (90, 90, 90)]
    np.testing.assert_array_equal(read_mask(tmp_path / f"m.{suffix}", 3, colours=table), values)


def test_alpha_and_grey_in_colours(tmp_path, pillow):
    path, full, none = tmp_path / "m.png", np.full_like(DISCS, 255), np.zeros_like(DISCS)
    for planes in ([none, DISCS * 255], [full, DISCS * 255], [DISCS * 255, full], [none] * 3 + [DISCS * 255],
                   [full] * 3 + [DISCS * 255], [DISCS * 255] * 3 + [full], [DISCS * 255] * 4, [DISCS] * 3):
        pillow.fromarray(np.dstack(planes), {2: "LA", 3: "RGB", 4: "RGBA"}[len(planes)]).save(path)
        np.testing.assert_array_equal(read_mask(path, 2), DISCS)
    pillow.fromarray(np.dstack([THREE] * 3)).save(path)
    np.testing.assert_array_equal(read_mask(path, 3), THREE)
    pillow.fromarray(np.dstack([DISCS * 255] * 3 + [full - DISCS * 255])).save(path)
    with pytest.raises(ValueError, match="both its colours and its alpha channel vary; say by channel="):
        read_mask(path, 2)
    np.testing.assert_array_equal(read_mask(path, 2, channel="red"), DISCS)
    np.testing.assert_array_equal(read_mask(path, 2, channel="alpha"), 1 - DISCS)


def test_painted_masks_need_a_table(tmp_path, pillow):
    table = np.array([[10, 20, 30], [200, 0, 0], [0, 200, 0]], np.uint8)
    path = tmp_path / "m.png"
    pillow.fromarray(table[THREE]).save(path)
    with pytest.raises(ValueError, match=r"colours: \(0, 200, 0\), \(10, 20, 30\), \(200, 0, 0\); .*colours="):
        read_mask(path, 3)
    for colours in (table.tolist(), [tuple(each) for each in table.tolist()],
                    {(10, 20, 30): 0, (200, 0, 0): 1, (0, 200, 0): 2}, table, dict(enumerate(table.tolist()))):
        np.testing.assert_array_equal(read_mask(path, 3, colours=colours), THREE)
    ignored = read_mask(path, 2, colours={(10, 20, 30): 0, (200, 0, 0): 1, (0, 200, 0): 255})
    np.testing.assert_array_equal(ignored, np.where(THREE == 2, 255, THREE))
    with pytest.raises(ValueError, match=r"pixels have colours that colours= does not give, the first \(0, 200, 0\)"):
        read_mask(path, 3, colours=table.tolist()[:2])
    with pytest.raises(ValueError, match="holds class 7, the network has 3 classes"):
        read_mask(path, 3, colours={(10, 20, 30): 0, (200, 0, 0): 7, (0, 200, 0): 2})
    pillow.fromarray(table[THREE][..., :1].repeat(3, -1)).save(tmp_path / "grey.png")
    with pytest.raises(ValueError, match="colours= must give every class a colour"):
        read_mask(path, 3, colours=[1, 2, 3])


def test_jpeg_is_thresholded_with_a_warning_or_refused(tmp_path, pillow):
    path = tmp_path / "m.jpg"
    for quality in (40, 75, 95):
        pillow.fromarray(DISCS * 255).save(path, quality=quality)
        with pytest.warns(UserWarning, match="JPEG changes the numbers"):
            np.testing.assert_array_equal(read_mask(path, 2), DISCS)
    for values, classes, told in ((DISCS * 255, 3, "3 classes do not survive"), (DISCS, 2, "JPEG of values from 0 to"),
                                  (INSTANCES * 40, 2, "% of the bright ones grey")):
        pillow.fromarray(values.astype(np.uint8)).save(path)
        with pytest.raises(ValueError, match=told):
            read_mask(path, classes)
    assert (read_mask(path, 2, threshold=20) == DISCS).mean() > 0.98
    pillow.fromarray(DISCS * 255).save(tmp_path / "m.tif", compression="jpeg")
    with pytest.warns(UserWarning, match="JPEG changes the numbers"):
        np.testing.assert_array_equal(read_mask(tmp_path / "m.tif", 2), DISCS)


def test_masks_are_turned_as_their_images_are(tmp_path, pillow):
    turned = {1: THREE, 2: THREE[:, ::-1], 3: THREE[::-1, ::-1], 4: THREE[::-1], 5: THREE.T, 6: np.rot90(THREE, -1),
              7: THREE[::-1, ::-1].T, 8: np.rot90(THREE)}
    for orientation, wanted in turned.items():
        told = pillow.Exif()
        told[0x0112] = orientation
        for name, values in (("m.png", THREE), ("m.tif", THREE), ("deep.tif", THREE.astype(np.uint16))):
            pillow.fromarray(values).save(tmp_path / name, exif=told)
            np.testing.assert_array_equal(read_mask(tmp_path / name, 3), wanted)


def test_a_tiff_whose_zero_is_white_is_asked_about(tmp_path, pillow):
    path = tmp_path / "m.tif"
    for values, ones in ((DISCS * 255, 255), (DISCS > 0, 1)):
        pillow.fromarray(values).save(path)
        content = path.read_bytes()
        entry = struct.pack("<HHII", 262, 3, 1, 1)
        assert content.count(entry) == 1, "photometric interpretation: 0 is black"
        path.write_bytes(content.replace(entry, struct.pack("<HHII", 262, 3, 1, 0)))
        with pytest.raises(ValueError, match=r"0 is white.*as_shown="):
            read_mask(path, 2)
        np.testing.assert_array_equal(read_mask(path, 2, as_shown=False), DISCS)
        np.testing.assert_array_equal(read_mask(path, 2, as_shown=True), 1 - DISCS)
        assert ones


@pytest.mark.parametrize(("values", "classes", "told"), [
    (np.where(INSTANCES == 6, -1, THREE.astype(int)), 3, "the number -1, the network has 3 .*: -1, 0, 1, 2; see"),
    (INSTANCES, 3, "holds class 6, the network has 3 classes from 0 on; values found: 0, 1, 2, 3, 4, 5, 6"),
    (DISCS + 1, 2, r"no background 0 among its values 1, 2; say .*meaning="),
    (np.full((4, 5), 255), 2, "every pixel is 255.*meaning='binary' or ignore=255"),
    (np.where(INSTANCES == 6, 255, INSTANCES), 2, "0, 1, 2, 3, 4, 5, 255 may be instances.*ignore=255"),
    (DISCS * 0.5, 2, "fractions from 0 to 0.5, such as 0.5; say by threshold="),
    (np.where(DISCS, np.nan, 0), 2, "NaN or infinite"), (np.where(DISCS, np.inf, 0), 2, "NaN or infinite"),
    (np.where(DISCS, 1e300, 0), 2, "too large for classes"),
    (THREE.astype(complex), 3, "dtype complex128"), (THREE.astype("U1"), 3, "dtype <U1"),
    (np.eye(7)[INSTANCES], 7, r"shape \(41, 57, 7\).*argmax"), (THREE[0], 3, r"shape \(57,\)"),
    (np.zeros((0, 7)), 2, "no pixels"),
])
def test_numbers_that_are_no_classes(tmp_path, values, classes, told):
    np.save(tmp_path / "m.npy", values)
    with pytest.raises(ValueError, match=rf"m\.npy is a mask that cannot be read: .*{told}") as error:
        read_mask(tmp_path / "m.npy", classes)
    assert "\n" not in str(error.value)


def test_options_say_what_numbers_are(tmp_path):
    path = tmp_path / "m.npy"
    np.save(path, np.where(INSTANCES == 6, -1, THREE.astype(int)))
    np.testing.assert_array_equal(read_mask(path, 3, ignore=-1), np.where(INSTANCES == 6, 255, THREE))
    np.save(path, np.where(INSTANCES == 6, 255, INSTANCES))
    np.testing.assert_array_equal(read_mask(path, 2, meaning="instances"), DISCS)
    np.testing.assert_array_equal(read_mask(path, 2, ignore=255), np.where(INSTANCES == 6, 255, DISCS))
    np.testing.assert_array_equal(read_mask(path, 2, threshold=128), INSTANCES == 6)
    np.save(path, DISCS * 255)
    np.testing.assert_array_equal(read_mask(path, 2, ignore=255), DISCS * 255)
    with pytest.warns(UserWarning, match="only 0 and 255; 255 is taken for ignored"):
        np.testing.assert_array_equal(read_mask(path, 3), DISCS * 255)
    many = np.arange(41 * 57).reshape(41, 57) // 7                           # 255 is one instance of 334
    np.save(path, many)
    np.testing.assert_array_equal(read_mask(path, 2), many > 0)
    for options in ({"num_classes": 1}, {"num_classes": 256}, {"num_classes": 2.5}, {"meaning": "things"},
                    {"channel": "cyan"}, {"threshold": 3, "num_classes": 3}):
        with pytest.raises(ValueError, match=f"{next(iter(options))}="):
            read_mask(path, **{"num_classes": 2, **options})


def test_files_that_would_lose_something(tmp_path, pillow):
    deep = np.dstack([INSTANCES] * 3)
    with pytest.raises(ValueError, match=r"m\.png .*16 bits a channel"):
        read_mask(png(tmp_path / "m.png", deep, 16, colours=2), 2)
    pages = [pillow.fromarray(DISCS), pillow.fromarray(1 - DISCS)]
    pages[0].save(tmp_path / "m.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=r"m\.tif .*2 pages; a mask has one"):
        read_mask(tmp_path / "m.tif", 2)
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        read_mask(tmp_path / "none.png", 2)


def test_masks_of_a_folder_are_told_together(tmp_path, pillow, rng):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    whole = np.where(INSTANCES == 6, 255, DISCS)                             # background, foreground, ignored
    for name, mask in (("a", whole), ("b", np.where(INSTANCES == 6, 255, 0))):
        pillow.fromarray(mask.astype(np.uint8)).save(tmp_path / "masks" / f"{name}.png")
        pillow.fromarray(rng.integers(0, 200, (41, 57), dtype=np.uint8)).save(tmp_path / "images" / f"{name}.png")
    first, second = read_pictures(tmp_path, 1, 2)
    np.testing.assert_array_equal(first.labels, whole)
    np.testing.assert_array_equal(second.labels, np.where(INSTANCES == 6, 255, 0))
    for name in "ab":
        pillow.fromarray(INSTANCES.astype(np.uint16)).save(tmp_path / "masks" / f"{name}.png")
    first, _ = read_pictures(tmp_path, 1, 2)
    np.testing.assert_array_equal(first.labels, DISCS)
    np.testing.assert_array_equal(first.instances, INSTANCES)
    for name in "ab":
        pillow.fromarray((INSTANCES * 300_000_000).astype(np.int32)).save(tmp_path / "masks" / f"{name}.tif")
        (tmp_path / "masks" / f"{name}.png").unlink()
    np.testing.assert_array_equal(read_pictures(tmp_path, 1, 2)[0].instances, INSTANCES)
    for name in "ab":
        (tmp_path / "masks" / f"{name}.tif").unlink()
        pillow.fromarray(DISCS * 255).save(tmp_path / "masks" / f"{name}.jpg", quality=75)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        first, _ = read_pictures(tmp_path, 1, 2)
    np.testing.assert_array_equal(first.labels, DISCS)
    assert len(told) == 1 and "and 1 more" in str(told[0].message)


def test_a_data_set_says_what_its_masks_hold(tmp_path, pillow, rng):
    table = np.array([[10, 20, 30], [200, 0, 0], [0, 200, 0]], np.uint8)
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    pillow.fromarray(rng.integers(0, 200, (41, 57), dtype=np.uint8)).save(tmp_path / "images" / "a.png")
    pillow.fromarray(table[THREE]).save(tmp_path / "masks" / "a.png")
    with pytest.raises(ValueError, match=r"a\.png is a mask .*colours="):
        read_pictures(tmp_path, 1, 3)
    np.testing.assert_array_equal(read_pictures(tmp_path, 1, 3, {"colours": table.tolist()})[0].labels, THREE)
    np.save(tmp_path / "masks" / "a.npy", np.where(INSTANCES == 6, 7, DISCS))
    (tmp_path / "masks" / "a.png").unlink()
    np.testing.assert_array_equal(read_pictures(tmp_path, 1, 2, {"ignore": 7})[0].labels,
                                  np.where(INSTANCES == 6, 255, DISCS))
    np.testing.assert_array_equal(read_pictures(tmp_path, 1, 2, {"threshold": 3})[0].labels, INSTANCES == 6)
    with pytest.raises(ValueError, match="no parameter 'colors'; the nearest is 'colours'"):
        read_pictures(tmp_path, 1, 3, {"colors": []})

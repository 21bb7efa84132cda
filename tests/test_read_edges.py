"""Inputs as other programs write them: each is read right, or refused by name. The writers are not ours."""

import io
import struct
import warnings

import numpy as np
import pytest

from npunet.data import read_image, read_mask, read_record, read_table
from npunet.data.synthetic import synthetic_ecg

Y, X = np.mgrid[:41, :57]
OBJECTS = np.select([(Y - r) ** 2 + (X - c) ** 2 < 49 for r in (9, 29) for c in (9, 28, 47)], [1, 2, 3, 4, 5, 6], 0)
DISCS, THREE = (OBJECTS > 0).astype(np.uint8), np.where(OBJECTS > 0, 1 + OBJECTS % 2, 0).astype(np.uint8)
GREY = (np.arange(41 * 57).reshape(41, 57) % 256).astype(np.uint8)
LENGTH, RATE = 400, 250
LEAD = np.round(synthetic_ecg(LENGTH / 100, 100, seed=2)[0].astype(float), 4)
BOTH, TIMES = np.stack([LEAD, -LEAD]), np.arange(LENGTH) / RATE


def by_pillow(path, values, mode=None, palette=None, **options):
    image = pytest.importorskip("PIL.Image").fromarray(values)
    if palette is not None:
        image = image.convert("P")
        image.putdata(values.ravel().tolist())
        image.putpalette(palette)
    (image if mode is None else image.convert(mode)).save(path, **options)


def by_tifffile(path, values, **options):
    if options.get("compression") in ("lzw", "jpeg2000"):
        pytest.importorskip("imagecodecs")
    pytest.importorskip("tifffile").imwrite(path, values, **options)


def by_cv2(path, values):
    pytest.importorskip("cv2").imwrite(str(path), values)


def by_pypng(path, values, **options):
    with open(path, "wb") as file:
        pytest.importorskip("png").Writer(57, 41, **options).write(file, values.reshape(41, -1).tolist())


UNORDERED = [255, 0, 0, 0, 0, 0, 0, 255, 0] + [7] * 759                      # the colours say nothing about the classes
MASKS = {
    "a palette in no order.png": (by_pillow, THREE, {"palette": UNORDERED}, 3, THREE),
    "a palette in no order.tif": (by_pillow, THREE, {"palette": UNORDERED}, 3, THREE),
    "a palette in no order.bmp": (by_pillow, THREE, {"palette": UNORDERED}, 3, THREE),
    "a palette with a transparent index.png": (by_pillow, THREE, {"palette": UNORDERED, "transparency": 0}, 3, THREE),
    "a palette of two bits.png": (by_pypng, THREE, {"palette": [(0, 0, 0), (9, 9, 9), (0, 0, 0)], "bitdepth": 2}, 3,
                                  THREE),
    "a palette of indices 5 and 7.png": (by_pillow, DISCS * 2 + 5, {"palette": UNORDERED}, 2, "no background 0 among"),
    "one bit.png": (by_pypng, DISCS, {"greyscale": True, "bitdepth": 1}, 2, DISCS),
    "two bits.png": (by_pypng, THREE, {"greyscale": True, "bitdepth": 2}, 3, THREE),
    "objects in four bits.png": (by_pypng, OBJECTS, {"greyscale": True, "bitdepth": 4}, 2, DISCS),
    "interlaced.png": (by_pypng, THREE, {"greyscale": True, "interlace": True}, 3, THREE),
    "grey and opaque.png": (by_pypng, np.stack([THREE, np.full_like(THREE, 255)], -1),
                            {"greyscale": True, "alpha": True}, 3, THREE),
    "grey of 16 bits with alpha.png": (by_pypng, np.stack([OBJECTS, OBJECTS], -1),
                                       {"greyscale": True, "alpha": True, "bitdepth": 16}, 2, "16 bits a channel"),
    "colours of 16 bits.png": (by_pypng, np.stack([DISCS.astype(int) * 65535] * 3, -1),
                               {"greyscale": False, "bitdepth": 16}, 2, "16 bits a channel"),
    "alpha alone on black.png": (by_pillow, np.dstack([np.zeros((41, 57, 3), np.uint8), DISCS * 255]), {}, 2, DISCS),
    "alpha alone on white.png": (by_pillow, np.dstack([np.full((41, 57, 3), 255, np.uint8), DISCS * 255]), {}, 2,
                                 DISCS),
    "opaque colours.png": (by_pillow, np.dstack([DISCS * 255] * 3 + [np.full_like(DISCS, 255)]), {}, 2, DISCS),
    "objects of 16 bits by cv2.tif": (by_cv2, (OBJECTS * 257).astype(np.uint16), {}, 2, DISCS),
    "classes by cv2.png": (by_cv2, THREE, {}, 3, THREE),
    "lzw of 16 bits.tif": (by_pillow, (OBJECTS * 300).astype(np.uint16), {"compression": "tiff_lzw"}, 2, DISCS),
    "deflate.tif": (by_pillow, THREE, {"compression": "tiff_adobe_deflate"}, 3, THREE),
    "packbits.tif": (by_pillow, THREE, {"compression": "packbits"}, 3, THREE),
    "tiled lzw with a predictor.tif": (by_tifffile, THREE.astype(np.uint16),
                                       {"tile": (16, 16), "compression": "lzw", "predictor": True}, 3, THREE),
    "big endian.tif": (by_tifffile, (OBJECTS * 300).astype(np.uint16), {"byteorder": ">"}, 2, DISCS),
    "big tiff in strips.tif": (by_tifffile, THREE, {"bigtiff": True, "rowsperstrip": 3}, 3, THREE),
    "white is zero.tif": (by_tifffile, THREE, {"photometric": "miniswhite"}, 3, THREE),
    "ome.ome.tif": (by_tifffile, THREE, {"metadata": {"axes": "YX"}}, 3, THREE),
    "imagej.tif": (by_tifffile, THREE.astype(np.uint16), {"imagej": True}, 3, THREE),
    "one bit.tif": (by_tifffile, DISCS.astype(bool), {}, 2, DISCS),
    "floats of 0 and 1.tif": (by_tifffile, DISCS.astype(np.float32), {}, 2, DISCS),
    "floats of 0 and 255.tif": (by_tifffile, DISCS.astype(np.float32) * 255, {}, 2, DISCS),
    "floats with nan.tif": (by_tifffile, np.where(DISCS, 1, np.nan).astype(np.float32), {}, 2, "NaN"),
    "floats of 64 bits.tif": (by_tifffile, DISCS.astype(float), {}, 2, DISCS),
    "floats of 16 bits.tif": (by_tifffile, THREE.astype(np.float16), {}, 3, THREE),
    "objects of 64 bits.tif": (by_tifffile, OBJECTS.astype(np.int64) << 40, {}, 2, DISCS),
    "big endian of 64 bits.tif": (by_tifffile, THREE.astype(np.uint64), {"byteorder": ">", "bigtiff": True}, 3, THREE),
    "two pages of 64 bits.tif": (by_tifffile, np.stack([THREE] * 2).astype(np.int64), {}, 3, "has 2 pages"),
    "white is zero in 64 bits.tif": (by_tifffile, THREE.astype(np.int64), {"photometric": "miniswhite"}, 3,
                                     "0 is not black"),
    "jpeg 2000 in a tiff.tif": (by_tifffile, THREE, {"compression": "jpeg2000"}, 3, "Pillow does not read"),
    "every value of 8 bits.png": (by_pillow, GREY, {}, 2, "may be instances, grey values"),
    "group 4.tif": (by_pillow, DISCS * 255, {"mode": "1", "compression": "group4"}, 2, DISCS),
    "planar colours.tif": (by_tifffile, np.stack([DISCS * 255] * 3), {"planarconfig": "separate",
                                                                     "photometric": "rgb"}, 2, DISCS),
    "two pages.tif": (by_tifffile, np.stack([THREE, THREE]), {}, 3, "has 2 pages"),
    "objects as three classes.png": (by_pillow, OBJECTS.astype(np.uint8), {}, 3, "class 6"),
    "foreground 128.png": (by_pillow, DISCS * 128, {}, 2, DISCS),
    "all foreground or ignored.png": (by_pillow, np.full_like(DISCS, 255), {}, 2, "foreground or ignored"),
    "three classes.jpg": (by_pillow, THREE * 100, {}, 3, "3 classes do not survive"),
    "painted.png": (by_pillow, np.dstack([THREE == 1, THREE == 2, THREE > 9]).astype(np.uint8) * 255, {}, 3,
                    "painted in colours"),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks(tmp_path, name):
    write, values, options, classes, wanted = MASKS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                                      # the writers' own
        write(tmp_path / name, values, **options)
    if isinstance(wanted, str):
        with pytest.raises(ValueError, match=wanted) as error:
            read_mask(tmp_path / name, classes)
        assert name in str(error.value) and "\n" not in str(error.value)
    else:
        np.testing.assert_array_equal(read_mask(tmp_path / name, classes), wanted)


def test_options_of_masks_are_numbers_within_bounds(tmp_path):
    by_pillow(tmp_path / "m.png", DISCS)
    for options in ({"threshold": float("nan")}, {"threshold": float("inf")}, {"threshold": "1"}, {"max_pixels": 0},
                    {"max_pixels": -1}, {"meaning": ""}, {"channel": ""}):
        with pytest.raises(ValueError, match=next(iter(options))):
            read_mask(tmp_path / "m.png", 2, **options)
    for classes in (0, 1, -1, 256, 2.0, True, None, "2"):
        with pytest.raises(ValueError, match="num_classes"):
            read_mask(tmp_path / "m.png", classes)


PICTURES = {
    "grey.bmp": (by_pillow, GREY, {}, GREY / 255),
    "grey and alpha.png": (by_pillow, np.dstack([GREY, GREY[::-1]]), {}, GREY / 255),
    "floats of 64 bits.tif": (by_tifffile, GREY / 255, {}, GREY / 255),
    "floats of 16 bits.tif": (by_tifffile, (GREY / 256).astype(np.float16), {}, GREY / 256),
    "inks.tif": (by_pillow, np.dstack([GREY] * 3), {"mode": "CMYK"}, GREY / 255),
    "one bit.png": (by_pillow, GREY > 128, {}, GREY > 128),
    "twelve bits by cv2.png": (by_cv2, GREY.astype(np.uint16) * 16, {}, GREY.astype(int) * 16 / 4095),
    "twelve bits.tif": (by_tifffile, GREY.astype(np.uint16) * 16, {}, GREY.astype(int) * 16 / 4095),
    "floats.tif": (by_tifffile, GREY.astype(np.float32) / 255, {}, GREY / 255),
    "floats with nan.tif": (by_tifffile, np.where(GREY > 3, GREY, np.nan).astype(np.float32), {}, "NaN"),
    "colours of 16 bits.tif": (by_tifffile, np.dstack([GREY.astype(np.uint16)] * 3), {"photometric": "rgb"},
                               "16 bits a channel"),
    "five channels.tif": (by_tifffile, np.stack([GREY] * 5), {"planarconfig": "separate",
                                                             "photometric": "minisblack"}, "Pillow does not read"),
    "pages last.npy": (np.save, np.stack([GREY] * 7, -1), {}, "smallest axis last"),
}


def test_channels_in_front_are_asked_about(tmp_path):
    np.save(tmp_path / "x.npy", np.stack([GREY, GREY[::-1], GREY]))
    assert read_image(tmp_path / "x.npy").shape == (3, 41, 57, 1)            # of a network of grey values: pages
    with pytest.raises(ValueError, match=r"3 grey pages or one picture whose channels"):
        read_image(tmp_path / "x.npy", 3)
    np.save(tmp_path / "x.npy", np.stack([GREY, GREY[::-1], GREY])[..., None])
    assert read_image(tmp_path / "x.npy", 3).shape == (3, 41, 57, 3)


@pytest.mark.parametrize("name", PICTURES)
def test_pictures(tmp_path, name):
    write, values, options, wanted = PICTURES[name]
    write(tmp_path / name, values, **options)
    if isinstance(wanted, str):
        with pytest.raises(ValueError, match=wanted):
            read_image(tmp_path / name)
    else:
        np.testing.assert_allclose(read_image(tmp_path / name)[0, ..., 0], wanted, atol=1e-6)


@pytest.mark.parametrize("suffix", ["mpo", "jpg"])
def test_of_a_photograph_with_a_preview_the_first_picture_is_read_and_that_is_said(tmp_path, suffix):
    image_module = pytest.importorskip("PIL.Image")
    pages = [image_module.fromarray(np.dstack([page] * 3)) for page in (GREY, GREY[::-1])]
    pages[0].save(tmp_path / f"x.{suffix}", format="MPO", save_all=True, append_images=pages[1:], quality=100)
    with pytest.warns(UserWarning, match="the first of its 2 pictures is read"):
        got = read_image(tmp_path / f"x.{suffix}")
    np.testing.assert_allclose(got[0, ..., 0], GREY / 255, atol=0.05)


def table(*columns, separator=",", head=None, form="{:.4f}", decimal=".", end="\n", trail=""):
    cells = [[each if isinstance(each, str) else form.format(each).replace(".", decimal) for each in column]
             for column in columns]
    lines = ([] if head is None else [head]) + [separator.join(row) + trail for row in zip(*cells, strict=True)]
    return end.join([*lines, ""])


def by_pandas(columns, index=None, **options):
    pandas = pytest.importorskip("pandas")
    made = {None: None, "ms": lambda: pandas.date_range("2024-01-01", periods=LENGTH, freq="4ms"),
            "delta": lambda: pandas.timedelta_range(0, periods=LENGTH, freq="4ms")}[index]
    text = io.StringIO()
    pandas.DataFrame(columns, index=made and made()).to_csv(text, **options)
    return text.getvalue()


MILLISECONDS = [f"{1000 * t:.0f}" for t in TIMES]
TABLES = {
    "a German Excel": ("sep=;\r\n" + table(TIMES, *BOTH, separator=";", decimal=",", end="\r\n",
                                           head="Zeit [s];Ableitung I [mV];Ableitung II [mV]"), BOTH, RATE),
    "Excel's Unicode text": (table(TIMES, *BOTH, separator="\t", decimal=",", end="\r\n",
                                   head="Zeit (s)\tI (mV)\tII (mV)").encode("utf-16"), BOTH, RATE),
    "times in ms": (table(MILLISECONDS, LEAD, head="Time (ms),II"), LEAD, RATE),
    "times of no unit": (table(MILLISECONDS, LEAD, head="Time,II"), "counts by 4, of a unit that it does not say"),
    "pandas with its index": (lambda: by_pandas({"I": LEAD, "II": -LEAD}), BOTH, None),
    "pandas with dates": (lambda: by_pandas({"I": LEAD}, "ms"), LEAD, RATE),
    "pandas with durations": (lambda: by_pandas({"I": LEAD}, "delta"), "'0 days 00:00:00.000000' in column"),
    "pandas with a named index": (lambda: by_pandas({"I": LEAD}, index_label="frame"), "column 'frame' rises steadily"),
    "pandas without names": (lambda: by_pandas(BOTH.T, header=False), BOTH, None),
    "R": ('"I" "II"\n' + "".join(f'"{n + 1}" {a} {b}\n' for n, (a, b) in enumerate(BOTH.T)), BOTH, None),
    "seconds since 1970": (table([f"{1.7e9 + t:.3f}" for t in TIMES], LEAD, head="timestamp,ECG"), LEAD, RATE),
    "milliseconds since 1970": (table([f"{1.7e12 + 1000 * t:.0f}" for t in TIMES], LEAD, head="timestamp,ECG"), LEAD,
                                RATE),
    "nanoseconds since 1970": (table([str(17 * 10**17 + 4 * 10**6 * n) for n in range(LENGTH)], LEAD,
                                     head="timestamp,ECG"), LEAD, RATE),
    "two rows of names": ("time,I,II\n(ms),(uV),(uV)\n" + table(1000 * TIMES, *1000 * BOTH, form="{:.1f}"), BOTH, RATE),
    "a preamble": ("Name,Jo\nRate,250\nDate,2024\n" + table(*BOTH, head="I,II"), "skip_rows="),
    "a preamble of comments": ("# Name Jo\n# Rate 250\n" + table(TIMES, *BOTH, head="time,I,II"), BOTH, RATE),
    "separators at the end of rows only": (table(TIMES, *BOTH, head="time,I,II", trail=","), BOTH, RATE),
    "a separator at the end of the names only": (table(TIMES, *BOTH, head="time,I,II,"), BOTH, RATE),
    "a separator before every row": ("".join(f",{a:.4f},{b:.4f}\n" for a, b in BOTH.T), BOTH, None),
    "a column without name and values": (table(LEAD, [""] * LENGTH, -LEAD, head="I,,II"), BOTH, None),
    "numbers in columns of spaces": ("".join(f"  {a:8.4f}   {b:8.4f}\n" for a, b in BOTH.T), BOTH, None),
    "powers of ten with commas": (table(*BOTH, form="{:.6e}", decimal=",", separator=";"), BOTH, None),
    "signs of plus": (table(*BOTH, form="{:+.4f}"), BOTH, None),
    "typographic minus signs": (table(*BOTH).replace("-", "\N{MINUS SIGN}"), "no column of numbers"),
    "thousands": (table(LEAD * 1e4 + 5e4, form="{:,.0f}", head="ECG"), "may be a decimal fraction or thousands"),
    "commas for both": (table(*BOTH, decimal=","), "decimal=',' for fractions, separator=',' for whole"),
    "one column of decimal commas": (table(LEAD, decimal=",", head="ECG"), LEAD, None),
    "a rate among the leads": (table(LEAD, [60.0] * LENGTH, head="II,HR (bpm)"), "in bpm, which is no voltage"),
    "marks among the leads": (table(LEAD, ["N" if n == 5 else "" for n in range(LENGTH)], head="II,ann"),
                              "line 7 has 'N' in column 'ann'"),
    "a time that jumps": (table(np.where(TIMES > 0.8, TIMES + 0.4, TIMES), LEAD, head="time,II"), "not evenly spaced"),
    "times before zero": (table(TIMES - 1, LEAD, head="time,II"), LEAD, RATE),
    "coarse times": (table([f"{t:.2f}" for t in TIMES], LEAD, head="time,II"), "too coarse"),
    "rdsamp": ("'sample #','MLII','V5'\n" + table([str(n) for n in range(LENGTH)], *BOTH), BOTH, None),
    "rdsamp with times": ("'Elapsed time','MLII'\n'mm:ss.mmm','mV'\n" + table([f"'0:{t:06.3f}'" for t in TIMES], LEAD),
                          LEAD, RATE),
    "units of other spellings": (table(1000 * LEAD, LEAD * 1e-3, LEAD * 1e6, head="I-uV,II [V],V1 microvolt",
                                       form="{:.9f}"), np.stack([LEAD, LEAD, LEAD * 1e3]), None),
    "a unit alone": (table(1000 * LEAD, head="uV"), LEAD, None),
    "a unit in front": (table(1000 * LEAD, head="uV_ECG"), "'uV_ECG' may be in uV or not; say by unit="),
    "a unit of a step": (table(1000 * LEAD, head="ECG [uV/bit]"), "may be in uV or not; say by unit="),
    "volts after a stroke": (table(LEAD, head="U / V"), "may be in V or not; say by unit="),
    "leads called by numbers": (table(*BOTH, head="1,2"), BOTH, None),
    "samples that count on": ("".join(f"{2 * n}\t{2 * n + 1}\n" for n in range(50)) + "7\t5\n",
                              np.append(np.arange(100).reshape(50, 2).T, [[7], [5]], 1), None),
    "pandas' name of one column": ("0\n" + table(LEAD), "say by skip_rows=0 or skip_rows=1"),
    "a row of no units": ("time,I,II\n,,\n" + table(TIMES, *BOTH), BOTH, RATE),
    "times called by their unit alone": ("X,CH1\nSecond,Volt\n" + table(TIMES, LEAD / 1000, form="{:.7f}"), LEAD,
                                         RATE),
    "a unit of time in brackets": (table(TIMES, LEAD, head="Temps (s),D1 (mV)"), LEAD, RATE),
    "three columns of times": (table([f"10:00:{t:06.3f}" for t in TIMES], [f"{4 * n}" for n in range(LENGTH)], LEAD,
                                     head="Phone timestamp,sensor [ms],ecg"), "several columns of times, Phone time"),
    "classes among the leads": (table(LEAD, ["0", "1"] * (LENGTH // 2), head="II,label"), "'label' is no lead by its"),
    "a rate in every row": (table([250.0] * LENGTH, LEAD, head="fs,II"), "'fs' is no lead by its name"),
    "tenths of what": (table([f"{n / 20:.2f}" for n in range(LENGTH)], LEAD, head="time,II"),
                       "counts by 0.05, of a unit that it does not say"),
    "fewer names than columns": (table(LEAD, -LEAD, LEAD, head="I,II"), "its header has 2 cells, and its rows have 3"),
    "comments with strokes": ("// Jo, 250 Hz\n" + table(*BOTH, head="I,II"), BOTH, None),
    "leads in rows": ("\n".join(",".join(f"{v:.4f}" for v in row) for row in BOTH) + "\n", "transpose"),
    "microvolts in Latin-1": (table(1000 * LEAD, head="ECG (\N{MICRO SIGN}V)").encode("latin-1"), LEAD, None),
    "microvolts in code page 437": (table(1000 * LEAD, head="ECG (\N{MICRO SIGN}V)").encode("cp437"),
                                    "a voltage that npunet does not know; say by unit="),
    "returns alone": (table(*BOTH, head="I,II", end="\r"), BOTH, None),
    "a last row that is short": (table(*BOTH)[:-9], "line 400 has 1 cells"),
    "an Excel file": (b"PK\3\4" + bytes(range(256)) * 4, "zero bytes"),
}


def test_missing_values_of_every_program_stay_where_they_are(tmp_path):
    for word in ("", "NaN", "#N/A", "-1.#IND", "NULL", "-nan(ind)", "n/a"):
        cells = [word if n in (0, 7, LENGTH - 1) else f"{value:.4f}" for n, value in enumerate(LEAD)]
        (tmp_path / "t.csv").write_text(table(cells, -LEAD, head="I,II"))    # "#N/A" in front is no comment
        signal, _, _ = read_table(tmp_path / "t.csv")
        assert signal.shape == (2, LENGTH) and np.flatnonzero(np.isnan(signal[0])).tolist() == [0, 7, LENGTH - 1]
        np.testing.assert_allclose(signal[1], -LEAD, atol=1e-9)


def test_of_several_columns_of_times_none_is_a_lead(tmp_path):
    stamps, counts = [f"10:00:{t:06.3f}" for t in TIMES], [f"{4 * n}" for n in range(LENGTH)]
    (tmp_path / "t.csv").write_text(table(stamps, counts, LEAD, head="Phone timestamp,sensor [ms],ecg"))
    for time in ("Phone timestamp", "sensor [ms]", 1):
        signal, fs, names = read_table(tmp_path / "t.csv", time=time)
        assert (signal.shape, fs, names) == ((1, LENGTH), RATE, ("ecg",))


def test_a_first_line_of_0_is_what_is_said(tmp_path):
    (tmp_path / "t.csv").write_text("0\n" + table(LEAD))
    assert read_table(tmp_path / "t.csv", skip_rows=0)[0].shape == (1, LENGTH + 1)
    assert read_table(tmp_path / "t.csv", skip_rows=1)[0].shape == (1, LENGTH)
    (tmp_path / "t.csv").write_text("0\n0.5\n1\n0.5\n")                     # who writes 1 for 1.0 writes 0 for 0.0
    assert read_table(tmp_path / "t.csv")[0].tolist() == [[0, 0.5, 1, 0.5]]
    (tmp_path / "t.csv").write_text("0,1\n" + table(*BOTH))
    assert read_table(tmp_path / "t.csv")[0].shape == (2, LENGTH)
    assert read_table(tmp_path / "t.csv", skip_rows=0)[0].shape == (2, LENGTH + 1)


@pytest.mark.parametrize("name", TABLES)
def test_tables(tmp_path, name):
    text, *wanted = TABLES[name]
    text = text() if callable(text) else text
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    if isinstance(wanted[0], str):
        with pytest.raises(ValueError, match=wanted[0]) as error:
            read_table(path)
        assert "\n" not in str(error.value)
        return
    signal, fs, _ = read_table(path)
    np.testing.assert_allclose(signal, np.atleast_2d(wanted[0]), atol=1e-9)
    assert fs == wanted[1]


def test_options_of_tables_are_not_taken_for_not_given(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text(table(TIMES, *BOTH, head="time,I,II"))
    for options in ({"leads": []}, {"leads": ""}, {"leads": [""]}, {"time": ""}, {"time_unit": ""}, {"unit": ""},
                    {"separator": ""}, {"decimal": ""}, {"skip_rows": -1}, {"skip_rows": 0.5}, {"blank_rows": ""},
                    {"blank_cells": ""}, {"blank_cells": None}, {"encoding": ""}):
        with pytest.raises(ValueError, match=r"=|no column ''"):
            read_table(path, **options)
    path.write_text(table(TIMES, [f"{v:.4f}" if n % 9 else "" for n, v in enumerate(LEAD)], -LEAD, head="time,I,II"))
    assert np.isnan(read_table(path)[0]).sum() == 45
    with pytest.warns(UserWarning, match=r"column 'I' lacks 45 of 400 values, the first in line 2; they are gaps"):
        read_table(path, blank_cells="warn")
    with pytest.raises(ValueError, match=r"column 'I' lacks 45 of 400 values, the first in line 2"):
        read_table(path, blank_cells="refuse")
    assert read_table(path, leads=["II"], blank_cells="refuse")[0].shape == (1, LENGTH)


STORED = np.cumsum(np.random.default_rng(1).integers(-5, 6, (999, 2)), 0)


def header(folder, name, first="{name} 2 250 999", forms=("16", "16"), gains=("200(0)/mV",) * 2, names=("ii", "avf"),
           stored=STORED, encoding="latin-1"):
    """A record of two leads in 16 bits, written from header(5) and signal(5)."""
    lines = [first.format(name=name)] + [
        f"{name}.dat {form} {gain} 16 0 {row[0]} {int(row.sum()) & 0xFFFF} 0 {lead}"
        for form, gain, lead, row in zip(forms, gains, names, stored.T, strict=True)]
    (folder / f"{name}.hea").write_bytes("\n".join([*lines, ""]).encode(encoding))
    (folder / f"{name}.dat").write_bytes(stored.astype("<i2").tobytes())
    return folder / name


@pytest.mark.parametrize(("options", "wanted"), [
    ({"gains": ("200/mV", "200/mV")}, (1, 1)),
    ({"gains": ("200", "2e2")}, (1, 1)),
    ({"gains": ("200(0)/\N{MICRO SIGN}V", "200(0)/V")}, (1e-3, 1e3)),
    ({"gains": ("200(0)/\N{MICRO SIGN}V", "200(0)/V"), "encoding": "utf-8"}, (1e-3, 1e3)),
    ({"gains": ("200(0)/\N{MICRO SIGN}V", "200(0)/V"), "encoding": "cp437"}, "which is no voltage"),
    ({"gains": ("-200(0)/mV", "200(0)/mV")}, (-1, 1)),
    ({"first": "{name} 2 250 0"}, (1, 1)), ({"first": "{name} 2 250"}, (1, 1)), ({"first": "{name} 2"}, (1, 1)),
    ({"first": "{name} 2 250/125(3) 999 12:34:56 01/02/2003"}, (1, 1)),
    ({"first": "{name} 2 0 999"}, "sampling rate '0'"), ({"first": "{name} 2 -250 999"}, "sampling rate '-250'"),
    ({"first": "{name} 2 250 2000"}, "cut short"), ({"first": "{name} 2 250 500"}, "checksum"),
    ({"gains": ("200(0)/NU", "200(0)/mV")}, "lead 'ii' is in NU, which is no voltage"),
    ({"forms": ("99", "99")}, "format 99, which npunet does not read"),
    ({"forms": ("16x3", "16")}, "several rates"),
])
def test_headers(tmp_path, options, wanted):
    path = header(tmp_path, "r", **options)
    if isinstance(wanted, str):
        with pytest.raises(ValueError, match=wanted):
            read_record(path)
        return
    for given in (path, f"{path}.hea", f"{path}.dat"):
        record = read_record(given)
        np.testing.assert_allclose(record.signal, STORED.T / 200 * np.array(wanted)[:, None], rtol=1e-6)
        assert record.fs == 250


@pytest.mark.parametrize("form", ["80", "212", "16", "24", "32"])
def test_records_that_the_wfdb_package_writes(tmp_path, form, monkeypatch):
    wfdb = pytest.importorskip("wfdb")
    monkeypatch.chdir(tmp_path)
    stored = np.clip(STORED, -126, 126)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wfdb.wrsamp("r", 360, ["mV", "uV"], ["I", "II"], d_signal=stored, fmt=[form] * 2, adc_gain=[100.0, 50.0],
                    baseline=[0, 7])
    record = read_record("r")
    np.testing.assert_allclose(record.signal, [stored[:, 0] / 100, (stored[:, 1] - 7) / 50e3], rtol=1e-6)
    assert record.fs == 360


def test_records_of_segments_with_gaps_and_leads_that_come_and_go(tmp_path):
    header(tmp_path, "a", "{name} 2 250 400", stored=STORED[:400])
    header(tmp_path, "b", "{name} 2 250 599", stored=STORED[400:])
    (tmp_path / "gap.hea").write_text("gap/3 2 250 1099\na 400\n~ 100\nb 599\n")
    gap = np.full((2, 100), np.nan)
    np.testing.assert_allclose(read_record(tmp_path / "gap").signal,
                               np.concatenate([STORED[:400].T / 200, gap, STORED[400:].T / 200], 1), rtol=1e-6)
    (tmp_path / "layout.hea").write_text("layout 2 250 0\n~ 0 200(0)/mV 16 0 0 0 0 ii\n~ 0 200(0)/mV 16 0 0 0 0 avf\n")
    (tmp_path / "one.hea").write_text("one 1 250 599\none.dat 16 200(0)/mV 16 0 0 0 0 avf\n")
    (tmp_path / "one.dat").write_bytes(STORED[400:, 1].astype("<i2").tobytes())
    (tmp_path / "part.hea").write_text("part/3 2 250 999\nlayout 0\na 400\none 599\n")
    signal = read_record(tmp_path / "part").signal
    assert np.isnan(signal[0, 400:]).all() and not np.isnan(signal[0, :400]).any()
    np.testing.assert_allclose(signal[1], STORED[:, 1] / 200, rtol=1e-6)
    (tmp_path / "gap.hea").write_text("gap/2 2 250 1099\na 400\nb 599\n")
    with pytest.raises(ValueError, match="says 1099 samples, and its segments have 999"):
        read_record(tmp_path / "gap")


def test_marks_at_a_rate_of_their_own_before_the_start_and_beyond_the_end(tmp_path, monkeypatch):
    wfdb = pytest.importorskip("wfdb")
    path = header(tmp_path, "r")
    monkeypatch.chdir(tmp_path)
    wanted = np.zeros(999, int)
    wanted[100:121], wanted[300:341] = 2, 3
    for fs, marks in ((None, (100, 110, 120, 300, 320, 340)), (500, (200, 220, 240, 600, 640, 680))):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            wfdb.wrann("r", "ii", np.array(marks), ["(", "N", ")", "(", "t", ")"], fs=fs)
        record = read_record(path)
        np.testing.assert_array_equal(record.labels[0], wanted)
        assert record.spans.tolist() == [[100, 341], [0, 0]]
    word = [59 << 10, 0xFFFF, -50 & 0xFFFF, 39 << 10, (1 << 10) + 30, (40 << 10) + 60, 0]
    (tmp_path / "r.ii").write_bytes(struct.pack("<7H", *word))               # "(" at -50, N at -20, ")" at 40
    record = read_record(path)
    assert np.flatnonzero(record.labels[0]).tolist() == list(range(41)) and record.spans[0].tolist() == [0, 41]
    (tmp_path / "r.ii").write_bytes(struct.pack("<4H", (39 << 10) + 950, (1 << 10) + 30, (40 << 10) + 60, 0))
    record = read_record(path)
    assert np.flatnonzero(record.labels[0]).tolist() == list(range(950, 999))
    (tmp_path / "r.ii").write_bytes(struct.pack("<3H", (39 << 10) + 950, (1 << 10) + 30, (40 << 10) + 60))
    with pytest.raises(ValueError, match="end mark is missing"):
        read_record(path)


def test_leads_are_named_and_not_taken_for_not_given(tmp_path):
    path = header(tmp_path, "r", names=("v1", "V1"))
    assert [read_record(path, leads=[name]).leads for name in ("v1", "V1")] == [("v1",), ("V1",)]
    for leads, told in (([], "names no lead"), ("", "must be a list"), ("v1", "must be a list"), ([""], "no lead ''"),
                        (["x"], "no lead 'x'; it has v1, V1")):
        with pytest.raises(ValueError, match=told):
            read_record(path, leads=leads)
    with pytest.raises(ValueError, match="2 leads called 'ii'"):
        read_record(header(tmp_path, "d", names=("ii", "ii")), leads=["ii"])
    for name in ("../r", "/etc/passwd"):
        (tmp_path / "out.hea").write_text(f"out 1 250 10\n{name} 16 200/mV 16 0 0 0 0 I\n")
        with pytest.raises(ValueError, match="outside of its folder"):
            read_record(tmp_path / "out")

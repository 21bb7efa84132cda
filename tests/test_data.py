"""Data: synthetic signals have the labels they claim, files are read as they are, and what is missing is named."""

import os
import pathlib
from itertools import pairwise

import numpy as np
import pytest

from npunet.data import VARIABLE, data_folder, ecg, images, read_record
from npunet.data.records import find_records
from npunet.data.synthetic import EDGE, NONE, QRS, P, T, synthetic_ecg, synthetic_nuclei
from npunet.data.wfdb_annotations import annotation_labels
from npunet.evaluate import plots

# Read once, before a test takes the variable away.
ROOT = pathlib.Path(os.environ.get(VARIABLE) or pathlib.Path(__file__).resolve().parents[2] / "shared" / "data")


def shared(kind):
    """The folder of a real data set, or a skip that says how to get it."""
    for folder in (ROOT / kind, ROOT):
        if (folder / {"ludb": "RECORDS", "nuclei": images.NUCLEI}[kind]).is_file():
            return folder
    pytest.skip(f"no {kind} data: set {VARIABLE} to the folder that holds {kind}/")


def write_record(folder, name="rec", gains=(200, 1000, 400), units=("mV", "uV", "V"), length=1300, fs=360):
    """A small WFDB record of three leads in 16-bit integers; returns the integers (leads, L)."""
    digital = np.random.default_rng(5).integers(-900, 900, (len(gains), length)).astype("<i2")
    digital[0, 40:44] = -32768                                             # WFDB's mark for a missing sample
    leads = [f"{name}.dat 16 {gain}(0)/{unit} 16 0 {row[0]} {int(row.astype(int).sum()) & 0xFFFF} 0 {lead}"
             for gain, unit, row, lead in zip(gains, units, digital, ("I", "II", "aVR"), strict=True)]
    (folder / f"{name}.hea").write_text("\n".join([f"{name} {len(gains)} {fs} {length}", *leads, ""]))
    (folder / f"{name}.dat").write_bytes(digital.T.tobytes())
    return digital


def test_synthetic_ecg_is_a_function_of_its_seed():
    signal, labels = synthetic_ecg(3.3, 250, seed=4)
    again, same = synthetic_ecg(3.3, 250, seed=4)
    other, _ = synthetic_ecg(3.3, 250, seed=5)
    assert signal.shape == labels.shape == (825,) and (signal.dtype, labels.dtype) == (np.float32, np.uint8)
    assert np.array_equal(signal, again) and np.array_equal(labels, same) and not np.array_equal(signal, other)


@pytest.mark.parametrize("heart_rate", [45, 70, 110])
def test_synthetic_labels_lie_where_the_waves_are(heart_rate):
    signal, labels = synthetic_ecg(30, 500, seed=1, heart_rate=heart_rate, noise=0, wander=0)
    beats = [part for part in plots.segments(labels) if part[2] == QRS]
    assert len(beats) == pytest.approx(heart_rate / 2, rel=0.12)
    whole = [part for part in plots.segments(labels) if part[0] > 0 and part[1] < len(labels)]
    for start, stop, label in whole:
        height = np.abs(signal[start:stop]).max()
        assert height > {P: 0.13, QRS: 1.0, T: 0.25}[label]
        assert max(abs(signal[start]), abs(signal[stop - 1])) < 0.12 * height, "a wave begins and ends low"
    assert np.abs(signal[labels == NONE]).max() < 0.03, "nothing but the waves' tails lies outside of them"
    follower = {P: QRS, QRS: T, T: P}
    assert all(follower[left[2]] == right[2] for left, right in pairwise(whole))


def test_a_synthetic_wave_ends_at_five_per_cent():
    signal, labels = synthetic_ecg(4, 10_000, seed=2, heart_rate=60, noise=0, wander=0, variability=0)
    start, stop, _ = next(part for part in plots.segments(labels) if part[2] == P and part[0] > 0)
    assert (stop - start) / 10_000 == pytest.approx(2 * EDGE * 0.019, abs=2e-4)
    for edge in (start, stop - 1):
        assert signal[edge] / signal[start:stop].max() == pytest.approx(0.05, abs=2e-3)


def test_where_synthetic_waves_overlap_qrs_goes_before_p_before_t():
    _, labels = synthetic_ecg(20, 250, seed=0, heart_rate=180)
    touching = [(left[2], right[2]) for left, right in pairwise(plots.segments(labels)) if left[1] == right[0]]
    assert (T, P) in touching, "the fastest T waves run into the next P"
    lengths = {label: {b - a for a, b, c in plots.segments(labels)[1:-1] if c == label} for label in (P, QRS)}
    assert max(lengths[QRS]) - min(lengths[QRS]) <= 1 and max(lengths[P]) - min(lengths[P]) <= 2, "T alone is cut"


def test_synthetic_noise_and_wander_leave_the_labels():
    quiet, labels = synthetic_ecg(8, 250, seed=3, noise=0, wander=0)
    noisy, same = synthetic_ecg(8, 250, seed=3, noise=0.05, wander=0)
    assert np.array_equal(labels, same)
    assert np.std(noisy - quiet) == pytest.approx(0.05, rel=0.1)


def test_synthetic_ecg_refuses_what_it_cannot_make():
    with pytest.raises(ValueError, match="heart_rate=200"):
        synthetic_ecg(heart_rate=200)
    with pytest.raises(ValueError, match="not even one sample"):
        synthetic_ecg(0.001, 100)


def test_synthetic_nuclei_are_apart_bright_and_labelled():
    image, instances = synthetic_nuclei((97, 141), seed=3, noise=0)
    assert image.shape == instances.shape == (97, 141) and (image.dtype, instances.dtype) == (np.float32, np.uint16)
    assert image.min() >= 0 and image.max() <= 1
    numbers = np.unique(instances)
    assert list(numbers) == list(range(len(numbers))) and len(numbers) > 5
    assert 0.02 < (instances > 0).mean() < 0.2
    for step in ((0, 1), (1, 0)):                                          # no two touch
        moved = np.roll(instances, step, (0, 1))[1:, 1:]
        pair = instances[1:, 1:]
        assert not ((pair != moved) & (pair > 0) & (moved > 0)).any()
    inside = [image[instances == number].mean() for number in numbers[1:]]
    assert min(inside) > 3 * image[instances == 0].mean()
    assert np.array_equal(image, synthetic_nuclei((97, 141), seed=3, noise=0)[0])
    with pytest.raises(ValueError, match="16 x 16"):
        synthetic_nuclei(9)


@pytest.mark.parametrize(("marks", "expected"), [
    ("3( 5p 7)", {P: (3, 7)}),
    ("3( 5N 7) 9( 10t 11)", {QRS: (3, 7), T: (9, 11)}),
    ("5N 7) 9( 10t 11)", {QRS: (5, 7), T: (9, 11)}),                      # paced: no onset
    ("1( 2t 5( 6p 8)", {T: (1, 2), P: (5, 8)}),                            # no end
    ("4p 5( 8)", {P: (5, 8)}),                                             # the peak stands before its onset
    ("4N 5( 8t 9)", {T: (5, 9)}),                                          # a peak alone is no wave
    ("1( 2( 4t 5t 8) 9)", {T: (1, 8)}),                                    # marked twice
    ("2( 4t", {T: (2, 4)}),
    ("6) 8( 9N 12)", {QRS: (8, 12)}),
    ("2+ 3( 4V 5N 9)", {QRS: (3, 9)}),                                     # other symbols
    ("10( 12N 99)", {QRS: (10, 14)}),                                      # beyond the record
])
def test_annotations_become_labels(marks, expected):
    pairs = [(int(mark[:-1]), mark[-1]) for mark in marks.split()]
    labels, span = annotation_labels(*zip(*pairs, strict=True), length=15)
    wanted = np.zeros(15, np.uint8)
    for label, (onset, offset) in expected.items():
        wanted[onset : offset + 1] = label
    assert labels.tolist() == wanted.tolist()
    own = [at for at, symbol in pairs if symbol in "()pNt"]
    assert span == (own[0], min(own[-1] + 1, 15))


def test_no_annotation_is_no_label():
    labels, span = annotation_labels([], [], 4)
    assert labels.tolist() == [0] * 4 and span == (0, 0)


def test_a_record_is_read_in_millivolts(tmp_path):
    digital = write_record(tmp_path)
    record = read_record(tmp_path / "rec.hea")
    assert record.leads == ("I", "II", "aVR") and record.fs == 360 and record.labels is None
    assert record.signal.shape == (3, 1300) and record.signal.dtype == np.float32
    assert np.isnan(record.signal[0, 40:44]).all() and np.isnan(record.signal).sum() == 4
    for row, factor in enumerate((1 / 200, 1e-3 / 1000, 1e3 / 400)):
        kept = ~np.isnan(record.signal[row])
        np.testing.assert_allclose(record.signal[row, kept], digital[row, kept] * factor, rtol=1e-6)
    picked = read_record(tmp_path / "rec", ["avr", "I"])
    assert picked.leads == ("aVR", "I")
    np.testing.assert_array_equal(picked.signal, record.signal[[2, 0]])


def test_records_that_cannot_be_read_say_why(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*none\.hea"):
        read_record(tmp_path / "none")
    write_record(tmp_path, units=("mV", "mmHg", "mV"))
    with pytest.raises(ValueError, match=r"lead 'II' is in mmHg"):
        read_record(tmp_path / "rec")
    assert read_record(tmp_path / "rec", ["i"]).leads == ("I",)
    with pytest.raises(ValueError, match="no lead 'v9'; it has I, II, aVR"):
        read_record(tmp_path / "rec", ["v9"])
    (tmp_path / "rec.dat").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"rec is a WFDB record .*rec\.dat has 5 bytes.* cut short"):
        read_record(tmp_path / "rec", ["i"])
    (tmp_path / "rec.hea").write_text("not a header\n")
    with pytest.raises(ValueError, match=r"rec\.hea is a WFDB header that cannot be read"):
        read_record(tmp_path / "rec")


def test_preprocessing_passes_the_band_and_normalises():
    times = np.arange(3600) / 360
    heart, drift, mains = (np.sin(2 * np.pi * f * times) for f in (8, 0.2, 49))
    clean = ecg.preprocess(heart[None], 360)[0]
    dirty = ecg.preprocess((3 + heart + 5 * drift + 0.5 * mains)[None], 360)[0]
    assert clean.shape == (1000,) and clean.dtype == np.float32
    assert abs(clean.mean()) < 1e-6 and clean.std() == pytest.approx(1, abs=0.02)
    assert np.abs(clean - dirty)[100:-100].max() < 0.12
    lag = np.argmax(np.correlate(dirty[200:800], np.sin(2 * np.pi * 8 * np.arange(200, 800) / 100), "full")) - 599
    assert lag == 0, "forwards and backwards cancels the delay"


def test_preprocessing_bridges_gaps_and_survives_a_flat_lead():
    signal, _ = synthetic_ecg(10, 250, seed=1)
    holed = signal.copy()
    holed[500:503] = np.nan
    leads = ecg.preprocess(np.stack([signal, holed, np.zeros_like(signal), np.full_like(signal, np.nan)]), 250)
    assert np.isfinite(leads).all() and np.abs(leads[0] - leads[1]).max() < 0.6
    assert np.abs(leads[2:]).max() < 1e-6
    assert ecg.bridge(np.array([np.nan, 1, np.nan, np.nan, 4, np.nan])).tolist() == [1, 1, 2, 3, 4, 4]


@pytest.mark.parametrize(("length", "fs", "rate"),
                         [(5000, 500, 100), (3601, 360, 100), (257, 128, 100), (70, 100, 250)])
def test_labels_are_resampled_with_their_signal(length, fs, rate):
    step = np.zeros(length)
    step[length // 2 :] = 1
    signal = ecg.resample(step, fs, rate)
    labels = ecg.resample_labels(step.astype(np.uint8), fs, rate)
    assert signal.shape == labels.shape == (-(-length * rate // fs),)
    assert abs(int(np.argmax(signal > 0.5)) - int(np.argmax(labels))) <= 1
    assert ecg.resample(step, fs, fs) is step


def test_preprocessing_refuses_what_it_cannot_do():
    with pytest.raises(ValueError, match="22 are needed"):
        ecg.preprocess(np.zeros((1, 100)), 500)
    with pytest.raises(ValueError, match="rate of 50 Hz"):
        ecg.preprocess(np.zeros((1, 1000)), 500, 50)
    with pytest.raises(ValueError, match="must be positive"):
        ecg.preprocess(np.zeros((1, 1000)), 0)


def test_pictures_are_read_with_their_depth(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    deep = np.arange(7 * 11, dtype=np.uint16).reshape(7, 11) * 800
    colours = np.random.default_rng(0).integers(0, 256, (7, 11, 4), dtype=np.uint8)
    image_module.fromarray(deep).save(tmp_path / "deep.png")
    image_module.fromarray(deep).save(tmp_path / "deep.tif")
    image_module.fromarray(colours).save(tmp_path / "colours.png")
    image_module.fromarray(deep.astype(np.float32)).save(tmp_path / "float.tiff")
    image_module.fromarray(deep % 7 == 0).save(tmp_path / "bits.png")
    for name in ("deep.png", "deep.tif"):
        got = images.read_image(tmp_path / name)
        assert got.shape == (1, 7, 11, 1) and got.dtype == np.float32
        np.testing.assert_allclose(got[0, ..., 0], deep / 65535, rtol=1e-6)
    np.testing.assert_array_equal(images.read_image(tmp_path / "float.tiff")[0, ..., 0], deep)
    assert set(np.unique(images.read_image(tmp_path / "bits.png"))) == {0, 1}
    rgb = images.read_image(tmp_path / "colours.png", 3)
    np.testing.assert_allclose(rgb[0], colours[..., :3] / 255, rtol=1e-6)
    grey = images.read_image(tmp_path / "colours.png")
    np.testing.assert_allclose(grey[0, ..., 0], (colours[..., :3] / 255) @ [0.299, 0.587, 0.114], rtol=1e-5)
    spread = images.read_image(tmp_path / "deep.png", 3)
    assert all(np.array_equal(spread[..., [channel]], images.read_image(tmp_path / "deep.png")) for channel in range(3))


def test_every_page_of_a_tiff_is_a_sample(tmp_path):
    image_module = pytest.importorskip("PIL.Image")
    pages = [image_module.fromarray(np.full((5, 9), value, np.uint8)) for value in (10, 20, 30)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    got = images.read_image(tmp_path / "pages.tif")
    assert got.shape == (3, 5, 9, 1) and np.allclose(got[:, 0, 0, 0] * 255, (10, 20, 30))


def test_files_that_are_no_images_say_so(tmp_path):
    pytest.importorskip("PIL.Image")
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(ValueError, match=r"text\.png cannot be read as an image"):
        images.read_image(tmp_path / "text.png")
    (tmp_path / "cut.png").write_bytes(plots.png(np.zeros((40, 40, 3), np.uint8))[:-40])
    with pytest.raises(ValueError, match=r"cut\.png cannot be read"):
        images.read_image(tmp_path / "cut.png")
    with pytest.raises(FileNotFoundError):
        images.read_image(tmp_path / "none.png")
    with pytest.raises(ValueError, match="takes 2"):
        images.as_channels(np.zeros((1, 4, 4, 3)), 2)


def test_images_are_standardised_one_by_one():
    stack = np.stack([np.linspace(0, 1, 77).reshape(7, 11, 1), np.linspace(0.5, 0.6, 77).reshape(7, 11, 1)])
    got = images.standardise(stack)
    assert got.dtype == np.float32 and np.abs(got.mean((1, 2, 3))).max() < 1e-6
    deviation = stack.std((1, 2, 3))
    np.testing.assert_allclose(got.std((1, 2, 3)), deviation / (deviation + 0.01), rtol=1e-5)


def test_missing_data_says_where_it_looked(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(FileNotFoundError, match="--data or the environment variable NPUNET_DATA"):
        data_folder("ludb", "RECORDS")
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(FileNotFoundError, match="RECORDS is neither there nor in"):
        data_folder("ludb", "RECORDS")
    (tmp_path / "ludb").mkdir()
    (tmp_path / "ludb" / "RECORDS").write_text("data/1\ndata/2\n\n")
    assert data_folder("ludb", "RECORDS") == tmp_path / "ludb"
    assert data_folder("ludb", "RECORDS", tmp_path / "ludb") == tmp_path / "ludb"
    with pytest.raises(FileNotFoundError):
        data_folder("ludb", "RECORDS", tmp_path / "elsewhere")
    (tmp_path / "ludb" / "data").mkdir()
    (tmp_path / "ludb" / "data" / "2.hea").touch()
    assert find_records(tmp_path / "ludb") == [tmp_path / "ludb" / "data" / "2"]


def test_real_ludb_records():
    folder = shared("ludb")
    records = {path.name: path for path in find_records(folder)}
    assert len(records) >= 160
    record = read_record(records["1"])
    assert record.leads == ("i", "ii", "iii", "avr", "avl", "avf", "v1", "v2", "v3", "v4", "v5", "v6")
    assert record.signal.shape == record.labels.shape == (12, 5000) and record.fs == 500
    assert 0.5 < np.abs(record.signal).max() < 5, "millivolts"
    assert tuple(record.spans[1]) == (644, 3997)
    assert (record.labels[1, 644:683] == QRS).all() and record.labels[1, 643] == record.labels[1, 683] == NONE
    assert np.corrcoef(record.signal[0] + record.signal[2], record.signal[1])[0, 1] > 0.9, "I + III = II (Einthoven)"
    paced = read_record(records["104"], ["ii"])
    assert (paced.labels[0, 710:785] == QRS).all() and paced.labels[0, 709] == NONE


def test_real_nuclei():
    x, instances, ids = images.read_nuclei(shared("nuclei"))
    assert x.shape == (267, 256, 256, 1) and x.dtype == np.float32 and x.min() >= 0 and x.max() <= 1
    assert instances.shape == (267, 256, 256) and len(set(ids)) == 267
    assert x[..., 0][instances > 0].mean() > 3 * x[..., 0][instances == 0].mean()

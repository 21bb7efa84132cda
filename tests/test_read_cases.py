"""Inputs that failed once, and what each must give."""

import pathlib

import numpy as np
import pytest

from npunet.data import read_mask, read_record, read_table

CASES = pathlib.Path(__file__).resolve().parents[2] / "shared" / "cases"
pytestmark = pytest.mark.skipif(not (CASES / "README.md").is_file(), reason="no ../shared/cases here")


def discs():
    """Instance numbers (64, 64): nine discs of radius 8, row by row."""
    y, x = np.mgrid[:64, :64]
    numbers = np.zeros((64, 64), int)
    for number, (row, column) in enumerate(((r, c) for r in (12, 32, 52) for c in (12, 32, 52)), 1):
        numbers[(y - row) ** 2 + (x - column) ** 2 < 64] = number
    return numbers


@pytest.mark.parametrize("name", ["u8_0_255.png", "bit1.png", "u16png_instances.png", "npy_u16_inst.npy",
                                  "f32tif_0_1.tif", "palette_binary_white0.png"])
def test_masks_of_two_classes(name):
    labels = read_mask(CASES / "masks" / name, 2)
    assert labels.mean() == pytest.approx(0.424, abs=5e-4)
    np.testing.assert_array_equal(labels, discs() > 0)


def test_masks_of_three_classes():
    wanted = np.where(discs() > 0, 1 + discs() % 2, 0)
    np.testing.assert_array_equal(read_mask(CASES / "masks" / "u16_3class.png", 3), wanted)
    labels = read_mask(CASES / "masks" / "ignore255_3class.png", 3)
    np.testing.assert_array_equal(labels[labels != 255], wanted[labels != 255])
    assert np.count_nonzero(labels == 255) == 432


def test_a_jpeg_mask_is_cut_at_128_and_says_so():
    with pytest.warns(UserWarning, match="JPEG changes the numbers"):
        labels = read_mask(CASES / "masks" / "jpg_0_255_q75.jpg", 2)
    np.testing.assert_array_equal(labels, discs() > 0)


def test_records():
    first = read_record(CASES / "wfdb" / "a500")
    assert first.signal.std() == pytest.approx(0.1805, abs=5e-5) and first.fs == 500
    assert set(np.unique(first.labels)) == {0, 1, 2, 3}
    second = read_record(CASES / "wfdb" / "a1000")
    np.testing.assert_array_equal(second.labels, first.labels)
    np.testing.assert_array_equal(second.spans, first.spans)
    assert read_record(CASES / "wfdb" / "l2").signal.std() == pytest.approx(0.1805, abs=5e-5)
    cut = read_record(CASES / "wfdb" / "ng")
    assert np.count_nonzero(cut.labels) == 41 and cut.spans.tolist() == [[0, 1041]]
    np.testing.assert_array_equal(read_record(CASES / "wfdb" / "ms").signal, first.signal)
    unnamed = read_record(CASES / "wfdb" / "noname")
    assert len(unnamed.leads) == len(set(unnamed.leads)) == 2
    np.testing.assert_array_equal(unnamed.signal[0], first.signal[0])


def test_tables():
    plain, fs, _ = read_table(CASES / "csv" / "plain.csv")
    assert plain.shape == (1, 5000) and fs is None
    for name, wanted_fs, names in (("decimal_comma_one", None, None), ("time_col", 500, ("ECG",)),
                                   ("rdsamp", 500, ("MLII",)), ("head_spaces_semi", None, ("Lead II", "Lead V1")),
                                   ("blank_cells", None, ("a", "b"))):
        signal, fs, found = read_table(CASES / "csv" / f"{name}.csv")
        assert fs == wanted_fs and (names is None or found == names) and signal.shape == (len(found), 5000)
        np.testing.assert_array_equal(signal[0], plain[0])
        if len(found) == 2:
            missing = np.arange(5000) % 100 == 0 if name == "blank_cells" else np.zeros(5000, bool)
            np.testing.assert_array_equal(signal[1], np.where(missing, np.nan, -plain[0]))

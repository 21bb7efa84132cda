"""From files to batches: reading, splitting, sampling, and batches that do not depend on timing."""

import functools
import threading
import time
import warnings

import numpy as np
import pytest

from npunet.data import ecg, pictures, read_record, recordings
from npunet.data.batches import ahead, batch_generator
from npunet.data.prepare import Preparation, settled
from npunet.data.recordings import IGNORE, Recording
from npunet.data.sampling import PictureSampler, SignalSampler, balanced_weights, class_shares
from npunet.data.split import split_subjects

PREPARATION = Preparation()


# --- reading ---

def write_record(folder, name, signals, fs=500.0, marks=(), fmt="16"):
    """A WFDB record by the wfdb package: signals (L, leads), and the same marks on every lead."""
    wfdb = pytest.importorskip("wfdb", reason="the extra 'ecg' is not installed")
    leads = ["i", "avl"][: signals.shape[1]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")                                      # wfdb uses what pandas gives up
        wfdb.wrsamp(name, fs, ["mV"] * len(leads), leads, signals, fmt=[fmt] * len(leads), write_dir=str(folder))
        for lead in leads if marks else ():
            at, symbols = zip(*marks, strict=True)
            wfdb.wrann(name, lead, np.array(at), list(symbols), write_dir=str(folder))


MARKS = ((700, "("), (730, "p"), (760, ")"), (820, "("), (850, "N"), (880, ")"), (1100, "("), (1200, "t"), (1300, ")"),
         (4000, "("), (4030, "N"), (4050, ")"))  # the long pause needs a SKIP


@pytest.fixture
def folder(tmp_path, rng):
    """A folder as LUDB's: three records, the last without annotations."""
    (tmp_path / "data").mkdir()
    for name in "123":
        signals = rng.standard_normal((5000, 2)).cumsum(0) / 50
        write_record(tmp_path / "data", name, signals, marks=MARKS if name != "3" else ())
    (tmp_path / "RECORDS").write_text("data/1\ndata/2\ndata/3\n")
    return tmp_path


def test_damaged_files_are_named(folder):
    path = folder / "data" / "1.i"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match=r"1\.i is an annotation that cannot be read: it is cut short"):
        read_record(folder / "data" / "1")
    data = folder / "data" / "2.dat"
    data.write_bytes(data.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"2 is a WFDB record .* 2\.dat has 19900 bytes .* cut short"):
        read_record(folder / "data" / "2")


def test_a_broken_record_does_not_stop_a_folder(folder):
    (folder / "data" / "1.hea").write_text("1 2 500 many\n")
    with pytest.warns(UserWarning, match=r"1 of 3 records of .* are left out: .*1\.hea is a WFDB header .*'many'"):
        found = recordings.read_recordings(folder, PREPARATION)
    assert [each.name for each in found] == ["2"]
    (folder / "data" / "2.dat").unlink()
    with pytest.raises(ValueError, match=r"no annotated record.*cannot be read: .*1\.hea.*; .*2\.dat is missing"):
        recordings.read_recordings(folder, PREPARATION)


def test_a_record_that_is_listed_and_not_there_is_told(folder):
    (folder / "RECORDS").write_text("data/1\ndata/7\ndata/2\n")
    with pytest.warns(UserWarning, match=r"1 of 3 records of .* no WFDB record .*7"):
        assert [each.name for each in recordings.read_recordings(folder, PREPARATION)] == ["1", "2"]


def test_recordings_are_prepared_and_labelled_inside_the_span(folder):
    found = recordings.read_recordings(folder, PREPARATION)
    assert [each.name for each in found] == ["1", "2"], "the third has no annotations"
    first = found[0]
    assert first.x.shape == first.labels.shape == (2, 1000) and first.x.dtype == np.float32
    assert first.marks.shape == first.raw.shape == (2, 5000)
    assert set(np.unique(first.marks)) == {0, 1, 2, 3, IGNORE}
    known = np.flatnonzero(first.marks[0] != IGNORE)
    assert (known[0], known[-1]) == (700, 4050)
    np.testing.assert_array_equal(first.labels, first.marks[:, ::5])
    np.testing.assert_allclose(first.x, ecg.preprocess(first.raw, 500), atol=2**-11 + 1e-6)
    only_qrs = recordings.read_recordings(folder, PREPARATION, {2: 1})
    np.testing.assert_array_equal(only_qrs[0].marks == 1, first.marks == 2)


def test_a_folder_of_each_subject_makes_the_subject(tmp_path, rng):
    for person in ("ann", "bob"):
        (tmp_path / person).mkdir()
        for name in ("x", "y"):
            write_record(tmp_path / person, name, rng.standard_normal((5000, 1)), marks=MARKS)
    (tmp_path / "RECORDS").write_text("ann/x\nann/y\nbob/x\nbob/y\n")
    assert recordings.subjects(recordings.read_recordings(tmp_path, PREPARATION)) == ["ann", "bob"]


def test_preparation_reads_heartkits_steps():
    params = {"lowcut": 1.0, "highcut": 30, "order": 3, "forward_backward": True, "axis": 0}
    steps = [{"name": "filter", "params": params}, {"name": "znorm", "params": {"eps": 0.01, "axis": None}}]
    assert Preparation.from_steps(100, steps) == PREPARATION
    assert Preparation.from_dict(PREPARATION.to_dict()) == PREPARATION
    assert Preparation.from_steps(100, []) == Preparation(100, None, 3, None)
    for wrong in ([{"name": "filters"}], [{"name": "filter", "params": {"lowcut": 1, "highcut": 60}}],
                  [{"name": "filter", "params": {"lowcut": 1, "highcut": 30, "forward_backward": False}}]):
        with pytest.raises(ValueError):
            Preparation.from_steps(100, wrong)


def test_settled_values_do_not_feel_the_last_bits(rng):
    x = rng.standard_normal(5000)
    np.testing.assert_array_equal(settled(x), settled(x * (1 + 1e-15)))
    assert np.abs(settled(x) - x).max() <= 2**-11


def test_pictures_from_a_folder_and_from_an_npz(tmp_path, rng):
    x = rng.random((3, 20, 24)).astype(np.float32)
    inst = rng.integers(0, 4, (3, 20, 24))
    np.savez(tmp_path / "set.npz", x=x, inst=inst, ids=np.array(["a", "b", "c"]))
    made = pictures.read_pictures(tmp_path, 1, 2)
    assert [each.name for each in made] == ["a", "b", "c"]
    np.testing.assert_array_equal(made[1].labels, inst[1] > 0)
    np.testing.assert_array_equal(made[1].instances, inst[1])
    with pytest.raises(ValueError, match="a: the mask holds class 3, the network has 3 classes"):
        pictures.read_pictures(tmp_path / "set.npz", 1, 3)
    for part in ("images", "masks"):
        (tmp_path / "own" / part).mkdir(parents=True)
    for number in range(2):
        np.save(tmp_path / "own" / "images" / f"{number}.npy", x[number])
        np.save(tmp_path / "own" / "masks" / f"{number}.npy", inst[number])
    own = pictures.read_pictures(tmp_path / "own", 1, 4)
    np.testing.assert_array_equal(own[1].labels, inst[1])
    (tmp_path / "own" / "masks" / "1.npy").unlink()
    with pytest.raises(FileNotFoundError, match=r"1\.npy has no mask"):
        pictures.read_pictures(tmp_path / "own", 1, 4)


# --- splitting and sampling ---

def test_no_subject_is_in_two_parts():
    names = [f"s{number}" for number in range(37)] * 2
    parts = split_subjects(names, 0.1, 0.25, seed=3)
    assert [len(parts[part]) for part in ("train", "validation", "test")] == [24, 4, 9]
    assert sorted(name for who in parts.values() for name in who) == sorted(set(names))
    assert parts == split_subjects(reversed(names), 0.1, 0.25, seed=3) != split_subjects(names, 0.1, 0.25, seed=4)
    assert [len(who) for who in split_subjects(names, 5, 2).values()] == [30, 5, 2]
    assert [len(who) for who in split_subjects(names, 0, 0).values()] == [37, 0, 0]
    with pytest.raises(ValueError, match="nobody is left"):
        split_subjects(names[:2], 0.5, 0.5)


def recording(labels, name="r"):
    """A recording whose signal tells lead and position: x = 1000 * lead + sample."""
    labels = np.asarray(labels, np.uint8)
    x = np.arange(labels.shape[1], dtype=np.float32) + 1000 * np.arange(len(labels), dtype=np.float32)[:, None]
    return Recording(name, name, tuple("ab"[: len(labels)]), x, labels, 100.0, labels, x)


def test_windows_stay_in_the_span_and_each_class_is_seen():
    labels = np.full((2, 500), IGNORE)
    labels[:, 100:400] = 0
    labels[0, 150:160] = 1
    labels[1, 390:400] = 2                                                   # at the very end, on one lead
    sampler = SignalSampler([recording(labels)], 64, 3)
    for seed in range(30):
        x, y = sampler.batch(8, batch_generator(5, seed))
        assert x.shape == (8, 64, 1) and y.shape == (8, 64) and x.dtype == np.float32
        assert set(np.unique(y)) == {0, 1, 2}, "every class is seen, and nothing outside of the span"
        lead, at = np.divmod(x[..., 0].astype(int), 1000)
        np.testing.assert_array_equal(y, labels[lead, at])
        assert (np.diff(at) == 1).all()
    starts = {int(sampler.batch(8, batch_generator(6, seed))[0][1, 0, 0]) for seed in range(200)}
    assert min(starts) == 100 and max(starts) > 145, "a class is seen anywhere in the window"


def test_a_window_longer_than_the_span_ignores_the_rest():
    labels = np.full((1, 60), IGNORE)
    labels[0, 20:40] = [0, 1] * 10
    x, y = SignalSampler([recording(labels)], 100, 2).batch(6, batch_generator(0, 0))
    assert x.shape == (6, 100, 1)
    assert ((y == IGNORE).sum(1) == 80).all() and ((y == 1).sum(1) == 10).all()


def test_stretched_windows_keep_labels_with_their_samples():
    labels = np.zeros((1, 800))
    labels[0, 300:500] = 1
    paces = set()
    for seed in range(20):
        x, y = SignalSampler([recording(labels)], 101, 2, stretch=(0.5, 2.0)).batch(3, batch_generator(9, seed))
        np.testing.assert_allclose(np.diff(x[..., 0], 2, axis=1), 0, atol=2e-3)   # still a straight line
        paces |= set(np.round(np.diff(x[..., 0]).mean(1), 1).tolist())
        at = x[..., 0]
        inside = (at > 301) & (at < 498), (at < 298) | (at > 501)
        assert (y[inside[0]] == 1).all() and (y[inside[1]] == 0).all()
    assert min(paces) < 0.8 and max(paces) > 1.6


def test_crops_see_every_class_and_small_images_are_mirrored(rng):
    labels = np.zeros((40, 30), np.uint8)
    labels[35:, 25:] = 1
    image = np.stack([labels, labels * 0.5], -1).astype(np.float32)
    sampler = PictureSampler([pictures.Picture("p", "p", image, labels)], (16, 32), 2)
    for seed in range(20):
        x, y = sampler.batch(3, batch_generator(1, seed))
        assert x.shape == (3, 16, 32, 2) and y.shape == (3, 16, 32)
        np.testing.assert_array_equal(x[..., 0], y)
        assert (y[1] == 1).any() and (y == 0).any()


def test_a_class_that_nobody_has_is_named():
    with pytest.raises(ValueError, match="class 2"):
        SignalSampler([recording(np.array([[0, 1] * 50]))], 32, 3)


def test_balanced_weights_by_hand():
    shares = class_shares([np.array([0, 0, 0, 1, IGNORE]), np.array([[0, 0], [0, 1]])], 2)
    np.testing.assert_allclose(shares, [0.75, 0.25])
    np.testing.assert_allclose(balanced_weights(shares), [2 / 3, 2])


# --- batches ahead ---

def test_batches_do_not_depend_on_timing():
    def make(index, pause=0.0):
        time.sleep(pause)
        return batch_generator(7, index).random(3).tolist()

    quick = list(ahead(make, 3, 9))
    assert [index for index, _ in quick] == list(range(3, 9))
    assert quick == list(ahead(functools.partial(make, pause=0.003), 3, 9, depth=1))
    assert quick[2:] == list(ahead(make, 5, 9)), "a run that begins later sees the same batches"
    assert list(ahead(make, 4, 4)) == []


def test_an_error_comes_out_at_its_batch_and_the_thread_ends():
    def make(index):
        if index == 2:
            raise ValueError("batch 2 is bad")
        return index

    before, seen = threading.active_count(), []
    with pytest.raises(ValueError, match="batch 2 is bad"):
        for index, _ in ahead(make, 0, 9):
            seen.append(index)
    assert seen == [0, 1] and threading.active_count() == before

"""npunet predict: segment() itself, written as the suffix says, for one file or a folder."""

import csv
import json
import os
import pathlib
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from npunet import UNet, cli, pretrained
from npunet.data import VARIABLE, read_record
from npunet.data.prepare import Preparation
from npunet.data.synthetic import synthetic_ecg, synthetic_nuclei
from npunet.segment import Segmenter
from npunet.segment.taught import Taught

CLASSES = ("none", "P", "QRS", "T")
FS = 360


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test runs in an empty folder and without real data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)


def record(name="rec", seed=3, seconds=8, leads=("I", "II")):
    """A WFDB record of synthetic ECGs; returns what a reader gives, in mV."""
    counts = np.stack([np.rint(1000 * synthetic_ecg(seconds, FS, seed=seed + n)[0]) for n in range(len(leads))])
    stored = counts.astype("<i2")
    lines = [f"{name}.dat 16 1000(0)/mV 16 0 {row[0]} {int(row.astype(int).sum()) & 0xFFFF} 0 {lead}"
             for row, lead in zip(stored, leads, strict=True)]
    path = pathlib.Path(name)
    path.with_name(f"{path.name}.hea").write_text("\n".join([f"{path.name} {len(leads)} {FS} {stored.shape[1]}",
                                                             *(line.replace(name, path.name) for line in lines), ""]))
    path.with_name(f"{path.name}.dat").write_bytes(stored.T.tobytes())
    return read_record(name).signal


@pytest.fixture
def nuclei():
    """A saved network of images with random weights that says something."""
    block = {"filters": 4, "depth": 1, "kernel": 3, "pool": 2, "strides": 2}
    network = UNet({"blocks": [block], "output_kernel_size": 3}, (32, 32, 1), 2, seed=1)
    model = Segmenter(network, ("background", "nucleus"), None)
    model.save("nuclei.npz")
    return model


@pytest.fixture(scope="module")
def ecg():
    """The trained network that comes along."""
    return pretrained("ecg-trained")


@pytest.fixture
def rdann():
    """wfdb's reader of annotations; its warnings are about the packages that it uses."""
    wfdb = pytest.importorskip("wfdb")

    def read(*arguments):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return wfdb.rdann(*arguments)

    return read


def run(*arguments):
    assert cli.main(["predict", *map(str, arguments)]) == 0


def refused(capsys, *arguments):
    capsys.readouterr()
    assert cli.main(["predict", *map(str, arguments)]) == 2
    message = capsys.readouterr().err
    assert message.startswith("npunet: error: ") and message.count("\n") == 1
    return message


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def runs_of(labels):
    """The waves of (leads, L), sample by sample: (lead, class, first, last)."""
    found = []
    for lead, row in enumerate(labels.tolist()):
        for at, label in enumerate(row):
            if label and at and row[at - 1] == label:
                found[-1][3] = at
            elif label:
                found.append([lead, label, at, at])
    return [tuple(each) for each in found]


class TestOneProcedure:
    """The command line gives segment()'s labels, at the input's rate, whatever the file."""

    def test_of_a_record(self, ecg):
        signal = record()
        run("ecg-trained", "rec")
        np.testing.assert_array_equal(np.load("rec_labels.npy"), ecg.segment(signal, FS))
        run("ecg-trained", "rec.hea", "--leads", "ii", "-o", "ii.npz")
        with np.load("ii.npz") as got:
            np.testing.assert_array_equal(got["labels"], ecg.segment(signal[1:], FS))
            assert (got["fs"], got["rows"].tolist(), got["class_names"].tolist()) == (FS, ["II"], list(CLASSES))

    def test_of_arrays_and_tables(self, ecg):
        signal = record().astype(np.float64)
        expected = ecg.segment(signal, FS)
        np.save("x.npy", signal)
        np.savetxt("x.csv", signal.T, "%.18g", ",", header="I,II", comments="")
        times = np.column_stack([np.arange(signal.shape[1]) / FS, signal.T])
        np.savetxt("t.csv", times, "%.18g", ",", header="time (s),I,II", comments="")
        for name, *options in (("x.npy", "--fs", FS), ("x.csv", "--fs", FS), ("t.csv",)):
            run("ecg-trained", name, *options, "-o", "y.npy")
            np.testing.assert_array_equal(np.load("y.npy"), expected)

    def test_probabilities_are_those_behind_the_labels(self, ecg):
        signal = record()
        for output in ("logits", "probabilities"):
            run("ecg-trained", "rec", "--output", output)
        logits, probabilities = np.load("rec_logits.npy"), np.load("rec_probabilities.npy")
        np.testing.assert_array_equal(logits, ecg.segment_with_logits(signal, FS)[1])
        np.testing.assert_allclose(probabilities, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), rtol=1e-5)

    def test_gaps_are_none_both_ways(self, ecg):
        signal = record().astype(np.float64)
        signal[0, 500:700] = signal[1, 900:] = np.nan
        np.save("gaps.npy", signal)
        run("ecg-trained", "gaps.npy", "--fs", FS)
        labels = np.load("gaps_labels.npy")
        np.testing.assert_array_equal(labels, ecg.segment(signal, FS))
        assert not labels[np.isnan(signal)].any() and labels[0].any()

    def test_of_images(self, nuclei):
        image_module = pytest.importorskip("PIL.Image")
        image, _ = synthetic_nuclei((45, 67), seed=2)
        pixels = (image * 4095).astype(np.uint16)
        image_module.fromarray(pixels).save("n.tif")
        run("nuclei.npz", "n.tif")
        from npunet.data.images import read_image, standardise
        np.testing.assert_array_equal(np.load("n_labels.npy"), nuclei.mask(standardise(read_image("n.tif"))))
        run("nuclei.npz", "n.tif", "--views", 1, "-o", "one.npy")
        np.testing.assert_array_equal(np.load("one.npy"), nuclei.mask(standardise(read_image("n.tif")), 1))


class TestStretches:
    def test_a_stretch_counts_from_the_start_and_knows_its_surroundings(self):
        record(seconds=11)
        run("ecg-trained", "rec", "-o", "whole.npy")
        run("ecg-trained", "rec", "--from", "2.5", "--to", "6", "-o", "part.npy")
        part, first = np.load("part.npy"), round(2.5 * FS)
        np.testing.assert_array_equal(part, np.load("whole.npy")[:, first : 6 * FS])
        run("ecg-trained", "rec", "--from", "2.5", "--to", "6", "-o", "part.csv", "--picture", "part.svg")
        waves = [(("I", "II").index(row["lead"]), CLASSES.index(row["class"]), int(row["onset_sample"]) - first,
                  int(row["offset_sample"]) - first) for row in rows("part.csv")]
        assert waves == runs_of(part)
        assert {"3", "5", "seconds"} <= {element.text for element in ElementTree.parse("part.svg").iter()}

    @pytest.mark.parametrize(("told", "given"), [
        ("is no stretch of a recording of 8 s", ("--from", "8")),
        ("is no stretch of a recording of 8 s", ("--from", "3", "--to", "3")),
        ("argument --to: -1 must be above 0", ("--to", "-1")),
        ("argument --from: nan must be finite", ("--from", "nan")),
        ("argument --from: -1 must not be negative", ("--from", "-1"))])
    def test_what_is_no_stretch_is_refused(self, told, given, capsys):
        record()
        assert told in refused(capsys, "ecg-trained", "rec", *given)

    def test_arrays_without_a_rate_have_no_seconds(self, capsys):
        np.save("x.npy", np.zeros((1, 32, 1)))
        assert "add --fs HZ" in refused(capsys, "tiny", "x.npy", "--from", "1")


class TestRates:
    def test_a_trained_network_is_not_run_without_the_rate(self, capsys):
        signal, _ = synthetic_ecg(3, FS)
        np.save("x.npy", signal)
        np.savetxt("x.csv", signal)
        for name, way_out in (("x.npy", "add --fs HZ"), ("x.csv", "--time")):
            message = refused(capsys, "ecg-trained", name)
            assert "does not tell its sampling rate" in message and way_out in message
        assert not pathlib.Path("x_labels.npy").exists()
        run("ecg-trained", "x.npy", "--raw")
        assert np.load("x_labels.npy").shape == (1, len(signal))

    def test_the_way_out_is_told_as_this_command_takes_it(self, capsys):
        signal, _ = synthetic_ecg(3, FS)
        np.savetxt("x.csv", signal, header="II (mV)", comments="")
        message = refused(capsys, "ecg-trained", "x.csv", "--time", "II")
        assert "--time none" in message and "False" not in message
        run("ecg-trained", "x.csv", "--time", "none", "--fs", str(FS))

    def test_a_spreadsheet_is_to_be_saved_as_a_table(self, capsys):
        pathlib.Path("x.xlsx").write_bytes(b"PK")
        assert refused(capsys, "ecg-trained", "x.xlsx").rstrip().endswith("save the sheet as .csv")

    def test_a_rate_that_contradicts_the_file_is_refused(self, capsys):
        record()
        assert "says itself that it has 360 samples a second" in refused(capsys, "ecg-trained", "rec", "--fs", "250")
        run("ecg-trained", "rec", "--fs", "360")

    @pytest.mark.parametrize("fs", ["0", "-5", "nan", "inf", "1e300"])
    def test_absurd_rates_are_refused(self, fs, capsys):
        np.save("x.npy", np.sin(np.arange(900)))
        told = refused(capsys, "ecg-trained", "x.npy", "--fs", fs)
        assert "must be samples per second" in told or f"argument --fs: {fs} must be" in told


class TestWritten:
    def test_waves_in_a_table(self):
        record(seconds=6)
        run("ecg-trained", "rec")
        run("ecg-trained", "rec", "-o", "waves.csv")
        table = rows("waves.csv")
        assert list(table[0]) == ["onset_s", "offset_s", "class", "lead", "onset_sample", "offset_sample"]
        assert [(("I", "II").index(row["lead"]), CLASSES.index(row["class"]), int(row["onset_sample"]),
                 int(row["offset_sample"])) for row in table] == runs_of(np.load("rec_labels.npy"))
        for row in table:
            for edge in ("onset", "offset"):
                assert float(row[f"{edge}_s"]) == pytest.approx(int(row[f"{edge}_sample"]) / FS, abs=1e-6)

    def test_an_annotation_that_wfdb_reads(self, rdann):
        signal = record(seconds=20)
        run("ecg-trained", "rec", "-o", "labels.npy", "--annotations", "npu")
        found = rdann("rec", "npu")
        waves = runs_of(np.load("labels.npy"))
        symbols = {1: "p", 2: "N", 3: "t"}
        for lead in (0, 1):
            marks = [(int(at), symbol) for at, symbol, channel in
                     zip(found.sample, found.symbol, found.chan, strict=True) if channel == lead]
            mine = [wave for wave in waves if wave[0] == lead]
            assert [mark for mark in marks if mark[1] == "("] == [(first, "(") for _, _, first, _ in mine]
            assert [mark for mark in marks if mark[1] == ")"] == [(last, ")") for _, _, _, last in mine]
            peaks = [mark for mark in marks if mark[1] not in "()"]
            assert [symbol for _, symbol in peaks] == [symbols[label] for _, label, _, _ in mine]
            for (at, symbol), (_, _, first, last) in zip(peaks, mine, strict=True):
                assert first <= at <= last
                if symbol == "N" and first > 0 and last < signal.shape[1] - 1:
                    assert abs(at - first - int(np.argmax(np.abs(signal[lead, first : last + 1])))) <= 2

    def test_the_package_reads_back_its_own_annotation(self):
        record(seconds=20)
        run("ecg-trained", "rec", "--leads", "II", "--annotations", "ii")
        run("ecg-trained", "rec", "--leads", "II", "-o", "labels.npy")
        again = read_record("rec", ["II"])
        np.testing.assert_array_equal(again.labels, np.load("labels.npy"))

    def test_an_annotation_of_a_table_tells_its_rate(self, rdann):
        np.save("x.npy", synthetic_ecg(5, FS)[0])
        run("ecg-trained", "x.npy", "--fs", FS, "--annotations", "npu")
        assert rdann("x", "npu").fs == FS and not pathlib.Path("x_labels.npy").exists()

    def test_an_annotation_beside_its_record_is_not_overwritten(self, capsys):
        record()
        pathlib.Path("rec.atr").write_bytes(b"a cardiologist's work")
        assert "is there already" in refused(capsys, "ecg-trained", "rec", "--annotations", "atr")
        assert pathlib.Path("rec.atr").read_bytes() == b"a cardiologist's work"

    def test_no_waves_are_an_empty_annotation(self, rdann):
        from npunet.formats.wfdb_annotation import Mark, write_annotation
        write_annotation("e.npu", [])
        assert pathlib.Path("e.npu").read_bytes() == b"\0\0"
        far = [Mark(5, "(", 0), Mark(70_000, "N", 1), Mark(70_000, ")", 1), Mark(2**31 - 1, '"', 0, "odd")]
        write_annotation("f.npu", far)
        found = rdann("f", "npu")
        assert found.sample.tolist() == [mark.sample for mark in far]
        assert found.symbol == [mark.symbol for mark in far] and found.chan.tolist() == [0, 1, 1, 0]
        assert found.aux_note[3] == "odd"
        with pytest.raises(ValueError, match="cannot follow"):
            write_annotation("g.npu", far[::-1])

    @pytest.mark.parametrize("suffix", [".png", ".tif", ".tiff"])
    def test_label_images(self, nuclei, suffix):
        image_module = pytest.importorskip("PIL.Image")
        image, _ = synthetic_nuclei((45, 67), seed=2)
        image_module.fromarray((image * 255).astype(np.uint8)).save("n.png")
        run("nuclei.npz", "n.png", "-o", f"mask{suffix}")
        run("nuclei.npz", "n.png")
        with image_module.open(f"mask{suffix}") as got:
            np.testing.assert_array_equal(np.asarray(got), np.load("n_labels.npy")[0])

    def test_pages_stay_pages_and_a_png_has_one(self, nuclei, capsys):
        image_module = pytest.importorskip("PIL.Image")
        pages = [image_module.fromarray((synthetic_nuclei((40, 36), seed=seed)[0] * 255).astype(np.uint8))
                 for seed in (1, 2, 3)]
        pages[0].save("stack.tif", save_all=True, append_images=pages[1:])
        run("nuclei.npz", "stack.tif", "-o", "mask.tif")
        run("nuclei.npz", "stack.tif")
        with image_module.open("mask.tif") as got:
            for page, labels in enumerate(np.load("stack_labels.npy")):
                got.seek(page)
                np.testing.assert_array_equal(np.asarray(got), labels)
        assert "a PNG holds one image, the input has 3" in refused(capsys, "nuclei.npz", "stack.tif", "-o", "mask.png")

    def test_instances_are_numbered_counted_and_measured(self, nuclei, capsys):
        ndimage = pytest.importorskip("scipy.ndimage")
        image_module = pytest.importorskip("PIL.Image")
        image, _ = synthetic_nuclei((120, 130), seed=5)
        image_module.fromarray((image * 255).astype(np.uint8)).save("n.png")
        for out in ("i.npy", "i.tif", "i.png", "i.csv"):
            run("nuclei.npz", "n.png", "--instances", "--smallest", 4, "-o", out)
        run("nuclei.npz", "n.png", "-o", "classes.npy")
        numbers, labels = np.load("i.npy")[0], np.load("classes.npy")[0]
        found, _ = ndimage.label(labels)
        sizes = np.bincount(found.ravel())[1:]
        assert numbers.max() == (sizes >= 4).sum() > 0
        np.testing.assert_array_equal(numbers > 0, np.isin(found, 1 + np.flatnonzero(sizes >= 4)))
        assert f"objects {numbers.max()}\n" in capsys.readouterr().out
        for name in ("i.tif", "i.png"):
            with image_module.open(name) as got:
                np.testing.assert_array_equal(np.asarray(got), numbers)
        table = rows("i.csv")
        assert [int(row["object"]) for row in table] == list(range(1, numbers.max() + 1))
        for row in table:
            here = np.argwhere(numbers == int(row["object"]))
            assert (int(row["pixels"]), row["class"], row["image"]) == (len(here), "nucleus", "n.png")
            np.testing.assert_allclose([float(row["row"]), float(row["column"])], here.mean(0), atol=0.01)
            assert [int(row[edge]) for edge in ("top", "left", "bottom", "right")] == [*here.min(0), *here.max(0) + 1]

    def test_many_objects_need_more_bits(self):
        image_module = pytest.importorskip("PIL.Image")
        from npunet.formats.label_image import write_label_image
        for largest in (255, 256, 65_535, 65_536):
            labels = np.arange(6).reshape(1, 2, 3)
            labels[0, 1, 2] = largest
            write_label_image("l.tif", labels)
            with image_module.open("l.tif") as got:
                np.testing.assert_array_equal(np.asarray(got), labels[0])
        with pytest.raises(ValueError, match="up to 65,536; write a"):
            write_label_image("l.png", labels)


class TestRefusedBeforeComputing:
    @pytest.fixture(autouse=True)
    def nobody_computes(self, monkeypatch):
        for name in ("segment", "segment_with_logits", "mask", "mask_logits"):
            monkeypatch.setattr(Segmenter, name, lambda *_, **__: pytest.fail("computed"))

    @pytest.mark.parametrize(("given", "told"), [
        (("-o", "y.xyz"), "the suffix '.xyz' is none of .npy, .npz, .csv"),
        (("-o", "y.png"), "for a picture of a signal use --picture"),
        (("-o", "y"), "its suffix decides the format"),
        (("--format", "mat"), "the suffix '.mat' is none of"),
        (("-o", "no/y.npy"), "the folder"),
        (("-o", "y.csv", "--output", "logits"), "it holds labels"),
        (("--annotations", "a b"), "is no name of an annotator"),
        (("--annotations", "hea"), "is no name of an annotator"),
        (("--annotations", "npu", "--output", "probabilities"), "holds labels, not probabilities"),
        (("--instances",), "the network takes signals"),
        (("--picture", "no/y.svg"), "the folder"),
        (("--picture", "y.gif"), "the suffix must be .png or .svg"),
        (("--leads", "x"), "it has I, II"),
        (("--index", "7"), "--index 7 is not there"),
        (("--rate", "50"), "the network was trained at 100 Hz"),
    ])
    def test_of_signals(self, given, told, capsys):
        record()
        assert told in refused(capsys, "ecg-trained", "rec", *given)
        assert set(os.listdir()) == {"rec.hea", "rec.dat"}

    @pytest.mark.parametrize(("given", "told"), [
        (("-o", "y.csv"), "add --instances"),
        (("-o", "y.svg"), "for a picture use --picture"),
        (("-o", "y.jpg"), "the suffix '.jpg' is none of .npy, .npz, .png, .tif, .tiff, .csv"),
        (("-o", "y.tif", "--output", "probabilities"), "it holds labels"),
        (("--instances", "--output", "logits"), "goes with no --output logits"),
        (("--smallest", "0"), "must be at least 1"),
        (("--annotations", "npu"), "the network takes images"),
    ])
    def test_of_images(self, given, told, nuclei, capsys):
        np.save("x.npy", np.zeros((16, 16)))
        assert told in refused(capsys, "nuclei.npz", "x.npy", *given)

    def test_over_what_is_read(self, nuclei, capsys):
        image_module = pytest.importorskip("PIL.Image")
        image_module.fromarray(np.zeros((16, 16), np.uint8)).save("x.png")
        before = pathlib.Path("x.png").read_bytes(), pathlib.Path("nuclei.npz").read_bytes()
        for given in (("-o", "x.png"), ("-o", "nuclei.npz"), ("--picture", "x.png")):
            assert "would be written over itself" in refused(capsys, "nuclei.npz", "x.png", *given)
        assert before == (pathlib.Path("x.png").read_bytes(), pathlib.Path("nuclei.npz").read_bytes())

    def test_a_table_that_does_not_tell_names_the_options_of_the_command(self, capsys):
        pathlib.Path("x.csv").write_text("made by hand\n" * 4 + "".join(f"{n * n % 7}\n" for n in range(40)))
        message = refused(capsys, "ecg-trained", "x.csv", "--fs", "500")
        assert "--skip-rows" in message and "read_table" not in message and "=" not in message

    def test_without_permission(self, monkeypatch, capsys):
        record()
        pathlib.Path("closed").mkdir()
        access = os.access
        monkeypatch.setattr(os, "access", lambda path, mode: pathlib.Path(path).name != "closed" and access(path, mode))
        assert "no permission to write into" in refused(capsys, "ecg-trained", "rec", "-o", "closed/y.npy")

    def test_what_a_folder_of_inputs_cannot_be_written_to(self, capsys):
        pathlib.Path("in").mkdir()
        assert "holds no WFDB records" in refused(capsys, "ecg-trained", "in", "-o", "out")
        record("in/rec")
        assert "is the folder of the inputs" in refused(capsys, "ecg-trained", "in", "-o", "in")
        assert "it names a folder; --format .csv" in refused(capsys, "ecg-trained", "in", "-o", "all.csv")
        assert "for a folder of inputs it is svg or png" in refused(capsys, "ecg-trained", "in", "--picture", "x.svg")
        assert "does not exist" in refused(capsys, "ecg-trained", "in", "-o", "a/b")
        assert not pathlib.Path("out").exists()


class TestFolders:
    def test_of_records_one_of_them_broken(self, capsys):
        pathlib.Path("in").mkdir()
        expected = {name: pretrained("ecg").segment(record(f"in/{name}", seed), FS)
                    for seed, name in enumerate(("a", "b.1"))}
        record("in/broken")
        pathlib.Path("in/broken.dat").write_bytes(b"short")
        pathlib.Path("in/notes.csv").write_text("x")
        assert cli.main(["predict", "ecg-trained", "in", "-o", "out", "--format", "npy", "--picture", "svg"]) == 2
        told = capsys.readouterr()
        assert set(os.listdir("out")) == {"a_labels.npy", "a.svg", "b.1_labels.npy", "b.1.svg"}
        for name, labels in expected.items():
            np.testing.assert_array_equal(np.load(f"out/{name}_labels.npy"), labels)
        assert "done    2 of 3 inputs, in out" in told.out and "passed  1 others: notes.csv" in told.out
        assert told.err.startswith("npunet: error: 1 of 3 inputs could not be run: in/broken is a WFDB record")

    def test_of_tables_becomes_tables(self):
        pathlib.Path("in").mkdir()
        for name in ("a", "b"):
            np.savetxt(f"in/{name}.csv", synthetic_ecg(4, FS)[0])
        run("ecg-trained", "in", "--fs", FS)
        assert set(os.listdir("in_labels")) == {"a_labels.csv", "b_labels.csv"}
        assert rows("in_labels/a_labels.csv") == rows("in_labels/b_labels.csv") != []

    def test_of_annotations(self):
        pathlib.Path("in").mkdir()
        for name in ("a", "b"):
            record(f"in/{name}")
        run("ecg-trained", "in", "-o", "out", "--annotations", "npu")
        assert set(os.listdir("out")) == {"a.npu", "b.npu"}

    def test_of_images_and_counts(self, nuclei):
        image_module = pytest.importorskip("PIL.Image")
        pathlib.Path("in").mkdir()
        for name, size in (("a.tif", (40, 50)), ("b.png", (33, 47)), ("a.png", (30, 30))):
            image, _ = synthetic_nuclei(size, seed=len(name))
            image_module.fromarray((image * 60_000).astype(np.uint16)).save(f"in/{name}")
        run("nuclei.npz", "in", "-o", "out", "--instances")
        assert set(os.listdir("out")) == {"a.png_instances.png", "a.tif_instances.tif", "b_instances.png", "counts.csv"}
        counts = {row["file"]: int(row["objects"]) for row in rows("out/counts.csv")}
        for name, made in (("a.tif", "a.tif_instances.tif"), ("b.png", "b_instances.png")):
            with image_module.open(f"out/{made}") as got:
                assert np.asarray(got).max() == counts[name]

    def test_listed_records_of_one_name_do_not_overwrite_each_other(self):
        for patient in ("p1", "p2"):
            pathlib.Path("in", patient).mkdir(parents=True)
            record(f"in/{patient}/rec", seed=len(patient))
        pathlib.Path("in/RECORDS").write_text("p1/rec\np2/rec\n")
        run("ecg-trained", "in", "-o", "out")
        assert set(os.listdir("out")) == {"p1_rec_labels.csv", "p2_rec_labels.csv"}


class TestNames:
    def test_one_name_for_each_in_messages_and_captions(self, capsys):
        record()
        run("ecg", "rec", "--picture", "random.svg")
        told = capsys.readouterr().out
        assert "network ecg, random weights" in told and "the weights are random: ecg describes" in told
        run("ecg-trained", "rec", "--picture", "trained.svg")
        assert "network ecg-trained: 35,405" in capsys.readouterr().out
        for name, caption in (("random", "rec: network ecg, random weights"), ("trained", "rec: network ecg-trained")):
            assert caption in {element.text for element in ElementTree.parse(f"{name}.svg").iter()}
        assert cli.main(["eval", "ecg", "--data", "."]) == 2
        assert "whose weights are random; the trained network is called ecg-trained" in capsys.readouterr().err
        assert cli.main(["summary", "ecg-trained"]) == 0
        assert cli.main(["summary", "ecg-trainde"]) == 2
        assert "there is no file ecg-trainde; the nearest name is 'ecg-trained'" in capsys.readouterr().err
        assert cli.main(["convert", "ecg-trained", "w.safetensors"]) == 0
        assert "no preset 'frob'" in refused(capsys, "frob", "rec")

    def test_a_file_goes_before_a_name(self, nuclei):
        os.rename("nuclei.npz", "ecg-trained")
        np.save("x.npy", np.random.default_rng(0).random((16, 16)))
        run("ecg-trained", "x.npy")
        assert np.load("x_labels.npy").shape == (1, 16, 16)


class TestTaught:
    def test_the_file_of_a_network_names_its_teachers(self):
        network = UNet({"blocks": [], "output_kernel_size": (1, 3)}, (8, 1), 4)
        model = Segmenter(network, CLASSES, Preparation(), Taught("here", ("a", "b"), ("c",)))
        model.save("m.npz")
        again = Segmenter.load("m.npz")
        assert again.taught == model.taught
        assert again.taught.among(["x", "y"]) == ""
        assert again.taught.among(["a", "c", "x"]) == (
            "of the 3 subjects scored, 1 taught this network, and 1 chose its epoch (by name, in here): scores on them "
            "flatter it")
        assert again.taught.among(["b"]).startswith("the subject scored taught this network")
        assert again.taught.among(["c"]).startswith("the subject scored chose this network's epoch")
        many = Segmenter(network, CLASSES, Preparation(), Taught("here", tuple(f"subject {n}" for n in range(9999))))
        many.save("many.npz")
        assert Segmenter.load("many.npz").taught is None

    def test_the_one_that_comes_along_learnt_from_its_card(self):
        taught = pretrained("ecg-trained").taught
        assert (len(taught.train), len(taught.validation)) == (144, 16)
        assert not set(taught.train) & set(taught.validation)
        assert "144\nto train on, 16 to choose the epoch by" in pretrained.card("ecg")

    def test_eval_says_so(self, capsys):
        pathlib.Path("data").mkdir()
        names = (*pretrained("ecg").taught.train[:2], "stranger")
        for name in names:
            record(f"data/{name}", leads=("ii",))
            run("ecg-trained", f"data/{name}", "-o", "data/", "--annotations", "ii")
        pathlib.Path("data/RECORDS").write_text("\n".join(names))
        capsys.readouterr()
        assert cli.main(["eval", "ecg-trained", "--data", "data", "-o", "scores"]) == 0
        out = capsys.readouterr().out
        assert "mind: of the 3 subjects scored, 2 taught this network (by name, in LUDB 1.0.1)" in out
        with open("scores/scores.json") as file:
            told = json.load(file)
        assert told["network"] == "ecg-trained" and told["taught"].startswith("of the 3 subjects scored, 2 taught")
        assert "network ecg-trained" in pathlib.Path("scores/picture.svg").read_text()


class TestPictures:
    def test_values_stand_on_an_axis_in_mv(self):
        signal = record()
        run("ecg-trained", "rec", "--picture", "p.svg")
        found = [element.text for element in ElementTree.parse("p.svg").iter()]
        assert "mV" in found
        numbers = [float(text) for text in found if text and text.replace(".", "").replace("-", "").isdigit()]
        assert any(number == pytest.approx(1, abs=0.01) for number in numbers) and signal.max() > 1

    @pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "utf-16"])
    def test_a_table_in_microvolts_stands_on_one_too(self, encoding):
        """A browser draws what the name says, in any encoding that the reader takes."""
        rows = [f"{1000 * value:.1f}" for value in record()[0]]
        pathlib.Path("t.csv").write_text("\n".join(["I [\u00b5V]", *rows]), encoding=encoding)
        run("ecg-trained", "t.csv", "--fs", FS, "--picture", "t.svg")
        assert "mV" in [element.text for element in ElementTree.parse("t.svg").iter()]

    def test_long_names_of_leads_have_room(self, monkeypatch):
        """The same picture with a short name and a long one: the left edge of the .png stays white in both."""
        pytest.importorskip("matplotlib")
        from PIL import Image

        from npunet.evaluate import plots
        for name in ("x", "Kanal MM", "WWWWWWWWWWWWWW"):
            picture = plots.signal_picture(np.zeros((1, 500)), np.zeros((1, 500), np.uint8), title="t", names=[name],
                                           class_names=CLASSES, rate=250, unit="mV")
            plots.save_signal("p.png", picture)
            assert np.asarray(Image.open("p.png").convert("L"))[:, :6].min() == 255, name

    def test_a_long_record_is_drawn_whole(self):
        from npunet.evaluate import plots
        from npunet.evaluate.signal_svg import POINTS
        values = np.zeros(3_000_000)
        values[2_999_990] = 5                                                # a spike at the very end
        labels = np.zeros(len(values), np.uint8)
        labels[::100] = 1
        picture = plots.signal_picture(values[None], labels[None], title="t", names=["x"], class_names=CLASSES,
                                       rate=250, unit="mV")
        assert len(picture.rows) <= plots.MAX_ROWS and "first" not in picture.title
        assert sum(len(row.values) for row in picture.rows) == len(values)
        plots.save_signal("long.svg", picture)
        assert os.path.getsize("long.svg") < 8_000_000
        root = ElementTree.parse("long.svg").getroot()
        assert len(root.findall(".//{*}polyline")) == len(picture.rows)
        last = root.findall(".//{*}polyline")[-1].get("points").split()
        highest = min(float(point.split(",")[1]) for point in last)
        assert next(point for point in last if float(point.split(",")[1]) == highest).startswith(
            f"{2_999_990 - picture.rows[-1].start + 0.5:g},")
        assert len(last) <= POINTS // len(picture.rows) + 4
        both = plots.signal_picture(np.stack([values, values]), np.stack([labels, labels]), title="t", names=["x", "y"],
                                    class_names=CLASSES, rate=250)
        assert [len(row.values) for row in both.rows] == [len(values)] * 2

    def test_a_gap_stays_a_gap(self):
        from npunet.evaluate import plots
        from npunet.evaluate.signal_svg import signal_svg
        for length in (500, 200_000):
            values = np.sin(np.arange(length) / 9)
            values[length // 4 : length // 2] = np.nan
            picture = plots.signal_picture(values[None], np.zeros((1, length), int), title="t", names=["x"],
                                           class_names="ab", row_length=length)
            lines = ElementTree.fromstring(signal_svg(picture)).findall(".//{*}polyline")
            at = [[float(point.split(",")[0]) for point in line.get("points").split()] for line in lines]
            assert len(at) == 2 and at[0][-1] <= length // 4 + 1 and at[1][0] >= length // 2 - 1
            nothing = plots.signal_picture(np.full((1, 9), np.nan), np.zeros((1, 9), int), title="t", names=["x"],
                                           class_names="ab")
            assert "polyline" not in signal_svg(nothing)

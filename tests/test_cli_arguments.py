"""What is typed is taken or refused, never taken for "not given": numbers out of range, empty words, idle options."""

import argparse
import json
import pathlib

import numpy as np
import pytest

from npunet import UNet, cli
from npunet.cli import values
from npunet.data import VARIABLE
from npunet.data.prepare import Preparation
from npunet.data.synthetic import synthetic_ecg
from npunet.segment import Segmenter

NUMBERS = (values.positive, values.not_negative, values.natural, values.counting, values.seed, values.byte_count)
ODD = ("0", "-1", "nan", "inf", "-inf", "1e999", "", "x", "1_0 0")
ZERO = {"seed", "index", "skip_rows", "begin", "level", "time_limit"}  # where 0 means something
BLOCK = {"filters": 3, "kernel": [1, 3], "pool": [1, 2], "strides": [1, 2]}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)


def options():
    """(verb, parser, option) of every option of every verb."""
    verbs = next(action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction))
    return [(name, parser, action) for name, parser in verbs.choices.items() for action in parser._actions
            if action.option_strings and not isinstance(action, argparse._HelpAction)]


EVERY = options()


def refused(capsys, *arguments):
    """Run what must fail; its one line."""
    capsys.readouterr()
    assert cli.main([str(word) for word in arguments]) == 2
    message = capsys.readouterr().err
    assert message.startswith("npunet: error: ") and message.count("\n") == 1 and len(message) < 600
    return message


def test_every_number_is_read_by_a_type_that_knows_its_range():
    numbers = [(verb, action.dest) for verb, _, action in EVERY if action.type in NUMBERS]
    assert len(numbers) > 50
    for verb, _, action in EVERY:
        assert action.type not in (int, float) or action.choices, f"{verb} {action.dest}"


@pytest.mark.parametrize(("verb", "parser", "action"), [
    pytest.param(*each, id=f"{each[0]} {each[2].dest}") for each in EVERY if each[2].type in NUMBERS or
    (each[2].choices and all(isinstance(choice, int) for choice in each[2].choices))])
def test_odd_numbers_are_refused_in_a_line_or_are_what_they_say(verb, parser, action):
    for text in ODD:
        try:
            found = parser.parse_known_args([f"{action.option_strings[-1]}={text}", *needed(parser, action)])[0]
        except cli.Usage as error:
            assert action.option_strings[-1] in str(error) and "\n" not in str(error)
        else:
            taken = getattr(found, action.dest)
            assert text == "0" and taken == 0 and taken is not None and action.dest in ZERO, f"{verb} {text}: {taken}"


def needed(parser, but):
    """Something for every argument that a verb needs."""
    words = []
    for action in parser._actions:
        if action is but or not action.required:
            continue
        word = next(iter(action.choices)) if action.choices else "nothing.npz"
        words += [action.option_strings[-1], word] if action.option_strings else [word]
    return words


WORDS = [(verb, action) for verb, parser, action in EVERY
         if action.nargs is None and action.type is None and action.const is None and not action.choices
         and action.dest not in cli.MAY_BE_EMPTY]


@pytest.mark.parametrize(("verb", "action"), [pytest.param(*each, id=f"{each[0]} {each[1].dest}") for each in WORDS])
def test_an_empty_word_is_refused(verb, action, capsys):
    parser = next(parser for name, parser, _ in EVERY if name == verb)
    message = refused(capsys, verb, *needed(parser, action), action.option_strings[-1], "")
    assert "is empty; give a value" in message


def test_an_option_that_is_empty_of_itself_is_not_refused():
    for verb, _, action in EVERY:
        if "" in (action.const, action.default):
            assert action.dest in cli.MAY_BE_EMPTY, f"{verb} {action.option_strings[-1]}"


@pytest.mark.parametrize("read", [values.names, values.size, values.shape, values.byte_count])
def test_words_that_hold_numbers_or_names_are_refused_in_words(read):
    for text in ("", ",", "a,,b", "0x", "nan", "-1x-1"):
        try:
            assert read(text), text
        except argparse.ArgumentTypeError as error:
            assert str(error) and "\n" not in str(error)
    assert values.names("a, b") == ["a", "b"] and values.size("64x48") == (64, 48) and values.size("full") == "full"
    assert [values.byte_count(text) for text in ("17", "2K", "1.5M", "1g")] == [17, 2048, 3 << 19, 1 << 30]
    assert values.shape("none,1") == (None, 1) and values.shape("64X48x1") == (64, 48, 1)


@pytest.fixture
def files():
    """A trained network of signals and one of images, and inputs of every kind."""
    network = UNet({"blocks": [BLOCK], "output_kernel_size": [1, 3]}, (None, 1), 4, seed=2)
    Segmenter(network, ("none", "P", "QRS", "T"), Preparation(100.0)).save("ecg.npz")
    network.save("plain.npz")
    UNet({"blocks": [{"filters": 2}], "output_kernel_size": 3}, (None, None, 1), 2).save("images.npz")
    lead = synthetic_ecg(4, 250, seed=1)[0].astype(float)
    np.save("x.npy", lead)
    np.save("picture.npy", np.arange(256, dtype=np.uint8).reshape(16, 16))
    np.savetxt("x.csv", lead, header="II", comments="")
    np.savetxt("t.csv", np.column_stack([np.arange(1000) / 250, lead]), delimiter=",", header="time,II", comments="")
    stored = np.rint(lead * 1000).astype("<i2")
    pathlib.Path("rec.dat").write_bytes(stored.tobytes())
    pathlib.Path("rec.hea").write_text(f"rec 1 250 1000\nrec.dat 16 1000/mV 16 0 {stored[0]} {stored.sum(dtype='i2')} "
                                       "0 II\n")
    return network


READERS = {"trace": ("{model}", "{input}"), "golden": ("{model}", "--cases", "zeros", "--formats", "npz", "--input",
                                                       "{input}"),
           "audit": ("{model}", "--data", "{input}"), "quantize": ("{model}", "-o", "q.npz", "--calibrate", "{input}"),
           "page": ("{model}", "--input", "{input}"), "explain": ("{model}", "{input}", "NECK_conv[3, 1]"),
           "predict": ("{model}", "{input}")}


def given(verb, source, *more, model="ecg.npz"):
    return [verb, *(word.format(model=model, input=source) for word in READERS[verb]), *map(str, more)]


@pytest.mark.parametrize("verb", READERS)
def test_every_verb_reads_its_input_by_one_procedure(verb, files, capsys):
    for source in ("x.npy", "x.csv"):
        assert f"{source} does not tell its sampling rate" in refused(capsys, *given(verb, source))
        assert f"{source} does not tell its own sampling rate" in refused(
            capsys, *given(verb, source, "--rate", "100", model="plain.npz"))
    for source in ("t.csv", "rec"):
        assert "has 250 samples a second; leave --fs out" in refused(capsys, *given(verb, source, "--fs", "300"))
        assert "no lead 'V9'" in (told := refused(capsys, *given(verb, source, "--leads", "V9"))) or \
            "no column 'V9'" in told
        assert "trained at 100 Hz" in refused(capsys, *given(verb, source, "--rate", "120"))
    assert "--leads says nothing about x.npy" in refused(capsys, *given(verb, "x.npy", "--fs", 250, "--leads", "II"))
    assert "--unit says nothing about rec" in refused(capsys, *given(verb, "rec", "--unit", "mV"))
    assert "--fs says nothing about picture.npy" in refused(capsys, *given(verb, "picture.npy", "--fs", "9",
                                                                           model="images.npz"))
    assert "--rate says nothing about rec: it is not for values as they are" in refused(
        capsys, *given(verb, "rec", "--raw", "--rate", "9"))
    assert "no stretch of a recording of 4 s" in refused(capsys, *given(verb, "rec", "--from", "7"))
    assert cli.main(given(verb, "rec", "--from", "1")) == 0


def test_a_trace_begins_with_what_predict_feeds_to_the_network(files):
    lead = np.load("x.npy")
    model = Segmenter.load("ecg.npz")
    for name, *more in (("x.npy", "--fs", "250"), ("t.csv",), ("x.csv", "--fs", "250")):
        assert cli.main(["trace", "ecg.npz", name, *more]) == 0
        with np.load("trace.npz") as got:
            x = model.normalised(lead[None], 250)
            np.testing.assert_array_equal(got["ENC1_D1_conv"], files.trace(x[..., None])["ENC1_D1_conv"])
    assert cli.main(["trace", "ecg.npz", "x.npy", "--fs", "250", "--from", "1", "--to", "3"]) == 0
    with np.load("trace.npz") as got:
        part = model.normalised(lead[None], 250)[:, 100:300, None]
        np.testing.assert_array_equal(got["ENC1_D1_conv"], files.trace(part)["ENC1_D1_conv"])
    assert cli.main(["trace", "ecg.npz", "x.npy", "--raw"]) == 0
    with np.load("trace.npz") as got:
        np.testing.assert_array_equal(got["ENC1_D1_conv"],
                                      files.trace(lead[None, :, None].astype(np.float32))["ENC1_D1_conv"])


@pytest.mark.parametrize(("told", "arguments"), [
    ("--fs says how a file is read, and there is no --input", ("golden", "plain.npz", "--fs", "100")),
    ("--from says how a file is read, and there is no --data", ("audit", "plain.npz", "--from", "0")),
    ("--raw says how a file is read, and there is no input file", ("page", "plain.npz", "--raw")),
    ("--skip-rows says how a file is read", ("explain", "plain.npz", "-", "NECK_conv[3, 1]", "--skip-rows", "0")),
    ("--labels is for --gradient", ("explain", "plain.npz", "-", "NECK_conv[3, 1]", "--labels", "l.npy")),
    ("--index says how a file is read, and . is a folder", ("quantize", "ecg.npz", "--calibrate", ".", "-o", "q.npz",
                                                            "--index", "0")),
    ("--smallest is the size of an object", ("predict", "images.npz", "picture.npy", "--smallest", "9")),
    ("--views is for images", ("predict", "ecg.npz", "rec", "--views", "1")),
    ("--batch is for .onnx", ("convert", "plain.npz", "y.npz", "--batch", "1")),
    ("--level is for .onnx", ("convert", "plain.npz", "y.keras", "--level", "deploy")),
    ("--classes is for a network that --model describes", ("convert", "plain.npz", "y.npz", "--classes", "3")),
    ("--rows is of the picture", ("eval", "ecg.npz", "--data", ".", "--rows", "1")),
    ("--checkpoint is of a run", ("eval", "ecg.npz", "--data", ".", "--checkpoint", "last")),
    ("--leads 'II,' must be names with commas between them", ("predict", "ecg.npz", "rec", "--leads", "II,")),
])
def test_options_that_would_change_nothing_are_refused(told, arguments, files, capsys):
    assert told in refused(capsys, *arguments)


def test_missing_values_of_a_table_are_counted(files, capsys):
    lines = pathlib.Path("t.csv").read_text().splitlines()
    for at in (5, 7, 9):
        lines[at] = lines[at].split(",")[0] + ","
    pathlib.Path("gaps.csv").write_text("\n".join(lines))
    capsys.readouterr()
    assert cli.main(["predict", "ecg.npz", "gaps.csv"]) == 0
    assert "warning: gaps.csv: column 'II' lacks 3 of 1,000 values, the first in line 6; they are gaps " \
        "(--blank-cells 'refuse' refuses them)\n" in capsys.readouterr().err
    assert cli.main(["predict", "ecg.npz", "gaps.csv", "--blank-cells", "gap"]) == 0
    assert "warning" not in capsys.readouterr().err
    message = refused(capsys, "predict", "ecg.npz", "gaps.csv", "--blank-cells", "refuse")
    assert "column 'II' lacks 3 of 1,000 values, the first in line 6; --blank-cells 'gap' takes them" in message


def test_options_of_the_reader_are_those_of_the_command(files, capsys):
    both = pathlib.Path("t.csv").read_text().replace("\n", "\n\n")
    pathlib.Path("loose.csv").write_text(both)
    assert "say by --blank-rows whether they are" in refused(capsys, "predict", "ecg.npz", "loose.csv")
    assert cli.main(["predict", "ecg.npz", "loose.csv", "--blank-rows", "skip", "-o", "y.npy"]) == 0
    assert cli.main(["predict", "ecg.npz", "t.csv", "-o", "z.npy"]) == 0
    np.testing.assert_array_equal(np.load("y.npy"), np.load("z.npy"))
    pathlib.Path("u.csv").write_bytes(pathlib.Path("t.csv").read_text().encode("utf-16-le"))
    assert cli.main(["predict", "ecg.npz", "u.csv", "--encoding", "utf-16-le", "-o", "y.npy"]) == 0
    np.testing.assert_array_equal(np.load("y.npy"), np.load("z.npy"))


def test_a_folder_says_what_it_passes_over(files, capsys):
    folder = pathlib.Path("many")
    folder.mkdir()
    for name in ("rec.hea", "rec.dat", "x.npy"):
        (folder / name).write_bytes(pathlib.Path(name).read_bytes())
    (folder / "lost.dat").write_bytes(b"1234")
    (folder / "other.hea").write_text(pathlib.Path("rec.hea").read_text().replace("rec", "other", 1)
                                      .replace("rec.dat", "signals.dat"))
    (folder / "signals.dat").write_bytes(pathlib.Path("rec.dat").read_bytes())
    assert cli.main(["predict", "ecg.npz", "many"]) == 0
    told = capsys.readouterr().out
    assert "passed  2 others: x.npy, lost.dat (no header)" in told and "done    2 of 2 inputs" in told
    (folder / "RECORDS").write_text("rec\ngone\n")
    assert cli.main(["predict", "ecg.npz", "many"]) == 0
    assert "passed  4 others: gone (no header), x.npy, lost.dat (no header), other (not in RECORDS)\n" in \
        capsys.readouterr().out
    (folder / "empty").mkdir()
    (folder / "empty" / "a.dat").touch()
    assert "holds 1 other files, 1 of them .dat without a .hea" in refused(capsys, "predict", "ecg.npz", "many/empty")


def test_compare_names_what_differs_in_two_descriptions(files, capsys):
    UNet({"blocks": [{**BLOCK, "depth": 2}], "output_kernel_size": [1, 3]}, (None, 1), 4).save("deeper.npz")
    UNet({"blocks": [BLOCK, BLOCK], "output_kernel_size": [1, 3]}, (None, 1), 4).save("more.npz")
    assert cli.main(["compare", "plain.npz", "deeper.npz"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("params/blocks/1/depth: 1 and 2\n") and "UNetBlockParams" not in told
    assert cli.main(["compare", "plain.npz", "more.npz"]) == 1
    assert capsys.readouterr().out.startswith("params/blocks: 1 and 2 of them\n")


def test_integer_networks_have_a_table_a_drawing_and_a_trace(files, capsys):
    assert cli.main(["quantize", "ecg.npz", "--calibrate", "rec", "-o", "q.npz"]) == 0
    assert cli.main(["convert", "q.npz", "q.tflite"]) == 0
    capsys.readouterr()
    from npunet import load

    for name in ("q.npz", "q.tflite"):
        model = load(name)
        assert cli.main(["summary", name]) == 0
        lines = capsys.readouterr().out.splitlines()
        assert "int8, rounding D" in lines[0] and len(lines) == len(model.network.nodes) + 3
        total = 0
        for line, node in zip(lines[2:], model.network, strict=False):
            row = line.split()
            weights = node.arrays["weights"].size if "weights" in node.arrays else 0
            height, width, _ = model.network.tensors[node.name].shape
            assert row[:2] == [node.name, node.op] and int(row[3].replace(",", "")) == weights
            assert int(row[4].replace(",", "")) == weights * height * width
            total += weights * height * width
        assert f"{total:,} MACs" in lines[-1]
        assert cli.main(["draw", name, "-o", "d.svg"]) == 0
        drawn = pathlib.Path("d.svg").read_text()
        assert all(f'data-layer="{node.name}"' in drawn for node in model.network)
        assert cli.main(["trace", name, "rec", "-o", "t.npz"]) == 0
        x = model.quantize_input(Segmenter.load("ecg.npz").normalised(np.rint(1000 * np.load("x.npy"))[None] / 1000,
                                                                      250)[..., None])
        expected = model.trace(x)
        with np.load("t.npz") as got:
            assert set(got.files) == set(expected)
            for layer in got.files:
                np.testing.assert_array_equal(got[layer], expected[layer])
        assert "--level is for float networks" in refused(capsys, "trace", name, "rec", "--level", "deploy")
        capsys.readouterr()
    assert json.dumps(model.summary()), "the same by Python"


@pytest.mark.parametrize(("arguments", "told"), [
    (("page", "plain.npz", "-o", "plain.npz"), "over itself"),
    (("page", "plain.npz", "--input", "t.csv", "-o", "t.csv"), "over itself"),
    (("page", "plain.npz", "-o", "nowhere/p.html"), "does not exist"),
    (("draw", "plain.npz", "-o", "plain.npz"), "over itself"),
    (("trace", "plain.npz", "x.npy", "-o", "x.npy"), "over itself"),
    (("trace", "plain.npz", "x.npy", "-o", "./plain.npz"), "over itself"),
    (("quantize", "plain.npz", "--calibrate", "x.npy", "-o", "plain.npz"), "over itself"),
    (("quantize", "plain.npz", "--calibrate", "x.npy", "-o", "q.npz", "--report", "q.npz"), "for two results"),
    (("audit", "plain.npz", "--claims", "c.json", "-o", "c.json"), "over itself"),
    (("audit", "plain.npz", "-o", "nowhere/a.html"), "does not exist"),
    (("predict", "images.npz", "picture.npy", "-o", "y.png", "--picture", "y.png"), "for two results"),
    (("verify", "golden", "x.npy", "--json", "x.npy"), "over itself"),
    (("verify", "golden", "x.npy", "--json", "golden/manifest.json"), "a file of what is verified"),
    (("verify", "golden", "x.npy", "--html", "r.html", "--junit", "r.html"), "for two results"),
])
def test_nothing_that_is_read_is_written_over(arguments, told, files, capsys):
    pathlib.Path("c.json").write_text("{}")
    pathlib.Path("golden").mkdir()
    pathlib.Path("golden/manifest.json").write_text("{}")
    before = {path: path.read_bytes() for path in pathlib.Path().rglob("*") if path.is_file()}
    assert told in refused(capsys, *arguments)
    assert {path: path.read_bytes() for path in pathlib.Path().rglob("*") if path.is_file()} == before


def test_a_name_that_no_line_can_show_leaves_the_error_one_line(files, capsys):
    for word in ("a\nb.npz", "\x1b[2J.npz", "a\rb.npz"):
        assert ascii(word)[1:-1] in refused(capsys, "summary", word)
        assert ascii(word)[1:-1] in refused(capsys, "page", "plain.npz", f"--input={word}")

"""The command line: every verb from its arguments to its files, and one line for every mistake."""

import json
import os
import pathlib
import re
import subprocess
import sys
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
import test_data

from npunet import UNet, __version__, cli, extras, load, presets
from npunet.cli import inputs, models, predict
from npunet.data import VARIABLE, synthetic
from npunet.data.prepare import Preparation
from npunet.evaluate import plots
from npunet.loading import load_network
from npunet.segment import Segmenter
from npunet.verify import cport

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Every test runs in an empty folder and without real data, unless it asks for it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def tiny():
    """A saved tiny network."""
    assert cli.main(["new", "tiny", "tiny.npz", "--seed", "3"]) == 0
    return UNet.load("tiny.npz")


def refused(capsys, *arguments):
    """Run what must fail; its one error message."""
    capsys.readouterr()
    assert cli.main(list(arguments)) == 2
    err = capsys.readouterr().err
    assert "Traceback" not in err and err.startswith("npunet: error: ") and err.endswith("\n")
    return err.removeprefix("npunet: error: ").strip()


def content(path):
    """The bytes of a file."""
    return pathlib.Path(path).read_bytes()


def texts(path):
    """What an SVG says."""
    return [element.text for element in ElementTree.parse(path).iter(f"{SVG}text")]


def test_version_and_help(capsys):
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"npunet {__version__}\n"
    for verb in ("new", "summary", "predict", "trace", "convert", "presets", "demo"):
        assert cli.main([verb, "--help"]) == 0
        assert f"Example:  npunet {verb}" in capsys.readouterr().out
    assert cli.main([]) == 2
    assert "Begin with: npunet demo" in capsys.readouterr().out


def test_new_builds_what_was_asked(capsys):
    assert cli.main(["new", "ecg", "m.npz", "--input-shape", "none,1", "--classes", "7", "--dtype", "float64"]) == 0
    model = UNet.load("m.npz")
    assert (model.input_shape, model.num_classes, model.dtype) == ((None, 1), 7, "float64")
    assert "wrote m.npz: 35,588 parameters, input any x 1, 7 classes" in capsys.readouterr().out
    first, second, third = (cli.main(["new", "tiny", f"{name}.npz", "--seed", seed]) for name, seed in
                            (("a", "1"), ("b", "1"), ("c", "2")))
    assert first == second == third == 0
    contents = [content(f"{name}.npz") for name in "abc"]
    assert contents[0] == contents[1] != contents[2]


def test_new_reads_json_in_every_form():
    block = {"filters": 3, "kernel": [1, 3], "pool": [1, 2], "strides": [1, 2]}
    bare = {"blocks": [block], "output_kernel_size": [1, 3]}
    named = {"name": "unet", "params": bare}
    forms = {"bare": bare, "named": named,
             "task": {"architecture": named, "frame_size": 24, "num_classes": 3, "epochs": 9}}
    for name, form in forms.items():
        with open(f"{name}.json", "w") as file:
            json.dump(form, file)
    for name in ("bare", "named"):
        assert cli.main(["new", f"{name}.json", f"{name}.npz", "--input-shape", "24x1", "--classes", "3"]) == 0
    assert cli.main(["new", "task.json", "task.npz"]) == 0
    built = [UNet.load(f"{name}.npz") for name in forms]
    assert len({str((model.params, model.input_shape, model.num_classes)) for model in built}) == 1


def test_summary_and_presets_print_tables(capsys):
    assert cli.main(["summary", "ecg"]) == 0
    out = capsys.readouterr().out
    assert "35,405 parameters (34,245 trainable), 1,915,392 MACs" in out and "ENC4_D2_conv" in out
    assert cli.main(["presets"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in presets.names()) and "35,405 parameters, input 256 x 1, 4 classes" in out
    assert cli.main(["presets", "tiny"]) == 0
    assert json.loads(capsys.readouterr().out) == presets.load("tiny")


def test_predict_writes_labels_probabilities_and_logits(tiny, rng, capsys):
    x = rng.standard_normal((3, 37, 1)).astype(np.float32)
    np.save("x.npy", x)
    for output in ("labels", "probabilities", "logits"):
        assert cli.main(["predict", "tiny.npz", "x.npy", "--output", output]) == 0
    logits = tiny.predict(x, pad=True)
    np.testing.assert_array_equal(np.load("x_logits.npy"), logits)
    labels, probabilities = np.load("x_labels.npy"), np.load("x_probabilities.npy")
    np.testing.assert_array_equal(labels, logits.argmax(-1))
    assert labels.dtype == np.uint8 and labels.shape == (3, 37)
    np.testing.assert_allclose(probabilities, np.exp(logits) / np.exp(logits).sum(-1, keepdims=True), rtol=1e-5)
    out = capsys.readouterr().out
    assert "outside" in out, "class names of the preset that the model was made from"
    assert "random" not in out
    assert cli.main(["predict", "tiny", "x.npy"]) == 0
    assert "the weights are random: tiny describes a network" in capsys.readouterr().out


def test_predict_passes_the_arithmetic_on(tiny, rng):
    x = rng.standard_normal((2, 32, 1)).astype(np.float32)
    np.save("x.npy", x)
    for arithmetic in ("any", "seq", "seq_fma"):
        assert cli.main(["predict", "tiny.npz", "x.npy", "-o", f"{arithmetic}.npy", "--output", "logits",
                         "--arithmetic", arithmetic, "--backend", "numpy", "--threads", "1"]) == 0
        np.testing.assert_array_equal(np.load(f"{arithmetic}.npy"), tiny.predict(x, "numpy", arithmetic))
    assert not np.array_equal(np.load("seq.npy"), np.load("seq_fma.npy"))


@pytest.mark.parametrize(("shape", "batch"), [((37,), (1, 37, 1)), ((3, 37), (3, 37, 1)), ((37, 1), (1, 37, 1)),
                                              ((3, 37, 1), (3, 37, 1))])
def test_arrays_of_every_rank_become_a_batch(shape, batch):
    x = np.arange(np.prod(shape)).reshape(shape)
    got = inputs.as_batch(x, (32, 1))
    assert got.shape == batch and np.array_equal(got.ravel(), x.ravel())


def test_arrays_that_do_not_fit_are_refused():
    assert inputs.as_batch(np.zeros((5, 3)), (None, 3)).shape == (1, 5, 3)
    assert inputs.as_batch(np.zeros((7, 9)), (None, None, 1)).shape == (1, 7, 9, 1)
    for array, shape in ((np.zeros((5, 4)), (None, 3)), (np.zeros(()), (8, 1)), (np.zeros((1, 1, 1, 1)), (8, 1))):
        with pytest.raises(ValueError, match="does not fit the network"):
            inputs.as_batch(array, shape)
    with pytest.raises(ValueError, match="real numbers"):
        inputs.as_batch(np.zeros((5, 1), complex), (8, 1))


def test_predict_in_pieces_is_predict_at_once(tiny, rng, monkeypatch, capsys):
    x = rng.standard_normal((7, 30, 1)).astype(np.float32)
    monkeypatch.setattr(predict, "PIECE", 60)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    np.testing.assert_allclose(predict.run(tiny, x), tiny.predict(x, pad=True), rtol=1e-5, atol=1e-6)
    assert "npunet: 75 %" in capsys.readouterr().err
    assert predict.run(tiny, x[:0]).shape == (0, 30, 2)


def test_predict_reads_csv(tiny, capsys):
    signal = np.random.default_rng(1).standard_normal((2, 50))
    with open("two.csv", "w") as file:
        file.write("\ufeffleft; right\n" + "\n".join(f"{a};{b}" for a, b in signal.T) + "\n\n")
    np.savetxt("one.csv", signal[0])
    assert cli.main(["predict", "tiny.npz", "two.csv", "--output", "logits", "--picture", "two.svg"]) == 0
    np.testing.assert_allclose(np.load("two_logits.npy"), tiny.predict(signal[..., None], pad=True), rtol=1e-6)
    assert {"left", "right", "inside", "samples"} <= set(texts("two.svg"))
    assert cli.main(["predict", "tiny.npz", "one.csv", "--output", "logits"]) == 0
    np.testing.assert_allclose(np.load("one_logits.npy")[0], np.load("two_logits.npy")[0], rtol=1e-5, atol=1e-6)


def test_signals_with_a_rate_are_prepared_as_records_are():
    signal, _ = synthetic.synthetic_ecg(4, 250, seed=1)
    np.save("ecg.npy", signal)
    assert cli.main(["predict", "ecg", "ecg.npy", "--fs", "250", "-o", "fs.npy"]) == 0
    heartkits = Segmenter(models.open_model("ecg"), synthetic.ECG_CLASSES, Preparation())
    np.testing.assert_array_equal(np.load("fs.npy"), heartkits.segment(signal[None], 250))
    assert cli.main(["predict", "ecg", "ecg.npy", "--fs", "250", "--raw", "-o", "raw.npy"]) == 0
    assert np.load("raw.npy").shape == (1, 1000)


def test_predict_reads_a_record_of_every_lead():
    pytest.importorskip("wfdb")
    test_data.write_record(pathlib.Path())
    assert cli.main(["predict", "ecg", "rec", "--picture", "rec.svg"]) == 0
    assert np.load("rec_labels.npy").shape == (3, 1300), "at the record's own rate"
    assert {"I", "II", "aVR", "QRS", "seconds", "shaded: predicted"} <= set(texts("rec.svg"))
    assert cli.main(["predict", "ecg", "rec.hea", "--leads", "avr", "-o", "one.npy"]) == 0
    np.testing.assert_array_equal(np.load("one.npy")[0], np.load("rec_labels.npy")[2])
    assert cli.main(["new", "tiny", "three.npz", "--input-shape", "none,3"]) == 0
    assert cli.main(["predict", "three.npz", "rec", "--rate", "128", "-o", "all.npy"]) == 0
    assert np.load("all.npy").shape == (1, 1300), "one row of all leads"


def test_predict_draws_a_mask_over_an_image(capsys):
    image_module = pytest.importorskip("PIL.Image")
    image, _ = synthetic.synthetic_nuclei((45, 67), seed=2)
    for name in ("n.png", "n.tif"):
        image_module.fromarray((image * 255).astype(np.uint8)).save(name)
    assert cli.main(["predict", "nuclei", "n.png", "--picture", "mask.png"]) == 0
    assert cli.main(["predict", "nuclei", "n.tif", "-o", "tif.npy", "--picture", "mask.svg"]) == 0
    labels = np.load("n_labels.npy")
    assert labels.shape == (1, 45, 67)
    np.testing.assert_array_equal(labels, np.load("tif.npy"))
    drawn = np.asarray(image_module.open("mask.png"))
    factor = 512 // 67
    assert drawn.shape == (45 * factor, 2 * 67 * factor + 12, 3)
    assert (drawn[:, : 67 * factor, 0] == drawn[:, : 67 * factor, 1]).all(), "the left half is the grey image"
    painted = drawn[:, 67 * factor + 12 :][::factor, ::factor]
    np.testing.assert_array_equal((painted[..., 0] != painted[..., 2]), labels[0] > 0)
    assert {"nucleus", "n.tif: network nuclei, random weights"} <= set(texts("mask.svg"))
    assert cli.main(["predict", "nuclei", "n.png", "--raw", "--output", "logits", "-o", "raw.npy"]) == 0
    pixels = (image * 255).astype(np.uint8).astype(np.float32)[None, ..., None] / 255
    np.testing.assert_allclose(np.load("raw.npy"), models.open_model("nuclei").predict(pixels, pad=True), rtol=1e-5)


def test_trace_writes_every_layer(tiny, capsys):
    np.save("x.npy", np.linspace(-1, 1, 30))
    assert cli.main(["trace", "tiny.npz", "x.npy"]) == 0
    assert "padded  (30,) to (32,)" in capsys.readouterr().out
    x = np.pad(np.linspace(-1, 1, 30), (0, 2))[None, :, None]
    expected = tiny.trace(x)
    with np.load("trace.npz") as got:
        assert got.files == list(expected)
        for name in got.files:
            assert got[name].ndim == 4
            np.testing.assert_array_equal(got[name], expected[name])
    assert cli.main(["trace", "tiny.npz", "-", "-o", "made.npz"]) == 0
    with np.load("made.npz") as got:
        assert sorted(got.files) == sorted(expected)
    assert cli.main(["trace", "tiny.npz", "x.npy", "-o", "d.npz", "--level", "deploy"]) == 0
    with np.load("d.npz") as got:
        assert "ENC1_D1_conv" in got.files and not any(name.endswith(".bn") for name in got.files)
    assert cli.main(["trace", "tiny.npz", "x.npy", "-o", "t.npz", "--training"]) == 0
    with np.load("t.npz") as got:
        assert abs(got["ENC1_D1.bn"].mean()) < 1e-5, "batch statistics"


@pytest.mark.parametrize("suffix", [".safetensors", ".weights.h5", ".weights.npz"])
def test_convert_goes_there_and_back(tiny, suffix):
    assert cli.main(["convert", "tiny.npz", f"w{suffix}"]) == 0
    assert cli.main(["convert", f"w{suffix}", "back.npz", "--model", "tiny"]) == 0
    assert cli.main(["convert", f"w{suffix}", "again.npz", "--model", "tiny.npz"]) == 0
    assert content("back.npz") == content("tiny.npz") == content("again.npz")


def test_mistakes_are_one_line(tiny, capsys):
    np.save("x.npy", np.zeros((2, 32, 1), np.float32))
    np.save("c.npy", np.zeros((2, 32, 5), np.float32))
    with open("text.csv", "w") as file:
        file.write("1,2\n3,oops\n")
    pathlib.Path("empty.csv").touch()
    pathlib.Path("x.png").touch()
    with open("list.json", "w") as file:
        file.write("[1]")
    np.savez("two.npz", a=np.zeros(3), b=np.zeros(3))
    for wanted, *arguments in (
        ("invalid choice: 'frob'", "frob"),
        ("required: model, input", "predict"),
        ("no file tinny, and there is no preset 'tinny'; the nearest is 'tiny'", "summary", "tinny"),
        ("no such file: none.npz", "summary", "none.npz"),
        ("x.npy is not a model that npunet saved", "summary", "x.npy"),
        (". is not a model", "summary", "."),
        ("list.json describes no network: it holds a list", "summary", "list.json"),
        ("none.npy: No such file", "predict", "tiny.npz", "none.npy"),
        ("no WFDB record none", "predict", "tiny.npz", "none"),
        ("shape (2, 32, 5) does not fit", "predict", "tiny.npz", "c.npy"),
        ("text.csv cannot be read as a table: line 2 has 'oops'", "predict", "tiny.npz", "text.csv"),
        ("empty.csv cannot be read as a table: it holds no rows", "predict", "tiny.npz", "empty.csv"),
        ("a, b, but no array 'x'", "predict", "tiny.npz", "two.npz"),
        (".pdf is no suffix", "predict", "tiny.npz", "x.pdf"),
        ("the suffix must be .png or .svg", "predict", "tiny.npz", "x.npy", "--picture", "x.jpg"),
        ("the folder", "predict", "tiny.npz", "x.npy", "-o", "nowhere/y.npy"),
        ("--index 2 is not there", "predict", "tiny.npz", "x.npy", "--index", "2"),
        ("--threads: 0", "predict", "tiny.npz", "x.npy", "--threads", "0"),
        ("gives 3 names, the network has 2", "predict", "tiny.npz", "x.npy", "--class-names", "a,b,c"),
        ("invalid choice: 'logit'", "predict", "tiny.npz", "x.npy", "--output", "logit"),
        ("the network takes images", "predict", "nuclei", "text.csv"),
        ("x.png cannot be read as an image", "predict", "nuclei", "x.png"),
        ("no such file: y.png", "predict", "nuclei", "y.png"),
        ("the network takes signals", "predict", "tiny.npz", "x.png"),
        ("a model is saved as .npz", "new", "tiny", "x.h5"),
        ("'a' is no shape", "new", "tiny", "y.npz", "--input-shape", "a"),
        ("ENC2: width 15", "new", "tiny", "y.npz", "--input-shape", "30,1"),
        ("has weights but no network", "convert", "x.npy", "y.npz"),
        ("suffix must be one of", "convert", "tiny.npz", "y.xyz"),
        ("is a whole model", "convert", "tiny.npz", "y.npz", "--model", "tiny"),
        ("level='trained' with training=True", "trace", "tiny.npz", "x.npy", "--training", "--level", "deploy"),
        ("no ludb data in none", "demo", "--data", "none"),
        ("--data or the environment variable NPUNET_DATA", "demo", "--record", "7"),
    ):
        message = refused(capsys, *arguments)
        assert wanted in message and "\n" not in message, f"{arguments}: {message}"
    assert not {"y.npz", "y.xyz", "x.jpg"} & set(os.listdir())


def test_json_without_a_size_says_what_to_add(capsys):
    with open("bare.json", "w") as file:
        json.dump({"blocks": [{"filters": 3}]}, file)
    assert "add --input-shape" in refused(capsys, "new", "bare.json", "m.npz")
    assert "add --classes" in refused(capsys, "new", "bare.json", "m.npz", "--input-shape", "8,8,1")
    with open("typo.json", "w") as file:
        json.dump({"blocks": [{"filter": 3}]}, file)
    assert "'filters'" in refused(capsys, "new", "typo.json", "m.npz", "--input-shape", "8,8,1", "--classes", "2")


def test_weights_that_do_not_fit_are_all_listed(tiny, capsys):
    cli.main(["convert", "tiny.npz", "w.weights.npz"])
    message = refused(capsys, "convert", "w.weights.npz", "m.npz", "--model", "tiny", "--classes", "3")
    assert message.count("wrong shape") == 2 and "NECK_conv/kernel" in message and "NECK_conv/bias" in message


def test_a_network_without_top_or_with_softmax_says_what_it_gives(capsys):
    np.save("x.npy", np.zeros((1, 32, 1), np.float32))
    for name, extra in (("features", {"include_top": False}), ("softmax", {"use_logits": False})):
        description = presets.load("tiny")
        description["architecture"]["params"].update(extra)
        with open(f"{name}.json", "w") as file:
            json.dump(description, file)
    assert "gives no classes" in refused(capsys, "predict", "features.json", "x.npy")
    assert cli.main(["predict", "features.json", "x.npy", "--output", "logits"]) == 0
    assert np.load("x_logits.npy").shape == (1, 32, 3)
    assert "gives no logits" in refused(capsys, "predict", "softmax.json", "x.npy", "--output", "logits")
    assert cli.main(["predict", "softmax.json", "x.npy", "--output", "probabilities"]) == 0
    np.testing.assert_allclose(np.load("x_probabilities.npy").sum(-1), 1, rtol=1e-6)


def test_interrupts_pipes_and_debugging(monkeypatch, capsys):
    def press(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(models, "open_model", press)
    assert cli.main(["summary", "tiny"]) == 130
    assert capsys.readouterr().err == "npunet: interrupted\n"
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError):
        cli.main(["--debug", "summary", "none.npz"])


def test_ctrl_c_while_modules_load_is_one_line(monkeypatch, capsys):
    from npunet import __main__ as entry

    class Pressed:
        def find_spec(self, name, *_):
            if name == "npunet.cli":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "npunet.cli")
    monkeypatch.setattr(sys, "meta_path", [Pressed(), *sys.meta_path])
    assert entry.main() == 130
    assert capsys.readouterr().err == "npunet: interrupted\n"


def test_warnings_are_one_line(monkeypatch, capsys):
    monkeypatch.setattr(models, "open_model", lambda *_: warnings.warn("mind the gap", stacklevel=2))
    with pytest.raises(AttributeError):
        cli.main(["summary", "tiny"])
    assert capsys.readouterr().err == "npunet: warning: mind the gap\n"


def run_python(code, **how):
    """Run code in a process of its own that finds this npunet."""
    root = pathlib.Path(cli.__file__).resolve().parents[2]
    return subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=False,
                          env={**os.environ, "PYTHONPATH": str(root)}, **how)


def test_a_closed_pipe_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    code = "import sys; from npunet.cli import main; sys.exit(main(['summary', 'dense-2d']))"
    done = run_python(code, stdout=writer)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_command_loads_nothing_before_it_needs_it():
    code = ("import sys, npunet.cli; heavy = {'scipy', 'numba', 'matplotlib', 'h5py', 'safetensors', 'wfdb', 'PIL', "
            "'pandas', 'onnx'}; sys.exit(', '.join(sorted(heavy & set(sys.modules))))")
    done = run_python(code)
    assert done.stderr.strip() == b"", "these were loaded"


def test_demo_makes_everything_and_says_so(capsys):
    assert cli.main(["demo"]) == 0
    out = capsys.readouterr().out
    assert "35,405 parameters" in out and "synthetic ECG" in out and "weighted F1 0.9" in out
    made = {"ecg.svg", "layers.txt", "trace.npz", "ecg.npy", "model.npz", "page.html"}
    assert made <= set(os.listdir("demo")) and all(name in out for name in made)
    assert {"P", "QRS", "T", "ECG", "seconds", "shaded: predicted; bar below: annotation"} <= set(texts("demo/ecg.svg"))
    with open("demo/layers.txt", encoding="utf-8") as file:
        assert "1,915,392 MACs" in file.read()
    assert "weighted F1 0.9718 in float, 0.96" in out and "bytes of flash" in out
    if cport.compiler() is not None:
        assert re.search(r"net\.c, built by \w+: PASS, 65 layers, 0 of [\d,]+ integers differ", out)
    integer = load("demo/model_int8.npz")
    assert integer.scheme == "int8" and os.path.exists("demo/golden_int8/c/net.c")
    model, x = load_network("demo/model.npz"), np.load("demo/ecg.npy")
    with np.load("demo/trace.npz") as trace:
        assert trace.files == [node.name for node in model.graph]
        np.testing.assert_allclose(trace["NECK_conv"][:, 0, :1000], model.predict(x, pad=True), rtol=1e-4, atol=1e-5)
    first = content("demo/trace.npz")
    assert cli.main(["demo", "-o", "again"]) == 0
    assert content("again/trace.npz") == first


@pytest.fixture
def no_matplotlib(monkeypatch):
    """As if matplotlib were not installed; it also makes a demo much faster."""
    def missing(module, name):
        raise extras.MissingExtra("plotting needs matplotlib: pip install 'npunet[plot]'")

    monkeypatch.setattr(plots, "extra", missing)
    monkeypatch.setattr(predict, "extra", missing)


def test_demo_draws_without_matplotlib_and_without_a_compiler(no_matplotlib, monkeypatch, capsys):
    monkeypatch.setattr(cport, "COMPILERS", ("no-such-compiler",))
    assert cli.main(["demo"]) == 0
    out = capsys.readouterr().out
    assert "ecg.png     not made: plotting needs matplotlib: pip install 'npunet[plot]'" in out
    assert out.count("net.c was not verified: no C compiler here") == 2
    assert os.path.exists("demo/ecg.svg") and not os.path.exists("demo/ecg.png")
    assert Segmenter.load("demo/model.npz").class_names == ("none", "P", "QRS", "T")
    assert "or draw an .svg" in refused(capsys, "predict", "demo/model.npz", "demo/ecg.npy", "--picture", "x.png")


def test_demo_without_its_data_says_so_and_goes_on(no_matplotlib, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    assert cli.main(["demo", "--model", "ecg"]) == 0
    out = capsys.readouterr().out
    assert "no recorded ECG (no ludb data in" in out
    assert "ecg in int8, calibrated by this recording: 34,118 parameters" in out


def test_a_real_record_and_a_real_image_go_through(capsys):
    pytest.importorskip("wfdb")
    pytest.importorskip("matplotlib")
    ludb, nuclei = test_data.shared("ludb"), test_data.shared("nuclei")
    assert cli.main(["predict", "ecg", f"{ludb}/data/1", "--picture", "1.png"]) == 0
    assert "12 leads x 5000 samples at 500 Hz" in capsys.readouterr().out
    assert np.load("1_labels.npy").shape == (12, 5000)
    assert content("1.png")[:8] == b"\x89PNG\r\n\x1a\n"
    assert cli.main(["predict", "nuclei", f"{nuclei}/nuclei_256.npz", "--index", "5", "--picture", "5.png"]) == 0
    assert np.load("nuclei_256_labels.npy").shape == (1, 256, 256)


def test_the_demo_takes_a_real_record(no_matplotlib, monkeypatch, capsys):
    pytest.importorskip("wfdb")
    monkeypatch.setenv(VARIABLE, str(test_data.shared("ludb")))
    assert cli.main(["demo", "--record", "2"]) == 0
    assert "LUDB record 2: 12 leads" in capsys.readouterr().out
    assert "shaded: predicted; bar below: annotation, grey where there is none" in texts("demo/ecg.svg")


def test_pictures_wrap_a_long_signal_and_escape_names():
    signal, labels = synthetic.synthetic_ecg(33, 100, seed=0)
    picture = plots.signal_picture(signal[None], labels[None], title="a < b & c", names=["x<y"],
                                   class_names=synthetic.ECG_CLASSES, rate=100)
    assert [row.start for row in picture.rows] == [0, 1000, 2000, 3000] and picture.span == 1000
    plots.save_signal("long.svg", picture)
    assert {"a < b & c", "x<y", "x<y 30 s", "seconds"} <= set(texts("long.svg"))
    flat = np.zeros((30, 50))
    many = plots.signal_picture(flat, flat.astype(int), title="t", names=["n"] * 30, class_names="ab")
    assert len(many.rows) == plots.MAX_ROWS and many.title == "t (the first 24 of 30 strips)"
    assert ElementTree.fromstring(plots.signal_svg(many)) is not None


def test_segments_and_envelope():
    assert plots.segments(np.array([0, 1, 1, 3, 0, 0, 2], np.uint8)) == [(1, 3, 1), (3, 4, 3), (6, 7, 2)]
    assert plots.segments(np.zeros(4, int)) == [] and plots.segments(np.full(4, 2)) == [(0, 4, 2)]
    values = np.zeros(100_000)
    values[[31_415, 92_653]] = 5, -3
    positions, drawn = plots.envelope(values, 500)
    assert len(positions) <= 2000 and (drawn.max(), drawn.min()) == (5, -3), "a spike survives"
    assert (np.diff(positions) > 0).all() and positions[drawn == 5] == 31_415


def test_what_a_verb_does_not_know_leads_to_its_help(capsys):
    assert cli.main(["new", "tiny", "m.npz", "--nothing", "x"]) == 2
    error = capsys.readouterr().err
    assert "unrecognized arguments: --nothing x (see npunet new --help)" in error and error.count("\n") == 1
    assert cli.main(["--nothing"]) == 2
    assert "(see npunet --help)" in capsys.readouterr().err


def test_a_checkpoint_leads_to_its_model(tmp_path, capsys):
    run = tmp_path / "run"
    run.mkdir()
    assert cli.main(["new", "tiny", str(run / "model.npz")]) == 0
    np.savez(run / "best.npz", x=np.zeros(3))
    (run / "history.json").write_text("[]")
    for source in (run, run / "best.npz"):
        assert cli.main(["summary", str(source)]) == 2
        assert f"its model is {run / 'model.npz'}" in capsys.readouterr().err

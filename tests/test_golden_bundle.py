"""A bundle's files: what they hold, that they come out the same, and that no damaged one is believed."""

import copy
import json
import os
import shutil
import subprocess
import sys
import time
import zlib

import golden_cases
import numpy as np
import pytest
from golden_cases import files_of

from npunet import UNet, run
from npunet.deploy import deploy
from npunet.golden import Bundle, golden, manifest, writers
from npunet.golden.cases import NETWORK_CASES

WAVE = {"kernel": [1, 3], "pool": [1, 3], "strides": [1, 2]}
PARAMS = {"blocks": [{"filters": 3, "norm": "layer", **WAVE}, {"filters": 4, "seperable": True, "depth": 2, **WAVE}],
          "output_kernel_size": [1, 5], "use_logits": False, "name": "mixed"}


def make_model():
    model = UNet(PARAMS, (44, 2), 3, seed=6)
    for value in model.weights.values():       # biases and offsets that are not 0, scales that are not 1
        if value.ndim < 3:
            value += np.linspace(0.1, 0.4, value.size, dtype="f4").reshape(value.shape)
    return model


@pytest.fixture(scope="module")
def model():
    return make_model()


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("golden") / "bundle"
    golden(model, path, backward=True, bounds=True)
    return path


@pytest.fixture
def copied(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "copied")


def test_the_same_bytes_from_another_process(folder, tmp_path):
    code = ("import sys; sys.path.insert(0, 'tests'); import test_golden_bundle as t; from npunet.golden import golden;"
            " golden(t.make_model(), sys.argv[1], backward=True, bounds=True)")
    other = {"PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "1", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code, tmp_path / "b"], check=True,
                   env=os.environ | other | {"PYTHONPATH": os.pathsep.join(sys.path)},
                   cwd=golden_cases.STORED.parent.parent)
    first, second = files_of(folder), files_of(tmp_path / "b")
    assert sorted(first) == sorted(second)
    assert [path for path in first if first[path] != second[path]] == []


def test_sha256sum_agrees(folder):
    if not shutil.which("sha256sum"):
        pytest.skip("no sha256sum on this machine")
    done = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, check=True, text=True,
                          capture_output=True)
    assert done.stdout.count(": OK") == len(files_of(folder)) - 1


def test_the_manifest_fits_its_schema(folder):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    described = json.loads((folder / "manifest.json").read_text())
    jsonschema.Draft202012Validator.check_schema(manifest.schema())
    jsonschema.validate(described, manifest.schema())


@pytest.fixture(scope="module")
def short_manifest(folder):
    """A manifest with a few tensors, as the full one takes JSON Schema's checker a second."""
    described = manifest.load(folder)
    described["tensors"] = described["tensors"][:9]
    manifest.check(described)
    return described


FAULTS = {
    "missing": lambda m: m.pop("seed"),
    "surplus": lambda m: m.update(more=1),
    "type": lambda m: m.update(seed="0"),
    "bool for a number": lambda m: m.update(seed=True),
    "negative": lambda m: m.update(seed=-1),
    "enum": lambda m: m["profile"].update(level="folded"),
    "digest": lambda m: m["tensors"][3].update(sha256="0" * 63),
    "leaves by dots": lambda m: m["tensors"][3]["files"].update(bin="../x.bin"),
    "leaves by root": lambda m: m["tensors"][3]["files"].update(bin="/etc/passwd"),
    "leaves inside": lambda m: m["tensors"][3]["files"].update(bin="f32/../../x.bin"),
    "line feed": lambda m: m["tensors"][3]["files"].update(bin="f32/x.bin\n"),
    "another system's root": lambda m: m["model"].update(file="C:\\model.npz"),
    "record": lambda m: m["cases"].append(3),
    "nested": lambda m: m["layers"][0]["pads"].update(top=None),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_manifest_with_a_fault_is_refused_by_both_checks(fault, short_manifest):
    described = copy.deepcopy(short_manifest)
    FAULTS[fault](described)
    with pytest.raises(ValueError, match=r"manifest\.json: /"):
        manifest.check(described)
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    if fault != "line feed":       # Python's $ accepts it, JSON Schema's does not
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(described, manifest.schema())


@pytest.mark.parametrize("arithmetic", ["seq", "seq_fma"])
@pytest.mark.parametrize("level", ["trained", "deploy"])
def test_the_tensors_are_those_of_run_forward(level, arithmetic, model, tmp_path):
    golden(model, tmp_path / "b", level=level, arithmetic=arithmetic, cases=("saturate", "zeros"), formats=("npz",))
    bundle = Bundle(tmp_path / "b")
    graph, weights = (model.graph, model.weights) if level == "trained" else deploy(model.graph, model.weights)
    for case in ("case00_saturate", "case01_zeros"):       # the second is stored by its ends alone: run again
        trace, _ = run.forward(graph, weights, bundle.tensor(case, "in"), arithmetic=arithmetic)
        for layer in bundle.layers.values():
            np.testing.assert_array_equal(bundle.tensor(case, f"{layer['id']}.out"), trace[layer["name"]])
    assert [bundle.cases[case]["stored"] for case in ("case00_saturate", "case01_zeros")] == ["full", "ends"]
    y = model.predict(bundle.tensor("case00_saturate", "in")[:, 0], backend="numpy", arithmetic=arithmetic)
    if level == "deploy":
        out = bundle.tensor("case00_saturate", f"{bundle.manifest['model']['output']}.out")
        np.testing.assert_array_equal(out[:, 0], y)


@pytest.mark.slow
def test_all_forms_hold_the_same_numbers(folder):
    bundle, forms = Bundle(folder), {"npz": 0, "bin": 0, "hex": 0}
    for record in bundle.tensors.values():
        raw = bundle.tensor(record["case"], record["key"]).tobytes()
        assert f"{zlib.crc32(raw):08x}" == record["crc32"] and len(raw) == record["bytes"]
        for form in record["files"]:
            read = bundle.read(record | {"files": {form: record["files"][form]}})
            assert read.tobytes() == raw, (record["id"], form)
            forms[form] += 1
    assert forms["npz"] == forms["bin"] > 150 and forms["hex"] == len(bundle.layers) + 1


def test_an_accumulator_and_its_bias_give_the_output(folder):
    bundle, met = Bundle(folder), 0
    for record in bundle.tensors.values():
        if record["role"] != "acc" or record["case"] == "backward":
            continue
        layer = bundle.layers[record["producer"]]
        bias = bundle.weights[bundle.graph[layer["name"]].weights[-1]]
        with np.errstate(all="ignore"):
            got = manifest.canonical(bundle.tensor(record["case"], record["key"]) + bias)
        want = bundle.tensor(record["case"], f"{layer['id']}.out")
        assert bias.any() and got.tobytes() == want.tobytes()
        met += 1
    assert met > 20


def test_every_layer_has_a_case_of_its_operator(folder):
    bundle = Bundle(folder)
    for layer in bundle.layers.values():
        case = bundle.cases[layer["case"]]
        assert case["scope"] == "layer" and case["kind"] == layer["operator"]
        inputs = [bundle.tensor(case["id"], f"{case['id']}.in{number}") for number in range(len(layer["inputs"]))]
        assert [list(value.shape[1:]) for value in inputs] == layer["input_shapes"]
        step = bundle.run_layer(layer["id"], inputs)
        want = bundle.tensor(case["id"], f"{case['id']}.out")
        assert manifest.canonical(step.out).tobytes() == want.tobytes()
        if layer["operator"] not in ("concat", "upsample_nearest2d"):
            assert any(np.isnan(value).any() for value in inputs)


def test_what_a_batch_norm_left_behind_is_named(folder):
    layers = {layer["name"]: layer for layer in manifest.load(folder)["layers"]}
    assert layers["ENC2_D1_conv"]["folded"] == ["ENC2_D1.bn"]
    assert layers["ENC2_D1_conv/depthwise"]["pads"] == {"top": 0, "left": 1, "bottom": 0, "right": 1}
    assert layers["ENC2_D1_conv/depthwise"]["kernel"] == [1, 3]
    assert layers["ENC1_D1_act"]["clamp"] == [0.0, 6.0]
    assert layers["DEC2_D2_cat"]["inputs"] == [layers["DEC2_D1_unpool"]["id"], layers["ENC1_add"]["id"]]
    assert layers["ENC1_add"]["consumers"] == [layers["ENC1_pool"]["id"], layers["DEC2_D2_cat"]["id"]]


def test_statistics_count_what_is_there():
    values = np.array([0, -0.0, 6, 2, np.nan, np.inf, -np.inf, 6], np.float32)
    told = manifest.statistics(values, (0.0, 6.0))
    assert told == {"min": 0.0, "max": 6.0, "zeros": 2, "saturated": 0.5, "nans": 1, "infs": 2}


def test_nan_is_stored_as_one(tmp_path):
    odd = np.array([0xFFC00000, 0x7FA00001, 0x3F800000, 0x80000000], "<u4").view("<f4")
    assert manifest.canonical(odd).view("<u4").tolist() == [0x7FC00000, 0x7FC00000, 0x3F800000, 0x80000000]
    assert np.isnan(odd).sum() == 2 and odd.view("<u4")[0] == 0xFFC00000       # the given array is as it was


def test_readmemh_is_two_s_complement_with_full_digits():
    text = writers.readmemh(np.array([[-1, 5, -128]], np.int8), "a test", "HW")
    assert text == "// a test\n// HW 1x3 int8: 3 words of 8 bits, row-major\nff\n05\n80\n"
    packed = writers.readmemh(np.arange(1, 6, dtype=np.int8), "a test", "C", lanes=4)
    assert packed.endswith("// 4 words a line, the first in the lowest bits (rightmost)\n04030201\n00000005\n")
    assert writers.readmemh(np.array([-2], np.int16), "t").splitlines()[-1] == "fffe"
    assert writers.readmemh(np.array([1.5], np.float32), "t").splitlines()[-1] == "3fc00000"


def test_a_real_input_is_one_more_case_and_sets_the_size(tmp_path):
    open_ended = UNet({"blocks": [{"filters": 3, **WAVE}], "output_kernel_size": [1, 3]}, (None, 2), 3, seed=6)
    x = np.random.default_rng(4).standard_normal((2, 26, 2))
    described = golden(open_ended, tmp_path / "b", inputs=x, cases=("zeros",), formats=("bin",))
    bundle = Bundle(tmp_path / "b")
    assert described["model"]["input_shape"] == [1, 26, 2] and described["model"]["own_input_shape"] == [None, 2]
    np.testing.assert_array_equal(bundle.tensor("case01_input", "in")[:, 0], x.astype("f4"))
    assert bundle.cases["case01_input"]["stored"] == "full" and len(bundle.cases["case01_input"]["samples"]) == 2


def test_a_large_network_runs_smaller_unless_told(tmp_path):
    described = golden("nuclei", tmp_path / "b", cases=("zeros",), formats=("bin",))
    assert described["model"]["input_shape"] == [32, 32, 1]
    wanted = golden("nuclei", tmp_path / "b", cases=("zeros",), formats=("bin",), size=(16, 48))
    assert wanted["model"]["input_shape"] == [16, 48, 1]


def test_only_chosen_layers_are_stored(model, tmp_path):
    golden(model, tmp_path / "b", layers=["ENC1_add"], formats=("bin",), cases=("random", "layers"))
    bundle = Bundle(tmp_path / "b")
    stored = {record["id"] for record in bundle.tensors.values() if record["files"]}
    names = {bundle.layers[key.partition(".")[0]]["name"] for key in (name.partition("/")[2] for name in stored)
             if key != "in"}
    assert names == {"ENC1_add", "ENC1_D1_act", "ENC1_skip", "softmax"}       # what it reads, and the network's output
    assert bundle.cases["case00_random"]["stored"] == "ends"
    first = next(iter(bundle.layers))
    assert bundle.tensor("case00_random", f"{first}.out").any()       # run again
    with pytest.raises(ValueError, match=r"no layer ENC9_add; the nearest of "):
        golden(model, tmp_path / "c", layers=["ENC9_add"])


def test_what_does_not_fit_is_told_by_digests_or_left_out(model, tmp_path):
    described = golden(model, tmp_path / "b", max_size=20_000, formats=("bin",))
    sizes = sum(record["bytes"] for record in described["tensors"] if record["files"])
    assert sizes <= 20_000 + 8 * 44 * 5 * 4       # the ends of four network cases are always there
    lone = [layer["name"] for layer in described["layers"] if layer["case"] is None]
    assert lone and "Left out" in (tmp_path / "b/README.txt").read_text()


@pytest.mark.parametrize(("arguments", "message"), [
    ({"level": "folded"}, "level='folded' must be one of trained, deploy"),
    ({"arithmetic": "any"}, "a bundle's order is declared"),
    ({"cases": ("random", "noise")}, r"no case 'noise'; choose from random, zeros"),
    ({"formats": ("npz", "csv")}, r"no format 'csv'; choose from npz, bin, c, hex"),
    ({"size": "small"}, "size='small' must be"),
    ({"size": (45,)}, "which the strides do not divide|layer norm"),
    ({"inputs": np.zeros((1, 44, 3))}, "3 channels"),
])
def test_arguments_that_do_not_fit(arguments, message, model, tmp_path):
    with pytest.raises(ValueError, match=message):
        golden(model, tmp_path / "b", **arguments)
    assert not list(tmp_path.iterdir())


def test_models_that_do_not_fit(tmp_path):
    with pytest.raises(ValueError, match="dtype='float32'"):
        golden(UNet(PARAMS, (44, 2), 3, dtype="float64"), tmp_path / "b")
    with pytest.raises(ValueError, match=r"neither a saved model nor a preset \(dense-2d, ecg"):
        golden("ekg", tmp_path / "b")
    with pytest.raises(ValueError, match="neither blocks nor a top"):
        golden(UNet({"include_top": False}, (8, 2)), tmp_path / "b")


def test_an_old_bundle_is_replaced_and_nothing_else_is(model, tmp_path):
    golden(model, tmp_path / "b", cases=("zeros",))
    golden(model, tmp_path / "b", cases=("random",), formats=("bin",))
    assert not [path for path in files_of(tmp_path / "b") if "zeros" in path or "tensors.npz" in path]
    other = tmp_path / "mine"
    other.mkdir()
    (other / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="no golden bundle"):
        golden(model, other, cases=("zeros",))
    assert files_of(other) == {"thesis.txt": b"years of work"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "mine"]       # nothing half-made is left


def changed(path, position):
    raw = bytearray(path.read_bytes())
    raw[position] ^= 4
    path.write_bytes(raw)


def test_a_changed_number_is_noticed(copied):
    record = next(r for r in manifest.load(copied)["tensors"] if r["role"] == "out" and "bin" in r["files"])
    changed(copied / record["files"]["bin"], 9)
    with pytest.raises(ValueError, match=r"SHA-256 differs"):
        Bundle(copied).tensor(record["case"], record["key"])
    (copied / record["files"]["bin"]).write_bytes(b"\0" * 7)
    with pytest.raises(ValueError, match=r"\.bin is damaged"):
        Bundle(copied).tensor(record["case"], record["key"])


def test_a_changed_weight_or_graph_is_noticed(copied):
    graph, weights = copied / "model/graph.json", copied / "model/weights.npz"
    described = json.loads(graph.read_text())
    del described["nodes"][-1]
    graph.write_text(json.dumps(described))
    with pytest.raises(ValueError, match=r"other layers than manifest\.json"):
        _ = Bundle(copied).graph
    name, value = next(iter(Bundle(copied).weights.items()))
    with np.load(weights) as archive:
        np.savez(weights, **{**archive, name: value * 2})
    with pytest.raises(ValueError, match=rf"weight {name} is not what the manifest describes"):
        _ = Bundle(copied).weights
    weights.write_bytes(weights.read_bytes()[:-9])
    with pytest.raises(ValueError, match=r"weights\.npz is damaged"):
        _ = Bundle(copied).weights


def test_a_link_out_of_the_bundle_is_refused(copied, tmp_path):
    record = next(r for r in manifest.load(copied)["tensors"] if "bin" in r["files"])
    path = copied / record["files"]["bin"]
    path.rename(tmp_path / "outside.bin")
    path.symlink_to(tmp_path / "outside.bin")
    with pytest.raises(ValueError, match="leaves the bundle"):
        Bundle(copied).tensor(record["case"], record["key"])


@pytest.mark.parametrize(("text", "message"), [
    (None, "is no golden bundle"), ("{", "is damaged"), ("[]", "not of type object"), ("[" * 100_000, "is damaged"),
    ('{"schema": 9}', "has schema 9, this npunet reads 2"), ("\udcff", "is damaged"),
])
def test_what_is_no_bundle_is_refused(text, message, tmp_path):
    if text is not None:
        (tmp_path / "manifest.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ValueError, match=message):
        Bundle(tmp_path)


def test_the_ecg_bundle_is_small_and_quick(tmp_path):
    start = time.monotonic()
    described = golden("ecg", tmp_path / "b")
    assert time.monotonic() - start < 20
    assert sum(map(len, files_of(tmp_path / "b").values())) < 14e6
    kinds = [case["kind"] for case in described["cases"] if case["scope"] == "network"]
    assert kinds == list(NETWORK_CASES) and described["model"]["class_names"] == ["none", "P", "QRS", "T"]
    assert not any(layer["case"] is None for layer in described["layers"])

"""The forms in which outputs come, what is wrong with them, layouts, bounds, reports; and 10,000 damaged files."""

import hashlib
import json
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
import zlib

import numpy as np
import pytest

from npunet import UNet, cli
from npunet.golden import Bundle, golden
from npunet.verify import dumps, html, picture, report, verify
from npunet.verify.compare import compare, same
from npunet.verify.layouts import LAYOUTS, arrange

MENDABLE = (ValueError, OSError)
OF_LIBRARIES = re.compile(r"broadcast|BadZip|Error\(|Error: |codec can't|delimiter|magic string|in the archive|Errno|"
                          r"Expecting|header")  # words that a library meant for its programmer
BLOCK = {"filters": 3, "kernel": [2, 3], "pool": [2, 3], "strides": [2, 1], "dilation": [1, 2]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs") / "bundle"
    golden(UNet({"blocks": [BLOCK], "output_kernel_size": 3}, (4, 7, 2), 2, seed=3), folder, arithmetic="seq",
           formats=("npz", "bin", "hex"), cases=("random",))
    return Bundle(folder)


@pytest.fixture
def outputs(bundle):
    """Right outputs of the first case, by key."""
    case = next(iter(bundle.cases))
    return {f"{layer}.out": bundle.tensor(case, f"{layer}.out").copy() for layer in bundle.layers}


def words(value):
    return [f"{word:08x}" for word in np.ascontiguousarray(value).view("<u4").ravel().tolist()]


def uart(outputs, bundle):
    lines = ["boot", f"[0.1] NPU BUNDLE {bundle.fingerprint}"]
    for key, value in outputs.items():
        text = words(value)
        lines += [f"t=3 NPU TENSOR {key} {len(text)}",
                  *(f"NPU DATA {' '.join(text[k:k + 7])}" for k in range(0, len(text), 7)),
                  "something else", f"NPU END {zlib.crc32(value.tobytes()):08x}"]
    return "\n".join(lines)


def tflm(outputs, bundle):
    """As flatc writes it with --strict-json: what is 0 is left out, such as the first tensor's index and its layer."""
    listed = []
    for k, value in enumerate(outputs.values()):
        shape = {"shape": list(value.shape)} if value.ndim == 4 else {}
        listed.append({"input_index": 4294967295, **({"tensor_index": k} if k else {}), **shape,
                       "data": list(value.tobytes()), "num_bytes": value.nbytes, **({"layer_number": k} if k else {})})
    return json.dumps({"subgraph_data": [{"outputs": listed}],
                       "tensors": {str(k): key for k, key in enumerate(outputs)}})


def write(form, outputs, folder, bundle):
    """The outputs in one form; returns what to give to verify."""
    folder.mkdir(exist_ok=True)
    if form == "npz":
        np.savez(folder / "o.npz", **outputs)
        return folder / "o.npz"
    if form in ("log", "json"):
        (folder / f"o.{form}").write_text({"log": uart, "json": tflm}[form](outputs, bundle))
        return folder / f"o.{form}"
    for key, value in outputs.items():
        if form == "npy":
            np.save(folder / f"{key}.npy", value)
        elif form == "bin":
            value.tofile(folder / f"{key}.bin")
        else:
            (folder / f"{key}.{form}").write_text("// a head\n" + "\n".join(words(value)) + "\n")
    return folder


FORMS = ("npz", "npy", "bin", "mem", "hex", "log", "json")


@pytest.mark.parametrize("form", FORMS)
def test_every_form_passes_and_a_changed_bit_fails(form, bundle, outputs, tmp_path):
    assert verify(bundle, write(form, outputs, tmp_path / "a", bundle)).verdict == "PASS"
    key = list(outputs)[4]
    outputs[key].view("u4")[0, 1, 2, 1] ^= 1
    result = verify(bundle, write(form, outputs, tmp_path / "b", bundle))
    assert result.verdict == "FAIL" and result.first.record["id"] == key.removesuffix(".out")
    assert result.first.worst.chained.differ == 1 and result.first.worst.chained.first == (0, 1, 2, 1)


@pytest.mark.parametrize("form", FORMS)
def test_missing_truncated_and_garbled_are_never_a_pass(form, bundle, outputs, tmp_path):
    key = list(outputs)[5]
    left = {name: value for name, value in outputs.items() if name != key}
    assert verify(bundle, write(form, left, tmp_path / "missing", bundle)).verdict == "INCOMPLETE"
    short = outputs | {key: outputs[key].ravel()[:-1]}
    result = verify(bundle, write(form, short, tmp_path / "short", bundle))
    assert result.verdict == "ERROR" and "expected" in str(result.faults[0]) and result.status == 2
    filled = outputs | {key: np.full_like(outputs[key], np.nan)}
    result = verify(bundle, write(form, filled, tmp_path / "nan", bundle))
    assert result.verdict == "FAIL" and "NaN" in result.first.worst.chained.pattern
    assert verify(bundle, tmp_path / "nan", bounded=True, case=next(iter(bundle.cases))).verdict == "FAIL"


def test_tflite_micro_json_as_flatc_writes_it(bundle, outputs, tmp_path):
    """Bare names without --strict-json, enums by name, the input, tensors without a name, other types."""
    described = json.loads(tflm(outputs, bundle))
    key, case = next(iter(outputs)), next(iter(bundle.cases))
    x = bundle.tensor(case, "in")
    described["input_data"] = [{"shape": list(x.shape), "data": list(x.tobytes()), "num_bytes": x.nbytes,
                                "layer_number": 4294967295}]
    listed = described["subgraph_data"][0]["outputs"]
    listed.append({"tensor_index": 99, "dtype": "INT8", "data": [1, 2], "num_bytes": 2})

    def verdict():
        text = re.sub(r'^(\s*)"([a-z_]+)":', r"\1\2:", json.dumps(described, indent=1), flags=re.MULTILINE)
        assert '"shape"' not in text
        (tmp_path / "o.json").write_text(text)
        return verify(bundle, tmp_path / "o.json")

    assert verdict().verdict == "PASS" and any("tensor 99" in name for name in verdict().ignored)
    described["input_data"][0]["data"][2] ^= 1
    assert verdict().verdict == "FAIL" and verdict().first.record["id"] == "in"
    del described["input_data"]
    listed[0]["dtype"] = "INT32"
    assert "expected is float32" in str(verdict().faults[0]) and key in str(verdict().faults[0])
    listed[0]["dtype"], listed[0]["shape"] = "FLOAT32", [1, 2]
    assert "has the shape [1, 2]" in str(verdict().faults[0])
    del listed[0]["shape"]
    listed[0]["data"] = listed[0]["data"][:-1]
    assert "num_bytes" in str(verdict().faults[0])


def test_the_same_numbers_in_two_forms_are_no_contradiction(bundle, outputs, tmp_path):
    assert verify(bundle, bundle.root / "f32").verdict == "PASS"                  # the bundle's own npz and bin
    write("npz", outputs, tmp_path, bundle)
    key = list(outputs)[2]
    (outputs[key] + 1).tofile(tmp_path / f"{key}.bin")
    found = verify(bundle, tmp_path)
    assert found.verdict in ("ERROR", "FAIL") and "given before, with other numbers" in str(found.faults[0])


def test_lost_and_garbled_serial_words_are_told(bundle, outputs, tmp_path):
    log = uart(outputs, bundle)
    for old, new, told in ((f"NPU END {log.split('NPU END ')[1][:8]}", "NPU END 00000000", "garbled"),
                           ("NPU DATA", "NPU DAT", "lost"), (log[-16:], "", "ends before")):
        (tmp_path / "o.log").write_text(log.replace(old, new, 1))
        result = verify(bundle, tmp_path / "o.log")
        assert result.verdict == "ERROR" and told in str(result.faults[0])


def test_stale_outputs_and_foreign_inputs(bundle, outputs, tmp_path):
    np.savez(tmp_path / "o.npz", **outputs, bundle=np.array("ab" * 32))
    result = verify(bundle, tmp_path / "o.npz")
    assert result.verdict == "ERROR" and "stale" in str(result.faults[0])
    case = next(iter(bundle.cases))
    np.savez(tmp_path / "o.npz", **outputs, **{"in": bundle.tensor(case, "in") + 1})
    result = verify(bundle, tmp_path / "o.npz")
    assert result.verdict == "FAIL" and result.first.record["id"] == "in" and result.diagnosis.causes[0].whole
    np.savez(tmp_path / "o.npz", **outputs, bundle=np.array(bundle.fingerprint),
             **{"in": bundle.tensor(case, "in")})
    assert verify(bundle, tmp_path / "o.npz").verdict == "PASS"


def test_a_damaged_bundle_is_an_error(bundle, outputs, tmp_path):
    np.savez(tmp_path / "o.npz", **outputs)
    def damaged(name, change):
        folder = tmp_path / name
        shutil.copytree(bundle.root, folder)
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(change(text))
        return folder

    for name, change, told in (
        ("edited", lambda text: text.replace('"seq"', '"seq_fma"'), "SHA256SUMS"),
        ("leaving", lambda text: text.replace("f32/case00_random/in.bin", "../../../etc/passwd", 1), "does not match"),
        ("cut", lambda text: text[:-40], "damaged"),
    ):
        with pytest.raises(ValueError, match=told):
            verify(damaged(name, change), tmp_path / "o.npz")
    def mended(name, change):
        """A damaged manifest with its line of SHA256SUMS made to fit."""
        folder = damaged(name, lambda text: json.dumps(change(json.loads(text))))
        raw, sums = (folder / "manifest.json").read_bytes(), (folder / "SHA256SUMS").read_text()
        honest = hashlib.sha256((bundle.root / "manifest.json").read_bytes()).hexdigest()
        (folder / "SHA256SUMS").write_text(sums.replace(honest, hashlib.sha256(raw).hexdigest()))
        return folder

    def layer(number, **changes):
        return lambda text: text | {"layers": [
            record | (changes if k == number else {}) for k, record in enumerate(text["layers"])]}

    for name, change, told in (
        ("reads nothing", layer(3, inputs=[]), "other layers"),
        ("reads itself", layer(3, inputs=["L003"]), "other layers"),
        ("no such case", layer(0, case="nope"), "names the case"),
        ("other end", lambda text: text | {"model": text["model"] | {"output": "L000"}}, "ends in another layer"),
        ("twice", lambda text: text | {"tensors": text["tensors"] + text["tensors"][:1]}, "have one id"),
    ):
        with pytest.raises(ValueError, match=told):
            verify(mended(name, change), tmp_path / "o.npz")
    wrong = {key: value + 1 for key, value in outputs.items()}
    np.savez(tmp_path / "wrong.npz", **wrong)
    folder = mended("folded", layer(0, folded=["none"]))
    assert verify(folder, tmp_path / "wrong.npz").verdict == "FAIL"                # one kind of hypothesis less
    for name, path, told in (
        ("graph", "model/graph.json", "not the file"), ("model", "model/model.npz", "not the file"),
        ("lacking", "f32/case00_random/in.bin", "lacks the file"),
    ):
        folder = damaged(name, lambda text: text)
        if name == "lacking":
            (folder / path).unlink()
        else:
            (folder / path).write_bytes((folder / path).read_bytes() + b" ")
        with pytest.raises(ValueError, match=told):
            verify(folder, tmp_path / "o.npz")
    folder = damaged("linked", lambda text: text)
    (folder / "f32/case00_random/in.bin").unlink()
    (folder / "f32/case00_random/in.bin").symlink_to(tmp_path / "o.npz")
    with pytest.raises(ValueError, match="leaves the bundle"):
        verify(folder, tmp_path / "o.npz")
    folder = damaged("stale", lambda text: text)
    path = next(folder.glob("f32/case00_random/*.out.bin"))
    path.write_bytes(path.read_bytes()[:-4] + b"\0\0\0\1")
    with pytest.raises(ValueError, match="SHA-256"):
        verify(folder, tmp_path / "o.npz")


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name not in ("NHWC", "HWCN", "CHWN")])
def test_layouts_are_recognised(layout, bundle, outputs, tmp_path):
    moved = {key: np.ascontiguousarray(value.transpose(LAYOUTS[layout])) for key, value in outputs.items()}
    folder = write("bin", moved, tmp_path / "raw", bundle)
    result = verify(bundle, folder)
    assert result.verdict == "FAIL" and f"--layout {layout}" in result.first.worst.note
    assert verify(bundle, folder, layout=layout).verdict == "PASS"
    shaped = verify(bundle, write("npz", moved, tmp_path / "npz", bundle))
    assert shaped.verdict == "PASS" and any(layout in note for note in shaped.notes)


def test_arrays_with_fewer_axes_wider_types_and_layer_names(bundle, outputs, tmp_path):
    named = {bundle.layers[key.removesuffix(".out")]["name"]: value[0].astype("f8") for key, value in outputs.items()}
    np.savez(tmp_path / "o.npz", **named)
    assert verify(bundle, tmp_path / "o.npz").verdict == "PASS"
    first = next(iter(named))
    np.savez(tmp_path / "o.npz", **{**named, first: named[first] + 1e-12})
    assert "no float32 has" in str(verify(bundle, tmp_path / "o.npz").faults[0])


def test_words_of_another_size_are_named(bundle, outputs, tmp_path):
    key, value = next(iter(outputs.items()))
    for raw, told in ((value.astype("f8"), "is float64, 8 bytes a value; dump float32"),
                      (value.astype("f2"), "is half as long (float16, bfloat16 or int16, 2 bytes a value?"),
                      (value.astype("i1"), "is a quarter as long (int8"),
                      (np.concatenate([value] * 3), "is 3 times as long (several samples or copies)"),
                      (value.ravel()[:-3], "is truncated: it has")):
        raw.tofile(tmp_path / f"{key}.bin")
        fault = verify(bundle, tmp_path).faults[0].what
        assert told in fault and f"{raw.nbytes} bytes, {value.nbytes} are expected" in fault


def test_unknown_layers_are_answered_by_the_nearest(bundle, outputs, tmp_path):
    np.savez(tmp_path / "o.npz", **outputs)
    with pytest.raises(ValueError, match=r"there is no layer nope; the nearest of \d+ are \S+, \S+, \S+ \(all") as told:
        verify(bundle, tmp_path / "o.npz", layers=["nope"])
    assert len(str(told.value)) < 200


def test_arguments_that_do_not_fit(bundle, outputs, tmp_path):
    np.savez(tmp_path / "o.npz", **outputs)
    with pytest.raises(ValueError, match="add --bounded"):
        verify(bundle, tmp_path / "o.npz", flushes=True)
    os.mkfifo(tmp_path / "pipe.npz")
    with pytest.raises(ValueError, match="neither a file nor a folder"):
        verify(bundle, tmp_path / "pipe.npz")


def test_another_order_is_within_the_bound_and_a_fault_is_not(bundle, outputs, tmp_path):
    case = next(iter(bundle.cases))
    tensors = {"in": bundle.tensor(case, "in")}
    for layer, record in bundle.layers.items():                        # summed in float64: another order
        inputs = [tensors[name] for name in record["inputs"]]
        node = bundle.graph[record["name"]]
        from npunet.run import apply

        wide = [value.astype("f8") for value in (*inputs, *(bundle.weights[name] for name in node.weights))]
        tensors[layer] = apply(node, iter(wide), "any")[0].astype("f4")
    shown = {f"{layer}.out": tensors[layer] for layer in bundle.layers}
    np.savez(tmp_path / "o.npz", **shown)
    assert verify(bundle, tmp_path / "o.npz", explain=False).verdict == "FAIL"
    result = verify(bundle, tmp_path / "o.npz", bounded=True)
    shares = [layer.worst.chained.share for layer in result.layers]
    assert result.verdict == "PASS" and 0 < max(shares) < 1
    key = next(iter(shown))
    np.savez(tmp_path / "o.npz", **{**shown, key: shown[key] * np.float32(1.001)})
    assert verify(bundle, tmp_path / "o.npz", bounded=True, explain=False).verdict == "FAIL"


def test_classes_of_numbers():
    want = np.array([0.0, 1.0, np.nan, np.inf, -np.inf, 2.0], "f4")
    assert compare(want.copy(), want).differ == 0
    got = np.array([-0.0, np.nan, 1.0, -np.inf, -np.inf, 2.0], "f4")
    found = compare(got, want)
    assert (found.differ, found.wrong, found.classes) == (4, 4, 3) and found.histogram[-1] == 3
    bound = np.array([0, 9, np.inf, np.inf, np.inf, 0])
    found = compare(got, want, bound)
    assert found.wrong == 1 and found.unjudged == 3                  # the NaN for 1; a zero's sign is within 0
    found = compare(got, want, bound, np.isinf(bound))               # NaN and infinities are judged apart
    assert (found.wrong, found.unjudged, found.apart) == (1, 0, 2)


def test_the_command_and_its_reports(bundle, outputs, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("o.npz", **outputs)
    assert cli.main(["verify", str(bundle.root), "o.npz", "--all"]) == 0
    assert "VERDICT PASS" in capsys.readouterr().out
    key = next(k for k in outputs if "pool" in k)
    outputs[key] = np.roll(outputs[key], 1, 2)
    np.savez("o.npz", **outputs)
    assert cli.main(["verify", str(bundle.root), "o.npz", "--json", "o.json", "--junit", "o.xml", "--html", "o.html",
                     "--picture", "o.svg"]) == 1
    said = capsys.readouterr().out
    assert f"FIRST DIVERGENCE  {key.removesuffix('.out')} (max_pool2d" in said and "DIAGNOSIS" in said
    assert "around the end" in said and said.endswith("VERDICT FAIL\n")
    told = json.loads((tmp_path / "o.json").read_text())
    assert told["diagnosis"]["causes"][0]["explained"] == told["diagnosis"]["total"]
    suite = ElementTree.fromstring((tmp_path / "o.xml").read_text())
    assert int(suite.get("failures")) == len(suite.findall("testcase/failure")) > 0
    ElementTree.fromstring((tmp_path / "o.svg").read_text())
    page = (tmp_path / "o.html").read_text()
    assert "first divergence" in page and "<table>" in page and page.count("<svg") > 1
    assert cli.main(["verify", str(bundle.root), "nowhere"]) == 2
    assert cli.main(["verify", "nowhere", "o.npz"]) == 2
    assert cli.main(["verify", str(bundle.root), "o.npz", "--picture", "o.gif"]) == 2
    assert capsys.readouterr().err.count("npunet: error:") == 3
    picture.save("o.png", verify(bundle, "o.npz"))
    assert (tmp_path / "o.png").read_bytes()[:4] == b"\x89PNG" and html.page(verify(bundle, "o.npz"))


def mutated(raw, rng):
    """Bytes with something done to them."""
    raw = bytearray(raw)
    for _ in range(int(rng.integers(1, 4))):
        at, kind = int(rng.integers(0, max(1, len(raw)))), int(rng.integers(0, 6))
        if kind == 0 and raw:
            raw[at % len(raw)] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1:
            del raw[at : at + int(rng.integers(1, 40))]
        elif kind == 2:
            raw[at:at] = rng.bytes(int(rng.integers(1, 9)))
        elif kind == 3:
            raw[at : at + 4] = b"9" * int(rng.integers(1, 5))
        elif kind == 4:
            del raw[at:]
        else:
            other = int(rng.integers(0, max(1, len(raw))))
            raw[at : at + 8] = raw[other : other + 8]
    return bytes(raw)


def taken(path, bundle, keys):
    """What reading makes of a file: the values of some tensors, or None where one is missing or refused."""
    dump = dumps.read(path, bundle)
    found = {key: raw for (_, key), raw in dump.tensors.items()}
    if dump.faults or not set(keys) <= set(found):
        return None
    return [arrange(found[key], bundle.tensors[f"case00_random/{key}"])[0] for key in keys]


def test_ten_thousand_damaged_dumps_and_manifests(bundle, outputs, tmp_path):
    """No exception but a clear one; and a pass only where every value is still the right one."""
    rng = np.random.default_rng(5)
    keys = list(outputs)[:2]                                          # two layers: so that a file is small
    shown, layers = {key: outputs[key] for key in keys}, [key.removesuffix(".out") for key in keys]
    files, seen = {}, {}
    for form in FORMS:
        where = write(form, shown, tmp_path / form, bundle)
        files[form] = (where if where.is_file() else where / f"{keys[0]}.{form}").read_bytes()
    for number in range(9800):
        form = FORMS[number % len(FORMS)]
        many = form in ("npz", "log", "json")
        path = tmp_path / (f"o.{form}" if many else f"{keys[0]}.{form}")
        path.write_bytes(mutated(files[form], rng))
        try:
            values = taken(path, bundle, keys[: 1 + many])
            right = values is not None and all(
                same(value, outputs[key]).all() for value, key in zip(values, keys, strict=False))
            verdict = "PASS" if right else "FAIL"
            if number % 10 == 0:
                result = verify(bundle, path, layers=layers[: 1 + many], explain=False)
                assert result.verdict != "PASS" or right, result.faults
                assert not any(OF_LIBRARIES.search(fault.what.replace("NumPy header", "")) for fault in result.faults)
                assert report.text(result, True).endswith(f"VERDICT {result.verdict}\n")
                verdict = result.verdict
        except MENDABLE as error:
            assert str(error) and not OF_LIBRARIES.search(str(error))
            verdict = "refused"
        path.unlink()
        seen[verdict] = seen.get(verdict, 0) + 1
    assert {"FAIL", "ERROR", "refused", "INCOMPLETE", "PASS"} == set(seen) and seen["PASS"] < 3000, seen
    folder, text = tmp_path / "bundle", (bundle.root / "manifest.json").read_bytes()
    shutil.copytree(bundle.root, folder)
    sums, honest = (folder / "SHA256SUMS").read_text(), hashlib.sha256(text).hexdigest()
    np.savez(tmp_path / "o.npz", **{**shown, keys[0]: shown[keys[0]] + 1})
    for _ in range(200):
        raw = mutated(text, rng)
        (folder / "manifest.json").write_bytes(raw)
        (folder / "SHA256SUMS").write_text(sums.replace(honest, hashlib.sha256(raw).hexdigest()))  # mended too
        try:
            assert verify(folder, tmp_path / "o.npz", layers=layers, explain=False).verdict != "PASS"
        except MENDABLE as error:
            assert str(error)

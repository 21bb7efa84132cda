"""What a port of integers may hand in: serial logs, TFLite-Micro's JSON, npz; what a machine and a browser get back."""

import json
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest
from integer_ports import integer_network, make_bundle, needs_compiler

from npunet.cli import main
from npunet.files import write_npz
from npunet.golden import open_bundle
from npunet.verify import html, machine, picture, verify
from npunet.verify.cport import verify_c

TENSOR_TYPES = {"int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64"}


@pytest.fixture(scope="module", params=["int8", "int16x8"])
def bundle(request, tmp_path_factory):
    return make_bundle(integer_network("d1_plain", request.param), tmp_path_factory.mktemp("forms") / "b",
                       cases=("random", "layers"))


def tensors(bundle, change=None):
    """Every golden accumulator, value before the clamp and output; change : key of one whose first value is wrong."""
    opened = open_bundle(bundle)
    made = {record["id"]: opened.tensor(record["case"], record["key"]).copy() for record in
            opened.manifest["tensors"] if record["role"] in ("acc", "pre", "out")}
    if change is not None:
        made[change].flat[0] ^= 1
    return made


def log(made, digits_of=lambda value: 2 * value.itemsize):
    """What a board prints."""
    lines = ["boot"]
    for key, value in made.items():
        raw = np.ascontiguousarray(value).tobytes()
        step = digits_of(value) // 2
        words = [raw[k : k + step][::-1].hex() for k in range(0, len(raw), step)]
        lines += [f"NPU TENSOR {key} {len(words)}", *(f"[7] NPU DATA {' '.join(words[k : k + 8])}" for k in
                  range(0, len(words), 8)), f"NPU END {zlib.crc32(raw):08x}"]
    return "\n".join(lines)


def a_layer(bundle):
    opened = open_bundle(bundle)
    return next(layer["id"] for layer in opened.layers.values() if layer["operator"] == "conv2d" and layer["number"])


def test_a_serial_log(bundle, tmp_path):
    (tmp_path / "uart.log").write_text(log(tensors(bundle)))
    assert verify(bundle, tmp_path / "uart.log").status == 0
    key = f"case00_random/{a_layer(bundle)}.out"
    (tmp_path / "uart.log").write_text(log(tensors(bundle, key)))
    result = verify(bundle, tmp_path / "uart.log")
    assert (result.status, result.first.record["id"]) == (1, a_layer(bundle))
    wide = {key: value for key, value in tensors(bundle).items() if value.nbytes % 4 == 0}
    (tmp_path / "uart.log").write_text(log(wide, lambda value: 8))
    assert verify(bundle, tmp_path / "uart.log").verdict in ("PASS", "INCOMPLETE")  # four bytes a word
    (tmp_path / "uart.log").write_text(log(tensors(bundle)).replace("NPU END ", "NPU END f", 1))
    assert verify(bundle, tmp_path / "uart.log").status == 2


def test_tflite_micro_s_json(bundle, tmp_path):
    outputs = [{"name": key, "dtype": TENSOR_TYPES[value.dtype.name], "shape": list(value.shape),
                "data": list(np.ascontiguousarray(value).tobytes()), "num_bytes": value.nbytes}
               for key, value in tensors(bundle).items()]
    (tmp_path / "dump.json").write_text(json.dumps({"subgraph_data": [{"outputs": outputs}]}))
    assert verify(bundle, tmp_path / "dump.json").status == 0
    outputs[0]["dtype"] = 9 if outputs[0]["dtype"] != "INT8" else "BOOL"
    (tmp_path / "dump.json").write_text(json.dumps({"subgraph_data": [{"outputs": outputs}]}))
    assert verify(bundle, tmp_path / "dump.json").status == 2


def test_inputs_and_outputs_in_the_users_shapes(bundle, tmp_path):
    """The npz that the bundle itself writes: of a port that shows nothing but its ends."""
    result = verify(bundle, bundle / "npz")
    assert (result.verdict, result.status) == ("INCOMPLETE", 3) and not result.faults
    with np.load(bundle / "npz" / "case00_random.npz") as ends:
        y = ends["output_0"].copy()
    y.flat[0] ^= 1
    write_npz(tmp_path / "out.npz", {"output_0": y})
    result = verify(bundle, tmp_path / "out.npz")
    assert result.status == 1 and result.first.worst.told.differ == 1 and result.first.worst.unseen


def test_what_was_done_to_the_input_is_told(bundle, tmp_path):
    opened = open_bundle(bundle)
    x = opened.tensor("case00_random", "in")
    write_npz(tmp_path / "in.npz", {"case00_random/in": x[:, :, ::-1]})
    result = verify(bundle, tmp_path / "in.npz")
    assert result.first.record["id"] == "in"
    assert "the input has its columns in reverse order" in [cause.words for cause in result.diagnosis.causes]


def test_reports_for_machines_and_people(bundle, tmp_path, capsys):
    key = f"{a_layer(bundle)}/{a_layer(bundle)}.out"
    write_npz(tmp_path / "out.npz", tensors(bundle, key))
    files = {form: tmp_path / f"r.{form}" for form in ("json", "xml", "html", "svg")}
    status = main(["verify", str(bundle), str(tmp_path / "out.npz"), "--json", str(files["json"]), "--junit",
                   str(files["xml"]), "--html", str(files["html"]), "--picture", str(files["svg"]), "--all"])
    assert status == 1 and "FIRST DIVERGENCE" in capsys.readouterr().out
    told = json.loads(files["json"].read_text())
    assert told["verdict"] == "FAIL" and told["first_divergence"] == a_layer(bundle)
    assert len(told["layers"]) == len(open_bundle(bundle).layers)
    suite = ElementTree.parse(files["xml"]).getroot()
    assert suite.get("failures") == "1" and int(suite.get("tests")) == len(tensors(bundle))
    assert a_layer(bundle) in files["html"].read_text() and "<svg" in files["svg"].read_text()
    result = verify(bundle, tmp_path / "out.npz")
    assert machine.as_junit(result) and html.page(result) and picture.svg(result)


def test_the_bundle_s_own_c_in_one_call(bundle):
    needs_compiler()
    result = verify_c(bundle)
    assert result.verdict == "PASS" and "ran the bundle's own code" in result.notes[0]
    assert any(check.role == "acc" for layer in result.layers for check in layer.checks)

"""ONNX: every stored configuration in ONNX Runtime, layer by layer within its bound and as a whole."""

import json
import sys

import numpy as np
import pytest
from bounds_of_networks import bounded, share
from engine_cases import shaken
from test_reference import NAMES, model_of, stored

from npunet import UNet, cli, run
from npunet.deploy import deploy
from npunet.formats.onnx import DRAWN, OPSET, to_onnx, write_onnx
from npunet.golden.bounds import output_bound

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")


def run_onnx(content, x, outputs=None, optimised=True):
    """What ONNX Runtime gives for the outputs asked for, by name."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = outputs or [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": x}), strict=True))


def case_of(name):
    """(model, input) of a stored configuration in float32."""
    case, arrays = stored(name)
    return model_of(case, arrays, "float32"), arrays["x"].astype(np.float32)


def graph_of(model, level):
    return (model.graph, dict(model.weights)) if level == "trained" else deploy(model.graph, model.weights)


@pytest.mark.parametrize("level", ["trained", "deploy"])
@pytest.mark.parametrize("name", NAMES)
def test_the_whole_network(name, level):
    """Optimised as ONNX Runtime likes."""
    model, x = case_of(name)
    images, _ = model.sizes.admit(x, "float32")
    expected, bound = (model.sizes.release(value, None) for value in bounded(*graph_of(model, level), images))
    content = to_onnx(model.graph, model.weights, model.input_shape, level=level)
    share(f"{name} {level}", run_onnx(content, x)["output"], expected, bound)


@pytest.mark.parametrize("name", NAMES)
def test_every_layer_on_its_own(name):
    """Each layer as trained, fed with what ONNX Runtime itself computed before it: the local bound, which is tight."""
    model, x = case_of(name)
    content = to_onnx(model.graph, model.weights, model.input_shape, level="trained")
    layers = [node.name for node in model.graph]
    known = {node.output[0] for node in content.graph.node}
    assert set(layers) <= known, f"no node for {set(layers) - known}"
    content.graph.output.extend(info for info in content.graph.value_info if info.name in layers)
    got = {layer: value.transpose(0, 2, 3, 1) for layer, value in run_onnx(content, x, layers, False).items()}
    got["input"], _ = model.sizes.admit(x, "float32")
    for node in model.graph:
        inputs = [got[tensor] for tensor in node.inputs]
        operands = iter((*inputs, *(model.weights[weight] for weight in node.weights)))
        expected, _ = run.apply(node, operands, "seq")
        bound = output_bound(node, inputs, [np.zeros(value.shape) for value in inputs], model.weights)
        share(f"{name} {node.name} ({node.op}) ", got[node.name], expected, bound)


@pytest.mark.parametrize("level", ["trained", "deploy"])
def test_the_layout_turns_only_at_the_ends(level):
    for name in ("d1_ecg_small", "d2_norms_mixed", "d2_separable_mixed"):
        model, _ = case_of(name)
        nodes = to_onnx(model.graph, model.weights, model.input_shape, level=level).graph.node
        turns = [node.name for node in nodes if node.op_type == "Transpose"]
        assert len(turns) == 2 and turns[0].startswith("input/") and turns[1] == "output"
        assert [node.output[0] for node in nodes] == [node.name for node in nodes]
        assert sum(node.op_type in ("Unsqueeze", "Squeeze") for node in nodes) == (2 if name[1] == "1" else 0)


def test_deployed_networks_have_no_norm_and_no_dropout():
    model, _ = case_of("d1_dropout")
    kinds = {level: {node.op_type for node in to_onnx(model.graph, model.weights, (28, 2), level=level).graph.node}
             for level in ("trained", "deploy")}
    assert {"BatchNormalization", "Dropout"} <= kinds["trained"]
    assert not {"BatchNormalization", "Dropout"} & kinds["deploy"]


def test_open_and_fixed_sizes(rng):
    blocks = [{"filters": 4, "kernel": (1, 3), "pool": (1, 3), "strides": (1, 2), "seperable": True}]
    model = shaken(UNet({"blocks": blocks, "output_kernel_size": (1, 3)}, (None, 2), 3), 0)
    content = to_onnx(model.graph, model.weights, model.input_shape)
    for batch, length in ((1, 8), (3, 26)):
        x = rng.standard_normal((batch, length, 2)).astype(np.float32)
        assert np.allclose(run_onnx(content, x)["output"], model.predict(x), rtol=1e-4, atol=1e-4)
    assert shapes(content) == [["N", "L", 2], ["N", "L", 3]]
    assert shapes(to_onnx(model.graph, model.weights, (26, 2), batch=3)) == [[3, 26, 2], [3, 26, 3]]
    image = UNet({"blocks": []}, (None, 5, 1), 2)
    assert shapes(to_onnx(image.graph, image.weights, image.input_shape)) == [["N", "H", 5, 1], ["N", "H", 5, 2]]


def shapes(content):
    """Shapes of the input and the output, open sizes by name."""
    return [[size.dim_param or size.dim_value for size in end.type.tensor_type.shape.dim]
            for end in (content.graph.input[0], content.graph.output[0])]


def test_float64_models_are_written_in_float32():
    model = UNet({"blocks": []}, (6, 5, 1), 2, dtype="float64")
    content = to_onnx(model.graph, model.weights, model.input_shape)
    assert {constant.data_type for constant in content.graph.initializer} == {onnx.TensorProto.FLOAT}


def test_files_are_checked_and_the_same_every_time(tmp_path):
    model, x = case_of("d2_norms_mixed")
    for name in "ab":
        write_onnx(tmp_path / f"{name}.onnx", model.graph, model.weights, model.input_shape, name="mixed")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    read = onnx.load(tmp_path / "a.onnx")
    onnx.checker.check_model(read, full_check=True)
    assert read.opset_import[0].version == OPSET >= 13
    assert (read.producer_name, read.graph.name, read.metadata_props[0].value) == ("npunet", "mixed", "deploy")
    assert np.array_equal(run_onnx(read, x)["output"],
                          run_onnx(to_onnx(model.graph, model.weights, model.input_shape), x)["output"])


def test_refuses():
    model = UNet({"blocks": []}, (6, 5, 1), 2)
    with pytest.raises(ValueError, match="level='raw' must be one of trained, deploy"):
        to_onnx(model.graph, model.weights, model.input_shape, level="raw")
    with pytest.raises(ValueError, match="batch=0 must be at least 1"):
        to_onnx(model.graph, model.weights, model.input_shape, batch=0)


def test_the_convert_verb(tmp_path, monkeypatch, capsys, rng):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", "tiny", "tiny.npz"]) == 0
    assert cli.main(["convert", "tiny.npz", "tiny.onnx"]) == 0
    assert cli.main(["convert", "tiny.npz", "trained.onnx", "--level", "trained", "--batch", "2"]) == 0
    assert "wrote trained.onnx: " in capsys.readouterr().out
    model, x = UNet.load("tiny.npz"), rng.standard_normal((2, 32, 1)).astype(np.float32)
    for name in ("tiny.onnx", "trained.onnx"):
        assert np.allclose(run_onnx(onnx.load(name), x)["output"], model.predict(x), rtol=1e-4, atol=1e-4)
    assert shapes(onnx.load("trained.onnx"))[0] == [2, 32, 1]
    assert cli.main(["convert", "tiny.npz", "tiny.tf"]) == 2
    assert ".onnx" in capsys.readouterr().err


def test_without_onnx(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    assert cli.main(["new", "tiny", "tiny.npz"]) == 0
    assert cli.main(["convert", "tiny.npz", "tiny.onnx"]) == 2
    assert "pip install 'npunet[onnx]'" in capsys.readouterr().err
    assert not (tmp_path / "tiny.onnx").exists()


def test_every_operator_of_a_network_can_be_written():
    """Between them the stored configurations have every operator that the exporter knows."""
    seen = set()
    for name in NAMES:
        model, _ = case_of(name)
        for level in ("trained", "deploy"):
            seen |= {node.op for node in graph_of(model, level)[0]}
    assert seen == set(DRAWN), json.dumps(sorted(seen ^ set(DRAWN)))

"""An audit's figures are those of the functions that count, and its checks can fail."""

from __future__ import annotations

import ast
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from npunet import UNet, cli, presets, quantize, run, summary
from npunet.audit import (
    claims,
    fields,
    gradient_check,
    integer_audit,
    memory,
    oddities,
    parity,
    parity_tflite,
    parity_torch,
    ranges,
    report,
)
from npunet.audit.audit import audit
from npunet.audit.costs import costs
from npunet.audit.subject import subject
from npunet.cli import models
from npunet.ops.table import OPERATORS

BLOCK = {"filters": 3, "kernel": (2, 3), "pool": 3, "strides": 2, "depth": 2, "ddepth": 1}


def network(**block) -> UNet:
    return UNet({"blocks": [{**BLOCK, **block}, {**BLOCK, **block, "filters": 5}]}, (12, 20, 2), 3, seed=1)


@pytest.fixture(scope="module")
def tiny():
    return models.open_network("tiny")


def test_costs_are_those_of_the_summary(tiny):
    counted = costs(tiny.graph)
    assert counted.parameters == 560 and counted.macs == 7368 and counted.flops == 2 * 7368
    assert [(layer.name, layer.macs, layer.parameters) for layer in counted.layers] == [
        (row.name, row.macs, row.parameters) for row in summary.rows(tiny.graph)]


@pytest.mark.parametrize("name", presets.names())
def test_no_two_tensors_that_live_together_overlap(name):
    graph = models.open_network(name).graph
    planned = memory.memory(graph)
    items = list(planned.lifetimes.items())
    for number, (one, life) in enumerate(items):
        for other, also in items[:number]:
            start, end = planned.arena.offsets[one], planned.arena.offsets[one] + life.size
            first, last = planned.arena.offsets[other], planned.arena.offsets[other] + also.size
            assert not life.overlaps(also) or end <= first or last <= start
    assert planned.peak <= planned.arena.size
    assert planned.fused <= planned.in_place <= planned.arena.size and planned.no_skips < planned.arena.size


def test_lifetimes_end_where_the_executor_lets_go(tiny):
    """run.infer deletes a tensor after its last reader; so does the plan."""
    graph, alive = tiny.graph, {}
    readers = {name: len(nodes) for name, nodes in graph.consumers().items()}
    for step, node in enumerate(graph, start=1):
        for name in node.inputs:
            readers[name] -= 1
            if readers[name] == 0 and name != graph.output:
                alive[name] = step
    found = memory.lifetimes_of(graph)
    assert {name: life.last for name, life in found.items() if name != graph.output} == alive


@pytest.mark.parametrize("model", [models.open_network("tiny"), network(activation="elu"), network(dilation=(1, 2))])
def test_the_gradient_never_leaves_the_field_that_the_graph_allows(model):
    for field in fields.fields(subject(model)):
        assert field.measured is not None and field.effective is not None
        assert field.theoretical[0] <= field.measured[0] <= field.effective[0]
        assert field.effective[1] <= field.measured[1] <= field.theoretical[1]


def test_an_elu_network_uses_the_whole_field():
    for field in fields.fields(subject(network(activation="elu", norm=None))):
        assert field.measured == field.theoretical


def test_the_delay_is_the_streams():
    model = models.open_network("ecg")
    found = fields.sizes(model, 100)
    assert found.delay == model.stream(backend="numpy").delay and found.delay_ms == 10 * found.delay
    assert fields.sizes(network()).delay is None


@pytest.mark.parametrize("block", [{}, {"seperable": True, "norm": "layer", "activation": "elu"},
                                   {"norm": None, "activation": "selu"}, {"activation": "leaky_relu", "dropout": 0.2}])
def test_every_gradient_is_right_and_the_control_fails(block):
    found = gradient_check.gradient_check(subject(network(**block)))
    assert found.passed and not found.control.passed
    assert {each.name for each in found.weights} == {"input", *network(**block).trainable}
    assert max(each.error for each in found.weights) < 1e-11


def test_a_wrong_backward_is_found(monkeypatch):
    right = OPERATORS["conv2d"]

    def without_bias(dy, *arrays, **attrs):
        dx, dw, db = right.backward(dy, *arrays, **attrs)
        return dx, dw, None if db is None else db * 0.9

    monkeypatch.setitem(OPERATORS, "conv2d", right._replace(backward=without_bias))
    found = gradient_check.gradient_check(subject(network()))
    assert not found.passed
    assert {each.name for each in found.weights if not each.passed} == {
        "ENC1_skip/bias", "ENC2_skip/bias", "DEC1_skip/bias", "DEC2_skip/bias", "NECK_conv/bias"}


def test_ranges_by_hand():
    value = np.array([[-1, 0, 0, 6], [2, 8, 0, -4]], np.float32).reshape(2, 1, 4, 1)
    found = ranges.range_of("x", value)
    assert (found.low, found.high, found.zeros, found.sixes) == (-4, 8, 3 / 8, 1 / 8)
    assert found.step == 12 / 255
    assert found.clipped == 2 / 4          # 8 and -4 lie outside -1 ... 6
    assert sum(found.histogram) == 8
    assert ranges.range_of("x", np.zeros((1, 1, 4, 2), np.float32)).dead == (0, 1)


@pytest.mark.parametrize("block", [{}, {"seperable": True, "norm": "layer", "activation": "selu", "dilation": (2, 1)},
                                   {"norm": None, "activation": "leaky_relu", "dropout": 0.2}])
def test_parity_with_other_runtimes(block):
    model = network(**block)
    found = {each.runtime: each for each in parity.parity(model, subject(model))}
    assert list(found) == ["Keras", "PyTorch", "ONNX Runtime", "LiteRT", "LiteRT int8", "TFLite-Micro int8"]
    for runtime, each in found.items():
        without = "not installed" in each.told or "not both installed" in each.told
        refused = runtime.endswith("int8") and block.get("norm") == "layer" and "layer_norm" in each.told
        assert each.passed or (each.passed is None and (without or refused)), each


def test_the_reference_itself_where_it_is_installed():
    pytest.importorskip("keras", reason="Keras is not installed")
    pytest.importorskip("neuralspot_edge", reason="the reference is not installed")
    model = network(seperable=True, norm="layer", activation="selu", dilation=(2, 1))
    found = parity.keras(model, subject(model))
    assert found.passed and found.difference > 0, found.told


def test_one_integer_that_differs_is_a_failed_check(monkeypatch):
    pytest.importorskip("flatbuffers", reason="no .tflite can be written")
    model = quantize(network(), np.random.default_rng(1).standard_normal((4, 12, 20, 2)))
    x = model.quantize_input(np.random.default_rng(2).standard_normal((1, 12, 20, 2)))
    right = model.predict(x, backend="numpy")
    monkeypatch.setattr(parity_tflite, "installed", lambda module: True)
    for off in (0, 1):
        given = right.copy()
        given[0, 3, 4, 1] += off
        found = parity_tflite.integer_parity("A", "b", "c", lambda content, x, y=given: y, model, x)
        assert found.passed is (off == 0)
        assert f"{off} of {right.size} outputs differ" in found.told


@pytest.mark.parametrize("scheme", ["int8", "int16x8"])
def test_an_integer_network_is_audited(scheme, tmp_path, capsys):
    model = quantize(network(), np.random.default_rng(1).standard_normal((4, 12, 20, 2)), scheme)
    x = model.quantize_input(3 * np.random.default_rng(2).standard_normal((2, 12, 20, 2)))
    found = integer_audit.integer_audit(model, x)
    trace = model.trace(x)
    assert found.passed and found.macs == costs(network().graph).macs
    for layer in found.layers:
        value, tensor = trace[layer.name], model.network.tensors[layer.name]
        assert (layer.low, layer.high) == (value.min(), value.max())
        assert layer.at_high == (value == layer.limits[1]).mean() and layer.limits[1] <= tensor.limits[1]
        assert layer.bytes == value[0].nbytes and (layer.scale, layer.zero_point) == (tensor.scale, tensor.zero_point)
    assert found.weight_bytes == sum(array.nbytes for node in model.network for array in node.arrays.values())
    assert max(layer.saturated for layer in found.layers) > 0.01  # three deviations where it was calibrated for one
    page = integer_audit.html(found)
    assert all(f"<td>{node.name}</td>" in page for node in model.network) and f"{found.macs:,}" in page
    model.save(tmp_path / "m.npz")
    assert cli.main(["audit", str(tmp_path / "m.npz"), "-o", str(tmp_path / "a.html")]) == 0
    out = capsys.readouterr().out
    assert f"{found.macs:,} integer multiply-accumulates" in out and "steps, not slopes" in out
    assert cli.main(["audit", str(tmp_path / "m.npz"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["weight_bytes"] == found.weight_bytes
    assert cli.main(["audit", str(tmp_path / "m.npz"), "--claims", "heartkit"]) == 2


def test_a_runtime_without_an_operator_says_which(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.delitem(parity_torch.TORCH, "relu6")
    model = network()
    found = parity.compared_with("PyTorch", parity_torch.pytorch, model, subject(model))
    assert found.passed is None
    assert found.told == "not compared: ENC1_D1_act: the comparison with PyTorch has no 'relu6'; leave it out"


def test_parity_sees_another_network():
    model = network()
    shown = subject(model)
    expected = run.infer(model.graph, model.weights, shown.x[None])
    assert not parity.compared("x", "1", "", expected * 1.001, expected, 1e-4).passed


MEETS = {
    "The decoder uses the dilation": {"dilation": (1, 2)}, "dilation is a base": {"dilation": 2},
    "Numbers are skipped": {"ddepth": 1}, "Layer norm runs over positions": {"norm": "layer"},
    "Depthwise kernels start": {"seperable": True}, "A block with skip False": {"skip": False},
    "Dropout is in the encoder": {"dropout": 0.1}, "It is not the U-Net of the paper": {},
}


@pytest.mark.parametrize("what", MEETS)
def test_a_configuration_meets_its_oddities(what):
    model = network(**MEETS[what])
    found = oddities.oddities(model.params, model.graph, 2)
    assert any(each.what.startswith(what) for each in found)
    known = {node.name for node in model.graph}
    assert all(set(each.layers) <= known for each in found)


def test_a_plain_configuration_meets_only_the_papers():
    model = UNet({"blocks": [{"filters": 3}]}, (4, 4, 1), 2)
    (found,) = oddities.oddities(model.params, model.graph, 2)
    assert found.what == "It is not the U-Net of the paper"
    plain = UNet({"blocks": [], "output_kernel_stride": 2, "output_kernel_size": 1}, (4, 4, 1), 2)
    assert [each.what for each in oddities.oddities(plain.params, plain.graph, 2)] == [
        "output_kernel_stride is never read"]


def test_the_tests_that_oddities_name_are_there():
    root = Path(__file__).parent.parent
    source = (root / "npunet/audit/oddities.py").read_text(encoding="utf-8")
    named = {text.value for text in ast.walk(ast.parse(source))
             if isinstance(text, ast.Constant) and str(text.value).startswith("tests/")}
    assert len(named) > 5
    for name in named:
        file, _, test = name.partition("::")
        assert f"def {test}(" in (root / file).read_text(encoding="utf-8"), name


def test_depthwise_kernels_start_small():
    """he_normal with KH*KW*C as the fan-in: sqrt(C) smaller than what one output's KH*KW terms ask for."""
    model = UNet({"blocks": [{"filters": 4, "seperable": True, "kernel": (5, 5)}]}, (8, 8, 256), 2)
    kernel = model.weights["ENC1_D1_conv/depthwise_kernel"]
    assert kernel.std() == pytest.approx(np.sqrt(2 / 25) / 16, rel=0.03)


def test_the_published_discrepancies_come_out_by_themselves():
    heart = claims.check(claims.load("heartkit"))
    parameters = [claim for claim in heart if claim.figure == "parameters"]
    assert {claim.documented for claim in parameters} == {"57K"}
    assert min(claim.counted for claim in parameters) == 27274 and max(claim.counted for claim in parameters) == 35405
    assert {claim.verdict for claim in parameters} == {"differs"}
    flops = next(claim for claim in heart if claim.figure == "flops")
    assert flops.counted == 2 * 1915392 and flops.verdict == "near"
    (sleep,) = claims.check(claims.load("sleepkit"))
    assert (sleep.documented, sleep.counted, sleep.verdict) == ("61K", 20737, "differs")


@pytest.mark.parametrize(("text", "value", "half"), [
    ("57K", 57000, 500), ("4.0M", 4e6, 5e4), ("35,405", 35405, 0.5), ("1.92 m", 1.92e6, 5e3)])
def test_a_documented_figure_says_how_exact_it_is(text, value, half):
    assert claims.read_figure(text) == pytest.approx((value, half))


def test_claims_that_hold(tmp_path):
    described = presets.load("tiny")
    configuration = {"name": "tiny", **{key: described[key] for key in ("architecture", "input_shape", "num_classes")}}
    claim = {"name": "tiny", "source": "here", "documented": {"parameters": "560", "macs": "7.4K", "flops": "20K"},
             "configurations": [configuration]}
    assert [each.verdict for each in claims.check({"claims": [claim]})] == ["agrees", "agrees", "differs"]
    with pytest.raises(ValueError, match="another form"):
        claims.check({"claims": [{"name": "x"}]})
    with pytest.raises(ValueError, match="'lions' is none of"):
        claims.check({"claims": [{**claim, "documented": {"lions": "3"}}]})


def test_every_figure_of_the_report_is_the_functions(tiny):
    found = audit(tiny, rate=50)
    data = report.as_dict(found)
    shown = subject(tiny)
    assert data["costs"]["macs"] == costs(tiny.graph).macs
    assert data["memory"]["arena"]["size"] == memory.memory(tiny.graph).arena.size
    assert data["ranges"] == report.plain(ranges.ranges(tiny, shown.x[None, 0]))
    assert data["gradients"]["adjoint_error"] == gradient_check.gradient_check(shown).adjoint_error
    assert data["fields"] == report.plain(fields.fields(shown))
    assert data["sizes"]["delay_ms"] == 20 * data["sizes"]["delay"]
    page = report.html(found)
    for row in summary.rows(tiny.graph):
        assert f"<td>{row.name}</td>" in page and f'<td class="n">{row.macs:,}</td>' in page
    assert json.loads(json.dumps(data, allow_nan=False))["passed"] is True
    assert report.text(found) == report.text(audit(tiny, rate=50))


def test_the_command(tmp_path, capsys):
    assert cli.main(["audit", "tiny", "-o", str(tmp_path / "a.html"), "--claims", "sleepkit"]) == 0
    out = capsys.readouterr().out
    assert "7,368 MACs a sample = 14,736 FLOPs" in out and "20,737" in out and "fails as it must" in out
    assert "<h2>Claims" in (tmp_path / "a.html").read_text(encoding="utf-8")
    assert cli.main(["audit", "tiny", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["costs"]["parameters"] == 560
    assert cli.main(["audit", "--claims", "heartkit"]) == 0
    assert "57K" in capsys.readouterr().out


@pytest.mark.parametrize(("arguments", "said"), [
    ([], "name a model"), (["tiny", "-o", "x.pdf"], ".html or .json"),
    (["--claims", "nothing.json"], "heartkit, sleepkit"),
])
def test_errors_are_one_line(capsys, arguments, said):
    assert cli.main(["audit", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_a_failed_check_is_the_exit_status(monkeypatch, capsys):
    right = OPERATORS["relu6"]
    monkeypatch.setitem(OPERATORS, "relu6", right._replace(backward=lambda dy, x: (dy,)))
    assert cli.main(["audit", "tiny"]) == 1


def test_hostile_names_stay_text(tiny):
    bad = "<script>alert(1)</script>"
    page = report.html(replace(audit(tiny), title=bad, told=bad))
    assert "<script" not in page

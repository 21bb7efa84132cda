"""One number taken apart in a terminal: its parts make the number that the trace has, to the last bit."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from npunet import UNet, cli, quantize
from npunet.audit.backprop import differentiated, gradient_apart
from npunet.audit.drawing import drawing
from npunet.audit.explain import explain, taken_apart, trace_of, with_halves
from npunet.audit.explain_integer import integer_apart, text
from npunet.audit.subject import subject
from npunet.cli import models
from npunet.integer import run as integer_run

BLOCK = {"filters": 3, "kernel": (2, 3), "pool": 3, "strides": 2, "depth": 2, "ddepth": 1}
KINDS = {
    "dense": {"dropout": 0.5},
    "separable, layer norm, elu": {"seperable": True, "norm": "layer", "activation": "elu", "dilation": (2, 1)},
    "no norm, selu": {"norm": None, "activation": "selu"},
    "leaky": {"activation": "leaky_relu"},
    "relu": {"activation": "relu", "seperable": True},
}


def network(kind: str) -> UNet:
    block = {**BLOCK, **KINDS[kind]}
    params = {"blocks": [block, {**block, "filters": 5}], "use_logits": False}
    model = UNet(params, (8, 12, 2), 3, seed=4)
    random = np.random.default_rng(0)
    for name, value in model.weights.read_only.items():
        if not name.endswith("kernel"):
            model.weights[name] = random.uniform(0.4, 1.6, value.shape)
    return model


@pytest.mark.parametrize("arithmetic", ["seq", "seq_fma"])
@pytest.mark.parametrize("level", ["trained", "deploy"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_parts_make_the_number(kind, level, arithmetic):
    model = network(kind)
    shown = subject(model, level=level)
    trace = model.trace(shown.x[None], level=level, arithmetic=arithmetic)
    random, values = np.random.default_rng(1), trace_of(shown, arithmetic)
    for name in with_halves(shown):
        shape = trace[name].shape[1:] if name in trace else (*trace[name.split("/")[0]].shape[1:3], 2)
        for index in ((0, 0, 0), tuple(size - 1 for size in shape), tuple(map(int, random.integers(0, shape)))):
            found = taken_apart(shown, values, name, index, arithmetic)
            if name in trace:
                assert found.value.tobytes() == trace[name][(0, *index)].tobytes()
            last = found.terms[found.choice].x if found.choice is not None else \
                found.steps[-1].value if found.steps else found.terms[-1].total
            assert np.float32(last).tobytes() == found.value.tobytes(), (name, index)
            for term in found.terms:
                assert term.at is not None or term.x == 0


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_handed_back_adds_up_to_the_gradient(kind):
    model = network(kind)
    shown = subject(model)
    labels = np.random.default_rng(2).integers(0, 3, shown.x.shape[:2])
    wide = UNet(model.params, model.input_shape, 3, dtype="float64").load_weights(model.weights)
    *_, dx, layers = wide.gradients(shown.x[None], labels[None], training=False, layers=True)
    result = differentiated(shown, labels, "sparse_categorical_crossentropy")
    for name in ("input", "ENC1_D1_conv", "ENC1_add", "ENC2_pool", "DEC2_D1_unpool", "softmax"):
        for index in ((3, 5, 1), (0, 0, 0)):
            if any(k >= size for k, size in zip(index, shown.graph.shape(name), strict=True)):
                continue
            found = gradient_apart(shown, result, name, index, "sparse_categorical_crossentropy")
            expected = float((dx if name == "input" else layers[name])[(0, *index)])
            assert found.gradient == pytest.approx(expected, rel=1e-9, abs=1e-14)
            if not found.is_output:
                assert sum(share.dy * share.slope for share in found.shares) == pytest.approx(
                    found.gradient, rel=1e-12, abs=1e-15)


def test_the_command(capsys):
    assert cli.main(["explain", "tiny", "-", "DEC1_D2_conv[5, 1]", "--gradient"]) == 0
    out = capsys.readouterr().out
    model = models.open_network("tiny")
    shown = subject(model)
    assert explain(shown, "DEC1_D2_conv", (5, 1)).index == (0, 5, 1)
    value = model.trace(shown.x[None, 0], arithmetic="seq_fma")["DEC1_D2_conv"][0, 0, 5, 1]
    assert f"DEC1_D2_conv[0, 5, 1] = {float(value):.9g}" in out
    assert re.search(r"products, in the order ky, kx, c", out)
    assert "d loss / d DEC1_D2_conv[0, 5, 1] = " in out


def test_the_index_may_be_that_of_an_array_of_trace(capsys):
    told = []
    for number in ("DEC1_D1_conv[3, 1]", "DEC1_D1_conv[0,3,1]", "DEC1_D1_conv[0,0,3,1]"):
        assert cli.main(["explain", "tiny", "-", number]) == 0
        told.append(capsys.readouterr().out)
    assert told[0] == told[1] == told[2]


def test_a_trained_network_is_taken_by_its_name(capsys, tmp_path):
    assert cli.main(["explain", "ecg-trained", "-", "NECK_conv[5, 1]"]) == 0
    model = models.open_network("ecg-trained")
    value = model.trace(subject(model).x[None, 0], arithmetic="seq_fma")["NECK_conv"][0, 0, 5, 1]
    assert f"NECK_conv[0, 5, 1] = {float(value):.9g}" in capsys.readouterr().out
    assert cli.main(["page", "ecg-trained", "-o", str(tmp_path / "p.html")]) == 0
    assert "random" not in capsys.readouterr().out


@pytest.mark.parametrize(("number", "said"), [
    ("DEC2_conv[0, 0]", "nearest are DEC2"), ("DEC1_D1_conv[99, 0]", "0..7, 0..4"), ("DEC1_D1_conv", "names no number"),
    ("DEC1_D1_conv[1]", "names no number"), ("DEC1_D1_conv[2, 0, 3, 1]", "--index 2"),
])
def test_what_is_not_there_is_said_in_one_line(capsys, number, said):
    assert cli.main(["explain", "tiny", "-", number]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_draw(tmp_path, capsys):
    assert cli.main(["draw", "ecg", "-o", str(tmp_path / "u.svg"), "--title", "<b>&"]) == 0
    root = ET.parse(tmp_path / "u.svg").getroot()
    layers = [group.get("data-layer") for group in root.iter("{http://www.w3.org/2000/svg}g")]
    assert layers == ["input", *(node.name for node in models.open_network("ecg").graph)]
    assert cli.main(["draw", "tiny", "-o", str(tmp_path / "u.gif")]) == 2
    assert ".svg or .png" in capsys.readouterr().err


def test_draw_png(tmp_path):
    pytest.importorskip("matplotlib")
    assert cli.main(["draw", "nuclei", "-o", str(tmp_path / "u.png")]) == 0
    assert (tmp_path / "u.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("preset", ["tiny", "ecg", "ecg-docstring", "nuclei"])
def test_every_label_lies_within_the_drawing(preset):
    """Measured in the font that the .png is drawn in, which is wider than a browser's."""
    font = pytest.importorskip("matplotlib.font_manager").FontProperties(family="DejaVu Sans", size=9)
    path = pytest.importorskip("matplotlib.textpath").TextPath
    drawn = drawing(models.open_network(preset).graph, preset)
    for label in drawn.labels[1:]:
        assert label.x + path((0, 0), label.text, prop=font).get_extents().width < drawn.width - 2


def test_the_drawing_is_to_scale():
    graph = models.open_network("nuclei").graph
    boxes = {box.layer: box for box in drawing(graph, "").boxes}
    assert boxes["input"].height / boxes["ENC2_add"].height == pytest.approx(2)
    assert boxes["ENC4_add"].width / boxes["ENC1_add"].width == pytest.approx(
        graph.shape("ENC4_add")[2] / graph.shape("ENC1_add")[2])
    order = [box.x for box in boxes.values()]
    assert order == sorted(order)


INTEGERS = {
    "int8": ("int8", "D", {}), "int8, rounded once": ("int8", "S", {"activation": "leaky_relu"}),
    "16x8": ("int16x8", "D", {"seperable": True, "activation": "elu"}),
    "int8, layer norm": ("int8", "D", {"norm": "layer", "activation": "selu"}),
    "16x8, layer norm": ("int16x8", "S", {"norm": "layer", "seperable": True, "dilation": (1, 2)}),
}


@pytest.mark.parametrize("kind", INTEGERS)
def test_integers_are_made_of_their_parts(kind):
    scheme, rounding, block = INTEGERS[kind]
    params = {"blocks": [{**BLOCK, **block}, {**BLOCK, **block, "filters": 5}], "use_logits": False}
    model = UNet(params, (8, 12, 2), 3, seed=4)
    random = np.random.default_rng(3)
    made = quantize(model, random.standard_normal((8, 8, 12, 2)).astype(np.float32), scheme, rounding)
    network, images = made.admit(made.quantize_input(random.standard_normal((1, 8, 12, 2))))
    trace = integer_run.forward(network, images)
    seen = set()
    for name, value in trace.items():
        shape = value.shape[1:]
        drawn = random.integers(0, shape, (6, 3)).tolist()
        for index in ((0, 0, 0), tuple(size - 1 for size in shape), *map(tuple, drawn)):
            found = integer_apart(network, trace, name, index)
            assert found.value == value[(0, *index)]
            assert found.real == network.tensors[name].scale * (found.value - network.tensors[name].zero_point)
            if name == network.input:
                continue
            seen.add(found.op)
            assert found.steps[-1].value == found.value, (name, index)
            if found.terms and found.terms[0].weight is not None:
                bias = int(network[name].arrays["bias"][index[2]])
                assert found.steps[0].value == bias + sum(term.product for term in found.terms)
                assert all(term.product == term.centred * term.w for term in found.terms)
            assert "stands for" in text(found)
    assert seen == {node.op for node in network}


def test_the_command_takes_integers_apart(tmp_path, capsys):
    made = quantize(models.open_network("tiny"), np.random.default_rng(0).standard_normal((4, 32, 1)))
    made.save(tmp_path / "int.npz")
    name = next(node.name for node in made.network if node.op == "conv2d")
    assert cli.main(["explain", str(tmp_path / "int.npz"), "-", f"{name}[3, 1]"]) == 0
    assert "acc, from the bias" in capsys.readouterr().out
    assert cli.main(["explain", str(tmp_path / "int.npz"), "-", f"{name}[3, 1]", "--gradient"]) == 2
    assert "no gradients" in capsys.readouterr().err


def test_a_batch_norm_can_be_done_again_from_what_is_printed(capsys):
    assert cli.main(["explain", "tiny", "-", "ENC1_D1.bn[12, 2]", "--gradient"]) == 0
    said = capsys.readouterr().out
    entering = re.findall(r"^  ENC1_D1\S*\[.*?\] +(\S+) ", said, re.MULTILINE)[:5]
    x, gamma, beta, mean, variance = map(float, entering)
    eps = float(re.search(r"variance \+ ([0-9.e-]+)\)", said)[1])
    told = float(re.search(r"= (\S+)   0x", said)[1])
    assert told == pytest.approx((x - mean) * gamma / (variance + eps) ** 0.5 + beta, rel=1e-6)
    assert "handed back by 1 number (" in said

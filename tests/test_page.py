"""The page in a real browser: every value that its JavaScript computes is the definition's, bit for bit."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import test_reference
from browser import chromium, feed, opened, traced

from npunet import UNet, cli, presets
from npunet.audit import bundle
from npunet.audit.drawing import KINDS
from npunet.audit.page import page as make_page
from npunet.audit.subject import subject
from npunet.integer.ops.table_of_operators import OPERATORS as INTEGER_OPERATORS
from npunet.ops.accumulate import fma32
from npunet.ops.table import CONVOLUTIONS, OPERATORS


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


def of_preset(name: str, **changes) -> UNet:
    described = presets.load(name)
    return UNet(described["architecture"], described["input_shape"], described["num_classes"], **changes)


def awkward(**block) -> UNet:
    """A network whose sizes sit badly together, its norms away from the identity."""
    changed = {"filters": 3, "kernel": (2, 3), "pool": 3, "strides": 2, "depth": 2, "ddepth": 1, **block}
    params = {"blocks": [changed, {**changed, "filters": 5}], "output_kernel_size": 2, "use_logits": False}
    return unsettled(UNet(params, (12, 20, 2), 3, seed=1))


def unsettled(model: UNet) -> UNet:
    """Biases, scales and statistics drawn anew, so that none of them is 0 or 1."""
    random = np.random.default_rng(5)
    for name, value in model.weights.read_only.items():
        if not name.endswith("kernel"):
            positive = name.endswith(("variance", "gamma"))
            drawn = random.uniform(0.5, 2, value.shape) if positive else random.normal(0, 0.5, value.shape)
            model.weights[name] = drawn
    return model


def signal(**block) -> UNet:
    changed = {"filters": 4, "kernel": (1, 5), "pool": (1, 3), "strides": (1, 2), "depth": 2, "ddepth": 1, **block}
    params = {"blocks": [changed, {**changed, "filters": 7}], "output_kernel_size": (1, 3)}
    return unsettled(UNet(params, (28, 2), 3, seed=2))


NETWORKS = {
    "tiny": lambda: unsettled(of_preset("tiny")),
    "ecg": lambda: unsettled(of_preset("ecg")),
    "even kernels, softmax": awkward,
    "separable, dilated, layer norm, elu":
        lambda: awkward(seperable=True, dilation=(2, 1), norm="layer", activation="elu"),
    "no norm, selu, dropout": lambda: awkward(norm=None, activation="selu", dropout=0.3),
    "leaky, no skip": lambda: awkward(activation="leaky_relu", skip=False, kernel=(1, 4)),
    "signal, relu": lambda: signal(activation="relu", dilation=2),
    "signal, separable, layer norm": lambda: signal(seperable=True, norm="layer", activation="selu", dilation=(1, 3)),
    "no blocks": lambda: UNet({"blocks": [], "use_logits": False}, (7, 5, 2), 3),
}


def same_bits(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert list(got) == list(expected)
    for name, values in expected.items():
        flat = values.ravel()
        wrong = np.flatnonzero(got[name].view(np.uint32) != flat.view(np.uint32))
        assert not len(wrong), f"{name}: {len(wrong)} of {flat.size} differ, first at {wrong[0]}: " \
                               f"{got[name][wrong[0]]!r} instead of {flat[wrong[0]]!r}"


@pytest.mark.parametrize("level", ["trained", "deploy"])
@pytest.mark.parametrize("name", NETWORKS)
def test_every_value_equals_the_trace_bit_for_bit(browser, tmp_path, name, level):
    model = NETWORKS[name]()
    (tmp_path / "page.html").write_text(make_page(subject(model, level=level)), encoding="utf-8")
    x = np.random.default_rng(3).normal(0, 2, (1, *model.input_shape)).astype(np.float32)
    with opened(browser, tmp_path / "page.html") as page:
        assert page.evaluate("window.npunet.level") == level
        for arithmetic in ("seq", "seq_fma"):
            shown = subject(model).x.reshape(1, *model.input_shape)
            feed(page, shown)
            same_bits(traced(page, arithmetic), model.trace(shown, level=level, arithmetic=arithmetic))
            feed(page, x)
            same_bits(traced(page, arithmetic), model.trace(x, level=level, arithmetic=arithmetic))


@pytest.mark.parametrize("name", ["tiny", "separable, dilated, layer norm, elu", "no norm, selu, dropout",
                                  "leaky, no skip"])
def test_values_at_the_ends_of_the_range(browser, tmp_path, name):
    """Subnormal, huge, infinite and undefined inputs: the same bits, and NaN where the definition has NaN."""
    model = NETWORKS[name]()
    random = np.random.default_rng(6)
    (tmp_path / "page.html").write_text(make_page(subject(model)), encoding="utf-8")
    with opened(browser, tmp_path / "page.html") as page:
        for scale in (1e-41, 1e-38, 1e18, 1e37):
            x = (scale * random.standard_normal((1, *model.input_shape))).astype(np.float32)
            if scale == 1e37:
                x.ravel()[[2, 9, 17]] = np.inf, -np.inf, np.nan
            feed(page, x)
            for arithmetic in ("seq", "seq_fma"):
                got = traced(page, arithmetic)
                with np.errstate(all="ignore"):
                    expected = model.trace(x, arithmetic=arithmetic)
                for layer, value in expected.items():
                    flat, found = value.ravel(), got[layer]
                    same = (flat.view(np.uint32) == found.view(np.uint32)) | (np.isnan(flat) & np.isnan(found))
                    assert same.all(), (layer, scale, arithmetic)


REFERENCES = test_reference.NAMES if os.environ.get("NPUNET_THOROUGH") else [
    "d1_layer_norm", "d1_pool_under_stride", "d1_selu_one_class", "d2_activations", "d2_dilation_left_over",
    "d2_kernel_over_image", "d2_separable_mixed", "d2_strides_mixed"]


@pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")
@pytest.mark.parametrize("name", REFERENCES)
def test_the_reference_networks(browser, tmp_path, name):
    """The networks that Keras' results are stored for, with Keras' weights and inputs."""
    case, arrays = test_reference.stored(name)
    model = test_reference.model_of(case, arrays, "float32")
    x = arrays["x"][:1].astype(np.float32)
    (tmp_path / "page.html").write_text(make_page(subject(model, x)), encoding="utf-8")
    with opened(browser, tmp_path / "page.html") as page:
        for arithmetic in ("seq", "seq_fma"):
            same_bits(traced(page, arithmetic), model.trace(x, arithmetic=arithmetic))


DIGESTS = """async () => {
    await window.npunet.ready;
    return Object.entries(await window.npunet.trace()).map(([name, values]) => {
        const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
        let sum = 0;
        for (let k = 0; k < words.length; k++) sum = (sum + Math.imul(words[k], Math.imul(2 * k + 1, 0x9e3779b1))) | 0;
        return [name, sum >>> 0];
    });
}"""


def digest(values: np.ndarray) -> int:
    """Every word times an odd number of its own place, modulo 2^32: no single word can change unseen."""
    words = np.ascontiguousarray(values, "<f4").ravel().view(np.uint32)
    places = (2 * np.arange(words.size, dtype=np.uint32) + np.uint32(1)) * np.uint32(0x9E3779B1)
    return int((words * places).sum(dtype=np.uint32))


def test_the_nuclei_page(browser, tmp_path):
    """Every bit of the whole image's 27 million values, in both arithmetics."""
    model = unsettled(of_preset("nuclei"))
    x = subject(model).x
    (tmp_path / "page.html").write_text(make_page(subject(model, x)), encoding="utf-8")
    assert (tmp_path / "page.html").stat().st_size < 3_000_000
    with opened(browser, tmp_path / "page.html") as page:
        for arithmetic in ("seq", "seq_fma"):
            page.evaluate("(name) => { window.npunet.arithmetic = name; }", arithmetic)
            got, expected = dict(page.evaluate(DIGESTS)), model.trace(x[None], arithmetic=arithmetic)
            assert list(got) == list(expected)
            assert not [name for name, value in expected.items() if got[name] != digest(value)]


@pytest.mark.parametrize(("name", "loss"), [
    *((name, "sparse_categorical_crossentropy") for name in NETWORKS if name != "no blocks"),
    *((name, loss) for name in ("tiny", "even kernels, softmax") for loss in ("categorical_focal", "dice"))])
def test_gradients(browser, tmp_path, name, loss):
    model = NETWORKS[name]()
    shown = subject(model)
    (tmp_path / "page.html").write_text(make_page(shown), encoding="utf-8")
    wide = UNet(model.params, model.input_shape, model.num_classes, dtype="float64").load_weights(model.weights)
    labels = np.random.default_rng(4).integers(0, model.num_classes, shown.x.shape[:2])
    x = shown.x.astype(float).reshape(1, *model.input_shape)
    labels = labels.reshape(1, *x.shape[1:-1])
    value, dweights, dx, layers = wide.gradients(x, labels, loss, training=False, layers=True)
    with opened(browser, tmp_path / "page.html") as page:
        got = page.evaluate("""([labels, chosen]) => {
            const { loss, layers, weights } = window.npunet.gradients(labels, chosen);
            const plain = (arrays) => Object.fromEntries(Object.entries(arrays).map(([k, v]) => [k, Array.from(v)]));
            return { loss, layers: plain(layers), weights: plain(weights) };
        }""", [labels.ravel().tolist(), loss])
    assert got["loss"] == pytest.approx(float(value), rel=1e-12)
    for expected, found in ((dweights, got["weights"]), ({**layers, "input": dx}, got["layers"])):
        assert set(found) == set(expected)
        for key, value in expected.items():
            assert np.abs(np.array(found[key]) - value.ravel()).max() <= 1e-12 * np.abs(value).max(), key


def directed() -> np.ndarray:
    """(n, 3) float32 a, b, c whose fused sum needs its one rounding: ties broken by a far smaller term, subnormals."""
    random = np.random.default_rng(7)
    n = 4000
    c = random.integers(2**23, 2**24, n) * 2.0 ** random.integers(-149, 80, n)
    half = 2.0 ** (np.floor(np.log2(c)) - 24)                                # half a unit in the last place of c
    k = random.integers(0, 4, n) * 2.0**-23
    ties = np.stack([1 + k, random.choice([-1, 1], n) * half * (1 - k), c], 1)  # c +- half (1 - k^2): beside a tie
    signs = random.choice([-1, 1], n)
    small = np.stack([random.integers(1, 2**24, n) * 2.0**-100, signs * 2.0**-random.integers(45, 73, n),
                      random.integers(0, 2**23, n) * 2.0**-149], 1)
    ends = np.array([[2.0**64, 2.0**63, np.finfo("f4").max], [-(2.0**64), 2.0**63, np.finfo("f4").max],
                     [2.0**52 * (1 - 2.0**-24), 2.0**51, np.finfo("f4").max], [np.inf, 1, -np.inf], [0, -1, -0.0],
                     [1 + 2.0**-12, 1 + 2.0**-12, -(1 + 2.0**-11)], [-(2.0**-80), 2.0**-80, 0],
                     [2.0**-75, 2.0**-75, 0]])
    with np.errstate(over="ignore"):
        return np.concatenate([ties, small, ends]).astype(np.float32)


def test_the_fused_multiply_add(browser, tmp_path):
    (tmp_path / "page.html").write_text(make_page(subject(of_preset("tiny"))), encoding="utf-8")
    cases = directed()
    expected = fma32(*cases.T)
    with np.errstate(all="ignore"):
        twice = (cases[:, 0].astype(float) * cases[:, 1] + cases[:, 2]).astype(np.float32)
    assert (twice != expected).sum() > 100, "these cases would not catch a sum that is rounded twice"
    with opened(browser, tmp_path / "page.html") as page:
        got = page.evaluate("(cases) => cases.map(([a, b, c]) => String(window.npunet.fma32(+a, +b, +c)))",
                            [[repr(float(value)).replace("inf", "Infinity") for value in case] for case in cases])
    got = np.array([float(text.replace("Infinity", "inf")) for text in got], np.float32)
    assert np.array_equal(got, expected, equal_nan=True)


def test_the_command_writes_a_page_that_opens(browser, tmp_path, capsys):
    assert cli.main(["page", "tiny", "-o", str(tmp_path / "page.html")]) == 0
    assert "as trained" in capsys.readouterr().out
    with opened(browser, tmp_path / "page.html") as page:
        assert page.evaluate("window.npunet.level") == "trained"


def test_the_ecg_page_is_small(tmp_path):
    assert cli.main(["page", "ecg", "-o", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").stat().st_size < 1_000_000


def test_names_cannot_inject_script(browser, tmp_path):
    hostile = "</script><script>window.broken = 1</script><img src=x onerror='window.broken = 2'>"
    described = presets.load("tiny")
    params = json.loads(json.dumps(described["architecture"]["params"]))
    params["model_name"] = hostile
    model = UNet(params, described["input_shape"], 2)
    text = make_page(subject(model), told=hostile, class_names=(hostile, hostile))
    (tmp_path / "page.html").write_text(text, encoding="utf-8")
    with opened(browser, tmp_path / "page.html") as page:
        assert page.evaluate("window.broken") is None
        assert hostile in page.evaluate("document.title")
        assert page.evaluate("document.querySelectorAll('script').length") == 3


def test_every_operator_is_drawn_and_has_its_javascript():
    """A new operator of the definition must come to the page too."""
    trained_only = {"batch_norm_train", "dropout", "fake_quantize"}
    floats, integers = set(OPERATORS) - trained_only, set(INTEGER_OPERATORS)
    assert floats | integers <= set(KINDS)
    for ops, module in ((floats, "network.js"), (floats, "apart.js"), (floats, "wide.js"), (floats, "formulas.js"),
                        (integers, "integers.js"), (set(CONVOLUTIONS), "convolution.js")):
        text = bundle.read(module)
        assert not [op for op in ops if not re.search(rf"^\s*{op}\b", text, re.MULTILINE)], module


def test_layer_names_cannot_inject_script_either(browser, tmp_path):
    """No network has such layers; the page does not rely on that."""
    model = of_preset("tiny")
    shown = subject(model)
    bad = {node.name: f"{node.name}\"><img src=x onerror='window.broken=1'></script><script>" for node in shown.graph}
    nodes = tuple(replace(node, name=bad[node.name], inputs=tuple(bad.get(name, name) for name in node.inputs))
                  for node in shown.graph)
    hostile = replace(shown, graph=replace(shown.graph, nodes=nodes, output=bad[shown.graph.output]))
    (tmp_path / "page.html").write_text(make_page(hostile), encoding="utf-8")
    with opened(browser, tmp_path / "page.html", viewport={"width": 1400, "height": 1000}) as page:
        for place in (3, 12):
            page.locator(".layer").nth(place).click(force=True)
            page.evaluate("() => window.npunet.app.schedule()")
        assert page.evaluate("window.broken") is None
        assert page.evaluate("document.querySelectorAll('img').length") == 0
        assert list(traced(page, "seq")) == list(bad.values())


def test_the_path_of_the_page_is_its_argument(tmp_path):
    assert cli.main(["page", "tiny", "-o", str(Path(tmp_path) / "no" / "page.html")]) == 2

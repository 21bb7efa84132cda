"""The page of integer networks in a real browser: the integers of the definition, and every one of them taken apart."""

from __future__ import annotations

import numpy as np
import pytest
from browser import chromium, feed, opened, traced

from npunet import UNet, cli, quantize
from npunet.audit.integer_page import integer_page
from npunet.cli import models

BLOCK = {"filters": 3, "kernel": (2, 3), "pool": 3, "strides": 2, "depth": 2, "ddepth": 1}
KINDS = {
    "int8": ("int8", "D", {}),
    "int8, rounded once": ("int8", "S", {"activation": "leaky_relu", "norm": None}),
    "16x8": ("int16x8", "D", {"seperable": True, "activation": "elu"}),
    "int8, layer norm": ("int8", "D", {"norm": "layer", "activation": "selu", "dilation": (2, 1)}),
    "16x8, layer norm": ("int16x8", "S", {"norm": "layer", "activation": "leaky_relu", "seperable": True}),
}
ALL_APART = """() => {
    const { app, takeApart } = window.npunet;
    const wrong = [];
    for (const node of app.description.nodes) {
        const [H, W, C] = node.shape;
        for (const index of [[0, 0, 0], [H - 1, W - 1, C - 1], [H >> 1, W >> 1, C >> 1]]) {
            const { value, steps } = takeApart(node.name, index);
            if (steps.at(-1).value !== value) wrong.push([node.name, index, steps.at(-1).value, value]);
        }
    }
    return wrong;
}"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


def network(kind: str):
    scheme, rounding, block = KINDS[kind]
    params = {"blocks": [{**BLOCK, **block}, {**BLOCK, **block, "filters": 5}], "use_logits": False}
    model = UNet(params, (8, 12, 2), 3, seed=4)
    data = np.random.default_rng(3).standard_normal((8, 8, 12, 2)).astype(np.float32)
    return quantize(model, data, scheme, rounding)


def whole(trace: dict[str, np.ndarray], model, x: np.ndarray) -> None:
    expected = model.trace(x)
    assert list(trace) == list(expected)
    for name, value in expected.items():
        assert np.array_equal(trace[name], value.ravel()), name


@pytest.mark.parametrize("kind", KINDS)
def test_every_integer_is_the_definitions(browser, tmp_path, kind):
    model = network(kind)
    random = np.random.default_rng(5)
    low, high = (-128, 128) if model.dtype == "int8" else (-32768, 32768)
    x = random.integers(low, high, (1, 8, 12, 2)).astype(model.dtype)
    real = model.quantize_input(random.standard_normal((1, 8, 12, 2)))
    at, images = model.admit(real)
    (tmp_path / "page.html").write_text(integer_page(at, images[0]), encoding="utf-8")
    with opened(browser, tmp_path / "page.html") as page:
        whole(traced(page, "seq"), model, real)
        feed(page, x)
        whole(traced(page, "seq"), model, x)
        assert page.evaluate(ALL_APART) == []


def test_the_ecg_network_in_integers_as_people_use_it(browser, tmp_path):
    model = models.open_network("ecg")
    made = quantize(model, np.random.default_rng(0).standard_normal((4, 256, 1)))
    made.save(tmp_path / "int8.npz")
    path = tmp_path / "page.html"
    assert cli.main(["page", str(tmp_path / "int8.npz"), "-o", str(path)]) == 0
    assert path.stat().st_size < 1_000_000
    with opened(browser, path, viewport={"width": 1400, "height": 1000}) as page:
        for node in made.network.nodes[::7]:
            page.locator(f'.layer[data-layer="{node.name}"]').click(force=True)
            page.evaluate("() => window.npunet.app.schedule()")
            assert page.locator("#layer h2").inner_text() == node.name
            told = page.locator("#number").inner_text()
            assert "stands for" in told
            assert "value = " in page.locator("#layer").inner_text()
        assert "an integer network rounds at every layer" in page.locator("#learning").inner_text()
        page.evaluate("() => window.npunet.app.editInput(100, 500.7)")
        values = traced(page, "seq")
        x = made.quantize_input(np.zeros((1, 256, 1)))
        x.ravel()[...] = page.evaluate("Array.from(window.npunet.app.network.tensors.get('input').data)")
        assert x[0, 100, 0] == 127
        whole(values, made, x)


def test_two_models_are_not_laid_over_integers(tmp_path, capsys):
    quantize(models.open_network("tiny"), np.random.default_rng(0).standard_normal((4, 32, 1))).save(tmp_path / "i.npz")
    assert cli.main(["page", str(tmp_path / "i.npz"), "--compare", "x", "-o", str(tmp_path / "p.html")]) == 2
    assert "integer network" in capsys.readouterr().err

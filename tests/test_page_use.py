"""The page as people use it, in a real browser: every layer clicked, numbers changed, keys alone, pictures taken.

Screenshots go to the folder that NPUNET_ARTEFACTS names, where it names one.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import CLICK_TIMEOUT, chromium, feed, opened, traced

from npunet import UNet, cli, presets, run
from npunet.audit.layer_facts import interval
from npunet.audit.page import page as make_page
from npunet.audit.subject import subject

SIZES = {"desktop": {"viewport": {"width": 1400, "height": 1000}},
         "phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True}}
THOROUGH = bool(os.environ.get("NPUNET_THOROUGH"))


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """{preset: (model, its sample, its page)}, the image small unless there is time."""
    made = {}
    folder = tmp_path_factory.mktemp("pages")
    for name in ("tiny", "ecg", "nuclei"):
        described = presets.load(name)
        shape = described["input_shape"] if name != "nuclei" or THOROUGH else (32, 48, 1)
        model = UNet(described["architecture"], shape, described["num_classes"])
        shown = subject(model)
        made[name] = model, shown, folder / f"{name}.html"
        made[name][2].write_text(make_page(shown, "a sample", tuple(described["class_names"])), encoding="utf-8")
    return made


EVERY_LAYER_CLICKED = """async () => {
    const text = (selector) => document.querySelector(selector)?.textContent ?? "";
    const seen = [];
    for (const box of document.querySelectorAll(".layer")) {
        const before = location.hash;
        const arrived = new Promise((resolve) => addEventListener("hashchange", resolve, { once: true }));
        box.dispatchEvent(new MouseEvent("click", { bubbles: true }));
        if (location.hash !== before) await arrived;
        await window.npunet.app.schedule();
        seen.push({
            layer: box.dataset.layer, heading: text("#layer h2"), caption: text("#drawing .caption strong"),
            place: text("#number .value code"), value: text("#number .value strong"), stats: text("#layer .stats"),
            figures: document.querySelectorAll("#layer figure").length,
            formulas: document.querySelectorAll("#layer math").length,
            python: text("#layer pre"), javascript: text("#layer h4 + pre"),
        });
    }
    return seen;
}"""


def settled(page) -> None:
    """Wait until nothing is being computed or drawn."""
    page.evaluate("() => window.npunet.app.schedule()")


@pytest.mark.parametrize("name", ["tiny", "ecg", "nuclei"])
def test_every_layer_clicked_shows_the_value_that_the_trace_has(browser, pages, name):
    model, shown, path = pages[name]
    trace = model.trace(shown.x.reshape(1, *model.input_shape), arithmetic="seq")
    with opened(browser, path, **SIZES["desktop"]) as page:
        page.evaluate("() => { window.npunet.arithmetic = 'seq'; }")
        settled(page)
        seen = {each["layer"]: each for each in page.evaluate(EVERY_LAYER_CLICKED)}
        assert list(seen) == ["input", *trace]
        for layer, value in trace.items():
            shown_there = seen[layer]
            index = tuple(int(part) for part in re.findall(r"\d+(?=[,\]])", shown_there["place"].removeprefix(layer)))
            assert shown_there["place"] == f"{layer}[{', '.join(map(str, index))}]"
            assert shown_there["heading"] == layer and shown_there["caption"].startswith(f"{layer}:")
            assert np.float32(shown_there["value"]) == value[(0, *index)], layer
            assert shown_there["figures"] == min(24, value.shape[3]) and shown_there["formulas"] >= 1
            assert re.search(r"for \(|=>|slice", shown_there["javascript"]) and "def " in shown_there["python"]
            low, high = re.match(r"Range (\S+) to (\S+),", shown_there["stats"]).groups()
            assert (float(low), float(high)) == pytest.approx((value.min(), value.max()), rel=6e-3)


def test_a_number_leads_back_to_the_input(browser, pages):
    _, _, path = pages["tiny"]
    with opened(browser, path, **SIZES["desktop"]) as page:
        page.evaluate("() => window.npunet.app.pick('DEC2_D3_conv', [0, 9, 1])")
        seen = []
        for _ in range(60):
            settled(page)
            place = page.locator("#number .value code").first.inner_text()
            seen.append(place)
            if place.startswith("input"):
                break
            page.locator("#number .terms .link[title$='take this number apart']").last.click()
        assert seen[-1].startswith("input["), seen
        page.get_by_role("button", name="back").click()
        settled(page)
        assert page.locator("#number .value code").first.inner_text() == seen[-2]


def test_changes_recompute_what_the_definition_gives(browser, pages):
    model, shown, path = pages["tiny"]
    x = shown.x.reshape(1, *model.input_shape).copy()
    with opened(browser, path, **SIZES["desktop"]) as page:
        before = traced(page, "seq_fma")
        page.evaluate("() => window.npunet.app.editInput(5, 2.5)")
        x[0, 5, 0] = 2.5
        expected = model.trace(x, arithmetic="seq_fma")
        got = traced(page, "seq_fma")
        assert all(np.array_equal(got[name], value.ravel()) for name, value in expected.items())

        page.evaluate("() => window.npunet.app.select('ENC1_D1_conv')")
        settled(page)
        page.get_by_role("button", name="set to 0").first.click()
        changed = UNet(model.params, model.input_shape, 2).load_weights(model.weights)
        changed.weights["ENC1_D1_conv/kernel"][0, 0, 0, 0] = 0
        expected, got = changed.trace(x, arithmetic="seq_fma"), traced(page, "seq_fma")
        assert all(np.array_equal(got[name], value.ravel()) for name, value in expected.items())
        settled(page)
        assert page.locator(".layer.changed").count() > 30

        page.get_by_role("button", name="reset all changes").click()
        settled(page)
        assert page.locator(".layer.changed").count() == 0
        got = traced(page, "seq_fma")
        assert all(np.array_equal(got[name], value) for name, value in before.items())


def test_pooling_swapped_and_a_skip_switched_off(browser, pages):
    model, shown, path = pages["tiny"]
    graph = model.graph
    nodes = tuple(replace(node, op="avg_pool2d") if node.name == "ENC1_pool" else node for node in graph)
    with opened(browser, path, **SIZES["desktop"]) as page:
        page.evaluate("() => window.npunet.app.select('ENC1_pool')")
        page.get_by_label("average instead of maximum").check()
        expected, _ = run.forward(replace(graph, nodes=nodes), model.weights, shown.x[None], arithmetic="seq")
        got = traced(page, "seq")
        assert all(np.array_equal(got[name], expected[name].ravel()) for name in got)
        settled(page)
        page.get_by_label("average instead of maximum").uncheck()

        page.evaluate("() => window.npunet.app.select('DEC2_D2_cat')")
        page.locator("#layer .change input").nth(1).uncheck()
        got = traced(page, "seq")["DEC2_D2_cat"].reshape(graph["DEC2_D2_cat"].shape)
        plain = model.trace(shown.x[None, 0], arithmetic="seq")["DEC2_D2_cat"][0]
        half = graph.shape(graph["DEC2_D2_cat"].inputs[0])[2]
        assert np.array_equal(got[..., :half], plain[..., :half]) and not got[..., half:].any()


def test_keys_alone_suffice(browser, pages):
    """From the first key press: choose a layer in the U, a number in its panel, step through it, change the input."""
    _, _, path = pages["tiny"]
    with opened(browser, path, **SIZES["desktop"]) as page:
        tab_to(page, ".layer")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")
        settled(page)
        chosen = page.locator("#layer h2").inner_text()
        assert chosen == page.evaluate("window.npunet.app.layerNames()[3]")
        page.evaluate("() => window.npunet.app.select('DEC1_D2_conv')")
        settled(page)
        tab_to(page, "[aria-label='next term']")
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        assert "Term 3 of" in page.locator(".step").inner_text()
        tab_to(page, "canvas.input")
        value = page.evaluate("window.npunet.app.network.tensors.get('input').data[16]")
        page.keyboard.press("ArrowUp")
        settled(page)
        assert page.evaluate("window.npunet.app.network.tensors.get('input').data[16]") > value
        tab_to(page, "#learning summary")
        page.keyboard.press("Enter")
        settled(page)
        tab_to(page, "[data-key='20 steps']")
        loss = float(page.locator("#learning strong").inner_text())
        page.keyboard.press("Enter")
        settled(page)
        assert float(page.locator("#learning strong").inner_text()) < loss


def test_what_is_operated_keeps_the_focus(browser, pages):
    """A field that was changed, or a button that was pressed, can be used again at once; and shows what is so now."""
    model, shown, path = pages["tiny"]
    with opened(browser, path, **SIZES["desktop"]) as page:
        page.evaluate("() => window.npunet.app.select('DEC1_D2_conv')")
        settled(page)
        field = page.locator("#layer .weight").first.get_by_label("c", exact=True)
        field.focus()
        page.keyboard.press("ArrowUp")
        page.keyboard.press("ArrowUp")
        settled(page)
        value = page.get_by_label("value of the weight").first.input_value()
        assert np.float32(value) == model.weights["DEC1_D2_conv/kernel"][0, 0, 2, 0]
        page.get_by_role("button", name="next layer").focus()
        for _ in range(3):
            page.keyboard.press("Enter")
            settled(page)
        names = [node.name for node in model.graph]
        assert page.locator("#layer h2").inner_text() == names[names.index("DEC1_D2_conv") + 3]
        sample = page.locator("#overview").get_by_label("sample", exact=True)
        sample.focus()
        page.keyboard.press("ArrowUp")
        settled(page)
        shows = page.locator("#overview").get_by_label("value", exact=True).input_value()
        assert float(shows) == pytest.approx(float(shown.x[0, 17, 0]), rel=1e-5)


def tab_to(page, selector: str) -> None:
    """Press Tab until the focus is on an element that matches."""
    for _ in range(150):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"Tab does not reach {selector}")


def test_a_signal_is_drawn_by_dragging(browser, pages):
    model, _, path = pages["tiny"]
    with opened(browser, path, **SIZES["desktop"]) as page:
        box = page.locator("canvas.input").bounding_box()
        before = page.evaluate("Array.from(window.npunet.app.network.tensors.get('input').data)")
        page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + 30)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 40, steps=4)
        page.mouse.up()
        settled(page)
        after = np.array(page.evaluate("Array.from(window.npunet.app.network.tensors.get('input').data)"), np.float32)
        assert (after != np.float32(before)).sum() >= 9
        got, expected = traced(page, "seq"), model.trace(after.reshape(1, 32, 1), arithmetic="seq")
        assert all(np.array_equal(got[name], value.ravel()) for name, value in expected.items())


def test_training_steps_are_those_of_the_formulas(browser, pages):
    model, shown, path = pages["tiny"]
    labels = model.predict(shown.x[None, 0], backend="numpy").argmax(-1)
    with opened(browser, path, **SIZES["desktop"]) as page:
        page.locator("#learning summary").click()
        settled(page)
        page.get_by_role("button", name="one training step").click()
        settled(page)
        name = "ENC1_D1_conv/kernel"
        got = np.array(page.evaluate("(name) => Array.from(window.npunet.app.network.weights.get(name).data)", name))
    wide = UNet(model.params, model.input_shape, 2, dtype="float64").load_weights(model.weights)
    _, gradients, _ = wide.gradients(shown.x[None, 0], labels, training=False)
    expected = model.weights[name].astype(float) - 0.1 * gradients[name]
    assert np.allclose(got, expected.ravel(), rtol=1e-7, atol=0)


OVERHANGING = """() => [...document.querySelectorAll("p, h1, h2, h4, th, td, .controls, figure, label, button, math")]
    .filter((each) => each.offsetParent !== null && !each.closest(".scroll, .formula, pre, #drawing svg"))
    .filter((each) => each.getBoundingClientRect().right > (each.closest("section")?.getBoundingClientRect().right ??
        innerWidth) + 1)
    .map((each) => `${each.tagName} ${each.textContent}`)"""
COLOUR = """(name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim()"""


def artefacts(tmp_path: Path) -> Path:
    """Where pictures are kept."""
    folder = Path(os.environ.get("NPUNET_ARTEFACTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", SIZES)
def test_pictures_at_desktop_and_phone_size(browser, pages, tmp_path, size, scheme):
    """Nothing is wider than the screen or its panel, text can be told from its ground; pictures are kept to be seen."""
    for name, (_, _, path) in pages.items():
        if name == "nuclei" and not (THOROUGH or size == "phone"):
            continue
        with opened(browser, path, color_scheme=scheme, **SIZES[size]) as page:
            page.evaluate("() => window.npunet.app.pick('DEC2_D3_conv', [0, 9, 1])")
            settled(page)
            page.screenshot(path=artefacts(tmp_path) / f"page-{name}-{size}-{scheme}.png", full_page=True)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert page.evaluate(OVERHANGING) == []
            colours = {each: page.evaluate(COLOUR, each) for each in ("ink", "muted", "accent", "changed", "card")}
            for ink in ("ink", "muted", "accent", "changed"):
                assert contrast(colours[ink], colours["card"]) > 4.5, ink


def test_print_is_dark_on_white_and_whole(browser, pages, tmp_path):
    """In print nothing scrolls and nothing is operated; a dark screen prints on white paper, its pictures too."""
    _, _, path = pages["tiny"]
    with opened(browser, path, color_scheme="dark", viewport={"width": 760, "height": 1000}) as page:
        page.evaluate("() => window.npunet.app.pick('DEC2_D3_conv', [0, 9, 1])")
        settled(page)
        corner = """() => {
            const copy = new OffscreenCanvas(4, 4).getContext("2d", { willReadFrequently: true });
            copy.drawImage(document.querySelector("canvas.input"), 0, 0);
            return [...copy.getImageData(2, 2, 1, 1).data];
        }"""
        assert sum(page.evaluate(corner)[:3]) < 400
        page.emulate_media(media="print", color_scheme="dark")
        page.wait_for_function(f"() => ({corner})().slice(0, 3).every((part) => part > 150)")
        page.screenshot(path=artefacts(tmp_path) / "page-tiny-print.png", full_page=True)
        assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert contrast(page.evaluate(COLOUR, "accent"), "#ffffff") > 4.5
        assert not page.get_by_role("button", name="reset input").is_visible()
        assert page.evaluate("() => document.getElementById('number').scrollHeight <= "
                             "document.getElementById('number').clientHeight + 1")


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours, 1 to 21. Source: WCAG 2.1, relative luminance."""
    def luminance(colour: str) -> float:
        digits = colour.lstrip("#")
        digits = "".join(2 * digit for digit in digits) if len(digits) == 3 else digits
        parts = [int(digits[k : k + 2], 16) / 255 for k in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_ecg_page_opens_within_a_second(browser, pages):
    """Of the browser's own time, which other work on the machine does not lengthen much."""
    assert seconds_to_open(browser, pages["ecg"][2]) < 1


def seconds_to_open(browser, path: Path) -> float:
    """Seconds that the page's thread works until everything is computed and drawn."""
    context = browser.new_context(offline=True, **SIZES["desktop"])
    context.set_default_timeout(CLICK_TIMEOUT)
    try:
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto(path.as_uri())
        page.evaluate("() => window.npunet.ready")
        settled(page)
        measured = {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}
        return measured["TaskDuration"]
    finally:
        context.close()


@pytest.mark.parametrize("filters", [420, pytest.param(1830, marks=pytest.mark.skipif(
    not THOROUGH, reason="30 million parameters only where there is time (NPUNET_THOROUGH=1)"))])
def test_a_network_too_large_is_sampled_and_says_so(browser, tmp_path, filters):
    block = {"filters": filters, "depth": 1, "kernel": (1, 3), "pool": (1, 2), "strides": (1, 2)}
    model = UNet({"blocks": [block], "output_kernel_size": (1, 3)}, (16, 1), 2)
    path = tmp_path / "page.html"
    path.write_text(make_page(subject(model)), encoding="utf-8")
    assert path.stat().st_size < 10_000_000
    assert seconds_to_open(browser, path) < 3
    assert sum(weight.size for weight in model.weights.read_only.values()) > (30e6 if filters > 1000 else 1.5e6)
    with opened(browser, path) as page:
        assert "too large to be held whole" in page.locator("#header").inner_text()
        page.locator('.layer[data-layer="DEC1_D1_conv"]').click(force=True)
        assert "samples only" in page.locator("#number").inner_text()
        told = page.locator("#layer .stats").inner_text()
        value = model.trace(subject(model).x[None, 0])["DEC1_D1_conv"]
        assert f"{float(f'{value.min():.4g}'):g}" in told
        with pytest.raises(Exception, match="too large to be recomputed"):
            page.evaluate("() => window.npunet.trace()")


def test_what_a_stranger_asks_of_dec2_d3_conv(browser, tmp_path):
    """What does it compute, what does it cost, where does this number come from, what if this weight were 0?"""
    assert cli.main(["page", "ecg", "-o", str(tmp_path / "page.html")]) == 0
    with opened(browser, tmp_path / "page.html", **SIZES["desktop"]) as page:
        page.locator('.layer[data-layer="DEC2_D3_conv"]').click(force=True)
        told = page.locator("#layer").inner_text()
        for words in ("Convolve an image with a bank of filters", "131,072 multiply-accumulates", "6.8 %", "2,048",
                      "receptive field"):
            assert words in told
        assert "The sum starts at +0 and takes 64 products" in page.locator("#number").inner_text()
        page.locator("#number .terms .link[title^='DEC2_D3_conv/kernel']").nth(2).click()
        settled(page)
        page.locator("#layer").get_by_role("button", name="set to 0").click()
        settled(page)
        assert "Before the changes it was" in page.locator("#number").inner_text()


def test_a_weight_set_to_0_where_its_product_stands(browser, pages):
    """The stranger's last question, answered where it arises; a weight that is asked for comes into sight."""
    model, shown, path = pages["ecg"]
    with opened(browser, path, **SIZES["desktop"]) as page:
        page.evaluate("() => window.npunet.app.pick('DEC2_D3_conv', [0, 20, 3])")
        settled(page)
        page.get_by_role("button", name="next term").click()
        page.get_by_role("button", name="set this w to 0").click()
        settled(page)
        changed = UNet(model.params, model.input_shape, 4).load_weights(model.weights)
        changed.weights["DEC2_D3_conv/kernel"][0, 0, 1, 3] = 0
        expected = changed.trace(shown.x.reshape(1, *model.input_shape), arithmetic="seq")
        got = traced(page, "seq")
        assert all(np.array_equal(got[name], value.ravel()) for name, value in expected.items())
        settled(page)
        before = model.trace(shown.x.reshape(1, *model.input_shape), arithmetic="seq")["NECK_conv"]
        after = expected["NECK_conv"]
        told = page.locator("#overview .was").inner_text()
        assert f"at {(before.argmax(-1) != after.argmax(-1)).sum()} of 256 positions" in told
        most = float(re.search(r"by up to (\S+),", told).group(1))
        assert most == pytest.approx(np.abs(after - before).max(), rel=6e-3)
        page.locator("#number .terms .link[title^='DEC2_D3_conv/kernel']").nth(2).click()
        settled(page)
        assert page.evaluate("""() => {
            const box = document.querySelector('#layer .weight').getBoundingClientRect();
            return box.top < innerHeight && box.bottom > 0;
        }""")


@pytest.mark.parametrize("name", ["ecg", "nuclei"])
def test_the_part_of_the_input_that_a_number_depends_on(browser, pages, name):
    """What the page frames is what the graph's dependencies are, at both ends and in the middle of every layer."""
    _, shown, path = pages[name]
    with opened(browser, path, **SIZES["desktop"]) as page:
        for node in list(shown.graph)[::1 if THOROUGH else 7]:
            for share in (0, 0.5, 1):
                at = [int(share * (size - 1)) for size in node.shape]
                page.evaluate("([layer, at]) => window.npunet.app.pick(layer, at)", [node.name, at])
                settled(page)
                got = page.evaluate("() => window.npunet.app.window()")
                expected = [list(interval(shown.graph, node.name, axis, at[axis])) for axis in (0, 1)]
                assert got == expected, (node.name, at)
        told = page.locator("#overview .told").inner_text()
        assert f"columns {expected[1][0]} to" in told if name == "nuclei" else f"samples {expected[1][0]} to" in told


def test_the_page_is_there_before_the_network_is_computed(browser, pages):
    """What a layer computes and costs can be read, and layers chosen, while numbers are still to come."""
    _, _, path = pages["nuclei"]
    context = browser.new_context(offline=True, **SIZES["desktop"])
    context.set_default_timeout(CLICK_TIMEOUT)
    page = context.new_page()
    try:
        page.add_init_script("""
            const real = Float32Array.prototype.fill;
            window.early = null;
            Float32Array.prototype.fill = function (...given) {  // the first convolution begins
                window.early ??= document.querySelector("#layer").innerText;
                return real.apply(this, given);
            };
        """)
        page.goto(path.as_uri())
        page.evaluate("() => window.npunet.ready")
        early = page.evaluate("window.early")
    finally:
        context.close()
    assert "ENC1_D1_conv" in early and "multiply-accumulates" in early and "Range" not in early


def test_tapping_a_value_on_a_phone_leads_to_its_number(browser, pages):
    _, _, path = pages["ecg"]
    with opened(browser, path, **SIZES["phone"]) as page:
        page.locator('.layer[data-layer="DEC2_D3_conv"]').tap(force=True)
        assert "DEC2_D3_conv" in page.locator("#drawing .caption strong").inner_text()
        page.locator("#layer figure canvas").nth(3).tap()
        page.wait_for_function("""() => {
            const box = document.getElementById("number").getBoundingClientRect();
            return Math.abs(box.top) < 40;
        }""")


def test_another_input_given_by_script_is_no_change(browser, pages):
    model, _, path = pages["ecg"]
    x = np.random.default_rng(8).standard_normal((1, 256, 1)).astype(np.float32)
    with opened(browser, path) as page:
        feed(page, x)
        settled(page)
        assert page.get_by_role("button", name="reset all changes").count() == 0
        got, expected = traced(page, "seq"), model.trace(x, arithmetic="seq")
        assert all(np.array_equal(got[name], value.ravel()) for name, value in expected.items())


def test_a_tour_walks_through_the_layers_that_were_named(browser, tmp_path, capsys):
    path = tmp_path / "page.html"
    assert cli.main(["page", "tiny", "--layers", "ENC1_pool,NECK_conv", "-o", str(path)]) == 0
    with opened(browser, path, **SIZES["desktop"]) as page:
        assert page.locator("#layer h2").inner_text() == "ENC1_pool"
        page.get_by_role("button", name="next layer").click()
        settled(page)
        assert page.locator("#layer h2").inner_text() == "NECK_conv"
    assert cli.main(["page", "tiny", "--layers", "ENC1_pol", "-o", str(path)]) == 2
    assert "nearest are ENC1_pool" in capsys.readouterr().err


def test_another_model_laid_over_it(browser, tmp_path, pages, capsys):
    model, shown, _ = pages["tiny"]
    other = UNet(model.params, model.input_shape, 2).load_weights(model.weights)
    other.weights["DEC1_D2_conv/kernel"][0, 0, 0, 0] += 1
    model.save(tmp_path / "one.npz")
    other.save(tmp_path / "other.npz")
    path = tmp_path / "page.html"
    assert cli.main(["page", str(tmp_path / "one.npz"), "--compare", str(tmp_path / "other.npz"), "-o", str(path)]) == 0
    with opened(browser, path, **SIZES["desktop"]) as page:
        page.get_by_role("button", name="put its weights in").click()
        settled(page)
        assert "First layer that differs: DEC1_D2_conv" in page.locator("#comparison").inner_text()
        got, expected = traced(page, "seq"), other.trace(shown.x[None, 0], arithmetic="seq")
        assert all(np.array_equal(got[name], value.ravel()) for name, value in expected.items())
        page.get_by_role("button", name="put this model's own weights back").click()
        got, expected = traced(page, "seq"), model.trace(shown.x[None, 0], arithmetic="seq")
        assert all(np.array_equal(got[name], value.ravel()) for name, value in expected.items())
    UNet({"blocks": [], "output_kernel_size": (1, 3)}, (32, 1), 2).save(tmp_path / "third.npz")
    capsys.readouterr()
    assert cli.main(["page", "tiny", "--compare", str(tmp_path / "third.npz"), "-o", str(path)]) == 2
    assert "another architecture" in capsys.readouterr().err


def test_a_verification_laid_over_it(browser, tmp_path):
    bundle, model = tmp_path / "bundle", str(tmp_path / "model.npz")
    assert cli.main(["new", "tiny", model]) == 0
    assert cli.main(["golden", model, "-o", str(bundle), "--formats", "npz"]) == 0
    with np.load(bundle / "f32" / "case00_random" / "tensors.npz") as file:
        outputs = {name: file[name] for name in file.files if name.endswith(".out")}
    wrong = next(name for name in outputs if "ENC2_D1_conv" in name)
    outputs[wrong] = outputs[wrong] * np.float32(1.5)
    np.savez(tmp_path / "port.npz", **outputs)
    cli.main(["verify", str(bundle), str(tmp_path / "port.npz"), "--no-diagnosis", "--json", str(tmp_path / "v.json")])
    path = tmp_path / "page.html"
    assert cli.main(["page", model, "--level", "deploy", "--compare", str(tmp_path / "v.json"), "-o", str(path)]) == 0
    with opened(browser, path, **SIZES["desktop"]) as page:
        told = page.locator("#comparison").inner_text()
        assert "FAIL" in told and "first wrong layer: ENC2_D1_conv" in told
        assert "status-FAIL" in page.locator('.layer[data-layer="ENC2_D1_conv"]').get_attribute("class")


def test_one_number_differentiated(browser, pages):
    """d NECK_conv[0, 9, 1] / d input by the page, against a complex step through the definition."""
    model, shown, path = pages["tiny"]
    with opened(browser, path, **SIZES["desktop"]) as page:
        page.evaluate("() => window.npunet.app.pick('NECK_conv', [0, 9, 1])")
        page.locator("#learning summary").click()
        settled(page)
        page.get_by_role("button", name="the number that is taken apart").click()
        page.evaluate("() => window.npunet.app.pick('input', [0, 8, 0])")
        settled(page)
        shown_gradient = page.locator("#number h4 + p strong").inner_text()
    x = shown.x[None].astype(complex)
    x[0, 0, 8, 0] += 1e-30j
    wide = {name: value.astype(float) for name, value in model.weights.items()}
    expected = run.infer(model.graph, wide, x)[0, 0, 9, 1].imag / 1e-30
    assert float(shown_gradient) == pytest.approx(expected, rel=1e-8)


def test_a_network_without_layers_opens(browser, tmp_path):
    model = UNet({"blocks": [], "include_top": False}, (5, 4, 2))
    (tmp_path / "page.html").write_text(make_page(subject(model)), encoding="utf-8")
    with opened(browser, tmp_path / "page.html") as page:
        assert page.locator("#layer h2").inner_text() == "input"
        assert traced(page, "seq") == {}

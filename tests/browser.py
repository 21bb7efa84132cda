"""A real headless Chromium for the tests of the page; they skip, and say why, where there is none."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

CLICK_TIMEOUT = 120_000  # milliseconds that a click may wait for: the machine may be busy
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
TRACE = """async () => {
    await window.npunet.ready;
    const trace = await window.npunet.trace();
    return Object.entries(trace).map(([name, values]) => {
        const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
        let text = "";
        for (let k = 0; k < bytes.length; k += 32768) text += String.fromCharCode(...bytes.subarray(k, k + 32768));
        return [name, btoa(text)];
    });
}"""


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser. Skips the test where playwright or Chromium is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no browser here: none of {', '.join(PROGRAMS)}")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(browser: Any, path: Path, **options: Any) -> Iterator[Any]:
    """A page from the file system; an error that it reports fails the test."""
    context = browser.new_context(offline=True, **options)
    context.set_default_timeout(CLICK_TIMEOUT)
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    try:
        page.goto(path.as_uri())
        assert not faults, faults
        page.evaluate("() => window.npunet.ready")
        yield page
    finally:
        context.close()
    assert not faults, faults


def traced(page: Any, arithmetic: str) -> dict[str, np.ndarray]:
    """What the page computes, layer by layer, flat."""
    page.evaluate("(name) => { window.npunet.arithmetic = name; }", arithmetic)
    return {name: np.frombuffer(base64.b64decode(text), "<f4") for name, text in page.evaluate(TRACE)}


def feed(page: Any, x: np.ndarray) -> None:
    """Give the page another input."""
    page.evaluate("async (values) => { await window.npunet.setInput(Float32Array.from(values, Number)); }",
                  [str(value).replace("inf", "Infinity") for value in x.ravel().tolist()])

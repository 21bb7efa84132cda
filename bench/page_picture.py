"""The README's picture of a page, made anew: python bench/page_picture.py [-o bench/pictures/page.png]

It shows the trained ECG network on the sample made by formulas. Needs playwright, pillow, and Chromium from the
system's packages.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parent.parent))  # npunet, where it is not installed

from PIL import Image
from playwright.sync_api import sync_playwright

from npunet import cli

PICTURE = Path(__file__).resolve().parent / "pictures" / "page.png"
COLOURS = 128  # in the file: the page has few, and a picture in a repository had better be small
SIZE = {"width": 1400, "height": 1330}
LAYER, INDEX = "DEC2_D3_conv", [0, 20, 3]


def main() -> int:
    """Write the page, open it, choose a layer and a number, take the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--out", default=PICTURE, type=Path)
    arguments = parser.parse_args()
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        print("no chromium here: apt-get install chromium", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        path = Path(folder) / "page.html"
        if status := cli.main(["page", "ecg-trained", "-o", str(path)]):
            return status
        browser = running.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(path.as_uri())
        page.evaluate("() => window.npunet.ready")
        page.evaluate("([layer, index]) => window.npunet.app.pick(layer, index)", [LAYER, INDEX])
        page.evaluate("() => window.npunet.app.schedule()")
        page.screenshot(path=arguments.out)
        browser.close()
    picture = Image.open(arguments.out).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    picture.save(arguments.out, optimize=True)
    print(f"wrote   {arguments.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The Verilog benches, run with Icarus: they pass on golden numbers and fail on others."""

import shutil
import subprocess

import pytest
from golden_cases import files_of

from npunet import UNet
from npunet.golden import Bundle, golden, writers

pytestmark = pytest.mark.skipif(not (shutil.which("iverilog") and shutil.which("vvp")),
                                reason="no Icarus Verilog on this machine")
BLOCK = {"filters": 3, "kernel": [3, 2], "pool": [3, 2], "strides": [2, 1]}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hex") / "bundle"
    golden(UNet({"blocks": [BLOCK]}, (10, 7, 2), 3, seed=5), folder, formats=("hex",), cases=("random",))
    return folder


@pytest.fixture
def hexed(made, tmp_path):
    return shutil.copytree(made / "hex", tmp_path / "hex")


def simulated(folder, source, *arguments, words=None):
    given = [] if words is None else ["-P", f"compare.WORDS={words}"]
    subprocess.run(["iverilog", "-g2005", "-Wall", *given, "-o", "bench", source], cwd=folder, check=True)
    done = subprocess.run(["vvp", "bench", *arguments], cwd=folder, check=True, text=True, capture_output=True)
    return done.stdout


def test_the_pooling_unit_agrees(hexed):
    assert "VERDICT PASS  L" in simulated(hexed, "max_pool.v")


@pytest.mark.parametrize(("wrong", "right"), [
    ("(first || greater)", "greater"),                       # keeps the last window's value
    ("x[30:0] < best[30:0]", "x[30:0] > best[30:0]"),        # negative floats the wrong way round
    ("TOP = 0", "TOP = 1"),
])
def test_a_wrong_pooling_unit_fails(wrong, right, hexed):
    text = (hexed / "max_pool.v").read_text()
    assert text.count(wrong) == 1
    (hexed / "max_pool.v").write_text(text.replace(wrong, right))
    said = simulated(hexed, "max_pool.v")
    assert "VERDICT FAIL" in said and "first at [" in said


def test_two_files_are_compared_word_by_word(hexed, made):
    layer = next(iter(Bundle(made).layers.values()))
    want = hexed / f"case00_random/{layer['id']}.out.mem"
    words = [line for line in want.read_text().splitlines() if not line.startswith("//")]
    arguments = (f"+want={want}", "+got=got.mem")
    (hexed / "got.mem").write_text("\n".join(words))
    assert "VERDICT PASS  0 of" in simulated(hexed, "compare.v", *arguments, words=len(words))
    (hexed / "got.mem").write_text("\n".join([*words[:4], "3f800000", *words[5:]]))
    said = simulated(hexed, "compare.v", *arguments, words=len(words))
    assert "first at 4: got 3f800000, want " in said and "VERDICT FAIL  1 of" in said
    (hexed / "got.mem").write_text("\n".join(words[:-2]))
    assert "VERDICT FAIL  2 of" in simulated(hexed, "compare.v", *arguments, words=len(words))


def test_every_output_of_the_first_case_is_there(made):
    bundle = Bundle(made)
    paths = {f"hex/case00_random/{key}.mem" for key in ["in", *(f"{layer}.out" for layer in bundle.layers)]}
    assert paths == {path for path in files_of(made) if path.endswith(".mem")}
    value = bundle.tensor("case00_random", "in")
    text = writers.readmemh(value, "case00_random in")
    assert (made / "hex/case00_random/in.mem").read_text() == text and "// NHWC 1x10x7x2 float32: 140 words" in text

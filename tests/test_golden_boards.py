"""Bundles for a board: what is written, and that it computes the bundle's bits in every target's emulator."""

import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from board_ports import IN_CI, built, judged, make, needs

from npunet.cli import main
from npunet.golden import cgen, golden
from npunet.golden.boards import TARGETS, commands
from npunet.ops.accumulate import fma32
from npunet.verify import boards

THOROUGH = "NPUNET_THOROUGH" in os.environ
EVERYWHERE = tuple(TARGETS) if THOROUGH else IN_CI


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Bundles of the preset tiny by kind and target, each made once."""
    made = {}

    def bundle(kind, target):
        if (kind, target) not in made:
            made[kind, target] = make("tiny", kind, target, tmp_path_factory.mktemp(f"{kind}-{target}") / "b")
        return made[kind, target]

    return bundle


@pytest.mark.parametrize("optimise", [("-O0",), ("-O2",), ("-O3", "-ffp-contract=fast")], ids=" ".join)
@pytest.mark.parametrize("kind", ["float", "int8"])
@pytest.mark.parametrize("target", EVERYWHERE)
def test_the_quick_network_bit_for_bit(target, kind, optimise, tiny, tmp_path):
    needs(target)
    bundle = tiny(kind, target)
    result = judged(bundle, target, built(bundle, target, tmp_path / "net.elf", *optimise), tmp_path / "net.log")
    assert result.verdict == "PASS" and not result.faults


@pytest.mark.parametrize("kind", ["float", "int8"])
@pytest.mark.parametrize("target", EVERYWHERE)
def test_the_ecg_network_bit_for_bit(target, kind, tmp_path):
    needs(target)
    bundle = make("ecg", kind, target, tmp_path / "b")
    result = judged(bundle, target, built(bundle, target, tmp_path / "net.elf", "-O2"), tmp_path / "net.log")
    assert result.verdict == "PASS" and len(result.layers) > 60


@pytest.mark.parametrize(("level", "arithmetic"), [("trained", "seq_fma"), ("deploy", "seq")])
@pytest.mark.parametrize("target", ["aarch64", "cortex-m4"])
def test_gcc_fuses_nothing_by_itself(target, level, arithmetic, tmp_path):
    """Sums of products that are rounded twice, and an option that asks for one rounding."""
    needs(target)
    golden("tiny", tmp_path / "b", level=level, arithmetic=arithmetic, formats=("bin", "c"), target=target,
           cases=("random",))
    elf = built(tmp_path / "b", target, tmp_path / "net.elf", "-O3", "-ffp-contract=fast")
    assert judged(tmp_path / "b", target, elf, tmp_path / "net.log").verdict == "PASS"
    source = tmp_path / "b/c/net.c"
    source.write_text(source.read_text().replace('#pragma GCC optimize("fp-contract=off")', ""))
    elf = built(tmp_path / "b", target, tmp_path / "net.elf", "-O3", "-ffp-contract=fast")
    assert judged(tmp_path / "b", target, elf, tmp_path / "net.log").verdict == "FAIL"


def triples(rng, count=2000):
    """x, w, acc whose sum rounds differently when it is rounded to double before, and random ones."""
    tie = np.float32([2**-12 * (1 + 2**-18), 2**-12 * (1 - 2**-18), 1 + 2**-23])  # 1 + 2^-23 + 2^-24 - 2^-60
    signs = rng.choice(np.float32([-1, 1]), (count, 1))
    near = tie * np.float32(2.0) ** np.stack([k := rng.integers(-40, 40, count), -k, 0 * k], 1) * [1, 1, 1]
    near[:, [0, 2]] *= signs
    wild = rng.integers(0, 1 << 32, (count, 3), dtype=np.uint64).astype(np.uint32).view(np.float32)
    small = rng.standard_normal((count, 3)).astype(np.float32) * np.float32([1e-20, 1e-19, 1e-38])
    return np.concatenate([near.astype(np.float32), wild, small])


FUSED = """
#include <math.h>
#include <stdint.h>
#include <string.h>
{kernel}
{declare}
static const uint32_t words[][4] = {{ {rows} }};
int main(void)
{{
    int wrong = 0;
    for (unsigned n = 0; n < sizeof words / sizeof *words; n++) {{
        float v[3];
        uint32_t bits;
        memcpy(v, words[n], sizeof v);
        const float sum = multiply_add(v[0], v[1], v[2]);
        memcpy(&bits, &sum, sizeof bits);
        wrong += sum == sum ? bits != words[n][3] : (words[n][3] & 0x7fffffffu) <= 0x7f800000u;
    }}
    {end}
}}
"""


def fused_source(rng, end, declare="", kernel=None):
    values = triples(rng)
    with np.errstate(all="ignore"):
        sums = fma32(values[:, 0], values[:, 1], values[:, 2]).astype(np.float32)
    words = np.column_stack([values.view(np.uint32), sums.view(np.uint32)])
    rows = ",\n".join("{" + ", ".join(f"0x{word:08x}u" for word in row) + "}" for row in words.tolist())
    kernel = cgen.sections()["multiply_add_seq_fma"][1] if kernel is None else kernel
    return FUSED.format(kernel=kernel, rows=rows, end=end, declare=declare)


@pytest.mark.parametrize("flags", [("-O0",), ("-O3", "-ffp-contract=fast")], ids=" ".join)
def test_a_fused_multiply_add_of_our_own(flags, rng, tmp_path):
    """Against the definition, on values where rounding twice shows."""
    compiler = next((name for name in ("gcc", "clang", "cc") if boards.shutil.which(name)), None)
    if compiler is None:
        pytest.skip("no C compiler on this machine")
    (tmp_path / "f.c").write_text("#define NET_OWN_FMA\n" + fused_source(rng, "return wrong > 99 ? 99 : wrong;"))
    strict = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror")
    subprocess.run([compiler, *strict, *flags, tmp_path / "f.c", "-lm", "-o", tmp_path / "f"], check=True)
    assert subprocess.run([tmp_path / "f"], check=False).returncode == 0


@pytest.mark.parametrize("level", ["-O0", "-O2"])
@pytest.mark.parametrize("target", TARGETS if THOROUGH else ["cortex-m3", "cortex-m4"])
def test_products_are_fused_where_the_c_library_rounds_twice(target, level, rng, tiny, tmp_path):
    """The kernel on the target: newlib's fmaf, which is called on a Cortex-M3 and at -O0, rounds twice."""
    needs(target)
    row, bundle = TARGETS[target], tiny("float", target)
    end = 'board_put(wrong ? "NPU DONE 1\\n" : "NPU DONE 0\\n"); return wrong != 0;'
    (tmp_path / "f.c").write_text(fused_source(rng, end, '#include "board.h"'))
    command = [word for word in commands.compiling(row, commands.outputs(row)[0], str(tmp_path / "f.elf"), (level,))
               if not re.search(r"/(net|net_log|cases|serial_log)\.c$|case_data\.S$", word)]
    subprocess.run([*command, tmp_path / "f.c", "-Ic/board", "-lm"], cwd=bundle, check=True, capture_output=True)
    done = subprocess.run(commands.running(row, str(tmp_path / "f.elf")), stdin=subprocess.DEVNULL, capture_output=True,
                          timeout=120, check=False)
    assert b"NPU DONE 0" in done.stdout


def test_the_serial_line_and_the_command_that_the_bundle_tells(tiny, tmp_path, capsys, monkeypatch):
    """As README.txt says: build.sh, then npunet verify --run with the command."""
    needs("cortex-m4")
    bundle = tiny("float", "cortex-m4")
    monkeypatch.chdir(tmp_path)
    script = bundle / "c/board/build.sh"
    subprocess.run(["sh", script, "build", "uart"], check=True, capture_output=True)
    told = re.search(r'--run "(.*)"', script.read_text())[1]
    assert main(["verify", str(bundle), "--run", told, "--log", "kept.log"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"run     {told}  (foreign code, run as you)\n") and out.endswith("VERDICT PASS\n")
    assert Path("kept.log").read_text().endswith("NPU DONE 0\n")
    assert main(["verify", str(bundle), "kept.log"]) == 0


@pytest.mark.parametrize("target", EVERYWHERE)
def test_run_without_a_command_builds_and_runs(target, tiny, capsys):
    needs(target)
    assert main(["verify", str(tiny("int8", target)), "--run"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("build   ") and TARGETS[target].words in out and "VERDICT PASS" in out


def test_a_fault_on_the_board_is_named(tiny, tmp_path, capsys):
    needs("cortex-m4")
    bundle = tiny("float", "cortex-m4")
    copy = boards.shutil.copytree(bundle, tmp_path / "b")
    source = copy / "c/net.c"
    text = source.read_text()
    assert text.count("best = -INFINITY") == 1
    source.write_text(text.replace("best = -INFINITY", "best = 0.0f"))
    elf = built(copy, "cortex-m4", tmp_path / "net.elf", "-O2")
    told = " ".join(commands.running(TARGETS["cortex-m4"], str(elf)))
    assert main(["verify", str(copy), "--run", told]) == 2
    assert "net.c is not the file that SHA256SUMS lists; it is not run" in capsys.readouterr().err
    assert main(["verify", str(bundle), "--run", told]) == 1
    assert re.search(r"FIRST DIVERGENCE +L\d+_ENC1_pool", capsys.readouterr().out)


def test_an_exception_of_the_processor_is_told(tiny, tmp_path):
    needs("cortex-m4")
    bundle = boards.shutil.copytree(tiny("float", "cortex-m4"), tmp_path / "b")
    log = bundle / "c/board/net_log.c"
    log.write_text(log.read_text().replace("board_put(\"NPU DONE 0\\n\");", "*(volatile int *)0xf0000000u = 1;"))
    result = judged(bundle, "cortex-m4", built(bundle, "cortex-m4", tmp_path / "net.elf", "-O2"), tmp_path / "net.log")
    assert result.verdict == "ERROR" and "the processor met an exception" in str(result.faults[0])


@pytest.mark.parametrize("target", TARGETS)
def test_what_a_bundle_for_a_target_holds(target, tmp_path):
    bundle = make("tiny", "float", target, tmp_path / "b", cases=("random",))
    sums = (bundle / "SHA256SUMS").read_text()
    there = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()} - {"SHA256SUMS"}
    assert {line[66:] for line in sums.splitlines()} == there
    row = TARGETS[target]
    assert set(commands.sources(row, commands.outputs(row)[0])) | {"c/board/target.json", "c/board/build.sh"} <= there
    assert ("c/board/board.ld" in there) == (row.board is not None)
    readme = (bundle / "README.txt").read_text()
    assert f"--target {target}" in readme and "npunet verify BUNDLE --run" in readme
    assert "@" not in "".join((bundle / name).read_text() for name in there if name.startswith("c/board/"))
    assert boards.target_of(bundle) == row


def test_memories_of_a_board_do_not_overlap():
    for target in TARGETS.values():
        if target.board is not None:
            vectors = (target.board.start, target.board.start + 1024)
            spans = sorted([vectors, *((m.origin, m.origin + m.length)
                                       for m in (target.board.code, target.board.data, target.board.cases))])
            assert all(before[1] <= after[0] for before, after in pairwise(spans)), target.name


def test_what_does_not_fit_is_refused(tmp_path, capsys, monkeypatch):
    assert main(["golden", "tiny", "--target", "cortex-m5", "-o", str(tmp_path / "b")]) == 2
    assert "there is no target cortex-m5" in capsys.readouterr().err
    assert main(["golden", "tiny", "--target", "cortex-m4", "--formats", "npz,c", "-o", str(tmp_path / "b")]) == 2
    assert "needs 'bin' among the bundle's formats" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()
    golden("tiny", tmp_path / "plain", cases=("random",), formats=("bin", "c"))
    for given, told in (([], "give the port's outputs, or --run"), (["out", "--run", "x"], "one of the two"),
                        (["--run"], "was made for no target"), (["--run", ""], "has an empty command"),
                        (["--run", "'"], "No closing quotation"), (["--run", " "], "empty command"),
                        (["--run", "x", "--run-seconds", "0"], "must be above 0"),
                        (["--run", "no-such-program-here"], "cannot run no-such-program-here")):
        assert main(["verify", str(tmp_path / "plain"), *given]) == 2
        assert told in capsys.readouterr().err
    golden("tiny", tmp_path / "m4", cases=("random",), formats=("bin", "c"), target="cortex-m4")
    monkeypatch.setattr(boards.shutil, "which", lambda name: None)
    assert main(["verify", str(tmp_path / "m4"), "--run"]) == 2
    assert ("arm-none-eabi-gcc and qemu-system-arm are missing: apt-get install gcc-arm-none-eabi "
            "libnewlib-arm-none-eabi qemu-system-arm") in capsys.readouterr().err

"""No faulty port passes: bundles of presets as the command makes them, every fault of the list, whatever is shown."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
from verify_cases import FAULTS, Ports

from npunet import cli, presets
from npunet.golden import Bundle
from npunet.verify import mutants, verify

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc on this machine")
THOROUGH = bool(os.environ.get("NPUNET_THOROUGH"))
# What reads the same numbers in these networks: a signal has one row, and their dilations are 1.
SAME = {"dilation ignored", "dilations swapped", "one dilation for both"}
OF_ROWS = {"one row late", "no padding above", "stride too large", "no check of columns", "columns first"}
ROUNDING = {"fused multiply-add", "sum in double", "a partial sum a tap", "columns first", "from the back",
            "library exp", "softmax by reciprocal", "library expm1"}  # right ports, but for the declared order


def made(preset, arithmetic, folder):
    """The bundle that the command makes."""
    assert cli.main(["golden", preset, "-o", str(folder / "bundle"), "--arithmetic", arithmetic]) == 0
    return Ports(Bundle(folder / "bundle"), folder)


def bytes_of(out):
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.bin"))}


def part(out, name, keep):
    """A folder with some of the files of another."""
    shown = out.parent / name
    for path in out.rglob("*.bin"):
        if keep(path):
            (shown / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, shown / path.parent.name)
    return shown


@pytest.mark.parametrize(("preset", "arithmetic"), [
    (name, order) for name in presets.names() for order in ("seq_fma", "seq")] if THOROUGH else [("tiny", "seq")])
def test_no_faulty_port_of_a_preset_passes(preset, arithmetic, tmp_path):
    ports = made(preset, arithmetic, tmp_path)
    bundle = ports.bundle
    right = bytes_of(ports.run_all(ports.compiled("right", ports.source)))
    assert verify(bundle, tmp_path / "right/out").verdict == "PASS"
    last, first = bundle.manifest["model"]["output"], next(iter(bundle.cases))
    applicable = [name for name, (edits, _) in FAULTS.items() if all(old in ports.source for old, _ in edits)]
    assert len(applicable) > 35
    applicable = applicable if THOROUGH else applicable[::6]

    def examine(name):
        edits, _ = FAULTS[name]
        try:
            out = ports.run_all(ports.compiled(name, ports.faulty(edits)))
        except subprocess.CalledProcessError:              # it reads beside its memory and dies
            return name, "died"
        if bytes_of(out) == right:
            return name, "same"
        passed = [what for what, shown, options in (
            ("all", out, {}),
            ("all, bounded", out, {"bounded": True}),
            ("the output", part(out, "output", lambda path: path.name == f"{last}.out.bin"), {}),
            ("the output, bounded", out.parent / "output", {"bounded": True}),
            ("the output asked for, bounded", out.parent / "output", {"bounded": True, "layers": [last]}),
            ("one case", part(out, "case", lambda path: path.parent.name == first), {}),
            ("one case, bounded", out.parent / "case", {"bounded": True}),
        ) if verify(bundle, shown, explain=False, **options).verdict == "PASS"]
        for folder in (out, out.parent / "output", out.parent / "case"):
            shutil.rmtree(folder)
        return name, passed

    with ThreadPoolExecutor(2) as pool:
        table = dict(pool.map(examine, applicable))
    unseen = {name for name, what in table.items() if what == "same"}
    assert unseen <= SAME | (OF_ROWS | ROUNDING if preset in ("tiny", "ecg", "ecg-docstring") else ROUNDING), unseen
    wrong = {name: what for name, what in table.items()
             if what not in ("same", "died", [])
             and not (name in ROUNDING and all(shown.endswith("bounded") for shown in what))}
    assert not wrong, wrong


@pytest.mark.skipif(not THOROUGH, reason="a minute a preset; NPUNET_THOROUGH=1 runs it")
@pytest.mark.parametrize("preset", presets.names())
def test_no_mutant_survives_in_the_bundle_of_a_preset(preset, tmp_path):
    ports = made(preset, "seq_fma", tmp_path)
    told = mutants.score(ports.bundle.root)
    assert told["survived"] == 0 and told["score"] == 1
    rounding = {"weights_quantised"}                       # of a filter with one weight, which its own scale gives back
    assert {row["mutant"] for row in told["table"] if row["hidden"]} <= rounding

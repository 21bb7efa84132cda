"""No faulty port passes: bundles of presets as the command makes them, every fault of the list, whatever is shown."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
from verify_cases import FAULTS, Ports
from verify_roundings import ROUNDINGS, ROUNDINGS_SEQ

from npunet import cli, presets
from npunet.golden import Bundle
from npunet.verify import mutants, verify
from npunet.verify.feeds import Feeds

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc on this machine")
THOROUGH = bool(os.environ.get("NPUNET_THOROUGH"))
# What reads the same numbers in these networks: dilations are 1, a signal has one row, kernels of images are square.
SAME = {"dilation ignored", "dilations swapped", "one dilation for both"}
OF_ROWS = {"one row late", "no padding above", "stride too large", "no check of columns", "columns first"}
OF_SQUARES = {"pads swapped"}
SIGNALS = ("tiny", "ecg", "ecg-docstring")
ROUNDING = {"fused multiply-add", "sum in double", "a partial sum a tap", "columns first", "from the back",
            "library exp", "softmax by reciprocal", "library expm1"}  # right ports, but for the declared order


class Remembering(Bundle):
    """A bundle that runs each of its cases again once, not for every port that is judged."""

    @cache  # noqa: B019 - it lives as long as the test
    def run_again(self, case):
        return super().run_again(case)


def made(preset, arithmetic, folder):
    """The bundle that the command makes."""
    assert cli.main(["golden", preset, "-o", str(folder / "bundle"), "--arithmetic", arithmetic]) == 0
    return Ports(Remembering(folder / "bundle"), folder)


def part(out, name, keep):
    """A folder with some of the files of another."""
    shown = out.parent / name
    for path in out.rglob("*.bin"):
        if keep(path):
            (shown / path.parent.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, shown / path.parent.name)
    return shown


def differing(out, right, layers):
    """Layers whose files are not the right port's, in the order of the network."""
    found = {path.name.rpartition(".out.")[0] or path.name.rpartition(".acc.")[0] for path in out.rglob("L*.bin")
             if path.read_bytes() != (right / path.relative_to(out)).read_bytes()}
    return [layer for layer in layers if layer in found]


def passes(bundle, shown, wrong, **options):
    """Whether a port passes; the first wrong layer is judged alone, then all, which no right layer can make worse."""
    if verify(bundle, shown, explain=False, layers=wrong[:1], **options).verdict == "FAIL":
        return False
    return verify(bundle, shown, explain=False, **options).verdict == "PASS"


@pytest.mark.parametrize(("preset", "arithmetic"), [
    (name, order) for name in presets.names() for order in ("seq_fma", "seq")] if THOROUGH else [("tiny", "seq_fma")])
def test_no_faulty_port_of_a_preset_passes(preset, arithmetic, tmp_path, monkeypatch):
    ports = made(preset, arithmetic, tmp_path)
    derived, deltas = {}, Feeds.deltas                      # bounds that are those of the bundle, whatever the port

    def once(feeds, case):
        if case not in derived:
            derived[case] = deltas(feeds, case)
        return derived[case]

    monkeypatch.setattr(Feeds, "deltas", once)
    bundle = ports.bundle
    right = ports.run_all(ports.compiled("right", ports.source))
    assert verify(bundle, right).verdict == "PASS"
    last, first = bundle.manifest["model"]["output"], next(iter(bundle.cases))
    shown = {"the output": lambda path: path.name == f"{last}.out.bin",
             "one case": lambda path: path.parent.name == first}
    for name, keep in shown.items():                        # of a right port: not all is shown, so it is no PASS
        assert verify(bundle, part(right, name, keep)).verdict == "INCOMPLETE"
    roundings = ROUNDINGS if arithmetic == "seq_fma" else ROUNDINGS_SEQ
    faults = {name: edits for name, (edits, _) in (*FAULTS.items(), *roundings.items())
              if all(old in ports.source for old, _ in edits)}
    assert len(faults) > 45

    def examine(name):
        only_rounded = name in ROUNDING or name in roundings
        program = ports.compiled(name, ports.faulty(faults[name]))
        try:
            out = ports.run_all(program)
        except subprocess.CalledProcessError:              # it reads beside its memory and dies
            return name, "died"
        wrong = differing(out, right, bundle.layers)
        if not wrong:
            return name, "same"
        passed = ["all"] if passes(bundle, out, wrong) else []
        if not only_rounded and passes(bundle, out, wrong, bounded=True):
            passed.append("all, bounded")
        if last in wrong and not only_rounded:             # bit for bit it is what `all` has shown already
            output = part(out, "output", shown["the output"])
            if verify(bundle, output, bounded=True, explain=False, layers=[last]).verdict == "PASS":
                passed.append("the output, bounded")
        shutil.rmtree(out.parent)
        return name, passed

    with ThreadPoolExecutor(2) as pool:
        table = dict(pool.map(examine, faults if THOROUGH else list(faults)[::6]))
    print(preset, arithmetic, len(table), "faults,", sum(what == [] for what in table.values()), "never pass,",
          [name for name, what in table.items() if what == "died"], "died,",
          [name for name, what in table.items() if what == "same"], "make no difference")
    unseen = {name for name, what in table.items() if what == "same"}
    assert unseen <= SAME | (OF_ROWS if preset in SIGNALS else OF_SQUARES), unseen
    wrong = {name: what for name, what in table.items() if what not in ("same", "died", [])}
    assert not wrong, wrong


@pytest.mark.skipif(not THOROUGH, reason="a minute a preset; NPUNET_THOROUGH=1 runs it")
@pytest.mark.parametrize("preset", presets.names())
def test_no_mutant_survives_in_the_bundle_of_a_preset(preset, tmp_path):
    ports = made(preset, "seq_fma", tmp_path)
    told = mutants.score(ports.bundle.root)
    assert told["survived"] == 0 and told["score"] == 1
    rounding = {"weights_quantised"}                       # of a filter with one weight, which its own scale gives back
    assert {row["mutant"] for row in told["table"] if row["hidden"]} <= rounding

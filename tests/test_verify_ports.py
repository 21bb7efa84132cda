"""Ports in C, right and faulty: verify names the first wrong layer and the cause; --score what a bundle catches."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from verify_cases import FAULTS, Ports, make_bundle

from npunet import UNet, cli
from npunet.golden import Bundle, golden
from npunet.verify import machine, mutants, verify
from npunet.verify.diagnose import HYPOTHESES, WHOLES

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc on this machine")


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ports")
    return Ports(make_bundle(folder / "bundle"), folder)


@pytest.fixture(scope="module")
def right(ports):
    """The outputs of the port as generated in every case."""
    return ports.run_all(ports.compiled("right", ports.source))


def differing(out, right, layers):
    """The first layer whose files are not the right port's, by their bytes alone."""
    for layer in layers:
        for path in sorted(out.glob(f"*/{layer}.*.bin")):
            if path.read_bytes() != (right / path.relative_to(out)).read_bytes():
                return layer
    return None


@needs_gcc
def test_a_right_port_passes_with_nothing_off(ports, right):
    result = verify(ports.bundle, right)
    assert result.verdict == "PASS" and result.status == 0 and result.diagnosis is None
    assert {case for layer in result.layers for check in layer.checks for case in [check.case]} > {"case00_random"}
    assert all(check.chained.max_ulp == 0 and check.chained.differ == 0 for v in result.layers for check in v.checks)
    assert verify(ports.bundle, right, bounded=True).verdict == "PASS"


@pytest.mark.slow
@needs_gcc
def test_faults_in_the_generated_c_are_found_and_named(ports, right):
    """Every second fault: the first wrong layer always, the cause in nine of ten, never a pass."""
    def examine(name):
        edits, causes = FAULTS[name]
        program = ports.compiled(name, ports.faulty(edits))
        out = ports.run(program)
        wrong = differing(out, right, ports.bundle.layers)
        if wrong is None:                                # a corner case: only layers that are fed with it show it
            ports.run_layers(program, {"relu6", "max_pool2d"})
            wrong = differing(out, right, ports.bundle.layers)
        result = verify(ports.bundle, out)
        found = result.diagnosis.causes[0]
        named = found.whole and bool(causes & set(found.names))
        return name, result.verdict, result.first.record["id"] == wrong, named, found.words

    with ThreadPoolExecutor(2) as pool:
        table = list(pool.map(examine, list(FAULTS)[::2]))
    assert len(table) >= 25
    assert [row for row in table if row[1] != "FAIL" or not row[2]] == []
    missed = [(row[0], row[4]) for row in table if not row[3]]
    assert len(missed) <= len(table) // 10, missed


@needs_gcc
def test_two_faults_at_once_are_named_as_a_pair(ports):
    edits = FAULTS["kernel mirrored"][0] + FAULTS["fused multiply-add"][0]
    result = verify(ports.bundle, ports.run(ports.compiled("two", ports.faulty(edits))))
    found = result.diagnosis.causes[0]
    assert found.whole and found.exact and set(found.names) == {"kernel_flipped", "multiply_add"}


def test_there_are_enough_hypotheses():
    assert len(HYPOTHESES) + len(WHOLES) >= 30 and not set(HYPOTHESES) & set(WHOLES)


def test_the_score_names_the_case_that_catches_each_mutant(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["golden", "tiny", "-o", "bundle", "--score", "--formats", "npz"]) == 0
    said = capsys.readouterr().out
    assert "MUTATION SCORE 100.0 %" in said and "SURVIVED" not in said
    told = Bundle("bundle").manifest["mutation_score"]
    assert told["mutants"] >= 40 and told["survived"] == 0 and told["killed"] > 2000
    assert told["killed"] + told["equivalent"] == told["instances"]
    cases = set(Bundle("bundle").cases)
    for row in told["table"]:
        assert set(row["cases"]) <= cases and (row["cases"] or not row["killed"])
        assert all(reason for reason in row["equivalent"])
    flipped = next(row for row in told["table"] if row["mutant"] == "kernel_flipped")
    assert flipped["killed"] and "L000_ENC1_D1_conv" in flipped["cases"]
    result = verify("bundle", "bundle/f32")               # the score has changed the manifest, not the bundle
    assert result.verdict == "PASS"


def test_a_poor_bundle_scores_less(tmp_path):
    """Zeros alone catch hardly anything: the score is able to fall."""
    block = {"filters": 2, "kernel": [1, 3], "pool": [1, 2], "strides": [1, 2]}
    golden(UNet({"blocks": [block], "output_kernel_size": [1, 3]}, (16, 1), 2, seed=1), tmp_path / "b",
           cases=("zeros",), formats=("npz",))
    told = mutants.score(tmp_path / "b")
    assert told["score"] < 0.5 and told["survived"] > 100


def test_a_partial_port_is_incomplete_and_a_layer_in_between_is_suspected(tmp_path):
    bundle = make_bundle(tmp_path / "b", formats=("npz",), cases=("random",))
    layers = list(bundle.layers)
    case = next(iter(bundle.cases))
    shown = {layer: bundle.tensor(case, f"{layer}.out") for layer in layers[::3]}
    np.savez(tmp_path / "part.npz", **shown)
    result = verify(bundle, tmp_path / "part.npz")
    assert result.verdict == "INCOMPLETE" and result.status == 3
    assert sum(layer.status == "SKIPPED" for layer in result.layers) == len(layers) - len(shown)
    assert verify(bundle, tmp_path / "part.npz", layers=list(shown)).verdict == "PASS"
    bad = layers[9]
    np.savez(tmp_path / "part.npz", **{**shown, bad: shown[bad] + np.float32(1)})
    result = verify(bundle, tmp_path / "part.npz")
    assert result.verdict == "FAIL" and result.first.record["id"] == bad
    assert result.first.worst.unseen == tuple(layers[7:9])
    told = json.loads(machine.as_json(result))
    assert told["first_divergence"] == bad and told["verdict"] == "FAIL"

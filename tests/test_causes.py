"""Faults in C ports of four networks: the first wrong layer always right, the cause in nine of ten, none made up."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import causes_latest  # noqa: F401  (fills FURTHER)
import causes_layers  # noqa: F401  (fills FAULTS)
import causes_more  # noqa: F401  (fills FURTHER)
import causes_wide  # noqa: F401  (fills FURTHER)
import causes_wider  # noqa: F401  (fills FURTHER)
import numpy as np
import pytest
from causes_faults import FAULTS as FIRST
from causes_further import FURTHER
from causes_networks import NETWORKS, Port, make_bundle
from causes_truth import CAUSES

from npunet.verify import verify
from npunet.verify.diagnose import HYPOTHESES, Hypothesis, search, shelter

pytestmark = pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc on this machine")
THOROUGH = os.environ.get("NPUNET_THOROUGH") == "1"
EVERY = 1 if THOROUGH else 12
FAULTS = FIRST | FURTHER


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("causes")
    made = {name: make_bundle(name, folder / name / "bundle") for name in NETWORKS}
    return {name: (bundle, Port(bundle).run(folder / name / "right", first(bundle))) for name, bundle in made.items()}


def first(bundle):
    """The case that is dumped."""
    return [next(iter(bundle.cases))]


def differing(bundle, out, right):
    """The first layer whose files are not the right port's, by their bytes alone."""
    for layer in bundle.layers:
        for path in sorted(out.glob(f"*/{layer}.*.bin")):
            if path.read_bytes() != (right / path.relative_to(out)).read_bytes():
                return layer
    return None


def examine(name, bundles, folder):
    """(name, whether verdict and layer are right, "right" or "honest" or "wrong", words)."""
    fault = FAULTS[name]
    bundle, right = bundles[fault.network]
    out = fault.run(Port(bundle), folder / name.replace(" ", "_").replace("/", "_"), first(bundle))
    result = verify(bundle, out, time_limit=600)
    found = result.diagnosis.causes[0]
    located = result.verdict == "FAIL" and result.first.record["id"] == differing(bundle, out, right)
    kind = "honest" if not found.found else "right" if found.names[0] in CAUSES[fault.told] else "wrong"
    return name, located, kind, found.words


def test_faults_are_located_and_their_causes_named(bundles, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "TIME_LIMIT", 0.3)
    with ThreadPoolExecutor(2) as pool:
        table = list(pool.map(lambda name: examine(name, bundles, tmp_path), list(FAULTS)[::EVERY]))
    for row in table:
        print(*row, sep=" | ")
    assert len(table) >= 100 // EVERY
    assert [row for row in table if not row[1]] == []
    assert [row for row in table if row[2] == "wrong"] == []
    assert sum(row[2] == "right" for row in table) >= 0.9 * len(table)


def late(bundle, layer, folder, spoil=None):
    """Dumps of three runs in which a layer works on what it read in the run before; or its output is spoilt."""
    cases = [key for key, case in bundle.cases.items() if case["scope"] == "network"][:3]
    for case, before in zip(cases, [None, *cases], strict=False):
        (folder / case).mkdir(parents=True)
        for key in bundle.layers:
            out = bundle.tensor(case, f"{key}.out")
            if key == layer and spoil:
                out = spoil(out)
            elif key == layer:
                fed = bundle.inputs(before or case, layer)
                out = bundle.run_layer(layer, fed if before else [np.zeros_like(x) for x in fed]).out
            np.ascontiguousarray(out, "<f4").tofile(folder / case / f"{key}.out.bin")
    return folder


def numbered(bundle, name):
    return next(key for key, record in bundle.layers.items() if record["name"] == name)


def test_an_input_of_the_run_before_is_told_from_several_runs(bundles, tmp_path):
    bundle, _ = bundles["planes"]
    layer = numbered(bundle, "ENC2_skip")
    result = verify(bundle, late(bundle, layer, tmp_path / "late"))
    assert result.first.record["id"] == layer
    assert [cause.names for cause in result.diagnosis.causes] == [("input_of_run_before",)]


@pytest.mark.parametrize("value", [np.nan, 3e38])
def test_dumps_of_nothing_but_nan_or_huge_numbers_have_a_diagnosis(value, bundles, tmp_path, monkeypatch):
    monkeypatch.setattr(search, "TIME_LIMIT", 0.05)
    bundle, _ = bundles["planes"]
    layer = numbered(bundle, "ENC3_skip")

    def spoil(out):
        return np.where(np.arange(out.size).reshape(out.shape) % 3, np.float32(value), np.float32(-np.inf))

    result = verify(bundle, late(bundle, layer, tmp_path / "spoilt", spoil), time_limit=4)
    assert result.first.record["id"] == layer and result.diagnosis.causes


def test_a_hypothesis_that_raises_is_left_out(bundles, tmp_path, monkeypatch):
    def broken(recipe):
        raise ValueError("cannot reshape")
        yield

    bundle, _ = bundles["planes"]
    out = late(bundle, numbered(bundle, "ENC3_skip"), tmp_path / "moved", lambda out: np.roll(out, 1, 2))
    monkeypatch.setitem(HYPOTHESES, "broken", Hypothesis("broken", (), broken))
    with pytest.raises(ValueError, match="cannot reshape"):
        verify(bundle, out)
    monkeypatch.setattr(shelter, "RAISES", False)
    assert verify(bundle, out).diagnosis.causes[0].names == ("output_shifted",)


def test_there_are_hundreds_of_faults_and_each_truth_has_a_name():
    assert len(FIRST) >= 100 and len(FURTHER) >= 100
    assert {fault.told for fault in FAULTS.values()} == set(CAUSES)
    assert {fault.network for fault in FAULTS.values()} == set(NETWORKS)


@pytest.mark.parametrize("network", NETWORKS if THOROUGH else list(NETWORKS)[::3])
def test_noise_has_no_cause(network, bundles, tmp_path):
    """Whatever is done to a layer at random, nothing on the list explains it."""
    bundle, right = bundles[network]
    rng = np.random.default_rng(11)
    for number, layer in enumerate(rng.choice(list(bundle.layers), 4, replace=False)):
        out = tmp_path / str(number)
        shutil.copytree(right, out)
        path = out / first(bundle)[0] / f"{layer}.out.bin"
        values = np.fromfile(path, "<f4")
        kinds = (values * rng.uniform(0.9, 1.1, values.shape), rng.permutation(values),
                 values + rng.normal(0, 1e-3, values.shape), rng.normal(0, 1, values.shape))
        kinds[number].astype("<f4").tofile(path)
        result = verify(bundle, out)
        assert result.first.record["id"] == layer
        assert not result.diagnosis.causes[0].found, result.diagnosis.causes[0]

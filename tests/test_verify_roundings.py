"""Ports that round otherwise than the order "seq_fma" declares never pass, and the cause says how they round."""

import os
import shutil

import pytest
from verify_cases import Ports, make_bundle
from verify_roundings import ROUNDINGS

from npunet import presets
from npunet.golden import Bundle, golden
from npunet.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc on this machine")]
THOROUGH = os.environ.get("NPUNET_THOROUGH") == "1"
ABOUT_A_ROUNDING = {"sum in double, that to float", "sum in 64 bits, that to float", "ties away from zero",
                    "sum in double in one layer"}
BUNDLES = ["everything", "tiny", "ecg", *(name for name in presets.names() if THOROUGH and name not in ("tiny", "ecg"))]


@pytest.fixture(scope="module", params=BUNDLES if THOROUGH else BUNDLES[:2])
def ports(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("roundings")
    if request.param == "everything":
        return Ports(make_bundle(folder / "bundle", arithmetic="seq_fma"), folder)
    golden(request.param, folder / "bundle", formats=("bin", "c"))
    return Ports(Bundle(folder / "bundle"), folder)


@pytest.mark.parametrize("name", ROUNDINGS)
def test_another_rounding_fails_and_its_cause_is_named(name, ports):
    edits, names = ROUNDINGS[name]
    if any(old not in ports.source for old, _ in edits):
        pytest.skip("this network has no such operator")
    if name == "biased sums flushed" and not any((v == 0).any() for v in ports.bundle.weights.values() if v.ndim == 1):
        pytest.skip("a sum and a bias of ordinary size are never subnormal")
    out = ports.run_all(ports.compiled(name, ports.faulty(edits)))
    told = verify(ports.bundle, out)
    assert told.verdict == "FAIL"
    found = told.diagnosis.causes[0]
    assert not found.found or found.names[0] in names, found
    assert found.found or not names, found
    shutil.rmtree(out)

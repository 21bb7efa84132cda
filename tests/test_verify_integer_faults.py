"""Faults in the generated integer C: the layer that is wrong first is named, and the cause; a correct port has none."""

import pytest
from integer_fault_list import NETWORKS
from integer_faults import ALL_FAULTS, ALL_NETWORKS, chosen_faults, faulty_bundle, run_faulty
from integer_ports import needs_compiler, run_port

from npunet.verify import verify


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    needs_compiler()
    return tmp_path_factory.mktemp("faults")


def test_the_list_is_long_and_spreads_over_networks():
    assert len(ALL_FAULTS) >= 140 and len({each.name for each in ALL_FAULTS}) == len(ALL_FAULTS)
    assert {each.network for each in ALL_FAULTS} == set(ALL_NETWORKS)
    for name in NETWORKS:
        assert sum(each.network == name for each in ALL_FAULTS) >= 4
    assert len({each.op for each in ALL_FAULTS}) >= 10


@pytest.mark.parametrize("given", chosen_faults(), ids=lambda given: given.name.replace(" ", "_"))
def test_a_fault_is_found_where_it_is_and_named(given, bundles, tmp_path):
    bundle = faulty_bundle(bundles, given.network)
    outputs, layer = run_faulty(given, bundle, tmp_path)
    result = verify(bundle, outputs)
    assert result.verdict == "FAIL" and result.first.record["id"] == layer
    assert [each.record["id"] for each in result.layers if each.status == "FAIL"] == [layer]
    told = [cause.words for cause in result.diagnosis.causes]
    assert any(words in each for words in given.words for each in told), told
    assert all(cause.whole and cause.exact for cause in result.diagnosis.causes)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_correct_port_has_no_difference(name, bundles, tmp_path):
    bundle = faulty_bundle(bundles, name)
    result = verify(bundle, run_port(bundle, tmp_path))
    assert (result.verdict, result.status, result.diagnosis) == ("PASS", 0, None)
    assert all(check.chained.differ == 0 for layer in result.layers for check in layer.checks)

"""What a verdict rests on: every case, the input too, layouts that agree, bounds that can judge."""

import json
import os
import shutil

import numpy as np
import pytest
from verify_cases import make_bundle

from npunet import UNet, cli
from npunet.golden import Bundle, golden
from npunet.run import apply
from npunet.verify import cport, machine, report, verify
from npunet.verify.compare import compare

BLOCK = {"kernel": [1, 3], "pool": [1, 3], "strides": [1, 2]}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """Every kind of case, of a network with everything in it."""
    return make_bundle(tmp_path_factory.mktemp("verdicts") / "bundle", formats=("npz",))


@pytest.fixture(scope="module")
def signal(tmp_path_factory):
    """A deep network of a signal, network cases only: the bound of its output is wider than the output."""
    folder = tmp_path_factory.mktemp("signal") / "bundle"
    blocks = [{"filters": filters, "depth": 2, **BLOCK} for filters in (4, 6, 8, 12)]
    golden(UNet({"blocks": blocks, "output_kernel_size": [1, 3]}, (64, 2), 3), folder,
           cases=("random", "impulse", "saturate"), formats=("npz",), weights="drawn")
    return Bundle(folder)


def everything(bundle):
    """Every tensor that a port computes, by "<case>/<key>"."""
    return {record["id"]: bundle.tensor(record["case"], record["key"]) for record in bundle.tensors.values()
            if record["role"] in ("out", "acc")}


def dumped(tensors, path):
    np.savez(path, **tensors)
    return path


def run(bundle, x, case, dtype="f8"):
    """The outputs of a port that sums in another precision, from its own input on, by "<case>/<key>"."""
    tensors, out = {"in": x}, {}
    for layer, record in bundle.layers.items():
        node = bundle.graph[record["name"]]
        fed = [tensors[name].astype(dtype) for name in record["inputs"]]
        weights = [bundle.weights[name].astype(dtype) for name in node.weights]
        with np.errstate(all="ignore"):
            tensors[layer] = apply(node, iter((*fed, *weights)), "any")[0].astype("f4")
        out[f"{case}/{layer}.out"] = tensors[layer]
    return out


def test_every_case_is_asked_for(bundle, tmp_path, capsys):
    everywhere = everything(bundle)
    whole = dumped(everywhere, tmp_path / "all.npz")
    assert verify(bundle, whole).verdict == "PASS"
    first = next(iter(bundle.cases))
    one = dumped({key: value for key, value in everywhere.items() if key.startswith(f"{first}/")}, tmp_path / "one.npz")
    result = verify(bundle, one)
    count = len(bundle.cases)
    assert (result.verdict, result.status) == ("INCOMPLETE", 4) and len(result.unchecked_cases) == count - 1
    assert cli.main(["verify", str(bundle.root), str(one)]) == 4
    assert f"PASS of 1 of {count} cases and {len(bundle.layers)} of " in capsys.readouterr().out
    layer = next(key for key in bundle.cases if bundle.cases[key]["scope"] == "layer")
    left = {key: value for key, value in everywhere.items() if key != f"{layer}/{layer}.out"}
    result = verify(bundle, dumped(left, tmp_path / "left.npz"))
    assert (result.status, result.unchecked_cases, result.partial_cases) == (4, (), (layer,))
    result = verify(bundle, dumped({k: v for k, v in left.items() if not k.startswith(layer)}, tmp_path / "left.npz"))
    assert (result.status, result.unchecked_cases) == (4, (layer,))
    last = bundle.manifest["model"]["output"]
    final = {key: value for key, value in everywhere.items() if key.endswith(f"/{last}.out")}
    result = verify(bundle, dumped(final, tmp_path / "final.npz"))
    assert (result.verdict, result.status) == ("INCOMPLETE", 3)
    assert verify(bundle, tmp_path / "final.npz", layers=[last]).verdict == "PASS"
    told = json.loads(machine.as_json(result))
    assert told["cases"] == count and told["cases_not_given"] and told["status"] == 3


def test_what_the_weights_hide_stands_in_the_verdict(tmp_path):
    params = {"blocks": [{"filters": 3, **BLOCK}], "output_kernel_size": [1, 3]}
    golden(UNet(params, (16, 2), 2, seed=1), tmp_path / "b", cases=("random",), formats=("npz",))
    result = verify(tmp_path / "b", tmp_path / "b/f32")
    assert result.verdict == "PASS" and any("bias is 0" in spot for spot in result.cannot_see)
    assert "cannot see: its bias left out or misplaced" in report.text(result)


CHANGES = {
    "reversed": (lambda x: x[:, :, ::-1], "reversed"),
    "normalised": (lambda x: ((x - x.mean()) / x.std()).astype("f4"), "normalised again"),
    "microvolt": (lambda x: x * np.float32(1000), "multiplied by 1000"),
    "of 8 bits": (lambda x: x / np.float32(255), "divided by 255"),
    "negated": (lambda x: -x, "negated"),
    "late": (lambda x: np.roll(x, 1, 2), "shifted by one column"),
    "channels": (lambda x: x[..., ::-1], "channels in reverse order"),
    "planes": (lambda x: x.transpose(0, 3, 1, 2).reshape(x.shape), "stored as NCHW"),
    "gain": (lambda x: x * np.float32(3.7), "multiplied by 3.7"),
}


QUICK = ("reversed", "microvolt", "planes")


@pytest.mark.parametrize("change", CHANGES if "NPUNET_THOROUGH" in os.environ else QUICK)
def test_a_wrong_input_is_named_and_not_the_layers_after_it(change, signal, tmp_path):
    made, words = CHANGES[change]
    case = next(iter(signal.cases))
    x = np.ascontiguousarray(made(signal.tensor(case, "in")))
    shown = run(signal, x, case, "f4")
    if change in ("reversed", "late", "planes", "channels", "negated"):
        shown = {f"{case}/{layer}.out": value for layer, value in exact(signal, x).items()}
    result = verify(signal, dumped(shown | {f"{case}/in": x}, tmp_path / "o.npz"), bounded=True)
    assert result.verdict == "FAIL" and result.first.record["id"] == "in"
    assert words in result.diagnosis.causes[0].words and result.diagnosis.causes[0].whole
    assert "FAIL" not in {layer.status for layer in result.layers}        # right for what they were fed with
    assert "FIRST DIVERGENCE  in (input)" in report.text(result)
    hidden = verify(signal, dumped(shown, tmp_path / "hidden.npz"))       # without the input, by the first layer
    assert hidden.first.number == 0
    if change != "gain":                                                  # what is on no list is not made up either
        assert words in hidden.diagnosis.causes[0].words, hidden.diagnosis


def exact(bundle, x):
    """The outputs by layer in the declared order, from another input on."""
    tensors = {"in": x}
    for layer, record in bundle.layers.items():
        tensors[layer] = bundle.run_layer(layer, [tensors[name] for name in record["inputs"]]).out
    return {layer: tensors[layer] for layer in bundle.layers}


def test_one_transposed_tensor_among_others_fails(bundle, tmp_path):
    everywhere = everything(bundle)
    case = next(iter(bundle.cases))
    key = next(key for key, value in everywhere.items() if key.startswith(f"{case}/") and key.endswith("conv.out")
               and len(set(value.shape[1:])) == 3)
    moved = everywhere | {key: np.ascontiguousarray(everywhere[key].transpose(0, 3, 1, 2))}
    result = verify(bundle, dumped(moved, tmp_path / "o.npz"))
    assert result.verdict == "FAIL" and key.endswith(f"{result.first.record['id']}.out")
    assert result.diagnosis.causes[0].names == ("transposed",) and "NCHW" in result.diagnosis.causes[0].words
    assert [layer.status for layer in result.layers].count("FAIL") == 1
    raw = tmp_path / "raw"
    for name, value in moved.items():
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        value.tofile(raw / f"{name}.bin")
    result = verify(bundle, raw)
    assert result.verdict == "FAIL" and result.diagnosis.causes[0].names == ("transposed",)
    everywhere = {name: value.transpose(0, 3, 1, 2) for name, value in everywhere.items()}
    result = verify(bundle, dumped(everywhere, tmp_path / "all.npz"))
    assert result.verdict == "PASS" and "NCHW" in " ".join(result.notes)


@pytest.mark.slow
def test_a_bound_wider_than_the_signal_judges_nothing(signal, tmp_path, capsys):
    """The final output alone: right ports are NOT JUDGED, faulty ones fail by statistics, none passes."""
    last = signal.manifest["model"]["output"]
    def final(change):
        shown = {}
        for case in signal.cases:
            x = np.ascontiguousarray(change(signal.tensor(case, "in")))
            shown[f"{case}/{last}.out"] = run(signal, x, case)[f"{case}/{last}.out"]
        return dumped(shown, tmp_path / "final.npz")

    right = verify(signal, final(lambda x: x), bounded=True, layers=[last])
    assert (right.verdict, right.status) == ("NOT JUDGED", 5)
    assert {found.case for found in right.statistics} == set(signal.cases)    # one is within a bound that judges
    assert not any(found.fails for found in right.statistics) and right.statistics[0].flips == 0
    said = report.text(right)
    assert "STATISTICAL (no proof)" in said and said.endswith("VERDICT NOT JUDGED\n")
    for change in (lambda x: x[:, :, ::-1], lambda x: x + np.float32(0.01), lambda x: np.roll(x, 1, 2)):
        wrong = verify(signal, final(change), bounded=True, layers=[last], explain=False)
        assert wrong.verdict in ("FAIL", "NOT JUDGED") and any(found.fails for found in wrong.statistics)
        assert wrong.verdict == "FAIL"
    assert cli.main(["verify", str(signal.root), str(final(lambda x: x)), "--bounded", "--layers", last]) == 5
    assert json.loads(machine.as_json(right))["statistical"][0]["orders"] == 8


@pytest.mark.slow
def test_layer_by_layer_another_precision_is_judged(bundle, signal, tmp_path):
    for one in (bundle, signal):
        shown = {}
        for case in (key for key, told in one.cases.items() if told["scope"] == "network"):
            shown |= run(one, one.tensor(case, "in"), case)
        result = verify(one, dumped(shown, tmp_path / "o.npz"), bounded=True)
        assert result.verdict in ("PASS", "INCOMPLETE") and result.complete, report.text(result)
        assert {layer.status for layer in result.layers} == {"PASS"}


def test_the_share_of_a_violated_bound_is_never_zero(signal, tmp_path):
    case = next(iter(signal.cases))
    shown = run(signal, signal.tensor(case, "in"), case)
    key = list(shown)[12]
    shown[key] = shown[key] + np.float32(0.5)
    result = verify(signal, dumped(shown, tmp_path / "o.npz"), bounded=True, explain=False)
    assert result.first.worst.told.share > 1
    lines = [line for line in report.text(result, True).splitlines() if line.endswith(" FAIL") and line[:4] == "  L0"]
    assert float(lines[0].split()[-2]) > 1 and "times the bound" in report.text(result)
    shown[key] = np.full_like(shown[key], np.nan)
    result = verify(signal, dumped(shown, tmp_path / "o.npz"), bounded=True, explain=False)
    assert result.first.worst.told.share == np.inf and " inf FAIL" in report.text(result, True)


@pytest.mark.slow
def test_non_finite_values_are_judged_apart(bundle, tmp_path):
    """A sum may be NaN where an infinity is wanted, as Kahan's is; a number there is no PASS, unless it is declared."""
    everywhere = everything(bundle)
    kahan, lost = dict(everywhere), dict(everywhere)
    for key, value in everywhere.items():
        if np.isinf(value).any() and "conv" in key and "/" in key:
            kahan[key] = np.where(np.isinf(value), np.float32(np.nan), value)
            lost[key] = np.where(np.isfinite(value), value, np.float32(3))
    wrong = sum(int((~np.isfinite(everywhere[key])).sum()) for key in lost if lost[key] is not everywhere[key])
    result = verify(bundle, dumped(kahan, tmp_path / "kahan.npz"), bounded=True)
    assert wrong and (result.verdict, result.apart) == ("PASS", {})
    assert verify(bundle, tmp_path / "kahan.npz", explain=False).verdict == "FAIL"  # bit for bit it is not right
    result = verify(bundle, dumped(lost, tmp_path / "lost.npz"), bounded=True)
    assert (result.verdict, result.status) == ("NON-FINITE FAIL", 6)
    assert 0 < sum(result.apart.values()) <= wrong               # an overflow of float32 alone is not asked for
    assert {layer.status for layer in result.layers} == {"PASS"}
    said = report.text(result)
    assert "--finite-math" in said and said.endswith("VERDICT NON-FINITE FAIL\n")
    assert f"NON-FINITE  FAIL: {sum(result.apart.values())} elements" in said
    assert "are of another kind" in machine.as_junit(result)
    declared = verify(bundle, tmp_path / "lost.npz", bounded=True, finite_math=True)
    assert (declared.verdict, declared.status) == ("PASS", 0)
    assert "the port declares finite-math" in report.text(declared)
    with pytest.raises(ValueError, match="add --bounded"):
        verify(bundle, tmp_path / "lost.npz", finite_math=True)


def test_a_port_declares_itself(bundle, tmp_path):
    """net_dump's port.txt, or a line of a log; a word that says nothing is an error."""
    (tmp_path / "out").mkdir()
    layer = next(iter(bundle.layers))
    dumped({key: value for key, value in everything(bundle).items() if f"/{layer}." in key}, tmp_path / "out/o.npz")
    for word, verdict in (("finite-math", "PASS"), ("fast", "ERROR")):
        (tmp_path / "out/port.txt").write_text(f"NPU PORT {word}\n")
        result = verify(bundle, tmp_path / "out", bounded=True, explain=False, layers=[layer])
        assert (result.verdict, result.finite_math) == (verdict, word == "finite-math")
    assert "a port can declare finite-math" in str(result.faults[0])


def test_elements_of_wide_bounds_are_counted():
    want = np.array([0.0, 1.0, 2.0, np.inf], "f4")
    found = compare(want.copy(), want, np.array([0.1, 0.001, 0.0, np.inf]), np.array([False, False, False, True]))
    assert (found.wrong, found.wide, found.unjudged, found.apart) == (0, 1, 1, 0)
    found = compare(want + np.float32(0.5), want, np.array([0.1, 0.6, 0.6, np.inf]))
    assert (found.wrong, found.wide) == (1, 2)


@pytest.mark.skipif(not cport.compiler(), reason="no C compiler on this machine")
def test_only_the_bundle_s_own_code_is_compiled(tmp_path):
    golden("tiny", tmp_path / "b", cases=("random", "layers"), formats=("bin", "c"))
    result = cport.verify_c(tmp_path / "b")
    assert result.verdict == "PASS" and "ran the bundle's own code" in result.notes[0]
    marker, source = tmp_path / "ran", tmp_path / "b/c/net.c"
    honest = source.read_text()
    evil = f'__attribute__((constructor)) static void run(void) {{ fopen("{marker}", "w"); }}\n'
    source.write_text(honest.replace('#include "net.h"\n', f'#include "net.h"\n#include <stdio.h>\n{evil}', 1))
    with pytest.raises(ValueError, match=r"net\.c is not the file that SHA256SUMS lists; it is not run"):
        cport.verify_c(tmp_path / "b")
    source.write_text(honest)
    (tmp_path / "b/c/math.h").write_text(evil)
    with pytest.raises(ValueError, match=r"math\.h is not among the files that SHA256SUMS lists"):
        cport.verify_c(tmp_path / "b")
    (tmp_path / "b/c/math.h").unlink()
    shutil.move(tmp_path / "b/c/net_weights.h", tmp_path / "away")
    with pytest.raises(ValueError, match="lacks the file c/net_weights"):
        cport.verify_c(tmp_path / "b")
    (tmp_path / "b/c/net_weights.h").symlink_to(tmp_path / "away")
    with pytest.raises(ValueError, match="leaves the bundle"):
        cport.verify_c(tmp_path / "b")
    assert not marker.exists()

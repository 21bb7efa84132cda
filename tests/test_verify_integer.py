"""Verifying integer ports: faults put into the generated C are found in the first wrong layer, with their cause."""

import json
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
from integer_judges import CASES, SCHEMES, float_model
from integer_ports import integer_network, make_bundle, needs_compiler, run_port

from npunet import pretrained
from npunet.cli import main
from npunet.files import write_npz
from npunet.golden import Bundle, golden, open_bundle
from npunet.golden.integer.reader import IntegerBundle
from npunet.integer import parameters
from npunet.integer.bounds import input_limits
from npunet.integer.network import Network, Node, Tensor
from npunet.verify import report, score_report, verify
from npunet.verify.integer.evidence import Evidence
from npunet.verify.integer.fits import shifts
from npunet.verify.integer.hypotheses import HYPOTHESES
from npunet.verify.integer.hypotheses.rounding import other_rules, through
from npunet.verify.integer.proofs import Proofs
from npunet.verify.integer.score import score
from npunet.verify.integer.solved import solved
from npunet.verify.integer.sums_of_two import differing_pair

SMALL = "d1_ecg_small"
SCORED = [("d1_ecg_small", "int8", "D")]
if os.environ.get("NPUNET_THOROUGH"):
    SHIPPED = [("ecg-trained", scheme, "D") for scheme in SCHEMES]
    SCORED = [*((name, scheme, rounding) for name in CASES for scheme in SCHEMES for rounding in "DS"), *SHIPPED]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle and the outputs of its own C."""
    needs_compiler()
    work = tmp_path_factory.mktemp("verify")
    bundle = make_bundle(integer_network(SMALL), work / "bundle", cases=("random", "minimum"))
    return bundle, run_port(bundle, work)


def causes(result):
    return [cause.words for cause in result.diagnosis.causes]


def first_of(bundle, op, where=lambda layer: True):
    return next(layer for layer in IntegerBundle(bundle).layers.values() if layer["operator"] == op and where(layer))


def test_its_own_c_passes(made, capsys):
    bundle, out = made
    result = verify(bundle, out)
    assert (result.verdict, result.status, result.unchecked_cases, result.diagnosis) == ("PASS", 0, (), None)
    assert main(["verify", str(bundle), str(out)]) == 0
    assert "VERDICT PASS" in capsys.readouterr().out


# What a port gets wrong, as an edit of net.c; the operator in which it shows first; what the diagnosis says.
FAULTS = {
    "truncation": ("return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0));",
                   "(void)mask; return x >> exponent;",
                   "truncates the right shift"),
    "profile S": ("return rounding_shift(doubling_high(x * (INT64_C(1) << left), m), right);",
                  "(void)left; (void)right; (void)doubling_high; (void)rounding_shift;\n    "
                  "return (x * m + (INT64_C(1) << (30 - s))) >> (31 - s);",
                  "requantises by profile S"),
    "ties upward": ("return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0));",
                    "(void)mask; return (x + ((INT64_C(1) << exponent) >> 1)) >> exponent;", "profile U"),
    "zero point": ("(from[c] + s->input_offset)", "from[c]", "leaves out the input's zero point"),
    "doubled": ("(from[c] + s->input_offset)", "(from[c] + 2 * s->input_offset)", "takes the input's zero point twice"),
    "pad": ("column >= s->w)\n                            continue;\n                        const net_value *from",
            "column >= s->w) {\n                            for (int c = 0; c < s->c; c++)\n"
            "                                acc += s->input_offset * "
            "weights[((ky * s->kw + kx) * s->c + c) * s->f + f];"
            "\n                            continue;\n                        }\n"
            "                        const net_value *from", "pads with 0 instead of the input's zero point"),
    "per tensor": ("requantize(acc, multiplier[f], (int)shift[f])", "requantize(acc, multiplier[0], (int)shift[0])",
                   "requantises per tensor"),
    "shift": ("requantize(acc, multiplier[f], (int)shift[f])", "requantize(acc, multiplier[f], (int)shift[f] - 1)",
              "one too far right"),
    "neighbour": ("requantize(acc, multiplier[f], (int)shift[f])", "requantize(acc, multiplier[(f + 1) % s->f], "
                  "(int)shift[f])", "takes the multiplier of the next channel"),
    "wrap": ("return (net_value)(x < low ? low : x > high ? high : x);",
             "(void)low; (void)high; return (net_value)(uint8_t)x;", "does not saturate"),
    "narrow": ("requantize(acc, multiplier[f]", "requantize((int16_t)acc, multiplier[f]",
               "accumulator of 16 bits that wraps"),
    "before offset": ("s->output_offset;\n                NOTE(n, acc, whole);\n                y[n] = clamp(whole, "
                      "s->act_min, s->act_max);",
                      "0;\n                NOTE(n, acc, whole + s->output_offset);\n                "
                      "y[n] = clamp((whole < s->act_min ? "
                      "s->act_min : whole > s->act_max ? s->act_max : whole) + s->output_offset, -128, 127);",
                      "clamps before it adds the output's zero point"),
    "no bias": ("int32_t acc = bias[f];", "int32_t acc = 0; (void)bias;", "leaves out the bias"),
    "left shift": ("(INT64_C(1) << p->left_shift)", "(INT64_C(1) << 19)", "shifts its inputs left by 19, not 20"),
    "no clamp": ("y[n] = clamp(whole, s->act_min, s->act_max);", "y[n] = clamp(whole, -128, 127);",
                 "leaves out the activation's clamp"),
    "add's inputs": ("add_params *p)\n{", "add_params *p)\n{\n    const net_value *other = a;\n"
                     "    a = b;\n    b = other;",
                     "exchanges multiplier, shift, offset of its two inputs"),
    "shared range": ("requantize(x[n] + p->input_offset, p->multiplier, p->shift) + p->output_offset;",
                     "x[n]; (void)requantize;", "copies its input, as if input and output shared one range"),
    "probabilities": ("y[k] = clamp(rounding_shift(doubling_high(reciprocal, e), 35 - headroom) - 128, -128, 127);",
                      "y[k] = clamp(rounding_shift(doubling_high(reciprocal, e), 35 - headroom), -128, 127);",
                      "leaves out the output's zero point"),
    "slope": ("requantize(centred, p->negative_multiplier, p->negative_shift);", "0;", "is a ReLU"),
    "whole multiplier": ("const int32_t reduced = m < 0x7FFF0000 ? (m + 0x8000) >> 16 : 0x7FFF;\n    "
                         "return (x * reduced + (INT64_C(1) << (total - 1))) >> total;",
                         "return (x * m + (INT64_C(1) << (total + 15))) >> (total + 16);",
                         "requantises with the whole 32-bit multiplier by profile S"),
    "dilation": ("row = i * s->sy + ky * s->dy - s->top, column = j * s->sx + kx * s->dx - s->left",
                 "row = i * s->sy + ky * s->dy - s->top, column = j * s->sx + kx - s->left", "ignores the dilation"),
}
ELSEWHERE = {  # networks that have what the fault needs
    "dilation": ("d1_dilation_int", "int8"), "probabilities": ("d1_softmax", "int8"), "slope": ("d1_softmax", "int8"),
    "shared range": ("d1_plain", "int16x8"), "whole multiplier": ("d1_plain", "int16x8"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_c_is_named(fault, made, tmp_path):
    old, new, words = FAULTS[fault]
    bundle = made[0]
    if fault in ELSEWHERE:
        bundle = make_bundle(integer_network(*ELSEWHERE[fault]), tmp_path / "b", cases=("random",))
    result = verify(bundle, run_port(bundle, tmp_path, [("net.c", old, new)], flags=("-O0",)))
    assert result.verdict == "FAIL" and result.first is not None
    told = causes(result)
    assert any(words in each for each in told), (result.first.record["id"], result.first.worst, told)


def test_the_first_wrong_layer_with_its_integers(made, tmp_path, capsys):
    """One element off by one in a layer in the middle: that layer fails, those after it are not blamed."""
    bundle, out = made
    shutil.copytree(out, tmp_path / "out")
    layer = first_of(bundle, "conv2d", lambda each: each["number"] > 5)
    path = tmp_path / "out" / "case00_random" / f"{layer['id']}.out.bin"
    values = np.fromfile(path, "int8")
    at = int(np.argmin(values))
    values[at] += 1
    values.tofile(path)
    result = verify(bundle, tmp_path / "out")
    assert result.first.record["id"] == layer["id"] and result.status == 1
    (cause,) = result.diagnosis.causes
    assert not cause.found and f"1 of {values.size} differ, all in" in cause.words
    assert f"bytes {at} to {at}" in cause.words
    found = result.first.worst.told
    index = np.unravel_index(at, (len(values) // int(np.prod(layer["shape"])), *layer["shape"]))
    assert found.first == tuple(index) and found.got == found.want + 1
    acc = IntegerBundle(bundle).tensor("case00_random", f"{layer['id']}.acc")
    told = (f"acc {acc[found.first]}", f"multiplier {layer['per_channel']['multiplier'][found.first[3]]}",
            f"shift {layer['per_channel']['shift'][found.first[3]]}")
    assert all(words in result.first.worst.note for words in told)
    assert main(["verify", str(bundle), str(tmp_path / "out"), "--json", str(tmp_path / "r.json")]) == 1
    told = capsys.readouterr().out
    assert f"FIRST DIVERGENCE  {layer['id']}" in told and f"got {found.got}, want {found.want}" in told
    assert json.loads((tmp_path / "r.json").read_text())["first_divergence"] == layer["id"]


def test_layers_that_only_inherit_are_not_blamed(made, tmp_path):
    """A fault in one add alone: all that follow it are right for what they were fed with."""
    bundle, _ = made
    old = "static void add(const net_value *a, const net_value *b, net_value *y, int size, const add_params *p)\n{"
    layer = first_of(bundle, "add")
    edit = ("net.c", old, f"{old}\n    if (p->input1_offset == {layer['attributes']['input1_offset']} && "
            f"p->input1_multiplier == {layer['attributes']['input1_multiplier']}) {{\n        "
            "for (int n = 0; n < size; n++) { NOTE(n, 0, 0); y[n] = a[n]; }\n        return;\n    }")
    result = verify(bundle, run_port(bundle, tmp_path, [edit], flags=("-O0",)))
    statuses = {each.record["id"]: each.status for each in result.layers}
    assert result.first.record["id"] == layer["id"] and [k for k, v in statuses.items() if v == "FAIL"] == [layer["id"]]
    assert "INHERITED" in statuses.values()
    assert "the layer is its input 0, unchanged" in causes(result)


def as_npz(bundle, path, change=lambda case, key, value: value, cases=None):
    """The golden outputs as one .npz by the layers' names."""
    opened = IntegerBundle(bundle)
    names = {layer["id"]: layer["name"] for layer in opened.layers.values()}
    tensors = {}
    for case in cases or opened.cases:
        for layer, name in names.items():
            value = change(case, name, opened.tensor(case, f"{layer}.out"))
            if value is not None:
                tensors[f"{case}/{name}"] = value
    write_npz(path, tensors)
    return path


def test_other_forms_and_what_is_missing(made, tmp_path):
    bundle, out = made
    assert verify(bundle, as_npz(bundle, tmp_path / "a.npz")).status == 0
    flat = as_npz(bundle, tmp_path / "b.npz", lambda case, key, value: value.ravel().astype(np.int32))
    assert verify(bundle, flat).status == 0
    assert verify(bundle, as_npz(bundle, tmp_path / "c.npz", cases=["case00_random"])).status == 4
    in_hex = verify(bundle, bundle / "hex")
    assert (in_hex.status, in_hex.unchecked_cases) == (4, ("case01_minimum",))
    shutil.copytree(bundle / "hex", tmp_path / "hex")
    broken = next((tmp_path / "hex" / "case00_random").glob("*.out.mem"))
    broken.write_text("zz\n")
    assert "no 8-bit word of 2 hex digits" in str(verify(bundle, tmp_path / "hex").faults[0])
    last = IntegerBundle(bundle).network.output
    no_last = as_npz(bundle, tmp_path / "d.npz", lambda case, key, value: None if key == last else value)
    result = verify(bundle, no_last)
    assert (result.verdict, result.status) == ("INCOMPLETE", 3)
    floats = as_npz(bundle, tmp_path / "e.npz", lambda case, key, value: value.astype(np.float32))
    result = verify(bundle, floats)
    assert result.status == 2 and "holds float32, expected is int8" in str(result.faults[0])
    short = as_npz(bundle, tmp_path / "f.npz", lambda case, key, value: value[:1] if key == last else value)
    assert verify(bundle, short).verdict == "ERROR"
    with pytest.raises(ValueError, match="there is no layer nope"):
        verify(bundle, out, layers=["nope"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no tensor of this bundle"):
        verify(bundle, tmp_path / "empty")


def test_layout_is_a_cause(made, tmp_path):
    bundle, _ = made
    layer = first_of(bundle, "conv2d", lambda each: each["number"] > 3 and each["shape"][2] > 1)

    def change(case, name, value):
        return value.transpose(0, 3, 1, 2).ravel() if name == layer["name"] else value

    result = verify(bundle, as_npz(bundle, tmp_path / "a.npz", change))
    assert result.first.record["id"] == layer["id"]
    assert any("writes its output as NCHW" in words for words in causes(result))


def test_integers_and_floats_are_told_apart(made, tmp_path, capsys):
    bundle, out = made
    assert isinstance(open_bundle(bundle), IntegerBundle)
    with pytest.raises(ValueError, match=r"a bundle of integers, which npunet\.golden\.open_bundle opens"):
        Bundle(bundle)
    golden(float_model(SMALL), tmp_path / "f", cases=("zeros",), formats=("bin",))
    with pytest.raises(ValueError, match="has schema 2, this npunet reads npunet-golden-integer"):
        IntegerBundle(tmp_path / "f")
    assert verify(tmp_path / "f", out).status == 2
    assert main(["verify", str(bundle), str(out), "--bounded"]) == 2
    assert "--bounded is for float networks" in capsys.readouterr().err


def test_a_damaged_bundle_is_refused(made, tmp_path):
    bundle, out = made
    shutil.copytree(bundle, tmp_path / "b")
    path = tmp_path / "b" / "int8" / "case00_random" / "in.bin"
    path.write_bytes(bytes(len(path.read_bytes())))
    with pytest.raises(ValueError, match="make the bundle again"):
        verify(tmp_path / "b", out)
    (tmp_path / "b" / "manifest.json").write_text('{"schema": "npunet-golden-integer/1"}')
    with pytest.raises(ValueError, match="make the bundle again"):
        verify(tmp_path / "b", out)


@pytest.mark.parametrize("name, scheme", [("d2_activations", "int8"), ("d1_softmax", "int16x8")])
def test_every_hypothesis_runs_on_every_operator_that_it_is_for(name, scheme, rng):
    """Each gives values of the output's shape, in words of its own; at least 25 kinds there are."""
    network, seen = integer_network(name, scheme).network, set()
    values = {network.input: rng.integers(-128, 128, (2, *network.tensors[network.input].shape)).astype(
        network.tensors[network.input].dtype)}
    for node in network:
        given = Evidence(node, network, tuple(values[each] for each in node.inputs), np.zeros(1))
        values[node.name] = given.right.astype(network.tensors[node.name].dtype)
        for hypothesis in HYPOTHESES.values():
            if not hypothesis.ops or node.op in hypothesis.ops:
                made = list(hypothesis.variants(given))
                assert len({words for words, _ in made}) == len(made), hypothesis.name
                assert all(value.shape == given.right.shape for _, value in made), (hypothesis.name, node.op)
                seen.add(hypothesis.name) if made else None
    assert len(HYPOTHESES) >= 25 and len(seen) >= 15, sorted(set(HYPOTHESES) - seen)


def test_every_fault_that_can_show_is_caught(tmp_path, capsys):
    """A random case alone misses faults; with each layer's own corner cases what is left is proven to be none."""
    integer_network("d1_plain", "int16x8").save(tmp_path / "m.npz")
    for name, cases in (("few", "random,maximum"), ("all", "random,layers")):
        assert main(["golden", str(tmp_path / "m.npz"), "-o", str(tmp_path / name), "--cases", cases, "--score",
                     "--formats", "bin"]) == 0
    few, full = (json.loads((tmp_path / name / "manifest.json").read_text())["mutation_score"] for name in
                 ("few", "all"))
    assert full["instances"] == few["instances"] > 450 and full["survived"] == 0 < few["survived"]
    assert full["killed"] + full["equivalent"] == full["instances"] and full["equivalent"] < 0.05 * full["instances"]
    assert "MUTATION SCORE 100.0 %" in capsys.readouterr().out
    assert "MUTATION SCORE" in score_report.text(few)
    IntegerBundle(tmp_path / "all")


@pytest.mark.parametrize("name, scheme, rounding", SCORED)
def test_the_mutation_score_is_all_of_what_is_not_proven_equivalent(name, scheme, rounding, tmp_path):
    shipped = name in pretrained.names()
    made = pretrained.quantized(name, scheme) if shipped else integer_network(name, scheme, rounding)
    golden(made, tmp_path / "b", cases=("random", "layers"), formats=("bin",))
    told = score(tmp_path / "b")
    assert told["score"] == 1, [left for row in told["table"] for left in row["survived"]]
    assert told["killed"] > 5 * told["equivalent"]


def test_a_search_ends_at_its_time_limit_and_says_so(made, tmp_path):
    bundle, out = made
    shutil.copytree(out, tmp_path / "out")
    layer = first_of(bundle, "conv2d")["id"]
    for path in (tmp_path / "out").glob(f"*/{layer}.out.bin"):
        np.bitwise_xor(np.fromfile(path, "int8"), np.int8(21)).tofile(path)
    result = verify(bundle, tmp_path / "out", time_limit=1e-9)
    assert result.verdict == "FAIL" and result.first.record["id"] == layer
    assert not result.diagnosis.causes[0].found and result.diagnosis.tried == 0
    assert "the search was cut at its time limit: not every cause was tried" in report.text(result)
    whole = verify(bundle, tmp_path / "out")
    assert whole.diagnosis.tried > 50 and not whole.diagnosis.cut and whole.diagnosis.seconds > 0


# What is read off an output where no hypothesis gives it: what a port made of the right one, and the words.
READ_OFF = {
    "channels": (lambda y: y[..., [1, 0, *range(2, y.shape[3])]], "channel 0 holds what belongs in channel 1"),
    "later": (lambda y: np.roll(y, 1, 3), "its channels stand 1 later, around the end"),
    "one value": (lambda y: np.concatenate([y[..., :1], 0 * y[..., 1:2] + 7, y[..., 2:]], 3), "channel 1 holds 7"),
    "bits": (lambda y: y & ~12, "bits of its output that are always 0: 2 to 3 of 8"),
    "limits": (lambda y: np.clip(y, -100, 77), "is clamped below at -100, not at -128 and is clamped above at 77"),
    "end": (lambda y: np.concatenate([y[:, :, :-1], y[:, :, -1:] ^ 3], 2),
            "is right but for column 47 of 48: not computed"),
}


@pytest.mark.parametrize("name", READ_OFF)
def test_what_is_read_off_an_output(name, made, tmp_path):
    change, words = READ_OFF[name]
    bundle, out = made
    shutil.copytree(out, tmp_path / "out")
    layer = first_of(bundle, "conv2d", lambda each: each["shape"][2] > 2 and each["attributes"]["act_min"] == -128
                     and each["attributes"]["act_max"] == 127)
    for path in (tmp_path / "out").glob(f"*/{layer['id']}.out.bin"):
        y = np.fromfile(path, "int8").reshape(-1, *layer["shape"])
        np.ascontiguousarray(change(y)).astype("int8").tofile(path)
    result = verify(bundle, tmp_path / "out")
    assert result.first.record["id"] == layer["id"] and any(words in each for each in causes(result)), causes(result)


@pytest.mark.parametrize("op", ["conv2d", "depthwise_conv2d"])
def test_shifts_that_a_port_has_are_read_off(op, rng):
    """Two channels have another shift, in two cases; one more that no shift gives, and nothing is said."""
    model = integer_network("d2_separable_mixed")
    node = next(node for node in model.network if node.op == op and len(node.arrays["shift"]) > 2)
    moved = node.arrays["shift"].copy()
    moved[[0, 2]] += np.array([1, -2], moved.dtype)
    wrong = replace(node, arrays={**node.arrays, "shift": moved})
    source = model.network.tensors[node.inputs[0]]
    evidence = []
    for _ in range(2):
        x = rng.integers(*input_limits(model.network, source.name), (3, *source.shape), endpoint=True)
        evidence.append(Evidence(node, model.network, (x,), Evidence(wrong, model.network, (x,), np.zeros(1)).right))
    (words, apply), = shifts(evidence)
    for given in evidence:
        np.testing.assert_array_equal(apply(given), given.got)
    assert words == (f"has another shift in 2 of {len(moved)} channels: {moved[0]} in channel 0, not {moved[0] - 1}, "
                     f"{moved[2]} in channel 2, not {moved[2] + 2}")
    evidence[0].got[0, 0, 0, 1] += 1
    assert not list(shifts(evidence))


@pytest.mark.parametrize("shows", ["sums", "outputs"])
def test_weights_that_a_port_has_are_solved_for(shows, rng, tmp_path):
    """Three weights and a bias are others; from accumulators they come out exactly, from outputs by rounding."""
    model = integer_network("d2_separable_mixed")
    node = next(node for node in model.network if node.op == "conv2d" and node.arrays["weights"].shape[2] > 2)
    weights, bias = node.arrays["weights"].copy(), node.arrays["bias"].copy()
    weights[0, 0, :3, 1] ^= 37
    bias[0] += 700
    source = model.network.tensors[node.inputs[0]]
    x = rng.integers(*input_limits(model.network, source.name), (60, *source.shape), endpoint=True)
    right = Evidence(node, model.network, (x,), np.zeros(1))
    wrong = replace(node, arrays={**node.arrays, "weights": weights, "bias": bias})
    given = replace(right, got=Evidence(wrong, model.network, (x,), np.zeros(1)).right)
    sums = [right.summed(Evidence(wrong, model.network, (x,), np.zeros(1)).accumulator)] if shows == "sums" else []
    (words, apply), = solved([given], sums)
    np.testing.assert_array_equal(apply(given), given.got)
    if shows == "sums":
        assert f"has other weights, 3 of {weights.size}, in filter 1: {weights[0, 0, 0, 1]} at [0, 0, 0, 1]" in words
        assert f"has another bias in 1 of {len(bias)} channels: {bias[0]} in channel 0, not {bias[0] - 700}" in words


def narrow_add(rng, spans):
    """An int16 add, and a network in which its inputs hold few values."""
    scales = np.exp(rng.normal(-7, 0.4, 3)).astype(np.float32)
    tensors = {name: Tensor(name, (1, 1, 1), "int16", float(scale), 0) for name, scale in zip("aby", scales,
                                                                                           strict=True)}
    producers = []
    for name, span in zip("ab", spans, strict=True):
        first = int(rng.integers(-3000, 3000))
        tensors[f"{name}0"] = Tensor(f"{name}0", (1, 1, 1), "int16", 1.0, 0)
        producers.append(Node(name, "rescale", (f"{name}0",), {"act_min": first, "act_max": first + span}))
    node = parameters.addition(tensors["a"], tensors["b"], tensors["y"])
    return node, Network("int16x8", str(rng.choice(["D", "S"])), "a0", "y", tensors, (*producers, node), (1, 1, 1),
                         (1, 1, 1))


def test_pairs_that_tell_roundings_of_an_add_apart_are_found_where_there_are_any(rng):
    """Against all pairs; so what is called the same is the same."""
    found = {True: 0, False: 0}
    for _ in range(30):
        node, network = narrow_add(rng, rng.integers(1, 200, 2))
        a, b = (np.arange(low, high + 1) for low, high in (input_limits(network, name) for name in "ab"))
        pairs = tuple(x.reshape(1, 1, -1, 1) for x in np.meshgrid(a, b))
        given = Evidence(node, network, pairs, np.zeros(1))
        for words, rule in other_rules(network.rounding).items():
            differs = through(given, rule) != given.right
            pair = differing_pair(node, network, rule)
            if pair is None:
                continue
            assert (pair is not False) == bool(differs.any()), words
            found[pair is not False] += 1
            if pair:
                one = Evidence(node, network, tuple(np.full((1, 1, 1, 1), value) for value in pair), np.zeros(1))
                assert (through(one, rule) != one.right).all(), (words, pair)
    assert min(found.values()) > 10, found


def test_what_selects_or_weighs_is_proven_by_single_values(rng):
    """A border that is never read makes pads of any kind the same; one that is read does not."""
    tensors = {name: Tensor(name, (3, 4, 2), "int8", 0.5, 3) for name in "xy"}
    weights = np.zeros((3, 3, 2, 2), np.int8)
    for middle_only, expected in ((True, True), (False, False)):
        weights[:] = 0 if middle_only else 1
        weights[1, 1] = 5
        node = parameters.convolution("conv2d", tensors["x"], tensors["y"], weights, np.zeros(2, np.int32),
                                      np.full(2, 0.01, np.float32), stride=(1, 1), pads=((1, 1), (1, 1)),
                                      dilation=(1, 1), padding="same")
        network = Network("int8", "D", "x", "y", tensors, (node,), (3, 4, 2), (3, 4, 2))
        words = "pads with 0 instead of the input's zero point"
        reason = Proofs(node, network, {"pad value"}).reason("pad value", words)
        assert (reason is not None) == expected

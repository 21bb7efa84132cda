"""Causes that no list of fixed numbers holds, faults in layers that were not dumped, scores with biases."""

import numpy as np
import pytest
from verify_cases import make_bundle, random_weights

from npunet import UNet
from npunet.golden import Bundle, golden
from npunet.golden.manifest import canonical
from npunet.ops.norm import batch_norm_scale_shift
from npunet.verify import mutants, report, verify
from npunet.verify.diagnose import recipe as recipes
from npunet.verify.diagnose import search
from npunet.verify.diagnose.places import places
from npunet.verify.diagnose.pooling import pool_pads_zero
from npunet.verify.diagnose.rare_geometry import pool_geometry
from npunet.verify.diagnose.rearranged import of_weights
from npunet.verify.diagnose.regions import region
from npunet.verify.diagnose.weighting import quantised

F = np.float32
BLOCK = {"filters": 3, "kernel": [1, 3], "pool": [1, 2], "strides": [1, 2]}


@pytest.fixture(autouse=True)
def soon_tired_of_pairs(monkeypatch):
    monkeypatch.setattr(search, "TIME_LIMIT", 0.2)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_bundle(tmp_path_factory.mktemp("causes") / "b", formats=("npz",), cases=("random",))


def numbered(bundle, operator, nth=0):
    """Id of the nth layer of an operator."""
    return [key for key, layer in bundle.layers.items() if layer["operator"] == operator][nth]


def diagnosed(bundle, layer, out, folder, shown=None):
    """The first cause for a port that is right but for one layer, on which all later layers depend."""
    case, wrong = next(iter(bundle.cases)), {layer: canonical(np.asarray(out, F))}
    for key, record in bundle.layers.items():
        if key != layer and any(name in wrong for name in record["inputs"]):
            inputs = [wrong[name] if name in wrong else bundle.tensor(case, "in" if name == "in" else f"{name}.out")
                      for name in record["inputs"]]
            wrong[key] = bundle.run_layer(key, inputs).out
    tensors = {key: wrong[key] if key in wrong else bundle.tensor(case, f"{key}.out") for key in bundle.layers}
    np.savez(folder / "o.npz", **{key: value for key, value in tensors.items() if shown is None or key in shown})
    result = verify(bundle, folder / "o.npz")
    assert result.verdict == "FAIL"
    return result, result.diagnosis.causes[0]


def read_by(bundle, layer):
    case = next(iter(bundle.cases))
    return [bundle.tensor(case, "in" if name == "in" else f"{name}.out") for name in bundle.layers[layer]["inputs"]]


@pytest.mark.parametrize(("operator", "fault", "told"), [
    ("relu6", lambda x: np.clip(x, 0, F(5.99)) + F(0), "clamp above at 5.98999977 instead of 6"),
    ("relu6", lambda x: np.where(x > 6, F(0), np.maximum(x, 0)) + F(0), "what is above 6 becomes 0"),
    ("leaky_relu", lambda x: np.where(x > 0, x, F(0.05) * x), "0.05 times the rest"),
    ("softmax", lambda x: np.exp(x) / np.exp(x).sum(-1, keepdims=True), "only the rounding differs"),
])
def test_a_number_is_read_off_the_output(operator, fault, told, bundle, tmp_path):
    layer = numbered(bundle, operator)
    result, found = diagnosed(bundle, layer, fault(*read_by(bundle, layer)), tmp_path)
    assert result.first.record["id"] == layer and told in found.words and found.whole


@pytest.mark.parametrize(("change", "told"), [
    (lambda w: np.where(np.arange(w.size).reshape(w.shape) == 5, -w, w), "1 of 96 weights are others"),
    (lambda w: quantised(w, 8, (0, 1, 2)), "weights quantised to 8 bits with one scale for every filter"),
    (lambda w: np.roll(w, 1, 3), "filters shifted by one (+1)"),
    (lambda w: w * 0, "all weights are zero"),
    (lambda w: np.vectorize(lambda v: F(f"{v:.6f}"))(w), "weights written in decimal with six digits after the point"),
])
def test_wrong_weights_are_described(change, told, bundle, tmp_path):
    layer = next(key for key, record in bundle.layers.items() if record["name"] == "ENC1_D2_conv")
    kernel = bundle.graph[bundle.layers[layer]["name"]].weights[0]
    other = Bundle(bundle.root)
    other.weights[kernel] = np.ascontiguousarray(change(other.weights[kernel]), F)
    out = other.run_layer(layer, read_by(bundle, layer)).out
    result, found = diagnosed(bundle, layer, out, tmp_path)
    assert result.first.record["id"] == layer and told in found.words and found.whole


def test_statistics_that_were_never_loaded(bundle, tmp_path):
    layer = next(key for key, record in bundle.layers.items() if record["folded"])
    name = bundle.layers[layer]["name"]
    model = UNet.load(bundle.root / "model/model.npz")
    norm = bundle.layers[layer]["folded"][-1]
    fresh = {key: np.full_like(value, key.endswith("variance")) for key, value in model.weights.items()
             if key.startswith(f"{norm}/moving_")}
    golden(model.load_weights({**model.weights, **fresh}), tmp_path / "fresh", arithmetic="seq", cases=("random",))
    out = Bundle(tmp_path / "fresh").run_layer(layer, read_by(bundle, layer)).out
    _, found = diagnosed(bundle, layer, out, tmp_path)
    assert "statistics never loaded" in found.words and found.exact, name


@pytest.mark.parametrize(("fault", "told"), [
    (lambda x, scale, shift: x * scale, "shift left out"),
    (lambda x, scale, shift: x * scale[0] + shift, "scale of the first channel for all"),
    (lambda x, scale, shift: x * np.roll(scale, -1) + np.roll(shift, -1), "moved by one channel (-1)"),
    (lambda x, scale, shift: x * (scale * F(1.01)) + (shift + F(0.02)), "another scale and shift in 3 of 3 channels"),
])
def test_faults_of_a_batch_norm(fault, told, tmp_path):
    model = random_weights(UNet({"blocks": [BLOCK], "output_kernel_size": [1, 3]}, (40, 2), 3, seed=1), 6)
    golden(model, tmp_path / "b", arithmetic="seq", formats=("npz",), cases=("random",), level="trained")
    files = Bundle(tmp_path / "b")
    layer = numbered(files, "batch_norm_inference")
    node = files.graph[files.layers[layer]["name"]]
    parts = batch_norm_scale_shift(*(files.weights[name] for name in node.weights), eps=node.attrs["eps"])
    result, found = diagnosed(files, layer, fault(*read_by(files, layer), *parts), tmp_path)
    assert result.first.record["id"] == layer and told in found.words and found.whole


def test_a_fault_in_a_layer_that_was_not_dumped(bundle, tmp_path):
    """The nearest dumped layer shows it; the cause is found behind it, through what lies between."""
    layers = list(bundle.layers)
    wrong = numbered(bundle, "relu6", 1)
    at = layers.index(wrong)
    shown = layers[:at] + layers[at + 2:]
    right = read_by(bundle, wrong)[0]
    result, found = diagnosed(bundle, wrong, np.maximum(right, 0), tmp_path, shown)
    assert result.first.record["id"] != wrong and wrong in result.first.worst.unseen
    assert found.words.startswith(f"{wrong} (not dumped): relu instead of relu6") and found.exact


def test_a_later_layer_is_no_stale_buffer(bundle, tmp_path):
    """What a layer's own output was made into is equal where an activation does nothing: no cause."""
    layer = numbered(bundle, "conv2d")
    case = next(iter(bundle.cases))
    out = np.abs(bundle.tensor(case, f"{layer}.out")) * F(0.123) + F(0.01)       # its relu6 changes nothing
    result, _ = diagnosed(bundle, layer, out, tmp_path)
    assert not any("stale_buffer" in cause.names for cause in result.diagnosis.causes)


@pytest.mark.parametrize("name", ["trained", "norms", "fresh norms", "fresh planes", "dilated", "ones"])
def test_no_mutant_survives_in_a_network_with_biases(name, tmp_path):
    """A bias hides subnormal sums from the output, not from the accumulator; small layers have few orders to sum in."""
    block, shape = {
        "trained": (BLOCK, (16, 1)),
        "norms": (BLOCK | {"seperable": True}, (16, 1)),
        "fresh norms": (BLOCK | {"seperable": True}, (16, 1)),
        "fresh planes": ({"filters": 1, "kernel": [2, 3], "norm": "layer", "pool": 2, "strides": 2}, (6, 10, 2)),
        "dilated": (BLOCK | {"depth": 3, "dilation": [1, 3], "strides": [1, 1], "activation": "leaky_relu"}, (11, 1)),
        "ones": ({"filters": 1, "kernel": [1, 1], "pool": [1, 1], "strides": [1, 1]}, (5, 1)),
    }[name]
    model = UNet({"blocks": [block], "output_kernel_size": [1, 3], "use_logits": False}, shape, 2, seed=1)
    if "fresh" not in name:
        random_weights(model, 4)
    level = "trained" if "norms" in name else "deploy"
    golden(model, tmp_path / "b", arithmetic="seq", formats=("bin",), level=level)
    told = mutants.score(tmp_path / "b")
    left = [(row["mutant"], row["survived"]) for row in told["table"] if row["survived"]]
    assert told["score"] == 1 and not left, left


def test_every_format_alone_is_a_whole_bundle(tmp_path):
    """What has no file is drawn or computed again, also where nothing but C was asked for."""
    blocks = [BLOCK | {"seperable": True, "norm": "layer", "activation": "selu"}]
    model = UNet({"blocks": blocks, "use_logits": False, "output_kernel_size": [1, 1]}, (12, 2), 3, seed=1)
    random_weights(model, 5)
    golden(model, tmp_path / "all", arithmetic="seq", formats=("npz",))
    whole = Bundle(tmp_path / "all")
    for form in ("c", "hex", "bin"):
        golden(model, tmp_path / form, arithmetic="seq", formats=(form,))
        bundle = Bundle(tmp_path / form)
        for case in ("case00_random", "case03_saturate", numbered(bundle, "softmax"), numbered(bundle, "add")):
            key = next(key for key in bundle.cases[case]["tensors"] if key.endswith(".out"))
            np.testing.assert_array_equal(bundle.tensor(case, key), whole.tensor(case, key))
        assert verify(bundle, tmp_path / "all/f32").verdict == "PASS"


def test_progress_is_told_case_by_case(bundle):
    told = []
    verify(bundle, bundle.root / "f32", progress=lambda *step: told.append(step))
    assert [what for _, _, what in told] == ["case00_random", "diagnosis", "done"]
    assert told[-1][0] == told[-1][1] == 2


def test_a_search_ends_at_its_time_limit_and_says_so(bundle, tmp_path):
    layer, case = numbered(bundle, "conv2d"), next(iter(bundle.cases))
    wrong = bundle.tensor(case, f"{layer}.out") * F(1.01) + F(0.02)
    np.savez(tmp_path / "o.npz", **{f"{key}.out": bundle.tensor(case, f"{key}.out") for key in bundle.layers}
             | {f"{layer}.out": wrong})
    result = verify(bundle, tmp_path / "o.npz", time_limit=1e-9)
    assert result.verdict == "FAIL" and not result.diagnosis.causes[0].found and result.diagnosis.tried == 0
    assert "the search was cut at its time limit: not every cause was tried" in report.text(result)
    whole = verify(bundle, tmp_path / "o.npz")
    assert whole.diagnosis.tried > 100 and f"{whole.diagnosis.tried} causes tried in" in report.text(whole)
    with pytest.raises(ValueError, match="time_limit=0 must be a positive number"):
        verify(bundle, tmp_path / "o.npz", time_limit=0)


def test_what_happens_to_every_element_happens_once(bundle):
    """A pooling that is run inside of another keeps what comes after for the outer one."""
    node = bundle.graph[bundle.layers[numbered(bundle, "max_pool2d")]["name"]]
    x = np.random.default_rng(3).normal(0, 1, (1, *bundle.graph.shape(node.inputs[0]))).astype(F)
    plain = recipes.recipe_of(node, [x], bundle.weights, bundle.arithmetic)
    for build in (pool_pads_zero, pool_geometry):
        after = dict(build(plain.but(after=(lambda y: y + F(1),))))
        for words, recipe in build(plain):
            np.testing.assert_array_equal(recipes.run(after[words]), recipes.run(recipe) + F(1), err_msg=words)


def test_places_of_faults_in_words():
    differs = np.zeros((1, 16, 24, 6), bool)
    differs[:, 4:8, 8:16] = True
    assert region(differs).startswith("a tile of 4 rows x 8 columns at row 4 of 16, column 8 of 24 (from byte 2496 of")
    turns = (np.arange(480) // 32 % 2 == 1).reshape(1, 6, 10, 8)
    words = [place.words for place in places(turns) if np.array_equal(place.mask, turns)]
    assert words == ["of every 2 blocks of 32 elements (128 bytes) number 1"]


@pytest.mark.parametrize(("change", "told"), [
    (lambda w: w[..., [2, 0, 1, 0]], "filters of the weights in the order 2, 0, 1, 0"),
    (lambda w: w[:, :, ::-1], "input channels of the weights in the order 4, 3, 2, 1, 0"),
    (lambda w: np.where(np.abs(w) < 0.3, 0, w), "in magnitude are zero (pruned)"),
    (lambda w: w.ravel().reshape(60, -1).T.reshape(w.shape), "the right weights in another order in memory"),
    (lambda w: w + 0.01, None),
])
def test_solved_weights_are_recognised(change, told):
    rng = np.random.default_rng(4)
    w = rng.normal(0, 1, (2, 3, 5, 4)).astype(F)
    wrong = np.ascontiguousarray(change(w), F)
    found = list(of_weights(w, wrong + rng.normal(0, 1e-5, w.shape)))
    if told is None:
        assert found == []
    else:
        assert told in found[0][1]
        np.testing.assert_array_equal(found[0][2], wrong)

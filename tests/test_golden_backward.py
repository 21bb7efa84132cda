"""The backward case: its gradients against run.backward in float64, its statistics, its step."""

import numpy as np
import pytest
from golden_cases import NAMES, stored

from npunet import UNet, run
from npunet.golden import Bundle, backward, golden, manifest
from npunet.golden.draws import Draws
from npunet.ops import losses
from npunet.ops.regularise import l2_forward
from npunet.verify import verify
from npunet.verify.gradients import Gradients

NETS = ["d1_plain", "d1_layer_norm", "d1_selu_one_class", "d2_softmax", "d2_activations", "d2_dropout",
        "d2_separable_mixed"]
# The declared exponential is float32's: 1 ULP, 6e-8, in probabilities and in the slopes of ELU and SELU. The sums are
# of float64 on both sides. Measured at most 6e-7 of a gradient's largest element, 1e-13 without exponentials.
CLOSE = 2e-6


def widened(tensors):
    return {name: np.asarray(value, np.float64) for name, value in tensors.items()}


@pytest.mark.parametrize("name", NETS)
def test_gradients_are_those_of_run_backward(name):
    subject, _ = stored(name)
    graph, weights, draws = subject.trained.for_training(), dict(subject.model.weights), Draws(1, "test")
    x = draws.uniform((2, *graph.input_shape), 2.0)
    tensors = weights | backward._masks(subject.trained, draws)
    trace, saves = run.forward(graph, tensors, x, arithmetic="seq")
    dy = draws.uniform(trace[graph.output].shape).astype("f8")
    got = backward.differentiate(graph, tensors, trace, saves, dy)
    want = run.backward(graph, widened(tensors), widened(trace), {k: widened(v) for k, v in saves.items()}, dy)
    for ours, theirs in zip(got, want, strict=True):
        assert ours.keys() == theirs.keys()
        for key, value in theirs.items():
            off = np.max(np.abs(ours[key] - value))
            assert off <= CLOSE * np.max(np.abs(value)) + 1e-12, f"{key}: off by {off:.1e}"


@pytest.mark.parametrize("name", [name for name in NETS if name != "d1_selu_one_class"])
def test_the_loss_and_its_gradient_are_those_of_ops(name):
    subject, _ = stored(name)
    graph = subject.trained
    draws = Draws(2, "test")
    y = draws.uniform((2, *graph.shape(graph.output)), 4.0)
    probabilities = graph[graph.output].op == "softmax"
    if probabilities:
        y = np.exp(y) / np.exp(y).sum(-1, keepdims=True)
        y[0, 0, 0, 0], y[0, 0, 1, 1] = 1e-9, 1.0       # clipped
    labels, loss = backward._labels(graph, draws)
    value, dy = backward._loss(loss, graph, y, labels)
    options = {"from_logits": not probabilities}
    wide = y.astype("f8")
    want = losses.sparse_categorical_crossentropy_forward(wide, labels, **options)
    np.testing.assert_allclose(value, want, rtol=1e-5)
    dwant = losses.sparse_categorical_crossentropy_backward(wide, labels, **options)
    np.testing.assert_allclose(dy, dwant, rtol=1e-5, atol=1e-6 * np.abs(dwant).max())


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    block = {"filters": 3, "kernel": [1, 3], "pool": [1, 3], "strides": [1, 2], "dropout": 0.25}
    model = UNet({"blocks": [block], "output_kernel_size": [1, 5]}, (22, 2), 3, seed=4)
    folder = tmp_path_factory.mktemp("backward") / "bundle"
    golden(model, folder, cases=(), backward=True, formats=("npz", "bin"))
    return model, Bundle(folder)


def test_a_finite_difference_confirms_the_stored_gradients(bundle):
    """A step along the gradient changes the loss by its squared norm: the files belong together."""
    model, files = bundle
    read = lambda key: files.tensor("backward", key)       # noqa: E731
    described = files.manifest["backward"]
    graph = model.graph.for_training()
    masks = {f"{layer['name']}/mask": read(f"{layer['id']}.mask") for layer in described["layers"]
             if layer["operator"] == "dropout"}
    weights = {record["name"]: read(f"{record['id']}.value") for record in described["weights"]}
    gradients = {record["name"]: read(f"{record['id']}.grad") for record in described["weights"]
                 if f"backward/{record['id']}.grad" in files.tensors}
    assert masks and set(gradients) == set(model.trainable)

    def loss(step):
        moved = {name: value.astype("f8") + step * gradients.get(name, 0) for name, value in weights.items()}
        trace, _ = run.forward(graph, moved | widened(masks), read("in").astype("f8"))
        return losses.sparse_categorical_crossentropy_forward(trace[graph.output], read("labels"))

    slope = sum(l2_forward(value.astype("f8"), 1.0) for value in gradients.values())
    assert loss(0) == pytest.approx(described["loss_value"], rel=1e-5)
    assert (loss(1e-5) - loss(-1e-5)) / 2e-5 == pytest.approx(slope, rel=1e-4)


def test_statistics_and_the_step_of_sgd(bundle):
    model, files = bundle
    described = files.manifest["backward"]
    rate, met = np.float32(described["learning_rate"]), {"grad": 0, "batch": 0}
    for record in described["weights"]:
        read = {role: files.tensor("backward", f"{record['id']}.{role}") for role in ("value", "grad", "batch", "step")
                if f"backward/{record['id']}.{role}" in files.tensors}
        np.testing.assert_array_equal(read["value"], model.weights[record["name"]])
        if "grad" in read:
            np.testing.assert_array_equal(read["step"], read["value"] - rate * read["grad"])
            met["grad"] += 1
        else:
            np.testing.assert_allclose(read["step"], 0.99 * read["value"] + 0.01 * read["batch"], rtol=1e-6)
            met["batch"] += 1
    assert met == {"grad": len(model.trainable), "batch": len(model.weights) - len(model.trainable)}
    layer = next(layer for layer in described["layers"] if layer["operator"] == "batch_norm_train")
    x = files.tensor("backward", f"{layer['inputs'][0]}.out").astype("f8")
    number = [record["name"] for record in described["weights"]].index(f"{layer['name']}/moving_mean")
    mean = files.tensor("backward", f"{described['weights'][number]['id']}.batch")
    np.testing.assert_allclose(mean, x.mean((0, 1, 2)), rtol=1e-6)


@pytest.mark.parametrize("name", NAMES[::4])
def test_every_kind_of_network_has_a_backward_case(name):
    subject, _ = stored(name)
    case, described = backward.backward_case(subject, "seq_fma", 0)
    assert np.isfinite(described["loss_value"])
    assert {f"{layer['id']}.dout" for layer in described["layers"]} <= set(case.records)
    grads = [value for key, value in case.kept.items() if key.endswith(".grad")]
    assert all(np.isfinite(value).all() for value in grads) and any(value.any() for value in grads)


def training_step(bundle):
    """What a float32 port with NumPy's own sums has in the backward case, by key."""
    read = lambda key: bundle.tensor("backward", key)       # noqa: E731
    model = UNet.load(bundle.root / "model/model.npz")
    inference = model.sizes.graph(tuple(bundle.manifest["model"]["input_shape"][:2]))
    graph, told = inference.for_training(), bundle.manifest["backward"]
    ids = manifest.layer_ids(graph) | {record["name"]: record["id"] for record in told["weights"]}
    weights = {record["name"]: read(f"{record['id']}.value") for record in told["weights"]}
    masks = {f"{node.name}/mask": read(f"{ids[node.name]}.mask") for node in graph if node.op == "dropout"}
    trace, saves = run.forward(graph, weights | masks, read("in"), arithmetic="any")
    _, dy = backward._loss(told["loss"], graph, trace[graph.output], read("labels"))
    dtrace, dweights = run.backward(graph, weights | masks, trace, saves, dy.astype("f4"))
    shown = {"din": dtrace[graph.input]}
    for node in graph:
        shown |= {f"{ids[node.name]}.out": trace[node.name], f"{ids[node.name]}.dout": dtrace[node.name]}
    for name, value in weights.items():
        layer, _, variable = name.partition("/")
        if variable.startswith("moving_"):
            shown[f"{ids[name]}.batch"] = saves[layer][{"moving_mean": "mean"}.get(variable, "var")]
            shown[f"{ids[name]}.step"] = np.float32(0.99) * value + np.float32(0.01) * shown[f"{ids[name]}.batch"]
        else:
            shown[f"{ids[name]}.grad"] = dweights[name]
            shown[f"{ids[name]}.step"] = value - np.float32(told["learning_rate"]) * dweights[name]
    return {key: np.asarray(value, np.float32) for key, value in shown.items()}


def judged(bundle, shown, folder):
    """Comparisons of the backward case by key."""
    np.savez(folder / "backward.npz", **shown)
    found = verify(bundle, folder / "backward.npz", case="backward", explain=False)
    assert not found.faults
    return {f"{check.layer}.{check.role}": check.chained for check in found.others}


@pytest.mark.parametrize("name", ["d1_layer_norm", "d2_softmax", "d2_dropout", "d2_separable_mixed"])
def test_a_port_with_other_sums_is_within_the_bounds_of_its_gradients(name, tmp_path, capsys):
    """Every step for itself, fed with the port's own tensors; the bounds are far below a flat tolerance."""
    golden(stored(name)[0].model, tmp_path / "b", cases=(), backward=True, formats=("bin",), size="full")
    files = Bundle(tmp_path / "b")
    shown = training_step(files)
    found = judged(files, shown, tmp_path)
    assert len(found) == len(shown) and not {key for key, compared in found.items() if compared.wrong}
    shares = [compared.share for compared in found.values() if compared.share]
    with capsys.disabled():
        print(f"\n{name}: {len(found)} tensors of a training step, at most {max(shares):.2f} of the bound")
    assert 1e-3 < max(shares) <= 1
    right = {("backward", key): files.tensor("backward", key) for key in files.cases["backward"]["tensors"]}
    step = Gradients(files, "backward", right)
    assert not {key for _, key in right if step.check(key).wrong}
    met = set()
    for key in shown:                              # 2^-11 of the largest: a flat tolerance of 2^-10 would not see it
        role = key.rpartition(".")[2]
        if role in ("grad", "dout", "out", "batch", "step") and role not in met and shown[key].any():
            off = shown[key].copy()
            off.flat[np.abs(off).argmax()] *= np.float32(1 + 2.0**-11)
            values = {("backward", other): value for other, value in shown.items()} | {("backward", key): off}
            assert Gradients(files, "backward", values).check(key).wrong, key
            met.add(role)
    assert {"grad", "dout", "out", "step"} <= met


def test_a_backward_tensor_alone_has_the_flat_tolerance(bundle, tmp_path):
    _, files = bundle
    key = next(key for key in files.cases["backward"]["tensors"] if key.endswith(".grad"))
    value = files.tensor("backward", key)
    most = np.abs(value).max()
    assert not judged(files, {key: value + most * np.float32(2.0**-11)}, tmp_path)[key].wrong
    assert judged(files, {key: value + most * np.float32(2.0**-9)}, tmp_path)[key].wrong == value.size


def test_a_manifest_of_another_model_is_refused(bundle, tmp_path):
    _, files = bundle
    other = Bundle(files.root)
    other.manifest["backward"]["weights"][3]["name"] = "elsewhere"
    with pytest.raises(ValueError, match="other layers or weights"):
        judged(other, {"din": files.tensor("backward", "din")}, tmp_path)

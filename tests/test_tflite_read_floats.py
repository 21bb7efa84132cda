"""A .tflite of float32 as a U-Net: TensorFlow's conversions and ours, every tensor beside LiteRT's; what is refused."""

import dataclasses
import hashlib
import json
import os
import pickle
import tracemalloc

import numpy as np
import pytest
from bounds_of_networks import bounded, share
from integer_judges import CASES, STORED, float_model, litert
from test_tflite_files import changed, mutated, number_of, options, tensors

import npunet
from npunet import IntegerModel, UNet, cli, quantize, run
from npunet.audit.parity_tflite import run_litert_reference
from npunet.data.prepare import Preparation
from npunet.deploy import deploy
from npunet.formats import tflite
from npunet.formats.tflite.flat import FlatOperator, FlatTensor
from npunet.golden.bounds import output_bound
from npunet.layer_values import Alias
from npunet.params import UNetParams
from npunet.segment import Segmenter

pytest.importorskip("tflite", reason="reading .tflite needs the extra npunet[tflite]")
pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1:UserWarning")
FOLDER = STORED / "float"
FILES = json.loads((FOLDER / "manifest.json").read_text())["files"]
HIDDEN = ("SPACE_TO_BATCH_ND", "BATCH_TO_SPACE_ND")  # of a dilated convolution, and the batch norm that stays behind it
NEAR = 4e-6  # of a tensor's largest magnitude: sums in another order, and batch norm that the file does not fold
THOROUGH = os.environ.get("NPUNET_THOROUGH") == "1"
MUTATIONS = 2000 if THOROUGH else 12  # test_fuzz_files has more
MEMORY = 200 << 20  # bytes that reading a damaged file may take


def settled(params, rank):
    """What a network's arguments say, without what is not in a file."""
    blocks = []
    for block in params.blocks:
        told = block.resolved(rank)
        pool, strides = (told.pool, told.strides) if rank == 2 else (told.pool[1], told.strides[1])
        blocks.append((told.filters, told.depth, told.decoder_depth, told.kernel, pool, strides, told.skip,
                       told.seperable, told.norm == "layer", told.dilation if told.depth > 1 else None,
                       told.activation))
    return blocks, params.include_top, params.use_logits or not params.include_top


@pytest.mark.parametrize("file", sorted(FILES))
def test_every_tensor_of_tensorflows_conversions(file, rng):
    content = (FOLDER / file).read_bytes()
    assert hashlib.sha256(content).hexdigest() == FILES[file]["sha256"]
    model, case = npunet.load(FOLDER / file), CASES[FILES[file]["case"]]
    assert settled(model.params, len(case["input_shape"]) - 1) == settled(
        UNetParams.from_dict(case["params"]), len(case["input_shape"]) - 1)
    x = rng.normal(size=(2, *model.input_shape)).astype(np.float32)
    judged, trace = litert(content, x, "BUILTIN_WITHOUT_DEFAULT_DELEGATES"), model.trace(x)
    flat = tflite.read_flat(content)
    codes = {operator.code for operator in flat.operators}
    dilated, halves = (*HIDDEN, "MUL") if set(HIDDEN) <= codes else (), ("DEQUANTIZE",)
    hidden = {flat.tensors[i].name for o in flat.operators if o.code in (*dilated, *halves) for i in (
        *o.inputs, *o.outputs)}
    checked = 0
    for name, values in judged.items():
        if name in trace or name not in hidden:
            assert trace[name].shape == values.shape and trace[name].dtype == values.dtype, name
            off, largest = np.abs(trace[name] * 1.0 - values * 1.0).max(), max(1e-3, np.abs(values * 1.0).max())
            steep = 1 + np.log1p(largest) if "'EXP'" in repr(model.aliases.get(name)) else 1  # d exp(x) = exp(x) dx
            assert off <= NEAR * steep * largest, f"{name}: {off}"
            checked += 1
    assert checked == len(judged) or codes & {*HIDDEN, *halves}
    expected, bound = bounded(model.graph, model.weights, model.sizes.admit(x, "float32")[0])
    output = judged[flat.tensors[flat.outputs[0]].name].reshape(expected.shape)
    whole = share(file, output, expected, bound)
    print(f"{file}: {whole:.3f} of the network's bound, {worst_layer(file, model, judged, x):.2f} of a layer's own")


def worst_layer(file, model, judged, x):
    """The largest share of a layer's own bound, fed with what LiteRT computed before it; what the file does not show,
    a convolution before its activation, carries its bound on."""
    graph, weights = deploy(model.graph, model.weights)
    shown = {alias.layer: judged[name] for name, alias in model.aliases.items()
             if isinstance(alias, Alias) and alias.factor == (1, 1) and name in judged}
    values, deltas = {graph.input: model.sizes.admit(x, "float32")[0]}, {graph.input: 0.0}
    used = [0.0]
    for node in graph:
        inputs = [values[name] for name in node.inputs]
        expected, _ = run.apply(node, iter((*inputs, *(weights[name] for name in node.weights))), "seq")
        deltas[node.name] = output_bound(node, inputs, [np.zeros(values[name].shape) + deltas[name]
                                                        for name in node.inputs], weights)
        values[node.name] = expected
        if node.name in shown:
            values[node.name] = shown[node.name].reshape(expected.shape)
            used.append(share(f"{file} {node.name} ", values[node.name], expected, deltas[node.name]))
            deltas[node.name] = 0.0
    assert len(used) > len(graph.nodes) // 2
    return max(used)


def test_layers_have_the_references_names():
    for file in ("d1_ecg_small.tile.tflite", "d2_separable_mixed.resize.tflite"):
        model, original = npunet.load(FOLDER / file), float_model(FILES[file]["case"])
        kept = [node.name for node in original.graph if node.op not in ("batch_norm_inference", "dropout_inference")]
        assert [node.name for node in model.graph] == kept


def test_weights_of_half_precision_are_read_exactly():
    model = npunet.load(FOLDER / "d2_separable.half.tflite")
    for name, value in model.weights.items():
        np.testing.assert_array_equal(value, value.astype(np.float16).astype(np.float32), err_msg=name)
    x = np.random.default_rng(1).normal(size=(1, *model.input_shape))
    y, whole = model.predict(x, "numpy"), float_model("d2_separable").predict(x, "numpy")
    assert 0 < np.abs(y - whole).max() < 0.01 * np.abs(whole).max()


def test_the_files_own_names_are_for_the_files_own_size(rng):
    model = npunet.load(FOLDER / "d1_ecg_small.tile.tflite")
    alias = "functional_1/DEC1.D1.unpool_1/Repeat_1/Tile"
    x, longer = rng.normal(size=(2, 48, 1)), rng.normal(size=(1, 64, 1))
    assert model.trace(x)[alias].shape == (2, 1, 3, 2, 6)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).trace(x)[alias], model.trace(x)[alias])
    assert alias not in model.trace(longer) and alias not in model.trace(x, training=True)
    assert "ENC1_D1_conv/depthwise" in model.trace(x, level="deploy")
    assert "ENC1_D1_conv/depthwise" not in model.trace(x)
    height = npunet.load(FOLDER / "d2_strides_mixed.tile.tflite")  # rows first, then columns
    trace = height.trace(rng.normal(size=(1, *height.input_shape)))
    rows = [values for name, values in trace.items() if name.endswith("unpool_1/Repeat/Tile")]
    assert rows and all(values.ndim == 5 for values in rows)


# ours -----------------------------------------------------------------------------------------------------------------

def written(model, path, **metadata):
    model.export_tflite(path, metadata=metadata)
    return path.read_bytes()


@pytest.mark.parametrize("name", list(CASES))
def test_what_we_write_is_read_back_bit_for_bit(name, tmp_path, rng):
    model = float_model(name)
    content = written(model, tmp_path / "m.tflite")
    again = npunet.load(tmp_path / "m.tflite")
    assert isinstance(again, UNet) and again.params.name == model.params.name
    assert written(again, tmp_path / "again.tflite") == content
    x = rng.normal(size=(2, *model.input_shape))
    one, two = (each.trace(x, level="deploy", arithmetic="seq_fma") for each in (model, again))
    assert set(one) <= set(two)
    for layer, values in one.items():
        np.testing.assert_array_equal(two[layer], values, err_msg=layer)


def test_an_output_of_other_axes_than_the_input(tmp_path, rng):
    """As a network of 2023 has it: images of height 1, and a signal's result."""
    model = float_model("d1_plain")
    flat = tflite.read_flat(written(model, tmp_path / "m.tflite"))
    image = flat.operators[0].outputs[0]
    cut = dataclasses.replace(flat, operators=flat.operators[1:], inputs=(image,))
    (tmp_path / "image.tflite").write_bytes(tflite.write_flat(cut))
    again, x = npunet.load(tmp_path / "image.tflite"), rng.normal(size=(2, *model.input_shape))
    assert again.input_shape == (1, *model.input_shape)
    y = model.predict(x, "numpy", "seq")
    np.testing.assert_array_equal(again.predict(x[:, None], "numpy", "seq"), y[:, None])
    assert again.trace(x[:, None])["output"].shape == y.shape


def test_a_network_that_is_read_is_any_other(tmp_path, rng):
    """It can be saved, quantised and trained; a description of classes and preparation travels with it."""
    network = float_model("d1_layer_norm")
    written(network, tmp_path / "m.tflite")
    model, x = npunet.load(tmp_path / "m.tflite"), rng.normal(size=(5, *network.input_shape)).astype(np.float32)
    model.save(tmp_path / "m.npz")
    np.testing.assert_array_equal(npunet.load(tmp_path / "m.npz").predict(x, "numpy"), model.predict(x, "numpy"))
    assert isinstance(quantize(model, x), IntegerModel)
    loss, gradients, _ = model.gradients(x, np.zeros(x.shape[:2], int))
    assert np.isfinite(loss) and set(gradients) == set(model.trainable)
    other = UNet(model.params, model.input_shape, 3, seed=5).load_weights(tmp_path / "m.tflite")
    np.testing.assert_array_equal(other.predict(x, "numpy"), model.predict(x, "numpy"))
    np.testing.assert_array_equal(UNet.load(tmp_path / "m.tflite").predict(x, "numpy"), model.predict(x, "numpy"))
    with pytest.raises(ValueError, match="does not say what its classes are"):
        Segmenter.load(tmp_path / "m.tflite")
    with pytest.raises(ValueError, match="it is a float model"):
        IntegerModel.load(tmp_path / "m.tflite")
    with pytest.raises(ValueError, match=r"is an integer network, which npunet\.load and IntegerModel\.load open"):
        UNet.load(STORED / "integer" / "d1_plain.int8.tflite")
    prepared = Preparation(rate=100.0)
    Segmenter(network, ["a", "b", "c"], prepared).export_tflite(tmp_path / "m.tflite")
    trained = npunet.load(tmp_path / "m.tflite")
    assert isinstance(trained, Segmenter) and tuple(trained.class_names) == ("a", "b", "c")
    assert trained.preparation == prepared and set(trained.trace(x)) == set(model.trace(x))
    assert isinstance(Segmenter.load(tmp_path / "m.tflite"), Segmenter)
    written(network, tmp_path / "m.tflite", class_names='["a", "b", "c"')
    with pytest.raises(ValueError, match="description cannot be read"):
        npunet.load(tmp_path / "m.tflite")
    with pytest.raises(ValueError, match="leaves its size open"):
        UNet({"blocks": [], "output_kernel_size": [1, 3]}, (None, 2), 3).export_tflite(tmp_path / "open.tflite")


def test_a_pad_before_a_convolution_and_keras_2s_layer_norm(tmp_path, rng):
    """PAD and VALID for SAME; x * s + (beta - mean * s) for layer norm: forms of other converters."""
    network = float_model("d1_layer_norm")
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    flat = tflite.read_flat(written(network, tmp_path / "m.tflite"))
    number = number_of(flat, "CONV_2D")
    conv, made = flat.operators[number], list(flat.tensors)
    height, width = flat.tensors[conv.inputs[1]].shape[1:3]
    pads = np.array([[0, 0], [(height - 1) // 2, height // 2], [(width - 1) // 2, width // 2], [0, 0]], np.int32)
    source = made[conv.inputs[0]]
    _, H, W, C = source.shape
    made += [FlatTensor("pads", (4, 2), np.dtype(np.int32), pads),
             FlatTensor("padded", (1, H + height - 1, W + width - 1, C), source.dtype)]
    padded = dataclasses.replace(conv, inputs=(len(made) - 1, *conv.inputs[1:]), options={**conv.options, "padding": 1})
    operators = list(flat.operators)
    operators[number : number + 1] = [FlatOperator("PAD", (conv.inputs[0], len(made) - 2), (len(made) - 1,)), padded]
    for at in reversed([i for i, operator in enumerate(operators) if operator.code == "RSQRT"]):
        operators[at + 1 : at + 4] = keras_2s(operators, made, at)
    content = tflite.write_flat(dataclasses.replace(flat, tensors=tuple(made), operators=tuple(operators)))
    (tmp_path / "other.tflite").write_bytes(content)
    x = rng.normal(size=(2, *network.input_shape)).astype(np.float32)
    model = npunet.load(tmp_path / "other.tflite")
    np.testing.assert_array_equal(model.predict(x, "numpy"), npunet.load(tmp_path / "m.tflite").predict(x, "numpy"))
    judged = run_litert_reference(content, x[:1])
    np.testing.assert_allclose(judged, model.predict(x[:1], "numpy"), rtol=0, atol=NEAR * np.abs(judged).max())


def keras_2s(operators, made, at):
    """The end of a layer norm as Keras 2 writes it, in place of the three operators behind RSQRT."""
    scaled, weighted, last = operators[at + 1 : at + 4]
    mean = operators[at - 5]
    assert mean.code == "MEAN" and (scaled.code, weighted.code, last.code) == ("MUL", "MUL", "ADD")
    full = made[last.outputs[0]].shape
    numbers = [len(made) + i for i in range(3)]
    made += [FlatTensor(f"k2 {number}", full, np.dtype(np.float32)) for number in numbers]
    product = {"fused_activation_function": 0}
    (x, _), gamma, beta = mean.inputs, weighted.inputs[1], last.inputs[1]
    return [FlatOperator("MUL", (operators[at].outputs[0], gamma), (numbers[0],), product),
            FlatOperator("MUL", (x, numbers[0]), (numbers[1],), product),
            FlatOperator("MUL", (mean.outputs[0], numbers[0]), (numbers[2],), product),
            FlatOperator("SUB", (beta, numbers[2]), (weighted.outputs[0],), product),
            dataclasses.replace(last, inputs=(numbers[1], weighted.outputs[0]))]


# what is refused ------------------------------------------------------------------------------------------------------

def foreign(flat):
    """Files that hold something that this network does not: (file, what is said of it)."""
    conv, pool, add, up = (number_of(flat, code) for code in ("CONV_2D", "MAX_POOL_2D", "ADD", "TILE"))
    kernel = flat.operators[conv].inputs[1]
    values = flat.tensors[kernel].data
    last = len(flat.operators) - 1
    yield changed(flat, pool, code="AVERAGE_POOL_2D"), f"operator {pool} (AVERAGE_POOL_2D) is none of those"
    yield changed(flat, pool, code="GELU"), f"operator {pool} (GELU) is none of those that a U-Net has"
    yield changed(flat, pool, code="EXP"), f"operator {pool} (EXP) can be read as a part of selu, and is none here"
    yield changed(flat, add, code="MUL"), "can be read as a part of layer norm, selu or a batch norm"
    yield options(flat, "CONV_2D", fused_activation_function=2), "has the fused activation 2 of the schema"
    yield options(flat, "CONV_2D", fused_activation_function=0), "stands where this U-Net has a norm or an activation"
    yield options(flat, "CONV_2D", fused_activation_function=1), "is 'relu6' where ENC1_D2_act of this network is"
    yield options(flat, "CONV_2D", dilation_w_factor=2), "has pads ((0, 0), (2, 2)) where ENC1_D1_conv of this"
    yield options(flat, "CONV_2D", stride_w=2), "its operator gives"
    yield options(flat, "CONV_2D", padding=1), "its operator gives"
    yield options(flat, "MAX_POOL_2D", fused_activation_function=1), "stands where this U-Net has"
    yield tensors(flat, kernel, data=values.astype(np.int8), dtype=np.dtype(np.int8)), "(dynamic range quantisation)"
    yield tensors(flat, kernel, data=values * np.inf), "this is no trained network"
    yield tensors(flat, flat.operators[add].outputs[0], dtype=np.dtype(np.int8)), "is int8 in a file whose input is"
    yield changed(flat, add, inputs=(flat.operators[add].inputs[0],) * 2), "stands where this U-Net has"
    yield changed(flat, add, inputs=(flat.operators[last].outputs[0],) * 2), "which no operator before it gives"
    yield changed(flat, up, outputs=flat.operators[add].outputs), "which has a value already"
    yield dataclasses.replace(flat, operators=flat.operators[::-1]), "which no operator before it gives"
    yield dataclasses.replace(flat, operators=flat.operators[:-1]), "no operator gives its output"
    yield tensors(flat, flat.inputs[0], unsettled=(0, 1)), "leaves the size of axes [0, 1] open; convert it with"


def test_what_this_network_does_not_have_is_refused(tmp_path):
    path = tmp_path / "m.tflite"
    for made, way in foreign(dense_two_deep(tmp_path)):
        path.write_bytes(tflite.write_flat(made))
        with pytest.raises(ValueError) as caught:
            npunet.load(path)
        assert way in str(caught.value) and "\n" not in str(caught.value), (way, str(caught.value))
    for name in ("softmax", "layer_norm"):
        flat = tflite.read_flat(written(float_model(f"d1_{name}"), path))
        slope, eps, bias, steep = foreign_numbers(flat) if name == "layer_norm" else (None,) * 4
        if name == "softmax":
            path.write_bytes(tflite.write_flat(options(flat, "LEAKY_RELU", alpha=0.3)))
            with pytest.raises(ValueError, match=r"\(LEAKY_RELU\): its slope is 0.3; this network has 0.2"):
                npunet.load(path)
        else:
            for made, way in ((eps, "weights of float16 round it"), (bias, "has a bias, which ENC1_D1_conv"),
                              (steep, "has gamma of shape"), (slope, "can be read as a part of layer norm")):
                path.write_bytes(tflite.write_flat(made))
                with pytest.raises(ValueError, match=way):
                    npunet.load(path)


def dense_two_deep(tmp_path):
    """A small file with TILE in it: one dense block of depth 2, upsampled as Keras does."""
    model = UNet({"blocks": [{"filters": 3, "depth": 2, "kernel": [1, 3], "pool": [1, 2], "strides": [1, 2]}],
                  "output_kernel_size": [1, 3]}, (12, 2), 3)
    flat = tflite.read_flat(written(model, tmp_path / "dense.tflite"))
    number = number_of(flat, "RESIZE_NEAREST_NEIGHBOR")
    resize, made = flat.operators[number], list(flat.tensors)
    _, H, W, C = made[resize.inputs[0]].shape
    made += [FlatTensor("five", (1, H, W, 1, C), np.dtype(np.float32)),
             FlatTensor("tiled", (1, H, W, 2, C), np.dtype(np.float32)),
             FlatTensor("multiples", (5,), np.dtype(np.int32), np.array([1, 1, 1, 2, 1], np.int32))]
    five, tiled, multiples = (len(made) - back for back in (3, 2, 1))
    operators = list(flat.operators)
    operators[number : number + 1] = [FlatOperator("RESHAPE", (resize.inputs[0],), (five,)),
                                      FlatOperator("TILE", (five, multiples), (tiled,)),
                                      FlatOperator("RESHAPE", (tiled,), resize.outputs)]
    return dataclasses.replace(flat, tensors=tuple(made), operators=tuple(operators))


def foreign_numbers(flat):
    """Of a file with layer norm: another axis, another epsilon, a bias before it, a gamma a channel."""
    mean, safe = (flat.operators[number_of(flat, code)] for code in ("MEAN", "RSQRT"))
    plus = next(o for o in flat.operators if o.outputs == safe.inputs)
    conv = flat.operators[number_of(flat, "CONV_2D")]
    axes, eps, bias = mean.inputs[1], plus.inputs[1], conv.inputs[2]
    gamma = next(i for i, t in enumerate(flat.tensors) if t.name.endswith("/gamma"))
    one, per_channel = flat.tensors[eps].data, np.ones((1, 20, 1, 1), np.float32)
    return (tensors(flat, axes, data=np.array([2, 3], np.int32)), tensors(flat, eps, data=one * 2),
            tensors(flat, bias, data=flat.tensors[bias].data + 1),
            tensors(flat, gamma, data=per_channel, shape=per_channel.shape))


@pytest.mark.parametrize("file", ["d1_softmax.resize.tflite", "d1_layer_norm.open.tflite", "d2_separable.half.tflite"])
def test_mutated_files(file, tmp_path):
    """A damaged file is either another network or one ValueError: no other exception, and no memory without bound."""
    content, rng = (FOLDER / file).read_bytes(), np.random.default_rng(11)
    flat, path, refused = tflite.read_flat(content), tmp_path / "m.tflite", 0
    if THOROUGH:
        tracemalloc.start()
    for turn in range(MUTATIONS // 3 + 1):
        path.write_bytes(mutated(content, rng) if turn % 2 else tflite.write_flat(rearranged(flat, rng)))
        try:
            model = npunet.load(path)
            model.trace(np.zeros((1, *model.input_shape), np.float32))
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 2000
    assert not THOROUGH or tracemalloc.get_traced_memory()[1] < MEMORY
    tracemalloc.stop()
    assert refused > MUTATIONS // 10


def rearranged(flat, rng):
    """The file with an input, an output, a place, a kind or a constant of an operator changed: sound as a file."""
    operators, made = list(flat.operators), list(flat.tensors)
    at, other, kind = int(rng.integers(len(operators))), int(rng.integers(len(operators))), rng.integers(5)
    operator = operators[at]
    if kind == 0 and operator.inputs:
        inputs = list(operator.inputs)
        inputs[int(rng.integers(len(inputs)))] = int(rng.integers(len(made)))
        operators[at] = dataclasses.replace(operator, inputs=tuple(inputs))
    elif kind == 1:
        operators[at] = dataclasses.replace(operator, outputs=(int(rng.integers(len(made))),))
    elif kind == 2:
        operators[at], operators[other] = operators[other], operators[at]
    elif kind == 3:
        operators[at] = dataclasses.replace(operator, code=operators[other].code, options=operators[other].options)
    else:
        number = int(rng.integers(len(made)))
        if made[number].data is not None:
            made[number] = dataclasses.replace(made[number], data=made[number].data * 3)
    return dataclasses.replace(flat, tensors=tuple(made), operators=tuple(operators))


# the command ----------------------------------------------------------------------------------------------------------

def test_the_command(tmp_path, monkeypatch, capsys, rng):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "m.tflite").write_bytes((FOLDER / "d2_strides_mixed.tile.tflite").read_bytes())
    np.save("x.npy", rng.normal(size=(3, 12, 18, 1)).astype(np.float32))
    for words in (["summary", "m.tflite"], ["convert", "m.tflite", "m.npz"], ["convert", "m.tflite", "m.safetensors"],
                  ["predict", "m.tflite", "x.npy", "--raw", "--backend", "numpy", "-o", "y.npy"],
                  ["trace", "m.tflite", "x.npy", "--raw", "-o", "t.npz"], ["convert", "m.tflite", "again.tflite"],
                  ["convert", "m.tflite", "m.keras"], ["draw", "m.tflite", "-o", "m.svg"],
                  ["golden", "m.tflite", "-o", "bundle", "--formats", "npz", "--cases", "random"],
                  ["quantize", "m.tflite", "--calibrate", "x.npy", "--raw", "-o", "q.tflite"],
                  ["compare", "m.tflite", "m.npz"]):
        assert cli.main(words) == 0, capsys.readouterr().err
    assert "equal, bit for bit" in capsys.readouterr().out
    with np.load("t.npz") as trace:
        assert {"ENC1_D1_act", "functional_1/DEC1.D1.unpool_1/Repeat/Tile"} <= set(trace.files)
    assert isinstance(npunet.load("q.tflite"), IntegerModel)
    (tmp_path / "cut.tflite").write_bytes((tmp_path / "m.tflite").read_bytes()[:5000])
    for words, way in ((["eval", "m.tflite", "--data", "."], "does not say what its classes are"),
                       (["convert", "m.tflite", "m.npz", "--model", "ecg"], "is a whole model; --model is only for"),
                       (["predict", "cut.tflite", "x.npy"], "is damaged or incomplete")):
        assert cli.main(words) == 2
        told = capsys.readouterr().err
        assert way in told and told.count("\n") == 1, told

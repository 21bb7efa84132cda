"""What a user holds: predict, trace, save, load, export; and wrong use, refused with the way out."""

import dataclasses
import json

import numpy as np
import pytest
from integer_judges import CASES, SCHEMES, calibration, float_model, integers, tflite_micro

import npunet
from npunet import IntegerModel, UNet, pretrained, quantize
from npunet.integer import bounds, network, parameters, resize, run
from npunet.integer.check import check_network
from npunet.integer.network import Network, Tensor
from npunet.integer.ops.table_of_operators import OPERATORS

BLOCK = {"filters": 4, "kernel": (1, 3), "pool": (1, 3), "strides": (1, 2)}


def small(**options):
    return UNet({"blocks": [{**BLOCK, **options}], "output_kernel_size": (1, 3)}, (24, 2), 3)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", ["d1_softmax", "d2_separable_mixed", "d1_layer_norm", "d2_activations"])
def test_the_same_network_after_save_and_load(name, scheme, rng, tmp_path):
    model = quantize(float_model(name), calibration(name), scheme=scheme, rounding="S")
    for path in (tmp_path / "a.npz", tmp_path / "b.npz"):
        model.save(path)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    again = npunet.load(tmp_path / "a.npz")
    assert isinstance(again, IntegerModel) and repr(again) == repr(model)
    x = integers(model, 3, rng)
    trace = model.trace(x)
    for tensor, values in again.trace(x).items():
        np.testing.assert_array_equal(values, trace[tensor], err_msg=tensor)
    y = model.predict(x)
    assert y.shape == (3, *model.output_shape) and y.dtype == model.dtype
    np.testing.assert_array_equal(y, trace[model.network.output].reshape(y.shape))
    np.testing.assert_array_equal(y, model.predict(x, backend="numpy"))


def test_a_batch_is_its_samples(rng, monkeypatch):
    model = quantize(float_model("d2_strides_mixed"), calibration("d2_strides_mixed"))
    x = integers(model, 7, rng)
    whole = model.predict(x)
    monkeypatch.setattr("npunet.integer_model.VALUES_AT_ONCE", 2000)  # two samples at a time
    np.testing.assert_array_equal(model.predict(x), whole)
    for tensor, values in model.trace(x).items():
        assert len(values) == 7, tensor
    assert model.predict(x[:0]).shape == (0, *model.output_shape)
    assert all(len(values) == 0 for values in model.trace(x[:0]).values())


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize(("name", "size"), [("d1_ecg_small", (80,)), ("d2_even_kernels", (12, 36))])
def test_other_sizes_are_judged_too(name, size, scheme, rng, tmp_path):
    """The same weights and scales at another size, which a file of that size holds and TFLite-Micro runs."""
    model = quantize(float_model(name), calibration(name), scheme=scheme)
    channels, multiple = model.input_shape[-1], model.dequantized().sizes.multiple
    assert model.dequantized().sizes.rank == len(size)
    images = (1, *size)[-2:]
    other = IntegerModel(resize.resized(model.network, images))
    assert other.input_shape == (*size, channels) and other.output_shape[:-1] == size
    x = integers(other, 2, rng)
    other.export_tflite(tmp_path / "m.tflite")
    judged = tflite_micro((tmp_path / "m.tflite").read_bytes(), x)
    for layer, values in model.trace(x).items():
        np.testing.assert_array_equal(values, judged[layer], err_msg=layer)
    assert resize.resized(model.network, model.network.tensors["input"].shape[:2]) is model.network
    with pytest.raises(ValueError, match=f"is not a multiple of \\({multiple[0]}, {multiple[1]}\\)"):
        resize.resized(model.network, (images[0], images[1] + 1))


def test_layer_norm_binds_the_size(rng):
    model = quantize(float_model("d1_layer_norm"), calibration("d1_layer_norm"))
    with pytest.raises(ValueError, match=r"ENC1_D1_act binds the network to the size \(1, 20\)"):
        model.predict(np.zeros((1, 40, 2), np.int8))


def test_the_float_face_pads_and_crops(rng):
    model = quantize(small(), rng.normal(size=(9, 24, 2)))
    face, x = model.dequantized(), rng.normal(size=(3, 37, 2))
    padded = np.concatenate([x, np.zeros((3, 1, 2))], 1)
    expected = model.dequantize_output(model.predict(model.quantize_input(padded)))[:, :37]
    np.testing.assert_array_equal(face.predict(x, pad=True), expected)
    assert face.params.include_top and face.params.use_logits and face.num_classes == 3
    for wrong, way in ((lambda: face.predict(x), "not a multiple"), (lambda: face.predict(x[0]), "x has shape"),
                       (lambda: face.predict(x, pad=True, arithmetic="seq"), "for float networks")):
        with pytest.raises(ValueError, match=way):
            wrong()


def test_names_and_shapes_are_the_references():
    for name in ("d1_ecg_small", "d2_plain"):
        float_, made = float_model(name), quantize(float_model(name), calibration(name))
        layers = float_.trace(calibration(name)[:1])
        trace = made.trace(made.quantize_input(calibration(name)[:1]))
        assert all(values.shape == layers[layer].shape for layer, values in trace.items() if "depthwise" not in layer)
        stands_for = [layer for node in made.network for layer in node.layers]
        assert set(layers) <= set(stands_for), "every layer of the float network stands in one node"
        with pytest.raises(KeyError, match="no layer 'ENC1_D1_bn'; the nearest are ENC1"):
            trace["ENC1_D1_bn"]


def test_real_numbers_in_and_out(rng):
    model = quantize(small(), rng.normal(size=(9, 24, 2)).astype(np.float32))
    (scale, zero), low = model.input_qparams, -128
    assert scale > 0 and -128 <= zero <= 127
    np.testing.assert_array_equal(model.quantize_input(np.full((1, 24, 2), -1e9)), low)
    halves = (np.arange(-5, 5) + 0.5) * scale  # ties, away from zero
    expected = np.where(np.arange(-5, 5) < 0, np.arange(-5, 5), np.arange(-5, 5) + 1) + zero
    near = np.abs(np.float32(halves) / np.float32(scale) % 1 - 0.5) == 0
    np.testing.assert_array_equal(model.quantize_input(halves)[near], expected[near])
    y = model.predict(model.quantize_input(rng.normal(size=(2, 24, 2))))
    s, z = model.output_qparams
    np.testing.assert_array_equal(model.dequantize_output(y), (s * (y.astype(float) - z)).astype(np.float32))
    with pytest.raises(ValueError, match="x holds 1 NaN"):
        model.quantize_input(np.array([np.nan, 1]))


def test_a_segmenters_description_travels(tmp_path):
    model = quantize(pretrained("ecg"), np.random.default_rng(0).normal(size=(4, 256, 1)))
    assert model.class_names == pretrained("ecg").class_names
    model.save(tmp_path / "m.npz")
    model.export_tflite(tmp_path / "m.tflite")
    for again in (npunet.load(tmp_path / "m.npz"), npunet.load(tmp_path / "m.tflite")):
        assert again.class_names == model.class_names
        assert json.loads(again.network.metadata["preparation"]) == pretrained("ecg").preparation.to_dict()
        assert again.network.name == model.network.name


def test_calibration_methods_are_what_they_say(rng):
    x = rng.normal(size=(2000, 24, 2)).astype(np.float32)
    x[3, 5, 1] = 8  # an outlier among 96,000 values
    scales = {method: quantize(small(), x, calibration_method=method).input_qparams[0]
              for method in ("minmax", "percentile", "mse")}
    assert abs(scales["minmax"] * 255 - (8 - x.min())) < 1e-4
    assert scales["percentile"] < 0.75 * scales["minmax"], "the outlier is clipped"
    assert scales["percentile"] < scales["mse"] < 0.95 * scales["minmax"], "finer steps are worth some clipping"
    seen = []
    quantize(small(), x, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (2000, 2000)


@pytest.mark.parametrize(("way", "calibration_data", "options"), [
    ("there is no calibration data", None, {}),
    ("calibration, as the network's x: x has size \\(23,\\)", np.ones((3, 23, 2)), {}),
    ("holds no values", np.zeros((0, 24, 2)), {}),
    ("nothing but 0", np.zeros((3, 24, 2)), {}),
    ("3 values that are NaN or infinite", np.where(np.arange(144).reshape(3, 24, 2) % 50 == 7, np.nan, 1.0), {}),
    ("network takes \\(B, 24, 2\\)", np.ones((3, 24)), {}),
    ("x has 3 channels", np.ones((3, 24, 3)), {}),
    ("real numbers", np.full((3, 24, 2), "a"), {}),
    ("scheme='int4' must be one of int8, int16x8", np.eye(24)[:, :2][None], {"scheme": "int4"}),
    ("rounding='U' must be one of D, S", np.eye(24)[:, :2][None], {"rounding": "U"}),
    ("calibration_method='max'", np.eye(24)[:, :2][None], {"calibration_method": "max"}),
])
def test_what_quantize_refuses(way, calibration_data, options):
    with pytest.raises(ValueError, match=way):
        quantize(small(), calibration_data, **options)


def test_which_models_quantize_refuses(rng):
    x = rng.normal(size=(4, 24, 2))
    with pytest.raises(ValueError, match="is an integer network already"):
        quantize(quantize(small(), x), x)
    with pytest.raises(ValueError, match="the model is float64"):
        quantize(UNet({"blocks": [BLOCK], "output_kernel_size": 1}, (24, 2), 3, dtype="float64"), x)
    with pytest.raises(ValueError, match="model is str"):
        quantize("m.npz", x)


def test_what_an_integer_model_refuses(rng, tmp_path):
    model = quantize(small(), rng.normal(size=(4, 24, 2)))
    for bad, way in ((np.zeros((1, 24, 2)), "quantize_input\\(x\\) makes it"),
                     (np.zeros((1, 24, 2), np.int64), "astype\\('int8'\\)"),
                     (np.zeros((1, 24, 3), np.int8), "the network takes \\(B, 24, 2\\)"),
                     (np.zeros((1, 25, 2), np.int8), "not a multiple of \\(1, 2\\)"),
                     (np.zeros((24, 2), np.int8), "the network takes \\(B, 24, 2\\)")):
        with pytest.raises(ValueError, match=way):
            model.predict(bad)
        with pytest.raises(ValueError, match=way):
            model.trace(bad)
    with pytest.raises(ValueError, match="backend='torch' must be one of auto, numpy, engine"):
        model.predict(np.zeros((1, 24, 2), np.int8), backend="torch")
    with pytest.raises(ValueError, match="rounding='D'"):
        quantize(small(), rng.normal(size=(4, 24, 2)), rounding="S").export_tflite(tmp_path / "m.tflite")
    for activation, what in (("elu", "ENC1_D1_act: .tflite has no integer operator for elu"),
                             ("selu", "ENC1_D1_act: .tflite has no integer operator for selu")):
        with pytest.raises(ValueError, match=what):
            quantize(small(activation=activation), rng.normal(size=(4, 24, 2))).export_tflite(tmp_path / "m.tflite")
    with pytest.raises(ValueError, match=r"ENC1_D1_act: \.tflite has no integer operator for layer_norm"):
        quantize(small(norm="layer"), rng.normal(size=(4, 24, 2))).export_tflite(tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


def test_files_that_hold_no_integer_network(tmp_path):
    small().save(tmp_path / "float.npz")
    with pytest.raises(ValueError, match=r"it has no description of one; npunet\.load"):
        IntegerModel.load(tmp_path / "float.npz")
    model = quantize(small(), np.random.default_rng(1).normal(size=(3, 24, 2)))
    model.save(tmp_path / "m.npz")
    content = (tmp_path / "m.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"cut\.npz"):
        npunet.load(tmp_path / "cut.npz")
    with pytest.raises(FileNotFoundError):
        IntegerModel.load(tmp_path / "nowhere.npz")
    with pytest.raises(ValueError, match="float model that it was made from"):
        npunet.loading.load_network(tmp_path / "m.npz")


def test_an_accumulator_that_could_leave_32_bits_is_refused():
    x, y = (Tensor(name, (1, 1, 2**17), "int8", 1.0, -128) for name in ("input", "y"))
    weights = np.full((1, 1, 2**17, 1), 127, np.int8)

    def one(bias):
        y1 = dataclasses.replace(y, shape=(1, 1, 1), scale=1e6)
        node = parameters.convolution("conv2d", x, y1, weights, np.array([bias], np.int32), np.ones(1), stride=(1, 1),
                                      pads=((0, 0), (0, 0)), dilation=(1, 1), padding="same")
        return Network("int8", "D", "input", "y", {"input": x, "y": y1}, (node,), x.shape, y1.shape)

    made = one(5)
    assert bounds.accumulator_bound(made, made["y"]).tolist() == [127 * 255 * 2**17 + 5]
    with pytest.raises(ValueError, match="y: the accumulator of channel 0 can reach 4,244,766,725"):
        bounds.check_accumulators(made)
    within = dataclasses.replace(made, nodes=(dataclasses.replace(made["y"], arrays={
        **made["y"].arrays, "weights": weights // 2}),))
    bounds.check_accumulators(within)


def test_a_left_shift_that_no_runtime_defines_is_refused():
    def one(shift):
        x, y = Tensor("input", (1, 1, 2), "int16", 1.0, 0), Tensor("y", (1, 1, 1), "int16", 0.75 * 2.0**-shift, 0)
        node = parameters.convolution("conv2d", x, y, np.ones((1, 1, 2, 1), np.int8), np.array([5], np.int64),
                                      np.ones(1), stride=(1, 1), pads=((0, 0), (0, 0)), dilation=(1, 1), padding="same")
        return Network("int16x8", "D", "input", "y", {"input": x, "y": y}, (node,), x.shape, y.shape)

    made = one(13)
    assert made["y"].arrays["shift"].tolist() == [14] and bounds.too_narrow(made) == {"y": 7}
    bounds.check_accumulators(made)
    with pytest.raises(ValueError, match="y: a left shift of 15 by the 64-bit requantisation, which has at most 14"):
        bounds.check_accumulators(one(14))
    assert bounds.too_narrow(one(6)) == {}


def test_the_bound_is_reached(rng):
    """The accumulator that the worst input gives is the bound, and no input gives more."""
    model = quantize(small(), rng.normal(size=(4, 24, 2)))
    node = model.network["ENC1_skip"]
    bound = bounds.accumulator_bound(model.network, node)
    from npunet.integer.ops.conv import conv2d_accumulate

    attrs = {key: node.attrs[key] for key in ("stride", "pads", "dilation", "input_offset")}
    worst = np.zeros(len(bound), np.int64)
    for channel in range(len(bound)):
        w = node.arrays["weights"][0, 0, :, channel].astype(int)
        side = node.arrays["bias"][channel] >= 0
        x = np.where((w > 0) == side, 127, -128)[None, None, None].astype(np.int64)
        acc = conv2d_accumulate(x, weights=node.arrays["weights"], bias=node.arrays["bias"], **attrs)
        worst[channel] = abs(acc[0, 0, 0, channel])
    assert (worst <= bound).all() and (worst > 0.4 * bound).all()


def test_impossible_networks_are_refused(rng):
    made = quantize(small(), rng.normal(size=(4, 24, 2))).network
    first = made.nodes[0]

    def changed(**fields):
        return dataclasses.replace(made, nodes=(dataclasses.replace(first, **fields), *made.nodes[1:]))

    for broken, way in (
        (changed(op="magic"), "unknown operator 'magic'"),
        (changed(inputs=("nowhere",)), "reads 'nowhere', which no operator before it gives"),
        (changed(arrays={**first.arrays, "bias": first.arrays["bias"][1:]}), "bias has shape"),
        (dataclasses.replace(made, nodes=made.nodes[::-1]), "which no operator before it gives"),
        (dataclasses.replace(made, output="nowhere"), "no operator gives the output"),
        (dataclasses.replace(made, input_shape=(23, 2)), "does not hold the values"),
        (dataclasses.replace(made, rounding="E"), "rounding 'E' is unknown"),
    ):
        with pytest.raises(ValueError, match=way):
            check_network(broken)
    for field, value in (("scale", 0.0), ("zero_point", 300), ("shape", (1, 2**15, 2**15)), ("dtype", "int4")):
        tensors = {**made.tensors, first.name: dataclasses.replace(made.tensors[first.name], **{field: value})}
        with pytest.raises(ValueError, match=first.name):
            check_network(dataclasses.replace(made, tensors=tensors))


def test_operators_that_no_unet_draws(rng, tmp_path):
    """Strides, VALID, a depth multiplier, average pooling, and a clamp on a pool: read, run and judged all the same."""
    def tensor(name, shape, scale=0.05, zero=3):
        return Tensor(name, shape, "int8", scale, zero)

    x, a, b = tensor("input", (9, 12, 3)), tensor("a", (4, 6, 6), 0.4, -7), tensor("b", (2, 2, 6), 0.4, -7)
    c, d = tensor("c", (1, 1, 5), 0.9, 0), tensor("d", (1, 1, 5), 0.31, 5)
    weights = rng.integers(-127, 128, (3, 2, 3, 2)).astype(np.int8)
    dense = rng.integers(-127, 128, (2, 2, 6, 5)).astype(np.int8)
    bias = rng.integers(-9000, 9000, 6).astype(np.int32)
    nodes = (
        parameters.convolution("depthwise_conv2d", x, a, weights, bias, rng.uniform(1e-2, 3e-2, 6), stride=(2, 2),
                               pads=((0, 0), (0, 0)), dilation=(1, 1), padding="valid", clamp="relu"),
        parameters.pooling("avg_pool2d", a, b, window=(3, 3), stride=(2, 3), pads=((0, 1), (0, 0)), padding="same"),
        parameters.convolution("conv2d", b, c, dense, bias[:5], rng.uniform(1e-2, 3e-2, 5), stride=(1, 1),
                               pads=((0, 0), (0, 0)), dilation=(1, 1), padding="valid", clamp="relu6"),
        parameters.rescaling(c, d),
    )
    made = Network("int8", "D", "input", "d", {t.name: t for t in (x, a, b, c, d)}, nodes, x.shape, d.shape)
    check_network(made)
    IntegerModel(made).export_tflite(tmp_path / "m.tflite")
    given = rng.integers(-128, 128, (4, *x.shape)).astype(np.int8)
    judged = tflite_micro((tmp_path / "m.tflite").read_bytes(), given)
    for name, values in npunet.load(tmp_path / "m.tflite").trace(given).items():
        np.testing.assert_array_equal(values, judged[name], err_msg=name)


@pytest.mark.parametrize("bias_type", [np.int32, np.int64])
def test_sixteen_bits_with_either_bias(bias_type, rng, tmp_path):
    """With a bias of 32 bits the whole multiplier counts, with one of 64 its upper half: TFLite-Micro has both."""
    x, y = Tensor("input", (5, 7, 3), "int16", 1e-4, 0), Tensor("y", (5, 7, 4), "int16", 2e-4, 0)
    weights = rng.integers(-127, 128, (3, 3, 3, 4)).astype(np.int8)
    bias = rng.integers(-(2**20), 2**20, 4).astype(bias_type)
    node = parameters.convolution("conv2d", x, y, weights, bias, rng.uniform(3e-3, 6e-3, 4), stride=(1, 1),
                                  pads=((1, 1), (1, 1)), dilation=(1, 1), padding="same")
    made = Network("int16x8", "D", "input", "y", {"input": x, "y": y}, (node,), x.shape, y.shape)
    bounds.check_accumulators(made)
    IntegerModel(made).export_tflite(tmp_path / "m.tflite")
    again, given = npunet.load(tmp_path / "m.tflite"), rng.integers(-(2**15), 2**15, (9, *x.shape)).astype(np.int16)
    assert again.network["y"].arrays["bias"].dtype == bias_type
    judged = tflite_micro((tmp_path / "m.tflite").read_bytes(), given)["y"]
    np.testing.assert_array_equal(again.predict(given), judged)
    other = run.infer(dataclasses.replace(made, nodes=(dataclasses.replace(node, arrays={
        **node.arrays, "bias": bias.astype(np.int64 if bias_type is np.int32 else np.int32)}),)), given)
    assert (other != judged).any(), "the two rules differ"


def test_every_operator_can_be_checked_and_run():
    from npunet.integer import check

    assert set(check.SHAPES) == set(OPERATORS)
    assert set(run.ROUNDED) <= set(OPERATORS)
    assert network.SCHEMES == SCHEMES
    assert set(CASES) >= {"d1_plain"}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_shipped_integer_network(scheme, rng):
    """It is the shipped float network, quantised: its weights by the rule, its classes nearly everywhere the same."""
    model, float_ = pretrained.quantized("ecg", scheme), pretrained("ecg")
    assert model.scheme == scheme and model.class_names == float_.class_names
    again = quantize(float_, rng.normal(size=(4, 256, 1)), scheme=scheme)
    for node, other in zip(model.network, again.network, strict=True):
        assert node.name == other.name
        if "weights" in node.arrays:
            np.testing.assert_array_equal(node.arrays["weights"], other.arrays["weights"])
    x = rng.normal(size=(8, 256, 1)).astype(np.float32)
    same = model.dequantized().predict(x).argmax(-1) == float_.predict(x).argmax(-1)
    assert same.mean() > 0.9
    with pytest.raises(ValueError, match="each in int8, int16x8"):
        pretrained.quantized("ecg", "int4")

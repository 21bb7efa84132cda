"""Files: what is read and written comes back; what is damaged, foreign or hostile is refused in one sentence."""

import dataclasses
import os
import tracemalloc

import numpy as np
import pytest
from integer_judges import STORED, calibration, float_model, integers, manifest

import npunet
from npunet import IntegerModel, quantize
from npunet.formats import tflite
from npunet.formats.tflite import names
from npunet.formats.tflite.flat import FlatOperator, FlatTensor
from npunet.formats.tflite.recognise import READERS

pytest.importorskip("tflite", reason="reading .tflite needs the extra npunet[tflite]")
MUTATIONS = 2000 if os.environ.get("NPUNET_THOROUGH") == "1" else 100
MEMORY = 200 << 20  # bytes that reading a damaged file may take
SMALL = "d1_softmax.int8.tflite"


@pytest.mark.parametrize("file", sorted(manifest()))
def test_a_file_read_and_written_again_is_the_same_network(file, tmp_path, rng):
    content = (STORED / "integer" / file).read_bytes()
    again = tflite.write_flat(tflite.read_flat(content))
    assert tflite.write_flat(tflite.read_flat(again)) == again
    (tmp_path / "m.tflite").write_bytes(again)
    first, second = npunet.load(STORED / "integer" / file), npunet.load(tmp_path / "m.tflite")
    x = integers(first, 2, rng)
    one, two = first.trace(x), second.trace(x)
    assert list(one) == list(two)
    for name, values in one.items():
        np.testing.assert_array_equal(values, two[name], err_msg=name)


def test_equal_networks_give_equal_bytes(tmp_path):
    model = quantize(float_model("d1_softmax"), calibration("d1_softmax"))
    for path in (tmp_path / "a.tflite", tmp_path / "b.tflite"):
        model.export_tflite(path)
    assert (tmp_path / "a.tflite").read_bytes() == (tmp_path / "b.tflite").read_bytes()
    assert not list(tmp_path.glob(".*"))


def test_every_tensor_of_a_file_is_in_the_trace(rng):
    for file in ("d2_strides_mixed.int8.tile.tflite", "d1_plain.int16x8.tflite"):
        model = npunet.load(STORED / "integer" / file)
        flat = tflite.read_flat((STORED / "integer" / file).read_bytes())
        trace = model.trace(integers(model, 2, rng))
        for tensor in flat.tensors:
            if tensor.data is None:
                assert trace[tensor.name].shape == (2, *tensor.shape[1:]), tensor.name


@pytest.mark.parametrize("file", ["d2_strides_mixed.int8.open.tflite", "d2_softmax.int16x8.tile.tflite",
                                  "d1_plain.int8.tflite"])
def test_sizes_that_the_file_leaves_to_the_run(file, tmp_path, rng):
    """A converter that computes shapes at run time writes 1 for a size it does not know; the operators tell it."""
    flat = tflite.read_flat((STORED / "integer" / file).read_bytes())
    unknown = [dataclasses.replace(t, shape=(1,) * (len(t.shape) - 1) + t.shape[-1:],
                                   unsettled=tuple(range(len(t.shape) - 1)))
               if t.data is None and t.dtype.itemsize < 4 and number not in flat.inputs else t
               for number, t in enumerate(flat.tensors)]
    (tmp_path / "m.tflite").write_bytes(tflite.write_flat(dataclasses.replace(flat, tensors=tuple(unknown))))
    told, guessed = npunet.load(STORED / "integer" / file), npunet.load(tmp_path / "m.tflite")
    assert (guessed.input_shape, guessed.output_shape) == (told.input_shape, told.output_shape)
    x = integers(told, 2, rng)
    for name, values in told.trace(x).items():
        np.testing.assert_array_equal(guessed.trace(x)[name], values, err_msg=name)
    source = flat.inputs[0]
    wide = tensors(flat, source, unsettled=(0, len(flat.tensors[source].shape) - 2))
    (tmp_path / "m.tflite").write_bytes(tflite.write_flat(wide))
    with pytest.raises(ValueError, match=r"leaves the size of axes .* open; convert it with a fixed size"):
        npunet.load(tmp_path / "m.tflite")


def test_the_references_names_in_a_converters():
    name = "functional_1/ENC1.D1.act_1/Relu6;functional_1/ENC1.D1.bn_1/batchnorm/add_1;functional_1/ENC1.D1.conv_1/conv"
    assert names.layers_of(name) == ("ENC1_D1_act", "ENC1_D1.bn", "ENC1_D1_conv")
    assert names.layer_of((name,), "conv2d", True, ()) == "ENC1_D1_act"
    assert names.layer_of((name,), "conv2d", False, ()) == "ENC1_D1_conv"
    older = "UNet/UNet/quant_DEC2.UNPOOL1/resize/ResizeNearestNeighbor"
    assert names.layer_of((older,), "upsample_nearest2d", False, ()) == "DEC2_UNPOOL1"
    assert names.layer_of(("Identity", "model/NECK.conv/convolution"), "conv2d", False, ()) == "NECK_conv"
    assert names.layer_of(("Identity",), "add", False, ("DEC2_D3_act", "DEC2_skip")) == "DEC2_add"
    assert names.layer_of(("Identity",), "conv2d", False, ()) is None
    assert names.layers_of("model/ENC12_D3_unpool/x") == ("ENC12_D3_unpool",)


def flat_model():
    return tflite.read_flat((STORED / "integer" / SMALL).read_bytes())


def changed(flat, number, **fields):
    """A file with one operator changed."""
    operators = list(flat.operators)
    operators[number] = dataclasses.replace(operators[number], **fields)
    return dataclasses.replace(flat, operators=tuple(operators))


def number_of(flat, code):
    return next(i for i, operator in enumerate(flat.operators) if operator.code == code)


def options(flat, code, **fields):
    number = number_of(flat, code)
    return changed(flat, number, options={**flat.operators[number].options, **fields})


def tensors(flat, number, **fields):
    """A file with one tensor changed."""
    made = list(flat.tensors)
    made[number] = dataclasses.replace(made[number], **fields)
    return dataclasses.replace(flat, tensors=tuple(made))


def foreign(flat):
    """Files that hold something that no U-Net has: (file, what is said of it)."""
    conv, pool, add = (number_of(flat, code) for code in ("CONV_2D", "MAX_POOL_2D", "ADD"))
    kernel, weights = flat.operators[conv].inputs[1], flat.tensors[flat.operators[conv].inputs[1]]
    last = len(flat.operators) - 1
    yield changed(flat, pool, code="L2_NORMALIZATION"), f"operator {pool} (L2_NORMALIZATION) is none of those"
    yield changed(flat, pool, code="AVERAGE_POOL_2D", inputs=()), f"operator {pool} (AVERAGE_POOL_2D) has 0 inputs"
    yield changed(flat, conv, outputs=()), f"operator {conv} (CONV_2D) has 0 outputs"
    yield changed(flat, conv, outputs=(kernel,)), f"writes tensor {kernel}, which has a value already"
    yield changed(flat, add, inputs=(flat.operators[last].outputs[0],) * 2), "which no operator before it gives"
    yield changed(flat, add, outputs=flat.operators[0].outputs), "which has a value already"
    yield options(flat, "CONV_2D", fused_activation_function=4), "has the fused activation 4 of the schema"
    yield options(flat, "CONV_2D", stride_w=0), "stride (1, 0)"
    yield options(flat, "CONV_2D", stride_w=2), "its operator gives"
    yield options(flat, "MAX_POOL_2D", padding=7), "padding 7"
    yield options(flat, "SOFTMAX", beta=2.0), "has beta 2; only 1 can be read"
    yield options(flat, "LEAKY_RELU", alpha=-1.0), "has slope -1.0"
    yield options(flat, "CONCATENATION", axis=1), "along axis 1; only the last axis"
    yield options(flat, "RESIZE_NEAREST_NEIGHBOR", align_corners=1), "aligned corners"
    yield tensors(flat, kernel, zero_points=weights.zero_points + 1), "weights that are not symmetric"
    yield tensors(flat, kernel, scales=weights.scales[:1]), "has 1 scales but 4 zero points"
    yield tensors(flat, flat.inputs[0], dtype=np.dtype(np.float32)), "is float32: it is a float model"
    yield tensors(flat, flat.operators[add].outputs[0], dtype=np.dtype(np.int16)), "dtype 'int16' must be int8"
    yield dataclasses.replace(flat, inputs=(0, 1)), "it has 2 inputs; a U-Net has one"
    yield dataclasses.replace(flat, outputs=()), "it has 0 outputs; a U-Net has one"
    yield dataclasses.replace(flat, outputs=(kernel,)), "no operator gives its output"
    yield dataclasses.replace(flat, operators=flat.operators[::-1]), "which no operator before it gives"
    yield dataclasses.replace(flat, operators=()), "no operator gives its output"
    tile = FlatOperator("TILE", (flat.inputs[0], kernel), (flat.operators[-1].outputs[0],))
    yield dataclasses.replace(flat, operators=(tile,)), "(TILE)"


def test_what_no_unet_has_is_refused_with_the_operators_name_and_number(tmp_path):
    path = tmp_path / "m.tflite"
    for flat, way in foreign(flat_model()):
        path.write_bytes(tflite.write_flat(flat))
        with pytest.raises(ValueError) as caught:
            IntegerModel.load(path)
        assert way in str(caught.value) and str(caught.value).startswith(f"{path} cannot be read"), str(caught.value)
        assert "\n" not in str(caught.value)


def test_files_without_a_meaning(tmp_path):
    content = (STORED / "integer" / SMALL).read_bytes()
    for cut in (0, 3, 8, 20, 100, len(content) // 2, len(content) - 1000):
        (tmp_path / "m.tflite").write_bytes(content[:cut])
        with pytest.raises(ValueError, match=r"m\.tflite"):
            npunet.load(tmp_path / "m.tflite")
    (tmp_path / "m.tflite").write_bytes(b"\0\0\0\0TFL3" + b"\xff" * 300)
    with pytest.raises(ValueError, match=r"m\.tflite cannot be read: it"):
        npunet.load(tmp_path / "m.tflite")
    with pytest.raises(FileNotFoundError):
        npunet.load(tmp_path / "nowhere.tflite")


def test_sizes_that_no_file_holds(tmp_path):
    """A shape in the file costs nothing before it is checked."""
    flat = flat_model()
    huge = tensors(flat, flat.operators[1].outputs[0], shape=(1, 1, 2**30, 4))
    (tmp_path / "m.tflite").write_bytes(tflite.write_flat(huge))
    with pytest.raises(ValueError, match="sizes start at 1, with at most"):
        npunet.load(tmp_path / "m.tflite")
    resize = number_of(flat, "RESIZE_NEAREST_NEIGHBOR")
    size = flat.operators[resize].inputs[1]
    wide = tensors(flat, size, data=np.array([13 * 10**6, 26 * 10**6], np.int32))
    (tmp_path / "m.tflite").write_bytes(tflite.write_flat(wide))
    with pytest.raises(ValueError, match="its operator gives"):
        npunet.load(tmp_path / "m.tflite")


@pytest.mark.parametrize("file", [SMALL, "d2_softmax.int8.tile.tflite", "d1_plain.int8.open.tflite"])
def test_mutated_files(file, tmp_path):
    """A damaged file is either another network or one ValueError: no other exception, and no memory without bound."""
    content, rng = (STORED / "integer" / file).read_bytes(), np.random.default_rng(7)
    path, refused = tmp_path / "m.tflite", 0
    tracemalloc.start()
    for _ in range(MUTATIONS // 3 + 1):
        path.write_bytes(mutated(content, rng))
        try:
            model = npunet.load(path)
            assert isinstance(model, IntegerModel)
            model.trace(np.zeros((1, *model.input_shape), model.dtype))
        except ValueError as error:
            refused += 1
            assert "\n" not in str(error) and len(str(error)) < 2000
    assert tracemalloc.get_traced_memory()[1] < MEMORY
    tracemalloc.stop()
    assert refused > MUTATIONS // 20


def mutated(content, rng):
    """The file with a few bytes changed, a word set to an extreme, a piece cut out, doubled, or moved."""
    data, kind = bytearray(content), rng.integers(5)
    at = 8 + int(rng.integers(len(data) - 8)) if rng.random() < 0.5 else int(len(data) * rng.beta(3, 1) * 0.99)
    if kind == 0:
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            data[place] = rng.integers(256)
    elif kind == 1:
        at, word = at // 4 * 4, int(rng.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF, len(data)]))
        data[at : at + 4] = word.to_bytes(4, "little")
    elif kind == 2:
        del data[at : at + int(rng.integers(1, 64))]
    elif kind == 3:
        data[at:at] = data[at : at + int(rng.integers(1, 64))]
    else:
        other = int(rng.integers(8, len(data) - 8))
        data[at : at + 4], data[other : other + 4] = data[other : other + 4], data[at : at + 4]
    return bytes(data)


def test_what_is_read():
    """The list of the documentation; everything else is refused."""
    assert set(READERS) == {"ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "EXPAND_DIMS",
                            "LEAKY_RELU", "MAX_POOL_2D", "PACK", "QUANTIZE", "RESHAPE", "RESIZE_NEAREST_NEIGHBOR",
                            "SHAPE", "SOFTMAX", "STRIDED_SLICE", "TILE"}


def with_ends(flat, kind):
    """A file of int8 with float or uint8 ends around it, as the converter makes it unless it is told otherwise."""
    tensors, operators = list(flat.tensors), list(flat.operators)
    source, result = tensors[flat.inputs[0]], tensors[flat.outputs[0]]
    ends = []
    for name, inner in (("real input", source), ("real output", result)):
        meaning = {} if kind == "float32" else {"scales": inner.scales, "zero_points": inner.zero_points + 128}
        tensors.append(FlatTensor(name, inner.shape, np.dtype(kind), None, **meaning))
        ends.append(len(tensors) - 1)
    code = "DEQUANTIZE" if kind == "float32" else "QUANTIZE"
    operators = [FlatOperator("QUANTIZE", (ends[0],), flat.inputs), *operators,
                 FlatOperator(code, flat.outputs, (ends[1],))]
    return dataclasses.replace(flat, tensors=tuple(tensors), operators=tuple(operators), inputs=(ends[0],),
                               outputs=(ends[1],))


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_ends_of_another_type_are_left_out(kind, tmp_path, rng):
    """The integers between are the network; LiteRT, given the same at the ends, has the same inside and out."""
    interpreter = pytest.importorskip("ai_edge_litert.interpreter", reason="LiteRT is not installed")
    flat = tflite.read_flat((STORED / "integer" / SMALL).read_bytes())
    content = tflite.write_flat(with_ends(flat, kind))
    (tmp_path / "m.tflite").write_bytes(content)
    plain, model = npunet.load(STORED / "integer" / SMALL), npunet.load(tmp_path / "m.tflite")
    assert (model.input_qparams, model.output_qparams) == (plain.input_qparams, plain.output_qparams)
    x = integers(model, 2, rng)
    np.testing.assert_array_equal(model.predict(x), plain.predict(x))
    judge = interpreter.Interpreter(
        model_content=content, experimental_op_resolver_type=interpreter.OpResolverType.BUILTIN_REF)
    judge.allocate_tensors()
    (scale, zero), (out_scale, out_zero) = model.input_qparams, model.output_qparams
    for sample in x:
        real = np.float32(scale) * (sample.astype(np.float32) - zero)
        given = real if kind == "float32" else sample.astype(int) + 128
        judge.set_tensor(judge.get_input_details()[0]["index"], given[None].astype(kind))
        judge.invoke()
        y = judge.get_tensor(judge.get_output_details()[0]["index"])[0].astype(np.float64)
        back = y / out_scale + out_zero if kind == "float32" else y - 128
        np.testing.assert_array_equal(model.predict(sample[None])[0], np.rint(back))


def test_ends_that_say_something_else_are_no_ends(tmp_path):
    flat = with_ends(tflite.read_flat((STORED / "integer" / SMALL).read_bytes()), "uint8")
    moved = dataclasses.replace(flat.tensors[-2], zero_points=flat.tensors[-2].zero_points + 1)
    (tmp_path / "m.tflite").write_bytes(tflite.write_flat(
        dataclasses.replace(flat, tensors=(*flat.tensors[:-2], moved, flat.tensors[-1]))))
    with pytest.raises(ValueError, match=r"its input \(real input\) is uint8: .* no QUANTIZE makes int8"):
        npunet.load(tmp_path / "m.tflite")


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path):
    """Also by a few bytes at its end, where only a buffer without content lies."""
    quantize(float_model("d1_softmax"), calibration("d1_softmax")).export_tflite(tmp_path / "m.tflite")
    content = (tmp_path / "m.tflite").read_bytes()
    for size in (*range(0, 12), *range(12, len(content), len(content) // 23), *range(len(content) - 20, len(content))):
        (tmp_path / "m.tflite").write_bytes(content[:size])
        with pytest.raises(ValueError, match="cannot be read: it"):
            npunet.load(tmp_path / "m.tflite")

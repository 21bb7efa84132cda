"""The drawn network: the reference's oddities, what is refused, and the published counts."""

import warnings
from dataclasses import fields

import pytest

from npunet import UNet, UNetBlockParams, UNetParams, presets
from npunet.summary import rows
from npunet.unet import build

ECG = UNetParams.from_dict(presets.load("ecg")).to_dict()


def graph(*blocks, shape=(12, 20, 3), classes=4, rank=2, **top):
    return build(UNetParams(blocks=blocks, **top), shape, classes, rank=rank)


def test_the_published_preset_counts_what_it_should():
    model = UNet(ECG, (256, 1), 4)
    counted = rows(model.graph)
    assert sum(row.parameters for row in counted) == 35_405
    assert sum(row.macs for row in counted) == 1_915_392
    assert sum(model.weights[name].size for name in model.trainable) == 34_245
    assert model.summary().splitlines()[-1].startswith("35,405 parameters (34,245 trainable), 1,915,392 MACs")


def test_decoder_reuses_the_last_encoder_dilation():
    net = graph({"filters": 4, "strides": 2, "dilation": 2, "depth": 2}, {"filters": 5, "dilation": (1, 2), "depth": 3})
    dilations = {node.name: node.attrs["dilation"] for node in net if node.name.endswith("conv")}
    assert dilations["ENC1_D2_conv"] == (2, 2)
    assert [dilations[f"ENC2_D{d}_conv"] for d in (1, 2, 3)] == [(1, 1), (1, 2), (1, 4)]
    assert [dilations[f"DEC1_D{d}_conv"] for d in (1, 2, 3, 4, 5)] == [(1, 4)] * 3 + [(1, 1)] * 2
    assert [dilations[f"DEC2_D{d}_conv"] for d in (1, 2, 3, 4)] == [(1, 4)] * 2 + [(1, 1)] * 2


def test_the_top_never_reads_its_stride():
    plain, strided = graph({"filters": 3}), graph({"filters": 3}, output_kernel_stride=2)
    assert plain == strided


def test_a_block_without_skip_keeps_its_residual():
    names = [node.name for node in graph({"filters": 3, "strides": 2, "skip": False})]
    assert "ENC1_skip" in names and "ENC1_add" in names
    assert "DEC1_D2_cat" not in names and "DEC1_D2_conv" not in names and "DEC1_D3_conv" in names


def test_decoder_numbers_are_skipped():
    names = [node.name for node in graph({"filters": 3, "depth": 3, "ddepth": 1})]
    assert [name for name in names if name.startswith("DEC1") and name.endswith("conv")] == [
        "DEC1_D1_conv", "DEC1_D4_conv", "DEC1_D5_conv",
    ]
    assert "DEC1_D1_unpool" in names and "DEC1_D4_cat" in names


def test_ddepth_zero_means_depth():
    assert graph({"filters": 3, "depth": 2, "ddepth": 0}) == graph({"filters": 3, "depth": 2})


@pytest.mark.parametrize(("block", "highest"), [({"depth": 2}, 2), ({"depth": 2, "skip": False}, 3)])
def test_colliding_names_are_refused(block, highest):
    graph({"filters": 3, **block, "ddepth": highest})
    message = rf"DEC1 \(the decoder block of ENC1\): ddepth={highest + 1}.*ddepth <= {highest}"
    with pytest.raises(ValueError, match=message):
        graph({"filters": 3, **block, "ddepth": highest + 1})


@pytest.mark.parametrize("skip", [True, False])
def test_uneven_sizes_are_refused_with_and_without_skip(skip):
    with pytest.raises(ValueError, match=r"ENC2: width 10 is not divisible by stride 4; .* has 10, .* 12.*pad=True"):
        graph({"filters": 3, "strides": 2}, {"filters": 3, "strides": (2, 4), "skip": skip})


@pytest.mark.parametrize("top", [{"include_top": False}, {"include_top": False, "use_logits": False}])
def test_no_blocks(top):
    assert [node.name for node in graph()] == ["NECK_conv"]
    assert [node.name for node in graph(use_logits=False)] == ["NECK_conv", "softmax"]
    bare = graph(**top)
    assert bare.nodes == () and bare.output == bare.input


@pytest.mark.parametrize("classes", [None, 0, -1, 2.5, "3"])
def test_the_top_needs_classes(classes):
    with pytest.raises(ValueError, match="num_classes"):
        graph({"filters": 3}, classes=classes)
    graph({"filters": 3}, classes=classes, include_top=False)


def test_biases_only_where_there_is_no_norm():
    with_norm = graph({"filters": 3, "seperable": True})
    assert [name for name in with_norm.weights if name.endswith("bias")] == [
        "ENC1_skip/bias", "DEC1_skip/bias", "NECK_conv/bias",
    ]
    assert "ENC1_D1_conv/bias" in graph({"filters": 3, "norm": None}).weights


def test_layer_norm_weights_depend_on_the_length():
    counts = []
    for length in (256, 512):
        blocks = [UNetBlockParams(**{**block, "norm": "layer"}) for block in ECG["blocks"]]
        net = build(UNetParams(blocks=blocks, output_kernel_size=(1, 5)), (1, length, 1), 4, rank=1)
        counts.append(sum(spec.size for spec in net.weights.values()))
    assert counts == [37_405, 41_725]


def test_an_open_height_is_no_signal():
    UNet({"blocks": [{"filters": 3, "strides": 1}]}, (None, None, 1), 2)  # a warning would fail this


def test_an_int_kernel_on_a_signal_is_square_and_says_what_it_wastes():
    blocks = [{**block, "kernel": 5} for block in ECG["blocks"]]
    with pytest.warns(UserWarning, match="9,060 of 44,465 weights are never read"):
        model = UNet({"blocks": blocks, "output_kernel_size": (1, 5)}, (256, 1), 4)
    assert sum(model.weights[name].size for name in model.weights) == 44_465


def test_int_strides_work_on_signals():
    int_strides = UNet({"blocks": [{"filters": 3, "kernel": (1, 3), "strides": 2, "pool": 3}],
                        "output_kernel_size": (1, 3)}, (18, 2), 3)
    pairs = UNet({"blocks": [{"filters": 3, "kernel": (1, 3), "strides": (1, 2), "pool": (1, 3)}],
                  "output_kernel_size": (1, 3)}, (18, 2), 3)
    assert int_strides.graph == pairs.graph


def test_dropouts_are_counted_as_keras_counts_them():
    net = graph({"filters": 3, "dropout": 0.1}, {"filters": 3}, {"filters": 3, "dropout": 0.0})
    assert [node.name for node in net if node.op == "dropout_inference"] == ["dropout", "dropout_1"]


@pytest.mark.parametrize("shape", [(), (8,), (8, 8, 1, 1), (0, 1), (8, None), (8, -1, 1), (8, 2.5), (True, 1), ("8", 1),
                                   (1, 8.0, 1)])
def test_impossible_input_shapes(shape):
    with pytest.raises(ValueError, match="input_shape"):
        UNet(UNetParams(), shape, 2)


def test_layer_norm_needs_a_fixed_size():
    with pytest.raises(ValueError, match=r"block 2 \(ENC2\): norm='layer'.*leaves one open"):
        UNet({"blocks": [{"filters": 2}, {"filters": 2, "norm": "layer"}]}, (None, 8, 1), 2)


def test_a_two_dimensional_network_says_nothing_about_waste():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        UNet({"blocks": [{"filters": 2, "kernel": 3}]}, (2, 8, 1), 2)


BLOCK = {"filters": 3, "depth": 2, "kernel": 3, "strides": 2, "pool": 3}
OTHERWISE = {  # another value of every argument of a block
    "filters": 4, "depth": 3, "ddepth": 1, "kernel": 5, "pool": 2, "strides": 4, "skip": False, "seperable": True,
    "dropout": 0.5, "norm": "layer", "dilation": 2, "activation": "selu",
}
OF_THE_WHOLE = {"blocks": [BLOCK] * 2, "include_top": False, "use_logits": False, "output_kernel_size": 5}
UNUSED = {"name", "output_kernel_stride"}


def drawn(**arguments):
    graph = build(UNetParams(**{"blocks": [BLOCK], **arguments}), (8, 8, 2), 2)
    return graph.nodes, graph.weights


def test_every_argument_draws_another_network():
    """An argument that params knows and unet forgets would be silence."""
    assert {field.name for field in fields(UNetBlockParams)} == set(OTHERWISE), "say here what else it may be"
    assert {field.name for field in fields(UNetParams)} == {*OF_THE_WHOLE, *UNUSED}, "say here what else it may be"
    for name, value in OTHERWISE.items():
        assert drawn(blocks=[{**BLOCK, name: value}]) != drawn(), f"npunet/unet.py does nothing with {name}"
    for name, value in OF_THE_WHOLE.items():
        assert drawn(**{name: value}) != drawn(), f"npunet/unet.py does nothing with {name}"

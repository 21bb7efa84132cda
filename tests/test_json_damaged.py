"""JSON that others wrote or that was damaged, wherever a verb reads it: one line, never a traceback.

NPUNET_THOROUGH=1 damages a thousand of each instead of forty.
"""

import copy
import dataclasses
import json
import os
import pathlib
from importlib.resources import files

import numpy as np
import pytest
from fuzz_files import damaged

from npunet import UNet, quantize
from npunet.cli import main

COUNT = 1000 if os.environ.get("NPUNET_THOROUGH") else 40
BLOCK = {"filters": 3, "kernel": [1, 3], "pool": [1, 2], "strides": [1, 2]}
ODD = (0, -1, 10**20, 10**400, 1.5, 1e300, float("nan"), True, None, "", "x", [], [1], [None], {}, {"name": 1}, [[]])


def places(value, path=()):
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, each in inner:
        yield (*path, key)
        yield from places(each, (*path, key))


def changed(value, rng):
    """Another value somewhere in it, or something left out, or bytes damaged; as bytes."""
    if rng.random() < 0.4:
        return damaged(json.dumps(value).encode(), rng)
    made, paths = copy.deepcopy(value), list(places(value))
    *path, last = paths[rng.integers(len(paths))]
    within = made
    for key in path:
        within = within[key]
    if rng.random() < 0.2:
        del within[last]
    else:
        within[last] = ODD[rng.integers(len(ODD))]
    return json.dumps(made).encode()


def told(capsys, words):
    """The status and the error of a command, of one line where there is one."""
    status = main(list(words))
    errors = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("npunet: warning: ")]
    assert status in (0, 1, 2) and len(errors) == (status == 2), (status, errors)
    return status, *errors


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = UNet({"blocks": [BLOCK], "output_kernel_size": [1, 3]}, (16, 1), 3)
    made.save("m.npz")
    return made


@pytest.mark.parametrize("kind", ["verification", "claims"])
def test_damaged_json_is_one_line(kind, model, rng, capsys):
    if kind == "verification":
        main(["golden", "m.npz", "-o", "g", "--cases", "random", "--formats", "npz"])
        main(["verify", "g", "g", "--json", "v.json"])
        whole, words = json.loads(pathlib.Path("v.json").read_text()), ("page", "m.npz", "--compare", "x.json")
    else:
        text = files("npunet.audit").joinpath("documented", "sleepkit.json").read_text(encoding="utf-8")
        whole, words = json.loads(text), ("audit", "--claims", "x.json")
        whole["claims"] = whole["claims"][:1]
    pathlib.Path("x.json").write_text(json.dumps(whole))
    capsys.readouterr()
    assert told(capsys, words)[0] in (0, 1)
    statuses = []
    for _ in range(COUNT):
        pathlib.Path("x.json").write_bytes(changed(whole, rng))
        statuses.append(told(capsys, words)[0])
    assert 2 in statuses
    pathlib.Path("x.json").write_text("[" * 10**5)
    assert "nested too deeply" in told(capsys, words)[1]


@pytest.mark.parametrize(("key", "value", "said"), [
    ("class_names", "5", "must be a sequence of names"), ("class_names", '["a"]', "has 1 names of classes, and"),
    ("class_names", "[" * 10**5, "nested too deeply"), ("class_names", "{", "names of classes cannot be read"),
    ("preparation", "[]", "preparation of signals cannot be read"), ("preparation", '{"rate": 0}', "rate=0 must"),
])
@pytest.mark.parametrize("suffix", ["npz", "tflite"])
def test_texts_that_travel_with_an_integer_network(key, value, said, suffix, model, capsys):
    pytest.importorskip("tflite")
    made = quantize(model, np.random.default_rng(1).normal(size=(2, 16, 1)).astype(np.float32))
    made.network = dataclasses.replace(made.network, metadata={key: value})
    made.save("q.npz") if suffix == "npz" else made.export_tflite("q.tflite")
    np.save("x.npy", np.zeros((1, 16, 1), np.float32))
    assert said in told(capsys, ("predict", f"q.{suffix}", "x.npy", "-o", "y.npy", "--raw", "--backend", "numpy"))[1]

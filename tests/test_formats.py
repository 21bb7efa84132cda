"""Weight files: every format gives back what was stored, and a file that is broken or foreign says so."""

import importlib.util
import json
import os
import pathlib
import warnings
import zipfile

import numpy as np
import pytest

import npunet
from npunet import UNet, UNetParams, extras, files
from npunet.formats import read_weights, write_weights
from npunet.formats.model_file import DESCRIPTION

STORED = pathlib.Path(__file__).resolve().parents[1] / "reference" / "stored" / "files"
# The stored case "batch_separable" keeps the reference's square default for the top of a 1-D network.
pytestmark = pytest.mark.filterwarnings("ignore:on a signal of height 1")
KERAS = ("batch_separable", "layer_norm", "compiled")
SUFFIXES = (".keras", ".weights.h5", ".h5")

BLOCKS = [
    {"filters": 3, "depth": 2, "ddepth": 1, "kernel": (2, 3), "strides": (1, 2), "dropout": 0.25},
    {"filters": 4, "norm": None, "seperable": True, "strides": 2, "skip": False},
    {"filters": 2, "norm": "layer", "depth": 3, "dropout": 0.5},
]


@pytest.fixture
def model(rng):
    """A network with every kind of layer that has weights, all of them random."""
    model = UNet(UNetParams(blocks=BLOCKS), (6, 12, 3), 4)
    model.weights = {name: rng.uniform(0.5, 2, w.shape).astype(w.dtype) for name, w in model.weights.items()}
    return model


def stored(name):
    """Case, weights, input and float64 output of a model in Keras' own files."""
    with np.load(STORED / f"{name}.npz") as arrays:
        content = {key: arrays[key] for key in arrays.files}
    weights = {key.removeprefix("weights/"): w for key, w in content.items() if key.startswith("weights/")}
    return json.loads(str(content["case"])), weights, content["x"], content["inference/float64/y"]


def built(case, dtype="float64"):
    """The case's network."""
    return UNet(UNetParams.from_dict(case["params"]), tuple(case["input_shape"]), case["num_classes"], dtype=dtype)


def assert_same(got, expected):
    """Equal names in equal order, equal bits."""
    assert list(got) == list(expected)
    for name in expected:
        np.testing.assert_array_equal(got[name], expected[name], err_msg=name)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", KERAS)
def test_keras_files_hold_the_stored_weights(name, suffix):
    _, weights, _, _ = stored(name)
    got = read_weights(STORED / f"{name}{suffix}")
    assert set(got) == set(weights), "optimiser and seed variables are not weights"
    for key in weights:
        np.testing.assert_array_equal(got[key], weights[key], err_msg=key)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("name", KERAS)
def test_keras_files_give_keras_outputs(name, suffix):
    case, _, x, y = stored(name)
    got = built(case).load_weights(STORED / f"{name}{suffix}").predict(x)
    assert np.abs(got - y).max() <= 1e-10 * np.abs(y).max()


def nameless(source, target):
    """A copy of an .h5 file without layer names, as Keras before 3.6 wrote it."""
    h5py = pytest.importorskip("h5py")
    target.write_bytes(source)
    with h5py.File(target, "r+") as file:
        groups = []
        file.visit(groups.append)
        named = [group for group in groups if "name" in file[group].attrs]
        for group in named:
            del file[group].attrs["name"]
    return len(named)


@pytest.mark.parametrize("name", KERAS)
def test_names_come_from_the_network_when_the_file_has_none(name, tmp_path):
    case, weights, _, _ = stored(name)
    path = tmp_path / "old.weights.h5"
    assert nameless((STORED / f"{name}.weights.h5").read_bytes(), path) > 5
    got = built(case, "float32").load_weights(path).weights
    assert set(got) == set(weights)
    for key in weights:
        np.testing.assert_array_equal(got[key], weights[key], err_msg=key)
    with pytest.raises(ValueError, match=r"no name .*before 3\.6"):
        read_weights(path)


def test_names_come_from_the_config_when_the_h5_of_a_keras_file_has_none(tmp_path):
    _, weights, _, _ = stored("compiled")
    with zipfile.ZipFile(STORED / "compiled.keras") as archive:
        members = {entry: archive.read(entry) for entry in archive.namelist()}
    assert nameless(members["model.weights.h5"], tmp_path / "inner.h5") > 5
    members["model.weights.h5"] = (tmp_path / "inner.h5").read_bytes()
    with zipfile.ZipFile(tmp_path / "old.keras", "w") as archive:
        for entry, content in members.items():
            archive.writestr(entry, content)
    got = read_weights(tmp_path / "old.keras")
    assert set(got) == set(weights)
    for key in weights:
        np.testing.assert_array_equal(got[key], weights[key], err_msg=key)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".weights.h5"])
def test_what_is_written_is_read_back(model, tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    write_weights(path, model.weights)
    got = read_weights(path)
    assert set(got) == set(model.weights)
    fresh = UNet(model.params, model.input_shape, model.num_classes, seed=9).load_weights(path)
    assert_same(fresh.weights, model.weights)
    assert all(w.dtype == np.float32 for w in got.values())


def test_the_content_decides_not_the_suffix(model, tmp_path):
    for suffix in (".npz", ".safetensors", ".weights.h5"):
        write_weights(tmp_path / f"w{suffix}", model.weights)
        os.replace(tmp_path / f"w{suffix}", tmp_path / "weights.bin")
        assert set(read_weights(tmp_path / "weights.bin")) == set(model.weights)


def test_a_saved_model_is_a_weight_file_too(model, tmp_path):
    model.save(tmp_path / "m.npz")
    assert DESCRIPTION in np.load(tmp_path / "m.npz").files
    assert_same(read_weights(tmp_path / "m.npz"), model.weights)


def test_dotted_names_are_ours(model, tmp_path):
    dotted = {name.replace("_D", ".D").replace("_conv/", ".conv/").replace("_skip/", ".skip/"): w
              for name, w in model.weights.items()}
    assert "ENC1.D1.conv/kernel" in dotted and "ENC1.D1.bn/gamma" in dotted and "NECK.conv/bias" in dotted
    write_weights(tmp_path / "dotted.npz", dotted)
    assert_same(read_weights(tmp_path / "dotted.npz"), model.weights)
    write_weights(tmp_path / "twice.npz", {"ENC1.skip/bias": np.ones(3), "ENC1_skip/bias": np.ones(3)})
    with pytest.raises(ValueError, match="ENC1_skip/bias twice"):
        read_weights(tmp_path / "twice.npz")


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_a_truncated_keras_file_is_one_clear_error(tmp_path, suffix, share):
    content = (STORED / f"layer_norm{suffix}").read_bytes()
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ValueError, match=r"cut.*(complete|damaged|incomplete)"):
        read_weights(path)


def test_other_truncated_and_foreign_files_are_clear_errors(model, tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, model.weights)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match="not a complete safetensors file"):
        read_weights(path)
    write_weights(tmp_path / "w.npz", model.weights)
    (tmp_path / "w.npz").write_bytes((tmp_path / "w.npz").read_bytes()[:-700])
    with pytest.raises(ValueError, match=r"w\.npz is damaged"):
        read_weights(tmp_path / "w.npz")
    for content in (b"", b"hello, world and more of it", b"\x93NUMPY"):
        (tmp_path / "foreign.npz").write_bytes(content)
        with pytest.raises(ValueError, match="not a weight file that npunet knows"):
            read_weights(tmp_path / "foreign.npz")
    np.savez(tmp_path / "pickled.npz", a=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="not a file of plain arrays"):
        read_weights(tmp_path / "pickled.npz")
    with pytest.raises(FileNotFoundError):
        read_weights(tmp_path / "none.npz")
    with pytest.raises(IsADirectoryError, match="folder"):
        read_weights(tmp_path)
    with pytest.raises(ValueError, match=r"\.bin: the suffix must be"):
        write_weights(tmp_path / "w.bin", model.weights)


def test_hdf5_files_of_another_kind_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "other.weights.h5"
    with h5py.File(path, "w") as file:
        file["data"] = np.ones(3)
    with pytest.raises(ValueError, match="not one of Keras' weights"):
        read_weights(path)
    with h5py.File(path, "w") as file:
        file["layers/dense/vars/0"] = np.ones((3, 2))
    with pytest.raises(ValueError, match="layer dense with 1 variables"):
        read_weights(path)
    (tmp_path / "secret.h5").write_bytes(b"")
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["0"] = np.ones(3)
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/1"] = np.ones(3)
        file["layers/conv2d/vars"].attrs["name"] = "NECK_conv"
        file["layers/conv2d/vars/0"] = h5py.ExternalLink("secret.h5", "0")
    with pytest.raises(ValueError, match="links are not followed"):
        read_weights(path)


def test_an_incomplete_layer_is_not_written_for_keras(model, tmp_path):
    partial = {name: w for name, w in model.weights.items() if not name.endswith("moving_mean")}
    with pytest.raises(ValueError, match=r"ENC1_D1\.bn with .* is complete for no layer"):
        write_weights(tmp_path / "w.weights.h5", partial)
    assert os.listdir(tmp_path) == []


def test_keras_loads_what_is_written(model, tmp_path, rng):
    for module in ("tensorflow", "keras", "neuralspot_edge"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"{module} is not installed; it takes the reference's environment (reference/README)")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import keras
        from neuralspot_edge.models.unet import UNetModel

        twin = UNetModel.model_from_params(keras.Input(model.input_shape), {"blocks": BLOCKS}, model.num_classes)
        write_weights(tmp_path / "ours.weights.h5", model.weights)
        twin.load_weights(tmp_path / "ours.weights.h5")
        x = rng.standard_normal((2, *model.input_shape)).astype(np.float32)
        y = twin.predict(x, verbose=0)
    assert np.abs(model.predict(x) - y).max() <= 1e-4 * np.abs(y).max()


def test_npz_bytes_depend_on_the_content_alone(tmp_path):
    arrays = {"b/a": np.arange(6.0).reshape(2, 3).T, "a": np.array(7, np.int8), "text": np.array("x")}
    files.write_npz(tmp_path / "1.npz", arrays)
    files.write_npz(tmp_path / "2.npz", {name: array.copy() for name, array in arrays.items()})
    assert (tmp_path / "1.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
    with np.load(tmp_path / "1.npz") as loaded:
        assert loaded.files == ["b/a", "a", "text"]
        assert loaded["a"].shape == () and loaded["a"].dtype == np.int8
        np.testing.assert_array_equal(loaded["b/a"], arrays["b/a"])
    files.write_npz(tmp_path / "3.npz", dict(reversed(arrays.items())))
    assert (tmp_path / "3.npz").read_bytes() != (tmp_path / "1.npz").read_bytes(), "the given order is kept"
    with pytest.raises(ValueError):
        files.write_npz(tmp_path / "4.npz", {"o": np.array([None])})


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "kept.npz"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="half way"), files.atomic_write(path) as file:
        file.write(b"new")
        raise RuntimeError("half way")
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["kept.npz"]
    with files.atomic_write(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old", "readers see the old file until the new one is whole"
    assert path.read_bytes() == b"new" and os.listdir(tmp_path) == ["kept.npz"]


def test_writing_follows_links_and_names_a_missing_folder(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "target").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "target")
    files.write_text(tmp_path / "link", "new\n")
    assert (tmp_path / "link").is_symlink() and (tmp_path / "real" / "target").read_bytes() == b"new\n"
    with pytest.raises(FileNotFoundError, match=r"cannot write .*the folder .*nowhere does not exist"):
        files.write_text(tmp_path / "nowhere" / "x", "")
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        files.write_text(tmp_path / "real", "")


def test_a_new_file_has_ordinary_permissions(tmp_path):
    umask = os.umask(0o022)
    try:
        files.write_text(tmp_path / "x", "")
    finally:
        os.umask(umask)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o644


def test_a_missing_extra_names_itself(monkeypatch, model, tmp_path):
    write_weights(tmp_path / "w.safetensors", model.weights)

    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])

    monkeypatch.setattr(extras.importlib, "import_module", missing)
    with pytest.raises(extras.MissingExtra, match=r"needs safetensors: pip install 'npunet\[safetensors\]'"):
        read_weights(tmp_path / "w.safetensors")
    with pytest.raises(extras.MissingExtra, match=r"needs h5py: pip install 'npunet\[keras\]'"):
        read_weights(STORED / "compiled.keras")
    with pytest.raises(extras.MissingExtra, match=r"plotting needs matplotlib: pip install 'npunet\[plot\]'"):
        extras.extra("matplotlib.figure", "plot")


def test_an_error_inside_an_installed_extra_is_not_hidden(monkeypatch):
    def broken(name):
        raise ModuleNotFoundError("No module named 'libfoo'", name="libfoo")

    monkeypatch.setattr(extras.importlib, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="libfoo") as caught:
        extras.extra("h5py", "keras")
    assert not isinstance(caught.value, extras.MissingExtra)


def test_weights_alone_and_other_files_are_told_from_damaged_models(model, tmp_path):
    for suffix in (".weights.h5", ".safetensors"):
        write_weights(tmp_path / f"w{suffix}", model.weights)
        with pytest.raises(ValueError, match=r"has weights but no network; build the network .* --model$"):
            npunet.load(tmp_path / f"w{suffix}")
    for content in (b"", b"hello world, this is text"):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"nor a Keras model or .tflite: it begins as none of these"):
            npunet.load(tmp_path / "x.npz")

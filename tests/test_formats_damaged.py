"""Damaged and hostile files: one clear line, quickly, in little memory."""

import json
import os
import pathlib
import resource
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import npunet
from npunet import UNet, UNetParams
from npunet.files import write_npz
from npunet.formats import read_weights, write_weights
from npunet.formats.model_file import DESCRIPTION
from npunet.reading import FAULTS, Unreadable, parse_json, read_npy, reading

ROOT = pathlib.Path(__file__).resolve().parents[1]
CASES = pathlib.Path(__file__).resolve().parents[2] / "shared" / "cases" / "zip"
MODELS = ("central", "deep", "encrypted", "header", "method", "noshape", "null")


def network():
    """A small network with batch norm."""
    blocks = [{"filters": 3, "kernel": (1, 3), "pool": (1, 2), "strides": (1, 2)}, {"filters": 5, "kernel": (1, 3)}]
    return UNet(UNetParams(blocks=blocks, output_kernel_size=(1, 3)), (16, 1), 4)


def clear(error, path):
    """The error's text: one line with the file's name."""
    text = str(error.value)
    assert path.name in text and "\n" not in text and len(text) < 600
    return text


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not there")
@pytest.mark.parametrize("name", MODELS)
def test_the_models_among_the_cases(name):
    path = CASES / f"{name}.npz"
    for load in (UNet.load, network().load_weights, read_weights):
        with pytest.raises(ValueError, match="take a whole copy") as error:
            load(path)
        clear(error, path)


@pytest.mark.skipif(not CASES.is_dir(), reason="the cases are not there")
@pytest.mark.parametrize("name", ["bomb.weights.h5", "flip_x.npz", *(f"{name}.npz" for name in MODELS)])
def test_every_case_is_one_line_of_the_command_in_little_memory(name):
    pytest.importorskip("h5py")
    command = ["predict", "ecg", name, "-o", "/nowhere.npy"] if name == "flip_x.npz" else ["convert", name, "o.npz"]
    command += ["--model", "ecg"] if name.endswith(".h5") else []
    # The process measures itself: what the test's own process has had counts for any child that it forks.
    script = (f"import sys; from npunet.cli import main; status = main({command}); import resource; "
              "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(status)")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = subprocess.run([sys.executable, "-c", script], cwd=CASES, capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("npunet: error: ") and done.stderr.count("\n") == 1 and name in done.stderr
    if sys.platform == "linux" and before < 200_000:
        assert int(done.stdout.splitlines()[-1]) < 200_000, "kB"


def test_weights_are_compared_with_the_network_before_they_are_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    path, model = tmp_path / "huge.weights.h5", network()
    from npunet.formats import write_weights

    write_weights(path, model.weights)
    with h5py.File(path, "r+") as file:
        variables = file["layers/conv2d/vars"]
        del variables["0"]
        variables.create_dataset("0", (2**20, 2**9), "f4", chunks=(2**10, 2**9), compression="gzip")
        variables["0"][: 2**10] = 1
    with pytest.raises(ValueError, match="declares 2147483648 bytes and stores"):
        model.load_weights(path)
    with pytest.raises(ValueError, match="declares 2147483648 bytes and stores"):
        read_weights(path)


def test_an_archive_of_zeros_that_deflate_made_small_is_refused(tmp_path):
    path = tmp_path / "zeros.npz"
    np.savez_compressed(path, a=np.zeros(2**25, np.float32))
    with pytest.raises(ValueError, match=r"declares 134\.2 MB in a file of 130\.\d kB") as error:
        read_weights(path)
    clear(error, path)


def test_every_size_is_compared_with_the_file(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(12.0).reshape(3, 4))
    whole = path.read_bytes()
    assert np.array_equal(read_npy(path), np.arange(12.0).reshape(3, 4))
    for other in (whole.replace(b"(3, 4)", b"(9, 9)"), whole + b"\0", whole[:-1]):
        path.write_bytes(other)
        with pytest.raises(Unreadable, match=r"declares an array of shape .* bytes, and has") as error:
            read_npy(path)
        clear(error, path)
    for other in (whole.replace(b"'<f8'", b"'|O'  "), whole.replace(b"(3, 4)", b"(-3,4"), whole.replace(b"{", b"[")):
        path.write_bytes(other)
        with pytest.raises(Unreadable) as error:
            read_npy(path)
        clear(error, path)
    np.save(path, np.asfortranarray(np.arange(12.0).reshape(3, 4)))
    assert np.array_equal(read_npy(path), np.arange(12.0).reshape(3, 4))


def test_a_comment_must_end_where_the_file_does(tmp_path):
    path = tmp_path / "m.npz"
    network().save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = b"{}"
    whole = path.read_bytes()
    path.write_bytes(whole[:-4] + b"\0\0{}")
    with pytest.raises(ValueError, match=r"no whole \.npz archive"):
        UNet.load(path)


def test_json_with_a_key_given_twice_is_refused(tmp_path):
    path = tmp_path / "net.json"
    path.write_text('{"blocks": [{"filters": 3, "filters": 4}]}')
    with pytest.raises(ValueError, match="the key 'filters' twice") as error:
        UNetParams.from_json(path)
    clear(error, path)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 100_000)


def test_a_model_that_describes_itself_wrongly_says_so(tmp_path):
    path, model = tmp_path / "m.npz", network()
    model.save(path)
    with np.load(path) as arrays:
        content = {name: arrays[name] for name in arrays.files}
    described = json.loads(str(content[DESCRIPTION]))
    for key, value, message in (("input_shape", None, "input_shape is None"), ("params", [], "mapping"),
                                ("num_classes", "4", "num_classes"), ("dtype", "float99", "float99"),
                                ("dtype", 7, "dtype"), ("extra", 1, "no parameter 'extra'"), ("format", 2, "format")):
        write_npz(path, {**content, DESCRIPTION: np.array(json.dumps({**described, key: value}))})
        with pytest.raises(ValueError, match=message) as error:
            UNet.load(path)
        clear(error, path)


def test_all_that_reading_can_raise_becomes_one_kind():
    for fault in FAULTS:
        try:
            error = fault("some\ntext")
        except TypeError:
            error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "some\ntext")
        with pytest.raises(Unreadable, match=r"^f\.x cannot be read: .*; take a whole copy of it, or make it again$"), \
                reading("f.x"):
            raise error
    with pytest.raises(FileNotFoundError), reading("f.x"):
        raise FileNotFoundError("f.x")
    with pytest.raises(KeyboardInterrupt), reading("f.x"):
        raise KeyboardInterrupt


def test_a_directory_that_loses_entries_is_noticed(tmp_path):
    """zipfile takes what one changed length makes of a directory, and passes over the files that are swallowed."""
    model = network()
    for name in ("m.npz", "w.npz", "m.keras"):
        path = tmp_path / name
        write_weights(path, model.weights) if name == "w.npz" else model.save(path)
        content = bytearray(path.read_bytes())
        places = [at for at in range(len(content)) if content[at : at + 4] == b"PK\1\2"]
        refused = 0
        for at in places[:: max(1, len(places) // 3)]:
            for field, bit in ((32, 0x40), (33, 1), (30, 0x40)):             # lengths of the comment and of the extra
                damaged = bytearray(content)
                damaged[at + field] ^= bit
                path.write_bytes(damaged)
                try:
                    got = read_weights(path) if name == "w.npz" else npunet.load(path).weights
                    assert set(got) == set(model.weights), "only the last entry has nothing behind it to be lost"
                except ValueError:
                    refused += 1
        assert refused >= (3 if name == "m.keras" else 6)

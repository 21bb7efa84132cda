"""Files damaged at random, read by everything that reads: python fuzz_files.py KIND SEED COUNT FOLDER.

Prints JSON: how many were read, refused, and read as something else than was written (silent, which formats with
checksums must never do), and the first faults: errors that are no ValueError or OSError, or of more than one line.
"""

import contextlib
import io
import json
import resource
import sys
import traceback
import warnings
from pathlib import Path

import numpy as np

import npunet
from npunet import UNet, quantize
from npunet.cli import main
from npunet.data.prepare import Preparation
from npunet.data.synthetic import synthetic_ecg
from npunet.files import write_npy, write_npz
from npunet.formats import read_weights, write_weights
from npunet.golden import open_bundle
from npunet.golden.bundle import golden
from npunet.golden.reader import Bundle
from npunet.segment import Segmenter
from npunet.train.checkpoint import read_checkpoint, write_checkpoint
from npunet.verify import dumps
from npunet.verify.bundles import check_sums

OPEN = Path(__file__).parents[1] / "reference" / "stored" / "integer" / "d1_plain.int8.open.tflite"
MEMORY = 4 << 30  # bytes of address space: what takes more fails
BLOCK = {"filters": 3, "kernel": [1, 3], "pool": [1, 2], "strides": [1, 2]}
PARAMS = {"blocks": [BLOCK, {**BLOCK, "seperable": True}], "output_kernel_size": [1, 3], "name": "small"}
DESCRIPTION = {"architecture": {"name": "unet", "params": PARAMS}, "input_shape": [64, 1], "num_classes": 3}


def network():
    return UNet(PARAMS, (64, 1), 3)


def same(value):
    """Arrays and JSON as bytes that can be compared."""
    if isinstance(value, dict):
        return b"".join(str(name).encode() + same(each) for name, each in sorted(value.items()))
    return value.tobytes() if isinstance(value, np.ndarray) else json.dumps(value, sort_keys=True).encode()


def weights_of(model):
    return same({name: model.weights.read_only[name] for name in model.weights})


def save_segmenter(path):
    Segmenter(network(), ["a", "b", "c"], Preparation(rate=100.0)).save(path)


def load_segmenter(path):
    model = npunet.load(path)
    return weights_of(model.network) + same([list(model.class_names), model.preparation.to_dict()])


def load_keras(path):
    model = npunet.load(path)
    return weights_of(model) + same([model.params.to_dict()["blocks"], list(model.input_shape), model.num_classes])


def save_bundle(folder):
    golden(network(), folder, cases=("random",), formats=("npz", "bin"))


def load_bundle(folder):
    bundle = Bundle(folder)
    check_sums(bundle)
    assert bundle.graph.nodes
    return same(bundle.weights) + same({key: bundle.tensor(*key.split("/")) for key in bundle.tensors})


def save_integer_bundle(folder):
    golden(quantised(), folder, cases=("random",), formats=("npz", "bin"))


def load_integer_bundle(folder):
    bundle = open_bundle(folder)
    check_sums(bundle)
    assert bundle.layers
    return same({key: bundle.tensor(*key.split("/")) for key in bundle.tensors})


def save_dump(folder, save=save_bundle):
    save(folder / "bundle")
    bundle = open_bundle(folder / "bundle")
    write_npz(folder / "dump.npz", {key: bundle.tensor(*key.split("/")) for key in bundle.tensors})


def load_dump(folder):
    dump = dumps.read(folder / "dump.npz", open_bundle(folder / "bundle"))
    if dump.faults or len(dump.tensors) != len(open_bundle(folder / "bundle").tensors):  # verify says what is missing
        raise ValueError(str(*dump.faults[:1]) or "tensors are missing")
    return same({"/".join(place): np.asarray(raw.value) for place, raw in dump.tensors.items()})


def command(*argv):
    """Run the command; its ValueError where it fails. A traceback passes through."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        status = main([str(word) for word in argv])
    lines = [line for line in said.getvalue().splitlines() if not line.startswith("npunet: warning: ")]
    if status not in (0, 2) or len(lines) != (status == 2):
        raise AssertionError(f"status {status}: {said.getvalue()!r}")
    if status:
        raise ValueError(lines[0])


def quantised():
    return quantize(network(), X)


def load_integer(path):
    """The network, and what it makes of nothing where that is no long work."""
    model = npunet.load(path)
    nodes = [[node.name, node.op, list(node.inputs), {key: str(value) for key, value in node.attrs.items()}]
             for node in model.network]
    tensors = {name: [list(tensor.shape), tensor.dtype, tensor.scale, tensor.zero_point]
               for name, tensor in model.network.tensors.items()}
    if sum(np.prod(tensor.shape, dtype=float) for tensor in model.network.tensors.values()) < 10**6:
        model.predict(np.zeros((1, *model.input_shape), model.dtype))
    arrays = {f"{node.name}/{key}": value for node in model.network for key, value in node.arrays.items()}
    return same(nodes) + same(tensors) + same(arrays)


def predicted(path):
    folder = path.parent
    if not (folder / "model.npz").exists():
        network().save(folder / "model.npz")
    command("predict", folder / "model.npz", path, "-o", folder / "y.npy", "--backend", "numpy", "--raw",
            *(["--fs", "100"] if path.suffix in (".csv", ".npy") else []))
    return (folder / "y.npy").read_bytes()


def save_csv(path):
    signal, _ = synthetic_ecg(2, 100, seed=3)
    path.write_text("time,II\n" + "".join(f"{k / 100:.2f},{value:.4f}\n" for k, value in enumerate(signal)))


def save_record(path):
    samples = np.rint(200 * synthetic_ecg(2, 100, seed=3)[0]).astype("<i2")
    path.with_suffix(".dat").write_bytes(samples.tobytes())
    total = samples.sum(dtype=np.int16)
    path.write_text(f"r 1 100 {len(samples)}\nr.dat 16 200/mV 16 0 {samples[0]} {total} 0 II\n")


def summary(path):
    command("summary", path)
    return b""


X = np.random.default_rng(5).normal(size=(3, 64, 1)).astype(np.float32)
# kind: the file, what writes it, what reads it, whether the format has checksums
KINDS = {
    "model": ("m.npz", lambda path: network().save(path), lambda path: weights_of(npunet.load(path)), True),
    "segmenter": ("m.npz", save_segmenter, load_segmenter, True),
    "weights": ("w.npz", lambda path: write_weights(path, network().weights), lambda path: same(read_weights(path)),
                True),
    "safetensors": ("w.safetensors", lambda path: write_weights(path, network().weights),
                    lambda path: weights_of(network().load_weights(path)), False),
    "hdf5": ("w.weights.h5", lambda path: write_weights(path, network().weights),
             lambda path: weights_of(network().load_weights(path)), False),
    "keras": ("m.keras", lambda path: network().save(path), load_keras, True),
    "checkpoint": ("last.npz", lambda path: write_checkpoint(path, dict(network().weights), {"step": 3, "told": ["a"]}),
                   lambda path: same(read_checkpoint(path)[0]) + same(read_checkpoint(path)[1]), True),
    "bundle": ("bundle", save_bundle, load_bundle, True),
    "dump": ("dump", save_dump, load_dump, True),
    "bundle of integers": ("bundle", save_integer_bundle, load_integer_bundle, True),
    "dump of integers": ("dump", lambda folder: save_dump(folder, save_integer_bundle), load_dump, True),
    "input npz": ("x.npz", lambda path: write_npz(path, {"x": X}), predicted, True),
    "input npy": ("x.npy", lambda path: write_npy(path, X), predicted, False),
    "csv": ("x.csv", save_csv, predicted, False),
    "wfdb": ("r.hea", save_record, predicted, False),
    "integer npz": ("i.npz", lambda path: quantised().save(path), load_integer, True),
    "tflite": ("i.tflite", lambda path: quantised().export_tflite(path), load_integer, False),
    "tflite of an open batch": ("o.tflite", lambda path: path.write_bytes(OPEN.read_bytes()), load_integer, False),
    "tflite of floats": ("f.tflite", lambda path: network().export_tflite(path), load_keras, False),
    "json": ("net.json", lambda path: path.write_text(json.dumps(DESCRIPTION)), summary, False),
}


def damaged(content, rng):
    """One of the things that happen to files."""
    size, raw = len(content), bytearray(content)
    at, far = sorted(int(place) for place in rng.integers(0, size + 1, 2))
    kind = rng.integers(10)
    if kind < 4 and size:                                                    # a bit, or some of them
        for place in rng.integers(0, size, 1 if kind < 3 else 4):
            raw[place] ^= 1 << rng.integers(8)
    elif kind == 4:
        del raw[at:]
    elif kind == 5:
        del raw[at : min(far, at + int(rng.integers(1, 64)))]
    elif kind == 6:
        raw[at:at] = rng.integers(0, 256, rng.integers(1, 64), np.uint8).tobytes()
    elif kind == 7:
        raw[at:at] = raw[at:far][:4096]
    elif kind == 8:
        raw[at : at + 4] = bytes(rng.choice([b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\xff\x7f", b"9999", b"-1 \n"]))
    else:
        raw[at : at + 32] = bytes(rng.integers(32, 127, min(32, size - at), np.uint8))
    return bytes(raw)


def attack(kind, seed, count, folder):
    name, write, read, checked = KINDS[kind]
    path = Path(folder) / name
    write(*[(path.mkdir(), path)[1]] if name == "dump" else [path])
    before, rng = read(path), np.random.default_rng(seed)
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    files = [path / "dump.npz"] if name == "dump" else files
    files += [path.with_suffix(".dat")] if kind == "wfdb" else []
    told = {"read": 0, "refused": 0, "silent": 0, "faults": []}
    for number in range(count):
        file = files[rng.integers(len(files))]
        whole = file.read_bytes()
        file.write_bytes(damaged(whole, rng))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                after = read(path)
            told["read"] += 1
            if checked and after != before:
                told["silent"] += 1
                told["faults"].append(f"{number}: {file.name} was read as something else")
        except (ValueError, OSError) as error:
            told["refused"] += 1
            if "\n" in str(error).replace("\n  ", "") or not str(error):  # weights that do not fit are a list
                told["faults"].append(f"{number}: {error!r}")
        except BaseException as error:  # that there is none is what this looks for
            last = traceback.extract_tb(error.__traceback__)[-1]
            told["faults"].append(f"{number}: {file.name}: {error!r:.200} at {last.filename}:{last.lineno}")
        finally:
            file.write_bytes(whole)
    return told


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    print(json.dumps(attack(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])))

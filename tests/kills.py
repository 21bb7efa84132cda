"""Kill everything that writes while it does: python kills.py KILLS SEED FOLDER [WHICH ...].

After every kill each file is the old one or the new one, whole; after the next run that is let through, no scratch is
left. Prints JSON: kills that came in time, by what was running, those after which scratch was left (they fell into a
write), and the faults.
"""

import contextlib
import hashlib
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import npunet
from npunet import UNet, quantize
from npunet.cli import main
from npunet.engine.runtime import object_code
from npunet.golden import open_bundle
from npunet.train.checkpoint import read_checkpoint
from npunet.verify.bundles import check_sums, read_sums

ROOT = Path(__file__).parent.parent
BLOCK = {"filters": 24, "kernel": [1, 5], "pool": [1, 2], "strides": [1, 2]}
PARAMS = {"blocks": [BLOCK, BLOCK], "output_kernel_size": [1, 3]}
SETTINGS = {"architecture": {"name": "unet", "params": PARAMS}, "frame_size": 64, "num_classes": 4, "epochs": 8,
            "steps_per_epoch": 3, "batch_size": 4, "datasets": [{"name": "synthetic", "params": {"count": 4}}],
            "val_patients": 1, "test_patients": 1, "batch_norm_momentum": 0.9}
# Each says "ready" and then writes the same files again and again, so that a kill at any moment falls into a write.
QUIET = "import os, sys\nprint('ready', flush=True)\nsys.stdout = open(os.devnull, 'w')\n"
SAVE = """
from npunet import UNet
models = [UNet({params}, (64, 1), 4, seed=seed) for seed in (1, 2)]
{quiet}
for _ in range({rounds}):
    for model in models:
        model.save(r"{folder}/save.npz")
"""
CONVERT = """
from npunet.cli import main
{quiet}
for _ in range({rounds}):
    for seed in (1, 2):
        main(["convert", r"{folder}/from%d.npz" % seed, r"{folder}/converted.npz"])
        main(["convert", r"{folder}/from%d.npz" % seed, r"{folder}/converted.weights.npz"])
"""
TRAIN = """
import json, os
from npunet.train import checkpoint, run
from npunet.train.config import make_config
checkpoint.Keeper.due = True
{quiet}
if not os.path.exists(r"{folder}/run/last.npz"):
    run.begin(make_config(json.loads(r'''{settings}'''))[0], r"{folder}/run", backend="numpy")
else:
    run.resume(r"{folder}/run", backend="numpy")
"""
GOLDEN = """
from npunet.cli import main
{quiet}
for _ in range({rounds}):
    for seed in (1, 2):
        main(["golden", r"{folder}/from%d.npz" % seed, "-o", r"{folder}/golden", "--seed", str(seed)])
"""
# What compiling gives is made up here, sixteen megabytes of it, so that many kills fall into the write; a changed
# setting of Numba changes the name of the file, so that every round writes.
WARMUP = """
import os, types
os.environ["NUMBA_CACHE_DIR"] = r"{folder}/compiled"
from npunet.cli import main
from npunet.engine.runtime import entry_points, native
from npunet.engine.runtime.object_code import ObjectCode
made = ObjectCode(bytes(range(256)) * 65536, "symbol", "triple")
native.Native = lambda made, path, found: types.SimpleNamespace(path=path, found=found)
native.import_module = lambda name: types.SimpleNamespace(compile_entry=lambda entry: made)
{quiet}
for number in range({rounds}):
    os.environ["NUMBA_ROUND"] = str(number % 3)
    for entry in (entry_points.SEQ_FMA, entry_points.TRAIN):
        entry._native = None
        if number >= 3:
            entry._find = lambda: None
    main(["warmup"])
"""
GOLDEN_OF_INTEGERS = """
from npunet.cli import main
{quiet}
for _ in range({rounds}):
    for seed in (1, 2):
        main(["golden", r"{folder}/integers%d.npz" % seed, "-o", r"{folder}/golden_of_integers", "--cases", "random",
              "--target", "cortex-m4"])
"""
# Verbs that write a file, or a folder of them, of which every one is what one of two models gives.
VERBS = """
from npunet.cli import main
{quiet}
for _ in range({rounds}):
    for seed in (1, 2):
        for words in {words}:
            main([word.replace("SEED", str(seed)).replace("FOLDER", r"{folder}").replace("OUT", r"{folder}")
                  for word in words])
"""
FILE = "FOLDER/fromSEED.npz"
MADE = {
    "quantize": [["quantize", FILE, "--calibrate", "FOLDER/x.npy", "-o", f"OUT/quantized.{suffix}",
                  "--report", "OUT/report.json"] for suffix in ("npz", "tflite")],
    "page": [["page", FILE, "-o", "OUT/page.html"]],
    "audit": [["audit", "FOLDER/integersSEED.npz", "-o", "OUT/audit.html"]],
    "trace": [["trace", FILE, "FOLDER/x.npy", "-o", "OUT/trace.npz"]],
    "draw": [["draw", FILE, "-o", "OUT/drawn.svg", "--title", "SEED"]],
    "export": [["convert", FILE, f"OUT/exported.{suffix}"] for suffix in ("keras", "onnx", "tflite")],
    "predict": [["predict", FILE, "FOLDER/inputs", "-o", "OUT/results", "--backend", "numpy", "--raw",
                 "--output", "logits"]],
}
SCRIPTS = {"save": SAVE, "convert": CONVERT, "train": TRAIN, "golden": GOLDEN, "warmup": WARMUP,
           "golden of integers": GOLDEN_OF_INTEGERS, **dict.fromkeys(MADE, VERBS)}
FOLDERS = {"run", "compiled"}  # made by the first round that gets so far


def launch(kind, folder, rounds=10**9):
    script = SCRIPTS[kind].format(folder=folder, params=PARAMS, settings=json.dumps(SETTINGS), quiet=QUIET,
                                  rounds=rounds, words=MADE.get(kind))
    process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", script], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL,
                               env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"})
    process.stdout.readline()
    return process


def faults_of(kind, folder, known):
    """What is wrong after a kill."""
    try:
        if kind == "train":
            run = folder / "run"
            for name in ("last.npz", "best.npz"):
                if (run / name).exists():
                    read_checkpoint(run / name)
            if (run / "history.json").exists():
                json.loads((run / "history.json").read_text())
            if (run / "model.npz").exists():
                npunet.load(run / "model.npz")
            return []
        if kind in MADE:
            return [f"{name} holds neither the old nor the new" for name, digest in made(kind, folder).items()
                    if digest not in known[name]]
        if kind.startswith("golden"):
            bundle = open_bundle(folder / kind.replace(" ", "_"))
            check_sums(bundle)
            wrong = [name for name, digest in read_sums(bundle.root).items()
                     if hashlib.sha256((bundle.root / name).read_bytes()).hexdigest() != digest]
            return [f"the bundle's {', '.join(wrong)} are others"] if wrong or not bundle.tensors else []
        if kind == "warmup":
            return [f"{file.name} is not whole" for file in (folder / "compiled").glob("npunet-*.o")
                    if object_code.read(file) is None]
        name = "save.npz" if kind == "save" else "converted.npz"
        if (folder / name).exists() and npunet.load(folder / name).weights.block.tobytes() not in known["weights"]:
            return [f"{name} holds neither the old nor the new weights"]
    except Exception as error:  # whatever it is, it is a fault
        return [f"after a kill in {kind}: {error!r:.200}"]
    return []


def made(kind, folder):
    """Digests of what a verb's writes have left, by name."""
    places = sorted({folder / word[4:] for words in MADE[kind] for word in words if word.startswith("OUT/")})
    files = [file for place in places for file in (place.rglob("*") if place.is_dir() else [place]) if file.is_file()]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files
            if not file.name.startswith(".")}


def begin(folder, kinds):
    """The inputs, and what may be found in the end: the old or the new of each name."""
    x = np.random.default_rng(3).normal(size=(3, 64, 1)).astype(np.float32)
    np.save(folder / "x.npy", x)
    (folder / "inputs").mkdir()
    known = {"weights": set()}
    for number in (1, 2):
        np.save(folder / "inputs" / f"{number}.npy", x[number:])
        model = UNet(PARAMS, (64, 1), 4, seed=number)
        model.save(folder / f"from{number}.npz")
        known["weights"].add(model.weights.block.tobytes())
        quantize(model, x).save(folder / f"integers{number}.npz")
    for kind in kinds:
        for words in MADE.get(kind, ()):
            for number in ("1", "2"):
                with contextlib.redirect_stdout(io.StringIO()):
                    main([word.replace("SEED", number).replace("FOLDER", str(folder)).replace("OUT", str(folder))
                          for word in words])
                for name, digest in made(kind, folder).items():
                    known.setdefault(name, set()).add(digest)
        if kind.startswith("golden"):
            launch(kind, folder, rounds=1).communicate(timeout=120)  # the old one
    return known


def attack(kills, seed, folder, kinds=tuple(SCRIPTS)):
    rng, folder = random.Random(seed), Path(folder)
    known = begin(folder, kinds)
    told = {"kills": dict.fromkeys(kinds, 0), "left": dict.fromkeys(kinds, 0), "faults": []}
    there, scratch = set(), set()
    for number in range(kills):
        kind = kinds[number % len(kinds)]
        process = launch(kind, folder)
        end = time.monotonic() + (30 if kind == "train" and rng.random() < 0.8 else 0)
        while time.monotonic() < end and not (folder / "run" / "last.npz").exists():
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.4))
        process.send_signal(signal.SIGKILL)
        told["kills"][kind] += process.wait() == -signal.SIGKILL
        process.stdout.close()
        scratch, left = set(folder.rglob(".*npunet*")), scratch
        told["left"][kind] += bool(scratch - left)
        told["faults"] += faults_of(kind, folder, known)
        names = {file.name for file in folder.iterdir() if not file.name.startswith(".")}
        if not there - FOLDERS <= names:
            told["faults"].append(f"{there - names} is gone")
        there = names
    for kind in kinds:  # the next run, let through
        process = launch(kind, folder, rounds=1)
        status = process.wait(timeout=120)
        process.stdout.close()
        told["faults"] += [f"{kind} after the kills ended with {status}"] * (status != 0)
    told["scratch"] = [str(file) for file in folder.rglob(".*") if file.name != ".gitattributes"]  # a bundle has one
    return told


if __name__ == "__main__":
    np.seterr(all="ignore")
    print(json.dumps(attack(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], tuple(sys.argv[4:]) or tuple(SCRIPTS))))

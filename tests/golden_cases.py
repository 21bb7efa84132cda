"""What the tests of the golden bundles share: the stored networks, a C compiler, and a bundle's files."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import warnings
from functools import cache
from pathlib import Path

import numpy as np

from npunet import UNet
from npunet.golden import cgen
from npunet.golden.subject import resolve

STORED = Path(__file__).parent.parent / "reference" / "stored"
NAMES = sorted(path.stem for path in STORED.glob("*.npz"))
STRICT = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror", "-ffp-contract=off"]
assert len(NAMES) >= 24, f"{STORED} holds {len(NAMES)} networks; run python reference/generate.py"


@cache
def stored(name, level="deploy"):
    """(subject, x) of one stored network: its model with Keras' weights, and its input batch (N, H, W, C)."""
    with np.load(STORED / f"{name}.npz") as file:
        case = json.loads(str(file["case"]))
        weights = {key.removeprefix("weights/"): file[key] for key in file.files if key.startswith("weights/")}
        x = file["x"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # an int kernel on a signal wastes weights
        model = UNet(case["params"], tuple(case["input_shape"]), case["num_classes"]).load_weights(weights)
    return resolve(model, level, None, "full", 0), model.sizes.admit(x, "float32")[0]


def files_of(folder):
    """Every file below a folder: its bytes by its path."""
    paths = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def compilers():
    """The C compilers of this machine, of those that are tested."""
    return [name for name in ("gcc", "clang") if shutil.which(name)]


@cache
def links(compiler, flags):
    """Whether the compiler has the libraries that these flags ask for: Debian's clang may come without sanitizers."""
    done = subprocess.run([compiler, *flags, "-x", "c", "-", "-o", os.devnull], input="int main(void) { return 0; }",
                          text=True, capture_output=True, check=False)
    return done.returncode == 0


def compiled(folder, subject, arithmetic, compiler="gcc", flags=("-O2",)):
    """The generated C of a network, built as net_dump with every warning an error; returns the program's path."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = cgen.network(subject.graph, subject.weights, arithmetic, "a test")
    for name, text in (sources | {"net_dump.c": cgen.read_template("net_dump.c")}).items():
        (folder / name).write_text(text)
    build(folder, "net_dump", ["net_dump.c", "net.c"], compiler, flags)
    return folder / "net_dump"


def build(folder, program, sources, compiler="gcc", flags=("-O2",)):
    """Compile strictly; a warning fails the test with the compiler's own words."""
    done = subprocess.run([compiler, *STRICT, *flags, *sources, "-lm", "-o", program], cwd=folder, text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr[:4000]


def ran(program, *arguments):
    """A program's standard output; it must end well and say nothing on stderr (where sanitizers speak)."""
    done = subprocess.run([program, *map(str, arguments)], text=True, capture_output=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr[:4000]
    return done.stdout

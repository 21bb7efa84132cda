"""Ports of integer networks for the tests: the generated C, as it is or with a fault put into its text."""

import functools
import shutil
import subprocess

import pytest
from integer_judges import calibration, float_model

from npunet import quantize
from npunet.golden import golden

FLAGS = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-DNET_OBSERVE")


def needs_compiler(name="gcc"):
    if shutil.which(name) is None:
        pytest.skip(f"there is no {name}")


@functools.cache
def integer_network(name, scheme="int8", rounding="D"):
    return quantize(float_model(name), calibration(name), scheme=scheme, rounding=rounding)


def make_bundle(model, folder, **options):
    golden(model, folder, **options)
    return folder


def run_port(bundle, work, edits=(), flags=("-O1",), compiler="gcc"):
    """Compile c/ of a bundle with (file, old, new) edits, run every case; the folder of its outputs."""
    source = work / "c"
    shutil.copytree(bundle / "c", source)
    for file, old, new in edits:
        text = (source / file).read_text()
        assert old in text, f"{old!r} is not in {file}"
        (source / file).write_text(text.replace(old, new))
    program, out = work / "net_dump", work / "out"
    subprocess.run([compiler, *FLAGS, *flags, str(source / "net.c"), str(source / "net_dump.c"), "-o", str(program)],
                   check=True, timeout=100)
    done = subprocess.run([str(program), "--all", str(bundle), str(out)], capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return out

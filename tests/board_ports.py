"""What the tests of boards share: bundles of small networks, and a bundle's program built, run and judged."""

import subprocess
from functools import cache

import numpy as np
import pytest

import npunet
from npunet import UNet, presets, pretrained
from npunet.golden import golden
from npunet.golden.boards import TARGETS, commands
from npunet.golden.integer.bundle import golden_integer
from npunet.verify import boards, program, verify

IN_CI = ("cortex-m4", "aarch64", "riscv64")
FORMATS = ("bin", "c")


@cache
def tiny_int8():
    """The preset tiny, quantised by noise: its weights are drawn anyway."""
    preset = presets.load("tiny")
    model = UNet(preset, tuple(preset["input_shape"]), preset["num_classes"], seed=3)
    x = np.random.default_rng(4).standard_normal((16, *preset["input_shape"])).astype(np.float32)
    return npunet.quantize(model, x)


def make(network, kind, target, folder, **options):
    """A bundle of the preset "tiny" or of "ecg", of kind "float" or "int8", for a target."""
    if kind == "float":
        golden(network, folder, formats=FORMATS, target=target, **options)
    else:
        model = tiny_int8() if network == "tiny" else pretrained.quantized(network, "int8")
        golden_integer(model, folder, formats=FORMATS, target=target, **options)
    return folder


def needs(target):
    """Skip where what a target takes is not installed, and say what is."""
    lacking = boards.missing(TARGETS[target])
    if lacking:
        pytest.skip(lacking)


def built(bundle, target, elf, *optimise, output=None):
    """Build a bundle's program with these options; no warning is let through."""
    row = TARGETS[target]
    command = commands.compiling(row, output or commands.outputs(row)[0], str(elf), ("-Wextra", "-Werror", *optimise))
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return elf


def judged(bundle, target, elf, log):
    """Run a program in the target's emulator, and verify what it prints."""
    program.run(commands.running(TARGETS[target], str(elf)), log, seconds=300, most=1 << 28)
    return verify(bundle, log)

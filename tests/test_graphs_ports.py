"""Random graphs in generated C, with the bits of the definition, and in ONNX Runtime, within the bound; or refused."""

import ctypes
import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from engine_cases import assert_same_bits
from golden_cases import STRICT
from random_graphs import draw
from test_graphs import assert_names_a_layer, one_layer
from test_onnx import bounded, run_onnx, share

from npunet import run
from npunet.deploy import deploy
from npunet.formats.onnx import to_onnx
from npunet.golden import cgen
from npunet.limits import Unsupported

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc on this machine")
THOROUGH = "NPUNET_THOROUGH" in os.environ
CHUNK = 60  # graphs of one compilation
GUARDS = ("NET_H", "NET_LAYERS", "NET_MOST_INPUTS", "NET_INPUT_SIZE", "NET_OUTPUT_SIZE", "NET_ARENA_SIZE",
          "NET_LARGEST", "NET_KERNEL")
DEFINED = re.compile("|".join([  # names that a file of the generated C defines for itself
    r"^typedef .*\(\*(\w+)\)", r"^} (\w+);", r"^(?:static|extern|NET_KERNEL|const|void)\b[^(\[=;]*\b(\w+) ?[(\[]",
    r"^static .*?(\w+) = |, (\w+) = ", r"\b(NET_ACC|NET_OUT)\b"]), re.MULTILINE)


def included(number, sources):
    """C that includes a network as it is, its names changed by the preprocessor so that it stands beside others."""
    names = sorted({name for text in sources.values() for found in DEFINED.findall(text) for name in found if name})
    return "\n".join([
        *(f"#define {name} g{number}_{name}" for name in names), f'#include "{number}/net.c"',
        *(f"#undef {name}" for name in (*names, *GUARDS)), ""])


def assert_refused(error, graph):
    assert_names_a_layer(error, graph, str(error).rpartition("; ")[2])
    assert "; " in str(error)


@needs_gcc
@pytest.mark.parametrize("chunk", range(50 if THOROUGH else 1))
def test_generated_c_gives_the_bits_of_the_definition_or_is_refused(chunk, tmp_path):
    drawn = {}
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        graph, weights, x = draw(seed)
        arithmetic = ("seq", "seq_fma")[seed // 2 % 2]
        graph, weights = deploy(graph, weights) if seed % 2 else (graph, weights)
        try:
            sources = cgen.network(graph, weights, arithmetic, f"graph {seed}")
        except Unsupported as error:
            assert_refused(error, graph)
            continue
        (tmp_path / str(seed)).mkdir()
        for name, text in sources.items():
            (tmp_path / str(seed) / name).write_text(text)
        drawn[seed] = graph, weights, x, arithmetic, included(seed, sources)
    (tmp_path / "all.c").write_text("".join(text for *_, text in drawn.values()))
    done = subprocess.run(["gcc", *STRICT, "-O1", "-shared", "-fPIC", "all.c", "-lm", "-o", "all.so"], cwd=tmp_path,
                          text=True, capture_output=True, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr[:4000]
    library = ctypes.CDLL(str(tmp_path / "all.so"))
    for seed, (graph, weights, x, arithmetic, _) in drawn.items():
        expected = np.ascontiguousarray(run.infer(graph, weights, x, arithmetic=arithmetic))
        got = np.empty_like(expected)
        for sample, result in zip(x, got, strict=True):
            pointers = (ctypes.c_void_p(array.ctypes.data) for array in (sample, result))
            library[f"g{seed}_net_run"](*pointers, None, None)
        assert_same_bits(got, expected, f"graph {seed}, {arithmetic} ")
    assert len(drawn) >= CHUNK // 2, "most graphs are to be compiled"


@pytest.mark.parametrize("chunk", range(50 if THOROUGH else 2))
def test_onnx_stays_within_its_bound_or_is_refused(chunk):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    written = 0
    for seed in range(chunk * CHUNK, (chunk + 1) * CHUNK):
        graph, weights, x = draw(seed)
        level = ("trained", "deploy")[seed % 2]
        try:
            content = to_onnx(graph, weights, graph.input_shape, level=level)
        except Unsupported as error:
            assert_refused(error, graph)
            continue
        expected, bound = bounded(*(deploy(graph, weights) if level == "deploy" else (graph, weights)), x)
        share(f"graph {seed} {level} ", run_onnx(content, x)["output"], expected, bound)
        written += 1
    assert written >= CHUNK // 2, "most graphs are to be written"


CONV = {"stride": (1, 1), "pads": ((1, 1), (1, 1)), "dilation": (1, 1)}


@pytest.mark.parametrize(("graph", "who"), [
    (one_layer("avg_pool2d", window=(1, 1), stride=(1, 1), pads=((0, 0), (0, 0))), ("C", "ONNX")),
    (one_layer("no_such"), ("C", "ONNX")),
    (one_layer("concat", inputs=("input",) * 3, out=(5, 6, 9)), ("C",)),
    (one_layer("layer_norm", [("gamma", (3,)), ("beta", (3,))], axes=(3,), eps=1e-3), ("C", "ONNX")),
    (one_layer("conv2d", [("kernel", (3, 3, 3, 4))], out=(5, 6, 4), **CONV, groups=3), ("C", "ONNX")),
    (one_layer("relu", slope=0.1), ("C", "ONNX")),
])
def test_what_a_port_cannot_do_it_refuses(graph, who):
    ways = {"C": lambda: cgen.network(*graph, "seq", "a test"), "ONNX": lambda: to_onnx(*graph, (5, 6, 3))}
    for name, make in ways.items():
        if name in who:
            with pytest.raises(Unsupported, match=rf"^odd: .*{name} .*; "):
                make()
        else:
            make()

"""The generated C against the NumPy operators, bit for bit: every stored network, every operator's corner cases."""

import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from math import prod
from pathlib import Path

import golden_cases
import numpy as np
import pytest
from golden_cases import NAMES, compilers, stored

from npunet import UNet
from npunet.golden import Bundle, cgen, golden
from npunet.golden.bundle import covering
from npunet.golden.corners import layer_inputs
from npunet.golden.layer_run import run_layer, run_network
from npunet.golden.manifest import canonical, layer_ids

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc on this machine")
CORNERS = ["d1_selu_one_class", "d2_activations", "d2_separable_mixed", "d2_softmax", "d2_even_kernels",
           "d1_pool_under_stride"]
SANITIZED = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def assert_dumped(folder, steps, ids):
    """Every accumulator and output of the steps stands in the folder, bit for bit."""
    for step in steps:
        for role, value in (("acc", step.acc), ("out", step.out)):
            if value is None:
                continue
            path = Path(folder) / f"{ids[step.node.name]}.{role}.bin"
            got = canonical(np.fromfile(path, "<f4").reshape(value.shape))
            wrong = np.argwhere(got.view("u4") != canonical(value).view("u4"))
            first = tuple(wrong[0]) if len(wrong) else None
            assert first is None, (f"{path.name} ({step.node.op}): {len(wrong)} of {value.size} differ, first at "
                                   f"{first}: got {got[first].hex()}, expected {value[first].hex()}")


def check_network(folder, name, arithmetic, compiler="gcc", flags=("-O2",), level="deploy"):
    subject, x = stored(name, level)
    program = golden_cases.compiled(folder, subject, arithmetic, compiler, flags)
    canonical(x).tofile(folder / "in.bin")
    (folder / "out").mkdir()
    golden_cases.ran(program, folder / "in.bin", folder / "out")
    steps = list(run_network(subject.graph, subject.weights, x, arithmetic))
    assert len(steps) == len(subject.graph.nodes) > 0
    assert_dumped(folder / "out", steps, layer_ids(subject.graph))


@needs_gcc
@pytest.mark.parametrize("half", [0, 1])
def test_every_stored_network(half, tmp_path):
    """-O2, orders and compilers in turn, so that both of both meet every feature."""
    second = compilers()[-1]
    choices = [("seq", "gcc"), ("seq_fma", "gcc"), ("seq", second), ("seq_fma", "gcc"), ("seq", "gcc"),
               ("seq_fma", second)]
    jobs = [(name, *choices[number % len(choices)]) for number, name in enumerate(NAMES[half::2])]
    for name, *_ in jobs:
        stored(name, "deploy")       # as check_network asks the cache: threads cannot set what warnings are shown
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(check_network, tmp_path / job[0], *job) for job in jobs]
        for job in done:
            job.result()
    assert len(done) >= 12


@needs_gcc
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("level", ["-O0", "-O2", "-O3"])
def test_optimisation_changes_no_bit(compiler, level, tmp_path):
    if compiler not in compilers():
        pytest.skip(f"no {compiler} on this machine")
    check_network(tmp_path / "seq", "d2_norms_mixed", "seq", compiler, (level,))
    check_network(tmp_path / "fma", "d1_no_norm_elu", "seq_fma", compiler, (level,))


@needs_gcc
def test_a_machine_with_fused_instructions_changes_no_bit(tmp_path):
    if "fma" not in (Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""):
        pytest.skip("this processor is not known to have fused multiply-add")
    check_network(tmp_path / "seq", "d2_norms_mixed", "seq", "gcc", ("-O3", "-mfma", "-mavx2"))
    check_network(tmp_path / "fma", "d2_norms_mixed", "seq_fma", "gcc", ("-O3", "-mfma", "-mavx2"))


@needs_gcc
@pytest.mark.parametrize("name", ["d2_separable_mixed", "d1_layer_norm"])
def test_sanitizers_find_nothing(name, tmp_path):
    check_network(tmp_path, name, "seq_fma", "gcc", SANITIZED)


@needs_gcc
@pytest.mark.parametrize("name", ["d2_activations", "d2_dropout"])
def test_the_network_as_trained(name, tmp_path):
    """Batch norm, separable convolutions and dropout as layers of their own."""
    ops = {node.op for node in stored(name, "trained")[0].graph}
    assert "batch_norm_inference" in ops
    check_network(tmp_path, name, "seq", level="trained")


@needs_gcc
@pytest.mark.parametrize(("name", "arithmetic"), [(name, "seq_fma") for name in CORNERS] + [(CORNERS[1], "seq")])
def test_corner_cases_of_single_layers(name, arithmetic, tmp_path):
    """Subnormals, infinities, NaN, signed zeros, ties, overflow: every layer alone."""
    subject, _ = stored(name)
    program = golden_cases.compiled(tmp_path, subject, arithmetic, flags=("-O1",))
    ids = layer_ids(subject.graph)
    (tmp_path / "out").mkdir()
    alone = set(covering(subject.graph).values())
    for number, node in enumerate(subject.graph):
        if ids[node.name] not in alone:
            continue
        _, inputs = layer_inputs(node, subject.graph, subject.weights, 5)
        paths = [tmp_path / f"in{k}.bin" for k in range(len(inputs))]
        for path, value in zip(paths, inputs, strict=True):
            canonical(value).tofile(path)
        golden_cases.ran(program, "--layer", number, tmp_path / "out", *paths)
        assert_dumped(tmp_path / "out", [run_layer(node, inputs, subject.weights, arithmetic)], ids)


def test_the_corner_cases_meet_every_operator():
    ops = {node.op for name in CORNERS for node in stored(name)[0].graph}
    assert ops >= {"conv2d", "depthwise_conv2d", "max_pool2d", "upsample_nearest2d", "concat", "add", "relu", "relu6",
                   "leaky_relu", "elu", "selu", "layer_norm", "softmax"}


@pytest.mark.parametrize("name", NAMES)
def test_the_arena_is_large_enough_and_nothing_overlaps(name):
    graph = stored(name)[0].graph
    arena = cgen.layout(graph)
    step = {node.name: number for number, node in enumerate(graph)}
    spans = []
    for tensor, readers in graph.consumers().items():
        if tensor in arena.offsets:
            last = max([step[reader.name] for reader in readers], default=step[tensor])
            start = arena.offsets[tensor]
            assert start % cgen.ALIGNMENT == 0 and start + prod(graph.shape(tensor)) <= arena.size
            spans.append((step[tensor], last, start, start + prod(graph.shape(tensor))))
    for n, (first, last, start, stop) in enumerate(spans):
        for other_first, other_last, other_start, other_stop in spans[:n]:
            assert last < other_first or other_last < first or stop <= other_start or other_stop <= start
    assert arena.size < sum(stop - start for _, _, start, stop in spans) or len(spans) < 3


def test_the_c_allocates_nothing_and_its_weights_are_exact():
    subject, _ = stored("d2_separable_mixed")
    sources = cgen.network(subject.graph, subject.weights, "seq", "a test")
    assert not re.search(r"\b(malloc|calloc|realloc|alloca)\b", "".join(sources.values()))
    for number, (name, value) in enumerate(subject.weights.items()):
        block = re.search(rf"W{number:03d}_\w+\[{value.size}\] = {{([^}}]*)}}", sources["net_weights.h"])[1]
        read = np.array([float.fromhex(word.strip().rstrip("f")) for word in block.split(",")])
        np.testing.assert_array_equal(read, value.ravel().astype(np.float64), err_msg=name)


def test_a_weight_that_is_no_number_is_refused():
    subject, _ = stored("d1_plain")
    name = next(iter(subject.weights))
    broken = subject.weights | {name: np.full_like(subject.weights[name], np.nan)}
    with pytest.raises(ValueError, match=rf"{name}.*NaN"):
        cgen.network(subject.graph, broken, "seq", "a test")


@pytest.fixture(scope="module")
def ported(tmp_path_factory):
    """The folder c/ of a bundle with two samples of real input."""
    block = {"filters": 3, "kernel": [1, 3], "pool": [1, 3], "strides": [1, 2]}
    model = UNet({"blocks": [block], "output_kernel_size": [1, 5]}, (22, 2), 3, seed=4)
    folder = tmp_path_factory.mktemp("ported") / "bundle"
    x = np.random.default_rng(8).standard_normal((2, 22, 2))
    golden(model, folder, inputs=x, formats=("c", "npz"))
    return folder


def run_check(folder, program):
    done = subprocess.run([folder / program], text=True, capture_output=True, check=False)
    return done.returncode, done.stdout


@needs_gcc
def test_check_passes_the_worked_example_with_and_without_tensors(ported):
    for compiler in compilers():
        flags = SANITIZED if golden_cases.links(compiler, SANITIZED) else SANITIZED[:2]
        golden_cases.build(ported / "c", "check", ["check.c", "port_net.c", "net.c"], compiler, flags)
        status, said = run_check(ported / "c", "check")
        layers = len(Bundle(ported).layers)
        assert status == 0 and said.count("PASS") == layers + 6 + 1, said       # 6 cases, and the verdict
        golden_cases.build(ported / "c", "check", ["-DGOLDEN_CRC_ONLY", "check.c", "port_net.c", "net.c"], compiler)
        status, said = run_check(ported / "c", "check")
        assert status == 0 and f"{layers} layers equal, 0 differ" in said, said


@needs_gcc
def test_check_does_not_pass_an_empty_port(ported):
    golden_cases.build(ported / "c", "check", ["check.c", "port.c"])
    status, said = run_check(ported / "c", "check")
    assert status == 3 and "PASS" not in said and said.endswith("VERDICT INCOMPLETE\n")


@needs_gcc
@pytest.mark.parametrize(("wrong", "right", "layer"), [
    ("best = -INFINITY", "best = 0.0f", "ENC1_pool"),                   # padding of zeros wins
    ("low > 6.0f ? 6.0f : low", "low", "ENC1_D1_act"),                  # no clamp
    ("w + j / fx", "w + j % w", "DEC1_D1_unpool"),
])
def test_check_names_the_first_wrong_layer(wrong, right, layer, ported, tmp_path):
    shutil.copytree(ported / "c", tmp_path / "c")
    source = (tmp_path / "c/net.c").read_text()
    assert source.count(wrong) == 1
    (tmp_path / "c/net.c").write_text(source.replace(wrong, right))
    for flags in ([], ["-DGOLDEN_CRC_ONLY"]):
        golden_cases.build(tmp_path / "c", "check", [*flags, "check.c", "port_net.c", "net.c"])
        status, said = run_check(tmp_path / "c", "check")
        assert status == 1 and re.search(rf"FIRST DIVERGENCE L\d+_{layer} ", said), said
        assert said.endswith("VERDICT FAIL\n")

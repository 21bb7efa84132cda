"""The floors of the house: who may import whom, where Numba begins, and that register tiles are whole."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# From the ground up. What stands on one floor imports from it and from those below.
FLOORS = (
    ("extras", "files", "memory", "stored", "damage", "reading", "arena", "geometry", "values", "params", "ops", "data",
     "layer_values"),
    ("graph", "graph_check", "layers", "footprint", "limits"),
    ("unet", "run", "differentiate", "deploy", "weights", "summary"),
    ("engine", "integer"),
    ("inference", "formats"),
    ("model", "dequantized", "integer_model"),
    ("presets", "segment", "pretrained"),
    ("loading",),
    ("__init__",),
    ("evaluate",),
    ("audit", "golden", "verify", "train"),
    ("distributed",),
    ("cli", "__main__"),
)
FLOOR = {name: number for number, names in enumerate(FLOORS) for name in names}
WITHOUT_NUMBA = ("engine.plan", "engine.runtime", "engine.training.plan", "engine.integer.plan")
WITH_NUMBA = ("engine.codegen", "engine.kernels", "engine.training.kernels", "engine.integer.kernels")


def modules():
    """{name without npunet: path}."""
    found = {}
    for path in sorted((ROOT / "npunet").rglob("*.py")):
        parts = path.relative_to(ROOT / "npunet").with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)] = path
    return found


MODULES = modules()
PUBLIC = {  # what `from npunet import NAME` means
    name: node.module.removeprefix("npunet.")
    for node in ast.walk(ast.parse(MODULES["__init__"].read_text()))
    if isinstance(node, ast.ImportFrom) and node.module.startswith("npunet.")
    for name in (alias.name for alias in node.names)
}


def imports(path):
    """Modules that a file imports, at its top or within functions; what only type checkers read does not count."""
    tree = ast.parse(path.read_text())
    typing = [node for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)]
    hidden = {id(inner) for node in typing for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if node.module == "npunet" and alias.name in PUBLIC:
                    yield f"npunet.{PUBLIC[alias.name]}"
                else:
                    yield inner if inner.removeprefix("npunet.") in MODULES else node.module


def ours(path):
    return {"__init__" if name == "npunet" else name.removeprefix("npunet.") for name in imports(path)
            if name.split(".")[0] == "npunet"}


def test_every_module_has_a_floor():
    assert {name.split(".")[0] for name in MODULES} <= set(FLOOR), "say in FLOORS where the new one stands"


def test_nothing_imports_upward():
    wrong = [f"{name} imports {other}" for name, path in MODULES.items() for other in ours(path)
             if FLOOR[other.split(".")[0]] > FLOOR[name.split(".")[0]]]
    assert not wrong


def test_no_circle():
    """Not even through imports within functions."""
    graph = {name: ours(path) - {name} for name, path in MODULES.items()}
    done, path = set(), []

    def visit(name):
        if name in path:
            pytest.fail("a circle: " + " -> ".join([*path[path.index(name):], name]))
        if name not in done and name in graph:
            path.append(name)
            for other in sorted(graph[name]):
                visit(other)
            done.add(path.pop())

    for name in sorted(graph):
        visit(name)


def test_where_numba_begins():
    """plan and runtime know neither Numba nor what imports it; nobody outside of the engine imports it."""
    for name, path in MODULES.items():
        found = {other.split(".")[0] for other in imports(path)}
        if not name.startswith("engine."):
            assert not found & {"numba", "llvmlite"}, f"{name} imports Numba"
        if name.startswith(WITHOUT_NUMBA):
            assert "numba" not in found, f"{name} imports Numba"
            kernels = [other for other in ours(path) if other.startswith(WITH_NUMBA)]
            assert not kernels, f"{name} imports {kernels}, which import Numba"


def test_planning_and_importing_load_no_numba():
    code = ("import sys; from npunet import UNet, presets\n"
            "import npunet.engine.runtime.engine, npunet.train.engine_step\n"
            "from npunet.engine.plan.program import compile_program\n"
            "d = presets.load('ecg'); m = UNet(d, tuple(d['input_shape']), d['num_classes'])\n"
            "compile_program(m.graph, m.weights); print({'numba', 'llvmlite'} & set(sys.modules))")
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100, cwd=ROOT)
    assert (result.stdout, result.stderr) == ("set()\n", "")


def test_machines_are_told_apart_in_one_place():
    """What kind of machine it is, is asked of LLVM in target.py alone."""
    told = [name for name, path in MODULES.items() if "magic_tuple" in path.read_text()]
    assert told == ["engine.target"]


MACHINES = {
    ("x86_64-unknown-linux-gnu", "x86-64", "+sse2,-avx,-avx2"): "sse2",
    ("x86_64-unknown-linux-gnu", "znver3", "+avx,+avx2,+fma,-avx512f"): "avx2",
    ("x86_64-pc-windows-msvc", "znver4", "+avx,+avx2,+avx512f,+avx512vl"): "avx512",
    ("x86_64-unknown-linux-gnu", "znver5", "+avx,+avx2,+avx512f,+avx512vl"): "avx512-two-fma",
    ("x86_64-unknown-linux-gnu", "knl", "+avx,+avx2,+avx512f,-avx512vl"): "avx2",
    ("aarch64-unknown-linux-gnu", "cortex-a72", "+neon"): "neon",
    ("arm64-apple-macosx", "apple-m1", ""): "neon",
    ("riscv64-unknown-linux-gnu", "generic-rv64", "+v"): "sse2",
}


@pytest.mark.parametrize("machine", MACHINES)
def test_which_target_a_machine_is(machine):
    from npunet.engine.target import target_of

    assert target_of(*machine).name == MACHINES[machine]


def test_rows_are_cut_into_register_tiles_that_exist():
    """For every number of positions and of vectors: the tiles cover them, and each has a micro-kernel in the target."""
    pytest.importorskip("numba")
    from npunet.engine.kernels import convolution
    from npunet.engine.plan.pack import blocks_of
    from npunet.engine.target import AVX2, AVX512, AVX512_TWO_FMA, shapes_of
    from npunet.engine.training.kernels.convolution_rows import LARGER_AND_SMALLER
    from npunet.engine.training.kernels.convolution_rows import cut as step_cut

    for count in range(1, 200):
        for block in {b for vectors in range(1, 12) for b in blocks_of(vectors)} | {4}:
            for cut, target in ((convolution.wider_cut, AVX512_TWO_FMA), (convolution.wide_cut, AVX512),
                                (convolution.even_cut, AVX2)):
                if block not in dict(target.convolution):
                    continue
                tiles = [(rows, number) for rows, number in cut.py_func(count, block) if number > 0]
                assert sum(rows * number for rows, number in tiles) == count
                assert {(rows, block) for rows, _ in tiles} <= set(shapes_of(target.convolution)), (count, block)
            if block < 4:
                larger, smaller = LARGER_AND_SMALLER[block - 1]
                many, few = step_cut.py_func(count, larger, smaller)
                used = {larger: many, smaller: few, 1: count - many * larger - few * smaller}
                assert used[1] >= 0
                assert {(rows, block) for rows, number in used.items() if number} <= set(
                    shapes_of(AVX2.step_convolution))

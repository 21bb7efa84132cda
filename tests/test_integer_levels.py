"""The same integers whatever the CPU: the integer engine compiled for other feature levels."""

import integer_digest
import pytest
from test_engine_levels import AVX2, HERE, LEVELS, THOROUGH, cpu_has, kept, run_elsewhere

from npunet.integer import run

pytest.importorskip("numba")
CASES = {  # level, what is asked of the target, what it then says of itself, the feature that a machine needs to run it
    "SSE2": ("baseline", [], ["sse2", "pmaddwd", "pairs"], "sse2"),
    "portable": ("avx2", ["without"], ["avx2", "none", "pairs"], "avx2"),
    "AVX2": ("avx2", [], ["avx2", "pmaddwd", "pairs"], "avx2"),
    "bytes": ("avx2", ["bytes"], ["avx2", "pmaddwd", "plain"], "avx2"),
    "32 registers": ("avx2", ["wide"], ["avx512-two-fma", "none", "pairs"], "avx2"),
    "bytes in 32 registers": ("avx2", ["wide", "bytes"], ["avx512-two-fma", "none", "plain"], "avx2"),
    "AVX-512 without VNNI": ("avx512", [], ["avx512-two-fma", "pmaddwd", "pairs"], "avx512bw"),
}


CI = ("SSE2", "bytes", "AVX-512 without VNNI")  # the others are what most machines compile anyway, or take as long


@pytest.mark.parametrize("case", [pytest.param(case, marks=pytest.mark.slow if case in CI else THOROUGH)
                                  for case in CASES])
def test_every_level(case, request):
    level, how, told, feature = CASES[case]
    if not cpu_has(feature):
        pytest.skip(f"this CPU has no {feature}")
    name, features = LEVELS[level]
    out, _ = run_elsewhere([str(HERE / "integer_digest.py"), *how], kept(request, f"integer-{case.replace(' ', '-')}"),
                           NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES=features)
    assert out.split() == [integer_digest.digest(run.infer), *told]


TARGETS = {
    ("x86_64-unknown-linux-gnu", "sandybridge", "+sse2,+avx"): ("avx2", "", ""),
    ("x86_64-unknown-linux-gnu", "haswell", "+sse2,+avx,+avx2"): ("avx2", "pmaddwd", ""),
    ("x86_64-unknown-linux-gnu", "skx", "+avx,+avx2,+avx512f,+avx512vl,+avx512bw"): ("avx512-two-fma", "pmaddwd", ""),
    ("x86_64-unknown-linux-gnu", "znver4", "+avx2,+avx512f,+avx512vl,+avx512bw,+avx512vnni"):
        ("avx512", "vpdpwssd", "vpdpbusd"),
    ("x86_64-unknown-linux-gnu", "alderlake", "+sse2,+avx,+avx2,+avxvnni"): ("avx2", "vpdpwssd", "vpdpbusd"),
    ("x86_64-unknown-linux-gnu", "x86-64", "+sse2"): ("sse2", "pmaddwd", ""),
    ("aarch64-unknown-linux-gnu", "cortex-a72", "+neon"): ("neon", "", ""),
    ("riscv64-unknown-linux-gnu", "generic-rv64", "+v"): ("sse2", "", ""),
}


@pytest.mark.parametrize("machine", TARGETS)
def test_which_dot_product_a_machine_has(machine):
    from npunet.engine.target import target_of

    target = target_of(*machine)
    assert (target.name, target.dot, target.byte_dot) == TARGETS[machine]


KERNEL = """
from numba import types
from npunet.engine.codegen import jit
from npunet.engine.integer.kernels.dot_tile import byte_row, pair_row
def lines_of(row, name):
    @jit.jit
    def kernel(count, vectors, x, x_step, w, words, kh, kw, tap_row, tap_col, bias, sums, plane, doublings):
        row(count, vectors, x, x_step, w, words, kh, kw, tap_row, tap_col, bias, sums, plane, doublings)
    text = jit.compiled(kernel, (types.int64,) * 14).library.get_asm_str()
    return [line for line in text.splitlines() if name in line]
pairs, bytes = lines_of(pair_row, "vpdpwssd"), lines_of(byte_row, "vpdpbusd")
print(len(pairs) > 50, len(bytes) > 50, any("zmm" in line for line in pairs), any("zmm" in line for line in bytes))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("cpu", "more", "wide"), [("znver4", "+avx512f,+avx512vl,+avx512bw,+avx512vnni", True),
                                                   ("alderlake", "+avxvnni", False)])
def test_vnni_is_used_where_it_is(cpu, more, wide, tmp_path):
    """In what is compiled for such machines: the same sums as what LLVM makes of them, which the tests above hold."""
    out, _ = run_elsewhere(["-c", KERNEL], tmp_path, NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES=f"{AVX2},{more}")
    assert out.split() == ["True", "True", str(wide), str(wide)]

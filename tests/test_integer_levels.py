"""The same integers whatever the CPU: the integer engine compiled for other feature levels."""

import integer_digest
import pytest
from test_engine_levels import AVX2, HERE, LEVELS, THOROUGH, cpu_has, kept, run_elsewhere

from npunet.integer import run

pytest.importorskip("numba")
CASES = {  # level, what is asked of the target, what it then says of itself, the feature that a machine needs to run it
    "SSE2": ("baseline", [], ["sse2", "pmaddwd"], "sse2"),
    "portable": ("avx2", ["without"], ["avx2", "none"], "avx2"),
    "AVX2": ("avx2", [], ["avx2", "pmaddwd"], "avx2"),
    "AVX-512 without VNNI": ("avx512", [], ["avx512-two-fma", "pmaddwd"], "avx512bw"),
}


@THOROUGH
@pytest.mark.parametrize("case", CASES)
def test_every_level(case, request):
    level, how, told, feature = CASES[case]
    if not cpu_has(feature):
        pytest.skip(f"this CPU has no {feature}")
    name, features = LEVELS[level]
    out, _ = run_elsewhere([str(HERE / "integer_digest.py"), *how], kept(request, f"integer-{case.replace(' ', '-')}"),
                           NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES=features)
    assert out.split() == [integer_digest.digest(run.infer), *told]


TARGETS = {
    ("x86_64-unknown-linux-gnu", "sandybridge", "+sse2,+avx"): ("avx2", ""),
    ("x86_64-unknown-linux-gnu", "haswell", "+sse2,+avx,+avx2"): ("avx2", "pmaddwd"),
    ("x86_64-unknown-linux-gnu", "skx", "+avx,+avx2,+avx512f,+avx512vl,+avx512bw"): ("avx512-two-fma", "pmaddwd"),
    ("x86_64-unknown-linux-gnu", "znver4", "+avx2,+avx512f,+avx512vl,+avx512bw,+avx512vnni"): ("avx512", "vpdpwssd"),
    ("x86_64-unknown-linux-gnu", "alderlake", "+sse2,+avx,+avx2,+avxvnni"): ("avx2", "vpdpwssd"),
    ("x86_64-unknown-linux-gnu", "x86-64", "+sse2"): ("sse2", "pmaddwd"),
    ("aarch64-unknown-linux-gnu", "cortex-a72", "+neon"): ("neon", ""),
    ("riscv64-unknown-linux-gnu", "generic-rv64", "+v"): ("sse2", ""),
}


@pytest.mark.parametrize("machine", TARGETS)
def test_which_dot_product_a_machine_has(machine):
    from npunet.engine.target import target_of

    target = target_of(*machine)
    assert (target.name, target.dot) == TARGETS[machine]


KERNEL = """
from numba import types
from npunet.engine.codegen import jit
from npunet.engine.integer.kernels.dot_tile import dot_row
@jit.jit
def kernel(count, vectors, x, x_step, w, pairs, kh, kw, tap_row, tap_col, bias, sums, plane):
    dot_row(0, count, vectors, x, x_step, w, pairs, kh, kw, tap_row, tap_col, bias, sums, plane)
text = jit.compiled(kernel, (types.int64,) * 13).library.get_asm_str()
print(text.count("vpdpwssd") > 50, "zmm" in text)
"""


@THOROUGH
@pytest.mark.parametrize(("cpu", "more", "wide"), [("znver4", "+avx512f,+avx512vl,+avx512bw,+avx512vnni", True),
                                                   ("alderlake", "+avxvnni", False)])
def test_vnni_is_used_where_it_is(cpu, more, wide, tmp_path):
    """In what is compiled for such machines: the same sums as pmaddwd and an addition, which every test here holds."""
    out, _ = run_elsewhere(["-c", KERNEL], tmp_path, NUMBA_CPU_NAME=cpu, NUMBA_CPU_FEATURES=f"{AVX2},{more}")
    assert out.split() == ["True", str(wide)]

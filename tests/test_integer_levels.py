"""The same integers whatever the CPU: the integer engine compiled for other feature levels."""

import integer_digest
import pytest
from test_engine_levels import HERE, LEVELS, THOROUGH, cpu_has, kept, run_elsewhere

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
    ("x86_64-unknown-linux-gnu", "x86-64", "+sse2"): ("sse2", "pmaddwd"),
    ("aarch64-unknown-linux-gnu", "cortex-a72", "+neon"): ("neon", ""),
    ("riscv64-unknown-linux-gnu", "generic-rv64", "+v"): ("sse2", ""),
}


@pytest.mark.parametrize("machine", TARGETS)
def test_which_dot_product_a_machine_has(machine):
    from npunet.engine.target import target_of

    target = target_of(*machine)
    assert (target.name, target.dot) == TARGETS[machine]

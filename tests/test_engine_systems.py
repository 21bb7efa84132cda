"""The engine's module for other systems: what its object code would need from Linux on Arm, macOS and Windows.

Numba lowers the interpreter for this machine; its LLVM module, made with the register tiles of the other machine's
target, is emitted for the other triple and the object's undefined symbols are read.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")
PLAIN = {"memcpy", "memset", "memmove", "bzero", "fmaf", "rintf", "sqrt"}  # all exact: IEEE 754 leaves them no choice
GIVEN = PLAIN | {f"_{name}" for name in PLAIN} | {"__chkstk", "_fltused"}  # C library and compiler runtime
SYSTEMS = {"x86_64-pc-windows-msvc": "sse2", "arm64-apple-macosx": "neon", "aarch64-unknown-linux-gnu": "neon"}
CODE = """
import sys
from npunet.engine import target
chosen = next(each for each in target.TARGETS if each.name == sys.argv[1])
target.this_target = lambda: chosen
from npunet.engine.codegen import jit
if sys.argv[2] == "float":
    from npunet.engine.kernels.compile import PARAMETERS, interpreter
    entry = interpreter("seq_fma")
else:
    from npunet.engine.integer.kernels.compile import PARAMETERS, interpreter
    entry = interpreter()
import llvmlite.binding as llvm
llvm.initialize_all_targets(); llvm.initialize_all_asmprinters()
text = jit.module_of(entry, PARAMETERS)
for triple in sys.argv[3:]:
    machine = llvm.Target.from_triple(triple).create_target_machine(opt=0)
    module = llvm.parse_assembly(text)
    module.triple, module.data_layout = triple, str(machine.target_data)
    open(triple + ".o", "wb").write(machine.emit_object(module))
"""


@pytest.mark.skipif("NPUNET_THOROUGH" not in os.environ, reason="compiles the engine twice: set NPUNET_THOROUGH=1")
@pytest.mark.parametrize("numbers", ["float", "integer"])
@pytest.mark.parametrize("target", sorted(set(SYSTEMS.values())))
def test_nothing_is_undefined_but_what_each_system_gives(target, numbers, tmp_path):
    triples = [triple for triple, name in SYSTEMS.items() if name == target]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "NUMBA_OPT": "1"}
    command = [sys.executable, "-c", CODE, target, numbers, *triples]
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, timeout=500)
    for triple in triples:
        needed = undefined((tmp_path / f"{triple}.o").read_bytes())
        assert needed <= GIVEN, f"{triple}: {sorted(needed - GIVEN)}"


def undefined(code):
    """Names that an ELF, Mach-O or COFF object needs, by LLVM's own reader."""
    nm = next((name for name in ("llvm-nm", "nm") if has(name)), None)
    if nm is None:
        pytest.skip("no llvm-nm here")
    found = subprocess.run([nm, "-u", "-"], input=code, capture_output=True, timeout=60)
    if found.returncode:
        pytest.skip(f"{nm} cannot read this object: {found.stderr.decode()[:80]}")
    return {line.split()[-1] for line in found.stdout.decode().splitlines() if line.strip() and not line.endswith(":")}


def has(name):
    from shutil import which

    return which(name) is not None

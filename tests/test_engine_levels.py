"""The same bits whatever the CPU: the engine compiled for other feature levels, and kept on disk or not."""

import os
import subprocess
import sys
from pathlib import Path

import engine_digest
import pytest

pytest.importorskip("numba")
HERE = Path(__file__).parent
# Compiling for one level takes 20 to 60 s of a core: CI does some of them apart from the others, releases do all.
THOROUGH = pytest.mark.skipif("NPUNET_THOROUGH" not in os.environ,
                              reason="compiles the engine anew, up to a minute: set NPUNET_THOROUGH=1")
AVX2 = "+avx,+avx2,+fma,+bmi,+bmi2"
LEVELS = {  # what LLVM is told of the CPU: a name alone says nothing to the engine of what registers there are
    "baseline": ("x86-64", ""),  # SSE2: no FMA instruction, vectors of four
    "avx2": ("haswell", AVX2),
    "avx512": ("skylake-avx512", f"{AVX2},+avx512f,+avx512vl,+avx512bw,+avx512dq"),
}


def cpu_has(feature):
    """Whether this machine can run code for a feature; false where it does not say."""
    try:
        return f" {feature} " in Path("/proc/cpuinfo").read_text().replace("\n", " ")
    except OSError:
        return False


def run_elsewhere(code, cache, **environment):
    """Standard output and standard error of a fresh Python with its own compiled code."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    clean |= {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent)])}
    result = subprocess.run([sys.executable, *code], env=clean | environment, timeout=400, capture_output=True,
                            text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout, result.stderr


def kept(request, name):
    """A folder for compiled code that lives as long as pytest's cache, so that a second run is quick."""
    return request.config.cache.mkdir(f"numba-{name}")


def check_level(request, level, arithmetics):
    name, features = LEVELS[level]
    out, _ = run_elsewhere([str(HERE / "engine_digest.py"), *arithmetics], kept(request, level), NUMBA_CPU_NAME=name,
                           NUMBA_CPU_FEATURES=features)
    assert out.split() == [engine_digest.digest(arithmetics), name]


@THOROUGH
@pytest.mark.skipif(not cpu_has("sse2"), reason="not an x86 machine")
def test_without_fma_and_avx(request):
    check_level(request, "baseline", ["seq_fma", "winograd"])


@THOROUGH
@pytest.mark.skipif(not cpu_has("fma"), reason="this CPU has no FMA instruction")
def test_kernels_for_two_units(request):
    """Those of a machine with two 512-bit FMA units, whatever this one has."""
    out, _ = run_elsewhere([str(HERE / "engine_digest.py"), "two-fma", "seq_fma"], kept(request, "two-fma"),
                           NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=AVX2)
    assert out.split()[0] == engine_digest.digest(["seq_fma"])


@THOROUGH
@pytest.mark.parametrize(("level", "feature"), [("baseline", "sse2"), ("avx2", "fma"), ("avx512", "avx512f")])
def test_every_level_in_every_arithmetic(level, feature, request):
    if not cpu_has(feature):
        pytest.skip(f"this CPU has no {feature}")
    check_level(request, level, ["seq", "seq_fma", "winograd"])


@THOROUGH
@pytest.mark.parametrize(("level", "feature"), [("baseline", "sse2"), ("avx2", "fma"), ("avx512", "avx512f")])
def test_fifty_training_steps_at_every_level(level, feature, request):
    import test_engine_step as steps

    if not cpu_has(feature):
        pytest.skip(f"this CPU has no {feature}")
    code = "import test_engine_step as t; print(t.train(1, t.SGD(momentum=0.9)))"
    name, features = LEVELS[level]
    out, _ = run_elsewhere(["-c", code], kept(request, f"training-{level}"), NUMBA_CPU_NAME=name,
                           NUMBA_CPU_FEATURES=features)
    assert out.strip() == str(steps.train(2, steps.SGD(momentum=0.9)))


UNWRITABLE = {
    "under a file": lambda tmp_path: Path(__file__) / "cache",
    "in /proc": lambda tmp_path: Path("/proc/no-such-folder"),
    "read-only": lambda tmp_path: read_only(tmp_path / "cache"),
}
SMALL = """
import sys
import numpy as np
from pathlib import Path
from npunet.engine.runtime.native import Entry
values = np.arange(6.0, dtype=np.float32).reshape(2, 3)
double = Entry("small_entry", "double", [str(Path(__file__).parent / "small_entry.py")])
double()(values, 2)
assert values.tolist() == [[0, 2, 4], [6, 8, 10]], values
print("found" if double().found else "compiled", double().path, "numba" in sys.modules)
"""
SMALL_ENTRY = """
from numba import types
from npunet.engine.codegen import jit
def compile_entry(name):
    @jit.jit
    def multiply(x, factor):
        for row in range(x.shape[0]):
            for column in range(x.shape[1]):
                x[row, column] *= factor
    return jit.compile_entry(multiply, (types.Array(types.float32, 2, "C"), types.int64))
"""

# Runs a script where there is no place for compiled code.
NOWHERE = """
import runpy, sys
from npunet.engine.runtime import native
native.folders = lambda: iter(())
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rpartition("/")[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def read_only(folder):
    folder.mkdir()
    folder.chmod(0o500)
    return folder


@pytest.fixture
def script(tmp_path):
    """A script that runs an Entry; prints whether it was found, where it is kept, and whether Numba was imported."""
    path = tmp_path / "small.py"
    path.write_text(SMALL)
    (tmp_path / "small_entry.py").write_text(SMALL_ENTRY + f"# {tmp_path}: known to no cache")
    return str(path)


@pytest.mark.parametrize("where", UNWRITABLE)
def test_a_cache_folder_that_cannot_be_written(where, script, tmp_path):
    """It is then kept beside the source, or in the user's cache folder."""
    home = tmp_path / "home"
    out, _ = run_elsewhere([script], UNWRITABLE[where](tmp_path), XDG_CACHE_HOME=str(home))
    kept = Path(out.split()[1])
    assert out.startswith("compiled") and kept.parent in (HERE.parent / "npunet" / "engine" / "__pycache__",
                                                          tmp_path / "cache", home / "npunet")
    kept.unlink()


def test_no_folder_can_be_written(script, tmp_path):
    for _ in range(2):
        assert run_elsewhere(["-c", NOWHERE, script], tmp_path / "cache")[0] == "compiled None True\n"
    assert not list(tmp_path.rglob("*.o"))


def test_a_cache_folder_that_is_missing_is_made_and_numba_not_imported_again(script, tmp_path):
    cache = tmp_path / "not" / "yet"
    said = [run_elsewhere([script], cache)[0].split() for _ in range(2)]
    assert [(words[0], words[2]) for words in said] == [("compiled", "True"), ("found", "False")]
    assert said[0][1] == said[1][1] == str(next(cache.iterdir()))


@pytest.mark.parametrize("damage", [b"", b"not compiled code", b"npunet object code 1\nno\nhash\n", "a byte", None])
def test_damaged_files_in_the_cache(damage, script, tmp_path):
    """What was cut short, changed or is gone is compiled again."""
    cache = tmp_path / "cache"
    run_elsewhere([script], cache)
    (path,) = cache.iterdir()
    if damage is None:
        path.unlink()
    else:
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]) if damage == "a byte" else damage)
    assert [run_elsewhere([script], cache)[0].split()[0] for _ in range(2)] == ["compiled", "found"]


@pytest.mark.parametrize("change", ["a source", "the CPU", "the compiler's settings"])
def test_what_machine_code_depends_on_is_part_of_its_name(change, script, tmp_path):
    cache, settings = tmp_path / "cache", {}
    run_elsewhere([script], cache)
    if change == "a source":
        (tmp_path / "small_entry.py").write_text(SMALL_ENTRY + "# changed")
    elif change == "the CPU":
        settings = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    else:
        settings = {"NUMBA_OPT": "1"}
    assert run_elsewhere([script], cache, **settings)[0].startswith("compiled")
    assert len(list(cache.iterdir())) == 2


@THOROUGH
def test_the_whole_engine_without_a_cache(tmp_path):
    out, err = run_elsewhere(["-c", NOWHERE, str(HERE / "engine_digest.py"), "seq_fma"], tmp_path)
    assert out.split()[0] == engine_digest.digest(["seq_fma"])
    assert "compiling the engine" in err


def test_the_digest_tells_arithmetics_apart():
    assert len({engine_digest.digest([name]) for name in ("seq", "seq_fma", "winograd")}) == 3


def test_the_warmup_verb(capsys, monkeypatch):
    from npunet import cli
    from npunet.cli import warmup

    assert cli.main(["warmup", "--for", "predict", "--arithmetic", "seq_fma", "seq_fma"]) == 0
    out = capsys.readouterr().out
    assert out.count("seq_fma in ") == 1 and "kept in  " in out and "MB; NUMBA_CACHE_DIR" in out
    monkeypatch.setattr(warmup, "engine_installed", lambda: False)
    assert cli.main(["warmup"]) == 2
    assert "pip install numba" in capsys.readouterr().err
    assert warmup.kept_in(None).startswith("nowhere: no folder can be written to")


BROKEN = """
import sys, warnings
import numpy as np
from npunet import presets, UNet
from npunet.engine.runtime import object_code
from npunet.engine.runtime.entry_points import SEQ_FMA
import llvmlite.binding as llvm
llvm.initialize_native_target(); llvm.initialize_native_asmprinter()
triple = llvm.get_process_triple()
machine = llvm.Target.from_triple(triple).create_target_machine()
code = machine.emit_object(llvm.parse_assembly('''
declare i32 @no_system_has_this()
define i32 @entry(ptr %a, ptr %b, ptr %c) {
  %r = call i32 @no_system_has_this()
  ret i32 %r
}'''))
made = object_code.ObjectCode(code, "entry", triple if sys.argv[2] == "symbol" else "z80-nobody-none")
from pathlib import Path
object_code.write(Path(sys.argv[1]) / SEQ_FMA._file_name(), made)
d = presets.load("tiny")
model = UNet(d, tuple(d["input_shape"]), d["num_classes"])
x = np.ones((1, *d["input_shape"]), np.float32)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    same = [np.array_equal(model.predict(x), model.predict(x, backend="numpy")) for _ in range(2)]
try:
    model.predict(x, backend="engine")
except ImportError as error:
    print(same, len(told), told[0].category.__name__, told[0].message, "|", error)
"""


@pytest.mark.parametrize(("what", "said"), [("symbol", "no_system_has_this"), ("triple", "z80-nobody-none")])
def test_code_that_cannot_be_linked_or_loaded_gives_way_to_numpy(what, said, tmp_path):
    """One warning, NumPy's results, and no end of the process."""
    (tmp_path / "cache").mkdir()
    out, _ = run_elsewhere(["-c", BROKEN, str(tmp_path / "cache"), what], tmp_path / "cache")
    assert out.startswith("[True, True] 1 RuntimeWarning the engine could not be compiled or loaded") and said in out
    assert out.count("npunet goes on with NumPy") == 1

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
LEVELS = {
    "baseline": ("x86-64", ""),                                   # SSE2: no FMA instruction, vectors of four
    "avx2": ("haswell", None),
    "avx512": ("skylake-avx512", None),
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
    environment = {"NUMBA_CPU_NAME": name} | ({} if features is None else {"NUMBA_CPU_FEATURES": features})
    out, _ = run_elsewhere([str(HERE / "engine_digest.py"), *arithmetics], kept(request, level), **environment)
    assert out.split() == [engine_digest.digest(arithmetics), name]


@THOROUGH
@pytest.mark.skipif(not cpu_has("sse2"), reason="not an x86 machine")
def test_without_fma_and_avx(request):
    check_level(request, "baseline", ["seq_fma", "winograd"])


@THOROUGH
@pytest.mark.parametrize(("level", "feature"), [("baseline", "sse2"), ("avx2", "fma"), ("avx512", "avx512f")])
def test_every_level_in_every_arithmetic(level, feature, request):
    if not cpu_has(feature):
        pytest.skip(f"this CPU has no {feature}")
    check_level(request, level, ["seq", "seq_fma", "winograd"])


@THOROUGH
@pytest.mark.skipif(not cpu_has("sse2"), reason="not an x86 machine")
def test_fifty_training_steps_without_fma_and_avx(request):
    import test_engine_step as steps

    code = "import test_engine_step as t; print(t.train(1, t.SGD(momentum=0.9)))"
    name, features = LEVELS["baseline"]
    out, _ = run_elsewhere(["-c", code], kept(request, "training"), NUMBA_CPU_NAME=name, NUMBA_CPU_FEATURES=features)
    assert out.strip() == str(steps.train(2, steps.SGD(momentum=0.9)))


UNWRITABLE = {
    "under a file": lambda tmp_path: Path(__file__) / "cache",
    "in /proc": lambda tmp_path: Path("/proc/no-such-folder"),
    "read-only": lambda tmp_path: read_only(tmp_path / "cache"),
}
SMALL = """
import sys
import numpy as np
from numba import types
from npunet.engine import jit
def double(x):
    for i in range(len(x)):
        x[i] *= 2
compiled = jit.compile_now(double, types.void(types.float32[::1]))
x = np.ones(3, np.float32)
compiled(x)
assert (x == 2).all()
print(sum(compiled.stats.cache_hits.values()))
"""

# Runs a script where Numba finds no place for compiled code.
NOWHERE = """
import runpy, sys
from numba.core.dispatcher import Dispatcher
def refuse(self):
    raise RuntimeError("cannot cache function: no locator available")
Dispatcher.enable_caching = refuse
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def read_only(folder):
    folder.mkdir()
    folder.chmod(0o500)
    return folder


@pytest.fixture
def script(tmp_path):
    """A file whose function jit.compile_now compiles; prints how often it came from disk."""
    path = tmp_path / "small.py"
    path.write_text(SMALL)
    return str(path)


@pytest.mark.parametrize("where", UNWRITABLE)
def test_a_cache_folder_that_cannot_be_written(where, script, tmp_path):
    """Numba then looks beside the source."""
    out, err = run_elsewhere([script], UNWRITABLE[where](tmp_path))
    assert out == "0\n", err


def test_no_folder_can_be_written(script, tmp_path):
    for _ in range(2):
        assert run_elsewhere(["-c", NOWHERE, script], tmp_path / "cache")[0] == "0\n"
    assert not list(tmp_path.rglob("*.nbc"))


def test_a_cache_folder_that_is_missing_is_made(script, tmp_path):
    cache = tmp_path / "not" / "yet"
    assert [run_elsewhere([script], cache)[0] for _ in range(2)] == ["0\n", "1\n"]
    assert list(cache.rglob("*.nbc"))


@pytest.mark.parametrize("damage", [b"", b"not compiled code", None])
def test_damaged_files_in_the_cache(damage, script, tmp_path):
    """What was cut short or is gone is compiled again."""
    cache = tmp_path / "cache"
    run_elsewhere([script], cache)
    for path in cache.rglob("*.nbc"):
        path.unlink() if damage is None else path.write_bytes(damage)
    assert run_elsewhere([script], cache)[0] == "0\n"
    assert run_elsewhere([script], cache)[0] == "1\n"


@THOROUGH
def test_the_whole_engine_without_a_cache(tmp_path):
    out, err = run_elsewhere(["-c", NOWHERE, str(HERE / "engine_digest.py"), "seq_fma"], tmp_path)
    assert out.split()[0] == engine_digest.digest(["seq_fma"])
    assert "compiling the engine" in err


def test_the_digest_tells_arithmetics_apart():
    assert len({engine_digest.digest([name]) for name in ("seq", "seq_fma", "winograd")}) == 3


def test_the_warmup_verb(capsys, monkeypatch):
    from numba import njit

    from npunet import cli
    from npunet.cli import warmup

    assert cli.main(["warmup", "--arithmetic", "seq_fma", "seq_fma"]) == 0
    out = capsys.readouterr().out
    assert out.count("seq_fma in ") == 1 and "kept in  " in out and "MB; NUMBA_CACHE_DIR" in out
    monkeypatch.setattr(warmup, "engine_installed", lambda: False)
    assert cli.main(["warmup"]) == 2
    assert "pip install numba" in capsys.readouterr().err
    assert warmup.kept_in(njit(lambda x: x)).startswith("nowhere: no folder can be written to")

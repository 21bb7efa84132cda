"""Weights that change while another thread predicts, engines that are let go, object files of others."""

import hashlib
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from npunet import UNet
from npunet.engine.runtime import cache, object_code
from npunet.engine.runtime.installed import engine_installed

BLOCK = {"filters": 16, "kernel": (1, 3), "pool": (1, 2), "strides": (1, 2), "depth": 2}
PARAMS = {"blocks": [BLOCK], "output_kernel_size": (1, 3)}
posix = pytest.mark.skipif(os.name == "nt", reason="rights of another kind")


def backends():
    return ["numpy", "engine"] if engine_installed() else ["numpy"]


@pytest.mark.parametrize("backend", backends())
def test_a_prediction_uses_one_whole_set_of_weights(backend, rng):
    model, x = UNet(PARAMS, (64, 1), 3), rng.normal(size=(1, 64, 1)).astype(np.float32)
    sets = [{name: rng.uniform(0.1, 0.2, w.shape).astype(w.dtype) for name, w in model.weights.items()}
            for _ in range(3)]
    known = set()
    for weights in sets:
        model.weights = weights
        known.add(model.predict(x, backend=backend).tobytes())
    assert len(known) == 3
    done, before = threading.Event(), sys.getswitchinterval()

    def change():
        number = 0
        while not done.is_set():
            model.weights = sets[number % 3]
            number += 1

    thread = threading.Thread(target=change)
    sys.setswitchinterval(1e-5)
    try:
        thread.start()
        found = {model.predict(x, backend=backend).tobytes() for _ in range(300)}
    finally:
        done.set()
        thread.join()
        sys.setswitchinterval(before)
    assert found <= known, "a mixture of two sets"


def test_an_update_that_cannot_be_made_changes_nothing():
    weights = UNet(PARAMS, (64, 1), 3).weights
    before, names = weights.block.copy(), list(weights)
    for wrong in ({names[0]: weights.read_only[names[0]] + 1, "nowhere": np.zeros(1)},
                  {names[0]: weights.read_only[names[0]] + 1, names[1]: np.zeros((7, 7))}):
        with pytest.raises((KeyError, ValueError)):
            weights.update(wrong)
        assert np.array_equal(weights.block, before) and weights.stamp == 0
    taken = weights.snapshot()
    weights[names[0]] = weights.read_only[names[0]] + 1
    assert np.array_equal(taken.block, before) and not np.array_equal(weights.block, before)


def test_engines_are_bounded_by_bytes_and_can_be_let_go(monkeypatch):
    pytest.importorskip("numba")
    model = UNet({"blocks": [{"filters": 4}]}, (None, None, 1), 3)
    for size in (8, 16, 32):
        model.predict(np.zeros((1, size, size, 1), np.float32), backend="engine")
    kept = model._engines.kept
    sizes = [engine.nbytes for engine in kept.values()]
    assert len(kept) == 3 and sizes == sorted(sizes)
    arena = next(iter(kept.values())).idle[0].arguments[2]
    assert abs(next(iter(kept.values())).arena_bytes - arena.nbytes) == 0
    monkeypatch.setattr(cache, "BYTES_KEPT", sum(sizes))
    model.predict(np.zeros((1, 8, 16, 1), np.float32), backend="engine")
    assert sum(engine.nbytes for engine in kept.values()) <= sum(sizes) and list(kept)[-1][0] == (8, 16, 1)
    monkeypatch.setattr(cache, "BYTES_KEPT", 1)
    y = model.predict(np.zeros((1, 24, 16, 1), np.float32), backend="engine")
    assert [key[0] for key in kept] == [(24, 16, 1)], "the newest stays, however large"
    model.release()
    assert not kept
    assert np.array_equal(model.predict(np.zeros((1, 24, 16, 1), np.float32), backend="engine"), y)


@posix
def test_an_object_file_that_another_may_have_written_is_not_loaded(tmp_path, monkeypatch):
    path, made = tmp_path / "f.o", object_code.ObjectCode(b"code", "symbol", "triple")
    umask = os.umask(0)
    try:
        object_code.write(path, made)
    finally:
        os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o644, "not even where new files are open to all"
    assert object_code.read(path) == made
    for mode in (0o646, 0o664):
        path.chmod(mode)
        assert object_code.read(path) is None
    path.chmod(0o600)
    assert object_code.read(path) == made
    found = list(path.stat())
    ours = os.stat(object_code.__file__).st_uid
    for owner, trusted in ((os.geteuid(), True), (0, True), (ours, True), (54321, False)):
        found[4] = owner
        assert object_code.is_trusted(os.stat_result(found)) is trusted
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert object_code.read(path) is None
    content = b"no lines"
    path.write_bytes(object_code.MAGIC + hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    assert object_code.read(path) is None


@posix
def test_a_cache_folder_alone_suffices_without_a_home(tmp_path):
    script = ("import pwd\ndef none(*_):\n    raise KeyError('no such user')\npwd.getpwuid = none\n"
              "from npunet.engine.runtime.native import folders\nprint(*folders(), sep='\\n')\n")
    clean = {"PYTHONPATH": str(Path(object_code.__file__).parents[3]), "PATH": os.environ.get("PATH", "")}
    for chosen in ({}, {"NUMBA_CACHE_DIR": str(tmp_path)}):
        out = subprocess.run([sys.executable, "-c", script], env={**clean, **chosen}, check=True, capture_output=True,
                             text=True, timeout=60).stdout.splitlines()
        assert len(out) == 1 + len(chosen) and (not chosen or out[0] == str(tmp_path))

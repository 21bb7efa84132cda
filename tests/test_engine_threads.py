"""Many threads at once, forks, and what is left behind."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from engine_cases import assert_same_bits, batch_for, definition, small, strided

from npunet.engine.runtime import cache
from npunet.engine.runtime import threads as pool_threads

pytest.importorskip("numba")
CHILD_SECONDS = 20
forking = [
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),  # which is what is tested
]


def run_in_fork(job):
    """Run job() in a forked child; its exit status: 0 when it returned true, -SIGALRM when it never returned."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            signal.alarm(CHILD_SECONDS)
            status = 0 if job() else 3
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def test_eight_threads_predict_at_once_on_one_model(rng, monkeypatch):
    """Sizes come and go, so that engines are made and dropped under the others' feet; threads share every call."""
    monkeypatch.setattr("npunet.engine.runtime.runner.WORTH_A_THREAD", 1)
    monkeypatch.setattr(cache, "ENGINES_KEPT", 2)
    model = strided()
    batches = [batch_for(model, rng, 1 + n % 3, (2 + 2 * (n % 3), 3 + 3 * (n % 4))) for n in range(12)]
    expected = [definition(model, x, "seq_fma") for x in batches]
    barrier = threading.Barrier(8)

    def work(number):
        barrier.wait()
        for turn in range(24):
            n = (5 * number + turn) % len(batches)
            assert_same_bits(model.predict(batches[n], threads=1 + (number + turn) % 3), expected[n], f"batch {n}")
        return True

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_no_thread_is_left_behind(rng, monkeypatch):
    monkeypatch.setattr("npunet.engine.runtime.runner.WORTH_A_THREAD", 1)
    model = small()
    model.predict(batch_for(model, rng, 8), threads=4)
    before = threading.active_count(), system_threads()
    for count in (1, 8):
        model.predict(batch_for(model, rng, count), threads=4)
    assert threading.active_count() == before[0]
    patience = time.monotonic() + 5  # a thread that has been joined takes a moment to leave the system's books
    while system_threads() > before[1] and time.monotonic() < patience:
        time.sleep(0.001)
    assert system_threads() <= before[1]


def system_threads():
    """Threads of this process as the system counts them; 0 where it does not say."""
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0


def test_an_error_in_a_thread_reaches_the_caller():
    def fail():
        raise RuntimeError("told")

    with pytest.raises(RuntimeError, match="told"):
        pool_threads.in_parallel([lambda: None, fail, lambda: None])
    pool = pool_threads.ThreadPool()
    for _ in range(2):
        with pytest.raises(RuntimeError, match="told"):
            pool.run([lambda: None, fail, lambda: None])
        pool.run([lambda: None, lambda: None])


@pytest.mark.parametrize("kept", [False, True])
def test_no_job_begins_when_a_thread_cannot_be_started(monkeypatch, kept):
    """One that waits at the barrier for a job that never comes would wait for ever."""
    ran, start, asked = [], threading.Thread.start, []

    def refused(thread):
        asked.append(thread)
        if len(asked) == 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    run = pool_threads.ThreadPool().run if kept else pool_threads.in_parallel
    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(RuntimeError, match="can't start"):
        run([lambda number=number: ran.append(number) for number in range(4)])
    time.sleep(0.05)
    assert ran == []


def test_a_session_keeps_its_threads_for_a_moment(rng, monkeypatch):
    monkeypatch.setattr("npunet.engine.runtime.runner.WORTH_A_THREAD", 1)
    monkeypatch.setattr(pool_threads, "IDLE_TIMEOUT", 0.3)
    model, others = small(), set(threading.enumerate())
    x = batch_for(model, rng, 5)
    expected, session = model.predict(x), model.compile(batch=5, threads=3)
    for pause in (0, 0, 0.6, 0):                                           # after the third, they have gone
        time.sleep(pause)
        assert_same_bits(session(x), expected)
        mine = set(threading.enumerate()) - others
        assert len(mine) == 2
    for thread in mine:
        thread.join(5)
        assert not thread.is_alive()


class TestFork:
    """A child goes on with the parent's model, whatever the parent was doing."""

    pytestmark = forking

    def test_after_a_prediction(self, rng, monkeypatch):
        monkeypatch.setattr("npunet.engine.runtime.runner.WORTH_A_THREAD", 1)
        model = small()
        x = batch_for(model, rng, 4)
        expected = model.predict(x, threads=3)
        assert run_in_fork(lambda: np.array_equal(model.predict(x, threads=3), expected)) == 0
        assert np.array_equal(model.predict(x, threads=3), expected)

    def test_of_a_session_whose_threads_wait(self, rng, monkeypatch):
        monkeypatch.setattr("npunet.engine.runtime.runner.WORTH_A_THREAD", 1)
        model = small()
        x = batch_for(model, rng, 4)
        session, expected = model.compile(batch=4, threads=3), model.predict(x)
        session(x)
        assert run_in_fork(lambda: np.array_equal(session(x), expected)) == 0
        assert_same_bits(session(x), expected)

    def test_while_another_thread_predicts(self, rng, monkeypatch):
        monkeypatch.setattr(cache, "ENGINES_KEPT", 1)  # engines are made all the time, so forks fall into that too
        model = strided()
        batches = [batch_for(model, rng, 1, (2 * n, 6)) for n in (1, 2, 3)]
        expected = [definition(model, x, "seq_fma") for x in batches]
        model.predict(batches[0])                                          # the kernels are compiled before any fork
        done = threading.Event()

        def keep_busy():
            while not done.is_set():
                for x in batches:
                    model.predict(x, threads=2)

        busy = threading.Thread(target=keep_busy)
        busy.start()
        try:
            for _ in range(12):
                assert run_in_fork(lambda: all(np.array_equal(model.predict(x), y)
                                               for x, y in zip(batches, expected, strict=True))) == 0
        finally:
            done.set()
            busy.join()

    def test_multiprocessing(self, rng):
        model = small()
        batches = [batch_for(model, rng) for _ in range(4)]
        expected = [model.predict(x) for x in batches]
        with multiprocessing.get_context("fork").Pool(2) as pool:
            for got, y in zip(pool.map(model.predict, batches), expected, strict=True):
                assert_same_bits(got, y)


def test_exits_at_once_after_use():
    """A process that has used every thread ends by itself."""
    code = ("import numpy as np\nfrom engine_cases import batch_for, small\nfrom npunet.engine.runtime import runner\n"
            "runner.WORTH_A_THREAD = 1\nmodel = small()\n"
            "x = batch_for(model, np.random.default_rng(0), 8)\n"
            "model.predict(x, threads=8)\nmodel.compile(batch=8, threads=8)(x)\nprint('done')")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, "-c", code], env=environment, timeout=120, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (0, "done\n"), result.stderr

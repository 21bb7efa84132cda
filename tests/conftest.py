"""Fixtures that every test may ask for."""

import os
import subprocess
import sys
from importlib.util import find_spec

import numpy as np
import pytest

from npunet.engine.runtime import first_use
from npunet.verify.diagnose import shelter


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of this test's own, always from the same seed."""
    return np.random.default_rng(20)


@pytest.fixture(autouse=True, scope="session")
def the_engine_from_the_first_prediction_on():
    """So that tests of the engine are that on a machine where it is not compiled yet; test_first_use.py undoes it."""
    allowed, first_use.ALLOWED = first_use.ALLOWED, 0
    yield
    first_use.ALLOWED = allowed


@pytest.fixture(autouse=True, scope="session")
def hypotheses_that_raise_are_seen():
    """A diagnosis leaves out a hypothesis that raises; a test is to fail by it."""
    shelter.RAISES = True
    yield
    shelter.RAISES = False


# The files that take longest; begun first, so that with several workers none works on alone at the end.
LONG = ("test_verify_verdicts.py", "test_engine_step.py", "test_engine_bits.py", "test_verify_orders.py",
        "test_engine_chains.py", "test_operators.py", "test_page_use.py", "test_page.py", "test_verify_causes.py",
        "test_golden_boards.py", "test_golden_c.py", "test_causes.py", "test_verify_outputs.py", "test_verify_ports.py",
        "test_reference.py", "test_integer_engine.py", "test_verify_integer.py", "test_golden_integer.py",
        "test_golden_bundle.py", "test_train_torch.py", "test_engine_levels.py", "test_predict.py", "test_cli.py",
        "test_verify_false_pass.py")
COMPILE = ("from npunet.engine.runtime.entry_points import SEQ, SEQ_FMA; SEQ_FMA(); SEQ()",
           "from npunet.engine.runtime.entry_points import INTEGER, TRAIN; TRAIN(); INTEGER()")


# Left out of a run of everything, since it is to take six minutes on two cores: `pytest -m slow` runs them, as CI does,
# and so does naming their file.
SLOW_FILES = ("test_golden_boards.py", "test_fuzz_files.py", "test_page_use.py", "test_bench.py", "test_causes.py",
              "test_files_kills.py", "test_distributed.py", "test_distributed_arrays.py", "test_distributed_sources.py",
              "test_distributed_property.py", "test_verify_program.py", "test_platforms.py", "test_golden_place.py",
              "test_verify_integer_faults.py", "test_train_quantised.py", "test_fuzz_configurations.py",
              "test_verify_orders.py", "test_checkpoint.py", "test_integer_levels.py", "test_read_fuzz.py",
              "test_train_torch.py", "test_verify_false_pass.py")
EVERYTHING = "NPUNET_TESTS_EVERYTHING"  # "1" while a run names no file, no marker and no words; workers inherit it


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        everything = config.args_source is config.ArgsSource.TESTPATHS and not config.option.markexpr
        chosen = config.option.keyword or "NPUNET_THOROUGH" in os.environ
        os.environ[EVERYTHING] = str(int(everything and not chosen))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Before several workers begin, compile the engine once for all of them."""
    options = session.config.option
    if hasattr(session.config, "workerinput") or not getattr(options, "numprocesses", None) or options.collectonly:
        return
    if find_spec("numba") is not None:
        for each in [subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL) for code in COMPILE]:
            each.wait()


@pytest.hookimpl(tryfirst=True)  # before -m selects
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.name in SLOW_FILES:
            item.add_marker(pytest.mark.slow)
    if os.environ[EVERYTHING] == "1":
        slow = [item for item in items if item.get_closest_marker("slow")]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))

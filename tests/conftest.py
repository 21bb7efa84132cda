"""Fixtures that every test may ask for."""

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of this test's own, always from the same seed."""
    return np.random.default_rng(20)


# The files that take longest; begun first, so that with several workers none works on alone at the end.
LONG = ("test_engine_bits.py", "test_engine_step.py", "test_golden_c.py", "test_verify_outputs.py",
        "test_verify_ports.py", "test_golden_bundle.py", "test_train_torch.py", "test_engine_levels.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))

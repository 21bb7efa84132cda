"""Fixtures that every test may ask for."""

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator of this test's own, always from the same seed."""
    return np.random.default_rng(20)

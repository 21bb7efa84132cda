"""Tensors that live together never share memory, and the block is no larger than it must be on known cases."""

import numpy as np
import pytest

from npunet.arena import Lifetime, place


def test_a_chain_needs_its_two_largest_neighbours():
    arena = place({"a": Lifetime(30, 0, 1), "b": Lifetime(20, 1, 2), "c": Lifetime(25, 2, 3)})
    assert arena.size == 50


def test_a_tensor_reuses_what_is_dead():
    arena = place({"a": Lifetime(8, 0, 1), "b": Lifetime(8, 2, 3)})
    assert arena.offsets == {"a": 0, "b": 0}


@pytest.mark.parametrize("alignment", [1, 16])
def test_lives_that_overlap_are_apart(alignment):
    generator = np.random.default_rng(5)
    for _ in range(50):
        lives = {}
        for number in range(23):
            first = int(generator.integers(0, 30))
            lives[f"t{number}"] = Lifetime(int(generator.integers(1, 99)), first, first + int(generator.integers(0, 9)))
        arena = place(lives, alignment)
        for name, life in lives.items():
            offset = arena.offsets[name]
            assert offset % alignment == 0 and offset + life.size <= arena.size
            for other, rival in lives.items():
                if other != name and life.overlaps(rival):
                    apart = offset + life.size <= arena.offsets[other] or arena.offsets[other] + rival.size <= offset
                    assert apart, (name, other)


def test_nothing_needs_nothing():
    assert place({}).size == 0

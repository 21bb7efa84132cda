"""Who is learnt from and who is only asked: whole subjects, never windows of one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

PARTS = ("train", "validation", "test")


def split_subjects(subjects: Sequence[str], validation: float = 0.1, test: float = 0.25,
                   seed: int = 0) -> dict[str, list[str]]:
    """Deal subjects into three parts that share nobody.

    validation, test : share of the subjects (below 1) or their number; 0 for none
    seed             : the same subjects and seed give the same parts, whatever their order

    Returns {"train": [...], "validation": [...], "test": [...]}, each sorted.
    Raises ValueError when nobody is left to learn from.
    """
    names = sorted(set(subjects))
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names))]
    held, kept = _count(test, len(names), "test_patients"), _count(validation, len(names), "val_patients")
    if held + kept >= len(names):
        raise ValueError(f"of {len(names)} subjects {held} are for testing and {kept} for validation: nobody is left "
                         "to learn from; lower test_patients or val_patients")
    parts = order[held + kept :], order[held : held + kept], order[:held]
    return {part: sorted(chosen) for part, chosen in zip(PARTS, parts, strict=True)}


def _count(share: float, total: int, name: str) -> int:
    if share < 0:
        raise ValueError(f"{name}={share!r} must not be negative")
    return int(share) if share >= 1 else max(1, round(share * total)) if share else 0

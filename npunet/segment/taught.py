"""Which subjects a network has learnt from: scores on them flatter it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Taught:
    """The subjects behind a network, by name.

    data       : where they come from, in words
    train      : those whose labels it learnt
    validation : those that chose the epoch whose weights it has
    """

    data: str
    train: tuple[str, ...]
    validation: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Taught:
        """What to_dict gave. Raises KeyError, TypeError for anything else."""
        return cls(str(description["data"]), *(tuple(map(str, description[part])) for part in ("train", "validation")))

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {"data": self.data, "train": list(self.train), "validation": list(self.validation)}

    def and_then(self, later: Taught) -> Taught:
        """The subjects behind a network that learnt from these and then from others."""
        data = self.data if self.data == later.data else f"{self.data}, then {later.data}"
        train = tuple(dict.fromkeys((*self.train, *later.train)))
        chose = dict.fromkeys((*self.validation, *later.validation))
        return Taught(data, train, tuple(name for name in chose if name not in train))

    def among(self, subjects: Iterable[str]) -> str:
        """What is to be said of scores on these subjects; empty when none of them taught."""
        scored = set(subjects)
        learnt, chose = scored & set(self.train), scored & set(self.validation)
        if not learnt | chose:
            return ""
        who = "the subject scored" if len(scored) == 1 else f"of the {len(scored)} subjects scored, {len(learnt)}"
        if len(scored) == 1:
            what = "taught this network" if learnt else "chose this network's epoch"
        else:
            what = "taught this network" + (f", and {len(chose)} chose its epoch" if chose else "")
        return f"{who} {what} (by name, in {self.data}): scores on them flatter it"

"""The lists of hypotheses: each is one small function from a recipe to wrong recipes, with the words for each.

HYPOTHESES are also the mutants of a bundle's score. RARE ones come in too many variants for that, or for pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from npunet.verify.diagnose.recipe import Recipe

Variants = Iterator[tuple[str, Recipe]]


@dataclass(frozen=True)
class Hypothesis:
    """A way to get a layer wrong.

    name  : of the function
    ops   : operators that it is about; none: all
    build : from the layer's recipe to (words, wrong recipe), as many as there are; none where it does not apply
    """

    name: str
    ops: tuple[str, ...]
    build: Callable[[Recipe], Variants]

    def variants(self, recipe: Recipe) -> Variants:
        """The wrong recipes for a layer."""
        return self.build(recipe) if not self.ops or recipe.op in self.ops else iter(())


HYPOTHESES: dict[str, Hypothesis] = {}
RARE: dict[str, Hypothesis] = {}


Build = Callable[[Recipe], Variants]


def hypothesis(*ops: str) -> Callable[[Build], Build]:
    """Enter a function into the list."""
    return _entering(HYPOTHESES, ops)


def rare(*ops: str) -> Callable[[Build], Build]:
    """Enter a function into the list of what is tried singly, after the hypotheses."""
    return _entering(RARE, ops)


def _entering(listed: dict[str, Hypothesis], ops: tuple[str, ...]) -> Callable[[Build], Build]:
    def enter(build: Build) -> Build:
        if build.__name__ in HYPOTHESES | RARE:
            raise ValueError(f"two hypotheses are called {build.__name__}")
        listed[build.__name__] = Hypothesis(build.__name__, ops, build)
        return build

    return enter

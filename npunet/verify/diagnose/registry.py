"""The list of hypotheses: each is one small function from a recipe to wrong recipes, with the words for each."""

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


def hypothesis(*ops: str) -> Callable[[Callable[[Recipe], Variants]], Callable[[Recipe], Variants]]:
    """Enter a function into the list."""

    def enter(build: Callable[[Recipe], Variants]) -> Callable[[Recipe], Variants]:
        if build.__name__ in HYPOTHESES:
            raise ValueError(f"two hypotheses are called {build.__name__}")
        HYPOTHESES[build.__name__] = Hypothesis(build.__name__, ops, build)
        return build

    return enter

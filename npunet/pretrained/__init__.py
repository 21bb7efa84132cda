"""Networks that npunet has trained and brings along: `from npunet import pretrained; model = pretrained("ecg")`.

Each is a file NAME.npz, as Segmenter.save writes it, with a card NAME.md: data, licence, split, scores, command.
The module itself can be called, so that its name can be a function's and a folder's at once.
"""

from __future__ import annotations

import sys
from importlib.resources import as_file, files
from types import ModuleType

from npunet.segment import Segmenter


def names() -> list[str]:
    """Names of all trained networks, sorted."""
    entries = [entry.name for entry in files(__name__).iterdir()]
    return sorted(entry.removesuffix(".npz") for entry in entries if entry.endswith(".npz"))


def load(name: str) -> Segmenter:
    """A trained network. Raises ValueError that lists them all when there is none of that name."""
    if name not in names():
        raise ValueError(f"there is no trained network {name!r}; there are: {', '.join(names()) or 'none'}")
    with as_file(files(__name__).joinpath(f"{name}.npz")) as path:
        return Segmenter.load(path)


def card(name: str) -> str:
    """What a trained network was made from and how good it is, as Markdown."""
    if name not in names():
        raise ValueError(f"there is no trained network {name!r}; there are: {', '.join(names()) or 'none'}")
    return files(__name__).joinpath(f"{name}.md").read_text(encoding="utf-8")


class _Callable(ModuleType):
    """A module whose call is load."""

    def __call__(self, name: str) -> Segmenter:
        """A trained network by name, such as "ecg"."""
        return load(name)


sys.modules[__name__].__class__ = _Callable

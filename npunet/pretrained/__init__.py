"""Networks that npunet has trained and brings along: `from npunet import pretrained; pretrained("ecg-trained")`.

`ecg-trained` is the preset `ecg` with trained weights, in Python and on the command line; here, where nothing else can
be meant, `ecg` does as well. It is a file ecg.npz, as Segmenter.save writes it, with a card ecg.md (data, licence,
split, scores, command) and ecg.json (the subjects that taught it). Beside it stand its integer forms,
integer/ecg.SCHEME.npz: pretrained.quantized("ecg-trained", "int8").
The module itself can be called, so that its name can be a function's and a folder's at once.
"""

from __future__ import annotations

import json
import sys
from importlib.resources import as_file, files
from types import ModuleType
from typing import TYPE_CHECKING

from npunet.integer_model import IntegerModel
from npunet.segment import Segmenter
from npunet.segment.taught import Taught

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable


TRAINED = "-trained"  # what a preset's name is followed by
SCHEMES = ("int8", "int16x8")


def names() -> list[str]:
    """Names of all trained networks, sorted."""
    entries = [entry.name for entry in files(__name__).iterdir()]
    return sorted(entry.removesuffix(".npz") + TRAINED for entry in entries if entry.endswith(".npz"))


def load(name: str) -> Segmenter:
    """A trained network. Raises ValueError that lists them all when there is none of that name."""
    with as_file(_file(name, ".npz")) as path:
        model = Segmenter.load(path)
    model.taught = Taught.from_dict(json.loads(_file(name, ".json").read_text(encoding="utf-8")))
    return model


def quantized(name: str, scheme: str = "int8") -> IntegerModel:
    """A trained network in integers, "int8" or "int16x8". Raises ValueError for another name or scheme."""
    if scheme not in SCHEMES:
        raise ValueError(f"there is no trained network {name!r} in {scheme}; there are: {', '.join(names())}, each in "
                         f"{', '.join(SCHEMES)}")
    with as_file(_file(name, f".{scheme}.npz", "integer")) as path:
        return IntegerModel.load(path)


def card(name: str) -> str:
    """What a trained network was made from and how good it is, as Markdown."""
    return _file(name, ".md").read_text(encoding="utf-8")


def _file(name: str, suffix: str, folder: str = ".") -> Traversable:
    known = names()
    if name not in known and name + TRAINED not in known:
        raise ValueError(f"there is no trained network {name!r}; there are: {', '.join(known) or 'none'}")
    return files(__name__).joinpath(folder, name.removesuffix(TRAINED) + suffix)


class _Callable(ModuleType):
    """A module whose call is load."""

    def __call__(self, name: str) -> Segmenter:
        """A trained network by name, such as "ecg-trained"."""
        return load(name)


sys.modules[__name__].__class__ = _Callable

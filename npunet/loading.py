"""What a file holds: one function that opens every kind of model."""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from npunet.formats import model_file
from npunet.model import UNet

if TYPE_CHECKING:
    from npunet.segment import Segmenter


def load(path: str | PathLike[str], *, allow_nonfinite: bool = False) -> UNet | Segmenter:
    """The model in a file: a UNet, or a Segmenter where it was saved with what it was trained for.

    allow_nonfinite : take weights that are NaN or Inf as they are

    Raises FileNotFoundError, and ValueError when the file holds neither.
    """
    if model_file.remark(path).startswith(b"{"):
        from npunet.segment import Segmenter  # signal processing, which a plain network does not need

        return Segmenter.load(path, allow_nonfinite=allow_nonfinite)
    return UNet.load(path, allow_nonfinite=allow_nonfinite)


def load_network(path: str | PathLike[str]) -> UNet:
    """The network in a file, whatever it comes with."""
    model = load(path)
    return model if isinstance(model, UNet) else model.network

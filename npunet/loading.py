"""What a file holds: one function that opens every kind of model."""

from __future__ import annotations

from os import PathLike, fspath
from typing import TYPE_CHECKING

from npunet.model import UNet, restored

if TYPE_CHECKING:
    from npunet.integer_model import IntegerModel
    from npunet.segment import Segmenter


def load(path: str | PathLike[str], *, allow_nonfinite: bool = False) -> UNet | Segmenter | IntegerModel:
    """The model in a file: a UNet, a Segmenter where it was saved with what it was trained for, or an IntegerModel.

    A .tflite, ours or a converter's, gives a UNet where it is of float32 (batch norm is folded in it, its own names of
    tensors are in the UNet's trace), a Segmenter where npunet wrote what it was trained for into it, and an
    IntegerModel where it is of int8 or 16x8.

    allow_nonfinite : take float weights that are NaN or Inf as they are

    Raises FileNotFoundError, and ValueError when the file holds none of these.
    """
    from npunet.formats import kinds, model_file

    path = fspath(path)  # a number would be an open file's
    if kinds.is_tflite(path):
        from npunet.formats import tflite

        found = tflite.read(path)
        if isinstance(found, tflite.FloatModel):
            network = restored(**found.description, weights=found.weights, aliases=found.aliases,
                               allow_nonfinite=allow_nonfinite)
            if not found.metadata:
                return network
            from npunet.segment.description import described_network

            return described_network(network, found.metadata, path)
        from npunet.integer_model import IntegerModel

        return IntegerModel(found)
    if kinds.is_integer_archive(path):
        from npunet.integer_model import IntegerModel  # which a float network does not need

        return IntegerModel.load(path)
    if model_file.remark(path):
        from npunet.segment import Segmenter  # signal processing, which a plain network does not need

        return Segmenter.load(path, allow_nonfinite=allow_nonfinite)
    return UNet.load(path, allow_nonfinite=allow_nonfinite)


def load_network(path: str | PathLike[str]) -> UNet:
    """The float network in a file, whatever it comes with. Raises ValueError for an integer one."""
    model = load(path)
    network = model if isinstance(model, UNet) else model.network
    if not isinstance(network, UNet):
        raise ValueError(f"{path} is an integer network ({network.scheme}); this needs the float model that it was "
                         "made from")
    return network

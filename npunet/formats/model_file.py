"""A model in one .npz: its description as JSON beside its weights. No pickle anywhere."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from os import PathLike
from typing import IO, Any

import numpy as np

from npunet.files import write_npz
from npunet.params import UNetParams

DESCRIPTION = "npunet.json"
FORMAT = 1


def save(path: str | PathLike[str], params: UNetParams, input_shape: tuple[int | None, ...], num_classes: int | None,
         dtype: str, weights: Mapping[str, np.ndarray]) -> None:
    """Write a model, atomically; the same model gives the same bytes."""
    description = {"format": FORMAT, "params": params.to_dict(), "input_shape": input_shape,
                   "num_classes": num_classes, "dtype": dtype}
    write_npz(path, {DESCRIPTION: np.array(json.dumps(description, sort_keys=True)), **weights})


def load(path: str | PathLike[str]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The arguments of UNet and the weights. Raises ValueError when the file is not a model."""
    try:
        with open(path, "rb") as file, opened(file) as archive:
            if DESCRIPTION not in archive.files:
                raise ValueError("it has weights but no description; build the model, then use load_weights")
            description = json.loads(str(archive[DESCRIPTION]))
            weights = {name: archive[name] for name in archive.files if name != DESCRIPTION}
    except FileNotFoundError:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, AttributeError) as error:
        raise ValueError(f"{path} is not a model that npunet saved: {error}") from None
    if description.pop("format", None) != FORMAT:
        raise ValueError(f"{path} has another format than {FORMAT}; it was saved by another version of npunet")
    return {**description, "input_shape": tuple(description["input_shape"])}, weights


def remark(path: str | PathLike[str]) -> bytes:
    """What an archive says of itself: empty for a plain model, JSON for a Segmenter. Raises FileNotFoundError."""
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            return b""
        with zipfile.ZipFile(file) as archive:
            return archive.comment


def opened(file: IO[bytes]) -> np.lib.npyio.NpzFile:
    """An .npz archive. Raises ValueError for a single array."""
    archive = np.load(file, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError("it is a single array")
    return archive

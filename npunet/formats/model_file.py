"""A model in one .npz: its description as JSON beside its weights. No pickle anywhere."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from typing import Any

import numpy as np

from npunet.files import write_npz
from npunet.params import UNetParams
from npunet.reading import Stored, Unreadable, json_object, npz, opened_zip, reading, text_of, zip_comment
from npunet.values import refuse_unknown

DESCRIPTION = "npunet.json"
FORMAT = 1
KEYS = ("format", "params", "input_shape", "num_classes", "dtype")
IS_NOT = "is not a model that npunet saved"


def save(path: str | PathLike[str], params: UNetParams, input_shape: tuple[int | None, ...], num_classes: int | None,
         dtype: str, weights: Mapping[str, np.ndarray], remark: bytes = b"") -> None:
    """Write a model, atomically; the same model gives the same bytes. remark : what else the archive says of itself."""
    description = {"format": FORMAT, "params": params.to_dict(), "input_shape": input_shape,
                   "num_classes": num_classes, "dtype": dtype}
    write_npz(path, {DESCRIPTION: np.array(json.dumps(description, sort_keys=True)), **weights}, remark)


@contextmanager
def opened(path: str | PathLike[str]) -> Iterator[tuple[dict[str, Any], dict[str, Stored]]]:
    """The arguments of UNet and the weights, which are not read yet.

    Raises FileNotFoundError, Unreadable when the file is not a model, also for what the block makes of it.
    """
    with reading(path, IS_NOT), npz(path) as arrays:
        if DESCRIPTION not in arrays:
            raise ValueError("it has weights but no description; build the model, then use load_weights")
        yield read_description(path, arrays), {name: array for name, array in arrays.items() if name != DESCRIPTION}


def read_description(path: str | PathLike[str], arrays: Mapping[str, Stored]) -> dict[str, Any]:
    """The arguments of UNet, from the description among a model's arrays. Raises ValueError, KeyError, TypeError."""
    description = json_object(text_of(arrays[DESCRIPTION]))
    if description.get("format") != FORMAT:
        raise Unreadable(f"{path} has another format than {FORMAT}; it was saved by another version of npunet")
    refuse_unknown("the description", list(description), KEYS)
    arguments = {key: description[key] for key in KEYS if key != "format"}
    if not isinstance(arguments["input_shape"], list):
        raise ValueError(f"its input_shape is {arguments['input_shape']!r:.80}, not a list")
    return {**arguments, "params": UNetParams.from_dict(arguments["params"]),
            "input_shape": tuple(arguments["input_shape"])}


def is_model(path: str | PathLike[str]) -> bool:
    """Whether a file is one that `save` wrote. Raises FileNotFoundError, Unreadable for a damaged archive."""
    if not os.path.exists(path):
        raise FileNotFoundError(f"no such file: {path}")
    if not os.path.isfile(path) or not zipfile.is_zipfile(path):
        return False
    with reading(path, IS_NOT), opened_zip(path) as archive:
        return f"{DESCRIPTION}.npy" in archive.namelist()


def remark(path: str | PathLike[str]) -> bytes:
    """What an archive says of itself: empty for a plain model, JSON for a Segmenter. Raises FileNotFoundError."""
    with reading(path, IS_NOT):
        return zip_comment(path)

"""safetensors files: a JSON header and raw little-endian arrays, one tensor a weight under its own name."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from npunet.extras import extra
from npunet.files import atomic_write
from npunet.reading import Stored, json_object

MOST_HEADER = 100_000_000  # bytes, the format's own limit
DTYPES = {"BOOL": "?", "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8",
          "I64": "<i8", "F16": "<f2", "F32": "<f4", "F64": "<f8"}


@contextmanager
def opened_safetensors(path: str | os.PathLike[str]) -> Iterator[dict[str, Stored]]:
    """Every tensor of a file, known by its header.

    Raises ValueError when the file is damaged or holds a dtype that NumPy lacks (bfloat16, float8), MissingExtra.
    Source: https://github.com/huggingface/safetensors, "Format".
    """
    library = extra("safetensors", "safetensors")
    header = _header(path)
    try:
        with library.safe_open(os.fspath(path), "np") as tensors:           # checks the header against the file
            yield {name: Stored(tuple(header[name]["shape"]), _dtype(name, header[name]["dtype"]),
                                partial(tensors.get_tensor, name)) for name in tensors.keys()}  # noqa: SIM118
    except library.SafetensorError as error:
        raise ValueError(f"it is not a complete safetensors file: {error}") from None


def _header(path: str | os.PathLike[str]) -> dict[str, Any]:
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > min(MOST_HEADER, os.fstat(file.fileno()).st_size - 8):
            raise ValueError(f"it is not a complete safetensors file: its header has {length} bytes")
        return json_object(file.read(length))


def _dtype(name: str, stored: str) -> np.dtype:
    if stored not in DTYPES:
        raise ValueError(f"{name} has a dtype that NumPy does not have ({stored}); store it as float32")
    return np.dtype(DTYPES[stored])


def write_safetensors(path: str | os.PathLike[str], weights: Mapping[str, np.ndarray]) -> None:
    """Write every weight as one tensor. Raises MissingExtra."""
    save = extra("safetensors.numpy", "safetensors").save
    content = save({name: np.array(array, order="C") for name, array in weights.items()}, {"format": "np"})
    with atomic_write(path) as file:
        file.write(content)

"""safetensors files: a JSON header and raw little-endian arrays, one tensor a weight under its own name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from npunet.extras import extra
from npunet.files import atomic_write


def read_safetensors(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read every tensor of a file.

    Returns name -> array as stored.
    Raises ValueError when the file is damaged or holds a dtype that NumPy lacks (bfloat16, float8), MissingExtra.
    Source: https://github.com/huggingface/safetensors, "Format".
    """
    library = extra("safetensors", "safetensors")
    load = extra("safetensors.numpy", "safetensors").load
    try:
        return load(Path(path).read_bytes())
    except library.SafetensorError as error:
        raise ValueError(f"{path} is not a complete safetensors file: {error}") from None
    except (KeyError, TypeError) as error:
        raise ValueError(f"{path} holds a dtype that NumPy does not have ({error}); store it as float32") from None


def write_safetensors(path: str | os.PathLike[str], weights: Mapping[str, np.ndarray]) -> None:
    """Write every weight as one tensor. Raises MissingExtra."""
    save = extra("safetensors.numpy", "safetensors").save
    content = save({name: np.array(array, order="C") for name, array in weights.items()}, {"format": "np"})
    with atomic_write(path) as file:
        file.write(content)

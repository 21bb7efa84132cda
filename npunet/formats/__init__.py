"""Weight files: one function reads any of them, one writes by suffix.

Names come out as npunet's ("ENC1_D1_conv/kernel") whichever naming style the file has.
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from npunet import files
from npunet.formats.model_file import DESCRIPTION
from npunet.graph import Graph
from npunet.weights import canonical

Weights = dict[str, np.ndarray]
READABLE = ".npz, .safetensors, .keras, .weights.h5, .h5"
WRITABLE = ".npz, .safetensors, .weights.h5"
HDF5 = b"\x89HDF\r\n\x1a\n"


def read_weights(path: str | os.PathLike[str], graph: Graph | None = None) -> Weights:
    """Read the weights of a file, whatever its format; the content decides, not the suffix.

    path  : .npz (plain or a saved model), .safetensors, .keras, .weights.h5 or the old .h5
    graph : the network they are for; only Keras files without layer names (before Keras 3.6) need it

    Returns name -> array, the names npunet's, the dtypes as stored.
    Raises FileNotFoundError; ValueError when the file is truncated, foreign or holds a name twice; MissingExtra.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a weight file")
    with open(path, "rb") as file:
        head = file.read(16)
    if head.startswith(b"PK"):
        arrays = _read_zip(path, graph)
    elif head.startswith(HDF5):
        from npunet.formats import keras

        arrays = keras.read_keras(path, graph)
    elif head[8:9] == b"{":  # after the length of a JSON header
        from npunet.formats import safetensors

        arrays = safetensors.read_safetensors(path)
    else:
        raise ValueError(f"{path} is not a weight file that npunet knows ({READABLE}), or it is damaged")
    return _renamed(path, arrays)


def write_weights(path: str | os.PathLike[str], weights: Mapping[str, np.ndarray]) -> None:
    """Write weights in the format of the suffix: .npz, .safetensors or .weights.h5.

    weights : name -> array in creation order, which .weights.h5 needs

    Raises ValueError for any other suffix, MissingExtra.
    """
    name = os.fspath(path)
    if name.endswith(".npz"):
        files.write_npz(path, weights)
    elif name.endswith(".safetensors"):
        from npunet.formats import safetensors

        safetensors.write_safetensors(path, weights)
    elif name.endswith(".weights.h5"):
        from npunet.formats import keras

        keras.write_keras_weights(path, weights)
    else:
        raise ValueError(f"cannot write weights to {name}: the suffix must be one of {WRITABLE}")


def _read_zip(path: Path, graph: Graph | None) -> Weights:
    try:
        with zipfile.ZipFile(path) as archive:
            keras_model = "model.weights.h5" in archive.namelist()
        if not keras_model:
            return _read_npz(path)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise ValueError(f"{path} is damaged or incomplete: {error}") from None
    from npunet.formats import keras

    return keras.read_keras(path, graph)


def _read_npz(path: Path) -> Weights:
    with np.load(path, allow_pickle=False) as arrays:
        try:
            return {name: arrays[name] for name in arrays.files if name != DESCRIPTION}
        except ValueError as error:  # an array of objects, or bytes that are no array
            raise ValueError(f"{path} is not a file of plain arrays: {error}") from None


def _renamed(path: Path, arrays: Mapping[str, np.ndarray]) -> Weights:
    weights: Weights = {}
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise ValueError(f"{path}: {name} is not an array; is this a weight file?")
        ours = canonical(name)
        if ours in weights:
            raise ValueError(f"{path} holds {ours} twice, once as {name}")
        weights[ours] = array
    return weights

"""Weight files: one function reads any of them, one writes by suffix.

Names come out as npunet's ("ENC1_D1_conv/kernel") whichever naming style the file has.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from npunet import files
from npunet.formats import model_file
from npunet.formats.kinds import HDF5, is_integer_archive, is_tflite
from npunet.formats.model_file import DESCRIPTION
from npunet.graph import Graph
from npunet.reading import NPY, WAY_OUT, Stored, Unreadable, npz, opened_zip, read_all, reading, refuse_bomb
from npunet.weights import canonical, refuse_misshapen

Weights = dict[str, np.ndarray]
READABLE = ".npz, .safetensors, .keras, .weights.h5, .h5, .tflite of float32"
OTHER_NETWORK = "npunet reads this architecture alone; if it should be that, take a whole copy of the file"
WRITABLE = ".npz, .safetensors, .weights.h5"


def read_weights(path: str | os.PathLike[str], graph: Graph | None = None) -> Weights:
    """Read the weights of a file, whatever its format; the content decides, not the suffix.

    path  : .npz (plain or a saved model), .safetensors, .keras, .weights.h5, the old .h5, or a .tflite of float32, in
            which batch norm is folded
    graph : the network they are for; only Keras files without layer names (before Keras 3.6) need it

    Returns name -> array, the names npunet's, the dtypes as stored.
    Raises FileNotFoundError; ValueError when the file is truncated, foreign, holds a name twice or, before it is read,
    another shape than the graph's; MissingExtra.
    """
    with opened_weights(path, graph) as stored:
        if graph is not None:
            refuse_misshapen(graph, stored)
        return read_all(stored)


@contextmanager
def opened_weights(path: str | os.PathLike[str], graph: Graph | None = None) -> Iterator[dict[str, Stored]]:
    """The weights of a file by npunet's names, their shapes known and nothing read; arguments as read_weights'."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, not a weight file")
    if is_tflite(path):
        with opened_model(path) as (_, stored):
            yield stored
        return
    with open(path, "rb") as file:
        head = file.read(16)
    with reading(path, "is damaged or not a complete weight file"), _opened(path, head, graph) as arrays:
        if DESCRIPTION in arrays:
            model_file.read_description(path, arrays)  # for a damaged model is no source of weights
        weights = _renamed(arrays)
        refuse_bomb(sum(array.nbytes for array in weights.values()), path.stat().st_size)
        yield weights


@contextmanager
def opened_model(path: str | os.PathLike[str]) -> Iterator[tuple[dict[str, Any], dict[str, Stored]]]:
    """The arguments of UNet and the weights of a whole model: one that npunet saved, a `.keras`, an old `.h5` or a
    .tflite of floats.

    Raises FileNotFoundError, Unreadable when the file is none, MissingExtra.
    """
    if is_tflite(path):
        from npunet.formats import tflite

        found = tflite.read_float(path)
        stored = {name: Stored(value.shape, value.dtype, value.copy) for name, value in found.weights.items()}
        yield {**found.description, "aliases": found.aliases}, stored
        return
    if not is_keras_model(path):
        _refuse_bare_weights(path)
        with model_file.opened(path) as model:
            yield model
        return
    from npunet.formats import keras

    with reading(path, "is a Keras model, but not this network", OTHER_NETWORK):
        description = keras.architecture(path)
    with opened_weights(path) as weights:
        yield description, weights


def _refuse_bare_weights(path: str | os.PathLike[str]) -> None:
    """Raise Unreadable for a file of weights that tells no network, and for one that is of no kind of model."""
    with open(path, "rb") as file:
        head = file.read(16)
    if head.startswith(HDF5) or head[8:9] == b"{":
        raise Unreadable(f"{path} has weights but no network; build the network and use its load_weights, or npunet "
                         "convert with --model")
    if not head.startswith((b"PK", NPY)):
        raise Unreadable(f"{path} {model_file.IS_NOT}, nor a Keras model or .tflite: it begins as none of these; "
                         f"{WAY_OUT}")


def is_integer(path: str | os.PathLike[str]) -> bool:
    """Whether a file holds an integer network. Raises FileNotFoundError, ValueError for a damaged one, MissingExtra."""
    if is_tflite(path):
        from npunet.formats import tflite

        return not tflite.is_float(path)
    return is_integer_archive(path)


def is_keras_model(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a whole Keras model. Raises FileNotFoundError, Unreadable for a damaged one, MissingExtra."""
    with open(path, "rb") as file:
        head = file.read(len(HDF5))
    if not head.startswith((b"PK", HDF5)):
        return False
    from npunet.formats import keras

    with reading(path, "is not a model that npunet or Keras saved"):
        return keras.has_architecture(path)


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


def write_model(path: str | os.PathLike[str], graph: Graph, weights: Mapping[str, np.ndarray],
                input_shape: tuple[int | None, ...], name: str) -> None:
    """Write a whole model as `.keras`; see keras.write_keras. Raises MissingExtra."""
    from npunet.formats import keras

    keras.write_keras(path, graph, weights, input_shape, name)


def _opened(path: Path, head: bytes, graph: Graph | None) -> AbstractContextManager[dict[str, Stored]]:
    """The weights under the file's own names, by what its first bytes say."""
    keras_model = False
    if head.startswith(b"PK"):
        with opened_zip(path) as archive:
            keras_model = "model.weights.h5" in archive.namelist()
        if not keras_model:
            return npz(path)
    if keras_model or head.startswith(HDF5):
        from npunet.formats import keras

        return keras.opened_keras(path, graph)
    if head[8:9] == b"{":  # after the length of a JSON header
        from npunet.formats import safetensors

        return safetensors.opened_safetensors(path)
    raise Unreadable(f"{path} is not a weight file that npunet knows ({READABLE}), or it is damaged")


def _renamed(arrays: Mapping[str, Stored]) -> dict[str, Stored]:
    weights: dict[str, Stored] = {}
    for name, array in arrays.items():
        if name == DESCRIPTION:
            continue
        ours = canonical(name)
        if ours in weights:
            raise ValueError(f"it holds {ours} twice, once as {name}")
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} has the dtype {array.dtype}; weights are numbers")
        weights[ours] = array
    return weights

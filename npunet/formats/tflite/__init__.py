"""TensorFlow Lite files, read and written without TensorFlow, by the schema's classes alone (extra npunet[tflite]).

    flat          a file as plain data
    reader        bytes -> flat        writer    flat -> bytes
    recognise     flat -> integer network        compose   integer network -> flat
      integers, ends, reading, upsampling, shape_arithmetic    parts of it
    composites, within, floats, walk, architecture   compose_float   float network -> flat
                  flat -> graph of floats -> the arguments, weights and aliases of a UNet
    names         the reference's layer names in a converter's
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from npunet.files import atomic_write
from npunet.formats.tflite.architecture import architecture_of
from npunet.formats.tflite.compose import compose
from npunet.formats.tflite.compose_float import compose_float
from npunet.formats.tflite.composites import simplified
from npunet.formats.tflite.ends import between_ends
from npunet.formats.tflite.flat import FlatModel
from npunet.formats.tflite.floats import read_floats
from npunet.formats.tflite.reader import read_flat
from npunet.formats.tflite.reading import told
from npunet.formats.tflite.recognise import recognise, refuse_many_ends
from npunet.formats.tflite.writer import write_flat
from npunet.graph import Graph
from npunet.integer.bounds import check_accumulators
from npunet.integer.check import check_network
from npunet.integer.network import Network
from npunet.layer_values import OtherName

LARGEST_FILE = 2**30  # bytes


class FloatModel(NamedTuple):
    """What a .tflite of float32 holds.

    description : the arguments of UNet
    weights     : by the network's names
    aliases     : the file's own names of its tensors
    metadata    : texts that npunet wrote beside the network
    """

    description: dict[str, Any]
    weights: dict[str, np.ndarray]
    aliases: dict[str, OtherName]
    metadata: dict[str, str]


def read(path: str | os.PathLike[str]) -> Network | FloatModel:
    """What a .tflite holds, ours or a converter's: an integer network or a float one.

    Raises as read_integer and read_float.
    """
    with _reading(path, "cannot be read"):
        flat = _flat(path)
        floats = _is_float(flat)
    return read_float(path, flat) if floats else read_integer(path, flat=flat)


def is_float(path: str | os.PathLike[str]) -> bool:
    """Whether a .tflite is a float network's. Raises FileNotFoundError, ValueError for a damaged file, MissingExtra."""
    with _reading(path, "cannot be read"):
        return _is_float(_flat(path))


def read_integer(path: str | os.PathLike[str], lut: str = "f32", flat: FlatModel | None = None) -> Network:
    """The integer network in a .tflite, ours or a converter's.

    lut  : in which arithmetic the tables of a 16-bit softmax are made, "f32" as TFLite-Micro, "f64" as LiteRT, whose
           factors of a leaky ReLU are taken then too
    flat : what the file holds, where it is known

    Raises FileNotFoundError; ValueError when the file is damaged or holds anything that no U-Net has, with the
    operator's name and number; MissingExtra.
    """
    with _reading(path, "cannot be read as an integer network"):
        network = recognise(flat or _flat(path), Path(path).stem, lut)
        check_network(network)
        check_accumulators(network)
    return network


def read_float(path: str | os.PathLike[str], flat: FlatModel | None = None) -> FloatModel:
    """The arguments of UNet, its weights and its aliases, from a .tflite of float32, ours or a converter's.

    Weights of float16 are read as float32, exactly. Batch norm is folded in such a file, so that the blocks come out
    without one, their convolutions with a bias; dropout is not in it.

    Raises FileNotFoundError; ValueError when the file is damaged or holds anything that this U-Net has not, with the
    operator's name and number, or is quantised by dynamic range; MissingExtra.
    """
    with _reading(path, "cannot be read as a float network"):
        flat = flat or _flat(path)
        refuse_many_ends(flat)
        if not _is_float(flat):
            raise ValueError("it is an integer network, which npunet.load and IntegerModel.load open")
        file = simplified(flat)
        metadata = told(file.flat)
        name = metadata.pop("name", "") or Path(path).stem
        return FloatModel(*architecture_of(read_floats(file), name), metadata)


def _flat(path: str | os.PathLike[str]) -> FlatModel:
    if os.path.getsize(path) > LARGEST_FILE:
        raise ValueError(f"it has {os.path.getsize(path):,} bytes; at most {LARGEST_FILE:,} are read")
    return read_flat(Path(path).read_bytes())


def _is_float(flat: FlatModel) -> bool:
    """Whether a file's input is float32 and stays so: an integer network may have a QUANTIZE at its beginning."""
    if len(flat.inputs) != 1 or len(flat.outputs) != 1:
        return False
    inner, _ = between_ends(flat)
    return flat.tensors[inner.inputs[0]].dtype == np.float32


@contextmanager
def _reading(path: str | os.PathLike[str], cannot: str) -> Iterator[None]:
    """Say of which file a ValueError tells."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path} {cannot}: {error}") from None


def write_integer(path: str | os.PathLike[str], network: Network) -> None:
    """Write an integer network as .tflite, atomically. Raises ValueError for what the format does not have."""
    content = write_flat(compose(network))
    with atomic_write(path) as file:
        file.write(content)


def write_float(path: str | os.PathLike[str], graph: Graph, weights: Mapping[str, np.ndarray],
                input_shape: tuple[int, ...], *, name: str, metadata: Mapping[str, str] | None = None) -> None:
    """Write a float network as .tflite of float32, atomically; see compose_float. Raises ValueError, MissingExtra."""
    content = write_flat(compose_float(graph, weights, input_shape, name=name, metadata=metadata))
    with atomic_write(path) as file:
        file.write(content)

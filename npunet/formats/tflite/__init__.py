"""TensorFlow Lite files, read and written without TensorFlow, by the schema's classes alone (extra npunet[tflite]).

    flat        a file as plain data
    reader      bytes -> flat        writer    flat -> bytes
    recognise   flat -> integer network        compose   integer network -> flat
      ends, reading, upsampling, shape_arithmetic    parts of it
                                               compose_float   float network -> flat
    names       the reference's layer names in a converter's
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from npunet.files import atomic_write
from npunet.formats.tflite.compose import compose
from npunet.formats.tflite.compose_float import compose_float
from npunet.formats.tflite.reader import read_flat
from npunet.formats.tflite.recognise import recognise
from npunet.formats.tflite.writer import write_flat
from npunet.graph import Graph
from npunet.integer.bounds import check_accumulators
from npunet.integer.check import check_network
from npunet.integer.network import Network

LARGEST_FILE = 2**30  # bytes


def read_integer(path: str | os.PathLike[str], lut: str = "f32") -> Network:
    """The integer network in a .tflite, ours or a converter's.

    lut : in which arithmetic the tables of a 16-bit softmax are made, "f32" as TFLite-Micro, "f64" as LiteRT, whose
          factors of a leaky ReLU are taken then too

    Raises FileNotFoundError; ValueError when the file is damaged or holds anything that no U-Net has, with the
    operator's name and number; MissingExtra.
    """
    if os.path.getsize(path) > LARGEST_FILE:
        raise ValueError(f"{path} has {os.path.getsize(path):,} bytes; at most {LARGEST_FILE:,} are read")
    try:
        network = recognise(read_flat(Path(path).read_bytes()), Path(path).stem, lut)
        check_network(network)
        check_accumulators(network)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as an integer network: {error}") from None
    return network


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
